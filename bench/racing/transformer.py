"""The held-out judge: a network of another kind than all contenders and the project's classifier, trained on other images.

It is a vision transformer (Dosovitskiy et al. 2021) of torchvision. It learns the classes from the test images, which no
contender trains on. The images that distances are measured against, the training images, are as new to it as the samples are.
"""

from __future__ import annotations

import hashlib
import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from lightdiff.data import DiffSet
from lightdiff.metrics import FeatureExtractor

FOLDER = Path(__file__).resolve().parent.parent / "judges"
WIDTH, BATCH = 96, 128
MIRRORED = ("fashion", "cifar")
"""Data sets whose classes stay what they are in a mirror."""


class Transformer(nn.Module):
    """uint8 images (N, C, S, S) to features (N, 96), the class token of the last layer, and logits (N, num_classes).

    Args:
        size: side S of the images, divisible by 4; an image is cut into 4x4 patches.
        num_classes: classes of the data set.
    """

    def __init__(self, size: int, num_classes: int) -> None:
        super().__init__()
        self.body = VisionTransformer(
            image_size=size,
            patch_size=size // 4,
            num_layers=4,
            num_heads=4,
            hidden_dim=WIDTH,
            mlp_dim=2 * WIDTH,
            num_classes=num_classes,
        )
        self.head = self.body.heads
        self.body.heads = nn.Identity()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # gray images become RGB, which torchvision's network expects
        features = self.body(images.expand(-1, 3, -1, -1).float() / 127.5 - 1)
        return features, self.head(features)


def train_judge(data: DiffSet, epochs: int, folder: Path = FOLDER, seed: int = 0) -> dict[str, Any]:
    """Train the judge of a data set; write `<name>.safetensors` and `<name>.json` into the folder, and return the latter.

    Args:
        data: labelled square images, set up.
        epochs: times that every test image is seen.
        folder: where the judge is kept.
        seed: of the first weights and the order of the images.
    """
    size, classes = data.image_size[0], len(data.class_names)
    test, train = (split[range(len(split))] for split in (data.val_set, data.train_set))
    start = time.perf_counter()
    torch.manual_seed(seed)
    network = Transformer(size, classes)
    _fit(network, test["image"], test["label"], epochs, mirror=data.name in MIRRORED)
    # the file has half precision, and so has the judge whose accuracy is stated
    network.half().float().eval()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{data.name}.safetensors"
    save_file({name: value.half().contiguous() for name, value in network.state_dict().items()}, path)
    facts = {
        "dataset": data.name,
        "image_size": size,
        "classes": classes,
        "trained_on": f"{len(test['image'])} test images",
        "accuracy_on_training_images": round(_accuracy(network, train["image"], train["label"]), 4),
        "epochs": epochs,
        "seed": seed,
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n")
    return facts


def _fit(network: Transformer, images: Tensor, labels: Tensor, epochs: int, mirror: bool) -> None:
    """Cross-entropy by AdamW; each batch is shifted by up to two pixels, and mirrored half of the time if `mirror`."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    steps = epochs * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    side = images.shape[-1]
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(BATCH):
            down, right, turned = (int(torch.randint(end, ())) for end in (5, 5, 2))
            batch = F.pad(images[rows], (2, 2, 2, 2))[..., down : down + side, right : right + side]
            logits = network(batch.flip(-1) if mirror and turned else batch)[1]
            optimizer.zero_grad()
            F.cross_entropy(logits, labels[rows], label_smoothing=0.1).backward()
            optimizer.step()
            schedule.step()


@torch.inference_mode()
def _accuracy(network: Transformer, images: Tensor, labels: Tensor) -> float:
    """Share of the images whose largest logit is their label's."""
    pairs = zip(images.split(512), labels.split(512), strict=True)
    return torch.cat([network(part)[1].argmax(1) == wanted for part, wanted in pairs]).double().mean().item()


class TransformerExtractor(FeatureExtractor):
    """The judge's features, for distances.

    Args:
        folder: where the judges lie.
    """

    num_features = WIDTH
    chunk = 250

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    def prepare(self, data: DiffSet, device: torch.device | str) -> None:
        path = self.folder / f"{data.name}.safetensors"
        if not path.is_file():
            raise ValueError(
                f"{path}: there is no judge of {data.name}; make it with python bench/judge.py {data.name}"
            )
        self.facts = json.loads(path.with_suffix(".json").read_text())
        self.sha256, self.device = hashlib.sha256(path.read_bytes()).hexdigest(), device
        network = Transformer(self.facts["image_size"], self.facts["classes"])
        network.load_state_dict(load_file(path))
        self._network = network.to(device).eval()

    def describe(self) -> dict[str, Any]:
        known = self.facts["accuracy_on_training_images"]
        return {"name": "transformer", "sha256": self.sha256, "accuracy": known, "resizer": "none"}

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._network(images)
