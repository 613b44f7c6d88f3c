"""The mathematics of diffusion: schedules, noise, predictions, denoisers, objectives, guidance. It imports torch only.

An image x0 becomes noise as the time t goes from 0 to 1:

    x_t = alpha(t) x0 + sigma(t) noise,    noise ~ N(0, 1)    log_snr(t) = log(alpha(t)^2 / sigma(t)^2)

A network is trained to undo this. Each part of the method is a small class:

- `NoiseSchedule`: the function from t to the `Scales` alpha and sigma. Most schedules preserve the variance, alpha^2 + sigma^2
  = 1. The flow schedule is (1 - t, t), the EDM schedule (1, sigma_max t).
- `Prediction`: the meaning of the network's output, such as the noise, x0, v = alpha noise - sigma x0, or the velocity
  noise - x0. It gives the target of training, and computes x0_hat from an output.
- `Denoiser`: x0_hat(x_t, t, cond), the estimate of the image E[x0 | x_t], made of a network, a schedule and a prediction. With
  a network that takes a second time s it is also x0_hat(x_t, t, cond, s), the image that makes DDIM's step from t to s exact.
- `ExactDenoiser`: E[x0 | x_t] itself, where the data are a few given images.
- `Codec`: the way from uint8 images to x0 and back.
- `Objective`: the loss, which draws all that is random in it first. `DiffusionObjective` is weighting(t) * distance(output,
  target), with t drawn by a `TimeSampler` and the noise by a `Noise`.
- `ClassifierFreeGuidance`: a denoiser that combines the conditional and the unconditional x0_hat of another one.
  `AutoGuidance` combines those of two denoisers, `ClassifierGuidance` that of a denoiser with the gradient of a classifier.
- `TimeGrid`: the times 1 = t_0 > t_1 > ... > t_N = 0 at which a sampler calls the denoiser.

Samplers (`lightdiff.samplers`) see the denoiser only through x0_hat. Therefore every prediction works with every schedule and
every sampler, and a new one of either kind is one class.

Symbols: B images in a batch, C channels, H x W pixels. s is the time after t in sampling, so s < t. T is the number of timesteps
of a discrete schedule. Times, alpha and sigma have the shape (B,).
"""

from lightdiff.core.betas import cosine_betas, linear_betas, scaled_linear_betas, sigmoid_betas
from lightdiff.core.codec import Codec, PixelCodec
from lightdiff.core.consistency import ConsistencyObjective
from lightdiff.core.continuous import EDMSchedule, FlowSchedule
from lightdiff.core.denoiser import TIME_INPUTS, Condition, Denoiser, second_time
from lightdiff.core.diffusion import DiffusionObjective
from lightdiff.core.discrete import DiscreteSchedule
from lightdiff.core.distance import L1, MSE, Distance, Huber, PseudoHuber
from lightdiff.core.distillation import DistillationDraw, ProgressiveDistillation
from lightdiff.core.exact import ExactDenoiser
from lightdiff.core.few_step import FewStepDraw, FewStepObjective
from lightdiff.core.flow_map import FlowMapObjective, JumpDraw
from lightdiff.core.grid import (
    FlowTimeGrid,
    KarrasGrid,
    LeadingGrid,
    LogSNRGrid,
    QuadraticGrid,
    TimeGrid,
    TrailingGrid,
    UniformGrid,
)
from lightdiff.core.guidance import (
    AutoGuidance,
    AutoGuided,
    ClassifierFree,
    ClassifierFreeGuidance,
    ClassifierGuidance,
    ClassifierGuided,
    Combined,
    Guidance,
    Guides,
    NoGuidance,
    NoisyClassifier,
    OwnEntries,
    WeakDenoiser,
    classifier_input,
)
from lightdiff.core.input_perturbation import InputPerturbation
from lightdiff.core.jump_rules import DiscreteRule, JumpRule, Jumps, MeanFlowRule, ShortcutRule
from lightdiff.core.jumps import first_share, joined, jump
from lightdiff.core.log_variance import LearnedLogVariance
from lightdiff.core.noise import GaussianNoise, Noise, UniformNoise
from lightdiff.core.objective import Draw, Objective
from lightdiff.core.prediction import (
    EDMPrediction,
    EpsilonPrediction,
    FlowPrediction,
    Prediction,
    VPrediction,
    X0Prediction,
)
from lightdiff.core.randomness import BlockGenerator, keyed_generator, keyed_seed
from lightdiff.core.scales import LOG_SNR_BOUNDS, Scales
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.self_taught import SelfTaughtFlowMap
from lightdiff.core.shapes import per_image
from lightdiff.core.teacher import Teacher
from lightdiff.core.time_sampler import (
    DefaultTime,
    DiscreteUniformTime,
    LogitNormalTime,
    LogNormalSigmaTime,
    StratifiedTime,
    TimeSampler,
    UniformTime,
)
from lightdiff.core.weighting import (
    EDMWeighting,
    MinSNRWeighting,
    P2Weighting,
    SNRWeighting,
    TruncatedSNRWeighting,
    UnitWeighting,
    Weighting,
    X0Weighting,
)

__all__ = [
    "L1",
    "LOG_SNR_BOUNDS",
    "MSE",
    "TIME_INPUTS",
    "AutoGuidance",
    "AutoGuided",
    "BlockGenerator",
    "ClassifierFree",
    "ClassifierFreeGuidance",
    "ClassifierGuidance",
    "ClassifierGuided",
    "Codec",
    "Combined",
    "Condition",
    "ConsistencyObjective",
    "DefaultTime",
    "Denoiser",
    "DiffusionObjective",
    "DiscreteRule",
    "DiscreteSchedule",
    "DiscreteUniformTime",
    "Distance",
    "DistillationDraw",
    "Draw",
    "EDMPrediction",
    "EDMSchedule",
    "EDMWeighting",
    "EpsilonPrediction",
    "ExactDenoiser",
    "FewStepDraw",
    "FewStepObjective",
    "FlowMapObjective",
    "FlowPrediction",
    "FlowSchedule",
    "FlowTimeGrid",
    "GaussianNoise",
    "Guidance",
    "Guides",
    "Huber",
    "InputPerturbation",
    "JumpDraw",
    "JumpRule",
    "Jumps",
    "KarrasGrid",
    "LeadingGrid",
    "LearnedLogVariance",
    "LogNormalSigmaTime",
    "LogSNRGrid",
    "LogitNormalTime",
    "MeanFlowRule",
    "MinSNRWeighting",
    "NoGuidance",
    "Noise",
    "NoiseSchedule",
    "NoisyClassifier",
    "Objective",
    "OwnEntries",
    "P2Weighting",
    "PixelCodec",
    "Prediction",
    "ProgressiveDistillation",
    "PseudoHuber",
    "QuadraticGrid",
    "SNRWeighting",
    "Scales",
    "SelfTaughtFlowMap",
    "ShortcutRule",
    "StratifiedTime",
    "Teacher",
    "TimeGrid",
    "TimeSampler",
    "TrailingGrid",
    "TruncatedSNRWeighting",
    "UniformGrid",
    "UniformNoise",
    "UniformTime",
    "UnitWeighting",
    "VPrediction",
    "WeakDenoiser",
    "Weighting",
    "X0Prediction",
    "X0Weighting",
    "classifier_input",
    "cosine_betas",
    "first_share",
    "joined",
    "jump",
    "keyed_generator",
    "keyed_seed",
    "linear_betas",
    "per_image",
    "scaled_linear_betas",
    "second_time",
    "sigmoid_betas",
]
