"""Find a port for the page."""

from __future__ import annotations

import errno
import socket

from lightdiff.config.instantiate import ConfigError


def free_port(host: str, port: int) -> int:
    """Return a port at which a page can be served.

    Args:
        host: the address.
        port: the port; 0: any free one.

    Raises:
        ConfigError: the port is taken or not allowed, or the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise ConfigError(
                    f"host={host}: no address of this machine ({error.strerror}); 127.0.0.1 is this machine alone, 0.0.0.0 all "
                    "its addresses"
                ) from error
            raise ConfigError(
                f"port={port}: nothing can be served there ({error.strerror}); port=0 takes any free one"
            ) from error
        return int(trial.getsockname()[1])
