"""What restore.py draws, and the files it can make of it beside those of sample.py.

Legend: K images are restored, M times each, so that there are N = K M restorations; number i is one of image i modulo K.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightdiff.commands import pictures
from lightdiff.commands.pictures import Drawn
from lightdiff.utils.captions import captioned, widened
from lightdiff.utils.images import enlarge, make_grid, save_png


@dataclass(frozen=True)
class Restored(Drawn):
    """Restorations, all uint8.

    Args:
        measurement: pictures (K, C', H', W') of the measurements.
        truth: the images (K, C, H, W) that were degraded; None where the truth is not known.
    """

    measurement: Tensor = torch.empty(0)
    truth: Tensor | None = None

    @property
    def by_image(self) -> Tensor:
        """The restorations (K, M, C, H, W) of each image."""
        return self.images.unflatten(0, (-1, len(self.measurement))).transpose(0, 1)

    @property
    def mean(self) -> Tensor:
        """The mean of the restorations of each image, uint8 (K, C, H, W)."""
        return self.by_image.double().mean(1).round().byte()

    @property
    def spread(self) -> Tensor:
        """The standard deviation of the restorations of each image, uint8 (K, C, H, W): 255 is the largest possible one."""
        return (2 * self.by_image.double().std(1, correction=0)).round().byte()

    @property
    def enlarged(self) -> Tensor:
        """Pictures of the measurements in the shape of the images, uint8 (K, C, H, W)."""
        shape = self.images.shape[1:]
        grown = torch.nn.functional.interpolate(self.measurement.float(), size=shape[1:], mode="nearest")
        return grown.expand(-1, shape[0], -1, -1).byte()

    def psnr(self) -> dict[str, list[float]]:
        """Return the PSNR of each image in dB: of each of its restorations on average, of their mean, and of the measurement.

        It is {} where the truth is not known.
        """
        if self.truth is None:
            return {}
        single = torch.stack([psnr(images, self.truth) for images in self.by_image.unbind(1)]).mean(0)
        found = {
            "restoration": single,
            "mean": psnr(self.mean, self.truth),
            "measurement": psnr(self.enlarged, self.truth),
        }
        return {name: [round(value, 2) for value in values.tolist()] for name, values in found.items()}


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio 10 log10(255^2 / mean squared error) of uint8 images (K, ...) in dB: (K,).

    For equal images it is 100 instead of infinite.
    """
    error = (images.double() - truth.double()).square().flatten(1).mean(1)
    return (10 * torch.log10(255**2 / error)).clamp(max=100)


def overview(drawn: Restored, out: Path, config: dict[str, Any]) -> None:
    """Write `overview.png`, a row for each image: truth, measurement, mean, spread, and its first restorations."""
    shown = drawn.by_image[:, : config["columns"]]
    parts = {"measured": drawn.enlarged, "mean": drawn.mean, "spread": drawn.spread}
    if drawn.truth is not None:
        parts = {"truth": drawn.truth, **parts}
    columns = [*parts, *(f"draw {i + 1}" for i in range(shown.shape[1]))]
    tiles = torch.cat([torch.stack([*parts.values()], dim=1), shown], dim=1)
    picture = widened(make_grid(tiles.flatten(0, 1), len(columns)))
    of_means = drawn.psnr().get("mean")
    rows = [str(i) if of_means is None else f"{i}: {of_means[i]:.1f} dB" for i in range(len(tiles))]
    corner = "" if of_means is None else "mean's PSNR"
    save_png(out / "overview.png", captioned(picture, rows, columns, corner=corner))


def _side_by_side(name: str, images_of: Callable[[Restored], Tensor | None]) -> Callable[..., None]:
    """Return the function that writes `<name>.png` with one image for each of those that were restored."""

    def write(drawn: Restored, out: Path, config: dict[str, Any]) -> None:
        images = images_of(drawn)
        assert images is not None
        save_png(out / f"{name}.png", enlarge(make_grid(images, config["columns"])))

    return write


FILES: dict[str, Callable[[Restored, Path, dict[str, Any]], None]] = {
    "overview": overview,
    "truth": _side_by_side("truth", lambda drawn: drawn.truth),
    "measurement": _side_by_side("measurement", lambda drawn: drawn.measurement),
    "restoration": _side_by_side("restoration", lambda drawn: drawn.by_image[:, 0]),
    "mean": _side_by_side("mean", lambda drawn: drawn.mean),
    "spread": _side_by_side("spread", lambda drawn: drawn.spread),
    **{name: write for name, write in pictures.FILES.items() if name not in ("input", "guidance")},
}
"""Name in `save` -> the function that writes the file."""
