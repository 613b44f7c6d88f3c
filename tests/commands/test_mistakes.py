"""Mistakes as a user makes them: one line that names the key, the value and the choices, exit code 2, nothing left behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from lightdiff.config.instantiate import ConfigError, instantiate
from runs import tiny, train

Command = Callable[..., CompletedProcess[str]]
TINY = (
    "dataset=digits",
    "model=unet_small",
    "model.widths=[8,8]",
    "model.attention_levels=[]",
    "trainer=debug",
    "dataset.batch_size=16",
    "sampler=ddim",
    "sampler.num_steps=3",
    "trainer.enable_progress_bar=false",
    "callbacks=no_samples",
)
CHATTER = ("GPU available", "TPU available", "HPU available", "💡")


def refused(done: CompletedProcess[str], message: str) -> None:
    """The command ended with this one line and code 2."""
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(CHATTER)]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"error: {message}")
    assert done.returncode == 2


OVERRIDES = {
    # keys and choices
    "optimizer.lrr=1": "optimizer.lrr: no such key; did you mean lr? choices: _target_, betas, fused, lr",
    "datset=mnist": "datset: no such key; did you mean dataset?",
    "datset.batch_size=3": "datset.batch_size: no such key; did you mean dataset.batch_size?",
    "dataset=minst": "dataset=minst: no such choice; did you mean mnist?",
    "dataset=": "dataset=: no such choice; choices: ",
    "dataset=folder dataset.max_memory_gbb=3": "dataset.max_memory_gbb: no such key; did you mean max_memory_gb?",
    "conditioning=label conditioning.drop_probb=1": "conditioning.drop_probb: no such key; did you mean drop_prob?",
    "experiment=foo": "experiment=foo: no such choice; choices: ",
    "logger=null": "logger=null: no such choice; choices: csv, mlflow, tensorboard",
    "callbacks=3": "callbacks=3: no such choice; choices: default, evaluation, few_step",
    "+experiment=digits_fast": "+experiment=digits_fast: this group has its place; write it without +",
    "+trainer.max_epochs=3": "+trainer.max_epochs: this key is there already; write it without +",
    "+trainer.max_epoch=3": "trainer.max_epoch: no such key; did you mean max_epochs?",
    "+ema_decey=0.9": "ema_decey: no such key; did you mean ema_decay?",
    "+resume=version_0": "resume=version_0: must stand on the command line, as resume=...",
    "callbacks.sample=null": "callbacks.sample: no such key; did you mean samples?",
    "+callbacks.mine={}": "callbacks.mine: a mapping with the _target_ of a callback, or null, is expected",
    "~optimizer": "optimizer: this group is needed",
    # keys deleted although others take their values from them, or although they have none
    "~model.cond_dim": "~model.cond_dim: this key has no value, and only a key with a value can be deleted; leave ~model.cond",
    "~init_from": "~init_from: this key has no value, and only a key with a value can be deleted; leave ~init_from away",
    "~model.cond_dm": "model.cond_dm: no such key; did you mean cond_dim?",
    "~dataset.channels": "~dataset.channels: model.channels takes its value from dataset.channels; leave ~dataset.channels",
    "~seed": "~seed: dataset.seed takes its value from seed; leave ~seed away, or set dataset.seed too",
    "~log_dir": "~log_dir: hydra.run.dir takes its value from log_dir; leave ~log_dir away, or set hydra.run.dir too",
    "~conditioning": "~conditioning: model.cond_dim takes its value from conditioning.cond_dim; leave ~conditioning away, or "
    "choose one with conditioning=...; choices: attributes, both, clip, clip_finetuned",
    "~conditioning ~model.cond_dim": "~conditioning: model.cond_dim takes its value from conditioning.cond_dim; leave",
    "~dataset": "~dataset: dataset.batch_size is set on the same command line; leave one of the two away",
    "~seed=3": "~seed=3: seed is 0; write ~seed to delete it whatever it is",
    "~dataset=cifar": "~dataset=cifar: no such choice is made, so that there is nothing to delete",
    "dataset=folder": "dataset.data_dir: a value is needed (dataset.data_dir=...)",
    "dataset=folder dataset.data_dir=nowhere": "dataset.data_dir=nowhere: no such folder",
    "model._target_=lightdiff.networks.Foo": "model._target_=lightdiff.networks.Foo: cannot be imported",
    # syntax
    "trainer.max_epochs=[1": "trainer.max_epochs=[1: not understood; if [1 is meant as text, write 'trainer.max_epochs=\"[1\"'",
    "dataset": "dataset: not understood; write key=value",
    "=3": "a key is missing in front of =",
    "seed=1,2": "seed=1,2: several values are a sweep, which needs -m; one list is written 'seed=[1,2]'",
    # the top
    "seed=-1": "seed=-1: a whole number from 0 to 4294967295 is expected",
    "seed=1.5": "seed=1.5: int is expected",
    "seed=null": "seed=null: int is expected",
    "ema_decay=2": "ema_decay=2: a number in [0, 1) or null",
    "ema_decay=fast": "ema_decay=fast: float or null is expected",
    "time_input=foo": "time_input=foo: does not exist; choices: timestep, t, log_sigma, none",
    "init_from=nowhere": "init_from=nowhere: no such checkpoint or run folder",
    "init_weights=best": "init_weights=best: one of ema, raw is expected",
    "log_dir=/dev/null": "log_dir=/dev/null: no folder can be made there",
    "gpu_memory_fraction=0": "gpu_memory_fraction=0: a number in (0, 1] or null (all) is expected",
    "gpu_memory_fraction=1.5": "gpu_memory_fraction=1.5: a number in (0, 1] or null (all) is expected",
    "gpu_memory_fraction=half": "gpu_memory_fraction=half: float or null is expected",
    "gpu_memory_fraction=true": "gpu_memory_fraction=True: float or null is expected",
    # trainer: Lightning's own messages gain the key
    "trainer.devices=0": "trainer.devices=0: ",
    "trainer.accelerator=foo": "trainer.accelerator=foo: ",
    "trainer.accelerator=tpu": "trainer",
    "trainer.strategy=foo": "trainer.strategy=foo: ",
    "trainer.precision=foo": "trainer.precision=foo: one of 64, 32, 16, transformer-engine",
    "trainer.num_nodes=0": "trainer.num_nodes=0: ",
    "trainer.limit_train_batches=1.5": "trainer.limit_train_batches=1.5: ",
    "trainer.limit_train_batches=0": "trainer.limit_train_batches=0: a share in (0, 1], a number of batches",
    "trainer.max_epochs=0": "trainer.max_epochs=0: 1 or more, or -1 (no limit), is expected",
    "trainer.max_epochs=ten": "trainer.max_epochs=ten: int or null is expected",
    "trainer.max_steps=-5": "trainer.max_steps=-5: 1 or more, or -1 (no limit), is expected",
    "trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches=0: 1 or more is expected",
    "trainer.log_every_n_steps=0": "trainer.log_every_n_steps=0: 1 or more is expected",
    "trainer.check_val_every_n_epoch=0": "trainer.check_val_every_n_epoch=0: 1 or more is expected",
    "trainer.gradient_clip_val=-1": "trainer.gradient_clip_val=-1: a positive number or null",
    # data and model
    "dataset.batch_size=0": "dataset.batch_size=0: a whole number from 1 up is expected",
    "dataset.batch_size=100000": "dataset.batch_size=100000: there are only 1617 training images",
    "dataset.image_size=17": "model.image_size=17: this network needs multiples of 2; nearest sizes: 16 and 18",
    "dataset.image_size=[16,16,16]": "dataset.image_size=[16, 16, 16]: one side or [height, width] is expected",
    "dataset.channels=5": "dataset.channels=5: the images of Digits have 1",
    "dataset.resize_mode=foo": "dataset.resize_mode=foo: one of pad, resize, crop, none or null is expected",
    "codec.value_range=[1,-1]": "codec.value_range=[1, -1]: two numbers, the lower one first, are expected",
    "codec.value_range=[]": "codec.value_range=[]: two numbers, the lower one first, are expected",
    "model.channels=3": "model: made for images of 3x16x16 (channels, height, width), but those of the data set are 1x16x16",
    "conditioning=label conditioning.num_classes=5": "conditioning.num_classes=5: the data set has 10 classes",
    "model.widths=[-1]": "model.widths=[-1]: ",
    "model.widths=8": "model.widths=8: a list of int is expected",
    "model.attention_levels=[5]": "model.attention_levels=[5]: levels in 0..1 are expected",
    "model.num_heads=3 model.attention_levels=[1]": "model.num_heads=3: it must divide the width 8",
    # what is trained, and how it is sampled
    "schedule=flow": "objective.prediction=epsilon: ",
    "schedule.zero_terminal_snr=true": "objective.prediction=epsilon: ",
    "schedule=cosine objective/weighting=edm": "objective.weighting=EDMWeighting: with prediction=EpsilonPrediction the loss",
    "schedule=flow objective=x0 objective/weighting=snr": "objective.weighting=SNRWeighting: with prediction=X0Prediction",
    "schedule.betas.T=0": "schedule.betas.T=0: ",
    "optimizer.lr=-1": "optimizer.lr=-1: Invalid learning rate",
    "optimizer.lr=fast": "optimizer.lr=fast: float is expected",
    "optimizer.betas=[2,3]": "optimizer.betas=[2, 3]: Invalid beta parameter",
    "optimizer=adamw optimizer.weight_decay=-1": "optimizer.weight_decay=-1: Invalid weight_decay value",
    "lr_scheduler=cosine lr_scheduler.warmup_steps=-1": "lr_scheduler.warmup_steps=-1: ",
    "sampler.num_steps=0": "sampler.num_steps=0: 1 or more steps",
    "sampler.num_steps=2000": "sampler.num_steps=2000: this schedule has 1000 timesteps",
    "sampler.eta=-1": "sampler.eta=-1: a number in [0, 1] is expected",
    "sampler.eta=abc": "sampler.eta=abc: float is expected",
    "callbacks=default callbacks.samples.rows=0": "callbacks.samples.rows=0: 1 to 1000 is expected",
    "callbacks=default callbacks.samples.guidance_scale=3": "guidance_scale=3: this model is unconditional",
    "callbacks.checkpoints.mode=foo": "callbacks.checkpoints.mode=foo: one of min, max is expected",
    # what Python would take
    "model._target_=3": "model._target_=3: the dotted name of a class or function is expected",
    "callbacks.curves._target_=[1]": "callbacks.curves._target_=[1]: the dotted name of a class",
    "optimizer.lr=nan": "optimizer.lr=nan: float is expected",
    "optimizer.lr=inf": "optimizer.lr=inf: float is expected",
    "dataset.class_names=abc": "dataset.class_names=abc: a list of str or null is expected",
    "dataset.name=../elsewhere": "dataset.name=../elsewhere: a plain name is expected",
    "log_dir=[3]": "log_dir=[3]: the name of a folder is expected",
    'log_dir="\\${seed}"': "log_dir=${seed}: no run can lie below a folder with ${ in its name",
    "init_from=": "init_from=.: this folder has no checkpoints/last.ckpt",
    "logger.tensorboard=3": "logger.tensorboard=3: a mapping with its settings, or null, is expected",
    "schedule.betas.T=1000000000000000000": "schedule.betas.T=1000000000000000000: too large for the memory",
    "seed=${nowhere}": "seed: Interpolation key 'nowhere' not found",
    "trainer.devices=1000": "trainer.devices=1000: more than the 16 images of a batch (dataset.batch_size)",
    "trainer.num_nodes=many": "trainer.num_nodes=many: int is expected",
    "lr_scheduler=cosine lr_scheduler.final_factor=-3": "lr_scheduler.final_factor=-3: a share of the learning rate",
    # going on
    "resume=": "resume=: no such run folder or checkpoint",
    "resume=nowhere": "resume=nowhere: no such run folder or checkpoint",
    "resume=/": "resume=/: not a run folder or a checkpoint in one",
}


@pytest.mark.parametrize("overrides", list(OVERRIDES))
def test_training_refuses_it(overrides: str, command: Command, tmp_path: Path) -> None:
    base = () if overrides.startswith("resume") else TINY
    refused(command("train.py", *base, *overrides.split()), OVERRIDES[overrides])
    assert list(tmp_path.glob("lightning_logs/*/*")) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            "conditioning=label ~model.cond_dim",
            "~model.cond_dim has deleted the key that follows conditioning.cond_dim",
        ),
        ("~model.image_size", "~model.image_size has deleted the key that follows dataset.image_size"),
    ],
)
def test_parts_that_no_longer_fit_name_the_deleted_link_between_them(
    overrides: str, message: str, command: Command, tmp_path: Path
) -> None:
    done = command("train.py", *TINY, *overrides.split())
    assert done.returncode == 2 and done.stderr.splitlines()[-1].endswith(f"; {message}")
    assert list(tmp_path.glob("lightning_logs/*/*")) == []


def test_an_argument_that_has_no_value_can_be_deleted_for_a_class_of_ones_own(command: Command) -> None:
    """As the message about it says."""
    done = command("train.py", *TINY, "model.cond_dim=0", "~model.cond_dim", "--cfg", "job")
    assert done.returncode == 0 and "channels" in yaml.safe_load(done.stdout)["model"]
    assert "cond_dim" not in yaml.safe_load(done.stdout)["model"]


def test_a_missing_extra_is_told(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    refused(command("train.py", *TINY, "logger=wandb"), "logger=wandb: needs the extra wandb, which is not installed")


def test_the_trace_is_shown_where_asked(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    for override in ("dataset=minst", "optimizer.lr=-1"):
        done = command("train.py", *TINY, override)
        assert done.returncode == 2
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"error: {override}")


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["--cfg", "all", "--resolve"], ["--cfg=hydra"], ["--help"]])
def test_showing_the_configuration_makes_no_folder(flags: list[str], command: Command, tmp_path: Path) -> None:
    done = command("train.py", *TINY, *flags)
    assert done.returncode == 0
    assert len(done.stdout) > 300
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_a_run_is_not_started_in(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("{}\n")
    refused(command("train.py", *TINY, "hydra.run.dir=mine"), "hydra.run.dir=")
    assert (tmp_path / "mine" / "config.yaml").read_text() == "{}\n"


@pytest.mark.parametrize("end", ["trainer.check_val_every_n_epoch=10", "trainer.max_steps=2"])
def test_a_plain_sweep_needs_no_metric(command: Command, end: str) -> None:
    """It tries all combinations: nobody waits for what a run ends with."""
    done = command("train.py", "-m", *TINY, end)
    assert done.returncode == 0
    assert "no such metric" not in done.stderr


SAMPLING = {
    "ckpt=3": "ckpt: no such key; did you mean ckpt_path?",
    "ckpt_path=null": "ckpt_path=null: str is expected",
    "ckpt_path=nowhere": "ckpt_path=nowhere: no such checkpoint or run folder",
    "ckpt_path=/": "ckpt_path=/: this folder has no checkpoints/last.ckpt",
    "sampler=foo": "sampler=foo: no such choice; choices: ddim, ddpm",
    "sampler.num_steps=0": "sampler.num_steps=0: 1 or more steps",
    "sampler.num_steps=1001": "sampler.num_steps=1001: this schedule has 1000 timesteps",
    "num_samples=0": "num_samples=0: 1 or more is expected",
    "num_samples=2.5": "num_samples=2.5: int is expected",
    "batch_size=-1": "batch_size=-1: 1 or more is expected",
    "seed=true": "seed=True: int is expected",
    "weights=best": "weights=best: one of ema, raw is expected",
    "guidance_scale=3": "guidance_scale=3: this model is unconditional",
    "guidance.scale=3": "guidance.scale=3: this model is unconditional",
    "guidance=none guidance_scale=2": "guidance_scale=2: guidance=none has no scale; choose guidance=classifier_free",
    "guidance.interval=[0.8,0.2]": "guidance.interval=[0.8, 0.2]: two times, the lower one first, in [0, 1] are expected",
    "guidance.rescale=2": "guidance.rescale=2: a number in [0, 1] is expected",
    "guidance=non": "guidance=non: no such choice; did you mean none?",
    "guidance_scale=much": "guidance_scale=much: float or null is expected",
    "labels=3": "labels=3: this model is unconditional",
    "prompt=hello": "prompt=hello: this model is unconditional",
    "device=warp": "device=warp: not there; choices: auto, cpu",
    "save=jpeg": "save=['jpeg']: a list of any of grid, input, png, npz, gif, mp4",
    "save=null": "save=null: a list of any of grid",
    "columns=null": "columns=null: int is expected",
    "hold_frames=-1": "hold_frames=-1: 0 to 1000 is expected",
    "fps=60": "fps=60: at most 50 is expected for save=gif (players slow a faster GIF down); save=mp4 takes more",
    "show=x0": "show=x0: one of x_t, x0_hat is expected",
    "progress=maybe": "progress=maybe: bool is expected",
    "~save": "save: a value is needed",
    "~seed": "seed: a value is needed",
    "out=/dev/null/x": "out=/dev/null/x: no folder can be made there",
    "+format=png": "format: no such key; choices: ",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("run") / "digits" / "version_0"
    train(tiny("trainer.max_epochs=1", "callbacks=no_samples"), folder)
    return folder


@pytest.mark.parametrize("overrides", list(SAMPLING))
def test_sampling_refuses_it(overrides: str, run: Path, command: Command) -> None:
    base = () if overrides.startswith("ckpt_path") else (f"ckpt_path={run}",)
    refused(command("sample.py", *base, *overrides.split()), SAMPLING[overrides])


def test_sampling_needs_a_checkpoint(command: Command) -> None:
    refused(command("sample.py"), "ckpt_path: a value is needed (ckpt_path=...)")


RESUMING = {
    "optimizer=adamw": "optimizer=adamw: a resumed run keeps its optimizer; only dotted keys can change",
    "trainer.max_epoch=3": "trainer.max_epoch: no such key; did you mean max_epochs?",
    "foo.bar=3": "foo: no such key; choices: ",
    "+trainer.fast_dev_run=true": "+trainer.fast_dev_run=true: only key=value is possible together with resume=",
    "trainer.max_epochs=2,3": "trainer.max_epochs=2,3: only key=value is possible together with resume=",
    "trainer.max_epochs=[3": "trainer.max_epochs=[3: not understood",
    "-m": "-m: not possible together with resume=",
    "init_from=elsewhere": "init_from=elsewhere: not possible together with resume=",
    "seed=5": "seed=5: not possible together with resume=",
    "log_dir=elsewhere": "log_dir=elsewhere: not possible together with resume=",
    "trainer.max_epochs=many": "trainer.max_epochs=many: int or null is expected",
    "trainer.max_epochs=3 trainer.devices=0": "trainer.devices=0: ",
    "trainer.max_epochs=3 model.widths=[16,16]": "resume={file}: trained.network.inc.layers.0.weight is [8, 1, 3, 3] there and ",
    "trainer.max_epochs=3 ema_decay=null": "resume={file}: ema.",
    "trainer.max_epochs=3 dataset.batch_size=0": "dataset.batch_size=0: ",
}


@pytest.mark.parametrize("overrides", list(RESUMING))
@pytest.mark.parametrize("checkpoint", ["", "/checkpoints/best.ckpt"], ids=["folder", "file"])
def test_resuming_refuses_it_and_changes_nothing(overrides: str, checkpoint: str, run: Path, command: Command) -> None:
    def content() -> dict[str, bytes]:
        files = [path for path in run.rglob("*") if path.is_file() and path.name != "train.log"]
        return {str(path.relative_to(run)): path.read_bytes() for path in files}

    before = content()
    file = f"{run}{checkpoint or '/checkpoints/last.ckpt'}"
    refused(
        command("train.py", f"resume={run}{checkpoint}", *overrides.split()),
        RESUMING[overrides].replace("{file}", file),
    )
    assert content() == before


def test_a_checkpoint_that_is_none_is_named(run: Path, command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "version_0"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(tiny()))
    last = folder / "checkpoints" / "last.ckpt"
    refused(command("train.py", f"resume={folder}"), f"resume={folder}: this folder has no checkpoints/last.ckpt")
    for content in (b"", b"broken", (run / "checkpoints" / "last.ckpt").read_bytes()[:5000]):
        last.write_bytes(content)
        refused(command("train.py", f"resume={folder}"), f"resume={last}")
        refused(command("sample.py", f"ckpt_path={folder}"), f"ckpt_path={last}")
        refused(command("train.py", *TINY, f"init_from={last}"), f"init_from={last}")


def test_another_librarys_message_gains_the_key_that_it_speaks_of() -> None:
    for settings, message in {
        ("first=1", "second=-3"): "group.second=-3: bad -3",
        ("first=-3", "second=5"): "group.first=-3: bad -3",
        ("first=7", "second=5"): "group: bad -3",
    }.items():
        values = {name: int(value) for name, _, value in (setting.partition("=") for setting in settings)}
        with pytest.raises(ConfigError) as caught:
            instantiate({"_target_": f"{__name__}.complain", **values}, key="group")
        assert str(caught.value) == message


def complain(first: int, second: int) -> None:
    raise ValueError("bad -3")
