"""Where sample.py writes: a folder holds the files of one call, and no file of anybody else is touched."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch

from lightdiff import load_model
from lightdiff.commands import pictures
from lightdiff.config.build import build_model
from lightdiff.model.content import FORMAT
from lightdiff.utils.folders import whole_folder
from lightdiff.utils.images import to_uint8
from refusals import check_refused
from runs import tiny

Command = Callable[..., CompletedProcess[str]]
NAMES = ["cat", "Käse", "a/b: <c>?", " "]
QUICK = ("sampler.num_steps=2", "progress=false", "device=cpu")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with an untrained model of four classes."""
    classes = json.dumps(NAMES, ensure_ascii=False)
    model = build_model(tiny("conditioning=label", "conditioning.num_classes=4", f"conditioning.class_names={classes}"))
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    content = {"lightdiff": {"format": FORMAT, "model": model.describe()}, "state_dict": model.state_dict()}
    torch.save(content, folder / "checkpoints" / "last.ckpt")
    return folder


@pytest.fixture
def sample(run: Path, command: Command) -> Command:
    """sample.py on that run."""
    return lambda *arguments: command("sample.py", f"ckpt_path={run}", *QUICK, *arguments)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def made(done: CompletedProcess[str], run: Path) -> Path:
    """The only folder of samples in the run."""
    assert done.returncode == 0, done.stderr
    (folder,) = (run / "samples").iterdir()
    return folder


def test_fewer_images_leave_none_of_the_first_ones(sample: Command, run: Path) -> None:
    for number in (6, 3):
        assert sample(f"num_samples={number}", "save=[png,steps]", "frame_every=1").returncode == 0
    six, three = sorted((run / "samples").iterdir(), key=lambda folder: -len(content(folder)))
    assert len(list((six / "images").iterdir())) == 6 and len(list((three / "images").iterdir())) == 3


@pytest.mark.parametrize("save", ["[png]", "[steps]", "[png,steps,grid]"])
def test_the_same_call_again_replaces_the_folder_as_a_whole(save: str, sample: Command, run: Path) -> None:
    arguments = ("num_samples=2", f"save={save}")
    folder = made(sample(*arguments), run)
    before = content(folder)
    record = json.loads((folder / "samples.json").read_text())
    (folder / "samples.json").write_text(json.dumps({**record, "files": [*before, "images/surplus.png"]}))
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "surplus.png").touch()  # as if an older version had drawn more
    assert made(sample(*arguments), run) == folder
    assert content(folder) == before


CONTENT = [
    *("seed=1", "num_samples=3", "sampler.num_steps=3", "sampler=dpmpp_2m", "sampler.clip_denoised=false"),
    *(
        "sampler.eta=0.5",
        "sampler/grid=quadratic",
        "labels=[cat,'Käse']",
        "labels=1",
        "guidance_scale=2",
        "guidance=none",
        "guidance.interval=[0,0.5]",
        "weights=raw",
    ),
    *("columns=1", "save=[grid,png]", "precision=bf16-mixed"),
]


def test_whatever_decides_the_content_decides_the_folder(sample: Command, run: Path) -> None:
    base = ("num_samples=2", "save=[grid]")
    for setting in ("seed=0", *CONTENT):
        done = sample(*base, setting)
        assert done.returncode == 0, done.stderr
    folders = list((run / "samples").iterdir())
    assert len(folders) == len(CONTENT) + 1
    assert not [folder for folder in folders if folder.name.startswith(".")]
    checkpoint = run / "checkpoints" / "last.ckpt"
    torch.save({**torch.load(checkpoint, weights_only=True), "global_step": 9}, checkpoint)
    assert sample(*base, "seed=0").returncode == 0
    assert len(list((run / "samples").iterdir())) == len(CONTENT) + 2
    assert sample(*base, "seed=0", "progress=true").returncode == 0
    assert len(list((run / "samples").iterdir())) == len(CONTENT) + 2


def test_the_folder_says_what_is_in_it(sample: Command, run: Path) -> None:
    folder = made(sample("num_samples=2", "save=[grid,png]", "labels='Käse'"), run)
    record = json.loads((folder / "samples.json").read_text())
    assert record["settings"]["labels"] == "Käse" and record["settings"]["sampler"]["num_steps"] == 2
    assert len(record["checkpoint"]["sha256"]) == 64
    assert record["checkpoint"].keys() == {"sha256", "step", "epoch"}
    assert set(record["files"]) == set(content(folder)) - {"samples.json"}
    assert str(run) not in (folder / "samples.json").read_text()


