"""What a checkpoint says of its model: plain data, from which `model_from_config` builds an equal one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightdiff.config.describe import NotDescribable, config_of

if TYPE_CHECKING:
    from lightdiff.model.model import DiffusionModel


def description_of(model: DiffusionModel) -> dict[str, Any]:
    """Describe a model without its weights.

    A network that cannot be described, such as one whose class is defined in a notebook, becomes None and is left to the user,
    who gives it to `load_model(..., network=...)`.

    Raises:
        NotDescribable: another part of the model cannot be described; one line that names it.
    """
    denoiser = model.trained
    try:
        network = config_of(denoiser.network)
    except NotDescribable:
        network = None
    parts = {
        "schedule": denoiser.schedule,
        "prediction": denoiser.prediction,
        "conditioning": denoiser.conditioner,
        "objective": model.objective,
        "codec": model.codec,
    }
    return {
        "network": network,
        **{name: described(name, part) for name, part in parts.items()},
        "time_input": denoiser.time_input,
        "ema_decay": model.ema_decay,
        "image_shape": list(model.image_shape),
        "seed": model.seed,
    }


def described(name: str, part: Any) -> Any:
    """Return the description of a part of a model.

    Raises:
        NotDescribable: it cannot be described; one line that begins with `name`.
    """
    try:
        return config_of(part)
    except NotDescribable as error:
        raise NotDescribable(f"{name}={type(part).__name__}: no checkpoint could describe it: {error}") from error
