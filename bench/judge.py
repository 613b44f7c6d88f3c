"""Train the held-out judge of bench/race.py for a data set; those of MNIST, Fashion-MNIST and CIFAR-10 are in bench/judges/.

    python bench/judge.py mnist --data-dir data

What the judge is: racing/transformer.py and docs/race.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lightdiff.data import DataError, DiffSet
from racing.protocol import SIZES
from racing.transformer import FOLDER, train_judge


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=SIZES)
    parser.add_argument("--data-dir", default="data", help="where the files of the data set are")
    parser.add_argument("--epochs", type=int, default=20, help="times that every test image is seen (default: 20)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to keep the judge")
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    data = DiffSet(told.data, data_dir=told.data_dir, image_size=SIZES[told.data], resize_mode="none")
    try:
        data.setup()
    except DataError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    facts = train_judge(data, told.epochs, told.folder, told.seed)
    print(f"{told.data}: {facts['accuracy_on_training_images']:.2%} of the training images are read right")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
