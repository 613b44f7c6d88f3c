"""lightdiff draws without pyplot, whose figures, windows and backend belong to the user."""

from __future__ import annotations

import re

import pytest

from runs import ROOT

DRAWING = """
import sys
import lightdiff
from lightdiff import DiffusionModel, DiffSet, load_model
import lightdiff.callbacks, lightdiff.metrics.results
from pathlib import Path
from lightdiff.utils.captions import captioned
from lightdiff.utils.plots import new_figure, pixels, save_figure
import torch
figure, (axes,) = new_figure()
axes.plot([1, 2])
save_figure(Path("figure.png"), figure)
pixels(figure)
captioned(torch.zeros(1, 20, 60, dtype=torch.uint8), ["row"], ["a", "b"])
import matplotlib
from matplotlib import pyplot
assert pyplot.get_fignums() == []
assert matplotlib.get_backend(auto_select=False) is None
"""


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("part", ["", ".core", ".samplers", ".networks", ".conditioning", ".utils.plots"])
def test_parts_without_lightning_do_not_import_matplotlib(part: str, run_module) -> None:
    """Lightning imports torchmetrics, and that imports pyplot; where there is no Lightning, there is no matplotlib either."""
    done = run_module("-c", f"import sys, lightdiff{part}; raise SystemExit('matplotlib' in sys.modules)")
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("fresh")
def test_no_backend_is_chosen_and_no_figure_is_left_to_pyplot(run_module) -> None:
    done = run_module("-c", DRAWING, MPLBACKEND="")
    assert done.returncode == 0, done.stderr


def test_no_file_imports_pyplot() -> None:
    files = sorted((ROOT / "src").rglob("*.py"))
    assert len(files) > 100
    assert [path.name for path in files if re.search(r"import.*pyplot|pyplot.*import", path.read_text())] == []
