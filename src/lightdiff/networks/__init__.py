"""placeholder until the real networks are written (overwrite me)"""
from lightdiff.networks.stub import UNet
__all__ = ["UNet"]
