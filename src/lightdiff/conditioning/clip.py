"""Text by CLIP's text encoder (extra `text`), frozen or fine-tuned together with the network.

A condition is the encoder's last hidden state, `tokens (B, max_tokens, token_dim)`. As in Stable Diffusion every position is
attended to, padding too, so there is no mask. The empty caption is the null condition.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightdiff.conditioning.base import Conditioner, Labels, chosen_labels
from lightdiff.conditioning.captions import Captions
from lightdiff.conditioning.clip_encoder import TEXT_SETTINGS, load_pretrained, rebuild, token_ids

if TYPE_CHECKING:
    from transformers import CLIPTextModel


class _Clip(Conditioner):
    """What both share: captions, and a user's wish as their texts."""

    cond_keys = ("tokens",)

    def __init__(
        self,
        class_names: Sequence[str],
        templates: Sequence[str],
        pretrained: str,
        token_dim: int,
        max_tokens: int,
        drop_prob: float,
    ) -> None:
        super().__init__()
        if max_tokens < 3:
            raise ValueError(f"max_tokens={max_tokens}: 3 or more is expected (start, one word, end)")
        if not 0 <= drop_prob <= 1:
            raise ValueError(f"drop_prob={drop_prob}: a probability in [0, 1] is expected")
        self.class_names: list[str] = list(class_names)
        self.templates = list(templates)
        self.pretrained, self.token_dim, self.max_tokens = pretrained, token_dim, max_tokens
        self.drop_prob = drop_prob
        self.captions = Captions(class_names, templates)

    def choose(self, *, labels: Labels, prompt: str | Sequence[str] | None) -> Tensor:
        if prompt is None:
            numbers = self.captions.first_of(chosen_labels(labels, len(self.class_names), self.class_names))
            return self.inputs_of_texts([self.captions.texts[number] for number in numbers.tolist()])
        if labels is not None:
            raise ValueError(f"labels={labels}: not together with prompt={prompt}")
        return self.inputs_of_texts([prompt] if isinstance(prompt, str) else list(prompt))

    @abstractmethod
    def inputs_of_texts(self, texts: Sequence[str], name: str = "prompt") -> Tensor:
        """What `forward` takes, (len(texts), ...); `name` is the setting they come from, for messages."""

    def _encoder_fits(self, encoder: CLIPTextModel) -> None:
        width, longest = encoder.config.hidden_size, encoder.config.max_position_embeddings
        if width != self.token_dim:
            raise ValueError(f"token_dim={self.token_dim}: the tokens of pretrained={self.pretrained} have {width}")
        if self.max_tokens > longest:
            raise ValueError(
                f"max_tokens={self.max_tokens}: pretrained={self.pretrained} reads captions up to {longest}"
            )


