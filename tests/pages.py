"""Check what a page of documentation tells its reader to type or to open: commands, configuration keys, files, links."""

from __future__ import annotations

import functools
import importlib.util
import json
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

ROOT = Path(__file__).resolve().parent.parent
CONFIGURED = ("train", "sample", "eval", "export")
"""Commands that Hydra composes."""
OTHER_PROGRAMS = frozenset(
    [
        "cd",
        "colab-ssh",
        "conda",
        "curl",
        "echo",
        "eval",
        "export",
        "git",
        "jupyter",
        "ls",
        "mkdir",
        "nvidia-smi",
        "pip",
        "pip3",
        "pre-commit",
        "rm",
        "set",
        "source",
        "tensorboard",
    ]
)
"""Programs that a page may name and that are none of the project's."""
RUNNERS = frozenset({"nice", "srun", "torchrun", "time"})
"""Programs that start the command behind their options."""
READERS_OWN = r"\S*\b(?:mine|stripes|plain_cnn|geometric|euler)\b\S*"
"""Names of parts that a page shows how to make."""
PLACEHOLDER = re.compile(rf"\.\.\.|\$ARGS|\S*<\w+>\S*|{READERS_OWN}")
"""Words that stand for others."""
FENCE = re.compile(r"^( *)(`{3,})(\S*)[^\n]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)|<img[^>]*\bsrc=\"([^\"]+)\"")
OVERRIDE = re.compile(r"[+~]{0,2}[a-z][\w/]*(\.[\w]+)*=[^\s=\"]*")


