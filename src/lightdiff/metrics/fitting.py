"""Train a `Classifier`: on real images for the package's weights, on samples alone for the synthetic-only accuracy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lightdiff.metrics.classifier import Classifier

BATCH_SIZE = 128


def fit_classifier(
    images: Tensor, labels: Tensor, num_classes: int, *, epochs: int, flip: bool, seed: int = 0, lr: float = 4e-3
) -> Classifier:
    """Cross-entropy by AdamW with a one-cycle learning rate; images are shifted by up to two pixels.

    Args:
        images: uint8 (N, C, S, S), on the device to train on.
        labels: int64 (N,), on the same device.
        num_classes: classes.
        epochs: times that every image is seen.
        flip: mirror every second image, for classes that mirrored images keep.
        seed: of the initial weights, of the order and of the shifts; the global random numbers are left alone.
        lr: largest learning rate.

    Returns:
        The network, in eval mode.
    """
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.manual_seed(seed)
        network = Classifier(images.shape[1], num_classes).to(images.device).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.02)
        steps = epochs * -(-len(images) // BATCH_SIZE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.15)
        for _ in range(epochs):
            for rows in torch.randperm(len(images), device=images.device).split(BATCH_SIZE):
                with torch.autocast(images.device.type, torch.bfloat16):
                    logits = network(_augmented(images[rows], flip))[1]
                    loss = F.cross_entropy(logits, labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return network.eval()


def _augmented(images: Tensor, flip: bool) -> Tensor:
    """All images of a batch shifted alike, and every second one mirrored."""
    down, right = torch.randint(0, 5, (2,)).tolist()
    height, width = images.shape[-2:]
    images = F.pad(images, (2, 2, 2, 2))[..., down : down + height, right : right + width]
    if flip:
        mirrored = torch.rand(len(images), device=images.device) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return images


@torch.inference_mode()
def accuracy(network: Classifier, images: Tensor, labels: Tensor) -> float:
    """Share of uint8 images (N, C, S, S) whose largest logit is their label's."""
    right = [
        network(part)[1].argmax(1) == wanted for part, wanted in zip(images.split(512), labels.split(512), strict=True)
    ]
    return torch.cat(right).double().mean().item()
