"""Models on the hub, pushed and read by commands through the real client, on a small hub on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from hostile import asking
from hub_server import TOKEN, Hub, Repository
from lightdiff import load_model
from lightdiff.config.extras import EXTRAS
from lightdiff.model import CheckpointError
from runs import ROOT, TINY, tiny, train

Command = Callable[..., CompletedProcess[str]]
MODEL = ROOT / "models" / "mnist_fast"
FILES = {name: (MODEL / name).read_bytes() for name in ("config.json", "model.safetensors")}
NEW = ("sampler.num_steps=2", "progress=false")

pytest.importorskip("huggingface_hub")


def at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub ask the hub at this address, as HF_ENDPOINT does for a new process."""
    from huggingface_hub import constants

    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + template)
    monkeypatch.setattr(constants, "ENDPOINT", url)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub, which huggingface_hub asks, with an empty cache; the user is logged in."""
    from huggingface_hub import close_session, constants

    # connections that another test has opened may go by way of that test's proxy
    close_session()
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at(server.url, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def model(hub: Hub) -> str:
    """Path of the digits' model on the hub."""
    hub.repositories["user/digits"] = Repository()
    hub.repositories["user/digits"].commit({**FILES, "train.py": b"raise SystemExit", "other.bin": b"0" * 1000})
    return "hf://user/digits"


def refused(done: CompletedProcess[str], message: str) -> None:
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 2


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    # nobody listens at the port for discarding
    at("http://127.0.0.1:9", monkeypatch)


def test_what_was_pushed_loads_with_the_same_weights(hub: Hub, command: Command, tmp_path: Path) -> None:
    done = command("export.py", f"ckpt_path={MODEL}", "push_to=user/mine", "private=true", "samples=1")
    assert done.returncode == 0, done.stderr
    repository = hub.repositories["user/mine"]
    sha, files = repository.commits[-1]
    assert f"hf://user/mine@{sha}" in done.stdout
    assert repository.private
    assert set(files) == {"README.md", "config.json", "model.safetensors", "samples.png"}
    assert "load_model('hf://user/mine')" in files["README.md"].decode()
    assert not [path for path in tmp_path.iterdir() if path.name != "cache"]
    ours, theirs = load_model(MODEL).state_dict(), load_model("hf://user/mine").state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_only_the_two_files_are_downloaded_and_only_once(hub: Hub, model: str) -> None:
    load_model(model)
    got = [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]
    assert [line.rpartition("/")[2] for line in got] == ["config.json", "model.safetensors"]
    hub.asked.clear()
    load_model(model)
    assert not [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]


def test_a_revision_is_the_model_of_that_commit(hub: Hub, model: str) -> None:
    first = hub.repositories["user/digits"].commits[0][0]
    other = {name: (ROOT / "models" / "mnist_one_step" / name).read_bytes() for name in FILES}
    hub.repositories["user/digits"].commit(other)
    assert load_model(model).trained.takes_s
    assert not load_model(f"{model}@{first}").trained.takes_s
    with pytest.raises(CheckpointError, match="hf://user/digits@v9: the model has no revision v9"):
        load_model(f"{model}@v9")


def test_sample_writes_beside_the_runs_and_not_into_the_cache(model: str, command: Command, tmp_path: Path) -> None:
    done = command("sample.py", f"ckpt_path={model}", "num_samples=2", *NEW)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "lightning_logs" / "hub" / "user" / "digits" / "samples").iterdir())
    assert not list((tmp_path / "cache").rglob("samples"))


def test_the_protocol_of_a_result_names_the_commit(hub: Hub, command: Command, tmp_path: Path) -> None:
    few = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "callbacks=no_samples")
    train(tiny(*few), tmp_path / "digits" / "version_0")
    command("export.py", f"ckpt_path={tmp_path / 'digits' / 'version_0'}", "push_to=user/mine", "samples=0")
    options = ("num_samples=50", "metrics=[fid]", "cache_dir=cache", *NEW)
    done = command("eval.py", "ckpt_path=hf://user/mine", *options)
    assert done.returncode == 0, done.stderr
    results = tmp_path / "lightning_logs" / "hub" / "user" / "mine" / "evaluation" / "results.jsonl"
    sha = hub.repositories["user/mine"].commits[-1][0]
    assert json.loads(results.read_text())["checkpoint"]["file"] == f"hf://user/mine@{sha}"


@pytest.mark.parametrize("key", ["init_from", "guidance.weak", "objective.teacher"])
def test_every_key_for_a_model_takes_one_on_the_hub(key: str, model: str, command: Command) -> None:
    """A model that does not fit is refused by its content, which has thus been read."""
    if key == "guidance.weak":
        other = ROOT / "models" / "mnist_super_resolution"
        done = command("sample.py", f"ckpt_path={other}", "guidance=auto", f"{key}={model}", "num_samples=1", *NEW)
    else:
        few_steps = ("objective=consistency",) if key == "objective.teacher" else ()
        done = command("train.py", *TINY, "callbacks=no_samples", *few_steps, f"{key}={model}")
    name = key.removeprefix("objective.")
    assert done.returncode == 2
    assert f"{name}={model}: " in done.stderr
    assert "hub" not in done.stderr.replace(model, "")


