"""StoredModel: a LightningModule whose checkpoints describe it, so that it loads from a file without further arguments."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.model_helpers import _restricted_classmethod
from torch import nn

from lightdiff.config.trust import Trust
from lightdiff.model.content import FORMAT
from lightdiff.model.description import description_of

if TYPE_CHECKING:
    from lightdiff.model.model import DiffusionModel
    from lightdiff.model.sampling import Weights


class StoredModel(LightningModule):
    """Base of `DiffusionModel`: what goes into its checkpoints, and how it comes back."""

    dataset: dict[str, Any] | None

    def describe(self: DiffusionModel) -> dict[str, Any]:  # type: ignore[misc]
        """Return plain data from which `load_model` rebuilds this model; see `description_of`."""
        return description_of(self)

    def on_save_checkpoint(self: DiffusionModel, checkpoint: dict[str, Any]) -> None:  # type: ignore[misc]
        compiled = getattr(self.network, "_compiled_call_impl", None) is not None
        # a resumed run compiles as it did before, see `lightdiff.config.speed`, and learns from the same teacher
        training = {"device": self.device.type, "compiled": compiled}
        if self.objective.teacher_sha256 is not None:
            training["teacher"] = self.objective.teacher_sha256
        described = {"model": self.describe(), "dataset": self.dataset}
        checkpoint["lightdiff"] = {"format": FORMAT, **described, "training": training}

    @_restricted_classmethod
    def load_from_checkpoint(  # type: ignore[override,misc]
        cls: type[DiffusionModel],
        checkpoint_path: str | Path,
        map_location: Any = None,
        hparams_file: None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        *,
        weights: Weights = "ema",
        network: nn.Module | None = None,
        trust: str | Iterable[str] = (),
        **others: Any,
    ) -> DiffusionModel:
        """Load a trained model for sampling, as `load_model` does; no code from the file is run.

        `Trainer.fit(model, ..., ckpt_path=checkpoint_path)` goes on with its training if that had the default optimizer, and is
        refused otherwise, because a checkpoint does not describe the optimizer.

        Args:
            checkpoint_path: a checkpoint, a run folder (its `checkpoints/last.ckpt`), or a folder that export.py made.
            map_location: device to load to, as for `torch.load`, or None for the CPU.
            hparams_file, strict, weights_only: arguments of Lightning's method. Only their usual values are possible, because the
                checkpoint describes its model, all weights must fit, and no other file is read.
            weights: "ema" (the averaged weights if the run has them, else the raw ones) or "raw".
            network, trust: as for `load_model`.
            others: not possible; arguments of the model come from the checkpoint.

        Returns:
            The model in eval mode, without a second copy of the weights.

        Raises:
            TypeError: an argument that is not possible here, or a call of the method of an instance.
            ValueError: `weights` is neither "ema" nor "raw".
            CheckpointError: the file is missing, broken, hostile, or not from lightdiff, or its weights do not fit.
        """
        from lightdiff.model.loading import load

        usual = {"hparams_file": (None,), "strict": (None, True), "weights_only": (None, True)}
        given = {"hparams_file": hparams_file, "strict": strict, "weights_only": weights_only}
        impossible = [*others, *(f"{name}={value}" for name, value in given.items() if value not in usual[name])]
        if impossible:
            raise TypeError(
                f"load_from_checkpoint: {', '.join(impossible)}: not possible, because a checkpoint of lightdiff describes its "
                "own model, all its weights must fit, and no code in it is run; choices: map_location, weights, network, trust"
            )
        return load(checkpoint_path, weights, map_location or "cpu", network, kind=cls, trust=Trust.of(trust))[0]
