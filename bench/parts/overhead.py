"""Part g: memory, start-up, the time of a checkpoint, and what the step costs besides forward, backward and optimizer."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from parts.ours import ENDLESS, Fit, composed, timed
from parts.probe import Durations
from parts.results import Row
from parts.rivals import MATCHES
from parts.settings import ROOT, Settings, Skipped
from parts.timing import Ratio, Rounds, Step

BATCHES = (32, 128, 256)


def costs(settings: Settings, batches: tuple[int, ...] = BATCHES) -> list[Row]:
    """Part g."""
    return [*step_rows(settings), *start_rows(settings), *memory_rows(settings, batches)]


def step_rows(settings: Settings) -> list[Row]:
    """The whole step against the bare one, what its pieces take, and a checkpoint."""
    rows = []
    for what, overrides in (("python train.py", ()), ("experiment=mnist_fast", ("experiment=mnist_fast",))):
        config = composed(settings, *overrides, *ENDLESS)
        saved = Rounds(0, settings.synchronize)

        def others(fit: Fit, saved: Rounds = saved) -> dict[str, Step]:
            batch, path = fit.batch(), Path(fit.trainer.default_root_dir) / "timed.ckpt"
            return {
                "bare": lambda: fit.bare_step(batch),
                "saving": lambda: saved.lap("checkpoint", lambda: fit.trainer.save_checkpoint(path)),
            }

        rounds, fit = timed(settings, config, others=others)
        pieces = pieces_of(settings, config)
        extra = rounds.ratio("ours", "bare")
        share = Ratio(*(100 * (1 - 1 / part) for part in extra))
        rows += [
            Row(
                f"{what}, batch {fit.data.batch_size}: step; ratio: percent that is not forward, backward, optimizer",
                "ms",
                {"ours": 1000 * rounds.median("ours"), "bare": 1000 * rounds.median("bare")},
                share,
                "under 3",
                {"seconds": rounds.seconds, "milliseconds_of_pieces": pieces},
            ),
            Row(f"{what}: EMA", "ms", {"ours": pieces.get("ema", 0.0)}),
            Row(f"{what}: callbacks and logging", "ms", {"ours": pieces.get("callbacks", 0.0)}),
            Row(f"{what}: next batch", "ms", {"ours": pieces.get("loader", 0.0)}),
            Row(f"{what}: a checkpoint", "ms", {"ours": 1000 * saved.median("checkpoint")}),
        ]
    return rows


def pieces_of(settings: Settings, config: dict) -> dict[str, float]:
    """Milliseconds a step of EMA, callbacks (logging is one of them) and loader, in a run of their own that is waited for."""
    durations = Durations(settings.synchronize)

    def look(fit: Fit) -> None:
        fit.trainer.profiler = durations
        if fit.model.ema is not None:
            fit.model.ema.update = durations.timing("ema", fit.model.ema.update)
        durations.first_step = fit.trainer.global_step

    _, fit = timed(settings, config, before=look)
    return durations.pieces(fit.trainer.global_step - durations.first_step)


def start_rows(settings: Settings) -> list[Row]:
    """Seconds from the command to its help, and to the end of the first step."""
    rows = []
    for what, arguments in (
        ("train.py --help", ["--help"]),
        ("train.py to the end of the first step", first_step(settings)),
    ):
        seconds = []
        for _ in range(max(2, settings.repeats // 2)):
            with tempfile.TemporaryDirectory() as folder:
                local = [] if arguments == ["--help"] else [f"log_dir={folder}"]
                seconds.append(command_seconds([*arguments, *local], settings))
        found = statistics.median(seconds)
        rows.append(Row(what, "s", {"ours": found}, details={"seconds": seconds}))
    return rows


def first_step(settings: Settings) -> list[str]:
    """train.py with the defaults, until parts.probe.FirstStep ends it."""
    return [
        f"dataset.data_dir={settings.data_dir}",
        f"trainer.accelerator={'cpu' if settings.device == 'cpu' else 'gpu'}",
        "+callbacks.first._target_=parts.probe.FirstStep",
        *settings.ours,
    ]


def command_seconds(arguments: list[str], settings: Settings) -> float:
    start = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "train.py", *arguments], cwd=ROOT, env=settings.environment(), capture_output=True, text=True
    )
    if process.returncode not in (0, 143):
        raise RuntimeError(f"train.py {' '.join(arguments)}: exit code {process.returncode}\n{process.stderr[-1000:]}")
    return time.perf_counter() - start


def memory_rows(settings: Settings, batches: tuple[int, ...]) -> list[Row]:
    """Peak memory of a process that trains two steps."""
    rows = []
    for batch in batches:
        values = {side: megabytes(side, batch, settings) for side in ("ours", "tutorial")}
        rows.append(Row(f"tutorial's UNet, batch {batch}: peak memory", "MiB", values))
    for name, match in MATCHES.items():
        try:
            match.package()
        except Skipped:
            continue
        sides = {**{side: side for side in match.ours}, name: "theirs"}
        values = {side: megabytes(f"{who}:{name}", max(batches), settings) for side, who in sides.items()}
        rows.append(Row(f"networks of part b, batch {max(batches)}: peak memory", "MiB", values))
    return rows


def megabytes(side: str, batch: int, settings: Settings) -> float:
    """What parts.memory says; infinite where the process was ended for want of memory."""
    told = ["--device", settings.device, "--threads", str(settings.threads), "--data-dir", str(settings.data_dir)]
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "parts.memory",
            side,
            str(batch),
            *told,
            "--ours",
            *settings.ours,
        ],
        cwd=ROOT,
        env=settings.environment(),
        capture_output=True,
        text=True,
    )
    if process.returncode == -9 or "out of memory" in process.stderr.lower():
        return float("inf")
    if process.returncode:
        raise RuntimeError(f"parts.memory {side} {batch}: exit code {process.returncode}\n{process.stderr[-1000:]}")
    return float(json.loads(process.stdout.splitlines()[-1])["MiB"])
