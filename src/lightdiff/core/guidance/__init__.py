"""Guidance, which turns a denoiser into another denoiser that samples with more weight on what is asked for.

A `Guidance` holds the settings of one kind of guidance, as the group `guidance` of the configuration has them. Its method
`guided` applies them to a denoiser. A new kind is one subclass in a file of its own and one YAML file in conf/guidance.
"""

from lightdiff.core.guidance.auto import AutoGuidance, AutoGuided, WeakDenoiser
from lightdiff.core.guidance.base import ConditionOf, DenoiserFunction, Guidance, Guides, NoGuidance
from lightdiff.core.guidance.classifier import (
    LABEL,
    ClassifierGuidance,
    ClassifierGuided,
    NoisyClassifier,
    classifier_input,
)
from lightdiff.core.guidance.classifier_free import ClassifierFree, ClassifierFreeGuidance
from lightdiff.core.guidance.combined import Combined
from lightdiff.core.guidance.entries import OwnEntries, entries_of

__all__ = [
    "LABEL",
    "AutoGuidance",
    "AutoGuided",
    "ClassifierFree",
    "ClassifierFreeGuidance",
    "ClassifierGuidance",
    "ClassifierGuided",
    "Combined",
    "ConditionOf",
    "DenoiserFunction",
    "Guidance",
    "Guides",
    "NoGuidance",
    "NoisyClassifier",
    "OwnEntries",
    "WeakDenoiser",
    "classifier_input",
    "entries_of",
]
