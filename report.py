"""Compare runs: a line or two for each in the terminal, and a page with their samples.

python report.py lightning_logs/mnist
"""

import sys

from lightdiff.commands.report import report_command

if __name__ == "__main__":
    # not by way of the other commands: they import Hydra
    raise SystemExit(report_command(sys.argv[1:]))
