"""Folders of diffusers: a model that its own classes have saved is loaded, gives the same numbers, and is tuned."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from lightdiff import load_model
from lightdiff.core import LeadingGrid
from lightdiff.model import CheckpointError
from lightdiff.samplers import DDIM, DDPM
from runs import TINY, tiny

Command = Callable[..., CompletedProcess[str]]
STEM = "diffusion_pytorch_model"
T = 20
# of the shape of google/ddpm-cifar10-32: padding, time embedding and heads are not those of our own networks
SETTINGS: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
    "norm_eps": 1e-6,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "attention_head_dim": None,
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers with recent numpy


def network(**settings: Any) -> UNet2DModel:
    torch.manual_seed(0)
    unet = UNet2DModel(**{**SETTINGS, **settings})
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return unet.eval()


def saved(folder: Path, unet: UNet2DModel | None = None, **scheduler: Any) -> Path:
    """A folder as diffusers saves a DDPMPipeline."""
    settings = {"num_train_timesteps": T, **scheduler}
    DDPMPipeline(unet=unet or network(), scheduler=DDPMScheduler(**settings)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that no test changes."""
    return saved(tmp_path_factory.mktemp("diffusers") / "ddpm")


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    """A folder that a test may change."""
    shutil.copytree(kept, tmp_path / "ddpm")
    return tmp_path / "ddpm"


def noise(count: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 1, 16, 16, generator=torch.Generator().manual_seed(3), dtype=dtype)


