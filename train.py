"""Train an image diffusion model.

python train.py                                        the tutorial's recipe on MNIST
python train.py dataset=cifar trainer.devices=2        another data set, two devices
python train.py resume=lightning_logs/mnist/version_3  go on where a run was stopped
python train.py --help                                 every group and its choices
"""

import sys

from lightdiff.commands.cli import run_command

if __name__ == "__main__":
    raise SystemExit(run_command("train", sys.argv[1:]))
