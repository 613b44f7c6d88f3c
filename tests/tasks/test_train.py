"""Settings of the training job that are the project's own."""

from __future__ import annotations

import pytest
import torch

from lightdiff.tasks.train import limit_gpu_memory


def test_gpu_memory_is_limited_on_every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[int, float] = {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: limits.update({device: share})
    )
    limit_gpu_memory(None)
    assert limits == {}
    limit_gpu_memory(0.25)
    assert limits == {0: 0.25, 1: 0.25}
