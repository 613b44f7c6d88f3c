"""Distances against independent float64 implementations and closed forms."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from lightdiff.metrics import FID, KID, Inception, PrecisionRecall, PromptAccuracy, SyntheticAccuracy
from metric_parts import generated_of, real_of

EXTRACTOR = SimpleNamespace(num_features=6)


def vectors(count: int, seed: int, dimension: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimension, dimension, generator=generator)
    return torch.randn(count, dimension, generator=generator) @ mixing + torch.randn(dimension, generator=generator)


def independent_fid(left: Tensor, right: Tensor) -> float:
    a, b = left.double().numpy(), right.double().numpy()
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(s1 @ s2)
    return float(np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * np.real(root)))


def independent_mmd(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    m = len(x)
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    unlike = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(unlike - 2 * xy.mean())


@pytest.mark.parametrize("count", [50, 777])
def test_fid_equals_scipys(count: int) -> None:
    real, made = vectors(1000, 0), vectors(count, 1)
    found = FID()(generated_of(made), real_of(real), EXTRACTOR)["fid"].value
    assert found == pytest.approx(independent_fid(real, made), rel=1e-6)


def test_fid_of_gaussians_is_the_closed_form() -> None:
    # +-s_i e_i sqrt(D) + m: mean m and a diagonal covariance, exactly
    scales, shift = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([1.0, -2.0, 0.25]).double()

    def set_of(scale: Tensor, mean: Tensor) -> Tensor:
        return torch.cat([torch.diag(scale), torch.diag(-scale)]).repeat(1000, 1) * math.sqrt(3) + mean

    one, two = set_of(torch.ones(3).double(), torch.zeros(3).double()), set_of(scales, shift)
    unbiased = 6000 / 5999  # of the covariances of 6000 vectors
    expected = shift.square().sum() + unbiased * (scales - 1).square().sum()
    found = FID().distance(two, real_of(one))
    assert found == pytest.approx(expected.item(), abs=1e-9)


def test_fid_of_a_set_against_itself_is_zero() -> None:
    assert FID().distance(vectors(500, 0), real_of(vectors(500, 0))) == pytest.approx(0, abs=1e-8)


def test_fid_rises_with_noise() -> None:
    real = vectors(2000, 0)
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(9))
    found = [FID().distance(real + level * noise, real_of(real)) for level in (0, 0.1, 0.3, 1, 3)]
    assert found == sorted(found) and found[1] > found[0] + 1e-6


def test_fid_warns_of_the_bias_that_few_samples_have() -> None:
    real = real_of(vectors(200_000, 0))
    assert FID().warning(10_000, real) is None
    expected = FID().bias(400, real)
    assert f"about {expected:.3g}" in (FID().warning(400, real) or "")
    rounds = [FID().distance(vectors_like(real, 400, seed), real) for seed in range(40)]
    assert np.mean(rounds) == pytest.approx(expected, rel=0.15)


def vectors_like(real: object, count: int, seed: int) -> Tensor:
    """Vectors of the reference's own Gaussian."""
    reference = real.reference  # type: ignore[attr-defined]
    root = torch.linalg.cholesky(reference.covariance)
    noise = torch.randn(count, len(root), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return noise @ root.T + reference.total / reference.count


def test_kid_equals_an_independent_estimate() -> None:
    real, made = vectors(300, 0), vectors(300, 1)
    # one subset of everything leaves no choice to chance
    found = KID(subsets=1, subset_size=300)(generated_of(made), real_of(real), EXTRACTOR)["kid"].value
    assert found == pytest.approx(independent_mmd(real.double().numpy(), made.double().numpy()), rel=1e-6)


def test_kid_is_unbiased() -> None:
    kid = KID(subsets=200, subset_size=100)(generated_of(vectors(2000, 0)), real_of(vectors(2000, 0)), EXTRACTOR)["kid"]
    assert kid.spread is not None and abs(kid.value) < 3 * kid.spread


def test_inception_score_of_certain_and_of_uniform_answers() -> None:
    certain = 1000 * torch.eye(10).repeat(100, 1)
    sure = Inception()(generated_of(certain, certain), real_of(certain), EXTRACTOR)["is"]
    assert sure.value == pytest.approx(10, rel=0.05) and sure.spread is not None
    unsure = Inception()(generated_of(certain, 0 * certain), real_of(certain), EXTRACTOR)["is"]
    assert unsure.value == pytest.approx(1, abs=1e-6)


def test_a_single_part_has_no_spread() -> None:
    certain = 1000 * torch.eye(10).repeat(100, 1)
    score = Inception(splits=1)(generated_of(certain, certain), real_of(certain), EXTRACTOR)["is"]
    kid = KID(subsets=1, subset_size=100)(generated_of(vectors(100, 0)), real_of(vectors(100, 1)), EXTRACTOR)["kid"]
    assert score.value == pytest.approx(10, rel=0.05)
    assert score.spread is None and kid.spread is None


def test_precision_and_recall_of_half_the_modes() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(400, 4, generator=generator), torch.randn(400, 4, generator=generator) + 100
    half = PrecisionRecall()(generated_of(left[:200]), real_of(torch.cat([left[200:], right[:200]])), EXTRACTOR)
    assert half["precision"].value > 0.8 and half["recall"].value == pytest.approx(0.45, abs=0.07)
    far = PrecisionRecall()(generated_of(left - 1000), real_of(right), EXTRACTOR)
    assert (far["precision"].value, far["recall"].value) == (0, 0)


def test_precision_counts_balls_exactly() -> None:
    """Points on a line, counted by hand: with k = 1 the balls around 0, 1 and 3 reach to the nearest neighbour of each."""
    real, made = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[1.9], [5.1], [-0.9], [4.9]])
    found = PrecisionRecall(k=1)(generated_of(made, torch.zeros(4, 2)), real_of(real), EXTRACTOR)
    # only 5.1 lies in no ball; the one around 3 ends at 5
    assert found["precision"].value == 0.75
    # the balls around the generated points have radius 2.8 at 1.9 and at -0.9, and 0.2 at 5.1 and at 4.9
    assert found["recall"].value == 1.0


