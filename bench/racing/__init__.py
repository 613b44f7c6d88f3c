"""The machinery of bench/race.py; the contenders are the files of bench/race/."""
