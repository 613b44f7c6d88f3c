"""What `--help` shows: usage, the groups with their choices, and the keys with the comments of their YAML file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lightdiff.config.conf_files import choices, groups, own_folder
from lightdiff.utils.program import typed

SHOWN_GROUPS = {
    "sample": ("sampler", "guidance"),
    "edit": ("task", "sampler", "guidance"),
    "restore": ("operator", "method", "sampler", "guidance"),
    "eval": ("sampler", "guidance", "extractor", "metrics", "dataset"),
    "export": (),
    "play": (),
}
"""Groups that a command takes; train takes all."""
OFTEN_SET = {"train": ("trainer/default", "dataset/mnist", "optimizer/adam", "sampler/ddpm")}
"""Files of groups whose keys are listed too."""


def help_text(command: str) -> str:
    """Return the help of a command.

    Args:
        command: train, sample, edit, restore, eval, export or play.
    """
    parts = [_usage(command), *_group_lines(command), "Keys (key=value)", "", *_keys(own_folder() / f"{command}.yaml")]
    for file in OFTEN_SET.get(command, ()):
        group = file.partition("/")[0]
        parts += ["", f"Keys of {file.replace('/', '=')}", "", *_keys(own_folder() / f"{file}.yaml", f"{group}.")]
    return "\n".join([*parts, "", f"Every key with its value: {typed(command)} --cfg job"])


def _usage(command: str) -> str:
    """Return the lines of `hydra.help.template` in the command's YAML, with the commands as this user types them."""
    text = (own_folder() / f"{command}.yaml").read_text(encoding="utf-8")
    template = text.partition("    template: |\n")[2]
    lines = [line.removeprefix("      ") for line in template.splitlines()]
    return re.sub(r"python (\w+)\.py", lambda found: typed(found.group(1)), "\n".join(lines)) + "\n"


def _group_lines(command: str) -> Iterator[str]:
    shown = [group for group in groups() if group in SHOWN_GROUPS.get(command, groups())]
    if shown:
        yield "Groups and their choices (group=choice)\n"
    for group in shown:
        yield f"{group}: {', '.join(choices(group))}"
    if shown:
        yield ""


def _keys(path: Path, prefix: str = "") -> Iterator[str]:
    """Yield the commented keys at the top of a YAML file, one line each."""
    for line in path.read_text(encoding="utf-8").splitlines():
        found = re.match(r"(\w+): (.*?)\s*# (.*)", line)
        if found and found.group(1) not in ("defaults", "hydra", "_target_", "source"):
            key, value, comment = found.groups()
            yield f"{f'{prefix}{key}={value}':<40} {comment}"
        elif (continued := re.match(r"\s{10,}# (.*)", line)) is not None:
            yield f"{'':<40} {continued.group(1)}"
