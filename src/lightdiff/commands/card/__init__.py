"""The model card of an export: README.md as the hub of Hugging Face shows it, and a picture.

It states no figure that was not measured.
"""

from __future__ import annotations

from lightdiff.commands.card.facts import Facts, read_facts
from lightdiff.commands.card.page import write_card
from lightdiff.commands.card.picture import Picture, draw_picture

__all__ = ["Facts", "Picture", "draw_picture", "read_facts", "write_card"]