def output(path: Path) -> Tensor:
    """What the network of a loaded model makes of some noise, in float64."""
    model = load_model(path).double()
    with torch.inference_mode():
        return model.denoiser.raw(noise(), torch.tensor([0.3, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "further",
    [
        {},
        {"up_block_types": ("UpBlock2D", "AttnUpBlock2D"), "norm_num_groups": 8},
        {"attention_head_dim": 8, "freq_shift": 0, "flip_sin_to_cos": True, "resnet_time_scale_shift": "scale_shift"},
        {"sample_size": (8, 16), "in_channels": 3, "out_channels": 3, "downsample_type": "resnet"},
    ],
)
def test_the_network_is_that_of_diffusers(further: dict[str, Any], dtype: torch.dtype, tmp_path: Path) -> None:
    unet = network(**further)
    model = load_model(saved(tmp_path / "ddpm", unet)).to(dtype)
    timesteps = torch.tensor([0, 1, 7, T - 2, T - 1])
    x = torch.randn(5, *model.image_shape, dtype=dtype)
    with torch.inference_mode():
        theirs = unet.to(dtype)(x, timesteps).sample
        ours = model.denoiser.raw(x, (timesteps + 1).double() / T)
    assert model.image_shape[1:] == (8, 16) if "sample_size" in further else (16, 16)
    assert theirs.std() > 0.1 and torch.equal(ours, theirs)


SCHEDULERS: list[dict[str, Any]] = [
    {},
    {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "clip_sample": False},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "sample"},
    {"beta_schedule": "sigmoid", "variance_type": "fixed_large"},
    {"trained_betas": np.linspace(0.01, 0.2, T).tolist()},
    {"beta_end": 0.2, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
]


@pytest.mark.parametrize("settings", SCHEDULERS)
def test_every_step_of_ddpm_is_that_of_diffusers(settings: dict[str, Any], tmp_path: Path) -> None:
    model = load_model(saved(tmp_path / "ddpm", **settings)).double()
    unet = UNet2DModel.from_pretrained(tmp_path / "ddpm" / "unet").double()
    scheduler = DDPMScheduler.from_pretrained(tmp_path / "ddpm" / "scheduler")
    bars = model.schedule.alphas_cumprod
    torch.testing.assert_close(scheduler.alphas_cumprod.double(), bars, rtol=1e-5, atol=1e-7)
    # their tables are float32
    scheduler.alphas_cumprod, scheduler.one = bars, torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(T)
    x, theirs, generator = noise(), [], torch.Generator().manual_seed(8)
    large = settings.get("variance_type") == "fixed_large"
    with torch.inference_mode():
        for timestep in scheduler.timesteps[: T - 1 if large else T]:
            x = scheduler.step(unet(x, timestep).sample, timestep, x, generator=generator).prev_sample
            theirs.append(x)
        sampler = DDPM(variance="large" if large else "small", clip_denoised=settings.get("clip_sample", True))
        states = sampler.trajectory(model.denoiser, noise(), T, generator=torch.Generator().manual_seed(8))
        ours = [state.x_t for state in states][1:]
    assert x.std() > 0.05
    # diffusers adds noise in the last step of fixed_large too, and we do not
    torch.testing.assert_close(torch.stack(ours[: len(theirs)]), torch.stack(theirs), rtol=0, atol=1e-8)


def test_the_pipeline_ddim_draws_the_same_images(kept: Path) -> None:
    pipeline = DDIMPipeline(
        unet=UNet2DModel.from_pretrained(kept / "unet"), scheduler=DDIMScheduler.from_pretrained(kept / "scheduler")
    )
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(
        batch_size=2,
        num_inference_steps=5,
        generator=torch.Generator().manual_seed(0),
        use_clipped_model_output=True,
        output_type="np",
    ).images
    x_T = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    # diffusers' usual spacing is leading, and there the last step ends at timestep 0 with set_alpha_to_one
    with torch.inference_mode():
        x = DDIM(clip_denoised=True, grid=LeadingGrid()).sample(load_model(kept).denoiser, x_T, 5)
    expected = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert expected.std() > 0.05 and np.abs(images - expected).max() < 1e-4


def as_before(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that attentions had in the first releases of diffusers."""
    former = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    renamed = {}
    for name, weight in state.items():
        for new, old in former.items():
            name = name.replace(new, old)
        renamed[name] = weight
    return renamed


def flat(folder: Path) -> None:
    """All files in the folder itself, a pickle of the weights, old names: google/ddpm-cifar10-32 as it was first uploaded."""
    for part in ("unet", "scheduler"):
        for file in (folder / part).iterdir():
            file.rename(folder / file.name)
        (folder / part).rmdir()
    state = as_before(load_file(folder / f"{STEM}.safetensors"))
    assert any(".proj_attn." in name for name in state)
    torch.save(state, folder / f"{STEM}.bin")
    (folder / f"{STEM}.safetensors").unlink()


def variant(folder: Path, *, pickled: bool = False) -> None:
    """Half precision under a name of its own, and nothing else."""
    unet = UNet2DModel.from_pretrained(folder / "unet").half()
    (folder / "unet" / f"{STEM}.safetensors").unlink()
    unet.save_pretrained(folder / "unet", variant="fp16", safe_serialization=not pickled)


def sharded(folder: Path, *, pickled: bool = False) -> None:
    unet = UNet2DModel.from_pretrained(folder / "unet")
    (folder / "unet" / f"{STEM}.safetensors").unlink()
    unet.save_pretrained(folder / "unet", max_shard_size="20KB", safe_serialization=not pickled)
    assert len([*(folder / "unet").glob("*-of-*")]) > 1


def pickled(folder: Path) -> None:
    unet = UNet2DModel.from_pretrained(folder / "unet")
    (folder / "unet" / f"{STEM}.safetensors").unlink()
    unet.save_pretrained(folder / "unet", safe_serialization=False)


FORMS: dict[str, tuple[Callable[[Path], None], float]] = {
    "flat": (flat, 0),
    "pickled": (pickled, 0),
    "half": (variant, 1e-2),
    "half, pickled": (lambda folder: variant(folder, pickled=True), 1e-2),
    "shards": (sharded, 0),
    "shards, pickled": (lambda folder: sharded(folder, pickled=True), 0),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_other_forms_of_the_folder(form: str, folder: Path, kept: Path) -> None:
    change, tolerance = FORMS[form]
    change(folder)
    model = load_model(folder)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    torch.testing.assert_close(output(folder), output(kept), rtol=0, atol=tolerance)


def test_full_precision_comes_first_and_a_file_can_be_named(folder: Path, kept: Path) -> None:
    unet = UNet2DModel.from_pretrained(folder / "unet")
    with torch.no_grad():
        unet.conv_out.bias.add_(1)
    unet.half().save_pretrained(folder / "unet", variant="fp16")
    assert torch.equal(output(folder), output(kept))
    named = output(folder / "unet" / f"{STEM}.fp16.safetensors")
    torch.testing.assert_close(named, output(kept) + 1, rtol=0, atol=1e-2)


class Hostile:
    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.sign,))


def edited(file: str, **values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def hostile(folder: Path) -> None:
    (folder / "unet" / f"{STEM}.safetensors").unlink()
    torch.save({"conv_in.weight": Hostile(folder / "ran")}, folder / "unet" / f"{STEM}.bin")


def hostile_and_bare(folder: Path) -> None:
    (folder / "unet" / f"{STEM}.safetensors").unlink()
    (folder / "unet" / f"{STEM}.bin").write_bytes(pickle.dumps(Hostile(folder / "ran")))


def elsewhere(folder: Path) -> None:
    sharded(folder)
    path = folder / "unet" / f"{STEM}.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"conv_in.weight": "../../other/diffusion_pytorch_model.safetensors"}}))


def two_variants(folder: Path) -> None:
    for name in ("fp16", "bf16"):
        shutil.copy(folder / "unet" / f"{STEM}.safetensors", folder / "unet" / f"{STEM}.{name}.safetensors")
    (folder / "unet" / f"{STEM}.safetensors").unlink()


def one_shard_missing(folder: Path) -> None:
    sharded(folder)
    sorted((folder / "unet").glob("*-of-*"))[0].unlink()


def fewer_weights(folder: Path) -> None:
    file = folder / "unet" / f"{STEM}.safetensors"
    state = load_file(file)
    del state["conv_in.weight"]
    save_file(state, file)


CONFIG, SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pickle with code": (hostile, "holds more than weights"),
    "a bare pickle with code": (hostile_and_bare, "no archive of torch.save"),
    "no weights": (lambda folder: (folder / "unet" / f"{STEM}.safetensors").unlink(), "no weights in this folder"),
    "no scheduler": (lambda folder: shutil.rmtree(folder / "scheduler"), "no scheduler/scheduler_config.json"),
    "no config": (lambda folder: (folder / CONFIG).unlink(), "config.json: not readable (No such file"),
    "garbled": (lambda folder: (folder / CONFIG).write_text("{"), "config.json: garbled ("),
    "garbled weights": (
        lambda folder: (folder / f"unet/{STEM}.safetensors").write_text("{"),
        "safetensors: not readable",
    ),
    "another class": (
        edited(CONFIG, _class_name="UNet2DConditionModel"),
        "UNet2DConditionModel: UNet2DModel is expected",
    ),
    "classes": (edited(CONFIG, num_class_embeds=10), "num_class_embeds=10: null (a model without classes) is expected"),
    "a learned variance": (
        edited(CONFIG, out_channels=2),
        "in_channels=1, out_channels=2: the same number is expected",
    ),
    "no size": (edited(CONFIG, sample_size=None), "sample_size=null: a size or [height, width] is expected"),
    "unknown settings": (edited(CONFIG, spin=1), "'spin'"),
    "unknown blocks": (edited(CONFIG, down_block_types=["os", "system"]), "os does not exist"),
    "endless blocks": (edited(CONFIG, layers_per_block=10**9), "too few for the blocks that its config.json describes"),
    "huge": (edited(CONFIG, block_out_channels=[8, 2**40]), "too large for the memory of this machine"),
    "another scheduler": (
        edited(SCHEDULER, _class_name="EulerDiscreteScheduler"),
        "one of DDPMScheduler, DDIMScheduler, ",
    ),
    "another schedule": (edited(SCHEDULER, beta_schedule="laplace"), "beta_schedule=laplace: one of squaredcos_cap_v2"),
    "another prediction": (edited(SCHEDULER, prediction_type="flow"), "prediction_type=flow: one of epsilon"),
    "endless timesteps": (edited(SCHEDULER, num_train_timesteps=10**12), "T=1000000000000: too large for the memory"),
    "an autoencoder": (edited("model_index.json", vqvae=["diffusers", "VQModel"]), "and this one has vqvae too"),
    "shards elsewhere": (elsewhere, "is no file of weights beside it"),
    "a missing shard": (one_shard_missing, "safetensors: not readable"),
    "two variants": (two_variants, "several variants of it; name one"),
    "fewer weights": (fewer_weights, "conv_in.weight is None in this file"),
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_what_cannot_be_loaded_is_refused_in_one_line(what: str, folder: Path) -> None:
    change, message = REFUSED[what]
    change(folder)
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    line = str(caught.value)
    assert line.startswith(str(folder)) and message in line and "\n" not in line, line
    assert not (folder / "ran").exists()


def test_sample_and_eval(folder: Path, command: Command) -> None:
    few = ("sampler.num_steps=2", "progress=false")
    done = command("sample.py", f"ckpt_path={folder}", "num_samples=3", "save=npz", "sampler=ddim", *few, "out=drawn")
    assert done.returncode == 0, done.stderr
    drawn = np.load(folder.parent / "drawn" / "samples.npz")["images"]
    expected = load_model(folder).sample(3, sampler="ddim", num_steps=2, seed=0)
    assert drawn.shape[0] == 3 and drawn.std() > 5 and expected.std() > 0.05
    cache = f"cache_dir={folder.parent / 'cache'}"
    done = command("eval.py", f"ckpt_path={folder}", "dataset=digits", "num_samples=20", *few, cache)
    assert done.returncode == 0, done.stderr
    assert (folder / "evaluation" / "table.md").is_file() and not (folder / "unet" / "evaluation").exists()
    done = command("sample.py", f"ckpt_path={folder}/nothing")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    (folder / SCHEDULER).write_text("{}")
    done = command("sample.py", f"ckpt_path={folder}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "_class_name: missing" in done.stderr, done.stderr


ARCHITECTURE = ("model.widths=[8,16]", "model.attention_levels=[1]")
SHORT = (
    *(setting for setting in TINY if not setting.startswith("model")),
    *("trainer.max_epochs=1", "callbacks=no_samples", f"schedule.betas.T={T}", "model=diffusers_unet"),
)


def test_fine_tuning_takes_the_network_of_the_folder(folder: Path, command: Command, tmp_path: Path) -> None:
    done = command("train.py", *SHORT, f"init_from={folder}", "optimizer.lr=1e-12")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    theirs, ours = load_model(folder).network.state_dict(), load_model(run, weights="raw").network.state_dict()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    network = yaml.safe_load((run / "config.yaml").read_text())["model"]
    assert network["widths"] == [8, 16] and network["further"]["downsample_padding"] == 0
    # the folder is not needed any more
    shutil.rmtree(folder)
    done = command("train.py", f"resume={run}", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr


def test_settings_that_are_typed_are_kept_and_compared(folder: Path, command: Command) -> None:
    done = command("train.py", *SHORT, f"init_from={folder}", "model.widths=[8,8]")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"init_from={folder}: network.unet." in done.stderr


def test_one_step_tuning_learns_from_the_folder(folder: Path, command: Command, tmp_path: Path) -> None:
    few_step = ("objective=consistency", "objective/prediction=epsilon", f"objective.teacher={folder}")
    done = command("train.py", *SHORT, *few_step, f"init_from={folder}")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    described = load_model(run).describe()["objective"]
    assert described["_target_"].endswith("ConsistencyObjective") and described["teacher"] == "ddpm"


@pytest.mark.parametrize(
    "overrides", [(), ("schedule=cosine", "objective=v"), ("objective=consistency", "objective/prediction=epsilon")]
)
def test_what_we_export_loads_again(overrides: tuple[str, ...], command: Command, tmp_path: Path) -> None:
    from lightdiff.config.build import build_model
    from lightdiff.model.content import FORMAT

    model = build_model(tiny("model=diffusers_unet", *ARCHITECTURE, f"schedule.betas.T={T}", *overrides))
    content = {"lightdiff": {"format": FORMAT, "model": model.describe()}, "state_dict": model.state_dict()}
    torch.save(content, tmp_path / "model.ckpt")
    for source, out in (("model.ckpt", "first"), ("first", "second")):
        done = command("export.py", f"ckpt_path={source}", "format=diffusers", f"out={out}")
        assert done.returncode == 0, done.stderr
    first, second = tmp_path / "first", tmp_path / "second"
    assert torch.equal(output(tmp_path / "model.ckpt"), output(first)) and torch.equal(output(first), output(second))
    assert (first / SCHEDULER).read_text() == (second / SCHEDULER).read_text()
    theirs, ours = load_model(first), load_model(tmp_path / "model.ckpt")
    torch.testing.assert_close(theirs.schedule.alphas_cumprod, ours.schedule.alphas_cumprod, rtol=1e-9, atol=0)
    assert type(theirs.objective) is type(ours.objective)
