"""Measure a trained model.

python eval.py ckpt_path=lightning_logs/mnist/version_3 'metrics=[fid,kid]'
python eval.py -m ckpt_path=lightning_logs/mnist/version_3 sampler=ddim,dpmpp_2m sampler.num_steps=10,20,50
"""

import sys

from lightdiff.commands.cli import run_command

if __name__ == "__main__":
    raise SystemExit(run_command("eval", sys.argv[1:]))
