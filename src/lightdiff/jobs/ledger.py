"""What a run has logged already, so that a resumed run goes on in the same place and writes no point twice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightdiff.config.instantiate import ConfigError
from lightdiff.utils.files import replaced
from lightdiff.utils.structure import COUNT, TEXT, Every, Keys, Misfit, Nullable

CONTENT = Keys(id=Nullable(TEXT), steps=Every(COUNT))


class Ledger:
    """The file `loggers/<name>.json` of a run: the run's id in the logger, and the last step of each curve and picture there.

    It is read when it is needed and written at every point, before the point goes to the logger: after a kill between the two a
    point may be missing, and none is there twice.

    Args:
        folder: the run's folder.
        name: name of the logger.

    Raises:
        ConfigError: when it is read: the file is garbled.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / "loggers" / f"{name}.json"
        self._kept: dict[str, Any] | None = None

    @property
    def id(self) -> str | None:
        """The run's id in the logger; None: it has none yet."""
        found: str | None = self._content()["id"]
        return found

    def keep_id(self, run_id: str) -> None:
        """Write down the run's id in the logger."""
        self._content()["id"] = run_id
        self._write()

    def unseen(self, names: Iterable[str], step: int) -> list[str]:
        """Return those names that have not been logged at this step or a later one; from now on they have."""
        steps = self._content()["steps"]
        new = [name for name in names if steps.get(name, -1) < step]
        if new:
            steps.update(dict.fromkeys(new, step))
            self._write()
        return new

    def _content(self) -> dict[str, Any]:
        if self._kept is None:
            self._kept = self._read() if self._path.is_file() else {"id": None, "steps": {}}
        return self._kept

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            CONTENT.check(content)
        except (ValueError, RecursionError, Misfit) as error:
            raise ConfigError(f"{self._path}: garbled ({' '.join(str(error).split())[:120]})") from error
        return dict(content)

    def _write(self) -> None:
        self._path.parent.mkdir(exist_ok=True)
        with replaced(self._path, durable=False) as temporary:
            temporary.write_text(json.dumps(self._kept), encoding="utf-8")


class Remembering:
    """A mixin for loggers that know what the run has logged before, so that they can leave it out the second time.

    A resumed run computes the same points again that it has logged between its last checkpoint and its end, with the same values.
    """

    ledger: Ledger

    def unseen(self, names: Iterable[str], step: int) -> list[str]:
        """Return those names that have not been logged at this step or a later one; from now on they have."""
        return self.ledger.unseen(names, step)
