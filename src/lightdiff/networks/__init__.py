"""The neural networks, which are trained to compute the noise, the image or another prediction from a noisy image.

Every network is called in the same way:

    forward(x (B, C, H, W), time (B,) or None, cond or None) -> (B, C, H, W)

x is the noisy image. time is in timesteps (0 to about 1000) unless time_input chooses another form. cond is a dict with any of
`vector` (B, D), `tokens` (B, L, D), `mask` (B, L) and `image` (B, C', H, W). The attribute `cond_keys` names the keys that a
network takes, and the attribute `image_shape` is (C, H, W). A network keeps each argument of its constructor in an attribute of
the same name, so that a checkpoint can describe it. Only `TimedClassifier` is no such
network: it tells the class of an image.
"""

from lightdiff.networks.basic_unet import BasicUNet
from lightdiff.networks.diffusers_unet import DiffusersUNet2D, DiffusersUNet2DCondition
from lightdiff.networks.dit import DiT
from lightdiff.networks.resunet import ResUNet
from lightdiff.networks.simple_unet import SimpleUNet
from lightdiff.networks.timed_classifier import TimedClassifier
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
    "TimedClassifier",
    "UNet",
    "Up",
]
