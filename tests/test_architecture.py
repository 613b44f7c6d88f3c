"""Rules of the source tree: what each package may import, how long a file may be, and what is in the wheel."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "lightdiff"
FILES = sorted(SOURCE.rglob("*.py"))
PLAIN = tuple(f"lightdiff.config.{name}" for name in ("instantiate", "describe", "hints", "trust", "extras"))
"""The part of room config that knows plain data and names of classes only; every room may import it."""
HYDRA = ("hydra", "omegaconf")
MAY_IMPORT = {
    "utils": {"torch", "numpy", "imageio", "imageio_ffmpeg", "matplotlib", "lightdiff.utils"},
    "core": {"torch", "lightdiff.core"},
    "samplers": {"torch", "lightdiff.core", "lightdiff.samplers"},
    "inverse": {"torch", "lightdiff.core", "lightdiff.inverse"},
    "networks": {"torch", "lightdiff.networks", "lightdiff.utils.sizes"},
    "conditioning": {"torch", "numpy", "PIL", "lightdiff.conditioning", "lightdiff.utils.sizes"},
    "data": {
        *("torch", "torchvision", "pytorch_lightning", "numpy", "PIL", "sklearn", "scipy", "filelock", "datasets"),
        *("lightdiff.core.randomness", "lightdiff.data", "lightdiff.utils", *PLAIN),
    },
    "model": {
        *("torch", "torchmetrics", "pytorch_lightning", "tqdm", "safetensors", *PLAIN),
        # the reader of the image files that a user names to a model
        "lightdiff.data.given_images",
        *(f"lightdiff.{name}" for name in ("core", "samplers", "conditioning", "utils", "model")),
    },
    "metrics": {
        *("torch", "torchmetrics", "safetensors", "lightdiff.core.randomness", *PLAIN),
        *(f"lightdiff.{name}" for name in ("data", "model", "samplers", "utils", "metrics")),
    },
    "callbacks": {
        *("torch", "pytorch_lightning", "tensorboard", "wandb", "trackio", "yaml", *PLAIN),
        *(f"lightdiff.{name}" for name in ("model", "utils", "samplers", "core", "metrics", "callbacks")),
    },
    "config": {
        *("torch", "pytorch_lightning", "yaml", "typeguard", "omegaconf"),
        *(f"lightdiff.{name}" for name in ("utils", "core", "samplers", "data", "model", "config")),
    },
    "jobs": {
        *("torch", "pytorch_lightning", "yaml", "filelock", "tensorboard", "mlflow", "trackio"),
        *(
            f"lightdiff.{name}"
            for name in ("utils", "core", "samplers", "data", "model", "callbacks", "config", "jobs")
        ),
    },
}
"""Room -> what its files may import; commands may import everything."""
FORMER = ("lightning", "tasks")
"""Names of rooms in release 0.1, under which a few things can still be imported."""
ONLY_IN = {
    "diffusers": "networks/diffusers_unet.py",
    "transformers": "conditioning/clip_encoder.py",
    "sklearn": "data/sources/digits.py",
    "scipy": "data/sources/cars.py",
    "datasets": "data/sources/huggingface.py",
    "torch_fidelity": "metrics/inception.py",
    "mlflow": "jobs/mlflow.py",
    "wandb": "callbacks/boards.py",
}


def imports(path: Path) -> set[str]:
    """Full names of what a file imports, anywhere in it, except for type checking only."""
    names: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_imports_only_what_its_package_may(path: Path) -> None:
    place = path.relative_to(SOURCE)
    found = imports(path)
    # a composed configuration is turned into plain data in one place beside the commands
    free = HYDRA if place.parts[0] == "commands" else HYDRA[1:] if str(place) == "config/plain.py" else ()
    assert not {name.split(".")[0] for name in found} & {*HYDRA} - {*free}
    for package, only in ONLY_IN.items():
        if str(place) != only:
            assert package not in {name.split(".")[0] for name in found}
    allowed = MAY_IMPORT.get(place.parts[0])
    if allowed is None or str(place) in ONLY_IN.values():
        return
    foreign = {name for name in found if not any(name == good or name.startswith(f"{good}.") for good in allowed)}
    assert not foreign


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_are_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_every_package_is_covered() -> None:
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
    assert packages == {*MAY_IMPORT, "commands", *FORMER}


def test_the_page_on_the_architecture_says_what_a_room_may_import() -> None:
    page = (SOURCE.parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \|[^|]*\| ([^|]*) \|$", page, re.MULTILINE)
    told = {room: {name.strip() for name in names.split(",")} for room, names in rows}
    assert told.pop("commands") == {"everything"}
    for room, allowed in MAY_IMPORT.items():
        own = {
            name.removeprefix("lightdiff.") for name in allowed if name.startswith("lightdiff.") and name not in PLAIN
        }
        plain = {"config's plain part"} if {*PLAIN} <= allowed else set()
        assert told.pop(room) == own | plain, room
    assert not told


def test_every_package_is_in_the_wheel() -> None:
    """The list in pyproject.toml is written by hand, because conf lies outside of src."""
    text = (SOURCE.parent.parent / "pyproject.toml").read_text().partition("\npackages = [")[2].partition("]")[0]
    listed = set(re.findall(r'^    "(lightdiff[\w.]*)",$', text, re.MULTILINE))
    packages = {".".join(path.parent.relative_to(SOURCE.parent).parts) for path in SOURCE.rglob("__init__.py")}
    assert listed == {*packages, "lightdiff.conf"}


def test_the_package_shows_its_public_names_and_nothing_else() -> None:
    import lightdiff

    assert dir(lightdiff) == ["DiffSet", "DiffusionModel", "load_model"]
    assert all(getattr(lightdiff, name).__name__ == name for name in dir(lightdiff))
    assert (SOURCE / "py.typed").is_file()


def opened_without_encoding(tree: ast.AST) -> list[str]:
    """Calls that read or write text in an encoding that depends on the machine."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        modes = [*node.args[: 2 if name == "open" else 1], *([given["mode"]] if "mode" in given else [])]
        binary = any(
            isinstance(mode, ast.Constant) and re.fullmatch(r"[rwax]?b\+?|[rwax]\+?b", str(mode.value))
            for mode in modes
        )
        opens_text = (
            last == "open" and name.partition(".")[0] not in ("Image", "os", "webbrowser", "tarfile") and not binary
        )
        is_process = {"text", "universal_newlines"} & given.keys() and last in ("run", "Popen", "check_output")
        others = last in ("read_text", "write_text", "FileHandler", "TextIOWrapper")
        if (opens_text or is_process or others) and "encoding" not in given:
            found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_text_has_an_encoding(path: Path) -> None:
    """Python's own choice follows the locale, and in that of C not every letter can be written."""
    assert opened_without_encoding(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("line", "number"),
    [
        *(
            ("path.read_text()", 1),
            ("path.open()", 1),
            ("path.open('a')", 1),
            ("open(x, 'w')", 1),
            ("path.open('rb')", 0),
        ),
        *(("path.open(mode='wb')", 0), ("path.write_text(x, encoding='utf-8')", 0), ("logging.FileHandler(x)", 1)),
        *(("subprocess.run(x, text=True)", 1), ("subprocess.run(x)", 0), ("Image.open(x)", 0)),
    ],
)
def test_a_missing_encoding_is_found(line: str, number: int) -> None:
    assert len(opened_without_encoding(ast.parse(line))) == number
