"""Two hosts on one machine for tests: network namespaces joined by a cable that can be cut. Needs root and iproute2."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator


def missing() -> str | None:
    """Why no network namespace can be made here; None where it can."""
    if shutil.which("ip") is None:
        return "ip (iproute2) is not installed"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True)
    return None if os.geteuid() == 0 and tried.returncode == 0 else "network namespaces need root"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Hosts:
    """Hosts 0 and 1 with the addresses 10.77.0.1 and 10.77.0.2 on their interfaces cable0 and cable1."""

    def __init__(self) -> None:
        self.names = [f"lightdiff-{os.getpid()}-{i}" for i in range(2)]

    def address(self, host: int) -> str:
        return f"10.77.0.{host + 1}"

    def run(self, host: int, *command: str) -> list[str]:
        """The command line that runs the command on that host."""
        return ["ip", "netns", "exec", self.names[host], *command]

    def cut(self) -> None:
        """Silence: neither host hears of the other again, and nobody tells them."""
        _ip("-n", self.names[1], "link", "set", "cable1", "down")


@contextlib.contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Make the hosts; they are gone afterwards."""
    hosts = Hosts()
    try:
        for name in hosts.names:
            _ip("netns", "add", name)
        _ip("link", "add", "cable0", "netns", hosts.names[0], "type", "veth", "peer", "cable1", "netns", hosts.names[1])
        for i, name in enumerate(hosts.names):
            _ip("-n", name, "addr", "add", f"{hosts.address(i)}/24", "dev", f"cable{i}")
            for interface in ("lo", f"cable{i}"):
                _ip("-n", name, "link", "set", interface, "up")
        yield hosts
    finally:
        for name in hosts.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
