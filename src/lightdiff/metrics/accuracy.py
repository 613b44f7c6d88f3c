"""Metrics that judge conditional samples by a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from lightdiff.metrics.base import Generated, Metric, Real, Value
from lightdiff.metrics.extractor import ClassifierExtractor, FeatureExtractor
from lightdiff.metrics.fitting import accuracy, fit_classifier


def _check(name: str, extractor: FeatureExtractor, conditional: bool) -> None:
    """Raise ValueError if the extractor is no classifier or the model is unconditional."""
    if not isinstance(extractor, ClassifierExtractor):
        raise ValueError(f"metrics={name}: it needs extractor=classifier")
    if not conditional:
        raise ValueError(f"metrics={name}: this model is unconditional (trained with conditioning=none)")
    if extractor.class_names is None:
        raise ValueError(f"metrics={name}: the classifier {extractor.dataset} knows other classes than the data set's")


@dataclass(frozen=True)
class PromptAccuracy(Metric):
    """Share of conditional samples in which the classifier sees the class that was asked for.

    The second value, `confident`, is the share of samples whose likeliest class has a probability above 0.95.
    """

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool, num_real: int) -> None:
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
    """Accuracy on the real validation images of a classifier that was trained on samples only (Ravuri and Vinyals 2019).

    Args:
        epochs: number of times the classifier sees every sample in training.
    """

    epochs: int = 10

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool, num_real: int) -> None:
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
