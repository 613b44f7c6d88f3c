"""The diffusion core: schedules, noise, predictions, losses, guidance. Needs torch only.

Time `t` is a number in [0, 1]; t = 0 is clean, t = 1 is noise; x_t = alpha(t) * x0 + sigma(t) * noise. x0 is the only hub: a
prediction turns a network's output into x0_hat, a sampler knows only x0_hat.
"""

from lightdiff.core.betas import cosine_betas, linear_betas, scaled_linear_betas, sigmoid_betas
from lightdiff.core.continuous import EDMSchedule, FlowSchedule
from lightdiff.core.denoiser import TIME_INPUTS, Condition, Denoiser
from lightdiff.core.discrete import DiscreteSchedule
from lightdiff.core.distance import L1, MSE, Distance, Huber
from lightdiff.core.grid import KarrasGrid, LeadingGrid, LogSNRGrid, QuadraticGrid, TimeGrid, TrailingGrid, UniformGrid
from lightdiff.core.guidance import ClassifierFreeGuidance
from lightdiff.core.loss import DiffusionLoss, Objective
from lightdiff.core.noise import GaussianNoise, Noise, UniformNoise
from lightdiff.core.prediction import (
    EDMPrediction,
    EpsilonPrediction,
    FlowPrediction,
    Prediction,
    VPrediction,
    X0Prediction,
)
from lightdiff.core.randomness import BlockGenerator, keyed_generator, keyed_seed
from lightdiff.core.schedule import LOG_SNR_BOUNDS, NoiseSchedule
from lightdiff.core.shapes import per_image
from lightdiff.core.time_sampler import (
    DiscreteUniformTime,
    LogitNormalTime,
    LogNormalSigmaTime,
    StratifiedTime,
    TimeSampler,
    UniformTime,
)
from lightdiff.core.weighting import EDMWeighting, MinSNRWeighting, SNRWeighting, UnitWeighting, Weighting, X0Weighting

__all__ = [
    "L1",
    "LOG_SNR_BOUNDS",
    "MSE",
    "TIME_INPUTS",
    "BlockGenerator",
    "ClassifierFreeGuidance",
    "Condition",
    "Denoiser",
    "DiffusionLoss",
    "DiscreteSchedule",
    "DiscreteUniformTime",
    "Distance",
    "EDMPrediction",
    "EDMSchedule",
    "EDMWeighting",
    "EpsilonPrediction",
    "FlowPrediction",
    "FlowSchedule",
    "GaussianNoise",
    "Huber",
    "KarrasGrid",
    "LeadingGrid",
    "LogNormalSigmaTime",
    "LogSNRGrid",
    "LogitNormalTime",
    "MinSNRWeighting",
    "Noise",
    "NoiseSchedule",
    "Objective",
    "Prediction",
    "QuadraticGrid",
    "SNRWeighting",
    "StratifiedTime",
    "TimeGrid",
    "TimeSampler",
    "TrailingGrid",
    "UniformGrid",
    "UniformNoise",
    "UniformTime",
    "UnitWeighting",
    "VPrediction",
    "Weighting",
    "X0Prediction",
    "X0Weighting",
    "cosine_betas",
    "keyed_generator",
    "keyed_seed",
    "linear_betas",
    "per_image",
    "scaled_linear_betas",
    "sigmoid_betas",
]
