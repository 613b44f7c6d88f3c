"""The frozen teacher: its estimate at any schedule's times, its guidance, and that nothing of it is trained or saved."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from lightdiff.conditioning import LabelConditioner
from lightdiff.core import (
    ConsistencyObjective,
    Denoiser,
    Draw,
    FewStepDraw,
    FlowMapObjective,
    FlowSchedule,
    NoiseSchedule,
    ProgressiveDistillation,
    Teacher,
    VPrediction,
    keyed_generator,
)
from lightdiff.networks import UNet
from oracles import SCHEDULES, GaussianDenoiser, gaussian_data, noise, times

T = times(0.15, 0.4, 0.7, 0.9)
SHAPE = (4, 1, 2, 3)


@pytest.mark.parametrize("name", SCHEDULES)
def test_with_the_same_schedule_it_is_the_denoiser_bit_for_bit(name: str) -> None:
    schedule = SCHEDULES[name]
    denoiser = GaussianDenoiser(schedule)
    for dtype, t in product((torch.float32, torch.float64), (T, times(0.0, 1.0, 0.001, 0.999))):
        x_t, t = noise().to(dtype), t.to(dtype)
        found = Teacher(denoiser)(x_t, t, schedule.exact(t))
        assert torch.equal(found, denoiser(x_t, t))


@pytest.mark.parametrize(("theirs", "ours"), list(product(SCHEDULES, SCHEDULES)))
def test_with_another_schedule_its_estimate_is_the_same(theirs: str, ours: str) -> None:
    # noise levels that all schedules have
    t = SCHEDULES[ours].t_from_flow_time(times(0.05, 0.4, 0.7, 0.9))
    at_t = SCHEDULES[ours].exact(t)
    x_t = at_t.mix(noise(), noise(seed=1))
    found = Teacher(GaussianDenoiser(SCHEDULES[theirs]))(x_t, t, at_t)
    torch.testing.assert_close(found, gaussian_data(SCHEDULES[ours])(x_t, t), rtol=0, atol=1e-10)


def test_more_noise_than_the_teacher_knows_is_the_most_that_it_knows() -> None:
    linear, one = SCHEDULES["linear"], times(1.0)
    found = Teacher(GaussianDenoiser(linear))(noise(1), one, SCHEDULES["flow"].exact(one))
    last = linear.exact(one)
    expected = gaussian_data(linear)((last.alpha + last.sigma) * noise(1), one)
    torch.testing.assert_close(found, expected)


def conditional(schedule: NoiseSchedule) -> GaussianDenoiser:
    """The denoiser whose x0_hat is shifted by a number for each of two labels, and by another for no label."""
    denoiser = GaussianDenoiser(schedule, LabelConditioner(2, cond_dim=1)).double()
    with torch.no_grad():
        denoiser.conditioner.table.weight.copy_(torch.tensor([[0.3], [-0.2], [0.05]]))  # type: ignore[union-attr]
    return denoiser


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guidance_is_its_closed_form_with_the_teachers_own_null_condition(scale: float) -> None:
    schedule = SCHEDULES["cosine"]
    teacher = Teacher(conditional(schedule), scale)
    labels, drop = torch.tensor([0, 1, 1, 0]), torch.tensor([False, False, True, True])
    cond = teacher.condition(labels, drop, noise())
    found = teacher(noise(), T, schedule.exact(T), cond)
    shift = torch.where(drop, 0.05, torch.tensor([0.3, -0.2]).double()[labels])
    expected = gaussian_data(schedule)(noise(), T) + (0.05 + scale * (shift - 0.05))[:, None, None, None]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


@dataclass(frozen=True)
class OtherDraw(FewStepDraw):
    s: Tensor


def test_a_draw_may_hold_conditions_and_nothing() -> None:
    draw = OtherDraw(T, noise(), s=T / 2, teacher_cond={"vector": noise()[:, 0, 0], "mask": T})
    rows = draw.rows(slice(1, None, 2)).to(torch.device("cpu"))
    assert torch.equal(rows.t, T[1::2]) and torch.equal(rows.s, T[1::2] / 2)
    assert rows.teacher_cond is not None
    assert torch.equal(rows.teacher_cond["vector"], noise()[1::2, 0, 0]) and torch.equal(
        rows.teacher_cond["mask"], T[1::2]
    )
    assert FewStepDraw(T, noise()).rows(slice(2)).to(torch.device("cpu")).teacher_cond is None


def test_without_a_conditional_teacher_a_draw_stays_as_it_is() -> None:
    objective, draw = ConsistencyObjective(), FewStepDraw(T, noise())
    inputs, drop = torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.bool)
    assert objective.conditioned(draw, inputs, drop) is draw
    objective.learn_from(GaussianDenoiser(SCHEDULES["flow"]))
    assert objective.conditioned(draw, inputs, drop).teacher_cond is None  # type: ignore[attr-defined]


def network_denoiser(seed: int = 0, conditioner: LabelConditioner | None = None) -> Denoiser:
    torch.manual_seed(seed)
    network = UNet(
        channels=1, image_size=8, widths=(4, 4), attention_levels=(), num_heads=1, cond_dim=4 if conditioner else None
    )
    return Denoiser(network, FlowSchedule(), VPrediction(), conditioner)


def test_it_is_a_frozen_copy_that_is_no_part_of_the_objective() -> None:
    source = network_denoiser()
    objective = ConsistencyObjective(ratios=[0.5])
    objective.learn_from(source)
    assert objective.frozen is not None
    before = {name: weight.clone() for name, weight in source.state_dict().items()}
    assert source.training and all(weight.requires_grad for weight in source.parameters())
    assert not objective.state_dict() and not list(objective.parameters()) and len(list(objective.modules())) == 1
    assert not objective.frozen.denoiser.training

    student = network_denoiser(seed=1)
    x0 = torch.randn(4, 1, 8, 8, generator=keyed_generator("cpu", 0))
    objective(student, x0, generator=keyed_generator("cpu", 1)).mean().backward()
    assert all(weight.grad is not None for weight in student.parameters())
    assert all(weight.grad is None and not weight.requires_grad for weight in objective.frozen.denoiser.parameters())
    # neither training the teacher's source on nor training the student reaches the copy
    torch.optim.SGD(student.parameters(), lr=1.0).step()
    with torch.no_grad():
        next(source.parameters()).add_(1)
    kept = objective.frozen.denoiser.state_dict()
    assert all(torch.equal(kept[name], weight) for name, weight in before.items())
    objective.double()
    assert all(weight.dtype == torch.float32 for weight in objective.frozen.denoiser.parameters())


def test_it_follows_the_images_to_their_type_also_from_inference_mode() -> None:
    teacher = Teacher(network_denoiser())
    x_t, t, schedule = torch.randn(4, 1, 8, 8).double(), T.float(), FlowSchedule()
    with torch.inference_mode():
        assert teacher(x_t, t, schedule.exact(t)).dtype == torch.float64
    assert not any(weight.is_inference() for weight in teacher.denoiser.parameters())
    assert teacher(x_t.bfloat16(), t, schedule.exact(t)).dtype == torch.bfloat16


def test_the_same_weights_have_the_same_sha256() -> None:
    first, again, other = (Teacher(network_denoiser(seed)) for seed in (0, 0, 1))
    assert first.sha256 == again.sha256 != other.sha256
    assert len(first.sha256) == 64
    nearly = network_denoiser()
    with torch.no_grad():
        next(nearly.parameters()).view(-1)[0] += 1e-6
    assert Teacher(nearly).sha256 != first.sha256


@pytest.mark.parametrize("ratio", [0.0, 0.75])
def test_small_steps_go_towards_the_teachers_estimate(ratio: float) -> None:
    """The exact consistency function of Gaussian data has the loss 0 with the exact teacher only in the limit of small steps;
    with ratio 0 it is the teacher itself that has the loss 0."""
    schedule = SCHEDULES["flow"]
    objective = ConsistencyObjective(ratios=[ratio])
    teacher = GaussianDenoiser(schedule)
    objective.learn_from(teacher)
    x0 = noise(seed=3)
    draw = FewStepDraw(T, noise())
    losses = objective.losses(teacher, teacher, x0, draw)
    if ratio == 0:
        assert losses.max() < 1e-14
    else:
        at_t, at_r = schedule.exact(T), schedule.exact(0.75 * T)
        x_t = at_t.mix(x0, draw.noise)
        towards = teacher.data(x_t, T)
        x_r = at_r.mix(towards, (x_t - at_t.per_image(x_t).alpha * towards) / at_t.per_image(x_t).sigma)
        target = teacher.data(x_r, 0.75 * T)
        expected = objective.compared(teacher, teacher(x_t, T), target, at_t, T.dtype)
        torch.testing.assert_close(losses, expected, rtol=1e-9, atol=1e-12)
        assert losses.min() > 1e-6


def test_two_processes_compute_what_one_does() -> None:
    """Each row is that of the whole batch, and so is the mean of the gradients."""
    torch.manual_seed(2)
    objective = ConsistencyObjective(ratios=[0.75], guidance_scale=2.0)
    student = network_denoiser(1, LabelConditioner(3, cond_dim=4)).double()
    objective.learn_from(network_denoiser(0, LabelConditioner(3, cond_dim=4)))
    x0 = torch.randn(6, 1, 8, 8, generator=keyed_generator("cpu", 0)).double()
    labels, drop = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([False, True, False, False, False, True])
    whole = objective.draw(x0.shape, student.schedule, keyed_generator("cpu", 1), torch.float64)

    def gradients(rows: slice) -> list[Tensor]:
        student.zero_grad()
        draw: Draw = objective.conditioned(whole.rows(rows), labels[rows], drop[rows])
        assert student.conditioner is not None
        cond = student.conditioner(labels[rows], drop[rows])
        objective.losses(student, student, x0[rows], draw, cond).mean().backward()
        return [weight.grad.clone() for weight in student.parameters() if weight.grad is not None]

    both = zip(gradients(slice(0, None, 2)), gradients(slice(1, None, 2)), strict=True)
    means = [(left + right) / 2 for left, right in both]
    torch.testing.assert_close(means, gradients(slice(None)), rtol=1e-9, atol=1e-12)


class OneWay(FlowSchedule):
    """A schedule without an inverse."""

    _time_of = NoiseSchedule._time_of


@pytest.mark.parametrize("name", ["consistency", "flow_map", "progressive_distillation"])
def test_a_schedule_without_an_inverse_is_refused_before_training_alone(name: str) -> None:
    objective = {
        "consistency": ConsistencyObjective,
        "flow_map": FlowMapObjective,
        "progressive_distillation": ProgressiveDistillation,
    }[name]()
    objective.check(VPrediction(), OneWay())
    objective.learn_from(GaussianDenoiser(SCHEDULES["flow"]))
    message = (
        rf"objective={name}: it needs a schedule with an inverse \(t_from_log_snr\), which OneWay does not have; "
        "choices: DiscreteSchedule, .*FlowSchedule.*, or another objective"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        objective.check_training(Denoiser(nn.Identity(), OneWay(), VPrediction()))


def test_refused() -> None:
    flow = SCHEDULES["flow"]
    objective = ConsistencyObjective(guidance_scale=2.0)
    student = network_denoiser()
    with pytest.raises(ValueError, match=r"^guidance_scale=2.0: it guides the teacher, and teacher=null"):
        objective.check_training(student)
    with pytest.raises(ValueError, match=r"^guidance_scale=2.0: the teacher has no condition"):
        objective.learn_from(GaussianDenoiser(flow))
    with pytest.raises(ValueError, match=r"^teacher=old: it is not loaded"):
        ConsistencyObjective(teacher="old").check_training(student)
    with pytest.raises(ValueError, match=r"^guidance_scale=nan"):
        ConsistencyObjective(guidance_scale=float("nan"))
    with pytest.raises(ValueError, match="teacher: it needs a condition"):
        Teacher(conditional(flow))(noise(), T, flow.exact(T))

    with pytest.raises(ValueError, match="teacher: OneWay has no inverse"):
        Teacher(GaussianDenoiser(OneWay()))
