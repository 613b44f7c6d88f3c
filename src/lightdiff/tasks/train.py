"""The training job: run this folder.

The folder's config.yaml says what to do and its last.ckpt, where there is one, from where to go on. One device, several
processes, torchrun, SLURM and resume all come through here; Hydra does not.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import seed_everything
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from lightdiff.callbacks.due import first_step_to_log
from lightdiff.data import DataError
from lightdiff.lightning import Generation, load_weights_into
from lightdiff.tasks.build import build_data, build_model, build_sampler, build_trainer
from lightdiff.tasks.classes import keep_former_order, with_classes
from lightdiff.tasks.described import portable
from lightdiff.tasks.devices import Ranks
from lightdiff.tasks.failures import explained
from lightdiff.tasks.from_data import filled, found_in_data
from lightdiff.tasks.good_checkpoint import check_fits_run, naming_field, resumable
from lightdiff.tasks.handover import rank_and_world_size
from lightdiff.tasks.processes import end_with_first_rank, hold_signals, take_signals
from lightdiff.tasks.reading import fitting, reading
from lightdiff.tasks.run_config import CONFIG, read_config, write_config
from lightdiff.tasks.run_folder import alone_in, discard_if_untrained, put_back_if_refused
from lightdiff.tasks.run_result import RESULT, read_result
from lightdiff.tasks.settings import check_fit, check_settings
from lightdiff.tasks.speed import TrainingSpeed
from lightdiff.tasks.summary import batch_norm_warning, data_summary, device_summary, network_summary, run_summary
from lightdiff.utils.config import ConfigError, naming
from lightdiff.utils.files import remove_unfinished, shown

log = logging.getLogger(__name__)


def check_job(folder: Path, config: dict[str, Any]) -> None:
    """Build everything as `run_job` does and raise the same errors, but start and write nothing."""
    _prepare(config, folder)


def run_job(folder: Path, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """Train in a run folder as its config.yaml says, going on from its last.ckpt where there is one.

    A folder in which nothing was trained is removed again when the job fails.

    Args:
        folder: the run's folder.
        config: a new configuration, which is written to config.yaml once all of it has been accepted.

    Returns:
        The content of result.json; {} on ranks other than 0.

    Raises:
        ConfigError: a setting was refused before the first batch, or another process trains in this folder.
        RunFailed: memory or disk ran out, or another process of the run is gone.
    """
    folder = folder.absolute()
    config = read_config(folder) if config is None else config
    rank_zero = int(os.environ.get("LOCAL_RANK", 0)) == 0 and rank_and_world_size()[0] == 0
    # warnings of Lightning about its own code, which a user cannot change
    for harmless in (".*LeafSpec", ".*is not supported by the model summary"):
        warnings.filterwarnings("ignore", message=harmless)
    end_with_first_rank()
    with alone_in(folder) if rank_zero else nullcontext():
        return _run(folder, config, rank_zero)


def _run(folder: Path, config: dict[str, Any], rank_zero: bool) -> dict[str, Any]:
    log_file = _log_to(folder / "train.log") if rank_zero else None
    try:
        with put_back_if_refused(folder) if rank_zero else nullcontext():
            if rank_zero:
                for written in (folder, folder / "checkpoints"):
                    remove_unfinished(written)
            fit = _prepare(config, folder)
            if rank_zero:
                write_config(folder, config)
                print(f"run folder: {shown(folder)}", flush=True)
            with explained(folder, config):
                fit()
    except BaseException as error:
        if rank_zero:
            logging.getLogger("lightdiff").error("%s: %s", type(error).__name__, error)
            discard_if_untrained(folder, refused=isinstance(error, ConfigError))
        raise
    finally:
        if log_file is not None:
            logging.getLogger().removeHandler(log_file)
            log_file.close()
    if not rank_zero:
        return {}
    result = read_result(folder) or {}
    print(run_summary(folder, config, result), flush=True)
    return result


def _prepare(config: dict[str, Any], folder: Path) -> Callable[[], None]:
    """Build and check everything; return a function that trains."""
    check_settings(config)
    last = folder / "checkpoints" / "last.ckpt"
    checkpoint = last if last.is_file() else None
    given = config["dataset"]
    if (folder / CONFIG).is_file():
        # a run that goes on keeps its numbers
        config.update(filled(config, read_config(folder)))
    data = build_data(config)
    if checkpoint:
        with reading(config["dataset"]):
            data.prepare_data()
            keep_former_order(data)
    config.update(with_classes(config, data))
    model = build_model(config)
    former = resumable(last)[1] if checkpoint else None
    # without a checkpoint the run begins anew, and points that a killed run has left are dropped
    purge_step = first_step_to_log(former) if former else 0
    sampler, num_steps = build_sampler(config)
    with naming("sampler", config["sampler"]):
        Generation.of(model, sampler=sampler, num_steps=num_steps)
    if config.get("init_from") is not None and checkpoint is None:
        load_weights_into(model, config["init_from"], weights=config["init_weights"])
    limit_gpu_memory(config.get("gpu_memory_fraction"))
    seed_everything(config["seed"], verbose=False)
    trainer = build_trainer(config, folder, purge_step=purge_step)
    if former:
        check_fits_run(trainer, model, last, former)
    # before `setup` nothing but a garbled checkpoint is refused here
    data.expect((former or {}).get(type(data).__qualname__, {}), f"resume={shown(last)}")
    with reading(config["dataset"]):
        data.prepare_data()
        data.setup()
        data.check_shares(trainer.world_size)
    config.update(filled(config, {"dataset": {"batch_size": data.batch_size, "class_names": [*data.class_names]}}))
    model.dataset = portable(config["dataset"])
    check_fit(model, data)
    speed = TrainingSpeed.of(config, model, data, began=former and former["lightdiff"].get("training"))
    speed.apply(model)

    def fit() -> None:
        (folder / RESULT).unlink(missing_ok=True)
        if trainer.is_global_zero:
            # train.log has them already
            for line in data.warnings:
                print(f"warning:    {line}", flush=True)
            lines = [network_summary(model)] if config["trainer"].get("enable_model_summary", True) else []
            lines += [data_summary(data), device_summary(trainer), *batch_norm_warning(trainer, model), str(speed)]
            lines += [data.accepted] if data.accepted else []
            for line in (*found_in_data(given, config["dataset"]), *lines):
                print(line, flush=True)
                log.info("%s", line)
        if isinstance(trainer.strategy, Ranks):
            hold_signals()
        try:
            with naming_field(trainer, checkpoint):
                trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        except (ValueError, MisconfigurationException, DataError) as error:
            if model.batch_number > 0:
                raise
            # refused before the first batch, so a setting is wrong
            with fitting(config["dataset"]):
                if isinstance(error, DataError):
                    raise
            raise ConfigError(" ".join(str(error).split())) from error
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                # Lightning would turn it into exit code 1
                raise KeyboardInterrupt from error
            raise
        finally:
            data.teardown()
            take_signals()

    return fit


def limit_gpu_memory(fraction: float | None) -> None:
    """Limit this process to a share of each GPU's memory: a number in (0, 1], or None for no limit."""
    if fraction is None:
        return
    for device in range(torch.cuda.device_count()):
        torch.cuda.set_per_process_memory_fraction(fraction, device)


class _LogFile(logging.FileHandler):
    """A log file that loses messages on a full disk without a trace in the terminal; the run itself says what is wrong."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def _log_to(path: Path) -> logging.Handler:
    """Write messages of this project and of Lightning, and warnings, to train.log.

    Of Lightning's messages the terminal shows only warnings.
    """
    handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    # Lightning advertises other products as tips
    handler.addFilter(lambda record: "Tip:" not in record.getMessage())
    logging.captureWarnings(True)
    logging.getLogger().addHandler(handler)
    lightning = logging.getLogger("pytorch_lightning")
    lightning.propagate = True
    for terminal in lightning.handlers:
        terminal.setLevel(logging.WARNING)
    logging.getLogger("lightdiff").setLevel(logging.INFO)
    return handler
