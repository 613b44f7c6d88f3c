"""The table that Lightning's Trainer prints: the blocks of the network, the average of the weights apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ModelSummary, RichModelSummary
from torch import nn

from ddpm_unet import DDPM_UNET
from lightdiff import DiffSet, DiffusionModel
from lightdiff.conditioning import LabelConditioner
from lightdiff.core import DiscreteSchedule, linear_betas
from lightdiff.model.summary import IN_PLACE_OF, NetworkSummary, NetworkTable
from lightdiff.networks import ResUNet, UNet


class Conv(nn.Module):
    """A network without blocks, from outside of lightdiff."""

    image_shape = (1, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1, 3, 3))

    def forward(self, x: torch.Tensor, time: Any, cond: Any) -> torch.Tensor:
        return nn.functional.conv2d(x, self.weight, padding=1)


def fit(model: DiffusionModel, **settings: Any) -> Trainer:
    trainer = Trainer(
        max_steps=1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        accelerator="cpu",
        **settings,
    )
    trainer.fit(model, DiffSet("digits", batch_size=2))
    return trainer


def summaries(trainer: Trainer) -> list[Callback]:
    return [callback for callback in trainer.callbacks if isinstance(callback, ModelSummary)]  # type: ignore[attr-defined]


def test_the_tutorials_network_has_its_eleven_blocks_and_figures() -> None:
    model = DiffusionModel(UNet(), DiscreteSchedule(linear_betas(1000)))
    table = NetworkTable(model)
    assert model.ema is not None
    assert dict(zip(table.layer_names, table.param_nums, strict=True)) == DDPM_UNET
    assert table.total_parameters == table.trainable_parameters == 12_919_041
    assert f"{table.model_size:.3f}" == "51.676"


def small(**settings: Any) -> DiffusionModel:
    network = ResUNet(channels=1, image_size=16, widths=(8, 16), attention_levels=(), **settings)
    return DiffusionModel(
        network, DiscreteSchedule(linear_betas(100)), conditioning=LabelConditioner(10, 8) if settings else None
    )


def test_the_trainer_prints_this_table_in_place_of_lightnings(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    model = small(cond_dim=8)
    with caplog.at_level("INFO"):
        (callback,) = summaries(fit(model))
    assert isinstance(callback, NetworkSummary)
    shown = capsys.readouterr().out + caplog.text
    names = [name for name, _ in model.network.named_children()]
    assert all(name in shown for name in (*names, "conditioning", "average of these weights"))
    assert not any(f" {name} " in shown for name in ("val_loss", "ema", "network"))


@pytest.mark.parametrize(("lightnings", "own"), IN_PLACE_OF.items())
def test_the_depth_is_kept(lightnings: type[ModelSummary], own: type[NetworkSummary]) -> None:
    if lightnings is RichModelSummary:
        pytest.importorskip("rich")
    (deep,) = summaries(fit(small(), callbacks=[lightnings(max_depth=2)]))
    assert type(deep) is own
    assert deep._max_depth == 2


def test_the_switch_and_a_users_own_summary_are_kept() -> None:
    class Mine(ModelSummary):
        pass

    assert summaries(fit(small(), enable_model_summary=False)) == []
    mine = Mine()
    assert summaries(fit(small(), callbacks=[mine])) == [mine]


def test_a_network_without_blocks_has_a_table() -> None:
    table = NetworkTable(DiffusionModel(Conv(), DiscreteSchedule(linear_betas(100))))
    assert table.layer_names == []
    assert table.total_parameters == 9
    assert "9 " in str(table)


def test_deeper_tables_and_none() -> None:
    model = small(cond_dim=8)
    deep = NetworkTable(model, max_depth=2).layer_names
    assert any(name.count(".") == 1 for name in deep)
    assert NetworkTable(model, max_depth=0).layer_names == []
