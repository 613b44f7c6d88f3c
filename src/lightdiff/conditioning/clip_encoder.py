"""CLIP's text encoder and tokenizer, loaded from a local folder, the Hugging Face hub, or a checkpoint (extra `text`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightdiff.config.extras import require
from lightdiff.utils.files import user_path

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import CLIPTextModel

HUB_TIMEOUT = 5.0
"""Seconds to wait for the first answer of the hub."""
CONFIG_FILES = ("config.json", "tokenizer*.json", "vocab.json", "merges.txt", "special_tokens_map.json")
WEIGHT_FILES = ("*.safetensors", "pytorch_model.bin")
TEXT_SETTINGS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "layer_norm_eps"),
    *("max_position_embeddings", "hidden_act", "bos_token_id", "eos_token_id"),
)
"""Settings of transformers' CLIPTextConfig that define the architecture of a text encoder."""


class Embedded(dict[str, Tensor]):
    """Embedded captions by their texts. A conditioner and its average share one, because what is frozen is the same in both."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Embedded:
        return self


_from_file: ContextVar[bool] = ContextVar("from_file", default=False)


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """Make `load_pretrained` raise an error inside the with block, in which a checkpoint is loaded.

    A checkpoint contains all that it needs. Without this, a stranger's file could make this machine read or download a model that
    it names.
    """
    token = _from_file.set(True)
    try:
        yield
    finally:
        _from_file.reset(token)


def token_ids(tokenizer: Tokenizer, text: str, max_tokens: int, name: str) -> Tensor:
    """Return the token numbers (max_tokens,) of a text: the start token, the tokens of the text, then end tokens.

    Args:
        tokenizer: CLIP's tokenizer.
        text: caption or prompt.
        max_tokens: length of the result.
        name: setting that the text comes from, for messages.

    Raises:
        ValueError: the text has too many tokens, or a character that the tokenizer does not know.
    """
    start, *inner, end = tokenizer.encode(text).ids
    if len(inner) + 2 > max_tokens:
        raise ValueError(
            f"{name}={text!r}: {len(inner) + 2} tokens with start and end; at most {max_tokens} fit (max_tokens)"
        )
    # the tokenizer uses these two for what it does not know
    if start in inner or end in inner:
        raise ValueError(f"{name}={text!r}: a word or character that CLIP's tokenizer does not know")
    return torch.tensor([start, *inner, *[end] * (max_tokens - 1 - len(inner))])


def load_pretrained(pretrained: str) -> tuple[Tokenizer, CLIPTextModel]:
    """Load tokenizer and text encoder from a local folder, the local cache, or the hub, whichever has them first.

    Args:
        pretrained: local folder, or name of a model on the hub.

    Raises:
        ValueError: the model is not found, the hub does not answer within `HUB_TIMEOUT`, the model is not a CLIP, or the call is
            made inside `nothing_fetched`.
    """
    if _from_file.get():
        raise ValueError(
            f"pretrained={pretrained}: not fetched for a checkpoint, which must contain its own text encoder"
        )
    transformers = _transformers()
    folder = _folder_of(pretrained)
    if not (folder / "tokenizer.json").is_file() and not (folder / "merges.txt").is_file():
        raise ValueError(f"pretrained={pretrained}: no tokenizer there (tokenizer.json, or vocab.json with merges.txt)")
    # transformers would warn that the weights of CLIP's image encoder are left out
    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tokenizer = transformers.CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
        encoder, report = transformers.CLIPTextModel.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:
        # three packages raise errors of their own for files that are missing or damaged
        raise ValueError(f"pretrained={pretrained}: {' '.join(str(error).split())[:300]}") from error
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
    missing = [name for name in report["missing_keys"] if not name.endswith("position_ids")]
    if missing:
        raise ValueError(f"pretrained={pretrained}: no weights of a CLIP text encoder there ({missing[0]} is missing)")
    return tokenizer.backend_tokenizer, encoder


def rebuild(text_settings: dict[str, Any], tokenizer_json: str) -> tuple[Tokenizer, CLIPTextModel]:
    """Build the tokenizer, and the encoder with random weights, from the description in a checkpoint.

    Args:
        text_settings: values of `TEXT_SETTINGS`.
        tokenizer_json: the tokenizer as JSON.

    Raises:
        ValueError: text_settings has another key.
    """
    transformers = _transformers()
    from tokenizers import Tokenizer

    unknown = set(text_settings) - set(TEXT_SETTINGS)
    if unknown:
        raise ValueError(f"text_settings={sorted(unknown)}: choices: {', '.join(TEXT_SETTINGS)}")
    return Tokenizer.from_str(tokenizer_json), transformers.CLIPTextModel(transformers.CLIPTextConfig(**text_settings))


def _folder_of(pretrained: str) -> Path:
    """Return the local folder with the model's files, after downloading them from the hub if they are not there."""
    if user_path(pretrained).is_dir():
        return user_path(pretrained)
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    where = f"pretrained={pretrained}"
    try:
        return Path(snapshot_download(pretrained, local_files_only=True, allow_patterns=[*CONFIG_FILES, *WEIGHT_FILES]))
    except LocalEntryNotFoundError:
        pass
    except HFValidationError as error:
        raise ValueError(f"{where}: neither a local folder nor the name of a model on the hub") from error
    try:
        files = {entry.rfilename for entry in HfApi().model_info(pretrained, timeout=HUB_TIMEOUT).siblings or []}
        weights = "*.safetensors" if any(name.endswith(".safetensors") for name in files) else "pytorch_model.bin"
        return Path(snapshot_download(pretrained, allow_patterns=[*CONFIG_FILES, weights]))
    except RepositoryNotFoundError as error:
        raise ValueError(f"{where}: neither a local folder nor a public model on the hub") from error
    except Exception as error:
        # without a network, behind a firewall or after a broken download several packages raise errors of their own
        raise ValueError(
            f"{where}: neither a local folder nor in the local cache, and the hub does not answer "
            f"({type(error).__name__}); on a machine with a network: hf download {pretrained} --local-dir clip, "
            "then conditioning.pretrained=clip"
        ) from error


def _transformers() -> Any:
    require("text", "CLIP's text encoder")
    import transformers

    return transformers
