"""export.py: what is written gives the same images again, in lightdiff and in diffusers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
import yaml

from lightdiff import load_model
from lightdiff.config.build import build_model
from lightdiff.model import CheckpointError
from lightdiff.model.content import FORMAT
from lightdiff.samplers import DDIM, Renoise
from runs import tiny, train

Command = Callable[..., CompletedProcess[str]]
PLACES = (("digits/version_0", "raw"), ("shared", "ema"))
DIFFUSERS = ("model=diffusers_unet_small", "model.widths=[8,16]", "model.attention_levels=[1]")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers with recent numpy


def saved(folder: Path, *overrides: str) -> Path:
    """Checkpoint of an untrained model, its weights moved off their first values."""
    model = build_model(tiny(*overrides))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    path = folder / "model.ckpt"
    torch.save({"lightdiff": {"format": FORMAT, "model": model.describe()}, "state_dict": model.state_dict()}, path)
    return path


def refused(done: CompletedProcess[str], message: str) -> None:
    assert done.stderr.splitlines() == [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert done.returncode == 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-conditional run whose averaged weights differ from the raw ones."""
    folder = tmp_path_factory.mktemp("run") / "digits" / "version_0"
    train(tiny("trainer.max_epochs=1", "callbacks=no_samples", "conditioning=label"), folder)
    return folder


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_safetensors_give_the_same_images(weights: str, run: Path, command: Command, tmp_path: Path) -> None:
    done = command("export.py", f"ckpt_path={run}", f"weights={weights}", "out=shared")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "shared").iterdir()} == {
        *("model.safetensors", "config.json", "README.md", "samples.png")
    }
    assert json.loads((tmp_path / "shared" / "config.json").read_text())["lightdiff"]["weights"] == weights
    settings = {"num_steps": 3, "seed": 4, "labels": [1, 7], "guidance_scale": 2.0}
    ours = load_model(run, weights=weights).sample(2, **settings)
    other = load_model(run, weights="raw" if weights == "ema" else "ema").sample(2, **settings)
    assert not torch.equal(ours, other)
    for path in (tmp_path / "shared", tmp_path / "shared" / "model.safetensors"):
        assert torch.equal(load_model(path).sample(2, **settings), ours)


def test_an_export_serves_wherever_a_checkpoint_does(run: Path, command: Command, tmp_path: Path) -> None:
    command("export.py", f"ckpt_path={run}", "out=shared")
    images = []
    for path in (run, tmp_path / "shared"):
        options = ("num_samples=3", "save=npz", "sampler.num_steps=2", "progress=false")
        done = command("sample.py", f"ckpt_path={path}", *options, f"out=from_{path.name}")
        assert done.returncode == 0, done.stderr
        images.append(np.load(tmp_path / f"from_{path.name}" / "samples.npz")["images"])
    assert np.array_equal(*images)
    config = tiny("trainer.max_epochs=1", "callbacks=no_samples", "conditioning=label", "optimizer.lr=1e-12")
    train({**config, "init_from": str(tmp_path / "shared")}, tmp_path / "digits" / "version_0")
    started, shared = (load_model(tmp_path / path, weights=weights) for path, weights in PLACES)
    torch.testing.assert_close(started.network.state_dict(), shared.network.state_dict(), rtol=0, atol=1e-6)
    with pytest.raises(CheckpointError, match=r"weights=raw: .* holds the averaged weights; choices: ema"):
        load_model(tmp_path / "shared", weights="raw")


SCHEDULES = {
    "schedule=linear objective=epsilon": ("linear", "epsilon"),
    "schedule=scaled_linear objective=v": ("scaled_linear", "v_prediction"),
    "schedule=cosine objective=x0": ("squaredcos_cap_v2", "sample"),
    "schedule=cosine objective=epsilon schedule.betas.T=200": ("squaredcos_cap_v2", "epsilon"),
    "schedule=linear objective=v schedule.zero_terminal_snr=true": ("linear", "v_prediction"),
    "schedule=linear objective=min_snr schedule.betas.T=100 schedule.betas.rescale=true": ("linear", "epsilon"),
}


