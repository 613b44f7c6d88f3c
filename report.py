"""Compare runs: a table in the terminal, and a page with their samples.

python report.py lightning_logs/mnist
"""

import sys

from lightdiff.tasks.cli import run_command

if __name__ == "__main__":
    raise SystemExit(run_command("report", sys.argv[1:]))
