"""Start the project's commands as processes of their own, but without the seconds that each would take to import torch.

A server imports what the commands import and does nothing else. For each command it makes a copy of itself by a fork: a
process of its own with its own arguments, environment, folder, streams and signals, and a child of the process that
asked. So is Python code of the tests (`python -c`) that uses lightdiff. A process is started in the ordinary way where
its environment holds what is read while Python or a library starts, in tests that use the fixture `fresh` (they ask
what a start itself does), and everywhere with `--fresh`.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import gc
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = {*ROOT.glob("*.py"), *ROOT.glob("bench/*.py")}
START = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "TORCH", "CUDA", "LIGHTDIFF_BLOCKED", "VIRTUAL_ENV", "MPL")
"""Beginnings of the names of environment variables that are read while Python or a library starts."""
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of Linux: orphans become children of the process that sets it."""
ORDINARY = subprocess.Popen._execute_child  # type: ignore[attr-defined]
PARAMETERS = inspect.signature(ORDINARY)
ON = True
"""False while all processes are to be started in the ordinary way."""


class Server:
    """Server of the copies; started by the first command and ended with the process that started it.

    Args:
        environment: its environment, which is none that a test has changed.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.socket, other = socket.socketpair()
        self.environment = {**environment, "OMP_NUM_THREADS": "1"}
        line = [sys.executable, str(Path(__file__)), str(other.fileno())]
        self.process = subprocess.Popen(line, env=self.environment, pass_fds=[other.fileno()], cwd=ROOT)
        other.close()

    def takes(self, call: dict[str, Any]) -> bool:
        """Return whether a copy would be what the ordinary way makes."""
        if any(call[name] for name in ("executable", "preexec_fn", "pass_fds", "shell", "startupinfo")):
            return False
        if any(call[name] is not None for name in ("gid", "gids", "uid")) or call["umask"] >= 0:
            return False
        wanted = dict(os.environ if call["env"] is None else call["env"])
        added = set(split(wanted)) - set(split(self.environment))
        return at_start(wanted) == at_start(self.environment) and not any(
            (Path(folder) / "sitecustomize.py").exists() for folder in added
        )

    def start(self, call: dict[str, Any]) -> int:
        """Start a command; return the number of its process."""
        streams = [call[name] if call[name] != -1 else i for i, name in enumerate(("p2cread", "c2pwrite", "errwrite"))]
        request = {
            "arguments": [os.fspath(word) for word in call["args"][1:]],
            "environment": dict(os.environ if call["env"] is None else call["env"]),
            "folder": os.fspath(call["cwd"] or Path.cwd()),
            "session": bool(call["start_new_session"]),
            "group": call.get("process_group", -1),
        }
        text = json.dumps(request).encode("utf-8", "surrogateescape")
        libc = ctypes.CDLL(None)
        libc.prctl(SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(self.socket, [len(text).to_bytes(8, "little")], streams)
            self.socket.sendall(text)
            return int.from_bytes(exactly(self.socket, 8), "little")
        finally:
            libc.prctl(SUBREAPER, 0, 0, 0, 0)


def known(args: Any, folder: Any) -> bool:
    """Return whether this is one of the project's scripts or modules, or code that uses lightdiff."""
    if not isinstance(args, list) or len(args) < 2 or args[0] != sys.executable:
        return False
    if args[1] in ("-c", "-m"):
        return ("lightdiff" if args[1] == "-c" else "lightdiff.") in args[2]
    return Path(folder or "", args[1]).absolute() in SCRIPTS


def at_start(environment: dict[str, str]) -> dict[str, str]:
    """Return the variables that are read while Python or a library starts."""
    return {key: value for key, value in environment.items() if key.startswith(START) and key != "PYTHONPATH"}


def split(environment: dict[str, str]) -> list[str]:
    """Return the folders of PYTHONPATH."""
    return [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]


def exactly(connection: socket.socket, count: int) -> bytes:
    """Read so many bytes; EOFError where the other side ended."""
    parts = b""
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts


