"""Peak memory of a process that trains two steps of one side, as one line of JSON. Started by part g."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from pathlib import Path

import torch
from pytorch_lightning import Callback, Trainer

from lightdiff.config.build import build_data
from parts.ours import ENDLESS, composed, run
from parts.rivals import MATCHES
from parts.settings import Settings
from parts.training import Way, plain_step, tutorial_step


class AfterTwo(Callback):
    """Ends a run after its second step."""

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        trainer.should_stop = trainer.global_step >= 2


def train(side: str, settings: Settings) -> None:
    """Two steps of ours or tutorial (the tutorial's UNet), of SIDE:NAME (a network of part b, by its side)."""
    who, _, package = side.partition(":")
    if package:
        match = MATCHES[package]
        build = {**match.our_networks(), "theirs": match.theirs}[who]
        step = plain_step(build, settings, Way(settings.fast_dtype))
    else:
        config = composed(settings, *ENDLESS)
        config["dataset"]["batch_size"] = settings.batch
        if who == "ours":
            run(config, AfterTwo())
            return
        data = build_data(config)
        data.setup()
        step = tutorial_step(data, settings.device, config["model"]["widths"])
    for _ in range(2):
        step()


def resident_peak() -> float:
    """MiB. Linux: of this program alone; getrusage would count what the process that started it held."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("side")
    parser.add_argument("batch", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--data-dir", type=Path, default=Settings().data_dir)
    parser.add_argument("--ours", nargs="*", default=[])
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    settings = Settings(
        device=told.device, threads=told.threads, batch=told.batch, data_dir=told.data_dir, ours=tuple(told.ours)
    )
    train(told.side, settings)
    peak = resident_peak() if told.device == "cpu" else torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps({"side": told.side, "batch": told.batch, "MiB": round(peak, 1)}))


if __name__ == "__main__":
    main()
