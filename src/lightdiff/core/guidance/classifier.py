"""Guidance by a classifier of noisy images, which also gives a model without a condition a class to aim at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightdiff.core.denoiser import Condition, second_time
from lightdiff.core.frozen import Frozen
from lightdiff.core.guidance.base import ConditionOf, DenoiserFunction, Guidance, Guides, acts_at, check_interval
from lightdiff.core.scales import Scales
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.shapes import per_image

LABEL = "classifier.label"
"""Entry of a condition with the classes (B,), int64, that classifiers aim at. A label below 0 aims at nothing."""

ClassifierFunction = Callable[[Tensor, Tensor], Tensor]
"""Function (u (B, C, H, W), flow time (B,)) -> logits (B, K); see `classifier_input`."""


def classifier_input(x_t: Tensor, scales: Scales) -> Tensor:
    """Return u = alpha x_t / (alpha^2 + sigma^2), (B, C, H, W), in which form a classifier gets noisy images.

    u is the same for every schedule at the same noise level, it is the image where there is no noise, and it goes to 0 where
    there is nothing but noise. A classifier of u and the flow time sigma / (alpha + sigma) therefore serves every schedule.

    Args:
        x_t: noisy images (B, C, H, W).
        scales: exact scales (B,) of their schedule.
    """
    return per_image(scales.alpha / (scales.alpha**2 + scales.sigma**2), x_t) * x_t


class NoisyClassifier(Frozen[nn.Module]):
    """A frozen classifier of noisy images, and what is known of it.

    Args:
        module: the trained network, called as module(u (B, C, H, W), flow time (B,)) -> logits (B, K).
        class_names: names of the K classes.
        image_shape: shape (C, H, W) of the images.
    """

    def __init__(self, module: nn.Module, class_names: Sequence[str], image_shape: Sequence[int]) -> None:
        super().__init__(module)
        self.class_names, self.image_shape = tuple(class_names), tuple(image_shape)

    def __call__(self, u: Tensor, flow_time: Tensor) -> Tensor:
        """Return logits (B, K) for noisy images u (B, C, H, W) at flow times (B,)."""
        return self.at(u)(u, flow_time)


@dataclass(frozen=True)
class ClassifierGuided(Guidance):
    """Guidance by a classifier of noisy images; see `ClassifierGuidance` for the equations.

    Args:
        scale: 0 is no guidance, 1 what the laws of probability say, above 1 the class is exaggerated.
        classifier: the file of a classifier that was trained on noisy images (`train_classifier --noisy`).
        interval: (lowest, highest) time in [0, 1] at which guidance acts. None: it always acts.
        noisy_classifier: the classifier, which `loaded` gets from `classifier`.

    Raises:
        ValueError: scale is not a finite number, or interval is out of its range.
    """

    needs_condition: ClassVar[bool] = False
    needs_models: ClassVar[bool] = True

    classifier: str = field(kw_only=True)
    interval: Sequence[float] | None = None
    noisy_classifier: NoisyClassifier | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interval(self.interval)

    @property
    def acts(self) -> bool:
        return self.scale != 0

    @property
    def kind(self) -> str:
        return "classifier"

    @property
    def models(self) -> dict[str, Frozen[Any]]:
        return {} if self.noisy_classifier is None else {"classifier": self.noisy_classifier}

    def loaded(self, guides: Guides, key: str = "guidance") -> Guidance:
        if self.noisy_classifier is not None:
            return self
        return replace(self, noisy_classifier=guides.classifier(f"{key}.classifier", self.classifier))

    @property
    def class_names(self) -> tuple[str, ...]:
        return () if self.noisy_classifier is None else self.noisy_classifier.class_names

    def entries(self, condition_of: ConditionOf, labels: Tensor | None, like: Tensor) -> tuple[Condition, Condition]:
        if labels is None:
            return {}, {}
        return {LABEL: labels}, {LABEL: labels.new_tensor([-1])}

    def guided(self, denoiser: DenoiserFunction, null_cond: Condition | None) -> DenoiserFunction:
        assert self.noisy_classifier is not None
        return ClassifierGuidance(denoiser, self.noisy_classifier, self.scale, interval=self.interval)


class ClassifierGuidance:
    """A denoiser that a classifier guides towards a class (Dhariwal & Nichol 2021, arXiv:2105.05233, section 4, for x0_hat).

        guided = x0_hat + guidance_scale * (sigma^2 / alpha) * gradient of log p(label | x_t, t) with respect to x_t
               = x0_hat + guidance_scale * sigma^2 / (alpha^2 + sigma^2) * gradient of log p(label | u, t) with respect to u

    The second line holds because the classifier gets u = alpha x_t / (alpha^2 + sigma^2), and is finite also where alpha is 0.
    With the exact E[x0 | x_t] and the exact p(label | x_t) the scale 1 gives the exact E[x0 | x_t, label].

    It is called exactly like a `Denoiser`. Gradients are computed also where they are switched off, as in inference mode.

    Args:
        denoiser: the denoiser, called as denoiser(x_t, t, cond), and with s if it has takes_s = True.
        classifier: function (u (B, C, H, W), flow time sigma / (alpha + sigma) (B,)) -> logits (B, K), in the dtype of u.
        guidance_scale: 0 is no guidance; the classifier is then not called.
        interval: (lowest, highest) time at which guidance acts. None: it always acts.

    Raises:
        ValueError: interval is not two increasing times in [0, 1].
    """

    def __init__(
        self,
        denoiser: DenoiserFunction,
        classifier: ClassifierFunction,
        guidance_scale: float,
        *,
        interval: Sequence[float] | None = None,
    ) -> None:
        check_interval(interval)
        self.denoiser = denoiser
        self.classifier = classifier
        self.guidance_scale = guidance_scale
        self.interval = interval
        self.schedule: NoiseSchedule = denoiser.schedule  # type: ignore[attr-defined]
        self.value_range: tuple[float, float] | None = getattr(denoiser, "value_range", (-1.0, 1.0))
        self.takes_s: bool = getattr(denoiser, "takes_s", False)

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None, s: Tensor | None = None) -> Tensor:
        """Return the guided x0_hat (B, C, H, W).

        Args:
            x_t: noisy images (B, C, H, W).
            t: times (B,) in [0, 1].
            cond: condition of the B images, with the entry "classifier.label" (B,) int64. Where a label is below 0, the image is
                not guided.
            s: times (B,) where the jumps end, for a denoiser that takes them, or None.

        Raises:
            ValueError: cond has no entry "classifier.label".
        """
        plain = self.denoiser(x_t, t, cond, **second_time(self, s))
        acts = acts_at(self.interval, t)
        if self.guidance_scale == 0 or not acts.any():
            return plain
        if cond is None or LABEL not in cond:
            raise ValueError(f"cond={sorted(cond or {})}: the entry {LABEL} is expected, the classes to aim at")
        scales = self.schedule.exact(t)
        acts = acts.to(x_t.device) & (cond[LABEL] >= 0)
        share = self.guidance_scale * scales.sigma**2 / (scales.alpha**2 + scales.sigma**2) * acts
        return plain + per_image(share, x_t) * self._gradient(x_t, scales, cond[LABEL])

    def _gradient(self, x_t: Tensor, scales: Scales, label: Tensor) -> Tensor:
        """Return the gradient of log p(label | u, t) with respect to u, (B, C, H, W), in the dtype of x_t."""
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(x_t.device.type, enabled=False):
            # what was made in inference mode takes part in no gradient; copies made outside do
            u = classifier_input(x_t.clone(), Scales(scales.alpha.clone(), scales.sigma.clone()))
            u = u.detach().requires_grad_()
            flow_time, label = scales.flow_time.to(u.dtype), label.clamp(min=0)[:, None].clone()
            log_p = self.classifier(u, flow_time.clone()).log_softmax(1).gather(1, label)
            return torch.autograd.grad(log_p.sum(), u)[0]
