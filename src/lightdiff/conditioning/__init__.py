"""Conditioners, which turn class labels, captions or images into the tensors that a network is conditioned on.

In training, a conditioner gets a batch of the data set. `inputs` reads its labels, captions or columns, or makes a condition
image of each image, and `forward` turns these into a condition, a dict with any of `vector` (B, D), `tokens` (B, L, D),
`mask` (B, L) and `image` (B, C', H, W). In sampling, `choose` takes the place of `inputs`, with the labels, prompts or images
that a user gives. `null` is the condition of no particular class or caption, which classifier-free guidance needs. Training
replaces the condition of some images by it.

- `LabelConditioner`: a learned vector for each class.
- `AttributeConditioner`: columns such as category and tone, with a learned vector for each value of each column.
- `TextConditioner`: a small transformer that is trained from scratch on the words of the captions.
- `FrozenClipConditioner`, `ClipConditioner`: the text encoder of CLIP, as it is or fine-tuned.
- `SuperResolution`, `Colourise`, `InpaintMask`, `Degrade`: an image that is made of the image itself.
- `Paired`: a second image, which the data set has for each image.
- `Conditioners`: several of these at once.
"""

from lightdiff.conditioning.attributes import AttributeConditioner
from lightdiff.conditioning.base import Conditioner
from lightdiff.conditioning.clip import ClipConditioner, FrozenClipConditioner
from lightdiff.conditioning.colourise import Colourise
from lightdiff.conditioning.degrade import Degrade
from lightdiff.conditioning.image import ImageConditioner
from lightdiff.conditioning.inpaint import InpaintMask
from lightdiff.conditioning.label import LabelConditioner
from lightdiff.conditioning.paired import Paired
from lightdiff.conditioning.several import Conditioners
from lightdiff.conditioning.super_resolution import SuperResolution
from lightdiff.conditioning.text import TextConditioner

__all__ = [
    "AttributeConditioner",
    "ClipConditioner",
    "Colourise",
    "Conditioner",
    "Conditioners",
    "Degrade",
    "FrozenClipConditioner",
    "ImageConditioner",
    "InpaintMask",
    "LabelConditioner",
    "Paired",
    "SuperResolution",
    "TextConditioner",
]
