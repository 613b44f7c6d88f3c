"""Files of format 1, which releases before 0.2 wrote, go on loading, sampling and training.

`tests/format_1` is a run folder of such a release, killed in its second epoch. `expected.pt` holds the images that it drew and
the losses of the same run when it was not killed.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lightdiff import load_model
from lightdiff.jobs.run_config import read_config
from lightdiff.model import CheckpointError, read_checkpoint, save_export
from lightdiff.model.format_1 import renew
from runs import ROOT, TINY, last, scalars, train

RUN = ROOT / "tests" / "format_1"
SAME = {"rtol": 0, "atol": 1e-4}
"""How far numbers may differ between two machines."""


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return torch.load(RUN / "expected.pt", weights_only=True)


def test_the_same_images_are_drawn(expected: dict[str, Any]) -> None:
    ema = load_model(RUN).sample(4, num_steps=4, seed=0, guidance_scale=2.0)
    raw = load_model(RUN, weights="raw").sample(4, num_steps=4, seed=0)
    torch.testing.assert_close(ema, expected["ema"], **SAME)
    torch.testing.assert_close(raw, expected["raw"], **SAME)
    assert not torch.allclose(ema, raw)


def test_a_killed_run_goes_on_as_if_it_had_not_been_killed(expected: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(RUN, tmp_path / "run")
    after = train(read_config(tmp_path / "run"), tmp_path / "run")
    assert (after["global_step"], after["lightdiff"]["format"]) == (14, 2)
    found = scalars(tmp_path / "run")
    for curve, points in expected["curves"].items():
        later = [point for point in points if point[0] > 7]
        assert later
        assert [step for step, _ in found[curve]] == [step for step, _ in later]
        assert [value for _, value in found[curve]] == pytest.approx([value for _, value in later], abs=1e-4)


def test_its_weights_begin_another_run(command: Any) -> None:
    model = ["model=resunet", "model.widths=[8]", "model.blocks_per_level=1", "model.attention_levels=[]"]
    model += ["model.patch_size=4", "conditioning=label", "optimizer.lr=1e-30", "trainer.max_steps=1"]
    kept = [overridden for overridden in TINY if not overridden.startswith("model")]
    done = command("train.py", *kept, *model, f"init_from={RUN}", "init_weights=raw", "log_dir=logs")
    assert done.returncode == 0, done.stderr
    before, after = read_checkpoint(RUN)["state_dict"], last(Path("logs/digits/version_0"))["state_dict"]
    for name, weight in before.items():
        if name.startswith("trained."):
            torch.testing.assert_close(after[name], weight)


def test_an_exported_folder_of_format_1_loads_as_one_of_format_2(tmp_path: Path) -> None:
    shipped = ROOT / "models" / "mnist_fast"
    assert json.loads((shipped / "config.json").read_text())["lightdiff"]["format"] == 1
    model = load_model(shipped)
    save_export(model, tmp_path, weights="ema")
    assert json.loads((tmp_path / "config.json").read_text())["lightdiff"]["format"] == 2
    again = load_model(tmp_path)
    assert torch.equal(model.sample(2, num_steps=2, seed=0), again.sample(2, num_steps=2, seed=0))


def test_the_configuration_is_that_of_this_release() -> None:
    config = read_config(RUN)
    assert config["codec"] == {"_target_": "lightdiff.core.PixelCodec", "value_range": [-1, 1]}
    assert "value_range" not in config["dataset"]
    assert config["lr_scheduler"]["_target_"] == "lightdiff.model.Linear"
    assert config["objective"]["_target_"] == "lightdiff.core.DiffusionObjective"
    assert config["objective"]["prediction"] == {"_target_": "lightdiff.core.VPrediction"}


def test_files_of_format_2_stay_as_they_are() -> None:
    content = {"lightdiff": {"format": 2, "model": {}}, "state_dict": {"network.a": 1}}
    before = json.dumps(content)
    renew(content)
    assert json.dumps(content) == before


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("value_range", [1], "lightdiff.model.value_range: it has 1 entries, 2 are expected"),
        ("objective", None, "lightdiff.model.objective=null: a mapping is expected"),
        ("seed", ..., "lightdiff.model.seed: missing"),
    ],
)
def test_a_garbled_description_is_refused_in_one_line(part: str, value: Any, message: str, tmp_path: Path) -> None:
    content = torch.load(RUN / "checkpoints" / "last.ckpt", weights_only=True)
    model = content["lightdiff"]["model"]
    content["lightdiff"]["model"] = {key: entry for key, entry in model.items() if key != part or value is not ...}
    if value is not ...:
        content["lightdiff"]["model"][part] = value
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(tmp_path / "x.ckpt")
    assert "\n" not in str(caught.value)