@pytest.mark.parametrize("metric", [FID(), KID(subset_size=200), Inception(), PrecisionRecall()])
def test_order_does_not_matter_and_the_global_random_numbers_are_left_alone(metric) -> None:
    real, made = vectors(500, 0), vectors(300, 1)
    # in another order the random subsets of KID would hold other images, so one subset holds them all
    if isinstance(metric, KID):
        metric = KID(subsets=1, subset_size=300)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = metric(generated_of(made), real_of(real), EXTRACTOR)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    again = metric(generated_of(made), real_of(real), EXTRACTOR)
    assert one == again
    # the splits of the Inception score do depend on the order
    if isinstance(metric, Inception):
        return
    order = torch.randperm(len(made), generator=torch.Generator().manual_seed(0))
    other = metric(generated_of(made[order]), real_of(real), EXTRACTOR)
    for name, value in one.items():
        assert other[name].value == pytest.approx(value.value, rel=1e-6)


@pytest.mark.parametrize(("metric", "count"), [(FID(), 1), (KID(), 999), (Inception(), 19), (PrecisionRecall(), 3)])
def test_too_few_samples_are_refused(metric, count: int) -> None:
    with pytest.raises(ValueError, match=f"num_samples={count}: "):
        metric.check(count, EXTRACTOR, True, 10**6)
    metric.check(count + 1, EXTRACTOR, True, 10**6)


@pytest.mark.parametrize(
    ("metric", "count", "key"),
    [
        (FID(), 1, "metrics=fid"),
        (KID(), 999, "metrics.kid.subset_size=1000: at most 999 is expected"),
        (KID(subset_size=10_001), 10**6, "metrics.kid.subset_size=10001: at most 10000 is expected"),
        (PrecisionRecall(), 3, "metrics.precision_recall.k=3: at most 2 is expected"),
        (PrecisionRecall(k=10_000), 10**6, "metrics.precision_recall.k=10000: at most 9999 is expected"),
    ],
)
def test_too_few_real_images_are_refused(metric, count: int, key: str) -> None:
    with pytest.raises(ValueError, match=key):
        metric.check(10**6, EXTRACTOR, True, count)
    if count < 10_000:
        metric.check(10**6, EXTRACTOR, True, count + 1)


@pytest.mark.parametrize("metric", [PromptAccuracy(), SyntheticAccuracy()])
def test_accuracies_need_a_classifier_and_a_conditional_model(metric) -> None:
    with pytest.raises(ValueError, match="needs extractor=classifier"):
        metric.check(100, EXTRACTOR, True, 10**6)
