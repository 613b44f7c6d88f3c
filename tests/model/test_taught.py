"""Runs that learn from a trained model: by the command line, resumed, in two processes, and refused where it does not fit."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lightdiff.config.build import build_model
from lightdiff.config.instantiate import ConfigError
from lightdiff.model import CheckpointError, check_same_teacher, load_model, save_export
from refusals import check_refused
from runs import TINY, differences, killed, last, tiny, train, train_in_two_processes

Run = Callable[..., subprocess.CompletedProcess[str]]

BY_LABEL = ("conditioning=label", "callbacks=no_samples", "objective=v")
DISTILLED = ("objective=progressive_distillation", "objective.num_steps=2", "sampler/grid=flow_time")
CONSISTENT = ("objective=consistency", "objective.ratios=[0.5]")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small model that was trained by labels."""
    folder = tmp_path_factory.mktemp("teacher") / "version_0"
    train(tiny(*BY_LABEL, "optimizer.lr=1e-2"), folder)
    return folder


def taught(teacher: Path, *overrides: str) -> list[str]:
    """The settings of a run with this teacher, guided."""
    named = f"objective.teacher={teacher}"
    short = ("trainer.max_steps=3", "trainer.limit_val_batches=1")
    return [*TINY, *short, *BY_LABEL[:2], *overrides, named, "objective.guidance_scale=2.0", f"init_from={teacher}"]


@pytest.mark.parametrize("objective", [DISTILLED, CONSISTENT], ids=["progressive_distillation", "consistency"])
def test_trains_after_its_teacher_and_needs_it_no_more(
    objective: tuple[str, ...], teacher: Path, tmp_path: Path, command: Run
) -> None:
    gone = Path(shutil.copytree(teacher, tmp_path / "old"))
    content = (gone / "checkpoints" / "last.ckpt").read_bytes()
    # a path relative to the working directory, as for init_from
    done = command("train.py", *taught(Path("old"), *objective))
    assert done.returncode == 0, done.stderr
    grid = " sampler/grid=flow_time" * (objective == DISTILLED)
    drawn = f"sample.py ckpt_path=lightning_logs/digits/version_0 sampler=ddim{grid} sampler.num_steps=3"
    assert f"\nnext:       python {drawn}\n" in done.stdout
    assert (gone / "checkpoints" / "last.ckpt").read_bytes() == content
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    checkpoint, alone = last(run), last(teacher)
    assert checkpoint["state_dict"].keys() == alone["state_dict"].keys()
    assert len(checkpoint["optimizer_states"][0]["state"]) == len(alone["optimizer_states"][0]["state"])
    described = checkpoint["lightdiff"]["model"]["objective"]
    assert (described["teacher"], described["guidance_scale"]) == ("old", 2.0)
    assert len(checkpoint["lightdiff"]["training"]["teacher"]) == 64
    assert str(tmp_path) not in json.dumps(checkpoint["lightdiff"])
    assert differences(checkpoint["state_dict"], alone["state_dict"])

    shutil.rmtree(gone)
    model = load_model(run)
    (tmp_path / "exported").mkdir()
    save_export(model, tmp_path / "exported", weights="ema")
    assert (tmp_path / "exported" / "model.safetensors").stat().st_size < 2 * (
        sum(p.numel() for p in model.parameters()) * 4
    )
    images = [each.sample(4, num_steps=2, seed=0, labels=[1]) for each in (model, load_model(tmp_path / "exported"))]
    assert torch.equal(*images)
    sampled = command("sample.py", f"ckpt_path={run}", "num_samples=2", "sampler.num_steps=2")
    assert sampled.returncode == 0, sampled.stderr
    again = command("train.py", f"resume={run}", "trainer.max_steps=5")
    check_refused(again, f"objective.teacher={gone}: no such checkpoint or run folder")
    assert not differences(last(run), checkpoint)


