"""Networks: forward(x (B, C, H, W), time (B,) or None, cond or None) -> (B, C, H, W)."""

from lightdiff.networks.unet import DoubleConv, Down, SelfAttention, UNet, Up

__all__ = ["DoubleConv", "Down", "SelfAttention", "UNet", "Up"]