def install() -> None:
    """Let `subprocess` of this process start the project's commands as copies."""
    if not sys.platform.startswith("linux"):
        return
    servers: list[Server] = []
    environment = dict(os.environ)

    def execute(self: subprocess.Popen, *args: Any) -> None:
        call = PARAMETERS.bind(self, *args).arguments
        copied = ON and known(call["args"], call["cwd"])
        if copied and not servers:
            servers.append(Server(environment))
        if not copied or not servers[0].takes(call):
            ORDINARY(self, *args)
            return
        self.pid = servers[0].start(call)
        self._child_created = True
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(call[name] for name in ends))

    subprocess.Popen._execute_child = execute  # type: ignore[attr-defined]


def serve(connection: socket.socket) -> dict[str, Any]:
    """Wait for commands; return in each copy with its request."""
    gc.freeze()
    while True:
        streams: array.array = array.array("i")
        try:
            size, received, _, _ = socket.recv_fds(connection, 8, 3)
            if not size:
                os._exit(0)
            streams.extend(received)
            request = json.loads(exactly(connection, int.from_bytes(size, "little")).decode("utf-8", "surrogateescape"))
        except (EOFError, ConnectionError):
            os._exit(0)
        read, write = os.pipe()
        between = os.fork()
        if between == 0:
            # the process in between ends at once, and the copy becomes a child of the process that asked
            parent = os.getpid()
            copy = os.fork()
            if copy != 0:
                os.write(write, copy.to_bytes(8, "little"))
                os._exit(0)
            while os.getppid() == parent:
                time.sleep(0.0005)
            for number in (read, write):
                os.close(number)
            connection.close()
            return {**request, "streams": list(streams)}
        os.waitpid(between, 0)
        pid = os.read(read, 8)
        for number in (read, write, *streams):
            os.close(number)
        connection.sendall(pid)


def become(request: dict[str, Any]) -> CodeType:
    """Make this copy what a fresh process would be before its first line; return the code that it is to run."""
    if request["session"]:
        os.setsid()
    elif request["group"] >= 0:
        os.setpgid(0, request["group"])
    for number, stream in enumerate(request["streams"]):
        os.dup2(stream, number)
    for stream in set(request["streams"]) - {0, 1, 2}:
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # the streams stay open as long as the process
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False, buffering=1 if os.isatty(1) else -1)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", closefd=False, buffering=1, errors="backslashreplace")  # noqa: SIM115
    first, *others = request["arguments"]
    sys.orig_argv[:] = [sys.executable, first, *others]
    # it was the folder of this file
    del sys.path[0]
    added = [folder for folder in split(request["environment"]) if folder not in sys.path]
    if first in ("-c", "-m"):
        name, *others = others
        sys.argv[:] = [first, *others]
        sys.path[:0] = ["" if first == "-c" else request["folder"], *added]
        return compile(
            name if first == "-c" else f"import runpy\nrunpy._run_module_as_main({name!r})", "<string>", "exec"
        )
    sys.argv[:] = [first, *others]
    sys.path[:0] = [str(Path(first).absolute().parent), *added]
    return compile(Path(first).read_bytes(), first, "exec")


def imports() -> None:
    """Import what the commands import."""
    import hydra.main  # noqa: F401
    import pytorch_lightning  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import tensorboard.summary  # noqa: F401
    import torchvision.transforms.v2  # noqa: F401

    import lightdiff.commands.evaluate
    import lightdiff.commands.export
    import lightdiff.commands.sample
    import lightdiff.jobs.train  # noqa: F401


def run(code: CodeType) -> int:
    """Run the code as the main module; return the exit code."""
    main = ModuleType("__main__")
    main.__file__ = code.co_filename
    sys.modules["__main__"] = main
    try:
        exec(code, main.__dict__)
    except SystemExit as asked:
        if asked.code is None or isinstance(asked.code, int):
            return asked.code or 0
        print(asked.code, file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def end(code: int) -> None:
    """End this copy in Python's order, but without taking every imported library apart, which takes a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError:
        # the code of Python for what could not be written at the end
        code = 120
    os._exit(code & 0xFF)


if __name__ == "__main__":
    imports()
    end(run(become(serve(socket.socket(fileno=int(sys.argv[1]))))))