def test_out_is_not_mixed_with_what_is_there(sample: Command, run: Path, tmp_path: Path) -> None:
    arguments = ("save=[png,steps]", f"out={tmp_path / 'pictures'}")
    assert sample("num_samples=5", *arguments).returncode == 0
    before = content(tmp_path / "pictures")
    done = sample("num_samples=2", *arguments)
    check_refused(done, "overwrite=true replaces them")
    assert content(tmp_path / "pictures") == before
    assert sample("num_samples=2", *arguments, "overwrite=true").returncode == 0
    assert len(list((tmp_path / "pictures" / "images").iterdir())) == 2
    assert not list(tmp_path.glob(".*")) and not (run / "samples").exists()


@pytest.mark.parametrize(
    ("foreign", "overwrite", "drawn"),
    [
        ("notes.txt", "true", False),
        ("notes.txt", "false", True),
        ("images/holiday.png", "true", True),
        (".git/config", "true", True),
        ("link", "true", True),
        ("link", "true", False),
    ],
)
def test_files_of_others_are_never_touched(
    foreign: str, overwrite: str, drawn: bool, sample: Command, tmp_path: Path
) -> None:
    out = tmp_path / "pictures"
    arguments = ("num_samples=2", "save=[png]", f"out={out}", f"overwrite={overwrite}")
    assert not drawn or sample(*arguments).returncode == 0
    file = out / foreign
    file.parent.mkdir(parents=True, exist_ok=True)
    if foreign == "link":
        file.symlink_to(tmp_path / "run", target_is_directory=True)
    else:
        file.write_text("mine")
    before = content(out)
    check_refused(sample(*arguments), f"out={out}: it holds {foreign}, which sample.py has not written")
    assert content(out) == before


def test_files_of_others_in_the_default_folder_are_never_touched(sample: Command, run: Path) -> None:
    folder = made(sample("num_samples=2", "save=[png]"), run)
    (folder / "favourite.png").write_text("mine")
    before = content(folder)
    check_refused(sample("num_samples=2", "save=[png]"), "it holds favourite.png, which sample.py has not written")
    assert content(folder) == before


RECORDS = {
    "another program's": '{"files": ["grid.png"]}',
    "no list": '{"written_by": "lightdiff sample", "files": 3}',
    "a list of lists": '{"written_by": "lightdiff sample", "files": [["grid.png"]]}',
    "a list": "[]",
    "empty": "",
    "deep": "[" * 100_000,
    "no text": b"\xff",
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=list(RECORDS))
def test_a_record_that_is_none_lists_nothing(record: str | bytes, sample: Command, tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    out.mkdir()
    (out / "grid.png").write_text("mine")
    (out / "samples.json").write_bytes(record if isinstance(record, bytes) else record.encode())
    check_refused(sample("num_samples=1", f"out={out}", "overwrite=true"), "grid.png")


def test_an_empty_folder_is_filled_and_stays_the_same_one(sample: Command, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o750)
    (tmp_path / "real" / ".DS_Store").touch()
    (tmp_path / "link").symlink_to("real")
    inode = (tmp_path / "real").stat().st_ino
    for overwrite in ("false", "true"):
        done = sample("num_samples=1", "save=[grid]", "out=link", f"overwrite={overwrite}")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "grid.png").is_file()
        if overwrite == "false":
            assert (tmp_path / "real").stat().st_ino == inode


