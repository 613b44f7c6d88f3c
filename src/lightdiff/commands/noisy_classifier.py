"""Train a classifier of noisy images, which guides sampling (guidance=classifier)."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightdiff.core import FlowSchedule, PixelCodec, classifier_input
from lightdiff.data import DiffSet
from lightdiff.metrics.fitting import BATCH_SIZE
from lightdiff.model.noisy_classifier import save_noisy_classifier
from lightdiff.networks import TimedClassifier

NOISY_CLASSIFIERS = "data/noisy_classifiers"
"""Folder for the classifiers of noisy images."""
FLOW_TIMES = (0.0, 0.25, 0.5, 0.75)
"""Noise levels sigma / (alpha + sigma) at which the accuracy is measured."""


def train_noisy_classifier(
    data: DiffSet, name: str, folder: Path, *, epochs: int, flip: bool, seed: int = 0
) -> dict[str, Any]:
    """Write `<name>.safetensors` and `<name>.json` into `folder`; return the facts in the latter.

    The classifier serves every noise schedule; see `lightdiff.core.classifier_input`. It is trained at flow times
    sigma / (alpha + sigma) that are uniform in [0, 1].

    Args:
        data: labelled images that have been set up.
        name: of the two files.
        folder: where they are kept.
        epochs: times that every image is seen.
        flip: mirror every second image.
        seed: of the first weights, the order, the noise and its levels.

    Raises:
        ValueError: a name that cannot be used, or images of one class.
        OSError: the disk is full or broken.
    """
    if not name or set(name) & {"/", "\\", "\0"}:
        raise ValueError(f"--name {name}: a plain name is expected, which becomes that of two files")
    if len(data.class_names) < 2:
        raise ValueError(f"{data.name}: images of two classes or more are needed, a sub-folder for each")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train, test = (
        {key: value.to(device) for key, value in split[range(len(split))].items()}
        for split in (data.train_set, data.val_set)
    )
    start = time.perf_counter()
    network = fit_noisy_classifier(
        train["image"], train["label"], len(data.class_names), epochs=epochs, flip=flip, seed=seed
    )
    facts = {
        "class_names": list(data.class_names),
        "image_shape": list(network.image_shape),
        "accuracy": {str(tau): noisy_accuracy(network, test["image"], test["label"], tau) for tau in FLOW_TIMES},
        "num_train": data.num_train,
        "num_test": data.num_val,
        "epochs": epochs,
        "seed": seed,
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "device": device,
        "date": date.today().isoformat(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    return save_noisy_classifier(folder / f"{name}.safetensors", network, facts)


def fit_noisy_classifier(
    images: Tensor, labels: Tensor, num_classes: int, *, epochs: int, flip: bool, seed: int = 0, lr: float = 2e-3
) -> TimedClassifier:
    """Minimise the cross-entropy at uniform flow times by AdamW with a one-cycle learning rate; return the network in eval mode.

    Args:
        images: uint8 (N, C, H, W), on the device to train on.
        labels: int64 (N,), on the same device.
        num_classes: number of classes.
        epochs, flip, seed: as for `train_noisy_classifier`. The global random numbers are left alone.
        lr: largest learning rate.
    """
    device = images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.enable_grad():
        torch.manual_seed(seed)
        network = TimedClassifier(images.shape[1], list(images.shape[2:]), num_classes).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.02)
        steps = epochs * -(-len(images) // BATCH_SIZE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.15)
        for _ in range(epochs):
            for rows in torch.randperm(len(images), device=device).split(BATCH_SIZE):
                chosen = images[rows]
                if flip:
                    mirrored = torch.rand(len(rows), device=device) < 0.5
                    chosen = torch.where(mirrored[:, None, None, None], chosen.flip(-1), chosen)
                u = noisy(chosen, flow_time := torch.rand(len(rows), device=device))
                loss = F.cross_entropy(network(u, flow_time), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return network.eval()


def noisy(images: Tensor, flow_time: Tensor) -> Tensor:
    """Return images, uint8 (B, C, H, W), with noise of flow times (B,), in the form that the classifier gets."""
    x0 = PixelCodec().encode(images, torch.float32)
    scales = FlowSchedule().exact(flow_time)
    return classifier_input(scales.mix(x0, torch.randn_like(x0)), scales)


@torch.inference_mode()
def noisy_accuracy(network: TimedClassifier, images: Tensor, labels: Tensor, flow_time: float) -> float:
    """Return the share of images, uint8 (N, C, H, W), that are read as their labels (N,) when they have noise of a flow time."""
    device = images.device
    right = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        for part, wanted in zip(images.split(512), labels.split(512), strict=True):
            times = torch.full((len(part),), flow_time, device=device)
            right.append(network(noisy(part, times), times).argmax(1) == wanted)
    return round(torch.cat(right).double().mean().item(), 6)
