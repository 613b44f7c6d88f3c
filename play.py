"""Show a page on which one plays with a trained model.

python play.py ckpt_path=models/mnist_fast
python play.py 'ckpt_path=[lightning_logs/mnist/version_3,models/mnist_fast]'        # and compare the two
"""

import sys

from lightdiff.commands.cli import run_command

if __name__ == "__main__":
    raise SystemExit(run_command("play", sys.argv[1:]))
