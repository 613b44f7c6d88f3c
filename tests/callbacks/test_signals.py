"""SIGTERM asks a run to save; a second one ends it, even where it hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from lightdiff.callbacks import SaveOnSignal, signals
from waiting import PATIENCE

HANGING = """
import sys
from types import SimpleNamespace
from lightdiff.callbacks import SaveOnSignal, signals
signals.AGAIN_SECONDS = 0.05
callback = SaveOnSignal()
callback._rank_zero = True
fit_loop = SimpleNamespace(restarting=False, restarted_mid_epoch=False)
callback.on_train_start(SimpleNamespace(fit_loop=fit_loop), None)
print("ready", file=sys.stderr, flush=True)
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
"""


def test_a_second_sigterm_ends_a_process_that_hangs() -> None:
    with subprocess.Popen([sys.executable, "-c", HANGING], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while process.stderr.readline() != "ready\n":
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        while not process.stderr.readline().startswith("SIGTERM: saving"):
            assert process.poll() is None
        try:
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE) == -signal.SIGTERM
        finally:
            process.kill()


def test_a_sigterm_that_comes_twice_at_once_counts_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signals, "AGAIN_SECONDS", 1e6)
    callback = SaveOnSignal()
    nothing = SimpleNamespace(fit_loop=SimpleNamespace(restarting=False, restarted_mid_epoch=False))
    callback._rank_zero = True
    before: Any = signal.getsignal(signal.SIGTERM)
    callback.on_train_start(nothing, nothing)  # type: ignore[arg-type]
    try:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    finally:
        callback.on_train_end(nothing, nothing)  # type: ignore[arg-type]
    assert signal.getsignal(signal.SIGTERM) is before
    assert "SIGTERM: saving after this step" in capsys.readouterr().err
