"""Show a page on which one plays with trained models."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig

from lightdiff.commands.trained import device_of
from lightdiff.config.command_settings import CommandSettings, check_command
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.plain import plain
from lightdiff.config.trust import Trust
from lightdiff.play.address import free_port
from lightdiff.play.folder import own_folder
from lightdiff.play.playable import load_playable
from lightdiff.utils.files import user_path

MOST_MODELS = 8


@dataclass(frozen=True)
class PlaySettings(CommandSettings):
    """The keys of play.yaml.

    Raises:
        ValueError: a number is out of its range.
    """

    ckpt_path: str | Sequence[str]
    weights: Literal["ema", "raw"]
    trust: Sequence[str]
    device: str
    host: str
    port: int
    share: bool
    data_dir: str | None
    open_browser: bool

    def __post_init__(self) -> None:
        Trust.of(self.trust)
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port={self.port}: 0 to 65535 is expected")
        if not 1 <= len(self.paths) <= MOST_MODELS:
            raise ValueError(f"ckpt_path={self.ckpt_path}: 1 to {MOST_MODELS} of them are expected")

    @property
    def paths(self) -> list[str]:
        """Where the models are."""
        return [self.ckpt_path] if isinstance(self.ckpt_path, str) else list(self.ckpt_path)


def play(cfg: DictConfig) -> None:
    """Load the models and serve the page until the command is ended.

    Raises:
        ConfigError: a setting that does not exist or does not fit, or nothing can be served at the address.
        CheckpointError: a model cannot be loaded.
    """
    config = plain(cfg)
    settings = check_command(config, PlaySettings)
    device, trust = device_of(settings.device), Trust.of(settings.trust)
    if settings.data_dir is not None and not user_path(settings.data_dir).is_dir():
        raise ConfigError(f"data_dir={settings.data_dir}: no such folder")
    port = free_port(settings.host, settings.port)
    playables = [load_playable(path, settings.weights, device, trust, settings.data_dir) for path in settings.paths]
    with own_folder() as folder, _files_in(folder):
        # Gradio reads the environment when it is imported
        from lightdiff.play.page.serve import served

        with served(
            playables, host=settings.host, port=port, share=settings.share, open_browser=settings.open_browser
        ) as address:
            print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
            threading.Event().wait()


@contextmanager
def _files_in(folder: Path) -> Iterator[None]:
    """Let every temporary file go into the folder, and nothing be told to anybody, while the block runs."""
    wanted = {
        "GRADIO_TEMP_DIR": str(folder / "gradio"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TMPDIR": str(folder),
    }
    before, place = {name: os.environ.get(name) for name in wanted}, tempfile.tempdir
    os.environ.update(wanted)
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = place
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
