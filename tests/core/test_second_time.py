"""The second time s: who is called with it, in which form, and the exact flow map of Gaussian data."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightdiff.config.instantiate import instantiate
from lightdiff.core import (
    ClassifierFreeGuidance,
    Denoiser,
    FlowPrediction,
    KarrasGrid,
    QuadraticGrid,
    VPrediction,
    keyed_generator,
)
from lightdiff.samplers import DDIM, SAMPLERS, inpaint
from oracles import SCHEDULES, gaussian_data, gaussian_flow_map, noise, rms, times
from runs import ROOT, composed

T, S = times(0.9, 0.5, 0.3, 1.0), times(0.2, 0.5, 0.0, 0.7)


class Network(nn.Module):
    """A network that records with what it was called, and returns its input."""

    def __init__(self, takes_s: bool) -> None:
        super().__init__()
        self.takes_s = takes_s
        self.calls: list[tuple[Tensor, dict[str, Tensor]]] = []

    def forward(self, x: Tensor, time: Tensor, cond: Any = None, **others: Tensor) -> Tensor:
        self.calls.append((time, others))
        return x


@pytest.mark.parametrize(("schedule", "time_input"), [("linear", "timestep"), ("flow", "t"), ("edm", "log_sigma")])
@pytest.mark.parametrize("call", ["forward", "raw"])
def test_the_network_gets_s_in_the_form_of_t(call: str, schedule: str, time_input: str) -> None:
    network = Network(takes_s=True)
    denoiser = Denoiser(network, SCHEDULES[schedule], VPrediction())
    assert denoiser.takes_s and denoiser.time_input == time_input
    ask = getattr(denoiser, call)
    ask(noise(), S)
    expected = network.calls.pop()[0]
    ask(noise(), T, s=S)
    ask(noise(), T, s=T)
    ask(noise(), T)
    (time, jump), (_, same), (_, none) = network.calls
    assert torch.equal(jump["s"], expected) and not torch.equal(jump["s"], time)
    # the ordinary estimate, whether s is left out or equal to t
    assert torch.equal(same["s"], time) and torch.equal(none["s"], time)


def test_a_network_without_takes_s_never_sees_s() -> None:
    for network in (Network(takes_s=False), nn.Identity()):
        network.forward = lambda x, time, cond: x  # type: ignore[method-assign]
        denoiser = Denoiser(network, SCHEDULES["flow"], FlowPrediction())
        assert not denoiser.takes_s
        assert torch.equal(denoiser(noise(), T, None, S), denoiser(noise(), T))
        assert torch.equal(denoiser.raw(noise(), T, None, S), denoiser.raw(noise(), T))


def test_a_network_that_takes_s_needs_the_times() -> None:
    with pytest.raises(
        ValueError, match="time_input=none: Network with takes_s=True needs the times; choices: t, log_"
    ) as error:
        Denoiser(Network(takes_s=True), SCHEDULES["flow"], FlowPrediction(), time_input="none")
    assert "\n" not in str(error.value)


class Recorder:
    """A denoiser that records the second times it is called with, as lists of numbers, or None."""

    schedule = SCHEDULES["cosine"]

    def __init__(self) -> None:
        self.takes_s = True
        self.seen: list[list[float] | None] = []

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None, s: Tensor | None = None) -> Tensor:
        self.seen.append(None if s is None else s.tolist())
        return 0.5 * x_t


@pytest.mark.parametrize("name", [*SAMPLERS, "ddim_half"])
def test_only_ddim_without_noise_hands_s_on(name: str) -> None:
    sampler = DDIM(eta=0.5) if name == "ddim_half" else SAMPLERS[name]()
    denoiser = Recorder()
    samples = sampler.sample(denoiser, noise(), 5, generator=keyed_generator("cpu", 0))
    grid = sampler.times(denoiser.schedule, 5).tolist()
    expected = [[s] * 4 for s in grid[1:]] if name == "ddim" else [None] * len(denoiser.seen)
    assert denoiser.seen == expected
    # a plain callable is called with three arguments, and has the same images
    plain = Recorder()
    plain.takes_s = False
    assert torch.equal(sampler.sample(plain, noise(), 5, generator=keyed_generator("cpu", 0)), samples)
    assert plain.seen == [None] * len(denoiser.seen)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_guidance_passes_s_on(scale: float) -> None:
    cond, null_cond = {"vector": torch.ones(4, 1)}, {"vector": torch.zeros(1, 1)}
    denoiser = Recorder()
    guided = ClassifierFreeGuidance(denoiser, scale, null_cond)
    guided(noise(), T, cond, s=S)
    guided(noise(), T, cond)
    assert denoiser.seen == [(S.tolist() * 2)[: 8 if scale == 3 else 4], None]
    DDIM().sample(guided, noise(), 1, cond)
    assert denoiser.seen[-1] == [0.0] * (8 if scale == 3 else 4)
    plain = Recorder()
    plain.takes_s = False
    ClassifierFreeGuidance(plain, scale, null_cond)(noise(), T, cond, s=S)
    assert plain.seen == [None]


def test_inpainting_passes_s_on() -> None:
    denoiser = Recorder()
    inpaint(DDIM(), denoiser, noise(), torch.ones(1), 2, generator=keyed_generator("cpu", 0))
    grid = DDIM().times(denoiser.schedule, 2).tolist()
    assert denoiser.seen == [[grid[1]] * 4, [0.0] * 4]


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "schedule").glob("*.yaml")), ids=lambda path: path.stem)
def test_ddim_with_the_exact_flow_map_is_exact_in_any_number_of_steps(path: Any) -> None:
    schedule = instantiate(composed(f"schedule={path.stem}")["schedule"])
    flow_map, data = gaussian_flow_map(schedule), gaussian_data(schedule)
    x_T = schedule.prior_std * noise()
    for num_steps, grid in itertools.product((1, 2, 3, 8, 50), (None, QuadraticGrid(), KarrasGrid())):
        sampler = DDIM(grid=grid)
        for state in sampler.trajectory(flow_map, x_T, num_steps):
            torch.testing.assert_close(state.x_t, data.flow(x_T, 1.0, state.t), rtol=0, atol=1e-10)
        # without s even many steps are not exact
        assert rms(sampler.sample(data, x_T, num_steps) - data.flow(x_T, 1.0, 0.0)) > 1e-3
    # clipping changes nothing where no estimate on the way is clipped
    data.std, flow_map.std = data.std / 50, flow_map.std / 50
    x = replace(DDIM(), clip_denoised=True).sample(flow_map, x_T, 2)
    torch.testing.assert_close(x, data.flow(x_T, 1.0, 0.0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_the_exact_flow_map_at_s_equal_to_t_is_the_best_denoiser(schedule: str) -> None:
    flow_map, data = gaussian_flow_map(SCHEDULES[schedule]), gaussian_data(SCHEDULES[schedule])
    torch.testing.assert_close(flow_map(noise(), T, None, T), data(noise(), T), rtol=0, atol=1e-12)
    torch.testing.assert_close(flow_map(noise(), T), data(noise(), T), rtol=0, atol=1e-12)
    # at t = 0 it is x_t itself
    torch.testing.assert_close(flow_map(noise(), 0 * T, None, 0 * T), noise(), rtol=0, atol=1e-12)
