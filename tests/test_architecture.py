"""Who may import whom (DESIGN section 3), read off the sources."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "lightdiff"
FILES = sorted(SOURCE.rglob("*.py"))
MAY_IMPORT = {
    "core": {"torch", "lightdiff.core"},
    "samplers": {"torch", "lightdiff.core", "lightdiff.samplers"},
    "networks": {"torch", "lightdiff.networks"},
    "conditioning": {"torch", "lightdiff.conditioning"},
    "utils": {"torch", "numpy", "imageio", "imageio_ffmpeg", "matplotlib", "typeguard", "lightdiff.utils"},
    "data": {
        *("torch", "torchvision", "pytorch_lightning", "numpy", "PIL", "sklearn", "scipy", "filelock", "datasets"),
        *("lightdiff.core.randomness", "lightdiff.data", "lightdiff.utils"),
    },
    "lightning": {
        *("torch", "torchmetrics", "pytorch_lightning", "tqdm", "safetensors"),
        *(f"lightdiff.{name}" for name in ("core", "samplers", "conditioning", "utils", "lightning")),
    },
    "metrics": {
        *("torch", "torchmetrics", "safetensors", "lightdiff.core.randomness"),
        *(f"lightdiff.{name}" for name in ("data", "lightning", "samplers", "utils", "metrics")),
    },
    "callbacks": {
        *("torch", "pytorch_lightning", "tensorboard", "yaml"),
        *(f"lightdiff.{name}" for name in ("lightning", "utils", "samplers", "core", "metrics", "callbacks")),
    },
}
ONLY_IN = {
    "diffusers": "networks/diffusers_unet.py",
    "transformers": "conditioning/clip_encoder.py",
    "sklearn": "data/sources/digits.py",
    "scipy": "data/sources/cars.py",
    "datasets": "data/sources/huggingface.py",
    "torch_fidelity": "metrics/inception.py",
}


def imports(path: Path) -> set[str]:
    """Full names of what a file imports, anywhere in it, except for type checking only."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
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
    if place.parts[0] != "tasks":
        assert not {name for name in found if name.split(".")[0] in ("hydra", "omegaconf")}
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
    assert len(path.read_text().splitlines()) <= 300


def test_every_package_is_covered() -> None:
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
    assert packages == {*MAY_IMPORT, "tasks"}


def test_every_package_is_in_the_wheel() -> None:
    """The list in pyproject.toml is written by hand, because conf lies outside of src."""
    text = (SOURCE.parent.parent / "pyproject.toml").read_text()
    listed = set(re.findall(r'^    "(lightdiff[\w.]*)",$', text, re.MULTILINE))
    packages = {".".join(path.parent.relative_to(SOURCE.parent).parts) for path in SOURCE.rglob("__init__.py")}
    assert listed == {*packages, "lightdiff.conf"}


def test_the_package_shows_its_public_names_and_nothing_else() -> None:
    import lightdiff

    assert dir(lightdiff) == ["DiffSet", "DiffusionModel", "load_model"]
    assert all(getattr(lightdiff, name).__name__ == name for name in dir(lightdiff))
    assert (SOURCE / "py.typed").is_file()
