"""The files with the weights of a network of diffusers: safetensors or pickles, whole or in shards, in full or half precision."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from lightdiff.model.content import TENSOR
from lightdiff.model.errors import CheckpointError
from lightdiff.model.limits import check_length
from lightdiff.model.tensor_files import read_pickle, read_safetensors
from lightdiff.utils.files import sha256_of
from lightdiff.utils.structure import TEXT, Every, Keys, Misfit
from lightdiff.utils.weight_files import STEM, UNET

ENDINGS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json")
"""Last parts of the names, the preferred ones first; between the first and the last part may stand a variant, such as fp16."""
INDEX = ".index.json"

_FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Name of a weight of an attention in diffusers before version 0.15 -> its name today."""
_FORMER_NAME = re.compile(rf"(?<=\.)({'|'.join(_FORMER)})(?=\.(weight|bias)$)")


def find_weights(folder: Path) -> Path | None:
    """Return the file with the weights in a folder of diffusers; None if the folder is none of diffusers.

    Full precision comes before variants, and safetensors before pickles. Of sharded weights it is the index of the shards.

    Raises:
        CheckpointError: the folder has no weights, or several variants of them and none in full precision.
    """
    places = [
        place for place in (folder / UNET, folder) if (place / "config.json").is_file() or [*place.glob(f"{STEM}*")]
    ]
    marked = (folder / "model_index.json").is_file() or (folder / UNET / "config.json").is_file()
    for place in places:
        for ending in ENDINGS:
            if (place / f"{STEM}{ending}").is_file():
                return place / f"{STEM}{ending}"
        for ending in ENDINGS:
            variants = sorted(path for path in place.glob(f"{STEM}.*{ending}") if not _is_shard(path))
            if len(variants) > 1:
                raise CheckpointError(
                    f"{place}: no {STEM}{ENDINGS[0]}, but several variants of it; name one: {', '.join(map(str, variants))}"
                )
            if variants:
                return variants[0]
    if marked:
        raise CheckpointError(
            f"{folder}: no weights in this folder of diffusers; {UNET}/{STEM}{ENDINGS[0]} is expected"
        )
    return None


def _is_shard(path: Path) -> bool:
    return re.search(r"-\d+-of-\d+\.", path.name) is not None


def files_of(weights: Path) -> list[Path]:
    """Return the files that hold the numbers: the file itself, or the shards that it lists, sorted by name.

    Raises:
        CheckpointError: the list of the shards is garbled, or names something else than files beside it.
    """
    if not weights.name.endswith(INDEX):
        return [weights]
    return sorted({weights.parent / name for name in _shards(weights).values()})


def _shards(index: Path) -> dict[str, str]:
    """Return the name of the shard of each weight."""
    try:
        check_length(index)
        content = json.loads(index.read_text(encoding="utf-8"))
        Keys(weight_map=Every(TEXT)).check(content)
    except OSError as error:
        raise CheckpointError(f"{index}: not readable ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{index}: garbled ({' '.join(str(error).split())[:120]})") from error
    shards: dict[str, str] = content["weight_map"]
    for name in shards.values():
        # a list from a stranger names no other files of this machine
        if Path(name).name != name or "\\" in name or not name.startswith(STEM) or Path(name).suffix not in READERS:
            raise CheckpointError(f"{index}: weight_map: {name[:80]!r} is no file of weights beside it")
    return shards


def hash_of_files(files: Sequence[Path]) -> str:
    """Return the SHA-256 of a file; of several, that of their SHA-256, one after the other."""
    hashes = []
    for file in files:
        with file.open("rb") as opened:
            hashes.append(sha256_of(opened))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def read_weights(weights: Path) -> dict[str, Tensor]:
    """Return the weights of a UNet2DModel by their names in diffusers of today. No code of the file is run.

    Args:
        weights: a file, as `find_weights` returns it.

    Raises:
        CheckpointError: a file is missing, garbled, or holds something else than tensors; one line.
    """
    return dict(_renamed(weights))


def _renamed(weights: Path) -> Iterator[tuple[str, Tensor]]:
    for file in files_of(weights):
        content = READERS[file.suffix](file)
        try:
            Every(TENSOR).check(content)
        except Misfit as error:
            raise CheckpointError(f"{file}: {error}") from error
        for name, weight in content.items():
            yield _FORMER_NAME.sub(lambda found: _FORMER[found[0]], name), weight


READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {".safetensors": read_safetensors, ".bin": read_pickle}
"""Ending of a file with weights -> the function that reads it."""
