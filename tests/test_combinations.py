"""Every schedule x objective x sampler x channels of conf/ trains two steps and samples, or is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product

import pytest
import torch

from lightdiff.config.build import build_model, build_sampler
from lightdiff.config.instantiate import ConfigError
from lightdiff.core.randomness import keyed_generator
from lightdiff.model import DiffusionModel, Generation, save_export
from lightdiff.samplers import Sampler
from runs import ROOT, composed


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


TINY = (
    "model=unet_small",
    "model.widths=[4,4]",
    "model.attention_levels=[]",
    "model.num_heads=1",
    "dataset.image_size=8",
)
REFUSED = {
    ("flow", objective): "objective.prediction=epsilon"
    for objective in ("epsilon", "min_snr", "log_variance", "input_perturbation")
}
"""The pairs that cannot work: with epsilon nothing is known of x0 where alpha = 0."""
NEEDS = {
    "flow_map": ["model.takes_s=true"],
    "self_taught": ["model.takes_s=true", "objective.share_alone=0.1"],
}
"""What an objective needs of the other groups."""


@cache
def sampler_of(name: str, grid: str = "default") -> Sampler:
    return build_sampler(composed(f"sampler={name}", f"sampler/grid={grid}"))[0]


@cache
def model_of(schedule: str) -> DiffusionModel:
    return build_model(composed(*TINY, f"schedule={schedule}", "objective=v"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Function (settings) -> the folder of an exported model with these settings, for objectives that learn from one."""

    @cache
    def exported(*settings: str) -> str:
        folder = tmp_path_factory.mktemp("teacher")
        model = build_model(composed(*TINY, "objective=v", "ema_decay=null", "seed=1", *settings))
        save_export(model, folder, weights="ema")
        return str(folder)

    return exported


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("objective", choices("objective"))
@pytest.mark.parametrize("schedule", choices("schedule"))
def test_trains_and_samples_or_is_refused(
    schedule: str, objective: str, channels: int, teacher: Callable[..., str]
) -> None:
    settings = (f"schedule={schedule}", f"dataset.channels={channels}")
    config = composed(*TINY, *settings, f"objective={objective}", *NEEDS.get(objective, []))
    if "teacher" in config["objective"]:
        config["objective"]["teacher"] = teacher(*settings)
    try:
        model = build_model(config)
    except ConfigError as error:
        assert "\n" not in str(error)
        assert (schedule, objective) in REFUSED, error
        assert str(error).startswith(REFUSED[schedule, objective])
        return
    assert (schedule, objective) not in REFUSED
    optimizer = torch.optim.Adam(model.network.parameters(), lr=1e-3)
    images = torch.randint(0, 256, (4, channels, 8, 8), dtype=torch.uint8, generator=keyed_generator("cpu", "images"))
    before = [p.detach().clone() for p in model.network.parameters()]
    for step in range(4):
        generator = keyed_generator("cpu", step)
        loss = model.objective(model.trained, model.encode(images), generator=generator, progress=step / 3).mean()
        assert loss.isfinite()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all((old != new).any() for old, new in zip(before, model.network.parameters(), strict=True))
    for sampler in choices("sampler"):
        samples = Generation.of(model, sampler=sampler_of(sampler), num_steps=3, seed=0).images(model, range(2))
        assert samples.shape == (2, channels, 8, 8)
        assert samples.isfinite().all()


@pytest.mark.parametrize(("sampler", "grid"), list(product(choices("sampler"), choices("sampler/grid"))))
def test_every_sampler_takes_every_grid_or_refuses_in_one_line(sampler: str, grid: str) -> None:
    for schedule in ("linear", "cosine", "flow", "edm"):
        model = model_of(schedule)
        try:
            generation = Generation.of(model, sampler=sampler_of(sampler, grid), num_steps=4, seed=0)
        except ValueError as error:
            assert "\n" not in str(error)
            assert (grid, schedule) in {("leading", "flow"), ("leading", "edm")}, error
            continue
        assert generation.images(model, range(1)).isfinite().all()


BASES = {"rule": ["objective=flow_map", "model.takes_s=true", "time_input=t"]}
"""What the parts of an objective are chosen for; those that are not named here, for objective=v."""
PARTS = [
    f"objective/{choice.parent.name}={choice.stem}" for choice in sorted((ROOT / "conf" / "objective").glob("*/*.yaml"))
]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_an_objective_can_be_chosen_alone(part: str) -> None:
    kind = part.removeprefix("objective/").partition("=")[0]
    model = build_model(composed(*TINY, "schedule=cosine", *BASES.get(kind, ["objective=v"]), part))
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    losses = model.objective(model.trained, model.encode(images), generator=keyed_generator("cpu", 0))
    assert losses.isfinite().all()
