"""The name of release 0.1 for `lightdiff.model`."""

from lightdiff.model import *  # noqa: F403
from lightdiff.model import __all__  # noqa: F401
