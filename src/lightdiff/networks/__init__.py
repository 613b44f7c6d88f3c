"""Networks: forward(x (B, C, H, W), time (B,) or None, cond or None) -> (B, C, H, W)."""

from lightdiff.networks.basic_unet import BasicUNet
from lightdiff.networks.diffusers_unet import DiffusersUNet2D, DiffusersUNet2DCondition
from lightdiff.networks.dit import DiT
from lightdiff.networks.resunet import ResUNet
from lightdiff.networks.simple_unet import SimpleUNet
from lightdiff.networks.unet import DoubleConv, Down, SelfAttention, UNet, Up

__all__ = [
    "BasicUNet",
    "DiT",
    "DiffusersUNet2D",
    "DiffusersUNet2DCondition",
    "DoubleConv",
    "Down",
    "ResUNet",
    "SelfAttention",
    "SimpleUNet",
    "UNet",
    "Up",
]
