"""A resumed run notices that its data changed: other classes are refused, other images unless they are accepted."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightdiff.jobs.run_folder import LOCK
from noise_photos import RUN, SETTINGS, facts, first_run, photos, shrink, write
from refusals import check_refused
from runs import differences, last, train_in_two_processes

Command = Callable[..., subprocess.CompletedProcess[str]]
ON = ("train.py", f"resume={RUN}", "trainer.max_epochs=2")
FILE_BY_FILE = "dataset.max_memory_gb=0"


def trained(command: Command, folder: Path, *more: str) -> Path:
    """Train a run in this working directory on `photos` below it; return its folder."""
    done = command("train.py", *SETTINGS, *more, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / RUN


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with 40 images of two classes and a run of one epoch on them."""
    return first_run(tmp_path_factory.mktemp("memory"))


@pytest.fixture(scope="module")
def by_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with images that are read file by file."""
    return first_run(tmp_path_factory.mktemp("files"), FILE_BY_FILE)


@pytest.fixture
def work(in_memory: Path, tmp_path: Path) -> Path:
    """A copy of a working directory whose run keeps its images in memory."""
    return Path(shutil.copytree(in_memory, tmp_path / "work"))


def contents(run: Path) -> dict[str, bytes]:
    """What the run's folder holds, but for the messages of train.log and the file that locks it."""
    files = (path for path in run.rglob("*") if path.is_file() and path.name not in ("train.log", LOCK))
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    check_refused(done, "")
    for part in parts:
        assert part in done.stderr


def grow(data: Path) -> None:
    write(data / "cat" / "999.bmp", 7)


def replace(data: Path) -> None:
    for number, path in enumerate(sorted(data.rglob("*.bmp"))):
        write(path, 5000 + number)


def replace_one(data: Path) -> None:
    write(data / "bird" / "003.bmp", 4000)


def rename_one(data: Path) -> None:
    (data / "bird" / "003.bmp").rename(data / "bird" / "0035.bmp")


CHANGES = {
    "grew": (grow, "36 to train on and 4 to validate on, now 37 and 4"),
    "shrank": (shrink, "36 to train on and 4 to validate on, now 35 and 4"),
    "replaced": (replace, "36 to train on and 4 to validate on, now 36 and 4"),
    "one replaced": (replace_one, "36 to train on and 4 to validate on, now 36 and 4"),
    "one renamed": (rename_one, "36 to train on and 4 to validate on, now 36 and 4"),
}


def test_the_same_data_go_on(work: Path, command: Command) -> None:
    before = facts(work / RUN)
    done = command(*ON, folder=work)
    assert done.returncode == 0, done.stderr
    assert "on_changed" not in done.stdout
    after = facts(work / RUN)
    assert {**after, "batches": before["batches"]} == before and after["batches"] == 2 * before["batches"]


def check_images(change: str, folder: Path, command: Command) -> None:
    alter, counts = CHANGES[change]
    alter(folder / "photos")
    before = contents(folder / RUN)
    done = command(*ON, folder=folder)
    refused(done, "error: dataset.on_changed=refuse: ", counts, "dataset.on_changed=accept")
    assert contents(folder / RUN) == before
    assert sorted(path.name for path in folder.iterdir()) == ["lightning_logs", "photos"]


@pytest.mark.parametrize("change", CHANGES)
def test_other_images_are_refused_and_nothing_is_lost(change: str, work: Path, command: Command) -> None:
    check_images(change, work, command)


@pytest.mark.parametrize("change", ["shrank", "one replaced"])
def test_other_files_are_refused_that_are_read_one_by_one(
    change: str, by_file: Path, tmp_path: Path, command: Command
) -> None:
    check_images(change, Path(shutil.copytree(by_file, tmp_path / "work")), command)


def test_other_images_go_on_where_they_are_accepted(work: Path, command: Command) -> None:
    before = facts(work / RUN)
    grow(work / "photos")
    done = command(*ON, "dataset.on_changed=accept", folder=work)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "on_changed" in line]
    assert len(lines) == 1 and "36 to train on and 4 to validate on, now 37 and 4" in lines[0], done.stdout
    assert last(work / RUN)["global_step"] == 8
    after = facts(work / RUN)
    assert (after["train"]["count"], after["val"]["count"]) == (37, 4)
    (former,) = after["former"]
    assert former == {name: before[name] for name in ("train", "val", "batches")}
    assert json.loads((work / RUN / "result.json").read_text())["data"] == after
    assert lines[0] in (work / RUN / "train.log").read_text()
    # what was accepted is the run's own from then on
    again = command("train.py", f"resume={RUN}", "trainer.max_epochs=3", folder=work)
    assert again.returncode == 0, again.stderr
    assert "on_changed" not in again.stdout
    assert facts(work / RUN)["former"] == [former]


