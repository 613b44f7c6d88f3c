"""The table of parameters that Lightning's Trainer prints: the blocks of the network, without the average of the weights."""

from __future__ import annotations

import logging
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelSummary, RichModelSummary
from pytorch_lightning.utilities.model_summary import ModelSummary as Table
from torch import nn

log = logging.getLogger("pytorch_lightning")


class NetworkSummary(ModelSummary):
    """Lightning's table for a `DiffusionModel`: a line for each block of the network, then the conditioner.

    The average of the weights is named below the table and not counted in.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        if self._max_depth and trainer.is_global_zero and getattr(pl_module, "ema", None) is not None:
            log.info("The average of these weights (EMA) is kept beside them and not counted here.")

    def _summary(self, trainer: Trainer, pl_module: LightningModule) -> Table:
        return NetworkTable(pl_module, max_depth=self._max_depth)


class NetworkTable(Table):
    """The figures of network and conditioner of a `DiffusionModel`."""

    @property
    def _trained(self) -> nn.ModuleDict:
        model: Any = self._model
        denoiser, objective = model.trained, model.objective
        others = {"conditioning": denoiser.conditioner, "objective": objective if any(objective.parameters()) else None}
        named = {name: module for name, module in others.items() if module is not None}
        return nn.ModuleDict({"network": denoiser.network, **named})

    @property
    def named_modules(self) -> list[tuple[str, nn.Module]]:
        (_, network), *others = self._trained.items()
        inner = [*network.named_children()] if self._max_depth == 1 else [*network.named_modules()][1:]
        return [*inner, *others] if self._max_depth else []

    @property
    def total_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._trained.parameters())

    @property
    def trainable_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._trained.parameters() if parameter.requires_grad)

    @property
    def total_training_modes(self) -> dict[str, int]:
        modes = [module.training for trained in self._trained.values() for module in trained.modules()]
        return {"train": modes.count(True), "eval": modes.count(False)}


class RichNetworkSummary(NetworkSummary, RichModelSummary):
    """As `NetworkSummary`, in the form that Lightning uses where the package rich is installed."""


IN_PLACE_OF: dict[type[Callback], type[NetworkSummary]] = {
    ModelSummary: NetworkSummary,
    RichModelSummary: RichNetworkSummary,
}
"""Lightning's own callback -> the one that stands in for it."""


def summary_callbacks(trainer: Trainer) -> list[Callback]:
    """Return the callback that stands in for Lightning's own summary; [] where the trainer has none, or a user's."""
    own: list[Any] = [callback for callback in trainer.callbacks if type(callback) in IN_PLACE_OF]  # type: ignore[attr-defined]
    return [IN_PLACE_OF[type(callback)](max_depth=callback._max_depth) for callback in own]
