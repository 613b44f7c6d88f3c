"""A run finds its data again: from another working directory, and where the whole project was moved."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lightdiff.jobs.described import portable
from lightdiff.jobs.run_config import read_config, write_config
from lightdiff.jobs.run_folder import same_run
from noise_photos import RUN, SETTINGS, facts, first_run, photos, shrink
from refusals import check_refused
from runs import last

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with images and a run on them."""
    return first_run(tmp_path_factory.mktemp("first") / "project")


@pytest.fixture
def here(project: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(project, tmp_path / "project"))


def goes_on(command: Command, run: Path, folder: Path) -> None:
    """Resume a run in a working directory, in which nothing is left."""
    folder.mkdir(exist_ok=True)
    before = sorted(folder.iterdir())
    done = command("train.py", f"resume={run}", "trainer.max_epochs=2", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "on_changed" not in done.stdout
    assert last(run)["global_step"] == 8
    assert sorted(folder.iterdir()) == before


def test_config_yaml_says_where_the_data_are(project: Path) -> None:
    config = yaml.safe_load((project / RUN / "config.yaml").read_text())
    assert config["dataset"]["data_dir"] == str(project / "photos")
    assert config["run_folder"] == str(project / RUN)
    assert str(project) not in json.dumps(last(project / RUN)["lightdiff"])


def test_from_another_working_directory(here: Path, tmp_path: Path, command: Command) -> None:
    goes_on(command, here / RUN, tmp_path / "elsewhere")


def test_other_images_at_the_same_path_from_there_are_not_taken(here: Path, tmp_path: Path, command: Command) -> None:
    photos(tmp_path / "elsewhere" / "photos", each=7)
    goes_on(command, here / RUN, tmp_path / "elsewhere")


def test_a_project_that_was_moved_as_a_whole(here: Path, tmp_path: Path, command: Command) -> None:
    for place in ("moved", "deeper/and/again"):
        target = tmp_path / place
        target.parent.mkdir(parents=True, exist_ok=True)
        here = here.rename(target)
        assert read_config(here / RUN)["dataset"]["data_dir"] == str(here / "photos")
    goes_on(command, here / RUN, tmp_path / "elsewhere")
    config = here / RUN / "config.yaml"
    assert yaml.safe_load(config.read_text())["dataset"]["data_dir"] == str(here / "photos")
    here = here.rename(tmp_path / "last")
    assert read_config(here / RUN)["dataset"]["data_dir"] == str(here / "photos")


def test_a_copy_of_a_project_uses_its_own_data(here: Path, tmp_path: Path, command: Command) -> None:
    copy = Path(shutil.copytree(here, tmp_path / "copy"))
    shrink(copy / "photos")
    check_refused(command("train.py", f"resume={copy / RUN}", "trainer.max_epochs=2", folder=here), "now 35 and 4")
    goes_on(command, here / RUN, tmp_path / "elsewhere")


def test_a_copy_of_the_run_alone_uses_the_data_that_it_was_trained_on(tmp_path: Path) -> None:
    """The folder at the same path from the copy, by chance, is another one."""
    for folder in ("project/photos", "project/lightning_logs/version_0", "photos"):
        (tmp_path / folder).mkdir(parents=True)
    run, copy = tmp_path / "project/lightning_logs/version_0", tmp_path / "project/copy"
    write_config(run, {"dataset": {"data_dir": str(tmp_path / "project/photos")}})
    shutil.copytree(run, copy)
    assert read_config(copy)["dataset"]["data_dir"] == str(tmp_path / "project/photos")


def test_run_and_data_that_were_moved_to_a_folder_of_other_names(tmp_path: Path) -> None:
    run, data = tmp_path / "first/project/runs/version_0", tmp_path / "first/photos"
    for folder in (run, data):
        folder.mkdir(parents=True)
    write_config(run, {"dataset": {"data_dir": str(data)}})
    (tmp_path / "second/other").mkdir(parents=True)
    run.parent.rename(tmp_path / "second/other/runs")
    run = tmp_path / "second/other/runs/version_0"
    assert read_config(run)["dataset"]["data_dir"] == str(data)
    data.rename(tmp_path / "second/photos")
    assert read_config(run)["dataset"]["data_dir"] == str(tmp_path / "second/photos")
    (tmp_path / "second/photos").rmdir()
    assert read_config(run)["dataset"]["data_dir"] == str(data)


def test_the_run_alone_was_moved(here: Path, tmp_path: Path, command: Command) -> None:
    goes_on(command, Path(shutil.move(here / RUN, tmp_path / "alone")), tmp_path / "elsewhere")


def test_a_moved_project_notices_that_its_data_changed(here: Path, tmp_path: Path, command: Command) -> None:
    here = here.rename(tmp_path / "moved")
    shrink(here / "photos")
    done = command("train.py", f"resume={here / RUN}", "trainer.max_epochs=2", folder=tmp_path)
    check_refused(done, "now 35 and 4")


def test_data_that_are_gone_are_named(here: Path, project: Path, tmp_path: Path, command: Command) -> None:
    config = here / RUN / "config.yaml"
    config.write_text(config.read_text().replace(str(project), str(here)))
    (here / "photos").rename(tmp_path / "put_away")
    on = ("train.py", f"resume={RUN}", "trainer.max_epochs=2")
    check_refused(command(*on, folder=here), f"dataset.data_dir={here / 'photos'}: no such folder")
    done = command(*on, "dataset.data_dir=../put_away", folder=here)
    assert done.returncode == 0, done.stderr
    assert Path(read_config(here / RUN)["dataset"]["data_dir"]).resolve() == tmp_path / "put_away"


def test_a_moved_project_is_the_same_run_to_auto_resume(here: Path, tmp_path: Path, command: Command) -> None:
    again = (*SETTINGS, "auto_resume=true")
    write_config(here / RUN, {**read_config(here / RUN), "auto_resume": True})
    here = here.rename(tmp_path / "moved")
    done = command("train.py", *again, folder=here)
    assert done.returncode == 0, done.stderr
    assert f"{RUN}: this run is finished" in done.stdout
    assert [path.name for path in (here / RUN).parent.iterdir()] == ["version_0"]


def test_a_run_of_a_former_version_is_the_same_run_to_auto_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its config.yaml has the path as it was typed, and nothing of changed data."""
    monkeypatch.chdir(tmp_path)
    former = {"seed": 0, "dataset": {"data_dir": "photos", "batch_size": 4}}
    run = tmp_path / "runs" / "version_0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").touch()
    (run / "config.yaml").write_text(yaml.safe_dump(former))
    now = {"seed": 0, "dataset": {"data_dir": "photos", "batch_size": None, "on_changed": "accept"}}
    assert same_run(run.parent, now) == run
    assert same_run(run.parent, {**now, "seed": 1}) is None
    assert same_run(run.parent, {**now, "dataset": {**now["dataset"], "data_dir": "others"}}) is None


def test_an_evaluation_from_another_working_directory(here: Path, tmp_path: Path, command: Command) -> None:
    here = here.rename(tmp_path / "moved")
    photos(tmp_path / "elsewhere" / "photos", each=7)
    few = ("num_samples=4", "metrics=[kid]", "metrics.kid.subset_size=2", "extractor.weights=none.safetensors")
    done = command("eval.py", f"ckpt_path={here / RUN}", *few, folder=tmp_path / "elsewhere")
    # the images are read before the weights of the features are looked for
    check_refused(done, "none.safetensors")
    assert "warning" not in done.stdout


def test_the_home_of_the_user(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    monkeypatch.setenv("HOME", str(here))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    settings = [part for part in SETTINGS if not part.startswith("dataset.data_dir")]
    done = command("train.py", *settings, 'dataset.data_dir="~/photos"', folder=elsewhere)
    assert done.returncode == 0, done.stderr
    assert read_config(elsewhere / RUN)["dataset"]["data_dir"] == str(here / "photos")
    assert facts(elsewhere / RUN) == facts(here / RUN)
    done = command("train.py", *settings, 'dataset.data_dir="~nobody_of_this_name/photos"', folder=elsewhere)
    check_refused(done, "dataset.data_dir=~nobody_of_this_name/photos: no such folder")


def test_a_local_data_set_of_hugging_face_is_a_path_and_one_of_the_hub_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for path, written in (("mine", str(tmp_path / "mine")), ("someone/digits", "someone/digits")):
        dataset = {"source": {"path": path}}
        write_config(tmp_path, {"dataset": dataset})
        assert read_config(tmp_path)["dataset"]["source"]["path"] == written
        for described in (dataset, {"source": {"path": written}}):
            assert portable(described) == dataset


def test_a_run_without_paths_has_no_more_in_its_configuration(tmp_path: Path) -> None:
    write_config(tmp_path, {"dataset": {"name": "digits", "data_dir": None}})
    assert (tmp_path / "config.yaml").read_text() == "dataset:\n  name: digits\n  data_dir: null\n"


@pytest.mark.parametrize("data_dir", ["photos", 3, ["a"], {"a": 1}, "/no/such/\0folder", "/" + "a" * 5000, "", "/"])
@pytest.mark.parametrize("run_folder", [None, 3, "relative", "/some/where", "/a\0b"])
def test_any_content_of_a_config_yaml_can_be_read(data_dir: object, run_folder: object, tmp_path: Path) -> None:
    config = {"dataset": {"data_dir": data_dir}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config, "run_folder": run_folder}))
    assert read_config(tmp_path) == config


def test_the_reference_of_an_evaluation_while_training_is_kept_at_one_place(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, {"callbacks": {"evaluation": {"cache_dir": "data/reference"}}})
    assert read_config(tmp_path)["callbacks"]["evaluation"]["cache_dir"] == str(tmp_path / "data/reference")
