"""What every part is told, and what it says of the machine."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent.parent
INSTALL = "pip install -e '.[bench]'"


class Skipped(RuntimeError):
    """A part, or a side of it, that cannot run here; the message says what it needs."""


@dataclass(frozen=True)
class Settings:
    """Options of bench/run.py.

    Args:
        device: cpu or cuda.
        threads: of PyTorch, in this process and in those it starts.
        repeats: rounds; every figure is a median over them.
        lap_seconds: each side repeats its step until a lap takes about so long.
        batch: images a step, where a part does not take it from a recipe.
        seed: of weights and noise.
        data_dir: folder of the data sets.
        samples: images drawn for a feature distance; None: 2,000 (part h) or 5,000 (part i).
        ours: overrides of train.py on our side, after those of the part.
        compiled: let torch.compile compete in part b.
    """

    device: str = "cpu"
    threads: int = 1
    repeats: int = 7
    lap_seconds: float = 2.0
    batch: int = 16
    seed: int = 0
    data_dir: Path = ROOT / "data"
    samples: int | None = None
    ours: tuple[str, ...] = ()
    compiled: bool = False

    def synchronize(self) -> None:
        """Wait for what the device has been given to do."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()

    @property
    def fast_dtype(self) -> torch.dtype | None:
        """bfloat16 where the device has units for it."""
        if self.device.startswith("cuda"):
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
        asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return torch.bfloat16 if any(getattr(torch.cpu, name, bool)() for name in asked) else None

    @property
    def dtypes(self) -> dict[str, torch.dtype | None]:
        """Precisions that sides are compared at: names of trainer.precision, and the type that products are computed in."""
        return {"32-true": None, **({"bf16-mixed": self.fast_dtype} if self.fast_dtype else {})}

    def environment(self) -> dict[str, str]:
        """That of a process started by a part."""
        path = os.pathsep.join(filter(None, [str(ROOT / "src"), str(ROOT / "bench"), os.environ.get("PYTHONPATH")]))
        return {
            **os.environ,
            "OMP_NUM_THREADS": str(self.threads),
            "MKL_NUM_THREADS": str(self.threads),
            "PYTHONPATH": path,
        }

    def facts(self) -> dict[str, Any]:
        """What a figure depends on besides the code."""
        return {
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": processor() if self.device == "cpu" else torch.cuda.get_device_name(),
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": self.device,
            "threads": self.threads,
            "repeats": self.repeats,
            "lap_seconds": self.lap_seconds,
            "seed": self.seed,
            "ours": list(self.ours),
            "load_average_before": round(os.getloadavg()[0], 2),
        }


def processor() -> str:
    """Name of the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