def rename_class(data: Path) -> None:
    (data / "bird").rename(data / "zebra")


def add_class(data: Path) -> None:
    write(data / "dog" / "000.bmp", 1)


def remove_class(data: Path) -> None:
    shutil.rmtree(data / "bird")


@pytest.mark.parametrize(
    ("alter", "parts"),
    [
        (rename_class, ("2 (bird, cat)", "2 (cat, zebra)", "label 0 was bird and is cat")),
        (add_class, ("2 (bird, cat)", "3 (bird, cat, dog)", "label 2 was not there and is dog")),
        (remove_class, ("2 (bird, cat)", "1 (cat)", "label 0 was bird and is cat")),
    ],
)
def test_other_classes_are_refused_and_cannot_be_accepted(
    alter: Callable[[Path], None], parts: tuple[str, ...], work: Path, command: Command
) -> None:
    alter(work / "photos")
    before = contents(work / RUN)
    refused(command(*ON, "dataset.on_changed=accept", folder=work), "error: dataset.class_names: ", *parts)
    assert contents(work / RUN) == before


def test_other_classes_are_named_where_their_number_is_a_setting(in_memory: Path, command: Command) -> None:
    """With conditioning=label config.yaml holds the number of classes, which must not be refused first."""
    work = in_memory.parent / "label"
    photos(work / "photos")
    run = trained(command, work, "conditioning=label")
    assert yaml.safe_load((run / "config.yaml").read_text())["dataset"]["num_classes"] == 2
    add_class(work / "photos")
    refused(command(*ON, folder=work), "2 (bird, cat)", "3 (bird, cat, dog)")


def test_one_file_of_a_thousand(command: Command, tmp_path: Path) -> None:
    """Without it 90 of the 100 images to validate on would be trained on."""
    photos(tmp_path / "photos", each=500)
    run = trained(command, tmp_path, "trainer.limit_train_batches=1")
    (tmp_path / "photos" / "bird" / "250.bmp").unlink()
    refused(command(*ON, folder=tmp_path), "900 to train on and 100 to validate on, now 899 and 100")
    assert (run / "result.json").is_file()


def test_an_older_checkpoint_keeps_the_newest_one_when_the_data_are_refused(work: Path, command: Command) -> None:
    before = contents(work / RUN)
    shrink(work / "photos")
    done = command("train.py", f"resume={RUN}/checkpoints/best.ckpt", "trainer.max_epochs=2", folder=work)
    refused(done, "now 35 and 4")
    assert contents(work / RUN) == before


def test_a_checkpoint_that_does_not_say_its_data_goes_on(work: Path, command: Command) -> None:
    path = work / RUN / "checkpoints" / "last.ckpt"
    checkpoint = last(work / RUN)
    del checkpoint["DiffSet"]
    torch.save(checkpoint, path)
    shrink(work / "photos")
    done = command(*ON, folder=work)
    assert done.returncode == 0, done.stderr
    assert facts(work / RUN)["train"]["count"] == 35


def test_a_run_of_a_former_version_can_be_told_to_accept(work: Path, command: Command) -> None:
    """Its config.yaml has no such key; its checkpoint knows the data since it was resumed."""
    path = work / RUN / "config.yaml"
    config = yaml.safe_load(path.read_text())
    del config["dataset"]["on_changed"]
    path.write_text(yaml.safe_dump(config))
    shrink(work / "photos")
    refused(command(*ON, folder=work), "dataset.on_changed=refuse")
    done = command(*ON, "dataset.on_changed=accept", folder=work)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "broken",
    [
        3,
        {"train": 1},
        torch.ones(3),
        {
            **{
                "train": {"count": torch.ones(3), "fingerprint": "a" * 64},
                "val": {"count": 4, "fingerprint": "b" * 64},
            },
            **{"class_names": ["bird", "cat"]},
        },
        {
            **{"train": {"count": 3, "fingerprint": "a" * 64}, "val": {"count": 4, "fingerprint": "b" * 64}},
            **{"class_names": ["a"], "former": 3},
        },
    ],
)
def test_garbled_facts_are_one_line(broken: Any, work: Path, command: Command) -> None:
    torch.save({**last(work / RUN), "DiffSet": broken}, work / RUN / "checkpoints" / "last.ckpt")
    before = contents(work / RUN)
    refused(command(*ON, folder=work), f"resume={RUN}/checkpoints/last.ckpt: DiffSet")
    assert contents(work / RUN) == before


