"""Part f: minutes from the start of the command until images come within a feature distance of real ones.

Ours is `python train.py experiment=mnist_fast`, whole: imports, loading, validation and pictures while training count. A watcher
copies its last.ckpt whenever it is new. The packages train as parts/recipes.py says, for the same minutes. All snapshots are
sampled afterwards, with equally many images and steps of ddim, once without noise on the way (eta 0) and once with that of
ancestral sampling (eta 1), and judged by the same distance; the better of the two counts, for each side.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightdiff.model import Generation, load_model
from lightdiff.networks import DiffusersUNet2D
from lightdiff.samplers import DDIM
from lightdiff.utils.images import to_uint8
from parts.measure import FeatureDistance
from parts.recipes import SIDE, denoising_diffusion_model, write_images
from parts.results import Row
from parts.rivals import MATCHES, diffusers_images, there
from parts.settings import ROOT, Settings, Skipped

ETAS = (0.0, 1.0)
"""Of ddim: noise added on the way."""
Curve = list[tuple[float, float]]
"""(seconds of training, feature distance), in the order of time."""


def race(settings: Settings, steps: int = 20, chunk: int = 128) -> list[Row]:
    """Part f.

    Args:
        settings: minutes, snapshots, samples, marks, overrides of ours.
        steps: of ddim, for all.
        chunk: images at a time.
    """
    for line in there(*(match.package for match in MATCHES.values())):
        print(f"left out: {line}", flush=True)
    samples = settings.samples or 1000
    trained = {"ours": train_ours(settings)}
    seconds = settings.minutes * 60 if settings.minutes else max(trained["ours"])
    for name in settings.packages or MATCHES:
        try:
            MATCHES[name].package()
        except Skipped:
            continue
        trained[name] = train_package(name, seconds, settings)
    distances = {
        "ours": FeatureDistance(settings, image_size=28, resize_mode="none"),
        "theirs": FeatureDistance(settings, image_size=SIDE, resize_mode="pad"),
    }
    curves: dict[str, Curve] = {}
    each: dict[str, list[list[float]]] = {}
    for name, snapshots in trained.items():
        draw, distance = DRAW[name], distances["ours" if name == "ours" else "theirs"]
        curves[name], each[name] = [], []
        for at, file in sorted(snapshots.items()):
            found = [distance(draw(file, samples, steps, eta, chunk, settings)) for eta in ETAS]
            curves[name].append((at, min(found)))
            each[name].append(found)
            print(f"{name}: {at / 60:.1f} minutes, feature distance {found} with eta {ETAS}", flush=True)
    protocol = f"{samples} images, ddim, {steps} steps, the better eta of {ETAS}"
    return rows_of(curves, settings.marks, {"protocol": protocol, "by_eta": each})


def rows_of(curves: dict[str, Curve], marks: tuple[float, ...], facts: Mapping[str, Any]) -> list[Row]:
    """Minutes to each mark, None where it was not reached, and the last distance of each side.

    Args:
        curves: of each side.
        marks: feature distances.
        facts: how the curves were found: their `protocol`, in words, and what else is to be kept.
    """
    details = {"curves": curves, **facts}
    rows = [
        Row(
            f"to a feature distance below {mark:g}",
            "minutes",
            {name: reached(curve, mark) for name, curve in curves.items()},
        )
        for mark in marks
    ]
    last = {name: curve[-1] for name, curve in curves.items() if curve}
    return [
        *rows,
        Row(
            f"at the end; {facts['protocol']}",
            "feature distance",
            {name: at[1] for name, at in last.items()},
            details=details,
        ),
        Row("training", "minutes", {name: at[0] / 60 for name, at in last.items()}),
    ]


def reached(curve: Curve, mark: float) -> float | None:
    """Minutes of the first snapshot below the mark; None: never."""
    return next((seconds / 60 for seconds, distance in curve if distance < mark), None)


def train_ours(settings: Settings) -> dict[float, Path]:
    """Run train.py; its checkpoints by the seconds after which they were complete."""
    folder = fresh(settings.work / "ours")
    command = [
        *(sys.executable, "train.py", "experiment=mnist_fast", f"seed={settings.seed}", f"log_dir={folder / 'runs'}"),
        *(
            f"dataset.data_dir={settings.data_dir}",
            f"trainer.accelerator={'cpu' if settings.device == 'cpu' else 'gpu'}",
        ),
        *settings.ours,
    ]
    start = time.time()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=settings.environment(), stdout=log, stderr=log)
        try:
            return watch(process, start, folder, settings.minutes)
        finally:
            if process.poll() is None:
                process.kill()


def watch(process: subprocess.Popen[bytes], start: float, folder: Path, minutes: float | None) -> dict[float, Path]:
    """Copy each new last.ckpt until the process ends, which it is asked to when its minutes are over."""
    snapshots: dict[float, Path] = {}
    seen, asked = 0.0, False
    while True:
        over = process.poll() is not None
        for last in (folder / "runs").glob("*/version_*/checkpoints/last.ckpt"):
            written = last.stat().st_mtime
            if written > seen:
                seen, at = written, written - start
                snapshots[at] = Path(shutil.copyfile(last, folder / f"{at:09.1f}.ckpt"))
        if over:
            break
        if minutes and not asked and time.time() - start > minutes * 60:
            process.send_signal(signal.SIGTERM)  # it saves and ends
            asked = True
        time.sleep(0.2)
    if process.returncode == 143 and not snapshots:
        raise RuntimeError(f"train.py wrote no checkpoint in {minutes} minutes: see {folder / 'log.txt'}")
    if process.returncode not in (0, 143) or not snapshots:
        raise RuntimeError(f"train.py ended with exit code {process.returncode}: see {folder / 'log.txt'}")
    return snapshots


def train_package(name: str, seconds: float, settings: Settings) -> dict[float, Path]:
    """Run its recipe; its snapshots by their seconds."""
    write_images(settings.work / "digits", settings.data_dir)
    folder = fresh(settings.work / name)
    options = {
        "seconds": seconds,
        "count": settings.snapshots,
        **{key: getattr(settings, key) for key in ("device", "threads", "seed", "data_dir", "work")},
        "start": time.time(),
    }
    command = [sys.executable, "-m", "parts.recipes", name]
    for key, value in options.items():
        command += [f"--{key.replace('_', '-')}", str(value)]
    with (folder / "log.txt").open("w") as log:
        code = subprocess.run(command, cwd=ROOT, env=settings.environment(), stdout=log, stderr=log).returncode
    files = sorted((folder / "snapshots").glob("*.pt"))
    if code or not files:
        raise RuntimeError(f"{name} ended with exit code {code}: see {folder / 'log.txt'}")
    return {float(file.stem): file for file in files}


def fresh(folder: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def our_images(file: Path, samples: int, steps: int, eta: float, chunk: int, settings: Settings) -> Tensor:
    model = load_model(file, map_location=settings.device)
    precision, sampler = list(settings.dtypes)[-1], DDIM(eta=eta, clip_denoised=True)
    generation = Generation.of(model, sampler=sampler, num_steps=steps, seed=settings.seed, precision=precision)
    return to_uint8(generation.images(model, range(samples), batch_size=chunk)).cpu()


@torch.inference_mode()
def in_chunks(draw: Callable[[int], Tensor], samples: int, chunk: int, settings: Settings) -> Tensor:
    """Images in [-1, 1] of `draw(count)`, rounded to uint8."""
    torch.manual_seed(settings.seed)
    dtype, parts = settings.fast_dtype, []
    for start in range(0, samples, chunk):
        with torch.autocast(settings.device, dtype, enabled=dtype is not None):
            parts.append(to_uint8(draw(min(chunk, samples - start))).cpu())
    return torch.cat(parts)


def denoising_images(file: Path, samples: int, steps: int, eta: float, chunk: int, settings: Settings) -> Tensor:
    model = denoising_diffusion_model(steps, eta).to(settings.device).eval()
    model.load_state_dict(torch.load(file, weights_only=True, map_location=settings.device))
    return in_chunks(lambda count: model.sample(batch_size=count).float() * 2 - 1, samples, chunk, settings)


def images_of_diffusers(file: Path, samples: int, steps: int, eta: float, chunk: int, settings: Settings) -> Tensor:
    network = DiffusersUNet2D().to(settings.device).eval()
    network.load_state_dict(torch.load(file, weights_only=True, map_location=settings.device))

    def draw(count: int) -> Tensor:
        noise = torch.randn(count, 1, SIDE, SIDE, device=settings.device)
        return diffusers_images(network.unet, "ddim", noise, steps, eta=eta)

    return in_chunks(draw, samples, chunk, settings)


DRAW = {"ours": our_images, "denoising-diffusion-pytorch": denoising_images, "diffusers": images_of_diffusers}
