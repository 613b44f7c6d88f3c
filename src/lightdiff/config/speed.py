"""Choose the settings that make a run fast on its device: every key that is `auto` is settled here, with the reason.

Each choice follows from the device and the configuration alone, never from timings, so that a resumed run computes as before.
Only compiling depends on the length of the run, which a resume may change; a resumed run therefore keeps its first choice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightdiff.config.instantiate import ConfigError
from lightdiff.core import Denoiser
from lightdiff.model import DiffusionModel

Config = Mapping[str, Any]

COMPILE_FROM_STEPS = 10_000
"""Optimizer steps from which compiling should pay on a GPU: it takes a minute and saves milliseconds a step (not measured)."""
COMPILE_FROM_CALLS = 5_000
"""Calls of the network from which compiling should pay in sampling, where only the forward pass is compiled (not measured)."""
NARROW_BELOW = 64
"""Channels below which diffusers' UNet2DModel is slower in bfloat16 on a CPU: 42.6 ms an image against 36.8 with 32 channels."""
WIDE_GROUP = 16
"""Channels per group from which channels last does not slow GroupNorm down on a CPU; with 4 it took eight times as long."""


@dataclass(frozen=True)
class Choice:
    """A setting and the reason for it."""

    value: Any
    reason: str

    def describe(self, yes: str) -> str:
        """Return `yes`, or "not " before it where the value is false, with the reason in brackets."""
        return f"{yes if self.value else f'not {yes}'} ({self.reason})"


AS_SET = "as set"


def device_kind(accelerator: str) -> str:
    """Return cpu, cuda or mps for the name of an accelerator or device; auto and gpu stand for what Lightning will find."""
    if accelerator in ("auto", "gpu"):
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return accelerator.partition(":")[0]


def device(trainer: Config) -> Choice:
    """Choose the device on which this process trains: of several GPUs the one of its rank on this machine."""
    accelerator, devices = trainer.get("accelerator", "auto"), trainer.get("devices")
    kind, reason = device_kind(accelerator), "found" if accelerator in ("auto", "gpu") else AS_SET
    if kind != "cuda":
        return Choice(torch.device(kind), reason)
    rank = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", 0)))
    index = devices[rank] if isinstance(devices, list) and rank < len(devices) else rank
    # Lightning refuses a GPU that is not there, when the trainer is built
    return Choice(torch.device(kind, index if index in range(torch.cuda.device_count()) else 0), reason)


def precision(config: Config) -> Choice:
    """Choose trainer.precision: auto is bf16-mixed where the device and the network are faster in bfloat16, else 32-true."""
    trainer = config.get("trainer", {})
    asked = trainer.get("precision", "32-true")
    if asked != "auto":
        return Choice(asked, AS_SET)
    kind = device_kind(trainer.get("accelerator", "auto"))
    model = config.get("model") or {}
    narrow = min(model.get("widths") or [NARROW_BELOW]) < NARROW_BELOW
    if kind == "cpu" and narrow and model.get("_target_") == "lightdiff.networks.DiffusersUNet2D":
        return Choice("32-true", "this network with few channels is slower in bfloat16 on a CPU")
    units = cpu_units() if kind == "cpu" else gpu_units() if kind == "cuda" else None
    return Choice("bf16-mixed", units) if units else Choice("32-true", f"no fast bfloat16 units on this {kind}")


def cpu_units(flags: Path = Path("/proc/cpuinfo")) -> str | None:
    """Name the units with which the CPU computes bfloat16, in a clause for messages.

    AVX-512 counts on AMD's CPUs only. On an Intel Xeon without AMX it computed products of bfloat16 at half the speed of float32
    (94 and 180 GFLOP/s on one core), and a training step of each of seven networks took 1.1 to 2.1 times as long.

    Args:
        flags: the system's list of CPU features, with the vendor; the features are read where torch has no function that tells.

    Returns:
        The clause, or None if the CPU has no such units and bfloat16 would be slower than float32.
    """
    listed = flags.read_text(encoding="utf-8").split() if flags.is_file() else []
    known = (("AMX", "_is_amx_tile_supported", "amx_bf16"), ("AVX-512", "_is_avx512_bf16_supported", "avx512_bf16"))
    for name, question, flag in known[:1] if "GenuineIntel" in listed else known:
        ask = getattr(torch.cpu, question, None)
        if ask() if ask is not None else flag in listed:
            return f"the CPU's {name} computes bfloat16"
    return None


def gpu_units() -> str | None:
    """Name the units with which the GPU computes bfloat16; None for older GPUs, which only emulate it."""
    if torch.cuda.get_device_capability() >= (8, 0) and torch.cuda.is_bf16_supported():
        return "the GPU's tensor cores compute bfloat16"
    return None


