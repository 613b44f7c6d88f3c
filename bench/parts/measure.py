"""The feature distance by which parts h and i judge images: the project's own metric, the same for all sides."""

from __future__ import annotations

from torch import Tensor

from lightdiff.data import DiffSet
from lightdiff.metrics import FID, ClassifierExtractor, Evaluation
from parts.settings import Settings


class FeatureDistance:
    """FID to the training images of a data set, in the features of the project's classifier.

    Args:
        settings: device and folders.
        image_size: of the images that will be measured.
        resize_mode: how the data set's images would be brought to that size; `pad` is cut off again.
        dataset: its name.
    """

    def __init__(self, settings: Settings, image_size: int, resize_mode: str, dataset: str = "mnist") -> None:
        data = DiffSet(dataset, data_dir=str(settings.data_dir), image_size=image_size, resize_mode=resize_mode)
        data.prepare_data()
        data.setup()
        self.extractor = ClassifierExtractor()
        self.extractor.prepare(data, settings.device)
        self.real = Evaluation(
            {"fid": FID()}, self.extractor, data, num_samples=2, cache_dir=settings.data_dir / "reference"
        ).real

    def __call__(self, images: Tensor) -> float:
        """Of uint8 images (N, C, H, W)."""
        return FID().distance(self.extractor(images).vectors, self.real)
