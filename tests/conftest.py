"""Shared by all tests: --run-slow, the project's root, real images where they are at hand, the commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

import prefork
from lightdiff.commands.cli import run_command
from waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
# as in an activated environment, so that messages show "python" and not its path
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
REAL_DATA = ROOT.parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run the tests that take minutes")
    parser.addoption("--fresh", action="store_true", help="let every command import its libraries anew")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--fresh"):
        prefork.install()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="takes minutes: --run-slow"))


@pytest.fixture(scope="session")
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the real data sets laid out as torchvision reads them; skips where they are not at hand."""
    script = REAL_DATA / "unpack.py"
    if not script.is_file():
        pytest.skip("real images (../shared/data) are not at hand")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "real"  # one for all workers
    with FileLock(f"{folder}.lock"):  # whoever comes second finds it complete
        subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command of this test import its libraries anew."""
    monkeypatch.setattr(prefork, "ON", False)


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds for which the program goes to sleep in this test; it is not left to sleep."""
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


@pytest.fixture
def run_module(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python with these arguments in an empty working directory; returns the finished process."""

    def run(*arguments: str, timeout: float = PATIENCE, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def run_script(run_module) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run train.py, sample.py, ... as a user does, in an empty working directory; returns the finished process."""

    def run(script: str, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
        return run_module(str(ROOT / script), *arguments, **options)

    return run


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in this process, without the seconds that a fresh one takes to import torch: in an empty working
    directory (or `folder`), not for several devices."""

    def run(script: str, *arguments: str, folder: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(folder)
        argv = [str(ROOT / script), *arguments]
        monkeypatch.setattr(sys, "argv", [*argv])
        capfd.readouterr()
        code = run_command(script.removesuffix(".py"), list(arguments))
        output = capfd.readouterr()
        return subprocess.CompletedProcess(argv, code, output.out, output.err)

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
