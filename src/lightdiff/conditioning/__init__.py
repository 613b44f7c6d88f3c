"""Conditioners, which turn class labels or captions into the tensors that a network is conditioned on.

In training, a conditioner gets a batch of the data set. `inputs` reads its labels, captions or columns, and `forward`
turns these into a condition, a dict with any of `vector` (B, D), `tokens` (B, L, D) and `mask` (B, L). In sampling, `choose`
takes the place of `inputs`, with labels or prompts that a user gives. `null` is the condition of no particular class or caption,
which classifier-free guidance needs. Training replaces the condition of some images by it.

- `LabelConditioner`: a learned vector for each class.
- `AttributeConditioner`: columns such as category and tone, with a learned vector for each value of each column.
- `TextConditioner`: a small transformer that is trained from scratch on the words of the captions.
- `FrozenClipConditioner`, `ClipConditioner`: the text encoder of CLIP, as it is or fine-tuned.
"""

from lightdiff.conditioning.attributes import AttributeConditioner
from lightdiff.conditioning.base import Conditioner
from lightdiff.conditioning.clip import ClipConditioner, FrozenClipConditioner
from lightdiff.conditioning.label import LabelConditioner
from lightdiff.conditioning.text import TextConditioner

__all__ = [
    "AttributeConditioner",
    "ClipConditioner",
    "Conditioner",
    "FrozenClipConditioner",
    "LabelConditioner",
    "TextConditioner",
]
