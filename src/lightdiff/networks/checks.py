"""Checks of constructor arguments and conditions, shared by the networks.

Each raises a ValueError whose message is one line with the argument, its value, and the values that fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from lightdiff.utils.sizes import two_sizes


def check_divisible(image_size: int | Sequence[int], divisor: int) -> None:
    """Check that height and width are multiples of `divisor`.

    Raises:
        ValueError: one is not. The message names the nearest sizes that are.
    """
    sizes = two_sizes(image_size)
    if not any(size % divisor for size in sizes):
        return

    def shown(values: Sequence[int]) -> str:
        return str(values[0]) if isinstance(image_size, int) else str(list(values))

    below = [size // divisor * divisor for size in sizes]
    above = [-(-size // divisor) * divisor for size in sizes]
    nearest = [shown(above)] if min(below) < 1 else [shown(below), shown(above)]
    raise ValueError(
        f"image_size={image_size}: this network needs multiples of {divisor}; nearest sizes: {' and '.join(nearest)}"
    )


def check_positive(**arguments: int | None) -> None:
    """Check that each number is at least 1. None is accepted.

    Raises:
        ValueError: a number is below 1.
    """
    for name, value in arguments.items():
        if value is not None and value < 1:
            raise ValueError(f"{name}={value}: 1 or more is expected")


def check_widths(widths: Sequence[int], at_least: int = 1) -> None:
    """Check that there are enough levels, and that each has at least 1 channel.

    Raises:
        ValueError: there are fewer than `at_least` widths, or one is below 1.
    """
    if len(widths) < at_least or min(widths) < 1:
        raise ValueError(f"widths={list(widths)}: {at_least} or more widths of 1 or more channels are expected")


def check_choice(choices: Iterable[str], **arguments: str) -> None:
    """Check that each argument is one of the names.

    Raises:
        ValueError: an argument is none of them. The message lists them.
    """
    for name, value in arguments.items():
        if value not in choices:
            raise ValueError(f"{name}={value}: choices: {', '.join(choices)}")


def check_levels(attention_levels: Sequence[int], num_levels: int) -> None:
    """Check that each level is in 0, ..., num_levels - 1.

    Raises:
        ValueError: a level is not.
    """
    wrong = [level for level in attention_levels if not 0 <= level < num_levels]
    if wrong:
        raise ValueError(f"attention_levels={list(attention_levels)}: levels in 0..{num_levels - 1} are expected")


def check_cond(network: nn.Module, cond: dict[str, Tensor] | None, x: Tensor) -> None:
    """Check that a condition has the keys in the network's `cond_keys`, and that its image has the size of x (B, C, H, W).

    Only `mask` may be missing.

    Raises:
        ValueError: a key is missing, the network does not take it, or the image has another shape.
    """
    given, taken = set(cond or ()), set(network.cond_keys)  # type: ignore[arg-type]
    if given - taken or (taken - given) - {"mask"}:
        raise ValueError(
            f"cond={sorted(given)}: {type(network).__name__} takes {sorted(taken) or 'no condition as it is configured'}"
        )
    if cond is not None and "image" in cond:
        found, expected = tuple(cond["image"].shape), (len(x), network.image_channels, *x.shape[-2:])
        if found != expected:
            raise ValueError(f"cond: image of the shape {found}; {type(network).__name__} takes {expected}")