def fused(config: Config, precision: str) -> Choice:
    """Choose optimizer.fused: compute the whole optimizer step in one kernel.

    Args:
        config: the configuration.
        precision: the precision that was chosen for the trainer.

    Raises:
        ConfigError: the value is not auto, true or false, or it is true where Lightning would refuse it at the first step.
    """
    asked, trainer = config["optimizer"].get("fused", False), config.get("trainer", {})
    _check_switch("optimizer.fused", asked)
    clipped = "-mixed" in precision and trainer.get("gradient_clip_val") is not None
    if asked != "auto":
        if asked and clipped:
            raise ConfigError(
                f"optimizer.fused=true: impossible with trainer.gradient_clip_val in {precision}; choices: auto, false"
            )
        return Choice(asked, AS_SET)
    kind = device_kind(trainer.get("accelerator", "auto"))
    if kind not in ("cpu", "cuda"):
        return Choice(False, f"not available on {kind}")
    if clipped:
        return Choice(False, f"Lightning cannot clip its gradients in {precision}")
    if precision == "16-mixed":
        return Choice(False, "the gradient norm would include the scale of 16-mixed")
    return Choice(True, "one kernel")


def channels_last(config: Config, network: nn.Module, kind: str, half: bool) -> Choice:
    """Choose channels_last: keep the channels of a pixel side by side in memory.

    Args:
        config: the configuration.
        network: the model's network.
        kind: the device's kind, as `device_kind` returns it.
        half: whether convolutions are computed in 16 bits.

    Raises:
        ConfigError: the value is not auto, true or false.
    """
    asked = config.get("channels_last", False)
    _check_switch("channels_last", asked)
    if asked != "auto":
        return Choice(asked, AS_SET)
    if not any(isinstance(module, nn.Conv2d) for module in network.modules()):
        return Choice(False, "no convolutions")
    # the gain on a GPU is expected, not measured
    if kind == "cuda":
        return Choice(half, "faster on tensor cores" if half else "only tensor cores gain from it")
    if kind != "cpu":
        return Choice(False, f"not tried on {kind}")
    norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
    if any(norm.num_channels < WIDE_GROUP * norm.num_groups for norm in norms):
        return Choice(False, "GroupNorm with small groups is slow in it on a CPU")
    return Choice(True, "faster convolutions")


def compiled(config: Config, kind: str, count: float, needed: int, began: bool | None = None) -> Choice:
    """Choose compile: run the network through torch.compile.

    Args:
        config: the configuration.
        kind: the device's kind, as `device_kind` returns it.
        count: optimizer steps or calls of the network to come; infinite for a run without an end.
        needed: the count from which compiling pays.
        began: whether a run that is resumed on this kind of device was compiled before; None for any other run.

    Raises:
        ConfigError: the value is not auto, true or false.
    """
    asked = config.get("compile", False)
    _check_switch("compile", asked)
    if asked != "auto":
        return Choice(asked, AS_SET)
    if kind != "cuda":
        return Choice(False, "no gain on a CPU" if kind == "cpu" else f"not tried on {kind}")
    if began is not None:
        return Choice(began, "as this run began")
    size = "endless" if count == float("inf") else f"{count:,.0f}"
    return Choice(count >= needed, f"{size} steps, compiling pays from {needed:,} on")


def _check_switch(key: str, value: Any) -> None:
    """Refuse a value that is not auto, true or false."""
    if value != "auto" and not isinstance(value, bool):
        raise ConfigError(f"{key}={value}: choices: auto, true, false")


def prepare_sampling(config: Config, model: DiffusionModel, calls: int, weaker: Iterable[Denoiser] = ()) -> str:
    """Lay out and compile a model for sampling, as `channels_last` and `compile` say.

    Args:
        config: the configuration of sample.py or eval.py.
        model: the model, on its device.
        calls: how often the network will be called.
        weaker: denoisers that guide the model, which are laid out and compiled like it.

    Returns:
        The choices and their reasons, as one line for the user.
    """
    kind = model.device.type
    layout = channels_last(config, model.network, kind, half=config["precision"] != "32-true")
    compiling = compiled(config, kind, calls, COMPILE_FROM_CALLS)
    everything: list[DiffusionModel | Denoiser] = [model, *weaker]
    for each in everything:
        lay_out(each, layout, compiling)
    return f"speed: {config['precision']}, {layout.describe('channels last')}, {compiling.describe('compiled')}"


def lay_out(model: DiffusionModel | Denoiser, layout: Choice, compiling: Choice) -> None:
    """Lay out and compile the model in place, as `channels_last` and `compiled` have chosen."""
    if layout.value:
        model.to(memory_format=torch.channels_last)
    if compiling.value:
        # in place, because torch.compile(network) would change the names of the weights
        model.network.compile()


def needs_processes(trainer: Mapping[str, Any]) -> bool:
    """Return whether `devices` and `num_nodes` of the trainer's settings ask for more than one process."""
    return number_of_processes(trainer).value > 1


def number_of_processes(trainer: Mapping[str, Any]) -> Choice:
    """Choose the number of processes, one for each of `devices` on each of `num_nodes` machines.

    Text that names no devices counts as one, and is left to Lightning to refuse.
    """
    devices, nodes = trainer.get("devices", 1), trainer.get("num_nodes", 1)
    if str(devices) in ("auto", "-1"):
        found = 1 if trainer.get("accelerator") == "cpu" else max(1, torch.cuda.device_count())
        return Choice(nodes * found, f"{found} found on each of {nodes} machines")
    each = len(devices) if isinstance(devices, list) else _named(str(devices))
    return Choice(nodes * each, AS_SET)


def _named(devices: str) -> int:
    """Return how many devices are meant by text: "2" is a number of them, "0,3" is a list."""
    text = devices.strip()
    return max(1, int(text) if text.isdecimal() else len([part for part in text.split(",") if part.strip()]))
