"""Conditioners with CLIP's text encoder (extra `text`), either frozen or fine-tuned together with the network.

A condition is the encoder's last hidden state, `tokens (B, max_tokens, token_dim)`. There is no mask: as in Stable Diffusion, the
network attends to every position, also to padding. The null condition is the empty caption.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightdiff.conditioning.base import Conditioner, Labels
from lightdiff.conditioning.captions import captions_of, check_longest, examples_of, prompts
from lightdiff.conditioning.clip_encoder import TEXT_SETTINGS, Embedded, load_pretrained, rebuild, token_ids

if TYPE_CHECKING:
    from transformers import CLIPTextModel


class _Clip(Conditioner):
    """Base class of both conditioners: it checks the settings, holds the captions, and turns labels and prompts into texts."""

    cond_keys = ("tokens",)

    def __init__(
        self,
        class_names: Sequence[str] | None,
        templates: Sequence[str] | None,
        pretrained: str,
        token_dim: int,
        max_tokens: int,
        drop_prob: float,
        examples: Sequence[str] | None,
    ) -> None:
        super().__init__()
        if max_tokens < 3:
            raise ValueError(f"max_tokens={max_tokens}: 3 or more is expected (start, one word, end)")
        if not 0 <= drop_prob <= 1:
            raise ValueError(f"drop_prob={drop_prob}: a probability in [0, 1] is expected")
        self.captions = captions_of(class_names, templates, examples)
        self.takes, self.by_class = self.captions.takes, self.captions.class_names is not None
        self.class_names = self.captions.class_names
        self.templates = None if templates is None else list(templates)
        self.examples = None if examples is None else list(examples)
        self.pretrained, self.token_dim, self.max_tokens = pretrained, token_dim, max_tokens
        self.drop_prob = drop_prob

    @classmethod
    def from_captions(cls, train: Sequence[str], val: Sequence[str]) -> dict[str, Any]:
        return {"examples": examples_of(train, val)}

    def check(self, batch: dict[str, Any]) -> None:
        self.captions.check(batch, self)

    def choose(self, *, labels: Labels, prompt: str | Sequence[str] | None, condition: Tensor | None = None) -> Tensor:
        if prompt is None:
            return self.inputs_of_texts([self.captions.texts[number] for number in self.captions.asked(labels)])
        return self.inputs_of_texts(prompts(labels, prompt))

    @abstractmethod
    def inputs_of_texts(self, texts: Sequence[str], name: str = "prompt") -> Tensor:
        """Return the inputs of `forward` for these texts: (len(texts), ...). `name` is the setting that messages name.

        Raises:
            ValueError: a text is too long, or has a character that the tokenizer does not know.
        """

    def _check_encoder(self, encoder: CLIPTextModel) -> None:
        """Check that the encoder has tokens of width token_dim and accepts max_tokens of them.

        Raises:
            ValueError: it does not.
        """
        width, longest = encoder.config.hidden_size, encoder.config.max_position_embeddings
        if width != self.token_dim:
            raise ValueError(
                f"token_dim={self.token_dim}: {width} is expected, the width of pretrained={self.pretrained}"
            )
        if self.max_tokens > longest:
            raise ValueError(
                f"max_tokens={self.max_tokens}: pretrained={self.pretrained} takes at most {longest} tokens"
            )


class FrozenClipConditioner(_Clip):
    """CLIP's text encoder as it is. It embeds each caption of the data set once, before training.

    The encoder is not trained, not kept in memory and not saved. A checkpoint contains the embedded captions, of images with
    captions of their own the embedded `examples`, and loads without it. The encoder is loaded again only for another prompt.

    Args:
        class_names: names of the labels 0, 1, ...; not used without templates.
        templates: captions with {} for the name, of which each training image gets one at random; None: the images have
            captions of their own.
        pretrained: name of a CLIP model on the Hugging Face hub, or a local folder with one.
        token_dim: width of the model's tokens.
        max_tokens: largest number of tokens in a caption, with the start and end tokens, at least 3.
        drop_prob: share of training images whose caption is replaced by the empty one, in [0, 1] (Ho & Salimans 2022).
        embedded: whether the embedded captions come from a checkpoint. Otherwise they are computed now.
        examples: captions that samples show where no prompt is given, for images with captions of their own; None: the empty one.

    Raises:
        ValueError: the model cannot be loaded, token_dim is not its width, or a caption is too long.
    """

    table: Tensor

    def __init__(
        self,
        class_names: Sequence[str] | None,
        templates: Sequence[str] | None,
        pretrained: str = "openai/clip-vit-base-patch32",
        token_dim: int = 512,
        max_tokens: int = 8,
        drop_prob: float = 0.1,
        embedded: bool = False,
        examples: Sequence[str] | None = None,
    ) -> None:
        super().__init__(class_names, templates, pretrained, token_dim, max_tokens, drop_prob, examples)
        self._own = Embedded()
        self.register_buffer("table", torch.zeros(len(self.captions.texts) + 1, max_tokens, token_dim))
        if not embedded:
            self.table.copy_(self._embed([*self.captions.texts, ""], "templates"))
        self.embedded = True

    def prepare(self, captions: Sequence[str] | None) -> None:
        if self.templates is None and captions is not None:
            self._embedded(captions)

    def inputs(self, batch: dict[str, Any], chance: Tensor) -> Tensor:
        return self.captions.of_batch(batch, chance, self.table, self._embedded)

    def _embedded(self, texts: Sequence[str]) -> Tensor:
        """Return the embeddings of captions, each of which is computed once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._own]
        if new:
            self._own.update(zip(new, self._embed(new, "caption"), strict=True))
        return torch.stack([self._own[text] for text in texts])

    def inputs_of_texts(self, texts: Sequence[str], name: str = "prompt") -> Tensor:
        known = {text: number for number, text in enumerate(self.captions.texts)}
        if all(text in known for text in texts):
            return self.table[[known[text] for text in texts]]
        return self._embed(texts, name).to(self.table)

    @torch.no_grad()
    def _embed(self, texts: Sequence[str], name: str) -> Tensor:
        """Load the encoder and return the embeddings of texts: (len(texts), max_tokens, token_dim)."""
        tokenizer, encoder = load_pretrained(self.pretrained)
        self._check_encoder(encoder)
        if name == "caption":
            check_longest({text: len(tokenizer.encode(text).ids) for text in texts}, self.max_tokens, "tokens")
        ids = torch.stack([token_ids(tokenizer, text, self.max_tokens, name) for text in texts])
        return torch.cat([encoder.eval()(chunk).last_hidden_state for chunk in ids.split(256)])

    def forward(self, inputs: Tensor, drop: Tensor | None = None) -> dict[str, Tensor]:
        return {"tokens": inputs if drop is None else torch.where(drop[:, None, None], self.table[-1], inputs)}

    def null(self) -> dict[str, Tensor]:
        return {"tokens": self.table[-1:]}