def test_the_cache_serves_without_the_internet(
    hub: Hub, model: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    weights = load_model(model).state_dict()
    hub.broken = 503
    load_model(model)
    no_network(monkeypatch)
    load_model(model)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again = load_model(model).state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    refused(
        command("sample.py", "ckpt_path=hf://user/other"),
        "ckpt_path=hf://user/other: HF_HUB_OFFLINE is set, and the cache does not hold this model",
    )


def test_without_the_internet_one_line_comes_soon(command: Command, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    no_network(monkeypatch)
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    for script, path in (("sample.py", "ckpt_path=hf://user/none"), ("export.py", "ckpt_path=hf://user/none out=x")):
        refused(command(script, *path.split()), "ckpt_path=hf://user/none: the hub cannot be reached (")
    assert sum(waited) < 1


def test_what_the_hub_does_not_give_is_one_line(
    hub: Hub, model: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["user/gated"] = Repository(gated=True)
    hub.repositories["user/private"] = Repository(private=True)
    hub.repositories["user/private"].commit(FILES)
    load_model("hf://user/private")
    messages = {
        "hf://user/none": "the hub has no such model, or it is private; for a private one log in",
        "hf://user/gated": "its owner has to grant access",
        "hf://user": "not the path of a model on the hub; hf://user/name or",
        "hf://user/a/b": "not the path of a model on the hub",
        "hf://user/digits@../../x": "not the path of a model on the hub",
    }
    for path, message in messages.items():
        refused(command("sample.py", f"ckpt_path={path}"), f"ckpt_path={path}: {message}")
    monkeypatch.delenv("HF_TOKEN")
    refused(
        command("sample.py", "ckpt_path=hf://user/private"), "ckpt_path=hf://user/private: the hub has no such model"
    )


def test_strange_models_are_refused(hub: Hub, command: Command, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    content = json.loads(FILES["config.json"])
    content["lightdiff"]["model"]["network"] = asking("os.system", marker)
    strange = {
        "hostile": {**FILES, "config.json": json.dumps(content).encode()},
        "garbled": {**FILES, "model.safetensors": b"garbled"},
        "header": {**FILES, "model.safetensors": (2**40).to_bytes(8, "little") + FILES["model.safetensors"][8:]},
        "other": {"README.md": b"", "pytorch_model.bin": b""},
        "half": {"config.json": FILES["config.json"]},
    }
    for name, files in strange.items():
        hub.repositories[f"user/{name}"] = Repository()
        hub.repositories[f"user/{name}"].commit(files)
        path = f"hf://user/{name}"
        refused(command("sample.py", f"ckpt_path={path}"), f"ckpt_path={path}: ")
        with pytest.raises(CheckpointError, match=f"^{path}: "):
            load_model(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", list(FILES))
def test_a_file_that_is_too_large_is_not_downloaded(name: str, hub: Hub, model: str, command: Command) -> None:
    hub.sizes[name] = 10**12
    refused(
        command("sample.py", f"ckpt_path={model}"), f"ckpt_path={model}: {name} has 1,000,000,000,000 bytes, more than"
    )
    assert not [line for line in hub.asked if "/resolve/" in line]


def test_a_push_that_cannot_succeed_is_one_line(
    hub: Hub, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["user/public"] = Repository()
    export = ("export.py", f"ckpt_path={MODEL}", "samples=0")
    refused(command(*export), "out=null: a folder is expected, or push_to=user/name")
    refused(command(*export, "out=x", "private=true"), "private=true: only with push_to=user/name")
    refused(command(*export, "push_to=digits"), "push_to=digits: user/name is expected")
    refused(command(*export, "push_to=user/public", "private=true"), "push_to=user/public: it is there and public")
    refused(command(*export, "push_to=them/mine"), "push_to=them/mine: this token may not do that")
    refused(command(*export, "push_to=user/mine", "license=mine"), "push_to=user/mine: Invalid metadata in README.md.")
    no_network(monkeypatch)
    # what was written stays
    refused(command(*export, "push_to=user/mine", "out=kept"), "push_to=user/mine: the hub cannot be reached")
    load_model(tmp_path / "kept")
    monkeypatch.delenv("HF_TOKEN")
    refused(command(*export, "push_to=user/mine"), "push_to=user/mine: nobody is logged in; log in with")


def test_the_extra_is_named_where_it_is_missing(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "hub", ("no_such_module",))
    refused(command("sample.py", "ckpt_path=hf://user/a"), "ckpt_path=hf://user/a: needs the extra hub")
    refused(command("export.py", f"ckpt_path={MODEL}", "push_to=user/a"), "push_to=user/a: needs the extra hub")


def test_a_teacher_on_the_hub_is_named_with_its_commit(hub: Hub, tmp_path: Path) -> None:
    few = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "callbacks=no_samples")
    train(tiny(*few), tmp_path / "digits" / "version_0")
    from lightdiff.model import save_export

    (tmp_path / "teacher").mkdir()
    save_export(load_model(tmp_path / "digits" / "version_0"), tmp_path / "teacher", weights="ema")
    hub.repositories["user/teacher"] = Repository()
    files = {path.name: path.read_bytes() for path in (tmp_path / "teacher").iterdir()}
    sha = hub.repositories["user/teacher"].commit(files)
    student = tiny(*few, "objective=consistency", "objective.teacher=hf://user/teacher")
    content = train(student, tmp_path / "digits" / "version_1")
    assert f"hf://user/teacher@{sha}" in json.dumps(content["lightdiff"]["model"]["objective"])
    # a resumed run finds it again
    train(student, tmp_path / "digits" / "version_1")


@pytest.mark.slow
def test_a_command_of_its_own_process_reads_from_the_hub(
    hub: Hub, model: str, run_script: Command, tmp_path: Path
) -> None:
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    done = run_script("sample.py", f"ckpt_path={model}", "num_samples=1", "out=drawn", *NEW, **environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "drawn" / "grid.png").is_file()
