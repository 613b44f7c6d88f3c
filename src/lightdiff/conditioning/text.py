"""Text: a transformer encoder trained from scratch on the captions of a data set. Needs no download."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightdiff.conditioning.base import Conditioner, Labels, chosen_labels
from lightdiff.conditioning.captions import Captions, words

PADDING, NULL = 0, 1
"""Word numbers: nothing, and the one word of the empty caption that dropped conditions become."""


class TextConditioner(Conditioner):
    """`tokens (B, max_tokens, token_dim)` and `mask (B, max_tokens)` from captions, word by word.

    It knows the words of the data set's captions and no others.

    Args:
        class_names: names of the labels 0, 1, ...
        templates: captions with {} for the name; each training image gets one of them at random.
        token_dim: width of the tokens. The default is that of CLIP in the tutorial text_to_digit; 64 is enough for a few words.
        max_tokens: longest caption, in words.
        depth: layers of the transformer.
        num_heads: of its attentions.
        drop_prob: share of training images whose caption is dropped (Ho and Salimans 2022).

    Raises:
        ValueError: a caption longer than max_tokens, a width that num_heads does not divide, no captions.
    """

    takes = ("labels", "prompt")
    cond_keys = ("tokens", "mask")
    _ids: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        templates: Sequence[str],
        token_dim: int = 512,
        max_tokens: int = 8,
        depth: int = 2,
        num_heads: int = 4,
        drop_prob: float = 0.1,
    ) -> None:
        super().__init__()
        for name, value in (
            ("token_dim", token_dim),
            ("max_tokens", max_tokens),
            ("depth", depth),
            ("num_heads", num_heads),
        ):
            if value < 1:
                raise ValueError(f"{name}={value}: 1 or more is expected")
        if token_dim % num_heads:
            raise ValueError(f"num_heads={num_heads}: it must divide token_dim={token_dim}")
        if not 0 <= drop_prob <= 1:
            raise ValueError(f"drop_prob={drop_prob}: a probability in [0, 1] is expected")
        self.class_names: list[str] = list(class_names)
        self.templates = list(templates)
        self.token_dim, self.max_tokens, self.depth, self.num_heads = token_dim, max_tokens, depth, num_heads
        self.drop_prob = drop_prob
        self.captions = Captions(class_names, templates)
        vocabulary = sorted({word for text in self.captions.texts for word in words(text)})
        self.number_of = {word: number for number, word in enumerate(vocabulary, start=2)}
        ids = torch.stack([self.ids_of(text, "templates") for text in self.captions.texts])
        self.register_buffer("_ids", ids, persistent=False)  # (captions, max_tokens)

        self.embedding = nn.Embedding(2 + len(vocabulary), token_dim, padding_idx=PADDING)
        self.positions = nn.Parameter(0.02 * torch.randn(max_tokens, token_dim))
        layer = nn.TransformerEncoderLayer(
            token_dim, num_heads, 4 * token_dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(token_dim), enable_nested_tensor=False)

    def ids_of(self, text: str, name: str = "prompt") -> Tensor:
        """Word numbers (max_tokens,) of a caption.

        Raises:
            ValueError: an unknown word, with the known ones, or too many words.
        """
        found = words(text)
        unknown = [word for word in found if word not in self.number_of]
        if unknown:
            raise ValueError(f"{name}={text!r}: unknown word {unknown[0]!r}; known: {', '.join(self.number_of)}")
        if not 1 <= len(found) <= self.max_tokens:
            raise ValueError(f"{name}={text!r}: {len(found)} words; 1 to {self.max_tokens} are expected (max_tokens)")
        numbers = [self.number_of[word] for word in found]
        return torch.tensor(numbers + [PADDING] * (self.max_tokens - len(numbers)))

    def inputs(self, batch: dict[str, Tensor], chance: Tensor) -> Tensor:
        return self._ids[self.captions.numbers(batch["label"], chance)]

    def choose(self, *, labels: Labels, prompt: str | Sequence[str] | None, condition: Tensor | None = None) -> Tensor:
        if prompt is not None:
            if labels is not None:
                raise ValueError(f"labels={labels}: not together with prompt={prompt}")
            prompts = [prompt] if isinstance(prompt, str) else list(prompt)
            return torch.stack([self.ids_of(text) for text in prompts])
        chosen = chosen_labels(labels, len(self.class_names), self.class_names)
        return self._ids[self.captions.first_of(chosen.to(self._ids.device))]

    def forward(self, inputs: Tensor, drop: Tensor | None = None) -> dict[str, Tensor]:
        if drop is not None:
            inputs = torch.where(drop[:, None], self._null_ids(), inputs)
        mask = inputs != PADDING
        hidden = self.embedding(inputs) + self.positions
        tokens = self.encoder(hidden, src_key_padding_mask=~mask)
        return {"tokens": tokens, "mask": mask.to(tokens.dtype)}

    def null(self) -> dict[str, Tensor]:
        return self.forward(self._null_ids()[None])

    def _null_ids(self) -> Tensor:
        ids = torch.full((self.max_tokens,), PADDING, device=self._ids.device)
        ids[0] = NULL
        return ids
