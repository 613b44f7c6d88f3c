"""Classes from outside lightdiff: a checkpoint names them, and they are imported only if the user has named their package."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer

from lightdiff import DiffSet, DiffusionModel, load_model
from lightdiff.config.describe import NotDescribable, config_of
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.trust import Trust
from lightdiff.core import FlowPrediction, FlowSchedule
from lightdiff.model import CheckpointError, save_export
from lightdiff.model.loading import check_describable

PARTS = '''
from dataclasses import dataclass
from os import system

import torch
from torch import nn

from lightdiff.core import Codec, FlowSchedule, Scales


class Net(nn.Module):
    cond_keys = ()

    def __init__(self, width=8, *, image_size=16):
        super().__init__()
        self.width, self.image_size = width, image_size
        self.image_shape = (1, image_size, image_size)
        self.layers = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x, time, cond=None):
        return self.layers(x)


class Forgetful(Net):
    """Keeps its width nowhere."""

    def __init__(self, channels=8):
        super().__init__(channels)


class Twice(Net):
    """Keeps another width than it was given."""

    def __init__(self, width=8):
        super().__init__(2 * width)


@dataclass(frozen=True)
class Steep(FlowSchedule):
    power: float = 2.0

    def _at(self, t):
        return Scales(1 - t**self.power, t**self.power)
'''


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module mylab.parts, in a package of the user's own."""
    (tmp_path / "lab" / "mylab").mkdir(parents=True)
    (tmp_path / "lab" / "mylab" / "__init__.py").touch()
    (tmp_path / "lab" / "mylab" / "parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(tmp_path / "lab"))
    import mylab.parts

    yield mylab.parts
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        del sys.modules[name]


def trained(parts: Any, folder: Path) -> tuple[DiffusionModel, Path]:
    model = DiffusionModel(parts.Net(4), parts.Steep(3.0), prediction=FlowPrediction())
    trainer = Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DiffSet("digits", batch_size=8))
    trainer.save_checkpoint(folder / "model.ckpt")
    return model, folder / "model.ckpt"


def test_a_checkpoint_names_classes_from_outside_and_imports_them_only_on_request(parts: Any, tmp_path: Path) -> None:
    model, path = trained(parts, tmp_path)
    expected = model.eval().sample(2, num_steps=3, seed=0)
    forget()
    for trust in ((), ["another"], ["my"], "mylab.other"):
        with pytest.raises(CheckpointError, match=r"_target_=mylab\.parts\.Net: a file may only name .* with trust="):
            load_model(path, trust=trust)
    assert "mylab" not in sys.modules
    for trust in (["mylab"], "mylab", ["mylab.parts"]):
        assert torch.equal(load_model(path, trust=trust).sample(2, num_steps=3, seed=0), expected)
    assert torch.equal(
        DiffusionModel.load_from_checkpoint(path, trust=["mylab"]).sample(2, num_steps=3, seed=0), expected
    )


def test_an_export_names_them_too(parts: Any, tmp_path: Path) -> None:
    _, path = trained(parts, tmp_path)
    model = load_model(path, trust=["mylab"])
    (tmp_path / "shared").mkdir()
    save_export(model, tmp_path / "shared", weights="ema")
    with pytest.raises(CheckpointError, match="trust="):
        load_model(tmp_path / "shared")
    again = load_model(tmp_path / "shared", trust=["mylab"])
    assert torch.equal(again.sample(1, num_steps=2, seed=0), model.sample(1, num_steps=2, seed=0))


def test_a_trusted_package_gives_only_what_it_defines(parts: Any) -> None:
    importer = Trust.of("mylab").importer()
    assert importer("mylab.parts.Net") is parts.Net
    assert importer("lightdiff.core.FlowSchedule") is FlowSchedule
    for name in ("mylab.parts.system", "mylab.parts.FlowSchedule"):
        with pytest.raises(ConfigError, match="is not defined in a package that you trust"):
            importer(name)
    with pytest.raises(ConfigError, match="a file may only name"):
        importer("os.system")


def test_a_class_in_no_package_is_refused_before_the_first_step(tmp_path: Path) -> None:
    class Local(FlowSchedule):
        pass

    network = torch.nn.Conv2d(1, 1, 1)
    model = DiffusionModel(network, Local(), prediction=FlowPrediction(), image_shape=(1, 16, 16))
    trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(NotDescribable, match="^schedule=Local: no checkpoint could describe it: .*Local cannot be imp"):
        trainer.fit(model, DiffSet("digits", batch_size=8))
    assert trainer.global_step == 0


def test_parts_that_a_checkpoint_would_build_differently_are_found(parts: Any) -> None:
    def model(network: Any) -> DiffusionModel:
        return DiffusionModel(network, FlowSchedule(), prediction=FlowPrediction())

    check_describable(model(parts.Net(3)))
    with pytest.raises(
        ValueError, match=r"^network=Forgetful: no .*Forgetful has no attribute channels; keep each argum"
    ):
        check_describable(model(parts.Forgetful()))
    with pytest.raises(ValueError, match="^network=Twice: its checkpoint would build another one"):
        check_describable(model(parts.Twice()))
    assert config_of(parts.Net(3)) == {"_target_": "mylab.parts.Net", "width": 3, "image_size": 16}


@pytest.mark.parametrize("wrong", ["my lab", "", "mylab.", 3])
def test_trust_is_the_name_of_a_package(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"trust=.*: the name of a package is expected, as in trust=\[mylab\]"):
        Trust.of([wrong])
