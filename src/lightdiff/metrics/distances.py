"""Distances between the sets of real and generated images, in the space of an extractor's vectors; all in float64."""

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


@dataclass(frozen=True)
class FID(Metric):
    """Frechet distance |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of Gaussians fitted to the vectors (Heusel et al. 2017).

    It is biased upwards, roughly as 1 / num_samples: compare only figures of equally many samples.
    """

    enough: ClassVar[int] = 10_000

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool) -> None:
        if num_samples < 2:
            raise ValueError(f"num_samples={num_samples}: fid needs at least 2")

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
        """Expected distance of `num_samples` vectors from the very Gaussian of the real ones, to first order in 1 / num_samples.

        With eigenvalues l_i of the covariance (sum_i l_i + 1/2 sum_{i != j} l_i l_j / (l_i + l_j) + 1/2 sum_i l_i) / num_samples;
        the first sum comes from the mean, the others from the covariance (variance of a Wishart matrix in the Bures metric).
        """
        values = torch.linalg.eigvalsh(real.reference.covariance).clamp(min=1e-12)
        pairs = values[:, None] * values / (values[:, None] + values)
        return ((1.25 * values.sum() + 0.5 * pairs.sum()) / num_samples).item()

    def distance(self, vectors: Tensor, real: Real) -> float:
        """Of generated vectors (N, D)."""
        metric = FrechetInceptionDistance(Given(vectors.shape[1]), sync_on_compute=False)
        metric.real_features_sum, metric.real_features_cov_sum = real.reference.total, real.reference.outer
        metric.real_features_num_samples = torch.tensor(real.reference.count)
        metric.update(vectors.double(), real=False)
        return metric.compute().item()


@dataclass(frozen=True)
class KID(Metric):
    """Squared maximum mean discrepancy with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018): mean and spread over subsets.

    Unbiased. At most 10,000 real images take part.

    Args:
        subsets: how many pairs of random subsets are compared.
        subset_size: images in each.
    """

    subsets: int = 100
    subset_size: int = 1000

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool) -> None:
        if num_samples < self.subset_size:
            raise ValueError(f"num_samples={num_samples}: kid needs at least one subset of {self.subset_size}")

    def __call__(self, generated: Generated, real: Real, extractor: FeatureExtractor) -> dict[str, Value]:
        vectors = real.reference.vectors
        if len(vectors) < self.subset_size:
            raise ValueError(f"subset_size={self.subset_size}: there are only {len(vectors)} real images")
        with _quiet():
            metric = KernelInceptionDistance(
                Given(vectors.shape[1]), subsets=self.subsets, subset_size=self.subset_size, sync_on_compute=False
            )
        metric.update(vectors.double(), real=True)
        metric.update(generated.features.vectors.double(), real=False)
        mean, spread = _keyed(metric)
        return {"kid": Value(mean.item(), spread.item())}


@dataclass(frozen=True)
class Inception(Metric):
    """exp of the mean KL(p(y | x) || p(y)) of the extractor's logits (Salimans et al. 2016): mean and spread over splits.

    Args:
        splits: how many parts the samples are divided into.
    """

    splits: int = 10

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool) -> None:
        if num_samples < 2 * self.splits:
            raise ValueError(f"num_samples={num_samples}: is needs at least {2 * self.splits}")

    def __call__(self, generated: Generated, real: Real, extractor: FeatureExtractor) -> dict[str, Value]:
        logits = generated.features.logits
        with _quiet():
            metric = InceptionScore(Given(logits.shape[1]), splits=self.splits, sync_on_compute=False)
        metric.update(logits.double())
        mean, spread = _keyed(metric)
        return {"is": Value(mean.item(), spread.item())}


@dataclass(frozen=True)
class PrecisionRecall(Metric):
    """Shares of generated vectors within the real manifold and of real ones within the generated (Kynkaanniemi et al. 2019).

    A manifold is the union of balls around each vector that reach to its k-th nearest neighbour. At most 10,000 of each kind
    take part.

    Args:
        k: which neighbour.
    """

    k: int = 3

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool) -> None:
        if num_samples <= self.k:
            raise ValueError(f"num_samples={num_samples}: precision_recall needs more than {self.k}")

    def __call__(self, generated: Generated, real: Real, extractor: FeatureExtractor) -> dict[str, Value]:
        ours = generated.features.vectors[:10_000].double()
        theirs = real.reference.vectors.double()
        return {
            "precision": Value(_share_within(ours, theirs, self.k)),
            "recall": Value(_share_within(theirs, ours, self.k)),
        }


def _share_within(vectors: Tensor, manifold: Tensor, k: int) -> float:
    """Share of `vectors` that lie in a ball around at least one vector of `manifold`."""
    radii = torch.cat([torch.cdist(part, manifold).kthvalue(k + 1).values for part in manifold.split(1000)])
    inside = [(torch.cdist(part, manifold) <= radii).any(1) for part in vectors.split(1000)]
    return torch.cat(inside).double().mean().item()


def _keyed(metric: KernelInceptionDistance | InceptionScore) -> tuple[Tensor, Tensor]:
    """Its result with random numbers of its own; the global ones are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed("metric"))
        return metric.compute()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torchmetrics' warning that features take memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features")
        yield
