"""Settings of the documentation site: `make docs` builds it into docs/_build/html.

Sphinx reads the pages, the notebooks and the top-level Markdown files where they lie, so the root of the repository is its
source folder. Links between pages are then the same on the site as in a repository browser.
"""

from __future__ import annotations

import re
from typing import Any

import lightdiff

project = "lightdiff"
author = "lightdiff contributors"
copyright = "2026, lightdiff contributors"
version = release = lightdiff.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "docs/api/*.md", "models/README.md", "notebooks/*.ipynb", "notebooks/*.md"]
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

autodoc_member_order = "groupwise"
autodoc_inherit_docstrings = False  # hooks of Lightning are documented there
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88

MARKUP = re.compile(r"(?<!\\)([*|]|_(?!\w))")
"""Characters of formulas that reStructuredText would take for markup."""


def as_restructured_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn a plain docstring into reStructuredText, in place.

    Indented formulas become literal blocks, `names` become code, and other characters stand for themselves.
    """
    plain = list(lines)
    lines.clear()
    literal = False
    for before, line in zip(["", *plain], plain, strict=False):
        indented = line.startswith(" ")
        if line and not indented:
            literal = False
        elif indented and not before.strip() and lines and not literal and not _in_section(lines):
            literal = True
            lines.extend(["::", ""])
        lines.append(line if literal else _escaped(line))


def _in_section(lines: list[str]) -> bool:
    """Return whether the last line that is not indented opens a section such as "Args:"."""
    unindented = [line for line in lines if line and not line.startswith(" ")]
    return bool(unindented) and bool(re.fullmatch(r"[A-Z]\w*:", unindented[-1]))


def _escaped(line: str) -> str:
    parts = line.split("`")
    if len(parts) % 2 == 0:
        return MARKUP.sub(r"\\\1", line)
    return "".join(f"``{part}``" if i % 2 else MARKUP.sub(r"\\\1", part) for i, part in enumerate(parts) if part)


def setup(app: Any) -> None:
    """Connect the docstrings, before napoleon reads their sections."""
    app.connect("autodoc-process-docstring", as_restructured_text, priority=100)
