"""An objective that owns modules, and a codec whose x0 has another shape than the images."""

from pathlib import Path

import torch
from pytorch_lightning import Trainer
from torch import Tensor
from torch.nn import functional as F

from lightdiff import DiffSet, DiffusionModel, load_model
from lightdiff.config.settings import check_fit
from lightdiff.core import Codec, FlowPrediction, FlowSchedule
from lightdiff.core.codec import Shape
from lightdiff.model import save_export
from lightdiff.networks import ResUNet
from runs import differences, killed, last, tiny, train

LOG_VARIANCE = ("objective=log_variance", "objective.features=4", "callbacks.samples=null", "optimizer.lr=1e-2")


def test_modules_of_an_objective_are_trained_saved_and_resumed_bit_for_bit(tmp_path: Path) -> None:
    config = tiny(*LOG_VARIANCE)
    whole = train(config, tmp_path / "whole")
    killed(config, tmp_path / "killed", batch=9)
    before = last(tmp_path / "killed")["state_dict"]["objective.log_variance.weight"]
    resumed = train(config, tmp_path / "killed")
    assert differences(resumed["state_dict"], whole["state_dict"]) == []
    assert differences(resumed["optimizer_states"], whole["optimizer_states"]) == []
    after = whole["state_dict"]["objective.log_variance.weight"]
    assert before.abs().min() > 0, "they begin as 0"
    assert not torch.equal(before, after)
    assert not [name for name in whole["state_dict"] if name.startswith("ema.") and "log_variance" in name]

    model = load_model(tmp_path / "whole")
    assert torch.equal(model.objective.log_variance.weight, after)
    save_export(model, tmp_path, weights="ema")
    assert torch.equal(load_model(tmp_path).sample(2, num_steps=2, seed=0), model.sample(2, num_steps=2, seed=0))


class Patches(Codec):
    """Turns each 2x2 pixels into four channels of one pixel; nothing is lost."""

    def encode(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return F.pixel_unshuffle(images.to(dtype) / 127.5 - 1, 2)

    def decode(self, x0: Tensor) -> Tensor:
        return F.pixel_shuffle(x0, 2).clamp(-1, 1)

    def shape(self, image_shape: Shape) -> Shape:
        channels, height, width = image_shape
        return channels * 4, height // 2, width // 2


def test_a_model_works_on_what_its_codec_gives(tmp_path: Path) -> None:
    network = ResUNet(channels=4, image_size=8, widths=(8,), blocks_per_level=1, attention_levels=())
    model = DiffusionModel(network, FlowSchedule(), prediction=FlowPrediction(), codec=Patches())
    data = DiffSet("digits", batch_size=16)
    trainer = Trainer(
        max_steps=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(model, data)
    check_fit(model, data)
    assert model.denoiser.value_range is None
    images = model.sample(3, num_steps=2, seed=0)
    assert images.shape == (3, 1, 16, 16)
    assert images.abs().max() <= 1
    assert model.sample(1, sampler="ddpm", num_steps=2, seed=0).isfinite().all()
