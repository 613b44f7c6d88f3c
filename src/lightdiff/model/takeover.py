"""What a model takes over from another trained model before its own training: weights to begin with, and a teacher."""

from __future__ import annotations

from pathlib import Path

from lightdiff.config.describe import config_of
from lightdiff.config.trust import NOBODY, Trust
from lightdiff.core import FewStepObjective
from lightdiff.model.checkpoint import find_checkpoint
from lightdiff.model.errors import CheckpointError
from lightdiff.model.loading import load
from lightdiff.model.model import DiffusionModel
from lightdiff.model.sampling import Weights
from lightdiff.utils.text import listed
from lightdiff.utils.weight_files import folder_of


def load_weights_into(
    model: DiffusionModel, path: str | Path, *, weights: Weights = "ema", trust: Trust = NOBODY
) -> None:
    """Copy a trained model's weights into `model` for fine-tuning; everything else of `model` stays as it is.

    A module of `model` with the attribute `starts_without_effect`, such as the embedding of a network's second time, may be
    missing in the trained model, and then keeps its own weights.

    Args:
        model: the model to change.
        path: the trained model, as for `load_model`.
        weights: which of its weights to copy, as for `load_model`.
        trust: whose classes the trained model's file may name beside lightdiff's own.

    Raises:
        CheckpointError: the trained model cannot be loaded, or a weight does not fit; the message names the first such weight.
    """
    source = _source("init_from", path, model, weights, trust)
    theirs, ours = source.trained.state_dict(), model.trained.state_dict()
    if not any(name.startswith("conditioner.") for name in ours):
        # an unconditional model goes on without the conditioner that it does not have
        theirs = {name: weight for name, weight in theirs.items() if not name.startswith("conditioner.")}
    theirs = {_name_among_several(name, source, model): weight for name, weight in theirs.items()}
    modules = model.trained.named_modules()
    new = tuple(f"{name}." for name, module in modules if getattr(module, "starts_without_effect", False))
    theirs = {name: weight for name, weight in ours.items() if name.startswith(new)} | theirs
    for name in dict.fromkeys([*ours, *theirs]):
        left, right = theirs.get(name), ours.get(name)
        if left is None or right is None or left.shape != right.shape:
            shapes = [None if tensor is None else list(tensor.shape) for tensor in (left, right)]
            raise CheckpointError(
                f"init_from={path}: {name} is {shapes[0]} there and {shapes[1]} in this model; choose the network of that run "
                "(model=..., or its experiment=...)"
            )
    model.trained.load_state_dict(theirs)


def _name_among_several(name: str, source: DiffusionModel, model: DiffusionModel) -> str:
    """Return the name in `model` of a weight of the source.

    It is the same one, except for the conditioner of the source where that of the model has several parts: then the weight goes
    to the first part of the same class.
    """
    parts = getattr(model.conditioning, "parts", {})
    fitting = [part for part, conditioner in parts.items() if type(conditioner) is type(source.conditioning)]
    return name.replace("conditioner.", f"conditioner._parts.{fitting[0]}.", 1) if fitting else name


def load_teacher(model: DiffusionModel, trust: Trust = NOBODY) -> None:
    """Load the trained model that the objective names as its teacher, with the averaged weights; without a teacher do nothing.

    The objective then holds the plain name of the teacher's folder, because a model's file says nothing of the folders of the
    machine that it was trained on.

    Args:
        model: the model that is about to be trained.
        trust: whose classes the teacher's file may name beside lightdiff's own.

    Raises:
        CheckpointError: the teacher cannot be loaded or does not fit the model; one line that begins with "teacher".
        ValueError: as `FewStepObjective.learn_from` raises it.
    """
    objective = model.objective
    if not isinstance(objective, FewStepObjective) or objective.teacher is None:
        return
    path = objective.teacher
    source = load_fitting("teacher", path, model, "ema", trust)
    objective.learn_from(source.denoiser)
    objective.teacher = folder_of(find_checkpoint(path).absolute()).name


def check_same_teacher(model: DiffusionModel, path: str | None, sha256: str | None) -> None:
    """Check that a resumed run learns from the teacher that it has had before.

    Args:
        model: the model with its teacher.
        path: the path of the teacher, for the message.
        sha256: SHA-256 of the weights of the former teacher; None: there was none.

    Raises:
        CheckpointError: the weights differ.
    """
    if model.objective.teacher_sha256 != sha256:
        had = "without a teacher" if sha256 is None else "with a teacher of other weights"
        given = "null" if path is None else path
        raise CheckpointError(
            f"objective.teacher={given}: this run was trained {had}, and a resumed run keeps its teacher; to change it, begin a "
            "new run with init_from=..."
        )


def load_fitting(key: str, path: str | Path, model: DiffusionModel, weights: Weights, trust: Trust) -> DiffusionModel:
    """Return the trained model at `path`, which makes the same images of the same condition as `model`.

    Args:
        key: configuration key that names it.
        path: the trained model, as for `load_model`.
        model: the model that it has to fit.
        weights: which of its weights to load, as for `load_model`.
        trust: whose classes its file may name beside lightdiff's own.

    Raises:
        CheckpointError: it cannot be loaded or does not fit; one line that begins with `key`.
    """
    source = _source(key, path, model, weights, trust)
    problem = _misfit(source, model)
    if problem:
        raise CheckpointError(f"{key}={path}: {problem}")
    return source


def _source(key: str, path: str | Path, model: DiffusionModel, weights: Weights, trust: Trust) -> DiffusionModel:
    """Return the trained model at `path`, which has no labels of `model` in another order.

    Raises:
        CheckpointError: it cannot be loaded, or its labels are in another order; one line that begins with `key`.
    """
    try:
        source = load(path, weights, "cpu", trust=trust)[0]
    except CheckpointError as error:
        raise CheckpointError(f"{key}={error}") from error
    if source.class_names != model.class_names and sorted(source.class_names) == sorted(model.class_names):
        raise CheckpointError(
            f"{key}={path}: its labels are numbered in another order, {listed(source.class_names)}; give "
            "dataset.class_names in that order"
        )
    return source


def _misfit(teacher: DiffusionModel, student: DiffusionModel) -> str | None:
    """Return why a model cannot teach or guide another, in words; None if it can."""
    if teacher.image_shape != student.image_shape:
        theirs, ours = ("x".join(map(str, model.image_shape)) for model in (teacher, student))
        return f"its images are {theirs} (channels, height, width), and those of this model {ours}; choose one of the same size"
    if config_of(teacher.codec) != config_of(student.codec):
        theirs, ours = (str(config_of(model.codec)) for model in (teacher, student))
        return f"its codec is {theirs}, and that of this model {ours}; choose the same one"
    first, second = teacher.conditioning, student.conditioning
    if first is None and second is None:
        return None
    if first is None:
        return f"it has no condition, and this model has one ({type(second).__name__}); choices: conditioning=none"
    if second is None:
        return f"it has a condition ({type(first).__name__}), and this model has none; choose the same conditioning"
    if teacher.class_names != student.class_names:
        theirs, ours = (listed(model.class_names) or "unknown" for model in (teacher, student))
        return f"its labels are {theirs}, and those of this model {ours}; choose a model with the same ones"
    if not second.same_inputs(first):
        theirs, ours = (type(conditioner).__name__ for conditioner in (first, second))
        return f"its condition ({theirs}) is made of other inputs than that of this model ({ours}); choose the same conditioning"
    return None
