"""What happens when the loss or the gradient is no longer a number."""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm

from lightdiff.callbacks.common import last_checkpoint, point_is_due, sum_over_ranks
from lightdiff.utils.files import shown

log = logging.getLogger(__name__)


class NonFiniteError(RuntimeError):
    """The loss or the gradient became NaN or infinite."""


class GuardNonFinite(Callback):
    """Stops the run before a good checkpoint is overwritten, or leaves out the steps whose gradient is not finite.

    To stop, losses and weights are looked at whenever a point of the curves or a checkpoint is due, so that the device is not
    waited for at every step. To skip, the gradient is looked at in every step, which waits for the device; weights, their average
    and the optimizer's state stay as they were. In half precision with loss scaling the scaler skips by itself.

    Args:
        on_nonfinite: "stop" or "skip".
        max_skips: so many steps in a row may be skipped; one more stops the run.

    Raises:
        NonFiniteError: names the steps in question and the last good checkpoint.
    """

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
        if torch.isfinite(get_total_norm(p.grad for p in parameters if p.grad is not None)):  # the same on all ranks
            self.in_a_row = 0
            return
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        if self.in_a_row > self.max_skips:
            raise self._error(f"the gradient was NaN or infinite in {self.in_a_row} steps in a row, up to", trainer)
        log.warning(
            "step %d skipped: its gradient is NaN or infinite (%d so far)", trainer.global_step + 1, self.skipped
        )
        for parameter in parameters:
            parameter.grad = None  # which every optimizer passes over

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
        bad = self._bad + ~torch.isfinite(
            _largest_absolute([*pl_module.parameters()])
        )  # a gradient that was not shows here
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
    """Largest absolute value of all; NaN or infinite where one is."""
    return torch.stack(torch._foreach_norm([p.detach() for p in parameters], torch.inf)).max()