@pytest.mark.parametrize("overrides", list(SCHEDULES))
def test_a_diffusers_pipeline_gives_the_same_images(overrides: str, command: Command, tmp_path: Path) -> None:
    from diffusers import DDIMPipeline

    checkpoint = saved(tmp_path, *DIFFUSERS, *overrides.split())
    done = command("export.py", f"ckpt_path={checkpoint}", "format=diffusers", "out=pipeline")
    assert done.returncode == 0, done.stderr
    pipeline = DDIMPipeline.from_pretrained(tmp_path / "pipeline", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    settings = pipeline.scheduler.config
    assert (settings["beta_schedule"], settings["prediction_type"]) == SCHEDULES[overrides]

    model = load_model(checkpoint)
    T = model.schedule.num_train_timesteps
    bars = torch.as_tensor(model.schedule.alphas_cumprod)
    torch.testing.assert_close(pipeline.scheduler.alphas_cumprod.double(), bars, rtol=1e-3, atol=1e-6)
    x_T = torch.randn(2, *model.image_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        theirs = pipeline.unet(x_T, torch.tensor([5, T - 1])).sample
        ours = model.denoiser.raw(x_T, torch.tensor([6 / T, 1.0], dtype=torch.float64))
        assert torch.equal(theirs, ours)
        x = DDIM(clip_denoised=True).sample(model.denoiser, x_T, 10)
    images = pipeline(
        batch_size=2,
        num_inference_steps=10,
        generator=torch.Generator().manual_seed(0),  # draws the same x_T
        use_clipped_model_output=True,
        output_type="np",
    ).images
    expected = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert np.abs(images - expected).max() < 2e-3  # their tables are float32
    assert expected.std() > 0.05


CONSISTENT = {
    "schedule=linear objective/prediction=epsilon": "epsilon",
    "schedule=cosine": "v_prediction",
    "schedule=linear schedule.zero_terminal_snr=true": "v_prediction",
}


@pytest.mark.parametrize("overrides", list(CONSISTENT))
def test_a_consistency_model_draws_the_same_images_in_diffusers(
    overrides: str, command: Command, tmp_path: Path
) -> None:
    from diffusers import DDPMPipeline, LCMScheduler

    checkpoint = saved(tmp_path, *DIFFUSERS, "objective=consistency", *overrides.split())
    done = command("export.py", f"ckpt_path={checkpoint}", "format=diffusers", "out=pipeline")
    assert done.returncode == 0, done.stderr
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "pipeline", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    assert isinstance(pipeline.scheduler, LCMScheduler)
    assert pipeline.scheduler.config["prediction_type"] == CONSISTENT[overrides]
    # all in float64, with the alphas_cumprod that their float32 betas stand for
    pipeline.unet.double()
    model = load_model(checkpoint).double()
    bars = model.schedule.alphas_cumprod
    torch.testing.assert_close(pipeline.scheduler.alphas_cumprod.double(), bars, rtol=1e-3, atol=1e-6)
    pipeline.scheduler.alphas_cumprod = bars
    for num_steps in (1, 2, 4):
        images = pipeline(
            batch_size=2,
            num_inference_steps=num_steps,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        ).images
        generator = torch.Generator().manual_seed(0)
        x_T = torch.randn(2, *model.image_shape, generator=generator, dtype=torch.float64)
        with torch.inference_mode():
            x = Renoise(clip_denoised=True).sample(model.denoiser, x_T, num_steps, generator=generator)
        expected = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(images, expected, rtol=0, atol=1e-10)
        assert expected.std() > 0.05


INEXPRESSIBLE = {
    "model=unet_small": "model=UNet: format=diffusers cannot express it; choices: DiffusersUNet2D, or format=safetensors",
    "conditioning=label": "conditioning=LabelConditioner: format=diffusers cannot express it; choices: none",
    "schedule=sigmoid": "schedule.betas=another table: format=diffusers cannot express it; choices: those of cosine, linear, ",
    "schedule=cosine schedule.betas.offset=0.02": "schedule.betas=another table",
    "schedule=flow objective=v": "schedule=FlowSchedule: format=diffusers cannot express it; choices: cosine, linear, ",
    "schedule=flow objective=flow": "objective.prediction=FlowPrediction: format=diffusers cannot express it; choices: Eps",
    "schedule=edm objective=consistency objective/prediction=edm": "objective.prediction=EDMPrediction: ",
    "model=unet_small model.takes_s=true": "model=UNet: format=diffusers cannot express it; choices: DiffusersUNet2D",
    "objective/noise=uniform": "objective.noise=UniformNoise: ",
    "time_input=t": "time_input=t: ",
    "codec.value_range=[0,1]": "codec.value_range=[0.0, 1.0]: ",
}


@pytest.mark.parametrize("overrides", list(INEXPRESSIBLE))
def test_what_diffusers_has_not_is_refused(overrides: str, command: Command, tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, *DIFFUSERS, *overrides.split())
    done = command("export.py", f"ckpt_path={checkpoint}", "format=diffusers", "out=pipeline")
    refused(done, INEXPRESSIBLE[overrides])
    assert not (tmp_path / "pipeline").exists()


MISTAKES = {
    "format=onnx": "format=onnx: one of safetensors, diffusers is expected",
    "weights=best": "weights=best: one of ema, raw is expected",
    "wieghts=raw": "wieghts: no such key; did you mean weights?",
    "out=/dev/null/x": "out=/dev/null/x: no folder can be made there",
    "out=.": "out=.: a new or an empty folder is expected",
    "ckpt_path=nowhere": "ckpt_path=nowhere: no such checkpoint or run folder",
}


@pytest.mark.parametrize("override", list(MISTAKES))
def test_mistakes_end_in_one_line(override: str, run: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    arguments = {"ckpt_path": run, "out": "shared", **dict([override.split("=")])}
    refused(command("export.py", *(f"{key}={value}" for key, value in arguments.items())), MISTAKES[override])


def test_both_paths_are_needed(run: Path, command: Command) -> None:
    refused(command("export.py", f"ckpt_path={run}"), "out=null: a folder is expected, or push_to=user/name")
    refused(command("export.py", "out=shared"), "ckpt_path: a value is needed (ckpt_path=...)")


def test_the_command_line_shows_its_keys(run_script: Callable[..., CompletedProcess[str]], run: Path) -> None:
    done = run_script("export.py", "--cfg", "job", f"ckpt_path={run}", "out=shared")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout) == {
        "ckpt_path": str(run),
        "format": "safetensors",
        "weights": "ema",
        "trust": [],
        "half": False,
        "samples": 16,
        "license": None,
        "push_to": None,
        "private": False,
        "out": "shared",
    }


def test_half_the_size_is_nearly_the_same_model(run: Path, command: Command, tmp_path: Path) -> None:
    for half in ("false", "true"):
        done = command("export.py", f"ckpt_path={run}", f"half={half}", f"out={tmp_path / half}")
        assert done.returncode == 0, done.stderr
    full, small = ((tmp_path / half / "model.safetensors").stat().st_size for half in ("false", "true"))
    assert small < 0.6 * full
    assert (
        len({path.stat().st_mode for path in (tmp_path / "true").iterdir()}) == 1
    )  # whoever may read one may read all
    images = [load_model(tmp_path / half).sample(4, num_steps=3, seed=0) for half in ("false", "true")]
    assert images[1].dtype == torch.float32 and (images[0] - images[1]).abs().mean() < 0.02
    done = command("export.py", f"ckpt_path={run}", "half=true", "format=diffusers", f"out={tmp_path / 'pipeline'}")
    assert done.returncode == 2 and "half=true: only with format=safetensors" in done.stderr


def test_an_exported_model_is_measured(run: Path, command: Command, tmp_path: Path) -> None:
    assert command("export.py", f"ckpt_path={run}", f"out={tmp_path / 'shared'}").returncode == 0
    few = ("num_samples=20", "sampler.num_steps=2", "progress=false", f"cache_dir={tmp_path / 'cache'}")
    done = command("eval.py", f"ckpt_path={tmp_path / 'shared'}", "dataset=digits", *few)
    assert done.returncode == 0, done.stderr
    assert "| ema |" in (tmp_path / "shared" / "evaluation" / "table.md").read_text()
