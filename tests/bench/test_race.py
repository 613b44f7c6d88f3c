"""bench/race.py: the clock, each contender for seconds, what a stop leaves, the tables, and the held-out judge."""

from __future__ import annotations

import importlib.util
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TextIO

import imageio.v3 as imageio
import pytest
import torch

from lightdiff.data import DiffSet
from racing import heat, judges, ours, standings, transformer, worker
from racing.clock import Snapshots, TimeIsUp
from racing.entry import batches, entry_files, load_entry, padded
from racing.heat import draw
from racing.protocol import ROOT
from racing.task import Task
from small_sets import write_small_sets

FILES = entry_files([ROOT / "bench" / "race"])
OURS = ("lightdiff", "lightdiff_without_classes")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
"""Those of the packages."""


@pytest.fixture(scope="module")
def race() -> ModuleType:
    """The command, which is a file beside the folder bench/race."""
    spec = importlib.util.spec_from_file_location("race_command", ROOT / "bench" / "race.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def task(tmp_path: Path) -> Callable[[str], Task]:
    """Makes a task of 128 images full of noise."""

    def make(data: str) -> Task:
        folder, prepared = tmp_path / "heat", tmp_path / "prepared"
        folder.mkdir(exist_ok=True)
        prepared.mkdir(exist_ok=True)
        made = Task(data, 0, (3.0,), str(folder), str(prepared), str(tmp_path))
        images = torch.randint(0, 256, (128, made.channels, made.size, made.size), dtype=torch.uint8)
        torch.save({"images": images, "labels": torch.arange(128) % 10}, made.images_file)
        return made

    return make


def ticking() -> Callable[[], float]:
    """A clock that is a second later each time it is read."""
    ticks = itertools.count()
    return lambda: float(next(ticks))


def test_snapshots_cost_no_time_and_end_the_training(tmp_path: Path) -> None:
    now = [100.0]

    def save(path: Path) -> None:
        path.touch()
        # slow to write
        now[0] += 1000

    snapshots = Snapshots(tmp_path, (10, 14, 20), start=100.0, clock=lambda: now[0])
    for _ in range(9):
        now[0] += 1
        snapshots.after_step(save)
    assert not list(tmp_path.iterdir())
    # a long step passes two marks
    now[0] += 6
    snapshots.after_step(save)
    assert snapshots.elapsed() == 15 and snapshots.share == 0.75
    now[0] += 7
    with pytest.raises(TimeIsUp):
        snapshots.after_step(save)
    lines = [json.loads(line) for line in (tmp_path / "snapshots.jsonl").read_text().splitlines()]
    assert [(line["seconds"], line["steps"]) for line in lines] == [(15, 10), (22, 11)]
    assert all((tmp_path / line["file"]).is_file() for line in lines)


def test_a_recipe_that_ends_early_leaves_its_last_weights(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, (10, 20), start=0.0, clock=lambda: 5.0)
    for _ in range(2):
        snapshots.after_training(Path.touch)
    assert [path.name for path in tmp_path.glob("*.pt")] == ["0000005.0.pt"]


def test_batches_are_shuffled_epochs_in_the_range_of_networks(task: Callable[[str], Task]) -> None:
    told = task("mnist")
    images, labels = told.load()
    stream = batches(told, images, labels, 32, mirror=False)
    seen = [next(stream) for _ in range(4)]
    assert sorted(torch.cat([label for _, label in seen]).tolist()) == sorted(labels.tolist())
    assert torch.cat([image for image, _ in seen]).aminmax() == (-1, 1)
    again, turned = (next(batches(told, images, labels, 32, mirror=mirror))[0] for mirror in (False, True))
    assert torch.equal(again, seen[0][0])
    kept = [torch.equal(image, other) for image, other in zip(again, turned, strict=True)]
    mirrored = [torch.equal(image.flip(-1), other) for image, other in zip(again, turned, strict=True)]
    assert all(one != other for one, other in zip(kept, mirrored, strict=True)) and 4 < sum(kept) < 28
    assert padded(images, 32)[..., 2:-2, 2:-2].equal(images) and padded(images, 32)[..., :2].sum() == 0


SMALL_FLOW = {"num_channels": 32, "num_res_blocks": 1, "channel_mult": [1, 1]}
TINY: dict[str, dict[str, Any]] = {
    "denoising_diffusion_pytorch": {"network": {"dim": 8, "dim_mults": (1, 2), "flash_attn": True}},
    "diffusers": {"widths": (32, 32)},
    "torchcfm": {"network": dict.fromkeys(("mnist", "cifar"), SMALL_FLOW)},
    "torchcfm_classes": {"network": {"mnist": SMALL_FLOW}},
}
"""Attributes of contenders that make their networks small."""


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *((name, "mnist") for name in FILES if name not in OURS),
        ("torchcfm", "cifar"),
        ("denoising_diffusion_pytorch", "cifar"),
    ],
)
def test_a_contender_trains_and_its_snapshot_draws(
    name: str, data: str, task: Callable[[str], Task], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = load_entry(FILES[name])
    if entry.missing():
        pytest.skip(f"{', '.join(entry.missing())} not installed: pip install -e '.[bench]'")
    for attribute, value in TINY.get(name, {}).items():
        monkeypatch.setattr(entry, attribute, value, raising=True)
    if name == "smalldiffusion":
        small = replace(entry.recipes["mnist"], network={"ch": 32, "ch_mult": (1, 1), "attn_resolutions": ()})  # type: ignore[attr-defined]
        monkeypatch.setattr(entry, "recipes", {"mnist": small})
    told = task(data)
    entry.prepare(told)
    snapshots = Snapshots(Path(told.folder, "snapshots"), told.marks, start=0, clock=ticking())
    with pytest.raises(TimeIsUp):
        entry.train(told, snapshots)
    (file,) = Path(told.folder, "snapshots").glob("*.pt")
    images = draw(entry, told, file, 3)
    assert images.shape == (3, told.channels, told.size, told.size) and images.dtype == torch.uint8
    assert images.float().std() > 10  # noise at least, after so few steps
    assert torch.equal(images, draw(entry, told, file, 3))
    assert entry.versions().keys() == set(entry.packages)


def test_ours_is_the_command_line_and_its_checkpoints_draw(
    task: Callable[[str], Task], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_small_sets(tmp_path)
    told = task("mnist")
    entry = load_entry(FILES["lightdiff_without_classes"])
    small = ("callbacks=no_samples", "model.widths=[8,8]", "model.group_channels=4", "dataset.batch_size=8")
    monkeypatch.setattr(entry, "overrides", (*entry.overrides, *small, "dataset.drop_last=false"))  # type: ignore[attr-defined]
    snapshots = Snapshots(Path(told.folder, "snapshots"), told.marks, start=0, clock=ticking())
    entry.train(told, snapshots)
    (file,) = Path(told.folder, "snapshots").glob("*.pt")
    assert snapshots.steps < 7 * 3
    assert draw(entry, told, file, 3).shape == (3, 1, 28, 28)
    line = json.dumps(load_entry(FILES["lightdiff"]).overrides)  # type: ignore[attr-defined]
    assert line == "[]" and load_entry(FILES["lightdiff"]).with_classes and not entry.with_classes


def test_our_callback_ends_the_run_at_the_last_mark(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, (2.0,), start=0, clock=ticking())
    trainer: Any = SimpleNamespace(should_stop=False, save_checkpoint=Path.touch)
    callback = ours.PutAside(snapshots)
    for _ in range(9):
        callback.on_train_batch_end(trainer, None, None, None, 0)  # type: ignore[arg-type]
    callback.on_train_end(trainer, None)  # type: ignore[arg-type]
    assert trainer.should_stop and len(list(tmp_path.glob("*.pt"))) == 1


ENTRY = '''
import torch

from racing.entry import Entry


class Flat(Entry):
    """Draws images of one gray level; its training fails if a file says so."""

    packages = ("torch",)
    recipe = "none"

    def train(self, task, snapshots):
        from pathlib import Path

        if Path(task.data_dir, "fail").exists():
            raise SystemExit("the network is broken")
        while True:
            snapshots.after_step(lambda path: torch.save(torch.tensor(0.5), path))

    def sampler(self, task, file):
        level = torch.load(file, weights_only=True)
        return lambda rows: level + 0.1 * torch.randn(len(rows), task.channels, 32, 32)
'''


@pytest.fixture
def place(tmp_path: Path, race: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small data sets, an entry, and judges that are quick."""
    write_small_sets(tmp_path)
    (tmp_path / "entries").mkdir()
    (tmp_path / "entries" / "flat.py").write_text(ENTRY)

    class Level:
        """A judge by the mean gray level."""

        def __init__(self, name: str) -> None:
            self.name = name

        def distance(self, images: torch.Tensor) -> float:
            return images.float().mean().item()

        def floor(self, count: int) -> float:
            return 0.5

        def describe(self) -> dict[str, Any]:
            return {"name": self.name, "sha256": self.name}

    monkeypatch.setattr(race, "judges_of", lambda task, inception: {"level": Level("level")})
    monkeypatch.setattr(race, "Level", Level, raising=False)
    return tmp_path


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a contender train in this process, since a new one takes seconds to import PyTorch."""

    def run(command: list[str], *, stdout: TextIO, **_: Any) -> SimpleNamespace:
        try:
            worker.main(*command[3:])
        except SystemExit as error:
            stdout.write(f"{error}\n")
            stdout.flush()
            return SimpleNamespace(returncode=1)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(heat, "subprocess", SimpleNamespace(run=run))


def arguments(place: Path, *more: str) -> list[str]:
    out, entries = str(place / "out"), str(place / "entries")
    fixed = ["--out", out, "--entries", entries, "--data-dir", str(place), "--threads", "1", "--only", "flat"]
    return [*fixed, "--minutes", "0.002", "--samples", "4", *more]


@pytest.mark.usefixtures("in_this_process")
def test_the_race_is_written_as_it_goes_and_goes_on_where_it_was(
    place: Path, race: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "fail").touch()
    assert race.main(arguments(place)) == 1 and not list((place / "out").glob("*.json"))
    assert "training ended with exit code 1: the network is broken" in capsys.readouterr().err
    (place / "fail").unlink()
    assert race.main(arguments(place)) == 0
    (file,) = (place / "out").glob("*.json")
    content = json.loads(file.read_text())
    assert file.name == "mnist-0.002min-4-flat-seed0.json"
    facts = content["facts"]
    assert facts["versions"].keys() == {"torch"} and facts["machine"] and facts["load_average_after"] >= 0
    assert content["points"] and all(100 < point["distances"]["level"] < 220 for point in content["points"])
    # nothing is trained again, and a judge that comes later sees the images that were drawn
    (place / "fail").touch()
    both = {"level": race.Level("level"), "second": race.Level("second")}
    monkeypatch.setattr(race, "judges_of", lambda task, inception: both)
    monkeypatch.setattr(heat, "draw", None)
    assert race.main(arguments(place)) == 0
    again = json.loads(file.read_text())
    assert [point["distances"]["second"] for point in again["points"]] == [
        point["distances"]["level"] for point in content["points"]
    ]
    assert not list((place / "out" / "work").rglob("snapshots/*.pt"))


@pytest.mark.slow
def test_the_clock_of_a_contender_starts_with_its_process(place: Path, race: ModuleType) -> None:
    assert race.main(arguments(place)) == 0
    (file,) = (place / "out").glob("*.json")
    point = json.loads(file.read_text())["points"][-1]
    # importing PyTorch alone takes so long
    assert point["steps"] == 1 and point["seconds"] > 0.3


def record(contender: str, seed: int, ends: list[float], sha: str = "a", **facts: Any) -> dict[str, Any]:
    known = {
        **{
            "version": 1,
            "data": "mnist",
            "images": 60000,
            "minutes": 10.0,
            "samples": 1000,
            "machine": "a machine",
            "cores": 2,
        },
        **{"threads": 2, "device": "cpu", "torch": "2.0", "date": "2026-12-01", "seed": seed},
        **{"load_average_before": 0.1, "load_average_after": 2.0, **facts},
    }
    points = [
        {"seconds": 60.0 * (k + 1), "steps": 10 * (k + 1), "distances": {"classifier": end, "transformer": 2 * end}}
        for k, end in enumerate(ends)
    ]
    named = {name: {"name": name, "sha256": sha, "floor": 0.125} for name in ("classifier", "transformer")}
    return {
        "contender": contender,
        "with_classes": contender == "ours",
        "facts": known,
        "judges": named,
        "points": points,
    }


def test_tables_and_curves_show_what_compares(
    tmp_path: Path, race: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--out", str(tmp_path)]
    assert race.main([*line, "--table"]) == 2 and "no results of a race" in capsys.readouterr().err
    records = [
        *(record("theirs", seed, [90.0, 30.0 + seed]) for seed in range(3)),
        record("ours", 0, [8.0, 0.5]),
        record("ours", 0, [7.0, 0.25], sha="b"),
        record("ours", 0, [7.0, 0.75], machine="another one"),
        record("ours", 0, [7.0, 0.75], images=30000),
    ]
    for number, content in enumerate(records):
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
    assert race.main([*line, "--table"]) == 0
    blocks = capsys.readouterr().out.split("### ")[1:]
    assert len(blocks) == 4
    assert "| ours | yes | 1 | 20 | 0.5 | 1 |\n| theirs | no | 3 | 20 | 31 (30 to 32) | 62 (60 to 64) |" in blocks[0]
    assert "| *random training images* | | | | 0.125 | 0.125 |" in blocks[0]
    assert "| theirs | 1.0: 90, 2.0: 31 |" in blocks[0] and "theirs" not in "".join(blocks[1:])
    standings.draw_curves(standings.races(tmp_path)[0], tmp_path / "curves.png")
    pixels = torch.from_numpy(imageio.imread(tmp_path / "curves.png")[..., :3].copy()).view(-1, 3)
    colours = {tuple(pixel) for pixel in pixels.unique(dim=0).tolist()}
    assert {(31, 119, 180), (255, 127, 14)} <= colours  # both curves


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            ["--only", "nobody"],
            "error: --only nobody: no such contender; choices: denoising_diffusion_pytorch, diffusers",
        ),
        (["--minutes", "0"], "error: --minutes 0: a number above 0 is expected"),
        (["--at", "3", "2"], "error: --at 3 2: ascending minutes above 0 and up to --minutes are expected"),
        (["--samples", "1"], "error: --samples 1: 2 or more are expected"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(
    line: list[str], message: str, race: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert race.main(["--out", str(tmp_path / "out"), *line]) == 2
    error = capsys.readouterr().err
    assert error.startswith(message) and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_the_list_names_every_contender_with_its_recipe(race: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert race.main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name}" in f"\n{printed}" for name in FILES) and {*OURS} < {*FILES}
    assert "conditioning=none" in printed


def test_a_file_with_no_contender_is_refused(
    tmp_path: Path, race: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.py").write_text("from racing.entry import Entry\n")
    assert race.main(["--entries", str(tmp_path), "--list"]) == 2
    assert "one class derived from racing.entry.Entry is expected, and there are 0" in capsys.readouterr().err


@pytest.fixture(scope="module")
def digits() -> Iterator[DiffSet]:
    data = DiffSet("digits", image_size=16)
    data.setup()
    yield data


def test_the_held_out_judge_is_made_kept_and_tells_digits_from_noise(
    digits: DiffSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = transformer.train_judge(digits, 30, tmp_path)
    # 60 steps on 180 images: better than chance, which reads a tenth right
    assert facts["trained_on"] == "180 test images" and facts["accuracy_on_training_images"] > 0.15
    extractor = transformer.TransformerExtractor(tmp_path)
    extractor.prepare(digits, "cpu")
    assert extractor.describe()["sha256"] == facts["sha256"]
    images = digits.train_set[range(64)]["image"]
    noise = torch.randint(0, 256, images.shape, dtype=torch.uint8)
    monkeypatch.setattr(judges, "race_data", lambda task: digits)
    monkeypatch.setattr(judges, "TransformerExtractor", lambda: transformer.TransformerExtractor(tmp_path))
    told = Task("digits", 0, (1.0,), "", "", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    found = judges.judges_of(told, None)
    assert [*found] == ["classifier", "transformer"]
    for judge in found.values():
        assert judge.distance(images) < judge.distance(noise) / 3 and judge.floor(64) > 0


@pytest.mark.parametrize("data", sorted(path.stem for path in transformer.FOLDER.glob("*.json")))
def test_the_judge_of_a_data_set_is_there_whole(data: str) -> None:
    facts = json.loads((transformer.FOLDER / f"{data}.json").read_text())
    extractor = transformer.TransformerExtractor()
    extractor.prepare(SimpleNamespace(name=data), "cpu")  # type: ignore[arg-type]
    assert extractor.sha256 == facts["sha256"] and facts["accuracy_on_training_images"] > 0.4


def test_a_judge_that_is_missing_is_named_with_its_command(digits: DiffSet) -> None:
    with pytest.raises(ValueError, match=r"there is no judge of digits; make it with python bench/judge.py digits"):
        transformer.TransformerExtractor().prepare(digits, "cpu")
