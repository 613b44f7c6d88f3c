"""What a classifier says of conditional samples."""

from __future__ import annotations

from dataclasses import dataclass

from lightdiff.metrics.base import Generated, Metric, Real, Value
from lightdiff.metrics.extractor import ClassifierExtractor, FeatureExtractor
from lightdiff.metrics.fitting import accuracy, fit_classifier


def _check(name: str, extractor: FeatureExtractor, conditional: bool) -> None:
    if not isinstance(extractor, ClassifierExtractor):
        raise ValueError(f"metrics={name}: it needs extractor=classifier")
    if not conditional:
        raise ValueError(f"metrics={name}: this model is unconditional (trained with conditioning=none)")
    if extractor.class_names is None:
        raise ValueError(f"metrics={name}: the classifier {extractor.dataset} knows other classes than the data set's")


@dataclass(frozen=True)
class PromptAccuracy(Metric):
    """Share of conditional samples that the classifier reads as asked, and of those read with a confidence above 0.95."""

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool) -> None:
        _check("prompt_accuracy", extractor, conditional)

    def __call__(self, generated: Generated, real: Real, extractor: FeatureExtractor) -> dict[str, Value]:
        assert generated.asked is not None
        read = generated.features.logits.double().softmax(1).max(1)
        return {
            "prompt_accuracy": Value((read.indices == generated.asked).double().mean().item()),
            "confident": Value((read.values > 0.95).double().mean().item()),
        }


@dataclass(frozen=True)
class SyntheticAccuracy(Metric):
    """Accuracy on the real validation images of a classifier that was trained on the samples alone (Ravuri and Vinyals 2019).

    Args:
        epochs: times that it sees every sample.
    """

    epochs: int = 10

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool) -> None:
        _check("synthetic_accuracy", extractor, conditional)

    def __call__(self, generated: Generated, real: Real, extractor: FeatureExtractor) -> dict[str, Value]:
        assert generated.asked is not None and isinstance(extractor, ClassifierExtractor)
        device, classes = extractor.device, len(extractor.class_names or [])
        images = extractor.native(generated.images).to(device)
        network = fit_classifier(images, generated.asked.to(device), classes, epochs=self.epochs, flip=False)
        tests = real.test_set[range(len(real.test_set))]
        return {
            "synthetic_accuracy": Value(
                accuracy(network, extractor.native(tests["image"]).to(device), tests["label"].to(device))
            )
        }
