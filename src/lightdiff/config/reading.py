"""Errors of reading images that are mistakes in group dataset: they name the key and end with exit code 2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightdiff.config.instantiate import ConfigError, naming
from lightdiff.data import DataError, DownloadError

NAMING_A_SETTING = re.compile(r"(?:(?P<file>.*?): )?(?P<fault>(?:source\.)?(?P<name>\w+)=.*)")
"""A message such as "photos/a.png: resize_mode=none: an image of 20x20 is not 16x16"."""


@contextmanager
def reading(dataset: dict[str, Any]) -> Iterator[None]:
    """Turn errors of reading a data set into ConfigError, which names the file or the key of group dataset.

    Args:
        dataset: the group.

    Raises:
        ConfigError: a setting is wrong, or a file is missing, unreadable or refused.
        DownloadError: files are not there and could not be downloaded, so that no setting is wrong.
    """
    try:
        with fitting(dataset), naming("dataset", dataset):
            yield
    except DownloadError:
        raise
    except DataError as error:
        names_a_key = str(error).startswith(("data_dir=", "source."))
        raise ConfigError(f"dataset.{error}" if names_a_key else str(error)) from error


@contextmanager
def fitting(dataset: dict[str, Any]) -> Iterator[None]:
    """As `reading`, where more than images is at work: all errors but those of images that do not fit a setting stay."""
    try:
        with _settings_named(dataset):
            yield
    except _Misfit as error:
        raise ConfigError(f"dataset.{error}") from error


class _Misfit(ValueError):
    """The error of images that do not fit a setting, with which its message begins."""


@contextmanager
def _settings_named(dataset: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        found = NAMING_A_SETTING.fullmatch(str(error))
        if found is None or found["name"] not in {**dataset, **(dataset.get("source") or {})}:
            raise
        raise _Misfit(found["fault"] + (f" ({found['file']})" if found["file"] else "")) from error
