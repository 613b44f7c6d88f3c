"""Trust: whose classes a file may name.

A checkpoint, an exported model or a run folder may come from a stranger, and every class that it names would be imported and
called. lightdiff's own public classes only compute. Other classes are used only if the user has named their package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lightdiff.config.instantiate import SAFE_PACKAGES, ConfigError, import_safe_target, import_target


@dataclass(frozen=True)
class Trust:
    """The packages and classes that the user has named.

    Args:
        packages: names of packages or modules, such as "mylab"; a class in any module below them is trusted.
        names: dotted names of single classes and functions.

    Raises:
        ConfigError: a package is no dotted name.
    """

    packages: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for package in self.packages:
            if not isinstance(package, str) or not all(part.isidentifier() for part in package.split(".")):
                raise ConfigError(f"trust={package}: the name of a package is expected, as in trust=[mylab]")

    @classmethod
    def of(cls, packages: str | Iterable[str] | None, names: Iterable[str] = ()) -> Trust:
        """Return the trust in the packages of a setting `trust`, which may be one name, a list, or null."""
        several = [packages] if isinstance(packages, str) else [*(packages or ())]
        return cls(tuple(several), frozenset(names))

    def covers(self, name: Any) -> bool:
        """Return whether the user has named this class or a package that it lies in."""
        within = any(str(name).startswith(f"{package}.") for package in self.packages)
        return within or name in self.names

    def importer(self, packages: Iterable[str] = SAFE_PACKAGES) -> Callable[[str], Callable[..., Any]]:
        """Return the function that imports a class which a file names.

        Args:
            packages: packages of lightdiff whose public classes the file may name in any case.
        """
        own = tuple(packages)

        def trusted(name: str) -> Callable[..., Any]:
            if not self.covers(name):
                return import_safe_target(name, own)
            found = import_target(name)
            # a module of the package may have imported anything, such as os.system
            home = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
            if not self.covers(home):
                raise ConfigError(f"_target_={name}: it is not defined in a package that you trust, but is {home}")
            return found

        return trusted


def is_own(name: Any) -> bool:
    """Return whether a name is that of a public class of lightdiff, which any file may name."""
    try:
        import_safe_target(name)
    except ConfigError:
        return False
    return True


NOBODY = Trust()
"""Trust in lightdiff's own classes only."""
