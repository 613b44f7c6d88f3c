import torch
from torch import nn
class UNet(nn.Module):
    def __init__(self, channels: int = 1, image_size: "int | list[int]" = 32, cond_dim: "int | None" = None):
        super().__init__()
        self.channels, self.image_size, self.cond_dim = channels, image_size, cond_dim
        s = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        self.image_shape = (channels, *s)
        self.net = nn.Sequential(nn.Conv2d(channels + 1, 16, 3, padding=1), nn.GELU(), nn.Conv2d(16, channels, 3, padding=1))
    def forward(self, x, time=None, cond=None):
        tm = x.new_zeros(len(x)) if time is None else time.to(x.dtype) / 1000
        return self.net(torch.cat([x, tm[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1))