def text_of(path: Path) -> str:
    """Return the Markdown of a page; of a notebook that of its text cells."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def blocks(text: str, *languages: str) -> list[str]:
    """Return the code blocks of these languages."""
    return [match[4] for match in FENCE.finditer(text) if match[3] in languages]


def faults(path: Path, root: Path = ROOT) -> list[str]:
    """Return what is wrong on the page, a line for each fault.

    Args:
        path: a Markdown file or a notebook.
        root: the folder that paths in inline code are relative to.
    """
    text = text_of(path)
    prose = FENCE.sub("", text)
    commands = [
        command for block in blocks(text, "bash", "sh", "powershell", "yaml-run") for command in lines_of(block)
    ]
    inline = [" ".join(match[1].split()) for match in INLINE.finditer(prose)]
    found = [fault for command in commands for fault in faults_of_command(command)]
    found += [fault for code in inline for fault in _faults_of_inline(code, root)]
    found += [fault for target in _links(prose) if (fault := _fault_of_link(target, path))]
    return list(dict.fromkeys(found))


def lines_of(block: str) -> Iterator[str]:
    """Yield the commands of a shell block: comments removed, lines joined, variables replaced by what was assigned."""
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
    program, arguments = words[0].replace("\\", "/").rpartition("/")[2], words[1:]
    if re.fullmatch(r"python(3(\.\d+)?)?|py", program):
        program, arguments = (arguments[0], arguments[1:]) if arguments else ("", [])
        if program == "-c" or program.startswith("--") or not program:
            return []
        if program == "-m":
            return _faults_of_module(arguments[0], arguments[1:])
    if program.endswith(".py"):
        return _faults_of_script(program, arguments)
    if program == "lightdiff":
        return _faults_of_lightdiff(arguments)
    if program == "make":
        return _faults_of_make(arguments)
    if program in ("pip", "pip3"):
        return _faults_of_pip(arguments)
    return [] if program in OTHER_PROGRAMS else [f"{program}: no such program of the project"]


def _faults_of_script(script: str, arguments: list[str]) -> list[str]:
    name = script.removesuffix(".py")
    if name in CONFIGURED:
        return _fault_of_composing(name, arguments)
    if not (ROOT / script).is_file():
        return [f"no file {script}"]
    return _faults_of_options(arguments, (script,))


def _faults_of_lightdiff(arguments: list[str]) -> list[str]:
    if not arguments or arguments[0] in ("--version", "--help"):
        return []
    if arguments[0] in CONFIGURED:
        return _fault_of_composing(arguments[0], arguments[1:])
    return [] if arguments[0] == "report" else [f"lightdiff has no command {arguments[0]}"]


def _faults_of_module(module: str, arguments: list[str]) -> list[str]:
    if module == "lightdiff":
        return _faults_of_lightdiff(arguments)
    if module == "pip":
        return _faults_of_pip(arguments)
    if module == "venv":
        return []
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
    done = subprocess.run([sys.executable, *how, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120)
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
            found += _fault_of_composing("train", ["experiment=digits_fast", *shlex.split(value)])
    return found


def _faults_of_pip(arguments: list[str]) -> list[str]:
    project = (ROOT / "pyproject.toml").read_text()
    section = project.split("[project.optional-dependencies]")[1].split("\n[")[0]
    known = set(re.findall(r"^(\w+) = ", section, re.MULTILINE))
    asked = [re.fullmatch(r"(?:\.|lightdiff|\S*\.whl)\[([\w,]+)\]", argument) for argument in arguments]
    names = {name for match in asked if match for name in match[1].split(",")}
    return [f"pyproject.toml has no extra {name}" for name in sorted(names - known)]


def _fault_of_composing(name: str, arguments: list[str]) -> list[str]:
    if arguments[:1] == ["--job"]:
        return []
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        options, unknown = parser.parse_known_args([word for word in arguments if not PLACEHOLDER.fullmatch(word)])
    except SystemExit:
        return [f"arguments that Hydra refuses: {' '.join(arguments)}"]
    if unknown:
        return [f"unknown arguments {' '.join(unknown)}"]
    if options.shell_completion:
        return []
    fault = composing(name, tuple(options.overrides))
    return [fault] if fault else []


@functools.cache
def composing(name: str, overrides: tuple[str, ...]) -> str:
    """Return why these overrides do not compose; "" if they do. A sweep stands for its first combination."""
    try:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            parsed = OverridesParser.create().parse_overrides(list(overrides))
            first = [
                f"{override.input_line.partition('=')[0]}={next(override.sweep_string_iterator())}"
                if override.is_sweep_override()
                else override.input_line
                for override in parsed
            ]
            OmegaConf.to_container(compose(name, first), resolve=True)
    except Exception as error:
        # Hydra has a dozen kinds of exceptions, some with long explanations
        return str(error).strip().splitlines()[0]
    return ""


def _faults_of_inline(code: str, root: Path) -> list[str]:
    words = code.split()
    if words[0] in {"python", "make", "torchrun", "srun", "pip"} and len(words) > 1:
        return faults_of_command(code)
    if words[0] == "lightdiff" and len(words) > 1:
        return faults_of_command(code)
    overrides = [word.strip("'") for word in words]
    if all(OVERRIDE.fullmatch(word) for word in overrides):
        return [f"{code}: {fault}" for word in overrides if (fault := _fault_of_override(word))]
    return _fault_of_path(code, root)


def _fault_of_override(word: str) -> str:
    """Check a setting on its own, which may belong to any command and any choice of its group."""
    key, _, value = word.lstrip("+~").partition("=")
    if (
        re.fullmatch(READERS_OWN, value)
        or value in ("True", "False", "None")
        or key.startswith("hydra.")
        or key == "hydra"
    ):
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
        found |= {prefix + key for key in _flat(yaml.safe_load(path.read_text()))}
    return frozenset(found)


def _flat(tree: object) -> Iterator[str]:
    if isinstance(tree, dict):
        for name, branch in tree.items():
            yield str(name)
            yield from (f"{name}.{rest}" for rest in _flat(branch))


def _fault_of_path(code: str, root: Path) -> list[str]:
    """Check code that names a file of the project, such as `tests/core`; <name> and {a,b} stand for anything."""
    first = code.split("/")[0]
    if (
        " " in code
        or "/" not in code
        or re.fullmatch(READERS_OWN, code)
        or first not in {"bench", "conf", "docs", "models", "notebooks", "src", "tests"}
    ):
        return []
    pattern = re.sub(r"<\w+>|\{[^}]*\}", "*", code.split("#")[0].rstrip("/"))
    if "_build" in pattern or any(root.glob(pattern)):
        return []
    return [f"{code}: no such file"]


def _links(prose: str) -> Iterator[str]:
    for match in LINK.finditer(INLINE.sub("", prose)):
        target = match[1] or match[2]
        if not re.match(r"[a-z]+:", target):
            yield target


def _fault_of_link(target: str, page: Path) -> str:
    name, _, anchor = target.partition("#")
    path = page.parent / name if name else page
    if not path.exists():
        return f"{target}: no such file"
    if anchor and path.suffix in (".md", ".ipynb") and anchor not in anchors(text_of(path)):
        return f"{target}: no such heading"
    return ""


def anchors(text: str) -> set[str]:
    """Return the names under which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ +(.+?) *#*$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
