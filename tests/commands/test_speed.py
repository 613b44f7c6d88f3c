"""What `auto` chooses; that it can be switched off and its choices are reported; that a resumed run computes as it began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lightdiff.config import speed
from lightdiff.config.build import build_data, build_model
from lightdiff.config.decisions import _steps, decide
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.speed import COMPILE_FROM_STEPS, channels_last, compiled, fused, precision
from lightdiff.jobs.run_config import read_config
from lightdiff.model import read_checkpoint
from lightdiff.networks import ResUNet, UNet
from runs import composed, differences, killed, last, tiny, train


@pytest.fixture
def bf16_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "cpu_units", lambda: "it has units")


def make_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)  # torch says so of imitated bfloat16 too
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)


def test_everything_is_auto_by_default() -> None:
    config = composed()
    chosen = [config["trainer"]["precision"], config["compile"], config["channels_last"]]
    assert [*chosen, config["optimizer"]["fused"], config["dataset"]["resident"]] == ["auto"] * 5


@pytest.mark.parametrize(
    ("amx", "avx", "expected"), [(True, True, "AMX"), (False, True, "AVX-512"), (False, False, "")]
)
def test_precision_of_a_cpu(
    amx: bool, avx: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    flags = tmp_path / "cpuinfo"
    flags.write_text("vendor_id : AuthenticAMD")
    units = speed.cpu_units(flags)
    assert (expected in units) if units else expected == ""
    flags.write_text("vendor_id : GenuineIntel")
    # AVX-512 alone is slower in bfloat16 there
    assert (speed.cpu_units(flags) is not None) == amx
    monkeypatch.setattr(speed, "cpu_units", lambda: units)
    choice = precision(composed("trainer=cpu"))
    assert choice.value == ("bf16-mixed" if expected else "32-true")
    assert expected in choice.reason


def test_networks_that_are_slower_in_bfloat16_keep_float32_on_a_cpu(
    bf16_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = composed("model=diffusers_unet_small", "trainer=cpu")
    assert precision(small).value == "32-true"
    assert "few channels" in precision(small).reason
    assert precision(composed("model=diffusers_unet", "trainer=cpu")).value == "bf16-mixed"
    assert precision(composed("model=diffusers_unet_small", "trainer.precision=bf16-mixed")).value == "bf16-mixed"
    make_gpu(monkeypatch, (9, 0))
    assert precision(composed("model=diffusers_unet_small", "trainer=gpu")).value == "bf16-mixed"


def test_units_of_a_cpu_from_its_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    flags = tmp_path / "cpuinfo"
    assert speed.cpu_units(flags) is None
    flags.write_text("flags : fpu avx512_bf16 amx_tile\n")
    assert "AVX-512" in str(speed.cpu_units(flags))
    flags.write_text("flags : fpu avx512f\n")
    assert speed.cpu_units(flags) is None


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), "32-true"), ((8, 0), "bf16-mixed"), ((9, 0), "bf16-mixed")]
)
def test_precision_of_a_gpu(capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_gpu(monkeypatch, capability)
    assert precision(composed("trainer=gpu")).value == precision(composed()).value == expected
    assert precision(composed("trainer.precision=16-mixed")) == speed.Choice("16-mixed", "as set")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], True),
        (["optimizer.fused=false"], False),
        (["trainer.gradient_clip_val=1"], False),  # Lightning refuses to clip for it in mixed precision ...
        (["trainer.gradient_clip_val=1", "trainer.precision=32-true"], True),  # ... and only there
        (["trainer.precision=16-mixed"], False),
        (["optimizer=adamw"], True),
    ],
)
def test_the_optimizer_is_fused_where_it_can_be(overrides: list[str], expected: bool, bf16_cpu: None) -> None:
    config = composed("trainer=cpu", "model=unet_small", *overrides)
    assert fused(config, str(precision(config).value)).value is expected
    optimizer = build_model(config)._new_optimizer()
    assert bool(optimizer.defaults["fused"]) is expected
    assert optimizer.defaults["foreach"] is None  # left to torch


def test_a_clipped_run_in_mixed_precision_trains(bf16_cpu: None, tmp_path: Path) -> None:
    config = tiny(
        "trainer.precision=auto", "trainer.gradient_clip_val=1.0", "trainer.max_epochs=1", "callbacks=no_samples"
    )
    assert train(config, tmp_path)["global_step"] == 7


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.fused=maybe"], "optimizer.fused=maybe: choices: auto, true, false"),
        (["compile=often"], "compile=often: one of auto, True, False is expected"),
        (["channels_last=1"], "channels_last=1: one of auto, True, False is expected"),
        (["dataset.resident=gpu"], "dataset.resident=gpu: one of auto, True, False is expected"),
        (
            ["optimizer.fused=true", "trainer.gradient_clip_val=1", "trainer.precision=bf16-mixed"],
            "optimizer.fused=true: impossible with trainer.gradient_clip_val in bf16-mixed; choices: auto, false",
        ),
    ],
)
def test_impossible_values_are_refused(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        train(tiny(*overrides), tmp_path)
    assert str(caught.value) == message


AUTO: dict[str, Any] = {"channels_last": "auto", "compile": "auto"}
WIDE = UNet(widths=(16, 32), attention_levels=())
NARROW = ResUNet(widths=(32,), attention_levels=(), image_size=16, group_channels=4)


@pytest.mark.parametrize(
    ("network", "kind", "half", "expected"),
    [
        (WIDE, "cpu", True, True),
        (WIDE, "cpu", False, True),
        (NARROW, "cpu", True, False),  # GroupNorm of 4 channels a group
        (NARROW, "cuda", True, True),
        (NARROW, "cuda", False, False),
        (nn.Linear(1, 1), "cuda", True, False),
        (WIDE, "mps", False, False),
    ],
)
def test_channels_last(network: nn.Module, kind: str, half: bool, expected: bool) -> None:
    assert channels_last(AUTO, network, kind, half).value is expected
    assert channels_last({"channels_last": not expected}, network, kind, half).value is not expected


def test_compiling_depends_on_the_length_at_the_start_only() -> None:
    assert not compiled(AUTO, "cpu", 10**9, COMPILE_FROM_STEPS).value
    assert not compiled(AUTO, "cuda", COMPILE_FROM_STEPS - 1, COMPILE_FROM_STEPS).value
    assert compiled(AUTO, "cuda", COMPILE_FROM_STEPS, COMPILE_FROM_STEPS).value
    assert not compiled(AUTO, "cuda", 10**9, COMPILE_FROM_STEPS, began=False).value
    assert compiled(AUTO, "cuda", 1, COMPILE_FROM_STEPS, began=True).value
    assert compiled({"compile": True}, "cpu", 1, COMPILE_FROM_STEPS, began=False).value
    assert not compiled({}, "cuda", 10**9, COMPILE_FROM_STEPS).value  # a run from before this key


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (["trainer.max_epochs=3"], 21),
        (["trainer.max_epochs=3", "trainer.max_steps=5"], 5),
        (["trainer.max_epochs=2", "trainer.accumulate_grad_batches=2"], 8),
        (["trainer.max_epochs=-1"], float("inf")),
        (["trainer.max_epochs=1", "trainer.limit_train_batches=0.5"], 50),
        (["trainer.max_epochs=1", "trainer.limit_train_batches=null"], 101),
    ],
)
def test_steps_of_a_run(overrides: list[str], steps: float) -> None:
    config = tiny(*overrides)
    data = build_data(config)
    data.setup()
    assert _steps(config["trainer"], data) == steps


def test_one_line_tells_what_was_chosen(bf16_cpu: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny("trainer.precision=auto", "compile=false", "trainer.max_epochs=1", "callbacks=no_samples")
    train(config, tmp_path)
    printed = [text for text in capsys.readouterr().out.splitlines() if text.startswith("speed:")]
    assert len(printed) == 1
    assert printed[0] in (tmp_path / "train.log").read_text()
    for part in ("bf16-mixed (it has units)", "not compiled (as set)", "a fused optimizer (one kernel)"):
        assert part in printed[0]
    assert read_config(tmp_path)["trainer"]["precision"] == "auto"


def test_the_line_in_full(bf16_cpu: None) -> None:
    config = composed("dataset=digits", "trainer=cpu", "model.widths=[16,32]", "model.attention_levels=[]")
    data = build_data(config)
    data.setup()
    assert str(decide(config, build_model(config), data)) == (
        "speed: bf16-mixed (it has units), channels last (faster convolutions), not compiled (no gain on a CPU), "
        "a fused optimizer (one kernel), not keeping images on the device (the CPU has them)"
    )


def test_a_killed_run_in_the_fast_path_ends_like_a_whole_one(bf16_cpu: None, tmp_path: Path) -> None:
    fast = tiny("trainer.precision=auto", "channels_last=true", "callbacks.checkpoints.every_n_steps=2")
    whole = train(fast, tmp_path / "whole" / "version_0")
    killed(fast, tmp_path / "killed" / "version_0", batch=9)
    resumed = train(fast, tmp_path / "killed" / "version_0")
    for name in ("state_dict", "optimizer_states"):
        assert differences(whole[name], resumed[name], name) == []
    weight = whole["state_dict"]["trained.network.inc.layers.3.weight"]
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


def test_a_resumed_run_may_change_the_layout(tmp_path: Path) -> None:
    """The optimizer's moments get the new layout too; otherwise torch's fused kernel would mix up the channels."""
    ends = []
    for name, layouts in (("same", (False, False)), ("changed", (True, False)), ("back", (False, True))):
        folder = tmp_path / name
        before, after = (
            tiny(f"channels_last={layout}", "callbacks=no_samples", "callbacks.checkpoints.every_n_steps=1")
            for layout in layouts
        )
        killed(before, folder, batch=8)
        ends.append(train(after, folder)["state_dict"])
    for other in ends[1:]:
        for name, weight in ends[0].items():
            if isinstance(weight, torch.Tensor):
                torch.testing.assert_close(other[name], weight, rtol=1e-3, atol=1e-4, msg=name)


def test_a_checkpoint_tells_how_it_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile_(module, backend="eager"))
    short = (
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "trainer.log_every_n_steps=1",
        "callbacks=no_samples",
    )
    plain = train(tiny(*short), tmp_path / "plain")
    fast = train(tiny(*short, "compile=true"), tmp_path / "compiled")
    assert plain["lightdiff"]["training"] == {"device": "cpu", "compiled": False}
    assert fast["lightdiff"]["training"] == {"device": "cpu", "compiled": True}
    assert plain["state_dict"].keys() == fast["state_dict"].keys()
    assert read_checkpoint(tmp_path / "compiled")["global_step"] == last(tmp_path / "compiled")["global_step"] == 2


def test_an_extended_run_is_compiled_if_it_began_so(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny("trainer.max_epochs=-1", "trainer.precision=32-true")
    data, model = build_data(config), build_model(config)
    data.setup()
    monkeypatch.setattr(speed, "device_kind", lambda accelerator: "cuda")
    monkeypatch.setattr(type(data), "residence", lambda self, device: (True, "room"))
    new = decide(config, model, data)
    resumed = decide(config, model, data, began={"device": "cuda", "compiled": False})
    moved = decide(config, model, data, began={"device": "cpu", "compiled": False})
    assert [choice.compile.value for choice in (new, resumed, moved)] == [True, False, True]
