"""Which rank a process has, read off the environment that a launcher makes and off the process group."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import lightdiff
from lightdiff.utils import ranks
from lightdiff.utils.collectives import from_first, gathered

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
SRUN = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "2", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}
LIGHTNING = {ranks.FIRST_RANK: "17", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
ALONE = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
ONE_TASK = {**SRUN, "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):
    def let(environment: dict[str, str]) -> None:
        for name in {*TORCHRUN, *SRUN, *LIGHTNING}:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return let


@pytest.mark.parametrize(
    ("environment", "expected", "local"),
    [
        ({}, (0, 1), 0),
        (TORCHRUN, (3, 4), 1),
        (SRUN, (2, 8), 0),
        (LIGHTNING, (1, 2), 1),
        # Lightning has not started the others yet
        ({ranks.FIRST_RANK: "17"}, (0, 1), 0),
        # a batch script of SLURM, which runs once
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, (0, 1), 0),
        (ONE_TASK, (0, 1), 0),
        # each within a task of srun
        ({**ONE_TASK, **LIGHTNING}, (1, 2), 1),
        ({**SRUN, **TORCHRUN}, (3, 4), 1),
        ({**SRUN, **ALONE}, (0, 1), 0),
    ],
)
def test_the_innermost_launcher_says_the_rank(
    environment: dict[str, str], expected: tuple[int, int], local: int, only
) -> None:
    only(environment)
    assert (ranks.rank_and_world_size(), ranks.local_rank()) == (expected, local)


@pytest.mark.parametrize("environment", [TORCHRUN, SRUN, {**SRUN, **TORCHRUN}])
def test_a_process_whose_other_ranks_have_been_sent_away_is_single(environment: dict[str, str], only) -> None:
    only(environment)
    ranks.become_single()
    assert ranks.launcher() is None and ranks.rank_and_world_size() == (0, 1)


def test_the_process_group_comes_before_the_environment(only, monkeypatch: pytest.MonkeyPatch) -> None:
    only(SRUN)
    for name, value in {"is_initialized": True, "get_rank": 1, "get_world_size": 3}.items():
        monkeypatch.setattr(f"torch.distributed.{name}", lambda value=value: value)
    assert ranks.rank_and_world_size() == (1, 3)


def test_a_share_without_the_shares_of_the_others_is_an_error(only) -> None:
    """A result of some of the images must not be taken for that of all."""
    only(TORCHRUN)
    for collective in (gathered, from_first):
        with pytest.raises(ValueError, match="process group has not been initialized"):
            collective(1)
    only({})
    assert (gathered(1), from_first(1)) == ([1], 1)


def test_shares_cover_all_rows_once() -> None:
    shares = [ranks.rank_rows(10, rank, 4) for rank in range(4)]
    assert [row for share in shares for row in share] == list(range(10))
    assert {len(share) for share in shares} == {2, 3}


def test_the_rank_is_known_without_importing_torch(run_module) -> None:
    # without site packages, whose .pth files may import torch; the sources are named because an editable installation needs them
    source = Path(lightdiff.__file__).parents[1]
    code = "import sys, lightdiff.utils.ranks as r; r.rank_and_world_size(); raise SystemExit('torch' in sys.modules)"
    assert run_module("-S", "-c", code, PYTHONPATH=f"{source}{os.pathsep}{os.pathsep.join(sys.path)}").returncode == 0
