"""What is printed to be typed comes back unchanged through the shell and through Hydra's grammar."""

from __future__ import annotations

import io
import random
import shlex
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hostile_names import NAMES
from lightdiff.utils.quoting import hydra_value, path_text, setting, word

SPECIAL = "\\\"'${}[]()=,:~ \t\n#&!%;|<>*?`^@-+.üé😀1e_/"


def read_by_hydra(argument: str) -> Any:
    """The value that a configuration gets by this argument."""
    [override] = OverridesParser.create().parse_overrides([argument])
    assert override.key_or_group == "key" and not override.is_sweep_override()
    return OmegaConf.create({"key": override.value()})["key"]


@settings(max_examples=400, deadline=None)
@given(st.text(st.one_of(st.sampled_from(SPECIAL), st.characters(exclude_categories=["Cs", "Cc"]))))
@example("")
@example("null")
@example("1e3")
@example("007")
@example("a\\")
@example("\\${key}")
@example("\\\\\n")
def test_hydra_reads_any_text_as_it_was(text: str) -> None:
    assert read_by_hydra(f"key={hydra_value(text)}") == text


@settings(max_examples=400, deadline=None)
@given(
    st.text(
        st.one_of(st.sampled_from(SPECIAL.replace("\t", "").replace("\n", "")), st.sampled_from(string.printable[:95]))
    )
)
def test_a_shell_and_hydra_together_read_any_text_as_it_was(text: str) -> None:
    [argument] = shlex.split(setting("key", text))
    assert read_by_hydra(argument) == text


@pytest.mark.parametrize("text", ["lightning_logs/mnist/version_0", ".", "../runs", "version_0", "/a/b-c/0.1", "007/x"])
def test_ordinary_paths_stay_as_they_are(text: str) -> None:
    assert setting("key", text) == f"key={text}"
    assert read_by_hydra(f"key={text}") == text


def test_bash_reads_any_word_as_it_was() -> None:
    """Among them are tabs, line breaks and bytes that are no valid text, which a name in Linux may have."""
    draw = random.Random(0)
    texts = [
        *NAMES,
        *("".join(draw.choices(SPECIAL + "\x1b\x7f\udcff\u202e", k=draw.randint(1, 12))) for _ in range(300)),
    ]
    words = [word(text) for text in texts]
    assert all(text.isprintable() for text in words)
    code = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    line = " ".join([shlex.quote(sys.executable), "-X", "utf8", "-c", shlex.quote(code), *words])
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert [text.decode("utf-8", "surrogateescape") for text in done.stdout.split(b"\0")] == texts


def test_a_terminal_without_umlauts_gets_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert word("ü=\\") == "$'\\303\\274=\\\\'"


def test_a_path_does_not_begin_like_a_home_folder_or_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [path_text(tmp_path / name) for name in ("~", "-x", "x")] == ["./~", "./-x", "x"]
