"""Guard a run against a loss or a gradient that is NaN or infinite."""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm

from lightdiff.callbacks.common import last_checkpoint, point_is_due, sum_over_ranks
from lightdiff.utils.files import shown
from lightdiff.utils.structure import COUNT, Keys

log = logging.getLogger(__name__)


class NonFiniteError(RuntimeError):
    """The loss or the gradient became NaN or infinite."""


class GuardNonFinite(Callback):
    """Stop the run before a good checkpoint is overwritten, or skip the steps whose gradient is not finite.

    With "stop", losses and weights are checked whenever the curves get a point or a checkpoint is saved; checking every step
    would wait for the device every time. With "skip", the gradient is checked at every step, which does wait for the device; a
    skipped step leaves the weights, their average and the optimizer's state unchanged. In half precision with loss scaling,
    the scaler skips such steps itself.

    Args:
        on_nonfinite: "stop" or "skip".
        max_skips: how many steps in a row may be skipped; one more stops the run.

    Raises:
        ValueError: max_skips is below 1.
        NonFiniteError: names the steps between which it happened and the last good checkpoint.
    """

    saved = Keys(skipped=COUNT, in_a_row=COUNT)
    """What its part of a checkpoint holds."""

    def __init__(self, on_nonfinite: Literal["stop", "skip"] = "stop", max_skips: int = 100) -> None:
        if max_skips < 1:
            raise ValueError(f"max_skips={max_skips}: 1 or more is expected")
        self.on_nonfinite, self.max_skips = on_nonfinite, max_skips
        self.skipped = self.in_a_row = 0
        self._bad = torch.zeros((), dtype=torch.int64)
        self._checked_step = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._checkpoint = last_checkpoint(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bad = torch.zeros((), dtype=torch.int64, device=pl_module.device)
        self._checked_step = trainer.global_step

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if self.on_nonfinite == "stop" or getattr(trainer.precision_plugin, "scaler", None) is not None:
            return
        parameters = [p for p in pl_module.parameters() if p.grad is not None]
        # gradients are averaged over the ranks by now, so all ranks decide alike
        if torch.isfinite(get_total_norm(p.grad for p in parameters if p.grad is not None)):
            self.in_a_row = 0
            return
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        if self.in_a_row > self.max_skips:
            raise self._error(f"the gradient was NaN or infinite in {self.in_a_row} steps in a row, up to", trainer)
        log.warning(
            "step %d skipped: its gradient is NaN or infinite (%d so far)", trainer.global_step + 1, self.skipped
        )
        for parameter in parameters:
            # an optimizer leaves out a parameter without a gradient
            parameter.grad = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.on_nonfinite == "skip":
            return
        self._bad += (~torch.isfinite(outputs["losses"])).sum()
        if point_is_due(trainer) and trainer.global_step != self._checked_step:
            self._check(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer, pl_module)

    def _check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        first, self._checked_step = self._checked_step + 1, trainer.global_step
        # a gradient that was not finite has made weights that are not finite
        bad = self._bad + ~torch.isfinite(_largest_absolute([*pl_module.parameters()]))
        if int(sum_over_ranks(trainer, bad)) > 0:
            raise self._error(f"the loss or a weight became NaN or infinite between steps {first} and", trainer)

    def _error(self, what: str, trainer: Trainer) -> NonFiniteError:
        good = (
            f"last good checkpoint: {shown(self._checkpoint)}"
            if self._checkpoint.is_file()
            else "no checkpoint was saved yet"
        )
        return NonFiniteError(
            f"{what} {max(trainer.global_step, 1)}; {good}; try a lower optimizer.lr or trainer.gradient_clip_val=1.0, or "
            "leave such steps out with on_nonfinite=skip"
        )

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped, self.in_a_row = state_dict["skipped"], state_dict["in_a_row"]


def _largest_absolute(parameters: list[Tensor]) -> Tensor:
    """Return the largest absolute value among all parameters; NaN or infinite if one value is."""
    return torch.stack(torch._foreach_norm([p.detach() for p in parameters], torch.inf)).max()
