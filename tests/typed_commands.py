"""Check a command as it stands on a page: the program, its options, and every configuration key."""

from __future__ import annotations

import functools
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from lightdiff.commands.arguments import in_usual_cases
from lightdiff.utils.nested import flatten
from waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
CONFIGURED = ("train", "sample", "edit", "restore", "eval", "export", "play")
"""Commands that Hydra composes."""
OTHER_PROGRAMS = frozenset(
    {"activate", "autoload", "cd", "export", "git", "jupyter", "ls", "mkdir", "source", "tar", "tensorboard"}
)
"""Programs that a page may name and that are none of the project's."""
RUNNERS = frozenset({"nice", "srun", "torchrun"})
"""Programs that start the command behind their options."""
EXAMPLES = re.findall(
    r"^# conf/\S*?(\w+)\.yaml$", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), re.MULTILINE
)
"""Names of the YAML files that docs/extending.md shows how to make."""
READERS_OWN = rf"\S*\b(?:mine|{'|'.join(EXAMPLES)})\b\S*"
"""Names of parts that a page shows how to make."""
PLACEHOLDER = re.compile(rf"\.\.\.|\$ARGS|\S*<\w+>\S*|{READERS_OWN}")
"""Words that stand for others."""


def lines_of(block: str) -> Iterator[str]:
    """Yield the commands of a shell block, with lines joined and variables replaced by what was assigned."""
    variables: dict[str, str] = {}
    for line in re.sub(r"\\\n\s*", " ", block).splitlines():
        if assigned := re.fullmatch(r"(\w+)=(\"[^\"]*\"|'[^']*'|\S+)(?:\s+#.*)?", line.strip()):
            variables[assigned[1]] = assigned[2].strip("\"'")
            continue
        for name, value in variables.items():
            line = re.sub(rf"\${name}\b", lambda _, value=value: value, line)
        if line.split("#")[0].strip():
            yield line.strip()


