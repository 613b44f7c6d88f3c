"""The commands: train, sample, edit, eval, export, report. The only package that imports Hydra."""
