"""What `make train` promises: readable digits of at least 8 classes within minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from lightdiff import DiffSet, load_model
from lightdiff.utils.images import to_uint8
from runs import ROOT
from waiting import PATIENCE


@pytest.mark.slow
def test_digits_are_readable(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "experiment=digits_fast", "trainer.enable_progress_bar=false"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=2 * PATIENCE)
    assert done.returncode == 0, done.stderr
    for shown in ("run folder: ", "samples:    ", "animation:  "):
        line = next(line for line in done.stdout.splitlines() if line.startswith(shown))
        assert (tmp_path / line[len(shown) :]).exists()

    data = DiffSet("digits")
    data.setup()
    real, labels = data.train_set[list(range(data.num_train))].values()
    classifier = MLPClassifier((128,), max_iter=500, random_state=0)
    classifier.fit(real.flatten(1).numpy() / 255, labels.numpy())
    held_out, held_out_labels = data.val_set[list(range(data.num_val))].values()
    assert classifier.score(held_out.flatten(1).numpy() / 255, held_out_labels.numpy()) > 0.95

    images = to_uint8(load_model(tmp_path / "lightning_logs" / "digits" / "version_0").sample(64, seed=1))
    confidence = classifier.predict_proba(images.flatten(1).numpy() / 255)
    assert np.mean(confidence.max(1) > 0.9) >= 0.8
    assert len(set(confidence.argmax(1)[confidence.max(1) > 0.9])) >= 8
