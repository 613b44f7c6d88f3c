"""Draw images from a trained model.

python sample.py ckpt_path=lightning_logs/mnist/version_3 num_samples=64
python sample.py ckpt_path=lightning_logs/mnist/version_3 sampler=ddim sampler.num_steps=20 'save=[grid,npz,gif,mp4]'
"""

import sys

from lightdiff.commands.cli import run_command

if __name__ == "__main__":
    raise SystemExit(run_command("sample", sys.argv[1:]))
