"""Compare runs: a line or two for each in the terminal, and one HTML page with a card for each.

run folders --runs--> plain data (`Run`) --terminal--> text, --page--> HTML.
Nothing here imports torch, so that the answer comes at once.
"""

from lightdiff.commands.report.command import report, report_command

__all__ = ["report", "report_command"]