class ClipConditioner(_Clip):
    """CLIP's text encoder, whose weights are trained, averaged and saved together with the network's.

    A checkpoint also contains the tokenizer and the architecture of the encoder, so it loads without the pretrained files.

    Args:
        class_names: names of the labels 0, 1, ...; not used without templates.
        templates: captions with {} for the name, of which each training image gets one at random; None: the images have
            captions of their own.
        pretrained: name of a CLIP model on the Hugging Face hub, or a local folder with one.
        token_dim: width of the model's tokens.
        max_tokens: largest number of tokens in a caption, with the start and end tokens, at least 3.
        drop_prob: share of training images whose caption is replaced by the empty one, in [0, 1] (Ho & Salimans 2022).
        text_settings: architecture of the encoder, from a checkpoint. None loads encoder and weights from `pretrained`.
        tokenizer_json: the tokenizer as JSON, from a checkpoint. None loads the one of `pretrained`.
        examples: captions that samples show where no prompt is given, for images with captions of their own; None: the empty one.

    Raises:
        ValueError: the model cannot be loaded, token_dim is not its width, or a caption is too long.
    """

    _ids: Tensor

    def __init__(
        self,
        class_names: Sequence[str] | None,
        templates: Sequence[str] | None,
        pretrained: str = "openai/clip-vit-base-patch32",
        token_dim: int = 512,
        max_tokens: int = 8,
        drop_prob: float = 0.1,
        text_settings: dict[str, Any] | None = None,
        tokenizer_json: str | None = None,
        examples: Sequence[str] | None = None,
    ) -> None:
        super().__init__(class_names, templates, pretrained, token_dim, max_tokens, drop_prob, examples)
        if text_settings is None or tokenizer_json is None:
            self._tokenizer, encoder = load_pretrained(pretrained)
        else:
            self._tokenizer, encoder = rebuild(text_settings, tokenizer_json)
        self._check_encoder(encoder)
        # a pretrained encoder comes in eval mode
        self.encoder = encoder.train()
        self.text_settings = {name: getattr(encoder.config, name) for name in TEXT_SETTINGS}
        self.tokenizer_json: str = self._tokenizer.to_str()
        self.register_buffer("_ids", self.inputs_of_texts([*self.captions.texts, ""], "templates"), persistent=False)

    def prepare(self, captions: Sequence[str] | None) -> None:
        if self.templates is None and captions is not None:
            sizes = {text: len(self._tokenizer.encode(text).ids) for text in dict.fromkeys(captions)}
            check_longest(sizes, self.max_tokens, "tokens")
            self.inputs_of_texts(list(sizes), "caption")

    def inputs(self, batch: dict[str, Any], chance: Tensor) -> Tensor:
        return self.captions.of_batch(batch, chance, self._ids, lambda texts: self.inputs_of_texts(texts, "caption"))

    def inputs_of_texts(self, texts: Sequence[str], name: str = "prompt") -> Tensor:
        return torch.stack([token_ids(self._tokenizer, text, self.max_tokens, name) for text in texts])

    def forward(self, inputs: Tensor, drop: Tensor | None = None) -> dict[str, Tensor]:
        if drop is not None:
            inputs = torch.where(drop[:, None], self._ids[-1], inputs)
        # a batch has few different captions, so each of them is encoded once
        different, index = inputs.unique(dim=0, return_inverse=True)
        return {"tokens": self.encoder(different).last_hidden_state[index]}

    def null(self) -> dict[str, Tensor]:
        return {"tokens": self.encoder(self._ids[-1:]).last_hidden_state}
