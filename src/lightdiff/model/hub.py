"""Models on the hub of Hugging Face, whose paths are hf://user/name or hf://user/name@revision.

Two files of a model are downloaded, which cannot hold code, into the cache of huggingface_hub. Without the internet the cache
serves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightdiff.config.extras import require
from lightdiff.model.errors import CheckpointError
from lightdiff.model.export import CONFIG, WEIGHTS
from lightdiff.model.limits import MAX_HEADER
from lightdiff.utils.files import ON_HUB, is_on_hub

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PART = r"[A-Za-z0-9](?:[\w.-]{0,94}[\w])?"
NAME = re.compile(rf"{PART}/{PART}", re.ASCII)
"""A model's name on the hub: user/name."""
REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)
"""A branch, a tag or a commit."""
MOST_BYTES = {CONFIG: MAX_HEADER, WEIGHTS: 20_000_000_000}
"""Files that are downloaded -> bytes beyond which they are refused before the download. Models of lightdiff are far smaller."""
SECONDS = 10
"""How long the hub may take to answer a question."""
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
REFUSALS = {
    401: f"the hub does not know this token; {LOG_IN}",
    403: "this token may not do that; one that may write is needed, or another name",
}
"""Status of an answer -> the reason, in words."""


@dataclass(frozen=True)
class HubModel:
    """A model on the hub.

    Args:
        name: user/name.
        revision: branch, tag or commit; None: the branch main.
    """

    name: str
    revision: str | None = None

    @classmethod
    def of(cls, path: str) -> HubModel:
        """Read a path such as hf://user/name@v1.

        Raises:
            CheckpointError: it is none.
        """
        name, at, revision = path.removeprefix(ON_HUB).partition("@")
        if not is_name(name) or (at and (not REVISION.fullmatch(revision) or ".." in revision)):
            raise CheckpointError(
                f"{path}: not the path of a model on the hub; hf://user/name or hf://user/name@revision"
            )
        return cls(name, revision or None)


def is_name(name: str) -> bool:
    """Return whether a model on the hub can be called so: user/name."""
    return NAME.fullmatch(name) is not None and ".." not in name and "--" not in name


def downloaded(path: str) -> Path:
    """Return the weights' file of a model on the hub in the cache, downloaded if need be, with its config.json beside it.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        CheckpointError: there is no such model or revision, it may not be read, it lacks a file, a file is too large, or the hub
            cannot be reached and the cache does not have it; one line that begins with the path.
    """
    model = HubModel.of(path)
    require("hub", path)
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        with _named(path, model):
            info = api.model_info(model.name, revision=model.revision, files_metadata=True, timeout=SECONDS)
    except _Unreachable as error:
        return _cached(path, model, api, str(error))
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    for name, most in MOST_BYTES.items():
        if name not in sizes:
            raise CheckpointError(
                f"{path}: no model of lightdiff, it has no {name}; there: {', '.join(sizes)[:120] or 'nothing'}"
            )
        if (sizes[name] or 0) > most:
            raise CheckpointError(f"{path}: {name} has {sizes[name]:,} bytes, more than {most:,}")
    try:
        with _named(path, model):
            config = _file(api, model.name, CONFIG, model.revision)
            # both files from the same commit, even if somebody pushes meanwhile
            return _file(api, model.name, WEIGHTS, config.parent.name)
    except _Unreachable as error:
        raise CheckpointError(f"{path}: {error}") from error


def exact_path(path: str | Path, file: Path) -> str | None:
    """Return the path of a model on the hub with the commit that was read, hf://user/name@commit; None for a model elsewhere.

    Args:
        path: as the user gave it.
        file: its weights' file, as `downloaded` returned it.
    """
    return f"{ON_HUB}{HubModel.of(str(path)).name}@{file.parent.name}" if is_on_hub(path) else None


def push(folder: Path, name: str, *, private: bool) -> str:
    """Upload the files of a folder to the model `name` on the hub, which is made if need be, as one commit; return its address.

    Raises:
        CheckpointError: the hub cannot be reached or refuses; one line that begins with "push_to".
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api, model, key = HfApi(), HubModel(name), f"push_to={name}"
    files = [CommitOperationAdd(file.name, str(file)) for file in sorted(folder.iterdir())]
    try:
        with _named(key, model):
            try:
                public = not api.model_info(name, timeout=SECONDS).private
            except RepositoryNotFoundError:
                api.create_repo(name, private=private)
                public = not private
            if private and public:
                raise CheckpointError(
                    f"{key}: it is there and public; private=true expects a new name or a private model"
                )
            commit = api.create_commit(name, files, commit_message="Upload a model of lightdiff")
            return f"{ON_HUB}{name}@{commit.oid}"
    except _Unreachable as error:
        raise CheckpointError(f"{key}: {error}") from error


def check_push(name: str) -> None:
    """Refuse a push that cannot succeed, without asking the hub.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        CheckpointError: no model can be called so, there is no token, or the internet is switched off.
    """
    key = f"push_to={name}"
    if not is_name(name):
        raise CheckpointError(f"{key}: user/name is expected, the name of a model on the hub")
    require("hub", key)
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise CheckpointError(f"{key}: HF_HUB_OFFLINE is set")
    if get_token() is None:
        raise CheckpointError(f"{key}: nobody is logged in; {LOG_IN}")


def _file(api: HfApi, name: str, file: str, revision: str | None, **options: Any) -> Path:
    # not resolved: the cache's link has the name of the file, and its target that of the content
    return Path(api.hf_hub_download(name, file, revision=revision, **options))


def _cached(path: str, model: HubModel, api: HfApi, reason: str) -> Path:
    """Return the weights' file from the cache alone, with the commit that the cache last knew for the revision."""
    try:
        config = _file(api, model.name, CONFIG, model.revision, local_files_only=True)
        return _file(api, model.name, WEIGHTS, config.parent.name, local_files_only=True)
    except Exception as error:
        raise CheckpointError(f"{path}: {reason}, and the cache does not hold this model") from error


class _Unreachable(Exception):
    """The hub did not answer, which another answer or the cache may make up for."""


@contextmanager
def _named(key: str, model: HubModel) -> Iterator[None]:
    """Turn errors of huggingface_hub into CheckpointErrors of one line that begins with `key`, or into `_Unreachable`."""
    from huggingface_hub import errors

    try:
        yield
    except CheckpointError:
        raise
    except errors.GatedRepoError as error:
        raise CheckpointError(f"{key}: its owner has to grant access to it on its page; then {LOG_IN}") from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{key}: the hub has no such model, or it is private; for a private one {LOG_IN}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{key}: the model has no revision {model.revision}") from error
    except errors.LocalEntryNotFoundError as error:
        raise _Unreachable("the connection to the hub broke off") from error
    except errors.EntryNotFoundError as error:
        raise CheckpointError(f"{key}: a file of the model is gone") from error
    except errors.OfflineModeIsEnabled as error:
        raise _Unreachable("HF_HUB_OFFLINE is set") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in REFUSALS:
            raise CheckpointError(f"{key}: {REFUSALS[status]}") from error
        raise _Unreachable(f"the hub answers with error {status}") from error
    except ValueError as error:
        raise CheckpointError(f"{key}: {' '.join(str(error).split())[:200]}") from error
    # the client's library for HTTP, which differs between versions, has errors of its own
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise _Unreachable(f"the hub cannot be reached ({type(error).__name__}: {reason})") from error
