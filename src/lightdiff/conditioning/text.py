"""Text: a transformer encoder trained from scratch on the captions of a data set. Needs no download."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightdiff.conditioning.base import LISTED, Conditioner, Labels
from lightdiff.conditioning.captions import captions_of, check_longest, examples_of, prompts, words

PADDING, NULL = 0, 1
"""Word numbers: nothing, and the one word of the empty caption that dropped conditions become."""


class TextConditioner(Conditioner):
    """`tokens (B, max_tokens, token_dim)` and `mask (B, max_tokens)` from captions, word by word.

    It knows the words of the training captions and no others. In a prompt an unknown word is refused. In a caption of an image
    to validate on it is left out, and a caption without any known word is the empty one.

    Args:
        class_names: names of the labels 0, 1, ...; not used without templates.
        templates: captions with {} for the name, of which each training image gets one at random; None: the images have
            captions of their own.
        token_dim: width of the tokens. The default is that of CLIP in the tutorial text_to_digit; 64 is enough for a few words.
        max_tokens: longest caption, in words.
        depth: layers of the transformer.
        num_heads: of its attentions.
        drop_prob: share of training images whose caption is dropped (Ho and Salimans 2022).
        vocabulary: the words it knows, in small letters, with spaces between; None: those of the templates and class names.
        examples: captions that samples show where no prompt is given, for images with captions of their own; None: the empty one.

    Raises:
        ValueError: a caption longer than max_tokens, a width that num_heads does not divide, no captions, no vocabulary.
    """

    cond_keys = ("tokens", "mask")
    _ids: Tensor

    def __init__(
        self,
        class_names: Sequence[str] | None,
        templates: Sequence[str] | None,
        token_dim: int = 512,
        max_tokens: int = 8,
        depth: int = 2,
        num_heads: int = 4,
        drop_prob: float = 0.1,
        vocabulary: str | None = None,
        examples: Sequence[str] | None = None,
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
        self.captions = captions_of(class_names, templates, examples)
        self.takes, self.by_class = self.captions.takes, self.captions.class_names is not None
        self.class_names = self.captions.class_names
        self.templates = None if templates is None else list(templates)
        self.examples = None if examples is None else list(examples)
        self.token_dim, self.max_tokens, self.depth, self.num_heads = token_dim, max_tokens, depth, num_heads
        self.drop_prob = drop_prob
        self.vocabulary = vocabulary
        known = self._known_words()
        self.number_of = {word: number for number, word in enumerate(known, start=2)}
        self.register_buffer("_ids", self._table(), persistent=False)  # (texts, max_tokens)

        self.embedding = nn.Embedding(2 + len(known), token_dim, padding_idx=PADDING)
        self.positions = nn.Parameter(0.02 * torch.randn(max_tokens, token_dim))
        layer = nn.TransformerEncoderLayer(
            token_dim, num_heads, 4 * token_dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(token_dim), enable_nested_tensor=False)

    def _known_words(self) -> list[str]:
        if self.vocabulary is None and self.templates is None:
            raise ValueError(
                "vocabulary=null: the words of the captions are expected, because there are no templates (dataset.templates); "
                "they come from the data set where its images have captions"
            )
        if self.vocabulary is None:
            return sorted({word for text in self.captions.texts for word in words(text)})
        known = self.vocabulary.split()
        odd = next((word for word in known if words(word) != [word] or known.count(word) > 1), None)
        if odd is not None or not known:
            raise ValueError(f"vocabulary: different words in small letters are expected, not {odd or ''!r}")
        return known

    def _table(self) -> Tensor:
        if self.templates is None:
            return self.ids_of_captions(self.captions.texts)
        return torch.stack([self.ids_of(text, "templates") for text in self.captions.texts])

    def ids_of(self, text: str, name: str = "prompt") -> Tensor:
        """Word numbers (max_tokens,) of a caption.

        Raises:
            ValueError: an unknown word, with the known ones that are like it, or too many words.
        """
        found = words(text)
        unknown = [word for word in found if word not in self.number_of]
        if unknown:
            raise ValueError(f"{name}={text!r}: unknown word {unknown[0]!r}; {self._like(unknown[0])}")
        # an image may have an empty caption of its own
        least = 0 if self.templates is None else 1
        if not least <= len(found) <= self.max_tokens:
            raise ValueError(
                f"{name}={text!r}: {len(found)} words; {least} to {self.max_tokens} are expected (max_tokens)"
            )
        return self._padded([self.number_of[word] for word in found] or [NULL])

    def ids_of_captions(self, texts: Sequence[str]) -> Tensor:
        """Word numbers (len(texts), max_tokens) of captions of images, without the words that are unknown.

        Raises:
            ValueError: a caption has too many words.
        """
        found = [self._known_numbers(text) for text in texts]
        check_longest(dict(zip(texts, map(len, found), strict=True)), self.max_tokens, "words")
        return torch.stack([self._padded(numbers or [NULL]) for numbers in found])

    def _known_numbers(self, text: str) -> list[int]:
        return [self.number_of[word] for word in words(text) if word in self.number_of]

    def _padded(self, numbers: list[int]) -> Tensor:
        return torch.tensor(numbers + [PADDING] * (self.max_tokens - len(numbers)))

    def _like(self, word: str) -> str:
        """Return the known words, or of many those that are like an unknown one, for messages."""
        known = list(self.number_of)
        if len(known) <= LISTED:
            return f"known: {', '.join(known)}"
        near = ", ".join(difflib.get_close_matches(word, known, n=5)) or "none"
        return f"nearest of the {len(known)} known ones: {near}"

    @classmethod
    def from_captions(cls, train: Sequence[str], val: Sequence[str]) -> dict[str, Any]:
        vocabulary = " ".join(sorted({word for text in train for word in words(text)}))
        return {"vocabulary": vocabulary, "examples": examples_of(train, val)}

    def check(self, batch: dict[str, Any]) -> None:
        self.captions.check(batch, self)

    def prepare(self, captions: Sequence[str] | None) -> None:
        if self.templates is None and captions is not None:
            sizes = {text: len(self._known_numbers(text)) for text in dict.fromkeys(captions)}
            check_longest(sizes, self.max_tokens, "words")

    def inputs(self, batch: dict[str, Any], chance: Tensor) -> Tensor:
        return self.captions.of_batch(batch, chance, self._ids, self.ids_of_captions)

    def choose(self, *, labels: Labels, prompt: str | Sequence[str] | None, condition: Tensor | None = None) -> Tensor:
        if prompt is None:
            return self._ids[self.captions.asked(labels)]
        return torch.stack([self.ids_of(text) for text in prompts(labels, prompt)])

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
