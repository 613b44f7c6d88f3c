"""lightdiff with a network that does not know the classes, as those of most packages."""

from racing.ours import Ours


class LightdiffWithoutClasses(Ours):
    changed = "conditioning=none"
    overrides = ("conditioning=none",)
