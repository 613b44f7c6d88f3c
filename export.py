"""Write a trained model as a folder of safetensors and JSON, for sharing.

python export.py ckpt_path=lightning_logs/mnist/version_3 out=mnist_model
python export.py ckpt_path=lightning_logs/mnist/version_4 format=diffusers out=mnist_pipeline
"""

from lightdiff.tasks.cli import export_command

if __name__ == "__main__":
    raise SystemExit(export_command(__file__))
