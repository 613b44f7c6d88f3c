"""The settings of the commands for trained models: every key has one check, and the commands refuse alike."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest
import yaml

from lightdiff.commands.compose import composed
from lightdiff.commands.edit import EditSettings
from lightdiff.commands.evaluate import EvalSettings
from lightdiff.commands.export import ExportSettings
from lightdiff.commands.pictures import FILES
from lightdiff.commands.restorations import FILES as RESTORATION_FILES
from lightdiff.commands.restore import RestoreSettings
from lightdiff.commands.sample import SampleSettings
from lightdiff.config.command_settings import ModelSettings, check_command
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.plain import plain
from runs import ROOT

COMMANDS: dict[str, type[ModelSettings]] = {
    "sample": SampleSettings,
    "edit": EditSettings,
    "restore": RestoreSettings,
    "eval": EvalSettings,
    "export": ExportSettings,
}
KINDS = (SampleSettings, EditSettings, RestoreSettings)
"""The settings of the commands that write pictures."""
NEEDED = {"edit": ["image=photo.png"], "restore": ["image=photo.png"], "export": ["out=model"]}
REFUSED = {
    "weights": ("best", "one of ema, raw is expected"),
    "ckpt_path": (None, "str is expected"),
    "num_samples": (0, "1 or more is expected"),
    "batch_size": (-1, "1 or more is expected"),
    "seed": (1.5, "int is expected"),
    "guidance_scale": ("much", "float or null is expected"),
    "compile": ("maybe", "one of auto, True, False is expected"),
    "channels_last": (3, "one of auto, True, False is expected"),
    "device": (None, "str is expected"),
    "progress": ("yes", "bool is expected"),
}


def configuration(command: str) -> dict[str, Any]:
    return plain(composed(command, ["ckpt_path=run", *NEEDED.get(command, [])]))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_of_the_file_has_its_check(command: str) -> None:
    content = yaml.safe_load((ROOT / "conf" / f"{command}.yaml").read_text(encoding="utf-8"))
    chosen = [name for entry in content.pop("defaults") if isinstance(entry, dict) for name in entry]
    groups = {name for name in chosen if not name.startswith("override ")}
    kind = COMMANDS[command]
    # restore.yaml sets a key of a group
    assert {field.name for field in fields(kind)} == content.keys() - {"hydra"} - groups
    assert {*kind.needed, *kind.optional} == groups


@pytest.mark.parametrize("command", COMMANDS)
def test_the_configuration_as_it_is_passes(command: str) -> None:
    settings = check_command(configuration(command), COMMANDS[command])
    assert settings.ckpt_path == "run" and settings.weights == "ema"


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (command, key)
        for command, kind in COMMANDS.items()
        for key in REFUSED
        if key in {field.name for field in fields(kind)}
    ],
)
def test_the_commands_refuse_a_shared_key_in_the_same_words(command: str, key: str) -> None:
    value, expected = REFUSED[key]
    with pytest.raises(ConfigError) as caught:
        check_command({**configuration(command), key: value}, COMMANDS[command])
    assert str(caught.value).startswith(f"{key}={'null' if value is None else value}: {expected.split(' or ')[0]}")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_group_that_is_needed_may_not_be_empty(command: str) -> None:
    for group in COMMANDS[command].needed:
        with pytest.raises(ConfigError, match=f"^{group}: this group is needed"):
            check_command({**configuration(command), group: None}, COMMANDS[command])


def test_every_kind_of_file_can_be_asked_for() -> None:
    offered = [get_args(get_args(get_type_hints(kind)["save"])[0]) for kind in KINDS]
    assert {name for names in offered for name in names} == FILES.keys() | RESTORATION_FILES.keys()
