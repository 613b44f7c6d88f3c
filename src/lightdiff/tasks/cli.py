"""The commands: Hydra composes the configuration, errors become one line and an exit code.

Exit codes: 0 done; 1 a run that failed; 2 bad configuration or arguments; 130 and 143 interrupted after saving.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lightdiff.tasks.handover import rank_and_world_size, receive_job, releasing_ranks
from lightdiff.tasks.messages import ASKED, FULL_ERROR, bad_configuration
from lightdiff.tasks.run_folder import claim_run_folder, discard_if_untrained, next_run_folder
from lightdiff.tasks.sweep import failures, keep_failure

SHOWING = ("--cfg", "-c", "--info", "-i")
"""Flags that only show the configuration: no run folder is made for them."""
FIRST_RANK_SECONDS = 10
"""Seconds that the first process of a job has to tell of its own failure before that of another one ends it."""

# here and not in a function: a job in another process finds it by importing this module
OmegaConf.register_new_resolver("claim_run_folder", claim_run_folder, use_cache=True, replace=True)


def train_command(script: str) -> int:
    """`train.py`: compose and train; `resume=...`: go on; `--job FOLDER`: train what that folder's config.yaml says.

    `--job FOLDER NAME ...`: that configuration may use these names of classes too, which are not lightdiff's own.

    Started several times at once by torchrun or srun, the first process does so and the others follow it.
    """
    arguments = sys.argv[1:]
    if arguments[:1] == ["--job"]:
        return _guarded(lambda: _run_job(arguments[1:], script), script, "train")
    if rank_and_world_size()[0] > 0:
        return _guarded(_follow, script, "train")
    with releasing_ranks():
        if any(argument.startswith("resume=") for argument in arguments) and "resume=null" not in arguments:
            return _guarded(lambda: _resume(arguments, script), script, "train")
        return _hydra_command(script, "train", _train_task)


def sample_command(script: str) -> int:
    """`sample.py`: draw images from a trained model."""
    return _hydra_command(script, "sample", _sample_task)


def eval_command(script: str) -> int:
    """`eval.py`: measure a trained model."""
    return _hydra_command(script, "eval", _eval_task)


def export_command(script: str) -> int:
    """`export.py`: write a trained model as a folder for sharing."""
    return _hydra_command(script, "export", _export_task)


def _train_task(cfg: DictConfig, script: Path) -> float | None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    if rank_and_world_size()[0] > 0:  # a task of a job that a launcher has given to SLURM
        discard_if_untrained(folder, refused=False)
        _follow()
        return None
    try:
        from lightdiff.tasks.launch import launch  # torch and Lightning: only when there is something to do

        with releasing_ranks():
            return launch(cfg, script)
    except (KeyboardInterrupt, SystemExit):  # perhaps before anything was trained
        discard_if_untrained(folder, refused=False)
        raise


def _sample_task(cfg: DictConfig, script: Path) -> None:
    from lightdiff.tasks.sample import sample

    sample(cfg)


def _eval_task(cfg: DictConfig, script: Path) -> None:
    from lightdiff.tasks.evaluate import evaluate

    evaluate(cfg)


def _export_task(cfg: DictConfig, script: Path) -> None:
    from lightdiff.tasks.export import export

    export(cfg)


def _follow() -> None:
    """Of several processes of one job, not the first: train what the first one says."""
    job = receive_job()
    if job is not None:
        from lightdiff.tasks.train import run_job

        run_job(*job)


def _run_job(arguments: list[str], script: str) -> None:
    from lightdiff.tasks.names import check_names
    from lightdiff.tasks.run_folder import read_config
    from lightdiff.tasks.train import run_job
    from lightdiff.utils.config import ConfigError

    if not arguments:
        raise ConfigError(
            "--job: a run folder is expected, as in: python train.py --job lightning_logs/mnist/version_0"
        )
    folder, *typed = arguments
    config = read_config(Path(folder))
    check_names(config, Path(script).resolve().parent / "conf", set(typed), f"type --job {folder} {{name}}")
    run_job(Path(folder), config)


def _resume(arguments: list[str], script: str) -> None:
    from lightdiff.tasks.resume import resume

    resume(arguments, Path(script).resolve())


def _hydra_command(script: str, name: str, task: Callable[[DictConfig, Path], Any]) -> int:
    path = Path(script).resolve()
    conf = path.parent / "conf"
    for flag in {"-m", "--multirun"} & set(sys.argv):  # Hydra understands it in front of the overrides only
        sys.argv.remove(flag)
        sys.argv.insert(1, flag)
    showing = any(argument.partition("=")[0] in SHOWING for argument in sys.argv)
    claim = next_run_folder if showing else claim_run_folder
    OmegaConf.register_new_resolver("claim_run_folder", claim, use_cache=True, replace=True)
    typed = {argument.casefold() for argument in sys.argv}
    asked = os.environ.get(FULL_ERROR, "0")

    def job(cfg: DictConfig) -> Any:  # perhaps in another process: it knows this one's command line by these variables
        try:
            return task(cfg, path)
        except Exception as error:  # Hydra would print lines of its own
            line, code = _explained(error, asked != "0", conf, name)
            keep_failure(line, code, typed)
            if rank_and_world_size()[0] == 0:
                return None
            time.sleep(FIRST_RANK_SECONDS)
            # the first one may be waiting for this process; Hydra would keep an exception to itself
            raise SystemExit(code) from error

    def command() -> None:
        os.environ.update({FULL_ERROR: "1", ASKED: asked})  # Hydra hands exceptions on instead of printing them
        try:
            hydra.main(version_base="1.3", config_path=str(conf), config_name=name)(job)()
        finally:
            os.environ[FULL_ERROR] = asked

    return _guarded(command, script, name)


def _guarded(command: Callable[[], Any], script: str, name: str) -> int:
    """Run it; an exception becomes one line on stderr and an exit code (with HYDRA_FULL_ERROR=1 the trace as well)."""
    wrong: list[tuple[str, int]] = []
    interrupted = None
    former = signal.signal(signal.SIGTERM, _terminated)
    try:
        command()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        interrupted = 130
    except SystemExit as error:  # 130 or 143 after saving
        interrupted = error.code if isinstance(error.code, int) else int(error.code is not None)
    except Exception as error:
        full = os.environ.get(FULL_ERROR, "") not in ("", "0")
        wrong.append(_explained(error, full, Path(script).resolve().parent / "conf", name))
    finally:
        signal.signal(signal.SIGTERM, former)
    wrong = failures() + wrong
    for line, _ in wrong:
        print(f"error: {line}", file=sys.stderr)
    return min((code for _, code in wrong), default=0) if interrupted is None else interrupted


def _terminated(number: int, frame: FrameType | None) -> None:
    """SIGTERM outside of training, where nothing is to be saved."""
    raise SystemExit(143)


def _explained(error: Exception, full: bool, conf: Path, name: str) -> tuple[str, int]:
    """What went wrong in one line, and the exit code: 2 for a bad configuration, 1 for a failure; other traces are printed."""
    line = bad_configuration(error, conf=conf, name=name)
    expected = line is not None or type(error).__module__.startswith("lightdiff.")  # it has a message of our own
    if full or not expected:
        traceback.print_exception(error)
    return line or " ".join(str(error).split()), 1 if line is None else 2
