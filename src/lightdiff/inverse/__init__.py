"""Inverse problems: images of which a measurement y = A x0 + noise is known. It imports torch and `lightdiff.core` only.

- `LinearOperator`: A and its adjoint as functions. `Inpaint`, `SuperResolution`, `Blur`, `ColourRemoval` and
  `CompressedSensing` also solve (A A^T + ridge I) v = y in closed form.
- `Measurement`: a denoiser that knows y. `DPS`, `PiGDM`, `MomentMatching` and `DiffPIR` wrap any denoiser, guided or not, and
  are called exactly like one, so that every sampler and every schedule works.
"""

from lightdiff.inverse.diffpir import DiffPIR
from lightdiff.inverse.dps import DPS
from lightdiff.inverse.measurement import GradientMeasurement, Measurement
from lightdiff.inverse.operator import LinearOperator
from lightdiff.inverse.operators import Blur, ColourRemoval, CompressedSensing, Inpaint, SuperResolution
from lightdiff.inverse.pigdm import MomentMatching, PiGDM

__all__ = [
    "DPS",
    "Blur",
    "ColourRemoval",
    "CompressedSensing",
    "DiffPIR",
    "GradientMeasurement",
    "Inpaint",
    "LinearOperator",
    "Measurement",
    "MomentMatching",
    "PiGDM",
    "SuperResolution",
]
