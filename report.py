"""Compare runs: a table in the terminal, and a page with their samples.

python report.py lightning_logs/mnist
"""

from lightdiff.tasks.report import report_command

if __name__ == "__main__":
    raise SystemExit(report_command())
