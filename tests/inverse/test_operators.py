"""The operators: adjoint, solution of (A A^T + ridge I) v = y, gain, and what each of them measures."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightdiff.inverse import (
    Blur,
    ColourRemoval,
    CompressedSensing,
    Inpaint,
    LinearOperator,
    SuperResolution,
)
from lightdiff.inverse.operator import conjugate_gradients

SHAPE = (3, 8, 12)
MASK = torch.rand(1, 1, 8, 12, generator=torch.Generator().manual_seed(3)) < 0.4
OPERATORS: dict[str, LinearOperator] = {
    "inpaint": Inpaint(SHAPE, MASK),
    "super_resolution": SuperResolution(SHAPE, 4),
    "blur": Blur(SHAPE, 0.7),
    "colour_removal": ColourRemoval(SHAPE),
    "compressed_sensing": CompressedSensing(SHAPE, 0.3),
}
EACH = pytest.mark.parametrize("operator", list(OPERATORS.values()), ids=list(OPERATORS))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def matrix_of(operator: LinearOperator) -> Tensor:
    """The operator as a matrix (M, C H W)."""
    size = math.prod(operator.shape)
    return operator(torch.eye(size, dtype=torch.float64).reshape(size, *operator.shape)).flatten(1).T


@EACH
def test_the_adjoint_is_the_transpose(operator: LinearOperator) -> None:
    x = normal(4, *SHAPE)
    y = torch.randn_like(operator(x))
    left, right = ((a * b).flatten(1).sum(1) for a, b in ((operator(x), y), (x, operator.adjoint(y))))
    torch.testing.assert_close(left, right, rtol=0, atol=1e-10)
    assert left.abs().min() > 1e-3


@EACH
def test_it_is_linear_and_takes_each_image_alone(operator: LinearOperator) -> None:
    x, z = normal(2, *SHAPE), normal(2, *SHAPE, seed=1)
    torch.testing.assert_close(operator(2 * x - 3 * z), 2 * operator(x) - 3 * operator(z))
    torch.testing.assert_close(operator(torch.cat([x, z])), torch.cat([operator(x), operator(z)]))


@EACH
@pytest.mark.parametrize("ridge", [0.0, 0.01, 2.0])
def test_solve_is_exact(operator: LinearOperator, ridge: float) -> None:
    matrix, y = matrix_of(operator), operator(normal(2, *SHAPE))
    gram = matrix @ matrix.T + ridge * torch.eye(len(matrix), dtype=torch.float64)
    expected = (torch.linalg.pinv(gram, hermitian=True) @ y.flatten(1).T).T.reshape(y.shape)
    ridges = torch.full((2,), ridge, dtype=torch.float64)
    torch.testing.assert_close(operator.solve(y, ridges), expected, rtol=1e-8, atol=1e-8)
    if ridge:
        # the general way, which operators without a closed form have
        torch.testing.assert_close(LinearOperator.solve(operator, y, ridges), expected, rtol=1e-4, atol=1e-4)


@EACH
def test_each_image_has_a_ridge_of_its_own(operator: LinearOperator) -> None:
    y, ridges = operator(normal(2, *SHAPE)), torch.tensor([0.1, 3.0], dtype=torch.float64)
    alone = torch.cat([operator.solve(y[i : i + 1], ridges[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(operator.solve(y, ridges), alone)


@EACH
def test_gain_and_count_are_those_of_the_matrix(operator: LinearOperator) -> None:
    matrix = matrix_of(operator)
    measured = matrix.abs().sum(1) > 0
    assert operator.count == measured.sum()
    assert operator.gain == pytest.approx((matrix.square().sum() / measured.sum()).item())


@EACH
def test_it_works_in_float32(operator: LinearOperator) -> None:
    x = normal(2, *SHAPE)
    y = operator(x.float())
    assert y.dtype == operator.adjoint(y).dtype == operator.solve(y, torch.ones(2)).dtype == torch.float32
    torch.testing.assert_close(y.double(), operator(x), rtol=0, atol=1e-5)


@EACH
def test_a_measurement_is_shown_and_read_as_a_picture(operator: LinearOperator) -> None:
    y = operator(normal(2, *SHAPE))
    picture = operator.to_picture(y)
    if operator.picture_shape is None:
        assert picture.shape[1:] == SHAPE
    else:
        assert picture.shape[1:] == operator.picture_shape
        assert torch.equal(operator.from_picture(picture), y)


def test_super_resolution_takes_means_of_squares() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert SuperResolution((1, 4, 4), 2)(x).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]


def test_inpainting_keeps_what_is_black_in_the_mask() -> None:
    x = normal(1, *SHAPE)
    y = OPERATORS["inpaint"](x)
    hidden = MASK.expand_as(x)
    assert torch.equal(y[~hidden], x[~hidden]) and (y[hidden] == 0).all()


def test_a_blur_keeps_the_brightness_and_spreads_a_point_as_a_gaussian() -> None:
    std, blur = 1.5, Blur((1, 31, 31), 1.5)
    point = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    point[..., 15, 15] = 1
    spread = blur(point)[0, 0]
    away = torch.arange(31.0, dtype=torch.float64) - 15
    gaussian = torch.exp(-(away**2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))
    torch.testing.assert_close(spread, torch.outer(gaussian, gaussian), rtol=0, atol=1e-4)
    torch.testing.assert_close(blur(torch.ones_like(point)), torch.ones_like(point))
    # at an edge half of it is reflected, and nothing is lost
    edge = torch.zeros_like(point)
    edge[..., 0, 0] = 1
    assert blur(edge).sum().item() == pytest.approx(1)


def test_gray_is_what_a_gray_image_has_in_all_channels() -> None:
    gray = normal(1, 1, 8, 12)
    torch.testing.assert_close(OPERATORS["colour_removal"](gray.expand(1, *SHAPE)), gray)


def test_compressed_sensing_is_keyed_and_orthonormal() -> None:
    x = normal(1, *SHAPE)
    same, other = (CompressedSensing(SHAPE, 0.3, seed)(x) for seed in (0, 1))
    assert torch.equal(same, OPERATORS["compressed_sensing"](x)) and not torch.equal(same, other)
    assert same.shape == (1, round(0.3 * 3 * 8 * 12))
    matrix = matrix_of(OPERATORS["compressed_sensing"])
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix), dtype=torch.float64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SuperResolution(SHAPE, 5), "factor=5: a whole number that divides 8 and 12 is expected"),
        (lambda: SuperResolution(SHAPE, 0), "factor=0: a whole number"),
        (lambda: Blur(SHAPE, 0.0), "std=0.0: a number above 0 is expected"),
        (lambda: CompressedSensing(SHAPE, 1.5), "share=1.5: a number above 0 and at most 1"),
        (lambda: ColourRemoval((1, 8, 8)), "images of 3 channels are expected, and this model has 1"),
        (lambda: Inpaint(SHAPE, torch.ones(1, 1, 8, 12)), "mask: nothing in it is black"),
    ],
)
def test_what_is_no_operator_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_conjugate_gradients_stop_where_a_matrix_is_not_positive() -> None:
    diagonal = torch.tensor([[2.0, 1.0], [-1.0, -1.0], [4.0, 4.0]], dtype=torch.float64)
    right = torch.ones(3, 2, dtype=torch.float64)
    found = conjugate_gradients(lambda v: diagonal * v, right, iterations=10)
    torch.testing.assert_close(found, torch.tensor([[0.5, 1.0], [0.0, 0.0], [0.25, 0.25]], dtype=torch.float64))
