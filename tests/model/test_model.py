"""DiffusionModel in plain Python: train, reload, sample."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn

from lightdiff import DiffSet, DiffusionModel, load_model
from lightdiff.conditioning import LabelConditioner
from lightdiff.core import DiscreteSchedule, FlowSchedule, PixelCodec, VPrediction, linear_betas
from lightdiff.model import AtomicCheckpointIO, save_export
from lightdiff.networks import UNet

SMALL = {"image_size": 16, "widths": (8, 16), "attention_levels": (1,)}


def build(conditional: bool = False, **settings: object) -> DiffusionModel:
    torch.manual_seed(0)
    network = UNet(**SMALL, cond_dim=8 if conditional else None)
    conditioning = LabelConditioner(10, cond_dim=8) if conditional else None
    return DiffusionModel(network, DiscreteSchedule(linear_betas(50)), conditioning=conditioning, **settings)


def fit(model: DiffusionModel, folder: Path, steps: int = 6) -> Path:
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        plugins=[AtomicCheckpointIO()],
        limit_val_batches=1,
    )
    trainer.fit(model, DiffSet("digits", batch_size=16))
    trainer.save_checkpoint(folder / "model.ckpt", weights_only=False)
    return folder / "model.ckpt"


@pytest.fixture(scope="module", params=[False, True], ids=["unconditional", "labels"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[DiffusionModel, Path]:
    model = build(request.param)
    return model, fit(model, tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_reloaded_model_samples_what_the_original_samples(trained: tuple[DiffusionModel, Path], weights: str) -> None:
    model, path = trained
    again = load_model(path, weights=weights)
    assert not any(module.training for module in again.modules())
    images = again.sample(5, num_steps=4, seed=3)
    assert torch.equal(images, model.sample(5, num_steps=4, seed=3, weights=weights))
    assert images.shape == (5, 1, 16, 16)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    assert not images.requires_grad


def test_average_and_raw_weights_differ_and_both_are_in_the_checkpoint(trained: tuple[DiffusionModel, Path]) -> None:
    _, path = trained
    ema, raw = (load_model(path, weights=weights).state_dict() for weights in ("ema", "raw"))
    assert ema.keys() == raw.keys()
    assert any((ema[name] != raw[name]).any() for name in ema)
    stored = torch.load(path, weights_only=True)["state_dict"]
    for name, value in raw.items():
        assert torch.equal(stored[name], value)
        assert torch.equal(stored[name.replace("trained.", "ema.module.")], ema[name])


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "heun", "dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde", "renoise"])
def test_images_do_not_depend_on_the_batch_size(trained: tuple[DiffusionModel, Path], sampler: str) -> None:
    model, _ = trained
    whole = model.sample(20, sampler=sampler, num_steps=3, seed=1)
    parts = model.sample(20, sampler=sampler, num_steps=3, seed=1, batch_size=7)
    first = model.sample(4, sampler=sampler, num_steps=3, seed=1)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(first, whole[:4], rtol=0, atol=1e-5)
    assert (whole[0] - whole[1]).abs().max() > 0.1


def test_sampling_leaves_random_numbers_and_modes_alone(trained: tuple[DiffusionModel, Path]) -> None:
    model, _ = trained
    model.train()
    modes = {name: module.training for name, module in model.named_modules()}
    before = torch.get_rng_state()
    model.sample(2, sampler="ddpm", num_steps=3, seed=0)
    model.sample(2, num_steps=3)  # without a seed
    assert torch.equal(before, torch.get_rng_state())
    assert modes == {name: module.training for name, module in model.named_modules()}


def test_without_a_seed_images_differ(trained: tuple[DiffusionModel, Path]) -> None:
    model, _ = trained
    assert (model.sample(1, num_steps=2) - model.sample(1, num_steps=2)).abs().max() > 0.01


def test_a_half_read_trajectory_leaves_the_model_in_training(trained: tuple[DiffusionModel, Path]) -> None:
    model, _ = trained
    model.train()
    states = model.trajectory(2, num_steps=4, seed=0)
    next(states)
    assert model.network.training
    assert torch.is_grad_enabled()
    assert len(list(states)) == 4


class Stateful(nn.Module):
    """A network with BatchNorm and dropout, from outside lightdiff."""

    image_shape = (1, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 1, 1)
        )

    def forward(self, x: torch.Tensor, time: torch.Tensor | None, cond: object = None) -> torch.Tensor:
        return self.layers(x)


def test_batch_norm_and_dropout_are_in_eval_mode_while_sampling() -> None:
    model = DiffusionModel(Stateful(), FlowSchedule(), ema_decay=None, prediction=VPrediction())
    model.train()
    statistics = model.network.layers[1].running_mean.clone()
    first = model.sample(3, num_steps=3, seed=0)
    assert torch.equal(first, model.sample(3, num_steps=3, seed=0))  # no dropout
    torch.testing.assert_close(first[:1], model.sample(1, num_steps=3, seed=0))  # no statistics over the batch
    assert torch.equal(statistics, model.network.layers[1].running_mean)
    assert model.network.training


def test_a_network_from_outside_is_reloaded_with_an_instance(tmp_path: Path) -> None:
    model = DiffusionModel(Stateful(), DiscreteSchedule(linear_betas(10)))
    path = fit(model, tmp_path, steps=2)
    with pytest.raises(ValueError, match=r"network\._target_=[\w.]*Stateful: a file may only name .* trust="):
        load_model(path)
    again = load_model(path, network=Stateful())
    assert torch.equal(again.sample(2, num_steps=2, seed=0), model.sample(2, num_steps=2, seed=0))


def test_a_network_in_no_package_is_reloaded_with_an_instance(tmp_path: Path) -> None:
    class Local(Stateful):
        pass

    model = DiffusionModel(Local(), DiscreteSchedule(linear_betas(10)))
    path = fit(model, tmp_path, steps=2)
    with pytest.raises(ValueError, match=r"network: .* load_model\(\.\.\., network=\.\.\.\)"):
        load_model(path)
    again = load_model(path, network=Local())
    assert torch.equal(again.sample(2, num_steps=2, seed=0), model.sample(2, num_steps=2, seed=0))


def test_training_reaches_network_and_conditioner() -> None:
    model = build(conditional=True)
    optimizer = model.configure_optimizers()
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in [*model.network.parameters(), *model.conditioning.parameters()]}


def test_the_range_of_the_codec_is_that_of_the_denoisers() -> None:
    model = build(codec=PixelCodec((0.0, 1.0)))
    assert model.trained.value_range == model.ema.module.value_range == (0.0, 1.0)
    assert model.encode(torch.full((1, 1, 16, 16), 51, dtype=torch.uint8)).unique().item() == pytest.approx(0.2)


def test_the_denoisers_are_two_objects_that_exist() -> None:
    model = build()
    assert model.denoiser_of("raw") is model.denoiser_of("ema") is model.trained, "there is no average yet"
    model.ema.update(model.trained)
    assert model.denoiser_of("ema") is model.denoiser is model.ema.module
    assert model.denoiser.prediction == model.trained.prediction


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "dddim"}, r"sampler=dddim: choices: ddpm, ddim"),
        ({"num_steps": 0}, r"num_steps=0"),
        ({"num_steps": 51}, r"num_steps=51"),
        ({"labels": 3}, r"labels=3: this model is unconditional"),
        ({"prompt": "a four"}, r"prompt=a four: this model is unconditional"),
        ({"guidance_scale": 2.0}, r"guidance_scale=2.0: this model is unconditional"),
        ({"weights": "best"}, r"weights=best: choices: ema, raw"),
        ({"batch_size": 0}, r"batch_size=0"),
    ],
)
def test_impossible_wishes_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build().sample(1, **{"num_steps": 2, **settings})


@pytest.mark.parametrize("labels", [10, -1, [1, 12], 1.5])
def test_labels_that_do_not_exist_are_refused(labels: object) -> None:
    with pytest.raises(ValueError, match=r"labels=.*0\.\.9"):
        build(conditional=True).sample(2, num_steps=2, labels=labels)


def test_a_condition_the_network_does_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match="conditioning=LabelConditioner: it gives vector, but UNet takes"):
        DiffusionModel(UNet(**SMALL), FlowSchedule(), prediction=VPrediction(), conditioning=LabelConditioner(10))


def test_a_model_knows_the_names_of_its_labels_and_so_do_its_files(tmp_path: Path) -> None:
    model = DiffusionModel(
        UNet(**SMALL, cond_dim=8),
        DiscreteSchedule(linear_betas(50)),
        conditioning=LabelConditioner(2, cond_dim=8, class_names=["cat", "dog"]),
        ema_decay=None,
    )
    checkpoint = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "model.ckpt")
    save_export(model, tmp_path, weights="raw")
    assert model.class_names == ("cat", "dog")
    assert load_model(tmp_path / "model.ckpt").class_names == ("cat", "dog")
    assert load_model(tmp_path).class_names == ("cat", "dog")
    assert build(conditional=True).class_names == tuple("0123456789")
    assert build().class_names == ()
