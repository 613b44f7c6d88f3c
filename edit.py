"""Edit images with a trained model: fill a part anew, vary, morph, or find their noise.

python edit.py ckpt_path=lightning_logs/mnist/version_3 task=inpaint image=photo.png mask=mask.png num_samples=8
python edit.py ckpt_path=lightning_logs/mnist/version_3 task=interpolate 'image=[first.png,second.png]'
"""

import sys

from lightdiff.commands.cli import run_command

if __name__ == "__main__":
    raise SystemExit(run_command("edit", sys.argv[1:]))
