"""Names of classes as parts of names of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightdiff.utils.file_names import LONGEST_NAME, file_name

NAMES = {
    "cat": "cat",
    "Käse": "Käse",
    "Ka\u0308se": "Käse",
    "猫": "猫",
    "golden retriever": "golden retriever",
    "a/b": "a_b",
    "..": "_",
    "../../etc/passwd": ".._.._etc_passwd",
    'c:\\x<y>|"z"?*': "c__x_y___z___",
    "line\nbreak\x1b[0m\0": "line_break_[0m_",
    "\udcff": "_",
    "": "_",
    "  ": "_",
    "end. ": "end",
}


@pytest.mark.parametrize("name", list(NAMES))
def test_letters_stay_and_what_no_file_may_be_called_goes(name: str, tmp_path: Path) -> None:
    assert file_name(name) == NAMES[name]
    (tmp_path / f"00000_{file_name(name)}.png").touch()


def test_a_long_name_is_cut_between_letters(tmp_path: Path) -> None:
    short = file_name("ä" * 300)
    assert set(short) == {"ä"} and LONGEST_NAME - 1 <= len(short.encode()) <= LONGEST_NAME
    (tmp_path / f"00000_{short}.png").touch()
