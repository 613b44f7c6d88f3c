"""Metrics that compare the sets of real and generated images by their feature vectors, in float64."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from lightdiff.core.randomness import keyed_seed
from lightdiff.metrics.base import Generated, Given, Metric, Real, Value
from lightdiff.metrics.extractor import FeatureExtractor
from lightdiff.metrics.reference import MAX_VECTORS


@dataclass(frozen=True)
class FID(Metric):
    """Frechet distance |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of Gaussians fitted to the vectors (Heusel et al. 2017).

    m and S are mean and covariance of the real and of the generated vectors. The distance is biased upwards, roughly by a term
    in 1 / num_samples, so compare only figures of equally many samples.
    """

    enough: ClassVar[int] = 10_000

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool, num_real: int) -> None:
        if num_samples < 2:
            raise ValueError(f"num_samples={num_samples}: fid needs at least 2")
        if num_real < 2:
            raise ValueError(f"metrics=fid: it needs at least 2 real images, and there is {num_real}")

    def __call__(self, generated: Generated, real: Real, extractor: FeatureExtractor) -> dict[str, Value]:
        return {"fid": Value(self.distance(generated.features.vectors, real))}

    def warning(self, num_samples: int, real: Real) -> str | None:
        if num_samples >= self.enough:
            return None
        return (
            f"num_samples={num_samples}: with fewer than {self.enough} samples fid is too high; as many real images, drawn at "
            f"random, would get about {self.bias(num_samples, real):.3g} (somewhat less with equally many of each class); only "
            "figures of equally many samples compare"
        )

    def bias(self, num_samples: int, real: Real) -> float:
        """Return the expected distance of samples drawn from the very Gaussian of the real vectors.

        To first order in 1 / num_samples, with the eigenvalues l_i of the real covariance it is
        (sum_i l_i + 1/2 sum_{i != j} l_i l_j / (l_i + l_j) + 1/2 sum_i l_i) / num_samples.
        The first sum is the error of the mean, the others that of the covariance (a Wishart matrix's variance, Bures metric).
        """
        values = torch.linalg.eigvalsh(real.reference.covariance).clamp(min=1e-12)
        pairs = values[:, None] * values / (values[:, None] + values)
        return ((1.25 * values.sum() + 0.5 * pairs.sum()) / num_samples).item()

    def distance(self, vectors: Tensor, real: Real) -> float:
        """Return the distance between generated vectors (N, D) and the real ones."""
        metric = FrechetInceptionDistance(Given(vectors.shape[1]), sync_on_compute=False)
        metric.real_features_sum, metric.real_features_cov_sum = real.reference.total, real.reference.outer
        metric.real_features_num_samples = torch.tensor(real.reference.count)
        metric.update(vectors.double(), real=False)
        return metric.compute().item()


@dataclass(frozen=True)
class KID(Metric):
    """Squared maximum mean discrepancy with the kernel (x.y / D + 1)^3 of vectors (D,) (Binkowski et al. 2018).

    The value is the mean over pairs of random subsets, its spread their standard deviation, None for a single pair. The estimate
    is unbiased. At most 10,000 real images take part.

    Args:
        subsets: number of pairs of random subsets.
        subset_size: images in each subset.
    """

    subsets: int = 100
    subset_size: int = 1000

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool, num_real: int) -> None:
        if num_samples < self.subset_size:
            raise ValueError(f"num_samples={num_samples}: kid needs at least one subset of {self.subset_size}")
        taking_part = min(num_real, MAX_VECTORS)
        if taking_part < self.subset_size:
            raise ValueError(
                f"metrics.kid.subset_size={self.subset_size}: at most {taking_part} is expected, as many as real images take part"
            )

    def __call__(self, generated: Generated, real: Real, extractor: FeatureExtractor) -> dict[str, Value]:
        vectors = real.reference.vectors
        with _without_memory_warning():
            metric = KernelInceptionDistance(
                Given(vectors.shape[1]), subsets=self.subsets, subset_size=self.subset_size, sync_on_compute=False
            )
        metric.update(vectors.double(), real=True)
        metric.update(generated.features.vectors.double(), real=False)
        return {"kid": _compute_keyed(metric, self.subsets)}


@dataclass(frozen=True)
class Inception(Metric):
    """Inception score exp(E_x KL(p(y | x) || p(y))), with p(y | x) from the extractor's logits (Salimans et al. 2016).

    The value is the mean over parts of the samples, its spread their standard deviation, None for a single part.

    Args:
        splits: number of parts.
    """

    splits: int = 10

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool, num_real: int) -> None:
        if num_samples < 2 * self.splits:
            raise ValueError(f"num_samples={num_samples}: the Inception score needs at least {2 * self.splits}")

    def __call__(self, generated: Generated, real: Real, extractor: FeatureExtractor) -> dict[str, Value]:
        logits = generated.features.logits
        with _without_memory_warning():
            metric = InceptionScore(Given(logits.shape[1]), splits=self.splits, sync_on_compute=False)
        metric.update(logits.double())
        return {"is": _compute_keyed(metric, self.splits)}


@dataclass(frozen=True)
class PrecisionRecall(Metric):
    """Precision and recall of the generated images (Kynkaanniemi et al. 2019).

    Precision is the share of generated vectors inside the manifold of the real ones, recall the share of real vectors inside
    the manifold of the generated ones. A manifold is the union of balls around its vectors, each of which reaches to the k-th
    nearest neighbour of its vector. At most 10,000 images of each kind take part.

    Args:
        k: the neighbour that sets the radius of a ball.
    """

    k: int = 3

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool, num_real: int) -> None:
        if num_samples <= self.k:
            raise ValueError(f"num_samples={num_samples}: precision_recall needs more than {self.k}")
        taking_part = min(num_real, MAX_VECTORS)
        if taking_part <= self.k:
            raise ValueError(
                f"metrics.precision_recall.k={self.k}: at most {taking_part - 1} is expected, because {taking_part} real images "
                "take part"
            )

    def __call__(self, generated: Generated, real: Real, extractor: FeatureExtractor) -> dict[str, Value]:
        generated_vectors = generated.features.vectors[:MAX_VECTORS].double()
        real_vectors = real.reference.vectors.double()
        return {
            "precision": Value(_share_within(generated_vectors, real_vectors, self.k)),
            "recall": Value(_share_within(real_vectors, generated_vectors, self.k)),
        }


def _share_within(vectors: Tensor, manifold: Tensor, k: int) -> float:
    """Return the share of `vectors` (N, D) that lie in a ball around at least one of the vectors `manifold` (M, D)."""
    radii = torch.cat([torch.cdist(part, manifold).kthvalue(k + 1).values for part in manifold.split(1000)])
    inside = [(torch.cdist(part, manifold) <= radii).any(1) for part in vectors.split(1000)]
    return torch.cat(inside).double().mean().item()


def _compute_keyed(metric: KernelInceptionDistance | InceptionScore, parts: int) -> Value:
    """Return the metric, always with the same random numbers and without touching the global ones. One part has no spread."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*degrees of freedom")
        torch.manual_seed(keyed_seed("metric"))
        mean, spread = metric.compute()
    return Value(mean.item(), spread.item() if parts > 1 else None)


@contextmanager
def _without_memory_warning() -> Iterator[None]:
    """Silence torchmetrics' warning that features take memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features")
        yield
