"""The commands: Hydra composes the configuration, errors become one line and an exit code.

Exit codes: 0 done; 1 a run that failed; 2 bad configuration or arguments; 128 + the number of a signal: interrupted after
saving (130 Ctrl-C, 143 SIGTERM, 129 the terminal has gone).
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lightdiff.commands.arguments import (
    in_usual_cases,
    is_unknown_flag,
    plain_overrides,
    readable,
    split_flags,
    with_added_keys,
)
from lightdiff.commands.grid import faults
from lightdiff.commands.help import help_text
from lightdiff.commands.messages import ASKED, FULL_ERROR, bad_configuration, before_a_job
from lightdiff.commands.needed import check_checkpoint_extras, check_extras
from lightdiff.commands.sweep import failures, keep_failure, refuse
from lightdiff.config.conf_files import own_folder, use_folders
from lightdiff.config.instantiate import ConfigError, import_target
from lightdiff.config.trust import Trust
from lightdiff.jobs.handover import receive_job, releasing_ranks
from lightdiff.jobs.process_group import failed_on_all_ranks
from lightdiff.jobs.run_folder import claim_run_folder, discard_if_untrained, next_run_folder
from lightdiff.utils.files import full_or_broken_disk
from lightdiff.utils.interruption import SIGNALS, wanted
from lightdiff.utils.output import survive_lost_output
from lightdiff.utils.program import typed
from lightdiff.utils.quoting import word
from lightdiff.utils.ranks import rank_and_world_size
from lightdiff.utils.text import printable
from lightdiff.utils.warned import show_warnings_in_one_line

SHOWING = ("--cfg", "-c", "--info", "-i")
"""Flags that only show the configuration: no run folder is made for them."""
SHOWN = ("job", "hydra", "all")
"""Parts of the configuration that --cfg shows."""

# here and not in a function: a job in another process finds it by importing this module
OmegaConf.register_new_resolver("claim_run_folder", claim_run_folder, use_cache=True, replace=True)


def run_command(command: str, arguments: list[str]) -> int:
    """Run a command as typed and return its exit code.

    Args:
        command: train, sample, edit, restore, eval, export or play.
        arguments: what follows it on the command line.
    """
    survive_lost_output()
    show_warnings_in_one_line()
    if any(argument in ("--help", "-h") for argument in arguments):
        print(help_text(command))
        return 0
    return train_command(arguments) if command == "train" else _hydra_command(command, arguments, _TASKS[command])


def train_command(arguments: list[str]) -> int:
    """Train: compose a new run, go on with `resume=...`, or run the job of a folder.

    `--job FOLDER [NAME ...]` trains what the folder's config.yaml says. That configuration may use the given names of classes
    too, which are not lightdiff's own. Started several times at once by torchrun or srun, rank 0 does all this and the other
    ranks receive its job.
    """
    if arguments[:1] == ["--job"]:
        return _guarded("train", lambda: _run_job(arguments[1:]))
    if rank_and_world_size()[0] > 0:
        return _guarded("train", _follow)
    with releasing_ranks():
        if any(argument.startswith("resume=") for argument in arguments) and "resume=null" not in arguments:
            return _guarded("train", lambda: _resume(arguments))
        return _hydra_command("train", arguments, _train_task)


def _train_task(cfg: DictConfig) -> float | None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    if rank_and_world_size()[0] > 0:
        # another rank of a job that a launcher has given to SLURM
        discard_if_untrained(folder, refused=False)
        _follow()
        return None
    with releasing_ranks():
        try:
            check_extras(cfg)
        except Exception:
            discard_if_untrained(folder, refused=True)
            raise
        try:
            # torch and Lightning take seconds to import: only when there is something to do
            from lightdiff.commands.launch import launch

            return launch(cfg)
        except (KeyboardInterrupt, SystemExit):
            # perhaps before anything was trained
            discard_if_untrained(folder, refused=False)
            raise


def _task(name: str, *, by_ranks: bool = False) -> Callable[[DictConfig], Any]:
    """Return the task of that dotted name, imported when it is called.

    Args:
        name: the dotted name.
        by_ranks: whether several ranks share its work; otherwise it refuses to be started as several.
    """

    def task(cfg: DictConfig) -> Any:
        _, world_size = rank_and_world_size()
        if world_size > 1 and not by_ranks:
            command = name.rpartition(".")[2]
            raise ConfigError(f"{typed(command)}: {world_size} processes were started; this command works in one")
        check_extras(cfg)
        return import_target(name)(cfg)

    return task


_TASKS = {
    "sample": _task("lightdiff.commands.sample.sample"),
    "edit": _task("lightdiff.commands.edit.edit"),
    "restore": _task("lightdiff.commands.restore.restore"),
    "eval": _task("lightdiff.commands.evaluate.evaluate", by_ranks=True),
    "export": _task("lightdiff.commands.export.export"),
    "play": _task("lightdiff.commands.play.play"),
}


def _follow() -> None:
    """On a rank other than 0: train what rank 0 has sent."""
    job = receive_job()
    if job is not None:
        from lightdiff.jobs.train import run_job

        run_job(*job)


def _run_job(arguments: list[str]) -> None:
    from lightdiff.config.names import check_names
    from lightdiff.jobs.run_config import read_config
    from lightdiff.jobs.train import run_job

    if not arguments:
        raise ConfigError(
            f"--job: a run folder is expected, as in: {typed('train')} --job lightning_logs/mnist/version_0"
        )
    folder, *names = arguments
    config = read_config(Path(folder))
    check_names(config, Trust.of((), names), lambda key, name: f"type --job {word(folder)} {word(name)}")
    run_job(Path(folder), config)


def _resume(arguments: list[str]) -> None:
    overrides = plain_overrides(arguments)
    check_checkpoint_extras("resume", str(overrides["resume"]))
    from lightdiff.commands.resume import resume

    resume(overrides)


def _hydra_command(command: str, arguments: list[str], task: Callable[[DictConfig], Any]) -> int:
    """Compose the configuration of a command with Hydra and run its task on it, once or for each job of a sweep."""
    flags, overrides = split_flags(arguments)
    unknown = next((argument for argument in flags if is_unknown_flag(argument)), None)
    if unknown is not None:
        print(f"error: {unknown}: no such flag; settings are written key=value, as in seed=1", file=sys.stderr)
        return 2
    asked_for = [value for flag, value in pairwise(flags) if flag in ("--cfg", "-c")]
    if any(value not in SHOWN for value in asked_for):
        print(f"error: --cfg {asked_for[0]}: choices: {', '.join(SHOWN)}", file=sys.stderr)
        return 2
    showing = any(flag.partition("=")[0] in SHOWING for flag in flags)
    # Hydra refuses overrides on both sides of a flag
    several = "-m" in flags or "--multirun" in flags
    # the folders of a command before this one, in the same process, are not those of this one
    HydraConfig.instance().cfg = None
    use_folders([])
    overrides = with_added_keys(readable(in_usual_cases(overrides), several=several))
    arguments = [*flags, *overrides]
    claim = next_run_folder if showing else claim_run_folder
    OmegaConf.register_new_resolver("claim_run_folder", claim, use_cache=True, replace=True)
    as_typed = {argument.casefold() for argument in arguments}
    asked = os.environ.get(FULL_ERROR, "0")

    # perhaps in another process: it knows what was typed here by these variables
    def job(cfg: DictConfig) -> Any:
        sources = HydraConfig.get().runtime.config_sources
        use_folders(Path(source.path) for source in sources if source.provider == "command-line")
        try:
            return task(cfg)
        except Exception as error:
            # Hydra would print lines of its own
            line, code = _explained(error, asked != "0", command)
            first = rank_and_world_size()[0] == 0
            if first:
                keep_failure(line, code, as_typed)
            # rank 0 of a training has no other job to begin
            if (first and task is _train_task) or failed_on_all_ranks():
                return None
            if not first:
                keep_failure(line, code, as_typed)
            # the other ranks may be waiting for this one; Hydra would keep an exception to itself
            raise SystemExit(code) from error

    def composed() -> None:
        if several:
            # all ranks find the same, and rank 0 prints it
            wrong = faults(command, overrides)
            refuse(wrong if rank_and_world_size()[0] == 0 else [])
            if wrong:
                return
        # with this variable Hydra hands exceptions on instead of printing them
        os.environ.update({FULL_ERROR: "1", ASKED: asked})
        former, sys.argv = sys.argv, [sys.argv[0], *arguments]
        try:
            hydra.main(version_base="1.3", config_path=str(own_folder()), config_name=command)(job)()
        except (FileExistsError, NotADirectoryError, PermissionError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise before_a_job(error) from error
        finally:
            os.environ[FULL_ERROR] = asked
            sys.argv = former

    return _guarded(command, composed)


def _guarded(command: str, action: Callable[[], Any]) -> int:
    """Run an action; an exception becomes one line on stderr and an exit code (with HYDRA_FULL_ERROR=1 the trace as well)."""
    wrong: list[tuple[str, int]] = []
    interrupted = None
    # an image of this size is refused, in one line that names it
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit of .* pixels, could be decompression bomb")
    handled = [number for number in SIGNALS if number != signal.SIGINT and wanted(number)]
    former = {number: signal.signal(number, _terminated) for number in handled}
    try:
        action()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        interrupted = 130
    except SystemExit as error:
        # 130, 143, 129 or 152 after saving
        interrupted = error.code if isinstance(error.code, int) else int(error.code is not None)
    except Exception as error:
        full = os.environ.get(FULL_ERROR, "") not in ("", "0")
        wrong.append(_explained(error, full, command))
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    wrong = failures() + wrong
    for line, _ in wrong:
        # a message may quote names out of a file
        print(f"error: {printable(line)}", file=sys.stderr)
    return min((code for _, code in wrong), default=0) if interrupted is None else interrupted


def _terminated(number: int, frame: FrameType | None) -> None:
    """Handle a signal outside of training, where nothing is to be saved."""
    raise SystemExit(128 + number)


def _explained(error: Exception, full: bool, command: str) -> tuple[str, int]:
    """Return one line that says what went wrong, and the exit code: 2 for a bad configuration, 1 for a failure.

    The trace is printed as well where it is asked for, and for errors that have no message of our own.
    """
    line = bad_configuration(error, command)
    failed = None if line or type(error).__module__.startswith("lightdiff.") else full_or_broken_disk(error)
    expected = line or failed or type(error).__module__.startswith("lightdiff.")
    if full or not expected:
        traceback.print_exception(error)
    return line or failed or " ".join(str(error).split()), 1 if line is None else 2
