"""What the tutorial ddpm_unet prints of its network."""

DDPM_UNET = {
    "inc": 37_696,
    "down1": 295_680,
    "down2": 1_181_184,
    "down3": 2_361_344,
    "up1": 6_195_968,
    "up2": 1_549_696,
    "up3": 406_272,
    "outc": 65,
    "sa1": 395_776,
    "sa2": 395_776,
    "sa3": 99_584,
}
"""Block -> its number of parameters."""
