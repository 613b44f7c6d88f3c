"""Pictures that visitors of the page put in: what is read, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from lightdiff.config.instantiate import ConfigError
from lightdiff.play import uploads
from lightdiff.play.uploads import read_picture
from playables import HOSTILE


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_picture_is_refused_in_one_line_and_removed(name: str, tmp_path: Path) -> None:
    content, message = HOSTILE[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_picture(tmp_path / name, (1, 28, 28))
    line = str(caught.value)
    assert line.startswith("picture=") and message in line and "\n" not in line and str(tmp_path) not in line
    assert not (tmp_path / name).exists()


def test_a_file_that_is_too_large_is_refused_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", 10)
    Image.new("L", (28, 28)).save(tmp_path / "large.png")
    with pytest.raises(ConfigError, match="large.png: a file of more than"):
        read_picture(tmp_path / "large.png", (1, 28, 28))


def test_a_picture_covers_the_models_size(tmp_path: Path) -> None:
    picture = Image.new("RGB", (60, 20))
    picture.paste((255, 0, 0), (15, 0, 45, 20))
    picture.save(tmp_path / "wide.jpg", quality=100)
    read = read_picture(tmp_path / "wide.jpg", (3, 8, 8))
    assert read.shape == (3, 8, 8) and read.dtype == torch.uint8
    # the middle is red
    assert (read[0] > 230).all() and (read[1:] < 25).all()
    assert [*tmp_path.iterdir()] == []