def test_a_failure_while_drawing_changes_nothing(
    sample: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("num_samples=1", "save=[grid,png]", "out=new/pictures", "overwrite=true")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(pictures.FILES, "png", fail)
    assert sample(*arguments).returncode == 130
    assert not (tmp_path / "new").exists()
    monkeypatch.undo()
    assert sample(*arguments).returncode == 0
    before = content(tmp_path)
    monkeypatch.setitem(pictures.FILES, "png", fail)
    assert sample(*arguments, "seed=1").returncode == 130
    assert content(tmp_path) == before


KILLED = """
import os, sys
from pathlib import Path
from lightdiff.utils.folders import whole_folder
calls = 0
def counted(function):
    def wrapper(*arguments, **options):
        global calls
        calls += 1
        if calls == int(sys.argv[1]):
            os._exit(9)
        return function(*arguments, **options)
    return wrapper
for name in ("rename", "unlink", "rmdir", "mkdir", "replace"):
    setattr(os, name, counted(getattr(os, name)))
with whole_folder(Path("samples")) as folder:
    for name in ("one", "two"):
        (folder / name).write_text("new")
print("done")
"""


def test_a_kill_leaves_the_old_or_the_new_folder(tmp_path: Path) -> None:
    """At each call of the system that changes a folder."""
    for moment in range(1, 40):
        place = tmp_path / str(moment)
        (place / "samples").mkdir(parents=True)
        (place / "samples" / "one").write_text("old")
        (place / "samples" / "three").write_text("old")
        done = subprocess.run([sys.executable, "-c", KILLED, str(moment)], cwd=place, capture_output=True, text=True)
        if (place / "samples").exists():
            found = {path.name: path.read_text() for path in (place / "samples").iterdir()}
            assert found in ({"one": "old", "three": "old"}, {"one": "new", "two": "new"})
        with whole_folder(place / "samples") as folder:
            assert {path.read_text() for path in (place / "samples").iterdir()} in ({"old"}, {"new"})
            (folder / "four").write_text("newest")
        assert [path.name for path in (place / "samples").iterdir()] == ["four"]
        if done.stdout == "done\n":
            break
    assert moment > 5


@pytest.mark.parametrize("out", ["/dev/null/x", "config.txt/x", "config.txt", "loop", "x" * 300])
def test_where_no_folder_can_be_made(out: str, sample: Command, tmp_path: Path) -> None:
    (tmp_path / "config.txt").write_text("a file")
    (tmp_path / "loop").symlink_to("loop")
    check_refused(sample("num_samples=1", f"out={out}"), f"out={out}: no folder can be made there (")
    assert (tmp_path / "config.txt").read_text() == "a file"


def test_the_working_directory_is_not_replaced(command: Command, run: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    arguments = ("sample.py", f"ckpt_path={run}", *QUICK, "num_samples=1", "out=.", "overwrite=true")
    assert command(*arguments, folder=place).returncode == 0
    check_refused(command(*arguments, folder=place), "out=.: a mounted disk or the working directory")


def test_the_arrays_are_those_that_evaluators_read(sample: Command, run: Path) -> None:
    folder = made(sample("num_samples=6", "save=[npz]", "labels=['Käse',0,cat]"), run)
    with np.load(folder / "samples.npz") as arrays:  # nothing in it needs pickle
        assert arrays["arr_0"].shape == (6, 16, 16, 1) and arrays["arr_0"].dtype == np.uint8
        assert np.array_equal(arrays["arr_0"], arrays["images"])
        assert arrays["arr_1"].tolist() == arrays["labels"].tolist() == [1, 0, 0, 1, 0, 0]
        assert arrays["arr_1"].dtype == np.int64 and arrays["class_names"].tolist() == NAMES
        model = load_model(run)
        expected = to_uint8(model.sample(6, sampler="ddim", num_steps=2, labels=[1, 0, 0], seed=0))
        assert np.abs(arrays["arr_0"].astype(int) - expected.movedim(1, -1).numpy()).max() <= 1
    # the evaluation suite of ADM opens the archive itself
    with zipfile.ZipFile(folder / "samples.npz") as archive, archive.open("arr_0.npy") as file:
        assert np.lib.format.read_magic(file) in ((1, 0), (2, 0))


def test_single_images_are_named_by_their_class(sample: Command, run: Path) -> None:
    folder = made(sample("num_samples=5", "save=[png]"), run)
    assert sorted(path.name for path in (folder / "images").iterdir()) == [
        *("00000_cat.png", "00001_Käse.png", "00002_a_b_ _c__.png", "00003__.png", "00004_cat.png")
    ]


def test_jobs_of_a_sweep_do_not_share_a_folder(sample: Command) -> None:
    """The second job would leave nothing of the first one."""
    done = sample("-m", "num_samples=1", "save=[grid]", "out=pictures", "seed=1,2")
    assert done.returncode == 2 and "error: job seed=2: out=pictures: it holds samples" in done.stderr


@pytest.mark.parametrize("labels", ["[1,2,3]", "[cat,1,0]"])
def test_no_label_is_left_out(labels: str, sample: Command, run: Path) -> None:
    done = sample(f"labels={labels}", "num_samples=2")
    check_refused(done, "num_samples=2: 3 or more is expected, one for each of labels=[")
    assert not (run / "samples").exists()
