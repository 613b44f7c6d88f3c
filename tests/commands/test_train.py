"""Settings of the training job that are the project's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightdiff.config.instantiate import ConfigError
from lightdiff.config.settings import check_accelerator
from lightdiff.jobs.train import limit_gpu_memory


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


def test_without_a_gpu_the_trainers_that_need_none_are_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those in the folders of the configuration, so that a file of the user's is offered too."""
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "slow.yaml").write_text("accelerator: cpu\n")
    (tmp_path / "trainer" / "huge.yaml").write_text("accelerator: cuda\n")
    monkeypatch.setattr("sys.argv", ["train.py", "--config-dir", str(tmp_path)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="choices: trainer=cpu, ddp, debug, default, slow$"):
        check_accelerator("gpu")