def faults_of_command(command: str) -> list[str]:
    """Return what is wrong with one line of a shell."""
    if inner := re.fullmatch(r"eval \"\$\((.*)\)\"", command):
        return faults_of_command(inner[1])
    words = shlex.split(command, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    if "&&" in words:
        i = words.index("&&")
        return faults_of_command(shlex.join(words[:i])) + faults_of_command(shlex.join(words[i + 1 :]))
    if words and words[0] in RUNNERS:
        behind = [i for i, word in enumerate(words) if word.endswith(".py") or word in ("python", "lightdiff")]
        words = words[behind[0] :] if behind else []
    return [f"{command}: {fault}" for fault in _faults_of_words(words)]


def _faults_of_words(words: list[str]) -> list[str]:
    if not words:
        return ["no command"]
    program, arguments = words[0].rpartition("/")[2], words[1:]
    if re.fullmatch(r"python(3(\.\d+)?)?|py", program):
        while arguments and re.fullmatch(r"-3[\d.]*|-c", arguments[0]):
            arguments = arguments[1:]
        program, arguments = (arguments[0], arguments[1:]) if arguments else ("activate", [])
        if program == "-m":
            return _faults_of_module(arguments[0], arguments[1:])
    if program.endswith(".py"):
        return _faults_of_script(program, arguments)
    known = {"lightdiff": _faults_of_lightdiff, "make": _faults_of_make, "pip": _faults_of_pip}
    if program in known:
        return known[program](arguments)
    return [] if program in OTHER_PROGRAMS else [f"{program}: no such program of the project"]


def _faults_of_script(script: str, arguments: list[str]) -> list[str]:
    name = script.removesuffix(".py")
    if name in CONFIGURED:
        return _faults_of_composing(name, arguments)
    return _faults_of_options(arguments, (script,)) if (ROOT / script).is_file() else [f"no file {script}"]


def _faults_of_lightdiff(arguments: list[str]) -> list[str]:
    if not arguments or arguments[0] in ("--version", "--help"):
        return []
    if arguments[0] in CONFIGURED:
        return _faults_of_composing(arguments[0], arguments[1:])
    return [] if arguments[0] == "report" else [f"lightdiff has no command {arguments[0]}"]


def _faults_of_module(module: str, arguments: list[str]) -> list[str]:
    own = {"lightdiff": _faults_of_lightdiff, "pip": _faults_of_pip}
    if module in own:
        return own[module](arguments)
    try:
        found = importlib.util.find_spec(module)
    except ImportError:
        found = None
    if found is None:
        return [f"no module {module}"]
    return _faults_of_options(arguments, ("-m", module)) if module.startswith("lightdiff.") else []


def _faults_of_options(arguments: list[str], how: tuple[str, ...]) -> list[str]:
    options = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
    return [f"{how[-1]} has no option {option}" for option in sorted(options) if option not in _help(how)]


@functools.cache
def _help(how: tuple[str, ...]) -> str:
    done = subprocess.run([sys.executable, *how, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    return done.stdout + done.stderr


def _faults_of_make(arguments: list[str]) -> list[str]:
    makefile = (ROOT / "Makefile").read_text()
    found = []
    target = ""
    for argument in arguments:
        name, is_variable, value = argument.partition("=")
        if not is_variable:
            target = name
            if not re.search(rf"^{re.escape(name)}:", makefile, re.MULTILINE):
                found.append(f"the Makefile has no target {name}")
        elif not re.search(rf"\$\({name}\)", makefile):
            found.append(f"the Makefile has no variable {name}")
        elif name == "ARGS" and target == "train" and not PLACEHOLDER.fullmatch(value):
            found += _faults_of_composing("train", ["experiment=digits_fast", *shlex.split(value)])
    return found


def _faults_of_pip(arguments: list[str]) -> list[str]:
    section = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1].split("\n[")[0]
    known = set(re.findall(r"^(\w+) = ", section, re.MULTILINE))
    asked = [re.fullmatch(r"(?:\.|lightdiff|\S*\.whl)\[([\w,]+)\]", argument) for argument in arguments]
    names = {name for match in asked if match for name in match[1].split(",")}
    return [f"pyproject.toml has no extra {name}" for name in sorted(names - known)]


def _faults_of_composing(name: str, arguments: list[str]) -> list[str]:
    if arguments[:1] == ["--job"]:
        return []
    try:
        words = [word for word in arguments if not PLACEHOLDER.fullmatch(word)]
        options, unknown = get_args_parser().parse_known_args(words)
    except SystemExit:
        return [f"arguments that Hydra refuses: {' '.join(arguments)}"]
    if unknown:
        return [f"unknown arguments {' '.join(unknown)}"]
    fault = "" if options.shell_completion else composing(name, tuple(options.overrides))
    return [fault] if fault else []


@functools.cache
def composing(name: str, overrides: tuple[str, ...]) -> str:
    """Return why these overrides do not compose; "" if they do. A sweep stands for its first combination."""
    try:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            first = [
                f"{override.input_line.partition('=')[0]}={next(override.sweep_string_iterator())}"
                if override.is_sweep_override()
                else override.input_line
                for override in OverridesParser.create().parse_overrides(in_usual_cases(overrides))
            ]
            OmegaConf.to_container(compose(name, first), resolve=True)
    except Exception as error:
        # Hydra has a dozen kinds of exceptions, some with long explanations
        return str(error).strip().splitlines()[0]
    return ""


def fault_of_override(word: str) -> str:
    """Return what is wrong with a setting on its own, which may belong to any command and any choice of its group."""
    key, _, value = in_usual_cases([word])[0].lstrip("+~").partition("=")
    if re.fullmatch(READERS_OWN, value) or value in ("True", "False", "None") or key.startswith("hydra."):
        return ""
    folder = ROOT / "conf" / key
    if folder.is_dir():
        choices = [
            choice for choice in value.strip("[]").split(",") if re.fullmatch(r"\w+", choice) and choice != "null"
        ]
        wrong = [choice for choice in choices if not (folder / f"{choice}.yaml").is_file()]
        return f"{key} has no choice {', '.join(wrong)}" if wrong else ""
    return "" if key in known_keys() else f"no configuration has the key {key}"


@functools.cache
def known_keys() -> frozenset[str]:
    """Return every key of every file in conf, by its full name."""
    found: set[str] = set()
    for path in (ROOT / "conf").rglob("*.yaml"):
        group = path.parent.relative_to(ROOT / "conf").as_posix().replace("/", ".")
        prefix = "" if group == "." or "@package _global_" in path.read_text() else f"{group}."
        for key in flatten(yaml.safe_load(path.read_text()) or {}):
            parts = key.split(".")
            found |= {prefix + ".".join(parts[: i + 1]) for i in range(len(parts))}
    return frozenset(found)
