"""Part d: training with the data set's own loader against training on one batch that stays where it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from parts.ours import ENDLESS, Laps, composed, fit_of
from parts.results import Row
from parts.settings import Settings
from parts.timing import Rounds


class Switch:
    """A loader that hands out its own batches, or one and the same.

    Args:
        loader: the real one.
        batch: the resident one.
    """

    def __init__(self, loader: Any, batch: dict[str, Tensor]) -> None:
        self.loader, self.batch = loader, batch
        self.resident = False

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

    def use(self, resident: bool) -> None:
        self.resident = resident

    def state_dict(self) -> dict[str, Any]:
        """Nothing; it tells Lightning that it need not be restored."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


def efficiency(settings: Settings) -> list[Row]:
    """Part d, with experiment=mnist_fast, whose steps are short, and with the tutorial's recipe."""
    rows = []
    for what, overrides in (("experiment=mnist_fast", ("experiment=mnist_fast",)), ("python train.py", ())):
        rounds = Rounds(settings.lap_seconds, settings.synchronize)
        with fit_of(composed(settings, *overrides, *ENDLESS)) as fit:
            switch = Switch(fit.data.train_dataloader(), fit.batch())
            fit.data.train_dataloader = lambda switch=switch: switch
            modes = {
                "loader": lambda switch=switch: switch.use(False),
                "resident batch": lambda switch=switch: switch.use(True),
            }
            fit.run(Laps(rounds, settings.repeats, modes))
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
