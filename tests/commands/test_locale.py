"""In the locale C, where Python takes ASCII for files, names and the terminal, everything works as elsewhere."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runs import TINY

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


@pytest.mark.slow
def test_what_is_written_and_printed_does_not_depend_on_it(
    run_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    def run(script: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = run_script(script, *arguments, **ASCII)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr and "UnicodeEncodeError" not in done.stderr
        return done

    folder = "runs/digits/version_0"
    run("train.py", *TINY, "trainer.max_epochs=1", "log_dir=runs", "trainer.enable_progress_bar=true")
    drawn = run(
        "sample.py", f"ckpt_path={folder}", "num_samples=4", "sampler.num_steps=2", "save=[grid,png]", "out=läufe"
    )
    assert r"4 images: l\udcc3\udca4ufe" in drawn.stdout
    assert (tmp_path / "läufe" / "grid.png").is_file()
    measured = ("num_samples=20", "sampler.num_steps=2", "extractor.dataset=digits", "cache_dir=stätte", "out=läufe")
    run("eval.py", f"ckpt_path={folder}", "metrics=[fid]", *measured)
    assert "fid" in (tmp_path / "läufe" / "table.md").read_text(encoding="utf-8")
    run("report.py", "runs")
    refused = run("train.py", *TINY, "log_dir=läufe", code=2)
    assert refused.stderr.startswith("error: log_dir=") and "l??ufe/digits: this name cannot be read" in refused.stderr


def test_an_error_with_umlauts_is_one_line(run_script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run_script("sample.py", "ckpt_path=läufe/nirgends", **ASCII)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: ckpt_path=l??ufe/nirgends: no such checkpoint or run folder"]