class FrozenClipConditioner(_Clip):
    """CLIP as it is: each caption of the data set is embedded once, when the conditioner is built.

    The encoder is neither trained nor kept in memory nor saved; a checkpoint holds the embedded captions and reloads without it.
    It is loaded again only for a prompt which is no caption of the data set.

    Args:
        class_names: names of the labels 0, 1, ...
        templates: captions with {} for the name; each training image gets one of them at random.
        pretrained: name of a model on the hub, or a local folder that holds one.
        token_dim: width of its tokens.
        max_tokens: longest caption, with its start and end.
        drop_prob: share of training images whose caption is dropped (Ho and Salimans 2022).
        embedded: the captions have been embedded, their embeddings are in the checkpoint.

    Raises:
        ValueError: no such model, a caption that is too long, a width that is not the model's.
    """

    table: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        templates: Sequence[str],
        pretrained: str = "openai/clip-vit-base-patch32",
        token_dim: int = 512,
        max_tokens: int = 8,
        drop_prob: float = 0.1,
        embedded: bool = False,
    ) -> None:
        super().__init__(class_names, templates, pretrained, token_dim, max_tokens, drop_prob)
        self.register_buffer("table", torch.zeros(len(self.captions.texts) + 1, max_tokens, token_dim))
        if not embedded:
            self.table.copy_(self._embed([*self.captions.texts, ""], "templates"))
        self.embedded = True

    def inputs(self, batch: dict[str, Tensor], chance: Tensor) -> Tensor:
        return self.table[self.captions.numbers(batch["label"], chance)]

    def inputs_of_texts(self, texts: Sequence[str], name: str = "prompt") -> Tensor:
        known = {text: number for number, text in enumerate(self.captions.texts)}
        if all(text in known for text in texts):
            return self.table[[known[text] for text in texts]]
        return self._embed(texts, name).to(self.table)

    @torch.no_grad()
    def _embed(self, texts: Sequence[str], name: str) -> Tensor:
        tokenizer, encoder = load_pretrained(self.pretrained)
        self._encoder_fits(encoder)
        ids = torch.stack([token_ids(tokenizer, text, self.max_tokens, name) for text in texts])
        return torch.cat([encoder.eval()(some).last_hidden_state for some in ids.split(256)])

    def forward(self, inputs: Tensor, drop: Tensor | None = None) -> dict[str, Tensor]:
        return {"tokens": inputs if drop is None else torch.where(drop[:, None, None], self.table[-1], inputs)}

    def null(self) -> dict[str, Tensor]:
        return {"tokens": self.table[-1:]}


class ClipConditioner(_Clip):
    """CLIP fine-tuned: its weights are trained, averaged and saved with the network's.

    A checkpoint also holds the tokenizer and the architecture, so that it reloads without the pretrained files.

    Args:
        class_names: names of the labels 0, 1, ...
        templates: captions with {} for the name; each training image gets one of them at random.
        pretrained: name of a model on the hub, or a local folder that holds one.
        token_dim: width of its tokens.
        max_tokens: longest caption, with its start and end.
        drop_prob: share of training images whose caption is dropped (Ho and Salimans 2022).
        text_settings: architecture of the encoder; None: that of `pretrained`, with its weights.
        tokenizer_json: the tokenizer; None: that of `pretrained`.

    Raises:
        ValueError: no such model, a caption that is too long, a width that is not the model's.
    """

    _ids: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        templates: Sequence[str],
        pretrained: str = "openai/clip-vit-base-patch32",
        token_dim: int = 512,
        max_tokens: int = 8,
        drop_prob: float = 0.1,
        text_settings: dict[str, Any] | None = None,
        tokenizer_json: str | None = None,
    ) -> None:
        super().__init__(class_names, templates, pretrained, token_dim, max_tokens, drop_prob)
        if text_settings is None or tokenizer_json is None:
            self._tokenizer, encoder = load_pretrained(pretrained)
        else:
            self._tokenizer, encoder = rebuild(text_settings, tokenizer_json)
        self._encoder_fits(encoder)
        self.encoder = encoder.train()  # as any module that is to be trained; pretrained ones come in eval mode
        self.text_settings = {name: getattr(encoder.config, name) for name in TEXT_SETTINGS}
        self.tokenizer_json: str = self._tokenizer.to_str()
        self.register_buffer("_ids", self.inputs_of_texts([*self.captions.texts, ""], "templates"), persistent=False)

    def inputs(self, batch: dict[str, Tensor], chance: Tensor) -> Tensor:
        return self._ids[self.captions.numbers(batch["label"], chance)]

    def inputs_of_texts(self, texts: Sequence[str], name: str = "prompt") -> Tensor:
        return torch.stack([token_ids(self._tokenizer, text, self.max_tokens, name) for text in texts])

    def forward(self, inputs: Tensor, drop: Tensor | None = None) -> dict[str, Tensor]:
        if drop is not None:
            inputs = torch.where(drop[:, None], self._ids[-1], inputs)
        different, place = inputs.unique(dim=0, return_inverse=True)  # a batch has few captions: each is encoded once
        return {"tokens": self.encoder(different).last_hidden_state[place]}

    def null(self) -> dict[str, Tensor]:
        return {"tokens": self.encoder(self._ids[-1:]).last_hidden_state}
