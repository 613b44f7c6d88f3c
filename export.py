"""Write a trained model as a folder of safetensors and JSON, for sharing.

python export.py ckpt_path=lightning_logs/mnist/version_3 out=mnist_model
python export.py ckpt_path=lightning_logs/mnist/version_4 format=diffusers out=mnist_pipeline
"""

import sys

from lightdiff.commands.cli import run_command

if __name__ == "__main__":
    raise SystemExit(run_command("export", sys.argv[1:]))
