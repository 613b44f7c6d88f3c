"""Real images and the classifier that comes with the package."""

from __future__ import annotations

import pytest

from lightdiff.data import DiffSet
from lightdiff.metrics import ClassifierExtractor


@pytest.fixture(scope="session")
def digits() -> DiffSet:
    data = DiffSet("digits")
    data.setup()
    return data


@pytest.fixture(scope="session")
def classifier(digits: DiffSet) -> ClassifierExtractor:
    extractor = ClassifierExtractor()
    extractor.prepare(digits, "cpu")
    return extractor