@pytest.fixture
def config(teacher: Path) -> dict[str, Any]:
    named = (f"objective.teacher={teacher}", "objective.guidance_scale=2.0")
    return tiny(*BY_LABEL[:2], *DISTILLED, *named, "trainer.limit_train_batches=3")


def test_goes_on_bit_for_bit(config: dict[str, Any], tmp_path: Path) -> None:
    whole = train(config, tmp_path / "whole")
    killed(config, tmp_path / "killed", batch=4)
    resumed = train(config, tmp_path / "killed")
    for part in ("state_dict", "optimizer_states", "lightdiff"):
        assert differences(resumed[part], whole[part]) == []


@pytest.mark.slow
@pytest.mark.parametrize("objective", [DISTILLED, CONSISTENT], ids=["progressive_distillation", "consistency"])
def test_two_processes_learn_what_one_does(objective: tuple[str, ...], teacher: Path, tmp_path: Path) -> None:
    named = (f"objective.teacher={teacher}", "objective.guidance_scale=2.0", "trainer.precision=64-true")
    config = tiny(*BY_LABEL[:2], *objective, *named)
    alone = train(config, tmp_path / "one")
    train_in_two_processes(config, tmp_path / "two")
    for name, weight in alone["state_dict"].items():
        if isinstance(weight, torch.Tensor):
            torch.testing.assert_close(last(tmp_path / "two")["state_dict"][name], weight, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_two_processes_that_are_killed_go_on_bit_for_bit(config: dict[str, Any], tmp_path: Path) -> None:
    train_in_two_processes(config, tmp_path / "whole")
    train_in_two_processes(config, tmp_path / "killed", until=4)
    assert last(tmp_path / "killed")["global_step"] == 3
    train_in_two_processes(config, tmp_path / "killed")
    for name in ("state_dict", "optimizer_states", "lightdiff"):
        assert differences(last(tmp_path / "whole")[name], last(tmp_path / "killed")[name], name) == []


def test_a_run_whose_teacher_has_changed_is_not_resumed(teacher: Path, tmp_path: Path, command: Run) -> None:
    old = Path(shutil.copytree(teacher, tmp_path / "old"))
    done = command("train.py", *taught(old, *DISTILLED))
    assert done.returncode == 0, done.stderr
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    before = last(run)
    # the same weights in another place are the same teacher
    old.rename(tmp_path / "moved")
    moved = command("train.py", f"resume={run}", f"objective.teacher={tmp_path / 'moved'}", "trainer.max_steps=4")
    assert moved.returncode == 0, moved.stderr
    assert last(run)["global_step"] == 4
    before = last(run)

    file = tmp_path / "moved" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    next(value for name, value in checkpoint["state_dict"].items() if name.startswith("ema.module.network.")).add_(1e-3)
    torch.save(checkpoint, file)
    config = (run / "config.yaml").read_text()
    refused = command("train.py", f"resume={run}", "trainer.max_steps=5")
    check_refused(
        refused, f"objective.teacher={tmp_path / 'moved'}: this run was trained with a teacher of other weights"
    )
    assert not differences(last(run), before)
    assert (run / "config.yaml").read_text() == config


MISFITS = {
    "objective.teacher=null": "objective.guidance_scale=2.0: it guides the teacher, and teacher=null; name a trained model (the "
    "recipes *_one_step take the one of init_from=), or choose 1",
    "objective.teacher=nowhere": "objective.teacher=nowhere: no such checkpoint or run folder",
    "objective.teacher=readme.txt": "objective.teacher=readme.txt: not loaded",
    "objective.teacher=.": "objective.teacher=.: this folder has no checkpoints/last.ckpt",
    "objective.guidance_scale=.nan": "objective.guidance_scale=.nan: float is expected",
    "conditioning=none objective.guidance_scale=1": (
        "objective.teacher=old: it has a condition (LabelConditioner), and this model has none; choose the same conditioning"
    ),
    "model=resunet conditioning=text_small": (
        "objective.teacher=old: its condition (LabelConditioner) is made of other inputs than that of this model (TextCond"
    ),
    "dataset.image_size=24": "objective.teacher=old: its images are 1x16x16 (channels, height, width), and those of this model",
    "codec.value_range=[-2,2]": "objective.teacher=old: its codec is {'_target_': 'lightdiff.core.PixelCodec', 'value_range'",
    "dataset.class_names=['1','0','2','3','4','5','6','7','8','9']": (
        "objective.teacher=old: its labels are numbered in another order, 0, 1, 2"
    ),
    "dataset.class_names=[a,b,c,d,e,f,g,h,i,j]": "objective.teacher=old: its labels are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and those",
    "objective.teacher=plain": "objective.teacher=plain: it has no condition, and this model has one (LabelConditioner)",
    "objective.teacher=plain conditioning=none": "objective.guidance_scale=2.0: the teacher has no condition",
    "objective=progressive_distillation objective.teacher=null objective.guidance_scale=1": (
        "objective.teacher=null: a trained model is needed"
    ),
    "objective=progressive_distillation objective.num_steps=0": "objective.num_steps=0: 1 or more is expected",
    "schedule=linear objective=progressive_distillation objective.num_steps=600": (
        "objective.num_steps=600: the teacher takes twice as many steps; num_steps=1200: this schedule has too few timesteps"
    ),
}


def test_a_recipe_without_its_trained_model_is_refused_in_one_line(command: Run, tmp_path: Path) -> None:
    done = command("train.py", "experiment=digits_one_step", "trainer=cpu")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: objective.guidance_scale=1.5: it guides the teacher, and teacher=null; name ")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def place(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the teacher `old`, the unconditional teacher `plain` and a file that is no model."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "old").symlink_to(teacher)
    (folder / "plain").mkdir()
    save_export(build_model(tiny("objective=v", "ema_decay=null")), folder / "plain", weights="ema")
    (folder / "readme.txt").write_text("no model")
    return folder


