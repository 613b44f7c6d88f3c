"""Part e: floating-point operations a second of the whole training, as a share of what matrix products reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from parts.ours import ENDLESS, Fit, composed, timed
from parts.results import Row
from parts.settings import Settings
from parts.timing import Ratio, Rounds, Step

DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
SIDES = (1024, 2048, 4096)


class Operations(NamedTuple):
    """Size of a network: parameters, and floating-point operations an image, of a forward pass and of a training step."""

    parameters: int
    forward: float
    training: float


def counted(step: Step) -> int:
    """Floating-point operations of the matrix products and convolutions within; attention counts as two products."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def operations(build: Callable[[], nn.Module], shape: tuple[int, int, int] = (1, 32, 32)) -> Operations:
    """Of a network for images of this shape, with a vector as condition where it takes one; nothing is computed."""
    batch = 2
    with torch.device("meta"):
        network = build()
        x, t = torch.zeros(batch, *shape), torch.zeros(batch, dtype=torch.long)
        given = {"cond": {"vector": torch.zeros(batch, network.cond_dim)}} if _takes_vector(network) else {}
        forward = counted(lambda: network(x, t, **given))
        training = counted(lambda: network(x, t, **given).sum().backward())
    return Operations(sum(parameter.numel() for parameter in network.parameters()), forward / batch, training / batch)


def _takes_vector(network: nn.Module) -> bool:
    return "vector" in getattr(network, "cond_keys", ())


def operators(step: Step, device: str) -> dict[str, float]:
    """Percent of the computing time by operator, on a GPU by kernel, the largest first; the profiler slows small ones down."""
    cuda = device.startswith("cuda")
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=kinds) as found:
        step()
    # on a GPU the time of a kernel is counted for the operator that has started it as well
    kind = DeviceType.CUDA if cuda else DeviceType.CPU
    times = {
        event.key: event.self_device_time_total if cuda else event.self_cpu_time_total
        for event in found.key_averages()
        if event.device_type == kind and not event.is_user_annotation
    }
    whole = sum(times.values()) or 1
    return {name: 100 * times[name] / whole for name in sorted(times, key=lambda name: -times[name])}


def product(dtype: torch.dtype, device: str, side: int) -> Step:
    """A product of two square matrices."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty(side, side, device=device, dtype=dtype)
    return lambda: torch.mm(a, b, out=out)


def best_side(dtype: torch.dtype, settings: Settings, sides: tuple[int, ...] = SIDES) -> int:
    """The side of the matrices whose product is fastest for its operations."""
    rounds = Rounds(settings.lap_seconds / 4, settings.synchronize)
    for side in sides:
        step = product(dtype, settings.device, side)
        rounds.warm_up(str(side), step)
        for _ in range(3):
            rounds.lap(str(side), step)
    return min(sides, key=lambda side: min(rounds.seconds[str(side)]) / side**3)


def shares(settings: Settings, sides: tuple[int, ...] = SIDES, shown: int = 8) -> list[Row]:
    """Part e, for the tutorial's recipe and for mnist_fast; the peak is measured by turns with the training.

    Args:
        settings: as given.
        sides: of the matrices.
        shown: operators, those that take the longest.
    """
    rows = []
    for what, overrides in (("python train.py", ()), ("experiment=mnist_fast", ("experiment=mnist_fast",))):
        found: dict[str, int] = {}
        times: dict[str, float] = {}

        def look(fit: Fit, found: dict[str, int] = found, times: dict[str, float] = times) -> None:
            batch = fit.batch()
            found["operations"] = counted(lambda: fit.bare_step(batch))
            times |= operators(lambda: fit.bare_step(batch), settings.device)
            found["side"] = best_side(DTYPES[fit.trainer.precision], settings, sides)

        def peak(fit: Fit, found: dict[str, int] = found) -> dict[str, Step]:
            return {"peak": product(DTYPES[fit.trainer.precision], settings.device, found["side"])}

        rounds, fit = timed(settings, composed(settings, *overrides, *ENDLESS), before=look, others=peak)
        flops, side = found["operations"], found["side"]
        precision = fit.trainer.precision
        reached = [flops / seconds for seconds in rounds.seconds["ours"]]
        peaks = [2 * side**3 / seconds for seconds in rounds.seconds["peak"]]
        part = Ratio.of([a / b for a, b in zip(reached, peaks, strict=True)])
        size = fit.data.batch_size
        rows += [
            Row(f"{what}, batch {size}, {precision}: operations", "GFLOP an image", {"ours": flops / size / 1e9}),
            Row(
                f"{what}, batch {size}, {precision}: speed; ratio: share of the peak",
                "GFLOP/s",
                {
                    "ours": flops / rounds.median("ours") / 1e9,
                    "matrix product": 2 * side**3 / rounds.median("peak") / 1e9,
                },
                part,
                details={"matrices": side, "seconds": rounds.seconds},
            ),
            *(Row(f"{what}: {name}", "% of the step", {"ours": times[name]}) for name in list(times)[:shown]),
        ]
    return rows
