"""DiffusionModel.load_from_checkpoint, as every user of Lightning types it: `load_model` under Lightning's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer

from lightdiff import DiffSet, DiffusionModel, load_model
from lightdiff.core import DiscreteSchedule, linear_betas
from lightdiff.model import CheckpointError, Constant
from lightdiff.networks import ResUNet
from runs import differences


def fresh(**settings: Any) -> DiffusionModel:
    torch.manual_seed(0)
    network = ResUNet(channels=1, image_size=16, widths=(8, 8), attention_levels=(), blocks_per_level=1)
    return DiffusionModel(network, DiscreteSchedule(linear_betas(100)), **settings)


def fit(model: DiffusionModel, file: Path, steps: int, ckpt_path: Path | None = None) -> Path:
    """Train up to so many steps, and save a checkpoint."""
    trainer = Trainer(
        max_steps=steps,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(model, DiffSet("digits", batch_size=8), ckpt_path=ckpt_path)
    trainer.save_checkpoint(file)
    return file


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as Lightning saves it, in a folder like that of a run."""
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    folder.mkdir()
    return fit(fresh(), folder / "last.ckpt", 3)


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_it_is_the_model_of_load_model(file: Path, weights: Any) -> None:
    expected = load_model(file, weights=weights)
    for path in (file, str(file), file.parent.parent):
        model = DiffusionModel.load_from_checkpoint(path, weights=weights)
        assert type(model) is DiffusionModel
        assert not model.training
        assert model.ema is None
        assert torch.equal(model.sample(2, num_steps=2, seed=0), expected.sample(2, num_steps=2, seed=0))


def test_raw_and_averaged_weights_differ(file: Path) -> None:
    ema, raw = (DiffusionModel.load_from_checkpoint(file, weights=weights) for weights in ("ema", "raw"))
    assert not torch.equal(ema.sample(1, num_steps=2, seed=0), raw.sample(1, num_steps=2, seed=0))


@pytest.mark.parametrize(
    "given",
    [
        *({}, {"strict": True}, {"weights_only": True}, {"map_location": "cpu"}, {"map_location": torch.device("cpu")}),
        *({"map_location": {"cuda:0": "cpu"}}, {"map_location": lambda storage, location: storage}),
    ],
)
def test_lightnings_usual_arguments_are_taken(file: Path, given: dict[str, Any]) -> None:
    assert DiffusionModel.load_from_checkpoint(checkpoint_path=file, **given).device.type == "cpu"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"hparams_file": "hparams.yaml"}, "hparams_file=hparams.yaml"),
        ({"strict": False}, "strict=False"),
        ({"weights_only": False}, "weights_only=False"),
        ({"in_size": 1024, "t_range": 1000, "img_depth": 1}, "in_size, t_range, img_depth"),
    ],
)
def test_what_makes_no_sense_is_refused(file: Path, given: dict[str, Any], named: str) -> None:
    with pytest.raises(TypeError, match=rf"^load_from_checkpoint: {named}: not possible") as caught:
        DiffusionModel.load_from_checkpoint(file, **given)
    assert "\n" not in str(caught.value)


def test_other_weights_than_ema_and_raw_are_refused(file: Path) -> None:
    with pytest.raises(ValueError, match="weights=best: choices: ema, raw"):
        DiffusionModel.load_from_checkpoint(file, weights="best")  # type: ignore[arg-type]


def test_an_instance_refuses_as_lightnings_does(file: Path) -> None:
    with pytest.raises(TypeError, match="cannot be called on an instance"):
        fresh().load_from_checkpoint(file)


def test_a_garbled_file_and_one_with_code_are_refused(file: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "exploded",))

    garbled, bomb = tmp_path / "garbled.ckpt", tmp_path / "bomb.ckpt"
    garbled.write_bytes(file.read_bytes()[:2000])
    torch.save({**torch.load(file, weights_only=True), "bomb": Bomb()}, bomb)
    for path in (garbled, bomb, tmp_path / "nowhere.ckpt"):
        with pytest.raises(CheckpointError, match=path.name) as caught:
            DiffusionModel.load_from_checkpoint(path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


class Mine(DiffusionModel):
    """A user's own model."""


def test_a_subclass_loads_itself(file: Path) -> None:
    assert type(Mine.load_from_checkpoint(file)) is Mine


def test_a_loaded_model_goes_on_as_if_it_had_not_stopped(file: Path, tmp_path: Path) -> None:
    whole = fit(fresh(), tmp_path / "whole.ckpt", 5)
    resumed = fit(DiffusionModel.load_from_checkpoint(file), tmp_path / "resumed.ckpt", 5, ckpt_path=file)
    left, right = (torch.load(path, weights_only=True) for path in (whole, resumed))
    for name in ("state_dict", "optimizer_states", "lightdiff"):
        assert differences(left[name], right[name]) == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"optimizer": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3)}, "lr, weight_decay"),
        ({"lr_scheduler": Constant(warmup_steps=2)}, "a schedule of the learning rate"),
    ],
)
def test_a_loaded_model_does_not_go_on_with_another_optimizer(
    settings: dict[str, Any], named: str, tmp_path: Path
) -> None:
    file = fit(fresh(**settings), tmp_path / "run.ckpt", 1)
    with pytest.raises(ValueError, match=rf"had another optimizer than a loaded model has \(.*{named}") as caught:
        fit(DiffusionModel.load_from_checkpoint(file), tmp_path / "resumed.ckpt", 2, ckpt_path=file)
    assert "\n" not in str(caught.value)
