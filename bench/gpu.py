"""All that should be measured on a GPU first, in one command of a few minutes.

    python bench/gpu.py --minutes 8 --out gpu                     # every part, each within its share of the minutes
    python bench/gpu.py --parts cifar_gpu --minutes 9 --out gpu   # some; the others stay as they are in the folder
    python bench/gpu.py --device cpu --dry-run --out gpu          # tiny sizes, to see that everything works
    python bench/gpu.py --list                                    # the parts

It needs this folder, the packages that lightdiff needs, and a folder with MNIST and CIFAR-10. What is measured is written to the
folder `--out` at once, so that a stop loses nothing. What to carry to a machine without internet, and how to read the figures:
docs/gpu.md. Exit codes: 0 everything was measured, 1 a part failed or was stopped, 2 wrong arguments, 3 parts were left out.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

BEGAN = time.monotonic()
# a clone needs no installation
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
# libraries that ask for a GPU while they are imported must not use CUDA, which the copies of this process could not use then
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

import torch  # noqa: E402

from gpu_parts import PARTS  # noqa: E402
from gpu_parts.forks import Ended, in_fork  # noqa: E402
from gpu_parts.task import DRY, Sizes, Task, conclude, note_run  # noqa: E402
from parts.settings import Settings, Skipped  # noqa: E402

GRACE = 10.0
"""Seconds for which a part may go on after its share is over, before it is stopped."""


def chosen(text: str) -> list[str]:
    """Names of `--parts`, in the order in which they run."""
    names = {name.strip() for name in text.split(",") if name.strip()}
    unknown = names - PARTS.keys()
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: choices: {', '.join(PARTS)}")
    return [name for name in PARTS if name in names]


def parser() -> argparse.ArgumentParser:
    default = Settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say = parser.add_argument
    say("--minutes", type=float, default=8.0, help="for everything, from the start of the command (default: 8)")
    say("--parts", type=chosen, default=list(PARTS), help="names, as in peak,speed (default: all)")
    say("--out", type=Path, default=Path("gpu"), help="folder for gpu.json, gpu.md, pictures and small weights")
    say("--data-dir", type=Path, default=default.data_dir, help="folder with MNIST and CIFAR-10")
    say("--device", choices=("cuda", "cpu"), default="cuda")
    say("--dry-run", action="store_true", help="small networks on the embedded digits; no figure means anything")
    say("--seed", type=int, default=default.seed)
    say("--list", action="store_true", help="only print the parts")
    return parser


def settings_of(arguments: argparse.Namespace) -> Settings:
    """What the parts that bench/run.py shares are told."""
    dry = arguments.dry_run
    return Settings(
        device=arguments.device,
        threads=torch.get_num_threads(),
        repeats=1 if dry else 3,
        lap_seconds=0.0 if dry else 0.5,
        batch=2 if dry else 256,
        seed=arguments.seed,
        data_dir=arguments.data_dir.absolute(),
    )


def measure(names: list[str], settings: Settings, sizes: Sizes, out: Path, minutes: float) -> int:
    """Run parts one after the other, each in a copy of this process; return the exit code."""
    whole, words = minutes * 60, []
    ends = BEGAN + whole
    for name in names:
        # imported once, and not in each copy
        PARTS[name].load()
    asked = in_fork(partial(facts_of, settings), whole)
    if asked.word != "measured":
        print(f"error: --device {settings.device}: {asked.reason}; choices: cuda, cpu", file=sys.stderr)
        return 2
    note_run(out, sizes, minutes)
    for name in names:
        part, left = PARTS[name], ends - time.monotonic()
        print(f"{name}: {part.title}", flush=True)
        if left < part.least and not sizes.dry:
            ended = Ended("left out", f"{left:.0f} s are left, and it needs {part.least:.0f} s", 0.0)
        else:
            seconds = left if sizes.dry else min(left - GRACE, part.share * whole)
            task = Task(name, settings, sizes, out, time.monotonic() + seconds, asked.value)
            ended = in_fork(partial(run_part, task), min(left, seconds + GRACE))
        words.append(ended.word)
        print(conclude(out, name, str(ended), ended.seconds) + "\n", flush=True)
    print(f"{(time.monotonic() - BEGAN) / 60:.1f} minutes; everything is in the folder {out}", flush=True)
    return 1 if {"failed", "stopped"} & {*words} else 3 if "left out" in words else 0


def facts_of(settings: Settings) -> dict[str, Any]:
    """Return what all figures depend on.

    Raises:
        Skipped: the device is not there.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise Skipped("there is no GPU here that torch can use")
    return settings.facts()


def run_part(task: Task) -> None:
    """Measure a part, in a process that has not used CUDA yet."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    task.write([])
    PARTS[task.name].load()(task)


def leave(number: int, frame: FrameType | None) -> None:
    """End this process and its copies after a signal."""
    raise SystemExit(128 + number)


def main() -> int:
    arguments = parser().parse_args()
    if arguments.list:
        print("\n".join(f"{name:12} {part.title}" for name, part in PARTS.items()))
        return 0
    if arguments.minutes <= 0:
        print(f"error: --minutes {arguments.minutes}: a number above 0 is expected", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, leave)
    sizes = DRY if arguments.dry_run else Sizes()
    return measure(arguments.parts, settings_of(arguments), sizes, arguments.out.absolute(), arguments.minutes)


if __name__ == "__main__":
    raise SystemExit(main())
