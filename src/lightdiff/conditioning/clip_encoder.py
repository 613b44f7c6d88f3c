"""CLIP's text encoder and tokenizer, from a local folder or the hub (extra `text`), or out of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightdiff.utils.extras import require

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import CLIPTextModel

HUB_TIMEOUT = 5.0
"""Seconds to wait for the hub's first answer."""
WANTED_FILES = ("config.json", "tokenizer*.json", "vocab.json", "merges.txt", "special_tokens_map.json")
WEIGHT_FILES = ("*.safetensors", "pytorch_model.bin")
TEXT_SETTINGS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "layer_norm_eps"),
    *("max_position_embeddings", "hidden_act", "bos_token_id", "eos_token_id"),
)
"""What makes up the architecture of a text encoder."""


_from_file: ContextVar[bool] = ContextVar("from_file", default=False)


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """Within, `load_pretrained` refuses: a checkpoint brings all it needs, and what a stranger's one names is not asked for."""
    token = _from_file.set(True)
    try:
        yield
    finally:
        _from_file.reset(token)


def token_ids(tokenizer: Tokenizer, text: str, max_tokens: int, name: str) -> Tensor:
    """Token numbers (max_tokens,) of a text: start, its words, then ends; `name` is the setting it comes from.

    Raises:
        ValueError: too long, or with something that the tokenizer does not know.
    """
    start, *inner, end = tokenizer.encode(text).ids
    if len(inner) + 2 > max_tokens:
        raise ValueError(
            f"{name}={text!r}: {len(inner) + 2} tokens, start and end among them; at most {max_tokens} fit (max_tokens)"
        )
    if start in inner or end in inner:  # CLIP writes these where it knows nothing better
        raise ValueError(f"{name}={text!r}: a word or character that CLIP's tokenizer does not know")
    return torch.tensor([start, *inner, *[end] * (max_tokens - 1 - len(inner))])


def load_pretrained(pretrained: str) -> tuple[Tokenizer, CLIPTextModel]:
    """Tokenizer and text encoder from a local folder, the local cache, or the hub, in this order.

    Raises:
        ValueError: not to be had, within seconds, or no CLIP; or within `nothing_fetched`.
    """
    if _from_file.get():
        raise ValueError(f"pretrained={pretrained}: not fetched for a checkpoint, which must hold it")
    transformers = _transformers()
    folder = _folder_of(pretrained)
    if not (folder / "tokenizer.json").is_file() and not (folder / "merges.txt").is_file():
        raise ValueError(f"pretrained={pretrained}: no tokenizer there (tokenizer.json, or vocab.json with merges.txt)")
    quiet = transformers.utils.logging
    verbosity = quiet.get_verbosity()
    quiet.set_verbosity_error()  # a CLIP also has an image encoder, whose weights are left out
    quiet.disable_progress_bar()
    try:
        tokenizer = transformers.CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
        encoder, report = transformers.CLIPTextModel.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # of three packages, for files that are missing or garbled
        raise ValueError(f"pretrained={pretrained}: {' '.join(str(error).split())[:300]}") from error
    finally:
        quiet.set_verbosity(verbosity)
        quiet.enable_progress_bar()
    missing = [name for name in report["missing_keys"] if not name.endswith("position_ids")]
    if missing:
        raise ValueError(f"pretrained={pretrained}: no weights of a CLIP text encoder there ({missing[0]} is missing)")
    return tokenizer.backend_tokenizer, encoder


def rebuild(text_settings: dict[str, Any], tokenizer_json: str) -> tuple[Tokenizer, CLIPTextModel]:
    """Tokenizer and encoder out of a checkpoint's description; the weights follow with its state."""
    transformers = _transformers()
    from tokenizers import Tokenizer

    unknown = set(text_settings) - set(TEXT_SETTINGS)
    if unknown:
        raise ValueError(f"text_settings={sorted(unknown)}: choices: {', '.join(TEXT_SETTINGS)}")
    return Tokenizer.from_str(tokenizer_json), transformers.CLIPTextModel(transformers.CLIPTextConfig(**text_settings))


def _folder_of(pretrained: str) -> Path:
    """The local folder with the model's files, downloaded first where it must be."""
    if Path(pretrained).is_dir():
        return Path(pretrained)
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    where = f"pretrained={pretrained}"
    try:
        return Path(snapshot_download(pretrained, local_files_only=True, allow_patterns=[*WANTED_FILES, *WEIGHT_FILES]))
    except LocalEntryNotFoundError:
        pass
    except HFValidationError as error:
        raise ValueError(f"{where}: neither a local folder nor the name of a model on the hub") from error
    try:
        files = {entry.rfilename for entry in HfApi().model_info(pretrained, timeout=HUB_TIMEOUT).siblings or []}
        weights = "*.safetensors" if any(name.endswith(".safetensors") for name in files) else "pytorch_model.bin"
        return Path(snapshot_download(pretrained, allow_patterns=[*WANTED_FILES, weights]))
    except RepositoryNotFoundError as error:
        raise ValueError(f"{where}: neither a local folder nor a public model on the hub") from error
    except Exception as error:  # of several packages: no network, a firewall, a broken download
        raise ValueError(
            f"{where}: neither a local folder nor in the local cache, and the hub does not answer "
            f"({type(error).__name__}); where there is a network: hf download {pretrained} --local-dir clip, "
            "then conditioning.pretrained=clip"
        ) from error


def _transformers() -> Any:
    require("text", "CLIP's text encoder")
    import transformers

    return transformers
