"""Pictures of the network's guesses: an image, the image with noise, the network's guess of the image."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightdiff.callbacks.common import forget_pictures, run_folder
from lightdiff.callbacks.show import show_image
from lightdiff.core.randomness import keyed_generator
from lightdiff.model import DiffusionModel
from lightdiff.model.generation import sampling_mode
from lightdiff.utils.captions import captioned, widened
from lightdiff.utils.images import LARGEST, make_grid, save_png, to_uint8


class ShowPredictions(Callback):
    """Draw `samples/prediction_NNNNNNN.png`, named by the optimizer step, after every few epochs.

    The rows are x0 (the first validation images), x_t and x0_hat with the averaged weights. The times t rise from left to
    right. Images and noise are the same each time.

    Args:
        columns: number of images, at most those of the validation, with the times 1 / columns, 2 / columns, ..., 1.
        every_n_epochs: epochs between two pictures.
        seed: key of the noise.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, columns: int = 8, every_n_epochs: int = 1, seed: int = 0) -> None:
        for name, value in (("columns", columns), ("every_n_epochs", every_n_epochs)):
            if value < 1:
                raise ValueError(f"{name}={value}: 1 or more is expected")
        if columns > LARGEST:
            raise ValueError(f"columns={columns}: 1 to {LARGEST} is expected")
        self.columns, self.every_n_epochs, self.seed = columns, every_n_epochs, seed

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = run_folder(trainer) / "samples"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        forget_pictures(trainer, self.folder, "prediction")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or (trainer.current_epoch + 1) % self.every_n_epochs != 0:
            return
        assert isinstance(pl_module, DiffusionModel)
        store = trainer.datamodule.val_set  # type: ignore[attr-defined]
        columns = min(self.columns, len(store))
        # captions and columns are moved as those of training are
        batch = pl_module.transfer_batch_to_device(store[list(range(columns))], pl_module.device, 0)
        t = torch.arange(1, columns + 1, device=pl_module.device, dtype=torch.float32) / columns
        strips = widened(make_grid(self._rows(pl_module, batch, t), columns)).cpu()
        picture = captioned(strips, ["input x0", "noisy x_t", "guess x0_hat"], [f"{time:.2f}" for time in t], "t")
        save_png(self.folder / f"prediction_{trainer.global_step:07d}.png", picture)
        show_image(trainer, "samples/prediction", picture)

    def _rows(self, model: DiffusionModel, batch: dict[str, Any], t: torch.Tensor) -> torch.Tensor:
        """Return x0, x_t and x0_hat at the times t (columns,) one after the other, uint8 (3 * columns, C, H, W)."""
        x0 = model.encode(batch["image"])
        noise = model.objective.noise.like(x0, keyed_generator("cpu", "show predictions", self.seed))
        x_t = model.schedule.add_noise(x0, noise, t)
        denoiser = model.denoiser
        with sampling_mode(denoiser):
            cond = None
            if denoiser.conditioner is not None:
                conditioner: Any = denoiser.conditioner
                cond = conditioner(conditioner.inputs(batch, torch.zeros_like(t)))
            x0_hat = denoiser(x_t, t, cond)
        return to_uint8(model.codec.decode(torch.cat([x0, x_t, x0_hat])))
