"""init_from: a network that takes a second time goes on from the weights of one that does not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lightdiff.model import CheckpointError, DiffusionModel, load_model, load_weights_into
from lightdiff.model.loading import model_from_config
from runs import ROOT, TINY

Run = Callable[..., subprocess.CompletedProcess[str]]
SHIPPED, FORMAT_1 = ROOT / "models" / "mnist_fast", ROOT / "tests" / "format_1"


def like(model: DiffusionModel, takes_s: bool) -> DiffusionModel:
    """Return an untrained model with other weights that differs from `model` in takes_s alone."""
    description = model.describe()
    torch.manual_seed(1)
    return model_from_config({**description, "network": {**description["network"], "takes_s": takes_s}}).eval()


def test_the_shipped_model_starts_exactly_where_it_was() -> None:
    source = load_model(SHIPPED)
    model = like(source, takes_s=True)
    own = {name: weight.clone() for name, weight in model.trained.state_dict().items()}
    load_weights_into(model, SHIPPED)
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(2, *source.image_shape, generator=generator)
    t, s = torch.tensor([0.9, 0.4]), torch.tensor([0.0, 0.3])
    cond = None if source.conditioning is None else source.conditioning.null()
    cond = cond and {name: value.expand(2, *value.shape[1:]) for name, value in cond.items()}
    with torch.no_grad():
        expected = source.trained(x_t, t, cond)
        assert torch.equal(model.trained(x_t, t, cond, s), expected)
        assert torch.equal(model.trained(x_t, t, cond), expected)
    # the new module alone keeps its own weights
    new = {name for name in own if name not in source.trained.state_dict()}
    assert new == {f"network.embedding.jump.{name}" for name in ("hidden.weight", "hidden.bias", "out.weight")}
    assert all(torch.equal(model.trained.state_dict()[name], own[name]) for name in new)
    labels = None if source.conditioning is None else [3, 1]
    images = [each.sample(2, sampler="ddim", num_steps=2, seed=0, labels=labels) for each in (source, model)]
    assert torch.equal(*images)


def test_only_what_starts_without_an_effect_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = like(load_model(SHIPPED), takes_s=True)
    monkeypatch.setattr("lightdiff.networks.embedding.JumpEmbedding.starts_without_effect", False)
    with pytest.raises(CheckpointError, match="network.embedding.jump.hidden.weight is None there and") as caught:
        load_weights_into(model, SHIPPED)
    assert "\n" not in str(caught.value)


def test_by_the_command_line_there_and_back(command: Run, tmp_path: Path) -> None:
    settings = [setting for setting in TINY if not setting.startswith("model")]
    settings += ["model=resunet", "model.widths=[8]", "model.blocks_per_level=1", "model.attention_levels=[]"]
    settings += ["model.patch_size=4", "conditioning=label", "callbacks=no_samples", "trainer.max_steps=1"]
    settings += ["optimizer.lr=1e-30", "init_weights=raw"]
    done = command("train.py", *settings, f"init_from={FORMAT_1}", "model.takes_s=true")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    old, new = (load_model(path, weights="raw") for path in (FORMAT_1, run))
    assert new.denoiser.takes_s and not old.denoiser.takes_s
    for name, weight in old.trained.state_dict().items():
        torch.testing.assert_close(new.trained.state_dict()[name], weight)
    again = like(new, takes_s=True)
    load_weights_into(again, run, weights="raw")
    assert all(
        torch.equal(again.trained.state_dict()[name], weight) for name, weight in new.trained.state_dict().items()
    )
    # weights that say something of jumps are not thrown away
    back = command("train.py", *settings, f"init_from={run}")
    assert back.returncode == 2
    assert "network.embedding.jump.hidden.weight is [" in back.stderr and "None in this model" in back.stderr
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
