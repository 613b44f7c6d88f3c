"""Speed and memory: ours against the tutorial's algorithm and two packages.

    python bench/run.py --out bench.json                       # every part
    python bench/run.py --parts a,d --out bench.json           # some; the others stay as they are in the file
    python bench/run.py --table --out bench.json               # only print the tables
    python bench/run.py --list                                 # the parts

Sides of a comparison run by turns, and figures are medians over rounds (parts/timing.py). What each row means, and how long each
part takes: docs/performance.md. Time to quality: bench/race.py. Exit codes: 0 measured, 1 a part failed, 2 wrong arguments,
3 everything was skipped.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
import warnings
from pathlib import Path

import torch

from lightdiff.data import DataError
from parts import PARTS
from parts.results import add, read, tables
from parts.settings import Settings, Skipped


def chosen(text: str) -> list[str]:
    """Letters of `--parts`."""
    letters = [letter.strip() for letter in text.split(",") if letter.strip()]
    unknown = [letter for letter in letters if letter not in PARTS]
    if unknown or not letters:
        raise argparse.ArgumentTypeError(f"{text}: choices: {', '.join(PARTS)}")
    return letters


def parser() -> argparse.ArgumentParser:
    default = Settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say = parser.add_argument
    say("--parts", type=chosen, default=list(PARTS), help="letters, as in a,b,c (default: all)")
    say("--out", type=Path, default=Path("bench.json"), help="the JSON file; measured parts are replaced, others stay")
    say("--table", action="store_true", help="only print what the file holds, in Markdown")
    say("--list", action="store_true", help="only print the parts")
    say("--device", choices=("cpu", "cuda"), default=default.device)
    say("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch, the same for all sides")
    say("--repeats", type=int, default=default.repeats, help="rounds")
    say("--lap-seconds", type=float, default=default.lap_seconds, help="about how long each side runs at a time")
    say("--batch", type=int, default=default.batch, help="images a step in parts b and c")
    say("--seed", type=int, default=default.seed)
    say("--data-dir", type=Path, default=default.data_dir)
    say("--samples", type=int, help="images for a feature distance (default: 2000 in part h, 5000 in part i)")
    say("--ours", nargs="+", default=(), metavar="KEY=VALUE", help="overrides of train.py on our side")
    say("--compiled", action="store_true", help="part b: let torch.compile compete, too")
    return parser


def settings_of(arguments: argparse.Namespace) -> Settings:
    taken = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(arguments).items()
        if name in Settings.__dataclass_fields__
    }
    return Settings(**{**taken, "data_dir": taken["data_dir"].absolute()})


def measure(parts: list[str], settings: Settings, out: Path) -> int:
    """Each part, written down as soon as it is there; returns the exit code."""
    done = failed = 0
    for name in parts:
        part, facts, start = PARTS[name], settings.facts(), time.perf_counter()
        print(f"{name}. {part.title}", flush=True)
        try:
            rows = part.measure(settings)
        except Skipped as error:
            print(f"skipped: {error}", flush=True)
            continue
        except DataError as error:
            print(f"failed: {error}", file=sys.stderr, flush=True)
            failed += 1
            continue
        except Exception:
            traceback.print_exc()
            failed += 1
            continue
        minutes = (time.perf_counter() - start) / 60
        add(out, name, rows, {**facts, "minutes": round(minutes, 1)})
        done += 1
        print(tables({"parts": {name: read(out)["parts"][name]}}) + f"\n({minutes:.1f} minutes)\n", flush=True)
    return 1 if failed else 0 if done else 3


def main() -> int:
    arguments = parser().parse_args()
    if arguments.list:
        print("\n".join(f"{name}  {part.title}" for name, part in PARTS.items()))
        return 0
    if arguments.table:
        print(tables(read(arguments.out)))
        return 0
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("error: --device cuda: there is no GPU here", file=sys.stderr)
        return 2
    torch.set_num_threads(arguments.threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="(lightning_fabric|pytorch_lightning)")
    return measure(arguments.parts, settings_of(arguments), arguments.out)


if __name__ == "__main__":
    raise SystemExit(main())
