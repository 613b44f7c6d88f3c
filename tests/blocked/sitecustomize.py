"""Switch modules off in a Python process, as if they were not installed: those that LIGHTDIFF_BLOCKED lists.

Python imports a module of this name at its start from any folder on PYTHONPATH.
"""

import importlib.metadata
import os
import sys

BLOCKED = [name for name in os.environ.get("LIGHTDIFF_BLOCKED", "").split(",") if name]

for module in BLOCKED:
    sys.modules[module] = None  # type: ignore[assignment]

_real = importlib.metadata.Distribution.from_name.__func__


def _from_name(cls, name):
    if name.replace("-", "_").lower() in BLOCKED:
        raise importlib.metadata.PackageNotFoundError(name)
    return _real(cls, name)


importlib.metadata.Distribution.from_name = classmethod(_from_name)
