"""Rehearse the restoring of a checkpoint: find out whether a run can go on from it before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from lightdiff.model.content import STEPS
from lightdiff.model.lr_schedules import adopt_settings
from lightdiff.model.model import DiffusionModel
from lightdiff.utils.structure import ANYTHING, FINITE, Items, Keys, Leaf, Misfit, Structure, alike


def rehearse(trainer: Trainer, model: DiffusionModel, checkpoint: dict[str, Any]) -> None:
    """Check that a run can go on from a checkpoint.

    Args:
        trainer: the trainer of the run, which has not trained yet.
        model: its model.
        checkpoint: the content of the checkpoint, which fits `content.TRAINING`. It stays as it is.

    Raises:
        Misfit: it does not fit the run; one line with the field.
    """
    _check_weights(model, checkpoint["state_dict"])
    _check_loops(trainer, checkpoint)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        structure: Structure | None = getattr(callback, "saved", None)
        if structure is not None and callback.state_key in checkpoint["callbacks"]:
            structure.check(checkpoint["callbacks"][callback.state_key], f"callbacks.{callback.state_key}")
    _check_optimizer(model, checkpoint)


def _check_weights(model: DiffusionModel, stored: dict[str, Any]) -> None:
    ours, theirs = ({name: _kind(weight) for name, weight in state.items()} for state in (model.state_dict(), stored))
    further = model.objective.later_state(model.trained)
    if any(f"objective.{name}" in theirs for name in further):
        ours |= {f"objective.{name}": _kind(weight) for name, weight in further.items()}
    for name in dict.fromkeys([*ours, *theirs]):
        if ours.get(name) != theirs.get(name):
            raise Misfit(
                f"{name} is {theirs.get(name)} there and {ours.get(name)} in this configuration; a resumed run keeps its network"
            )


def _kind(weight: Any) -> str:
    """Return the shape of a weight in words, with its type of number where that is no floating one."""
    if not isinstance(weight, Tensor):
        return type(weight).__name__
    return f"{list(weight.shape)}{'' if weight.is_floating_point() else f' of {weight.dtype}'}"


def _check_loops(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Check where the run is, and that the counts of the file say the same."""
    loops = checkpoint["loops"]["fit_loop"]
    alike(trainer.fit_loop.state_dict()).check(loops, "loops.fit_loop")
    optimizer = loops["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]
    counted = {
        "epoch": loops["epoch_progress"]["current"]["completed"],
        "global_step": optimizer["step"]["total"]["completed"],
    }
    for name, count in counted.items():
        if checkpoint[name] != count:
            raise Misfit(f"{name}={checkpoint[name]}: {count} is expected, as loops.fit_loop has counted")


def _check_optimizer(model: DiffusionModel, checkpoint: dict[str, Any]) -> None:
    """Check the states of optimizer and learning-rate schedule by a step with them."""
    make_lr_scheduler, step = model._make_lr_scheduler, checkpoint["global_step"]
    Items(ANYTHING, length=1).check(checkpoint["optimizer_states"], "optimizer_states")
    Items(ANYTHING, length=int(make_lr_scheduler is not None)).check(checkpoint["lr_schedulers"], "lr_schedulers")
    fresh, loaded = (_without_numbers(model._new_optimizer()) for _ in range(2))
    try:
        fresh.step()
    # an optimizer from outside of torch may need numbers
    except Exception:
        return
    copied = {name: _without_weights(checkpoint[name]) for name in ("optimizer_states", "lr_schedulers")}
    adopt_settings(copied, loaded.defaults)
    state, groups = (copied["optimizer_states"][0][name] for name in ("state", "param_groups"))
    if step > 0 and fresh.state and not state:
        raise Misfit(f"optimizer_states[0].state: empty, but {step} steps are done")
    parameters = [parameter for group in fresh.param_groups for parameter in group["params"]]
    for number, entry in state.items():
        Leaf(lambda number: number in range(len(parameters)), "the number of a parameter").check(
            number, "optimizer_states[0].state: a name"
        )
        kept = fresh.state.get(parameters[number], {})
        Keys(dict.fromkeys(kept, ANYTHING)).check(entry, f"optimizer_states[0].state[{number}]")
        if "step" in entry:
            STEPS.check(entry["step"], f"optimizer_states[0].state[{number}].step")
    for group in groups:
        # fused kernels compute real numbers only
        group["fused"] = False
    with _naming("optimizer_states[0]"):
        loaded.load_state_dict(copied["optimizer_states"][0])
        loaded.step()
    if make_lr_scheduler is not None:
        scheduler = make_lr_scheduler(loaded, step + 1)
        alike(scheduler.state_dict()).check(copied["lr_schedulers"][0], "lr_schedulers[0]")
        with _naming("lr_schedulers[0]"):
            scheduler.load_state_dict(copied["lr_schedulers"][0])
            scheduler.step()
    for group in loaded.param_groups:
        FINITE.check(group["lr"], "lr_schedulers[0]: learning rate")


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Turn any error of the block into a Misfit of this field."""
    try:
        yield
    except Exception as error:
        raise Misfit(f"{field}: not usable ({describe(error)})") from error


def describe(error: BaseException) -> str:
    """Return the type of an error and its message, in one line of at most 140 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:140]


def _without_numbers(optimizer: Optimizer) -> Optimizer:
    """Replace an optimizer's parameters by others of the same shapes on the device "meta", which takes no memory; return it."""
    for group in optimizer.param_groups:
        twins = [nn.Parameter(torch.empty_like(parameter, device="meta")) for parameter in group["params"]]
        for twin in twins:
            twin.grad = torch.empty_like(twin)
        group.update(params=twins, fused=False)
    return optimizer


def _without_weights(data: Any) -> Any:
    """Copy lists and mappings, and replace tensors of more than one number by such on the device "meta"."""
    if isinstance(data, Mapping):
        return {name: _without_weights(item) for name, item in data.items()}
    if isinstance(data, list | tuple):
        return [_without_weights(item) for item in data]
    if isinstance(data, Tensor):
        return torch.empty_like(data, device="meta") if data.numel() > 1 else data.clone()
    return data
