"""Check what a page of documentation tells its reader to type or to open: commands, settings, files, links."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from typed_commands import READERS_OWN, ROOT, fault_of_override, faults_of_command, lines_of

FOLDERS = frozenset({"bench", "conf", "docs", "models", "notebooks", "src", "tests"})
FENCE = re.compile(r"^( *)(`{3,})(\S*)[^\n]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)|<img[^>]*\bsrc=\"([^\"]+)\"")
COMMAND = re.compile(r"(python|lightdiff|make|torchrun|srun|pip) .")
OVERRIDE = re.compile(r"[+~]{0,2}[a-z][\w/]*(\.[\w]+)*=[^\s=\"]*")


def text_of(path: Path) -> str:
    """Return the Markdown of a page; of a notebook that of its text cells."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of this language."""
    return [match[4] for match in FENCE.finditer(text) if match[3] == language]


def faults(path: Path) -> list[str]:
    """Return what is wrong on a page, a Markdown file or a notebook: a line for each fault."""
    text = text_of(path)
    prose = FENCE.sub("", text)
    shell = blocks(text, "bash") + [block.replace("\\", "/") for block in blocks(text, "powershell")]
    inline = [" ".join(match[1].split()) for match in INLINE.finditer(prose)]
    found = [fault for block in shell for command in lines_of(block) for fault in faults_of_command(command)]
    found += [fault for code in inline for fault in _faults_of_inline(code)]
    found += [fault for target in _links(prose) if (fault := _fault_of_link(target, path))]
    return list(dict.fromkeys(found))


def _faults_of_inline(code: str) -> list[str]:
    if COMMAND.match(code):
        return faults_of_command(code)
    words = [word.strip("'") for word in code.split()]
    if all(OVERRIDE.fullmatch(word) for word in words):
        return [f"{code}: {fault}" for word in words if (fault := fault_of_override(word))]
    return _fault_of_path(code)


def _fault_of_path(code: str) -> list[str]:
    """Check code that names a file of the project, such as `tests/core`; <name> and {a,b} stand for anything."""
    is_path = " " not in code and "/" in code and code.split("/")[0] in FOLDERS
    if not is_path or re.fullmatch(READERS_OWN, code) or "_build" in code:
        return []
    pattern = re.sub(r"<\w+>|\{[^}]*\}", "*", code.split("#")[0].rstrip("/"))
    return [] if any(ROOT.glob(pattern)) else [f"{code}: no such file"]


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
