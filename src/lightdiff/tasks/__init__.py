"""The name of release 0.1 for `lightdiff.config`, `lightdiff.jobs` and `lightdiff.commands`; `build` is kept."""
