"""A command goes on when its output goes nowhere any more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lightdiff.callbacks import SaveOnSignal
from lightdiff.utils.interruption import wanted
from runs import ROOT, TINY
from waiting import PATIENCE

ARGUMENTS = [*TINY, "callbacks=no_samples", "trainer.enable_progress_bar=true", "callbacks.progress.line_seconds=0.1"]


def trained(tmp_path: Path, shell: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which "$@" is a training, and check that it has trained to the end."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell, "bash", sys.executable, str(ROOT / "train.py"), *ARGUMENTS],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "lightning_logs" / "digits" / "version_0" / "result.json").read_text())
    assert result["epochs"] == 2
    return done


@pytest.mark.parametrize(
    "shell",
    [
        pytest.param('"$@" | head -1', marks=pytest.mark.slow),
        '"$@" > /dev/full',
        pytest.param('"$@" >&-', marks=pytest.mark.slow),
        pytest.param('"$@" 2>&1 | head -1', marks=pytest.mark.slow),
        pytest.param('"$@" >&- 2>&-', marks=pytest.mark.slow),
    ],
)
def test_a_training_whose_output_is_lost_goes_on(shell: str, tmp_path: Path) -> None:
    if "/dev/full" in shell and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = trained(tmp_path, shell)
    assert "error" not in done.stderr.casefold() and "BrokenPipe" not in done.stderr


def test_nohup_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted(signal.SIGHUP) and wanted(signal.SIGTERM)
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert not wanted(signal.SIGHUP)
        callback = SaveOnSignal()
        trainer = SimpleNamespace(fit_loop=SimpleNamespace(restarting=False, restarted_mid_epoch=False))
        callback.on_train_start(trainer, None)  # type: ignore[arg-type]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        callback.on_train_end(None, None)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGHUP, former)
