"""What a checkpoint says of its model: plain data, from which `model_from_config` builds an equal one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightdiff.utils.config import NotDescribable, config_of

if TYPE_CHECKING:
    from lightdiff.lightning.model import DiffusionModel


def description_of(model: DiffusionModel) -> dict[str, Any]:
    """Describe a model without its weights; a network from outside lightdiff becomes None and is left to the caller."""
    denoiser = model.trained
    try:
        network = config_of(denoiser.network)
    except NotDescribable:
        network = None
    return {
        "network": network,
        "schedule": config_of(denoiser.schedule),
        "prediction": config_of(denoiser.prediction),
        "conditioning": config_of(denoiser.conditioner),
        "time_input": denoiser.time_input,
        "objective": config_of(model.objective),
        "codec": config_of(model.codec),
        "ema_decay": model.ema_decay,
        "image_shape": list(model.image_shape),
        "seed": model.seed,
    }
