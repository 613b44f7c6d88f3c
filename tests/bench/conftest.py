"""Settings of a bench that takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from parts.settings import Settings

TINY = (
    "dataset=digits",
    "dataset.image_size=16",
    "dataset.batch_size=8",
    "dataset.resize_mode=resize",
    "model.widths=[8,8,16,16]",
    "model.attention_levels=[2,3]",
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(repeats=1, lap_seconds=0.0, batch=2, data_dir=tmp_path, ours=TINY)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