def test_auto_resume_goes_on_only_with_the_same_data(command: Command, tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    again = (*SETTINGS, "auto_resume=true", "trainer.max_epochs=2")
    run = trained(command, tmp_path, *again[len(SETTINGS) :], "callbacks.checkpoints.keep_every_n_epochs=1")
    (run / "checkpoints" / "epoch_0001.ckpt").replace(run / "checkpoints" / "last.ckpt")
    (run / "result.json").unlink()
    shrink(tmp_path / "photos")
    again = (*again, "callbacks.checkpoints.keep_every_n_epochs=1")
    refused(command("train.py", *again, folder=tmp_path), "now 35 and 4")
    done = command("train.py", *again, "dataset.on_changed=accept", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"auto_resume: going on with {RUN}" in done.stdout
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    assert facts(run)["train"]["count"] == 35


def test_fine_tuning_on_other_data_is_no_resume(work: Path, command: Command) -> None:
    rename_class(work / "photos")
    grow(work / "photos")
    done = command("train.py", *SETTINGS, f"init_from={RUN}", folder=work)
    assert done.returncode == 0, done.stderr
    assert facts(work / "lightning_logs/folder/version_1")["class_names"] == ["cat", "zebra"]


def test_reading_the_files_one_by_one_or_all_at_once_are_the_same_data(work: Path, command: Command) -> None:
    done = command(*ON, FILE_BY_FILE, folder=work)
    assert done.returncode == 0, done.stderr


def test_copied_files_are_the_same_data(work: Path, command: Command) -> None:
    """A copy has other times of change."""
    for path in (work / "photos").rglob("*.bmp"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert command(*ON, folder=work).returncode == 0


def test_data_sets_in_memory_are_known_by_their_pixels(command: Command, tmp_path: Path) -> None:
    digits = ("dataset=digits", *SETTINGS[2:])
    done = command("train.py", *digits, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    on = ("train.py", "resume=lightning_logs/digits/version_0", "trainer.max_epochs=2")
    before = contents(tmp_path / "lightning_logs/digits/version_0")
    refused(
        command(*on, "dataset.source.val_fraction=0.2", folder=tmp_path),
        "1617 to train on and 180 to validate on, now 1438 and 359",
    )
    assert contents(tmp_path / "lightning_logs/digits/version_0") == before
    assert command(*on, folder=tmp_path).returncode == 0


def test_a_choice_that_does_not_exist(command: Command, tmp_path: Path) -> None:
    done = command("train.py", *SETTINGS, "dataset.on_changed=ignore", folder=tmp_path)
    refused(done, "dataset.on_changed=ignore: ", "refuse", "accept")


EVALUATE = ("eval.py", f"ckpt_path={RUN}", "num_samples=4", "metrics=[kid]", "metrics.kid.subset_size=2", "split=train")


@pytest.mark.parametrize("alter", [grow, replace_one, rename_class])
def test_an_evaluation_warns_of_other_data(alter: Callable[[Path], None], work: Path, monkeypatch, command) -> None:
    monkeypatch.setattr("lightdiff.commands.evaluate._evaluation", stop)
    done = command(*EVALUATE, folder=work)
    assert "warning" not in done.stdout and "stopped" in done.stderr, done.stderr
    alter(work / "photos")
    done = command(*EVALUATE, folder=work)
    lines = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert len(lines) == 1 and "trained on" in lines[0], done.stdout + done.stderr
    assert "stopped" in done.stderr
    # another data set that is asked for by name is no surprise
    named = ("dataset=folder", "dataset.data_dir=photos", "dataset.image_size=8")
    done = command(*EVALUATE, *named, folder=work)
    assert "warning" not in done.stdout and "stopped" in done.stderr


def stop(*_: Any) -> None:
    raise ValueError("stopped")


def test_two_processes_refuse_and_end(in_memory: Path, tmp_path: Path, run_script) -> None:
    work = Path(shutil.copytree(in_memory, tmp_path / "work"))
    config = yaml.safe_load((work / RUN / "config.yaml").read_text())
    config["dataset"]["data_dir"] = str(work / "photos")
    config["trainer"]["devices"] = 2
    shrink(work / "photos")
    (work / RUN / "config.yaml").write_text(yaml.safe_dump(config))
    before = contents(work / RUN)
    refused(run_script("train.py", f"resume={work / RUN}", "trainer.max_epochs=2"), "now 35 and 4")
    assert contents(work / RUN) == before
    config["trainer"]["max_epochs"] = 2
    config["dataset"]["on_changed"] = "accept"
    (work / RUN / "config.yaml").write_text(yaml.safe_dump(config))
    train_in_two_processes(config, work / RUN)
    assert facts(work / RUN)["train"]["count"] == 35 and len(facts(work / RUN)["former"]) == 1


def test_the_facts_do_not_touch_the_training(in_memory: Path, by_file: Path) -> None:
    left, right = (last(folder / RUN) for folder in (in_memory, by_file))
    assert not differences(left["state_dict"], right["state_dict"])
    assert left["DiffSet"] == right["DiffSet"]
