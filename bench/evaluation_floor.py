"""What real images get: the validation split measured against the training split, as if it had been generated.

python bench/evaluation_floor.py mnist --data-dir data --num-samples 10000 2000

No model can be expected to come below it, apart from chance; prompt accuracy is that of the classifier itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lightdiff.data import DiffSet
from lightdiff.metrics import (
    FID,
    KID,
    ClassifierExtractor,
    Evaluation,
    Features,
    Generated,
    Inception,
    Metric,
    PrecisionRecall,
    PromptAccuracy,
)


def floor(dataset: str, data_dir: str, num_samples: int, cache_dir: Path) -> dict[str, float]:
    """Each metric of the first `num_samples` validation images against all training images."""
    data = DiffSet(dataset, data_dir=data_dir)
    data.setup()
    extractor = ClassifierExtractor()
    extractor.prepare(data, "cpu")
    metrics: dict[str, Metric] = {
        "fid": FID(),
        "kid": KID(subset_size=min(1000, num_samples)),
        "is": Inception(),
        "precision_recall": PrecisionRecall(),
        "prompt_accuracy": PromptAccuracy(),
    }
    evaluation = Evaluation(metrics, extractor, data, num_samples=num_samples, cache_dir=cache_dir)
    batch = data.val_set[range(num_samples)]
    features: Features = extractor(batch["image"])
    found = {}
    for metric in metrics.values():
        for name, value in metric(
            Generated(batch["image"], features, batch["label"]), evaluation.real, extractor
        ).items():
            found[name] = value.value
    found["fid expected of random training images"] = FID().bias(num_samples, evaluation.real)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--num-samples", type=int, nargs="+", default=[10_000])
    parser.add_argument("--cache-dir", type=Path, default=Path("data/reference"))
    arguments = parser.parse_args()
    for count in arguments.num_samples:
        values = floor(arguments.dataset, arguments.data_dir, count, arguments.cache_dir)
        print(f"{arguments.dataset}, {count} validation images:", ", ".join(f"{k} {v:.4g}" for k, v in values.items()))
