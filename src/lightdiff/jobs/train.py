"""The training job: run this folder.

The folder's config.yaml says what to do and its last.ckpt, where there is one, from where to go on. One device, several
processes, torchrun, SLURM and resume all come through here; Hydra does not.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import seed_everything

from lightdiff.callbacks.due import first_step_to_log
from lightdiff.config.build import build_data, build_model, build_optimizer, build_sampler
from lightdiff.config.classes import keep_former_order, prepare_captions, with_classes
from lightdiff.config.decisions import decide
from lightdiff.config.from_data import filled, found_in_data
from lightdiff.config.instantiate import ConfigError, naming
from lightdiff.config.pretrained import with_pretrained_network
from lightdiff.config.reading import reading
from lightdiff.config.settings import TrainSettings, check_fit, check_settings
from lightdiff.config.speed import number_of_processes
from lightdiff.config.trust import Trust
from lightdiff.data import DiffSet
from lightdiff.jobs.described import portable
from lightdiff.jobs.failures import explained
from lightdiff.jobs.good_checkpoint import check_fits_run, resumable
from lightdiff.jobs.job import Job
from lightdiff.jobs.log_file import log_to
from lightdiff.jobs.loggers import build_loggers
from lightdiff.jobs.processes import end_with_first_rank
from lightdiff.jobs.run_config import CONFIG, read_config, write_config
from lightdiff.jobs.run_folder import alone_in, discard_if_untrained, put_back_if_refused
from lightdiff.jobs.run_result import RESULT, read_result
from lightdiff.jobs.summary import run_summary
from lightdiff.jobs.trainer import build_callbacks, build_trainer
from lightdiff.model import DiffusionModel, Generation, check_same_teacher, example_of, load_weights_into
from lightdiff.utils.files import remove_unfinished, shown
from lightdiff.utils.ranks import rank_and_world_size


def check_job(folder: Path, config: dict[str, Any], settings: TrainSettings | None = None) -> None:
    """Build everything as `run_job` does and raise the same errors, but start and write nothing."""
    _prepare(folder, config, settings)


def run_job(
    folder: Path, config: dict[str, Any] | None = None, settings: TrainSettings | None = None
) -> dict[str, Any]:
    """Train in a run folder as its config.yaml says, going on from its last.ckpt where there is one.

    A folder in which nothing was trained is removed again when the job fails.

    Args:
        folder: the run's folder.
        config: a new configuration, which is written to config.yaml once all of it has been accepted.
        settings: what `check_settings` has returned for that configuration; None: it is checked here.

    Returns:
        The content of result.json; {} on ranks other than 0.

    Raises:
        ConfigError: a setting was refused before the first batch, or another process trains in this folder.
        RunFailed: memory or disk ran out, or another process of the run is gone.
    """
    folder = folder.absolute()
    config = read_config(folder) if config is None else config
    rank_zero = rank_and_world_size()[0] == 0
    # warnings of Lightning about its own code, which a user cannot change
    for harmless in (".*LeafSpec", ".*is not supported by the model summary"):
        warnings.filterwarnings("ignore", message=harmless)
    end_with_first_rank()
    with alone_in(folder) if rank_zero else nullcontext():
        return _run(folder, config, settings, rank_zero)


def _run(folder: Path, config: dict[str, Any], settings: TrainSettings | None, rank_zero: bool) -> dict[str, Any]:
    log_file = log_to(folder / "train.log") if rank_zero else None
    try:
        with put_back_if_refused(folder) if rank_zero else nullcontext():
            if rank_zero:
                for written in (folder, folder / "checkpoints"):
                    remove_unfinished(written)
            job = _prepare(folder, config, settings)
            if rank_zero:
                write_config(folder, config)
                (folder / RESULT).unlink(missing_ok=True)
                print(f"run folder: {shown(folder)}", flush=True)
            with explained(folder, config):
                job.fit()
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
    print(run_summary(folder, config, result, job.model), flush=True)
    return result


def _prepare(folder: Path, config: dict[str, Any], settings: TrainSettings | None) -> Job:
    """Check the settings, decide how to compute, build everything; nothing is trained.

    Data and model are built before the decisions, because layout depends on the network, and compiling and residence on the
    images.
    """
    # check
    settings = settings or check_settings(config)
    last, given = folder / "checkpoints" / "last.ckpt", config["dataset"]
    former = resumable(last)[1] if last.is_file() else None

    # build what the decisions depend on, and what may be refused before the images are read
    data = _build_data(config, folder, former)
    model = _build_model(config, settings, former)
    seed_everything(settings.seed, verbose=False)
    # without a checkpoint the run begins anew, and points that a killed run has left are dropped
    loggers = build_loggers(config, folder, purge_step=first_step_to_log(former) if former else 0)
    callbacks = build_callbacks(config)
    _read(data, config, former, last)
    model.dataset = portable(config["dataset"])
    check_fit(model, data)
    prepare_captions(model, data)

    # decide
    decisions = decide(config, model, data, began=former and former["lightdiff"].get("training"))

    # build the rest as decided
    decisions.apply(model)
    model.use_optimizer(build_optimizer(config, decisions.fused.value))
    trainer = build_trainer(config, folder, decisions, callbacks, loggers)
    with naming("trainer", config["trainer"]):
        model.check_end(trainer)
    if former:
        check_fits_run(trainer, model, last, former)
    found = found_in_data(given, config["dataset"])
    return Job(config, found, data, model, decisions, trainer, last if former else None)


def _build_data(config: dict[str, Any], folder: Path, former: dict[str, Any] | None) -> DiffSet:
    """Build the data set, which is not read yet; the configuration gains what a run that goes on has found in its data."""
    if (folder / CONFIG).is_file():
        config.update(filled(config, read_config(folder)))
    data = build_data(config)
    if former:
        with reading(config["dataset"]):
            data.prepare_data()
            keep_former_order(data)
    config.update(with_classes(config, data))
    return data


def _build_model(config: dict[str, Any], settings: TrainSettings, former: dict[str, Any] | None) -> DiffusionModel:
    """Build the model and check that it can be sampled; its optimizer is not decided yet.

    The configuration gains the network's settings that are those of a pretrained model.
    """
    config.update(with_pretrained_network(config))
    model = build_model(config, fused=False)
    sampler, num_steps = build_sampler(config)
    with naming("sampler", config["sampler"]):
        Generation.of(model, sampler=sampler, num_steps=num_steps, **example_of(model))
    if settings.init_from is not None and former is None:
        load_weights_into(model, settings.init_from, weights=settings.init_weights, trust=Trust.of(settings.trust))
    if former is not None:
        trained = former["lightdiff"].get("training") or {}
        check_same_teacher(model, config["objective"].get("teacher"), trained.get("teacher"))
    limit_gpu_memory(settings.gpu_memory_fraction)
    return model


def _read(data: DiffSet, config: dict[str, Any], former: dict[str, Any] | None, last: Path) -> None:
    """Read the images; the configuration gains what was found in them."""
    # before `setup` nothing but a garbled checkpoint is refused here
    data.expect((former or {}).get(type(data).__qualname__, {}), f"resume={shown(last)}")
    with reading(config["dataset"]):
        data.prepare_data()
        data.setup()
        data.check_shares(number_of_processes(config["trainer"]).value)
    config.update(filled(config, {"dataset": {"batch_size": data.batch_size, "class_names": [*data.class_names]}}))


def limit_gpu_memory(fraction: float | None) -> None:
    """Limit this process to a share of each GPU's memory: a number in (0, 1], or None for no limit."""
    if fraction is None:
        return
    for device in range(torch.cuda.device_count()):
        torch.cuda.set_per_process_memory_fraction(fraction, device)
