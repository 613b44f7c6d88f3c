"""conf/: the defaults are the tutorial's recipe, every file composes, every key is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from lightdiff.callbacks import SampleImages
from lightdiff.config.build import build_data, build_model, build_sampler
from lightdiff.jobs.trainer import build_callbacks
from lightdiff.model import save_export
from runs import ROOT, composed
from small_sets import write_emoji
from tiny_clip import WIDTH, save_tiny_clip

CONF = ROOT / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
ROOTS = {"train", "sample", "edit", "restore", "eval", "export", "play"}
MISSING = {
    "dataset=folder": "dataset.data_dir=images",
    "dataset=huggingface": "dataset.source.path=images",
    "guidance=auto": "guidance.weak=run",
    "guidance=classifier": "guidance.classifier=mnist.safetensors",
    "guidance=combined": "guidance.parts.auto.weak=run",
    "dataset=paired": "dataset.data_dir=images",
}
NEEDED_BY = {"eval": ["ckpt_path=run"], "edit": ["ckpt_path=run", "image=photo.png"]}
NEEDED_BY["restore"] = NEEDED_BY["edit"]
CROSS_ATTENTION = ["model=resunet", "model.widths=[8]", "model.attention_levels=[0]"]
NEEDS = {
    "conditioning=attributes": ["dataset=emoji"],
    "conditioning=clip": CROSS_ATTENTION,
    "conditioning=clip_finetuned": CROSS_ATTENTION,
    "conditioning=colourise": ["dataset=cifar"],
    "conditioning=text": CROSS_ATTENTION,
    "conditioning=text_small": CROSS_ATTENTION,
    "model=diffusers_text_unet": ["conditioning=text"],
    "objective=flow_map": ["model.takes_s=true"],
    "objective=self_taught": ["model.takes_s=true"],
}
PARENTS = {"objective/rule": ["objective=flow_map"]}
"""Groups that only one choice of another group has."""


def choice(path: Path) -> str:
    """group=name of a file."""
    return f"{path.parent.relative_to(CONF).as_posix()}={path.stem}"


@pytest.mark.parametrize("name", sorted(ROOTS))
def test_two_sweeps_in_one_second_have_folders_of_their_own(name: str) -> None:
    folders = []
    for _ in range(2):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            folders.append(compose(name, return_hydra_config=True).hydra.sweep.dir)
    assert len(set(folders)) == 2


def group_files(*groups: str) -> list[Path]:
    return [path for path in FILES if path.parent.relative_to(CONF).as_posix() in groups]


def test_without_overrides_it_is_the_tutorials_recipe() -> None:
    config = composed()
    model, data = build_model(config), build_data(config)
    sampler, num_steps = build_sampler(config)
    assert sum(p.numel() for p in model.network.parameters()) == 12_919_041
    assert (data.name, data.batch_size, data.image_size, data.resize_mode) == ("mnist", 128, (32, 32), "pad")
    torch.testing.assert_close(model.schedule.betas, torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))
    assert type(model.trained.prediction).__name__ == "EpsilonPrediction"
    assert type(model.objective.distance).__name__ == "MSE"
    assert type(model.objective.weighting).__name__ == "UnitWeighting"
    assert (type(sampler).__name__, num_steps) == ("DDPM", None)
    optimizer = model.configure_optimizers.__self__._make_optimizer(list(model.network.parameters()))
    assert (type(optimizer).__name__, optimizer.defaults["lr"]) == ("Adam", 2e-4)
    assert config["trainer"]["max_epochs"] == 10
    samples = config["callbacks"]["samples"]
    assert [samples[key] for key in ("rows", "columns", "hold_frames", "fps")] == [3, 3, 10, 5.0]
    assert model.codec.value_range == (-1.0, 1.0)


def test_experiment_ddpm_unet_draws_the_tutorials_gif() -> None:
    config = composed("experiment=ddpm_unet")
    assert build_sampler(config)[1] is None
    samples = config["callbacks"]["samples"]
    expected = {"rows": 3, "columns": 3, "fast_steps": None, "frame_every": 50, "hold_frames": 10, "fps": 5.0}
    assert {key: samples[key] for key in expected} == expected


@pytest.mark.parametrize("path", [p for p in FILES if p.stem not in ROOTS or p.parent != CONF], ids=choice)
def test_every_file_composes(path: Path) -> None:
    group = path.parent.relative_to(CONF).as_posix()
    root = {"metrics": "eval", "extractor": "eval", "task": "edit", "operator": "restore", "method": "restore"}.get(
        group, "train"
    )
    override = choice(path) if group != "experiment" else f"+{choice(path)}".replace("+experiment", "experiment")
    if group == "metrics":  # a list of choices
        override = f"metrics=[{path.stem}]"
    needed = NEEDED_BY[root] if root in NEEDED_BY else [MISSING[choice(path)]] if choice(path) in MISSING else []
    composed(*PARENTS.get(group, []), override, *needed, name=root)


@pytest.mark.parametrize("path", group_files("model", "schedule", "objective", "sampler", "conditioning"), ids=choice)
def test_every_member_builds(path: Path, tmp_path: Path) -> None:
    overrides = [choice(path)]
    if "clip" in path.stem:
        overrides += [f"conditioning.pretrained={save_tiny_clip(tmp_path)}", f"conditioning.token_dim={WIDTH}"]
        overrides += ["conditioning.max_tokens=32"]
    if path.parent.name != "model":
        overrides.append("model=unet_small")
    overrides += NEEDS.get(choice(path), [])
    if "dataset=emoji" in overrides:
        write_emoji(tmp_path / "emoji-datasource-google")
        overrides += [f"dataset.data_dir={tmp_path}", "dataset.channels=1"]
    if choice(path) == "objective=progressive_distillation":
        save_export(build_model(composed("model=unet_small", "ema_decay=null")), tmp_path, weights="ema")
        overrides.append(f"objective.teacher={tmp_path}")
    if path.parent.name == "schedule":
        overrides.append("objective=v")  # fits every schedule; epsilon does not
    model = build_model(composed(*overrides))
    assert model.image_shape[1:] == (32, 32)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_every_key_has_a_comment(path: Path) -> None:
    lines = path.read_text().splitlines()
    section_depth: int | None = None  # Hydra's own keys (defaults, hydra) explain themselves
    for number, line in enumerate(lines):
        key = re.match(r"( *)(?:- )?([\w/ .]+):( |$)", line)
        if key is None or not line.strip() or line.lstrip().startswith("#"):
            continue
        depth = len(key.group(1))
        if section_depth is not None and depth > section_depth:
            continue
        section_depth = None
        if key.group(2) in ("defaults", "hydra"):
            section_depth = depth
            continue
        if "_target_" in key.group(2) or line.rstrip().endswith(":") or line.startswith("  - "):
            continue
        assert "#" in line, f"{path.name}:{number + 1}: {line}"


@pytest.mark.parametrize("path", group_files("experiment"), ids=choice)
def test_every_experiment_goes_without_pictures(path: Path) -> None:
    callbacks = build_callbacks(composed(choice(path), "callbacks=no_samples"))
    assert not any(isinstance(callback, SampleImages) for callback in callbacks)
