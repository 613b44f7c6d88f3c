"""Objects from plain data and back: errors name the key, and a file may name only allowed classes."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from lightdiff.config.describe import NotDescribable, config_of
from lightdiff.config.instantiate import ConfigError, import_safe_target, instantiate


class Thing:
    def __init__(
        self,
        size: int,
        rate: float = 1.0,
        mode: Literal["a", "b"] = "a",
        flag: bool = False,
        pair: tuple[int, int] = (1, 2),
    ):
        if size < 0:
            raise ValueError(f"size={size}: 0 or more is expected")
        if size == 13:
            raise ValueError("bad luck")
        self.size, self.rate, self.mode, self.flag, self.pair = size, rate, mode, flag, pair


TARGET = f"{__name__}.Thing"


def test_nested_targets_lists_and_partials() -> None:
    built = instantiate(
        {"a": {"_target_": TARGET, "size": 3}, "b": [{"_target_": TARGET, "size": 4, "_partial_": True}]}
    )
    assert built["a"].size == 3
    assert built["b"][0](rate=0.5).rate == 0.5


def test_a_list_becomes_the_tuple_that_is_annotated() -> None:
    assert instantiate({"_target_": TARGET, "size": 1, "pair": [3, 4]}).pair == (3, 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sice": 3, "size": 3}, "group.sice: no such key; did you mean size?"),
        ({}, "group.size: a value is needed"),
        ({"size": "abc"}, "group.size=abc: int is expected"),
        ({"size": True}, "group.size=True: int is expected"),
        ({"size": 1, "flag": 1}, "group.flag=1: bool is expected"),
        ({"size": 1, "mode": "c"}, "group.mode=c: one of a, b is expected"),
        ({"size": 1, "pair": [1, "x"]}, "group.pair=[1, 'x']: a list of int is expected"),
        ({"size": -1}, "group.size=-1: 0 or more is expected"),
        ({"size": 13}, "group: bad luck"),
    ],
)
def test_errors_name_key_value_and_choices_in_one_line(values: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        instantiate({"_target_": TARGET, **values}, key="group")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_error_deep_inside_names_the_whole_path() -> None:
    with pytest.raises(ConfigError, match=r"^outer\.inner\[1\]\.size=-1: 0 or more"):
        instantiate({"inner": [1, {"_target_": TARGET, "size": -1}]}, key="outer")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.load",
        "builtins.open",
        "torch.utils.cpp_extension.load",
        "lightdiff.core.torch.load",
        "lightdiff.config.instantiate.importlib.import_module",
        "lightdiff.jobs.train.run_job",
        "lightdiff.data.DiffSet",
        "lightdiff.callbacks.Checkpoints",
        "lightdiff.core.annotations",
        "lightdiff.core.__builtins__",
        "lightdiff.networks",
        "",
        None,
        3,
    ],
)
def test_a_name_out_of_a_file_must_be_on_the_allow_list(target: object) -> None:
    with pytest.raises(ConfigError, match="a file may only name the public classes"):
        instantiate({"_target_": target}, importer=import_safe_target)


def test_allowed_names_are_found() -> None:
    from lightdiff.core import DiscreteSchedule
    from lightdiff.networks import UNet

    assert import_safe_target("lightdiff.networks.UNet") is UNet
    assert import_safe_target("lightdiff.core.DiscreteSchedule") is DiscreteSchedule


def test_config_of_is_the_inverse_of_instantiate() -> None:
    from lightdiff.core import DiffusionObjective, DiscreteSchedule, MinSNRWeighting, linear_betas
    from lightdiff.networks import UNet

    for thing in (
        UNet(channels=3, image_size=(16, 24), widths=(8, 16), attention_levels=(1,), num_heads=2),
        DiscreteSchedule(linear_betas(20), zero_terminal_snr=True),
        DiffusionObjective(MinSNRWeighting()),
    ):
        config = config_of(thing)
        again = instantiate(config, importer=import_safe_target)
        assert type(again) is type(thing)
        assert config_of(again) == config


def test_config_of_keeps_every_bit_of_a_table() -> None:
    from lightdiff.core import DiscreteSchedule, cosine_betas

    schedule = DiscreteSchedule(cosine_betas(1000))
    again = instantiate(config_of(schedule), importer=import_safe_target)
    assert torch.equal(torch.as_tensor(again.betas), torch.as_tensor(schedule.betas))
    assert torch.equal(again.alphas_cumprod, schedule.alphas_cumprod)


def test_an_object_from_elsewhere_cannot_be_described() -> None:
    with pytest.raises(NotDescribable, match="Linear"):
        config_of(torch.nn.Linear(2, 2))
