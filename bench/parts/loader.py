"""Part d: training with the data set's own loader against training on one batch that stays where it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from parts.ours import ENDLESS, Fit, composed, timed
from parts.results import Row
from parts.settings import Settings


class Switch:
    """A loader that hands out a job's own batches, or one and the same."""

    def __init__(self) -> None:
        self.resident = False

    def install(self, fit: Fit) -> None:
        """Take the place of the job's loader."""
        self.loader: Any = fit.data.train_dataloader()
        self.batch: dict[str, Tensor] = fit.batch()
        fit.data.train_dataloader = lambda: self

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        batches = iter(self.loader)
        for _ in range(len(self)):
            if self.resident:
                yield self.batch
            else:
                batch = next(batches, None)
                if batch is None:
                    return
                yield batch

    def on(self) -> None:
        self.resident = True

    def off(self) -> None:
        self.resident = False

    def state_dict(self) -> dict[str, Any]:
        """Nothing; it tells Lightning that it need not be restored."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


def efficiency(settings: Settings) -> list[Row]:
    """Part d, with experiment=mnist_fast, whose steps are short, and with the tutorial's recipe."""
    rows = []
    for what, overrides in (("experiment=mnist_fast", ("experiment=mnist_fast",)), ("python train.py", ())):
        config = composed(settings, *overrides, *ENDLESS)
        switch = Switch()
        modes = {"loader": switch.off, "resident batch": switch.on}
        rounds, fit = timed(settings, config, modes=modes, prepare=switch.install)
        rows.append(
            Row(
                f"{what}, batch {fit.data.batch_size}",
                "images/s",
                {mode: fit.data.batch_size / rounds.median(mode) for mode in modes},
                rounds.ratio("resident batch", "loader"),
                target="0.98",
                details={"seconds": rounds.seconds},
            )
        )
    return rows
