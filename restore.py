"""Restore images from what was measured of them: small, blurred, gray, with holes, or random sums of their pixels.

python restore.py ckpt_path=lightning_logs/mnist/version_3 operator=super_resolution operator.factor=4 image=photo.png
python restore.py ckpt_path=lightning_logs/mnist/version_3 operator=inpaint mask=mask.png image=damaged.png degraded=true
"""

import sys

from lightdiff.commands.cli import run_command

if __name__ == "__main__":
    raise SystemExit(run_command("restore", sys.argv[1:]))
