"""Evaluation: features of real and generated images, metrics that compare them, and the protocol that makes figures comparable.

real images --extractor--> reference (kept) ---.
model --sampler--> images --extractor--> features --metric--> values
"""

from lightdiff.metrics.accuracy import PromptAccuracy, SyntheticAccuracy
from lightdiff.metrics.base import Generated, Metric, Real, Value
from lightdiff.metrics.distances import FID, KID, Inception, PrecisionRecall
from lightdiff.metrics.evaluation import Evaluation, Outcome
from lightdiff.metrics.extractor import ClassifierExtractor, FeatureExtractor, Features
from lightdiff.metrics.inception import InceptionExtractor
from lightdiff.metrics.measure import measure
from lightdiff.metrics.reference import Reference
from lightdiff.metrics.results import Results, lines

__all__ = [
    "FID",
    "KID",
    "ClassifierExtractor",
    "Evaluation",
    "FeatureExtractor",
    "Features",
    "Generated",
    "Inception",
    "InceptionExtractor",
    "Metric",
    "Outcome",
    "PrecisionRecall",
    "PromptAccuracy",
    "Real",
    "Reference",
    "Results",
    "SyntheticAccuracy",
    "Value",
    "lines",
    "measure",
]