@pytest.mark.parametrize("settings", MISFITS)
def test_a_teacher_that_does_not_fit_is_refused_in_one_line(
    settings: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    usual = ("conditioning=label", "objective=consistency", "objective.teacher=old", "objective.guidance_scale=2.0")
    with pytest.raises(ConfigError) as refused:
        build_model(tiny(*usual, *settings.split()))
    assert str(refused.value).startswith(MISFITS[settings])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["nowhere", "007", "3.5e1", "plain"])
def test_the_command_refuses_it_and_leaves_no_folder(name: str, place: Path, command: Run) -> None:
    done = command("train.py", *taught(Path("old"), *CONSISTENT), f"objective.teacher={name}", folder=place)
    check_refused(done, f"objective.teacher={name}: ")
    assert not (place / "lightning_logs").exists()


def test_a_resumed_run_needs_the_teacher_that_it_had(place: Path) -> None:
    model = build_model(tiny("conditioning=label", "objective=consistency", f"objective.teacher={place / 'old'}"))
    other = build_model(tiny("objective=consistency", f"objective.teacher={place / 'plain'}"))
    without = build_model(tiny("objective=consistency"))
    shas = [each.objective.teacher_sha256 for each in (model, other, without)]
    assert shas[2] is None and len({*shas}) == 3
    check_same_teacher(model, "old", shas[0])
    check_same_teacher(without, None, None)
    with pytest.raises(
        CheckpointError, match=r"^objective.teacher=old: this run was trained with a teacher of other weights"
    ):
        check_same_teacher(model, "old", shas[1])
    with pytest.raises(CheckpointError, match=r"^objective.teacher=old: this run was trained without a teacher"):
        check_same_teacher(model, "old", None)
    with pytest.raises(CheckpointError, match=r"^objective.teacher=null: this run was trained with a teacher"):
        check_same_teacher(without, None, shas[0])
