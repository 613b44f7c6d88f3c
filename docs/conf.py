"""Settings of the documentation site: `make docs` builds it into docs/_build/html.

Sphinx reads the pages, the notebooks and the top-level Markdown files where they lie, so the root of the repository is its
source folder. Links between pages are then the same on the site as in a repository browser.
"""

from __future__ import annotations

import re
from typing import Any

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml

import lightdiff

project = "lightdiff"
author = "lightdiff contributors"
copyright = "2026, lightdiff contributors"
version = release = lightdiff.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    *("*.md", "docs/*.md", "docs/api/*.md", "docs/tutorials/*.md"),
    *("models/README.md", "notebooks/*.ipynb", "notebooks/*.md"),
]
exclude_patterns = [".*", "docs/_build", "build", "data", "lightning_logs", "src", "tests"]

html_theme = "furo"
html_title = f"lightdiff {version}"
html_extra_path = ["site"]  # index.html, which leads to the first page
html_copy_source = False
highlight_language = "none"  # formulas in docstrings are no Python

# the stored pictures are shown and nothing is run
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

autodoc_member_order = "groupwise"
autodoc_inherit_docstrings = False  # hooks of Lightning are documented there
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88

CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
MARKUP = re.compile(r"([*|]|_(?!\w))")
"""Characters of formulas that reStructuredText would take for markup."""


def as_restructured_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn a plain docstring into reStructuredText, in place.

    Indented formulas become literal blocks, `names` become code, and other characters stand for themselves.
    """
    parts: list[tuple[bool, list[str]]] = [(False, [])]
    for before, line in zip(["", *lines], list(lines), strict=False):
        literal, part = parts[-1]
        if literal and line and not line.startswith(" "):
            parts.append((False, [line]))
        elif not literal and line.startswith(" ") and not before.strip() and part and not _in_section(part):
            parts.append((True, ["::", "", line]))
        else:
            part.append(line)
    lines[:] = "\n".join("\n".join(part) if literal else _escaped("\n".join(part)) for literal, part in parts).split(
        "\n"
    )


def _in_section(lines: list[str]) -> bool:
    """Return whether the last line that is not indented opens a section such as "Args:"."""
    unindented = [line for line in lines if line and not line.startswith(" ")]
    return bool(unindented) and bool(re.fullmatch(r"[A-Z]\w*:", unindented[-1]))


def _escaped(text: str) -> str:
    """Return a text in which only `names` are markup. A backslash and a space part code from a letter beside it."""
    # even parts are prose, odd ones code
    parts = CODE.split(text)
    for i in range(0, len(parts), 2):
        parts[i] = MARKUP.sub(r"\\\1", parts[i].replace("`", "\\`"))
    for i in range(1, len(parts), 2):
        before = "\\ " if parts[i - 1][-1:].isalnum() else ""
        behind = "\\ " if parts[i + 1][:1].isalnum() else ""
        parts[i] = f"{before}``{parts[i].strip()}``{behind}"
    return "".join(parts)


def inline_math(translator: Any, node: Any) -> None:
    """Write a formula as MathML, which browsers show without a script from elsewhere."""
    translator.body.append(_mathml(node, as_block=False))
    raise SkipNode


def display_math(translator: Any, node: Any) -> None:
    """Write a formula on a line of its own."""
    translator.body.append(f"<p>{_mathml(node, as_block=True)}</p>")
    raise SkipNode


def _mathml(node: Any, as_block: bool) -> str:
    # the one command of the pages that docutils does not know
    return tex2mathml(re.sub(r"\\big(?![a-z])", "", node.astext()), as_block=as_block)


def setup(app: Any) -> None:
    """Connect the docstrings, before napoleon reads their sections, and the formulas."""
    app.connect("autodoc-process-docstring", as_restructured_text, priority=100)
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
