"""bench/parts/quality.py, part f: its clocks, its marks, the recipes of the packages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from needs import needs
from parts import quality, recipes, rivals
from parts.settings import Settings
from parts.snapshots import Snapshots, TimeIsUp

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
"""Those of Lightning and the packages."""


def test_snapshots_cost_no_time_and_end_the_side(tmp_path: Path) -> None:
    now = [100.0]

    def weights() -> dict[str, torch.Tensor]:
        now[0] += 1000  # slow to write
        return {"weight": torch.zeros(1)}

    snapshots = Snapshots(tmp_path, seconds=20, count=2, start=100.0, clock=lambda: now[0])
    for _ in range(9):
        now[0] += 1
        snapshots.after_step(weights)
    assert not list(tmp_path.iterdir())
    now[0] += 1
    snapshots.after_step(weights)
    assert snapshots.elapsed() == 10 and snapshots.share == 0.5
    now[0] += 10
    with pytest.raises(TimeIsUp):
        snapshots.after_step(weights)
    assert sorted(float(file.stem) for file in tmp_path.iterdir()) == [10, 20]


def test_marks_are_reached_at_the_first_snapshot_below() -> None:
    curves = {"ours": [(60.0, 8.0), (120.0, 1.5), (180.0, 1.7)], "slow": [(180.0, 9.0)]}
    rows = quality.rows_of(curves, (5.0, 1.0), {"protocol": "few"})
    assert rows[0].values == {"ours": 2.0, "slow": None} and rows[1].values == {"ours": None, "slow": None}
    assert rows[2].values == {"ours": 1.7, "slow": 9.0}


def test_the_rate_of_the_recipe_warms_up_and_decays() -> None:
    assert (
        recipes.rate(0) == 0 and recipes.rate(recipes.WARM_UP) == 1 and recipes.rate(1) == pytest.approx(0, abs=1e-12)
    )
    assert recipes.rate(recipes.WARM_UP / 2) == 0.5 and recipes.rate((1 + recipes.WARM_UP) / 2) == pytest.approx(0.5)


@needs("denoising_diffusion_pytorch", "diffusers")
@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_trains_and_its_snapshot_draws(
    name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = torch.randint(0, 256, (100, 1, 32, 32), dtype=torch.uint8)
    monkeypatch.setattr(recipes, "padded_digits", lambda data_dir: images)
    monkeypatch.setattr(recipes, "BATCH", 8)

    def tiny_unet() -> torch.nn.Module:
        return rivals.denoising_diffusion().Unet(dim=8, dim_mults=(1, 2), channels=1, flash_attn=True)

    def tiny_unet2d() -> torch.nn.Module:
        return rivals.DiffusersUNet2D(widths=(8, 8), blocks_per_level=1, attention_levels=(1,))

    monkeypatch.setattr(recipes, "documented_unet", tiny_unet)
    for module in (recipes, quality):
        monkeypatch.setattr(module, "DiffusersUNet2D", tiny_unet2d)
    recipes.write_images(settings.work / "digits", settings.data_dir)
    ticks = iter(range(1000))
    snapshots = Snapshots(tmp_path / "snapshots", seconds=4, count=1, start=0, clock=lambda: next(ticks))
    with pytest.raises(TimeIsUp):
        recipes.RECIPES[name](snapshots, settings)
    (file,) = (tmp_path / "snapshots").iterdir()
    plain, noisy = (quality.DRAW[name](file, 3, 2, eta, 2, settings) for eta in quality.ETAS)
    assert plain.shape == (3, 1, 32, 32) and plain.dtype == torch.uint8
    assert plain.float().std() > 10  # noise at least, after so few steps
    assert not torch.equal(plain, noisy)
