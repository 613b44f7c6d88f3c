"""The Inception network with which the literature measures, in the port of torch-fidelity (extra `inception`)."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightdiff.config.extras import require
from lightdiff.data import DiffSet
from lightdiff.data.download import connection_timeout
from lightdiff.metrics.extractor import FeatureExtractor
from lightdiff.utils.files import user_path

DOWNLOAD_TIMEOUT = 10.0
"""Seconds without an answer after which the download of the weights is given up."""


class InceptionExtractor(FeatureExtractor):
    """2048 features and 1008 logits of Inception v3, for figures that compare with those of the literature.

    The network resizes images to 299x299 itself, as TensorFlow 1 did. Grayscale images become RGB by repeating the channel.

    Args:
        weights: file with the weights, or None for the one of torch-fidelity, which is downloaded if torch's cache lacks it.
    """

    num_features = 2048
    chunk = 16

    def __init__(self, weights: str | None = None) -> None:
        self.weights = weights

    def prepare(self, data: DiffSet, device: torch.device | str) -> None:
        require("inception", "extractor=inception")
        from torch_fidelity import feature_extractor_inceptionv3 as port

        url: str = port.URL_INCEPTION_V3
        file = user_path(self.weights) if self.weights else Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
        if not file.is_file():
            if self.weights:
                raise ValueError(f"weights={self.weights}: no such file")
            _download(url, file)
        # checked here, because torch-fidelity reads the file with the full unpickler, which may run code
        _check_is_weights_only(file)
        self._sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        self.device = device
        try:
            network = port.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(file))
        except (RuntimeError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise ValueError(f"weights={file}: these are not weights of Inception v3 ({reason})") from error
        self._network = network.to(device).eval()

    def describe(self) -> dict[str, Any]:
        return {
            "name": "inception-v3-compat",
            "sha256": self._sha256,
            "resizer": "bilinear as TensorFlow 1, to 299x299",
        }

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        rgb = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        vectors, logits = self._network(rgb)
        return vectors, logits


def _check_is_weights_only(file: Path) -> None:
    """Raise ValueError if the file is garbled or holds more than tensors."""
    try:
        torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"weights={file}: not a file of weights ({' '.join(str(error).split())[:120]})") from error


def _download(url: str, file: Path) -> None:
    """Download the weights; raise ValueError if that fails."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with connection_timeout(DOWNLOAD_TIMEOUT):
        try:
            # the file's name contains the first digits of its SHA-256
            begins = re.search(r"-([0-9a-f]{8})\.", file.name)
            torch.hub.download_url_to_file(url, str(file), begins.group(1) if begins else None, progress=False)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"weights=null: Inception's weights are not in {file.parent} and cannot be downloaded ({error}); put "
                f"{file.name} there, give extractor.weights=<file>, or use extractor=classifier"
            ) from error
