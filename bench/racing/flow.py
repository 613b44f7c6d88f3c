"""TorchCFM's recipes, which two contenders share: with classes and without."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from racing.clock import Snapshots
from racing.entry import Draw, Entry, batches
from racing.protocol import EVALUATIONS
from racing.task import Task

DECAY = 0.9999
WARM_UP = 5000 / 400_001
"""Share of the warm-up in the documented training on CIFAR-10."""


class TorchCFM(Entry):
    """Flow matching with TorchCFM's network and one of its flow matchers, drawn by Euler steps.

    Attributes:
        network: arguments of its network, by data set; `cifar` also has a warm-up, clipped gradients and averaged weights.
    """

    packages = ("torchcfm", "pot", "torchdiffeq")
    network: ClassVar[dict[str, dict[str, Any]]] = {
        "mnist": {"num_channels": 32, "num_res_blocks": 1},
        "fashion": {"num_channels": 32, "num_res_blocks": 1},
        "cifar": {
            "num_channels": 128,
            "num_res_blocks": 2,
            "channel_mult": [1, 2, 2, 2],
            "num_heads": 4,
            "num_head_channels": 64,
            "attention_resolutions": "16",
            "dropout": 0.1,
        },
    }

    def model(self, task: Task) -> nn.Module:
        """The network: (t, x, classes or None) to a velocity."""
        from torchcfm.models.unet.unet import UNetModelWrapper

        classes = {"class_cond": True, "num_classes": 10} if self.with_classes else {}
        shape = (task.channels, task.size, task.size)
        return UNetModelWrapper(dim=shape, **self.network[task.data], **classes).to(task.device)

    def matcher(self) -> Any:
        """Its flow matcher: pairs noise and images by optimal transport within a batch, or, with classes, at random."""
        from torchcfm.conditional_flow_matching import (
            ConditionalFlowMatcher,
            ExactOptimalTransportConditionalFlowMatcher,
        )

        return (ConditionalFlowMatcher if self.with_classes else ExactOptimalTransportConditionalFlowMatcher)(sigma=0.0)

    def train(self, task: Task, snapshots: Snapshots) -> None:
        images, labels = task.load()
        large = task.data == "cifar"
        network, matcher = self.model(task).train(), self.matcher()
        average = copy.deepcopy(network) if large else network
        optimizer = torch.optim.Adam(network.parameters(), lr=2e-4 if large else 1e-3)
        for x1, classes in batches(task, images, labels, 128, mirror=large):
            if large:
                optimizer.param_groups[0]["lr"] = 2e-4 * min(1.0, max(snapshots.share, 1e-4) / WARM_UP)
            t, x, velocity = matcher.sample_location_and_conditional_flow(torch.randn_like(x1), x1)
            with torch.autocast(task.device, task.dtype, enabled=task.dtype is not None):
                output = network(t, x, classes if self.with_classes else None)
            optimizer.zero_grad()
            (output.float() - velocity).square().mean().backward()
            if large:
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            if large:
                update(average, network, min(DECAY, (1 + snapshots.steps) / (10 + snapshots.steps)))
            snapshots.after_step(lambda path: torch.save(average.state_dict(), path))

    def sampler(self, task: Task, file: Path) -> Draw:
        from torchdiffeq import odeint

        network = self.model(task).eval()
        network.load_state_dict(torch.load(file, weights_only=True, map_location=task.device))
        times = torch.linspace(0, 1, EVALUATIONS + 1, device=task.device)

        def draw(rows: range) -> Tensor:
            noise = torch.randn(len(rows), task.channels, task.size, task.size, device=task.device)
            classes = torch.tensor(rows, device=task.device) % 10 if self.with_classes else None
            return odeint(lambda t, x: network(t, x, classes).float(), noise, times, method="euler")[-1]

        return draw


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move averaged weights towards the network's."""
    for held, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        held.lerp_(new, 1 - decay)
