"""Parts a and b: a step of training, ours against the tutorial's and the packages'."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightdiff import DiffSet
from parts.ours import ENDLESS, Fit, composed, timed
from parts.peak import operations
from parts.results import Row
from parts.rivals import MATCHES, Match, there
from parts.settings import Settings
from parts.timing import Rounds, Step, alternate
from parts.tutorial import TutorialTraining, TutorialUNet


def against_tutorial(settings: Settings) -> list[Row]:
    """Part a: `python train.py`, everything included, against the tutorial's step on a batch that is there already."""

    def tutorial(fit: Fit) -> Step:
        return tutorial_step(fit.data, fit.trainer.strategy.root_device, fit.model.network.widths)

    rows = []
    for what, overrides in (
        ("as composed by default", ()),
        ("both in single precision", ("trainer.precision=32-true",)),
    ):
        config = composed(settings, *ENDLESS, *overrides)
        rounds, fit = timed(settings, config, others=lambda fit: {"tutorial": tutorial(fit)})
        rows.append(
            Row(
                f"tutorial's UNet, batch {fit.data.batch_size}, {what}",
                "ms a step",
                {side: 1000 * rounds.median(side) for side in ("ours", "tutorial")},
                rounds.ratio("tutorial", "ours"),
                details={"precision": fit.trainer.precision, "seconds": rounds.seconds},
            )
        )
    return rows


def tutorial_step(data: DiffSet, device: torch.device | str, widths: Sequence[int]) -> Step:
    """The tutorial's step with a network of these widths, on the first images of the data set."""
    images = data.train_set[range(data.batch_size)]["image"].to(device)
    network = TutorialUNet(data.channels, tuple(widths)).to(device)
    return TutorialTraining(network, images.float() / 127.5 - 1).step


@dataclass(frozen=True)
class Way:
    """How a network may be run.

    Args:
        dtype: that products are computed in; None: as the weights.
        channels_last: memory order of images and weights.
        compiled: by torch.compile.
    """

    dtype: torch.dtype | None = None
    channels_last: bool = False
    compiled: bool = False

    def __str__(self) -> str:
        dtype = "float32" if self.dtype is None else str(self.dtype).removeprefix("torch.")
        return ", ".join([dtype, *(name for name in ("channels_last", "compiled") if getattr(self, name))])


def plain_step(build: Callable[[], nn.Module], settings: Settings, way: Way) -> Step:
    """The same loop for every network: noise a resident batch, predict the noise, fused Adam."""
    torch.manual_seed(settings.seed)
    order = torch.channels_last if way.channels_last else torch.contiguous_format
    network = build().to(settings.device).to(memory_format=order).train()
    if way.compiled:
        network.compile()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
    x0 = torch.rand(settings.batch, 1, 32, 32, device=settings.device).mul(2).sub(1).to(memory_format=order)
    left = torch.linspace(1e-4, 0.02, 1000, device=settings.device).neg().add(1).cumprod(0)

    def step() -> None:
        t = torch.randint(0, 1000, (len(x0),), device=x0.device)
        noise, share = torch.randn_like(x0), left[t][:, None, None, None]
        with torch.autocast(x0.device.type, way.dtype, enabled=way.dtype is not None):
            output: Tensor = network(share.sqrt() * x0 + (1 - share).sqrt() * noise, t)
        loss = F.mse_loss(output.float(), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def against_rivals(settings: Settings) -> list[Row]:
    """Part b: ResUNets against a network of each package, with equally many parameters and operations."""
    return list(rows_against_rivals(settings, MATCHES))


def rows_against_rivals(settings: Settings, matches: Mapping[str, Match]) -> Iterator[Row]:
    """Yield the rows of part b as they are measured, for those of the matches whose package is installed."""
    for line in there(*(match.package for match in matches.values())):
        print(f"left out: {line}", flush=True)
    for name, match in matches.items():
        if there_is(match):
            yield from _against(name, match, settings)


def there_is(match: Match) -> bool:
    try:
        there(match.package)
    except RuntimeError:
        return False
    return True


def _against(name: str, match: Match, settings: Settings) -> Iterator[Row]:
    ours = match.our_networks()
    builders = {**ours, name: match.theirs}
    sizes = {side: operations(build) for side, build in builders.items()}
    yield Row("parameters", "million", {side: size.parameters / 1e6 for side, size in sizes.items()})
    yield Row("training step", "GFLOP an image", {side: size.training / 1e9 for side, size in sizes.items()})
    eager = {
        precision: [Way(dtype, channels_last) for channels_last in (False, True)]
        for precision, dtype in settings.dtypes.items()
    }
    every = [way for ways in eager.values() for way in ways]
    if settings.compiled:
        every += [replace(way, compiled=True) for way in every]
    for what, ways in {**eager, "each at its best": every}.items():
        chosen = {side: fastest(build, ways, settings) for side, build in builders.items()}
        steps = {side: plain_step(build, settings, chosen[side]) for side, build in builders.items()}
        rounds = alternate(steps, settings.repeats, Rounds(settings.lap_seconds, settings.synchronize))
        for our in ours:
            yield Row(
                f"{what}, batch {settings.batch}",
                "images/s",
                {side: settings.batch / rounds.median(side) for side in (our, name)},
                rounds.ratio(name, our),
                details={"ways": {side: str(way) for side, way in chosen.items()}, "seconds": rounds.seconds},
            )


def fastest(build: Callable[[], nn.Module], ways: Sequence[Way], settings: Settings) -> Way:
    """The fastest of these ways, by two short laps of each."""
    rounds = Rounds(settings.lap_seconds / 2, settings.synchronize)
    for way in ways:  # one after the other: all their weights together may not fit
        alternate({str(way): plain_step(build, settings, way)}, 2, rounds)
    return min(ways, key=lambda way: min(rounds.seconds[str(way)]))
