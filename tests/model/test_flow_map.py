"""Flow maps through the real commands: all rules train, resume bit for bit, and give the same on two processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from lightdiff import load_model
from lightdiff.core import FlowMapObjective
from lightdiff.model import save_export
from runs import TINY, composed, differences, killed, last, scalars, train, train_in_two_processes

NETWORK = (
    *("model=resunet", "model.widths=[8,16]", "model.blocks_per_level=1", "model.attention_levels=[1]"),
    *("model.num_heads=2", "model.dropout=0.2", "model.takes_s=true"),
)
SETTINGS = (
    *(part for part in TINY if not part.startswith("model")),
    *NETWORK,
    *("objective=flow_map", "schedule=flow", "callbacks=no_samples", "callbacks.checkpoints.every_n_steps=1"),
    "trainer.limit_train_batches=4",
)
RULES = {
    # a stage has two steps
    "discrete": ["objective/rule=discrete", "objective.rule.ratios=[0.0,0.5,0.75,0.875]"],
    "shortcut": ["objective/rule=shortcut"],
    "mean_flow": ["objective/rule=mean_flow", "conditioning=label"],
}


def slow_but(fast: str) -> list[object]:
    """The rules, of which all but one are marked slow."""
    return [rule if rule == fast else pytest.param(rule, marks=pytest.mark.slow) for rule in RULES]


@pytest.mark.parametrize("rule", RULES)
def test_it_trains_and_samples_by_the_commands(
    rule: str, command: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    done = command("train.py", *SETTINGS, *RULES[rule], "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    (_, loss), *_ = scalars(run)["val/loss"]
    assert 0 < loss < 10
    assert json.loads((run / "result.json").read_text())
    images = {n: load_model(run).sample(2, sampler="ddim", num_steps=n, seed=0) for n in (1, 2, 4)}
    assert all(each.isfinite().all() for each in images.values())
    assert not torch.equal(images[1], images[2])
    done = command("sample.py", f"ckpt_path={run}", "num_samples=2", "sampler=ddim", "sampler.num_steps=1")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("rule", slow_but("mean_flow"))
def test_killed_and_resumed_equals_uninterrupted(rule: str, tmp_path: Path) -> None:
    config = composed(*SETTINGS, *RULES[rule])
    whole = train(config, tmp_path / "whole" / "version_0")
    folder = tmp_path / "killed" / "version_0"
    killed(config, folder, batch=5)
    resumed = train(config, folder)
    for name in ("state_dict", "optimizer_states", "global_step", "epoch"):
        assert differences(whole[name], resumed[name], name) == []


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_two_processes_that_are_killed_and_resumed_end_as_if_nothing_had_been(rule: str, tmp_path: Path) -> None:
    config = composed(*SETTINGS, *RULES[rule])
    whole, folder = (tmp_path / name / "version_0" for name in ("whole", "killed"))
    train_in_two_processes(config, whole)
    train_in_two_processes(config, folder, until=5)
    train_in_two_processes(config, folder)
    for name in ("state_dict", "optimizer_states", "global_step", "epoch"):
        assert differences(last(whole)[name], last(folder)[name], name) == []


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_two_processes_equal_one(rule: str, tmp_path: Path) -> None:
    """A fast test of the gradients is in tests/core/test_flow_map_losses.py. Dropout is drawn for each process by itself."""
    config = composed(*SETTINGS, *RULES[rule], "trainer.precision=64-true", "model.dropout=0")
    one, two = tmp_path / "one" / "version_0", tmp_path / "two" / "version_0"
    alone = train(config, one)
    train_in_two_processes(config, two)
    for name, weight in alone["state_dict"].items():
        if isinstance(weight, torch.Tensor):
            torch.testing.assert_close(last(two)["state_dict"][name], weight, rtol=1e-8, atol=1e-10, msg=name)
    for tag in ("train/loss", "val/loss"):
        steps, values = zip(*scalars(one)[tag], strict=True)
        steps_of_two, values_of_two = zip(*scalars(two)[tag], strict=True)
        assert steps == steps_of_two and values_of_two == pytest.approx(values, rel=1e-5)


VARIANTS = {
    "half": [*NETWORK, "trainer.precision=bf16-mixed", "schedule=flow"],
    "half weights": [*NETWORK, "trainer.precision=bf16-true", "schedule=flow"],
    "zero terminal": [*NETWORK, "schedule=linear", "schedule.zero_terminal_snr=true", "time_input=log_sigma"],
    "dit": [
        *("model=dit", "model.width=16", "model.depth=2", "model.num_heads=2", "model.takes_s=true"),
        *("schedule=edm", "trainer.accumulate_grad_batches=2"),
    ],
    "compiled": [*NETWORK, "schedule=flow", "compile=true"],
}


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=[pytest.mark.slow] * (name == "compiled")) for name in VARIANTS]
)
def test_mean_flow_trains_in_every_way(variant: str, tmp_path: Path) -> None:
    settings = [part for part in SETTINGS if not part.startswith(("model", "schedule", "trainer.precision"))]
    config = composed(*settings, "trainer.max_epochs=1", "objective/rule=mean_flow", *VARIANTS[variant])
    content = train(config, tmp_path / "version_0")
    assert all(weight.isfinite().all() for weight in content["state_dict"].values() if isinstance(weight, torch.Tensor))
    assert all(0 < loss < 10 for _, loss in scalars(tmp_path / "version_0")["val/loss"])


@pytest.mark.parametrize("first", [0.8, 0.9, 0.7, 0.6, 0.4, 0.1])
def test_both_shares_may_be_all_of_the_images(first: float) -> None:
    """1 - share_at_t is rounded: 1 - 0.8 is below 0.2."""
    rest = round(1 - first, 1)
    assert FlowMapObjective(share_at_t=first, share_at_0=rest).share_at_0 == rest


SELF_TAUGHT = (
    *("objective=self_taught" if part == "objective=flow_map" else part for part in SETTINGS),
    *("objective.share_alone=0.5", "objective.guidance_scale=2.0", "objective.rule.ratios=[0.0,0.5]"),
    "conditioning=label",
)


@pytest.mark.parametrize("batch", [pytest.param(2, marks=pytest.mark.slow), 6])
def test_one_that_teaches_itself_goes_on_bit_for_bit_before_and_after_it_has_a_teacher(
    batch: int, tmp_path: Path
) -> None:
    config = composed(*SELF_TAUGHT)
    whole = train(config, tmp_path / "whole" / "version_0")
    assert whole["global_step"] == 8
    assert any("own_teacher" in name for name in whole["state_dict"])
    folder = tmp_path / "killed" / "version_0"
    killed(config, folder, batch=batch)
    assert any("own_teacher" in name for name in last(folder)["state_dict"]) == (batch == 6)
    resumed = train(config, folder)
    for name in ("state_dict", "optimizer_states", "global_step", "epoch"):
        assert differences(whole[name], resumed[name], name) == []
    model, exported = load_model(folder), tmp_path / "exported"
    exported.mkdir()
    save_export(model, exported, weights="ema")
    shared = load_model(exported)
    assert not any("own_teacher" in name for name in shared.state_dict())
    images = [each.sample(2, sampler="ddim", num_steps=1, seed=0) for each in (model, shared)]
    assert torch.equal(*images) and images[0].isfinite().all()
