"""The commands: Hydra composes the configuration, errors become one line and an exit code.

Exit codes: 0 done; 1 a run that failed; 2 bad configuration or arguments; 130 and 143 interrupted after saving.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lightdiff.tasks.messages import ASKED, FULL_ERROR, bad_configuration
from lightdiff.tasks.run_folder import claim_run_folder, discard_if_untrained, next_run_folder

SHOWING = ("--cfg", "-c", "--info", "-i")
"""Flags that only show the configuration: no run folder is made for them."""


def train_command(script: str) -> int:
    """`train.py`: compose and train; `resume=...`: go on; `--job FOLDER`: train what that folder's config.yaml says.

    `--job FOLDER NAME ...`: that configuration may use these names of classes too, which are not lightdiff's own.
    """
    arguments = sys.argv[1:]
    if arguments[:1] == ["--job"]:
        return _guarded(lambda: _run_job(arguments[1:], script), script, "train")
    if any(argument.startswith("resume=") for argument in arguments) and "resume=null" not in arguments:
        return _guarded(lambda: _resume(arguments, script), script, "train")
    return _hydra_command(script, "train", _train_task)


_failures: list[tuple[str, Exception]] = []
"""Of the jobs of this command: one that fails does not stop the others of a sweep, and all are told at the end."""


def _failed(error: Exception) -> None:
    """Keep the error, with what is special about its job where it is one of a sweep."""
    now = HydraConfig.get()
    typed = {argument.casefold() for argument in sys.argv}  # Hydra writes False for false
    overrides: Any = OmegaConf.to_container(now.overrides.task, resolve=False)  # as typed, ${...} and all
    special = [str(override) for override in overrides if str(override).casefold() not in typed]
    _failures.append((f"job {' '.join(special)}: " if now.mode == RunMode.MULTIRUN and special else "", error))


def sample_command(script: str) -> int:
    """`sample.py`: draw images from a trained model."""
    return _hydra_command(script, "sample", _sample_task)


def eval_command(script: str) -> int:
    """`eval.py`: measure a trained model."""
    return _hydra_command(script, "eval", _eval_task)


def export_command(script: str) -> int:
    """`export.py`: write a trained model as a folder for sharing."""
    return _hydra_command(script, "export", _export_task)


def _train_task(cfg: DictConfig) -> float | None:
    try:
        from lightdiff.tasks.launch import launch  # torch and Lightning: only when there is something to do

        return launch(cfg, script=Path(sys.argv[0]).resolve())
    except Exception as error:
        _failed(error)
        return None
    except BaseException:  # interrupted, perhaps before anything was trained
        discard_if_untrained(Path(HydraConfig.get().runtime.output_dir), refused=False)
        raise


def _sample_task(cfg: DictConfig) -> None:
    try:
        from lightdiff.tasks.sample import sample

        sample(cfg)
    except Exception as error:
        _failed(error)


def _eval_task(cfg: DictConfig) -> None:
    try:
        from lightdiff.tasks.evaluate import evaluate

        evaluate(cfg)
    except Exception as error:
        _failed(error)


def _export_task(cfg: DictConfig) -> None:
    try:
        from lightdiff.tasks.export import export

        export(cfg)
    except Exception as error:
        _failed(error)


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


def _hydra_command(script: str, name: str, task: Callable[[DictConfig], Any]) -> int:
    conf = Path(script).resolve().parent / "conf"
    for flag in {"-m", "--multirun"} & set(sys.argv):  # Hydra understands it in front of the overrides only
        sys.argv.remove(flag)
        sys.argv.insert(1, flag)
    showing = any(argument.partition("=")[0] in SHOWING for argument in sys.argv)
    claim = next_run_folder if showing else claim_run_folder
    OmegaConf.register_new_resolver("claim_run_folder", claim, use_cache=True, replace=True)
    main = hydra.main(version_base="1.3", config_path=str(conf), config_name=name)(task)

    def command() -> None:
        asked = os.environ.get(FULL_ERROR, "0")
        os.environ.update({FULL_ERROR: "1", ASKED: asked})  # Hydra hands exceptions on instead of printing them
        try:
            main()
        finally:
            os.environ[FULL_ERROR] = asked

    return _guarded(command, script, name)


def _guarded(command: Callable[[], Any], script: str, name: str) -> int:
    """Run it; an exception becomes one line on stderr and an exit code (with HYDRA_FULL_ERROR=1 the trace as well)."""
    _failures.clear()
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
        _failures.append(("", error))
    finally:
        signal.signal(signal.SIGTERM, former)
    full = os.environ.get(FULL_ERROR, "") not in ("", "0")
    conf = Path(script).resolve().parent / "conf"
    codes = [_explain(job, error, full, conf, name) for job, error in _failures]
    return min(codes, default=0) if interrupted is None else interrupted


def _terminated(number: int, frame: FrameType | None) -> None:
    """SIGTERM outside of training, where nothing is to be saved."""
    raise SystemExit(143)


def _explain(job: str, error: Exception, full: bool, conf: Path, name: str) -> int:
    """Print what went wrong and return the exit code: 2 for a bad configuration, 1 for a failure."""
    line = bad_configuration(error, conf=conf, name=name)
    expected = line is not None or type(error).__module__.startswith("lightdiff.")  # it has a message of our own
    if full or not expected:
        traceback.print_exception(error)
    print(f"error: {job}{line or ' '.join(str(error).split())}", file=sys.stderr)
    return 1 if line is None else 2
