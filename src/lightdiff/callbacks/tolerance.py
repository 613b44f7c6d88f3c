"""Loggers without which a training goes on: from its first error on such a logger gets nothing more, and one line says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pytorch_lightning.loggers import Logger

log = logging.getLogger(__name__)
METHODS = {
    "log_metrics": True,
    "log_hyperparams": True,
    "log_graph": False,
    "save": False,
    "after_save_checkpoint": False,
    "finalize": False,
}
"""What Lightning and the callbacks call of a logger -> whether the logger has begun after it. The others may do nothing."""


def tolerate(logger: Logger, key: str) -> Logger:
    """Make a logger one without which the training goes on, and return it.

    An error before the logger has logged anything is one of a setting (no such server, no permission), and becomes a ValueError,
    so that the run is refused.

    Args:
        logger: the logger, which is changed.
        key: its key in the configuration, for messages.
    """
    state = _State(key)
    logger.__dict__["_tolerated"] = state
    for name, begins in METHODS.items():
        setattr(logger, name, _wrapped(state, getattr(logger, name), begins))
    return logger


def attempt(logger: Logger, action: Callable[[], Any]) -> None:
    """Do something with a logger; errors are raised unless the logger was given to `tolerate`.

    Raises:
        ValueError: the first action of a tolerated logger failed.
    """
    state: _State | None = logger.__dict__.get("_tolerated")
    if state is None:
        action()
    else:
        state.attempt(action)


class _State:
    """Whether a logger has begun, and whether it has failed since."""

    def __init__(self, key: str) -> None:
        self.key, self.began, self.failed = key, False, False

    def attempt(self, action: Callable[[], Any], begins: bool = True) -> None:
        if self.failed:
            return
        try:
            action()
            self.began = self.began or begins
        except Exception as error:
            self.failed = True
            message = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            if not self.began:
                raise ValueError(f"{self.key}: this logger cannot begin ({message})") from error
            log.warning(
                "%s: this logger failed and gets nothing more, and the training goes on without it (%s)",
                self.key,
                message,
            )


def _wrapped(state: _State, method: Callable[..., Any], begins: bool) -> Callable[..., None]:
    return lambda *arguments, **named: state.attempt(lambda: method(*arguments, **named), begins)
