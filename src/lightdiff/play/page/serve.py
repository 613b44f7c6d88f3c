"""Serve the page to this machine, or to whom the user wants it shown, and load nothing from anywhere else."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from lightdiff.config.instantiate import ConfigError
from lightdiff.play.page.build import build_page
from lightdiff.play.page.look import SCRIPT, STYLE
from lightdiff.play.playable import Playable
from lightdiff.play.uploads import MOST_BYTES

POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"
"""What a browser may load for the page: what this server has, and nothing from another one."""
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}


class OwnMachine:
    """Middleware that tells browsers `POLICY` with every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, with_policy)


@contextmanager
def served(playables: Sequence[Playable], *, host: str, port: int, share: bool, open_browser: bool) -> Iterator[str]:
    """Serve the page while the block runs.

    Args:
        playables: the models.
        host: address that is listened at.
        port: its port; 0: any free one.
        share: whether Gradio makes a public link as well.
        open_browser: whether the page is opened in a browser of this machine.

    Yields:
        The address of the page, and the public link behind it.

    Raises:
        ConfigError: the port is taken, or the host is not one of this machine's.
    """
    page = build_page(playables)
    page.queue(status_update_rate="auto")
    try:
        _, address, link = page.launch(
            server_name=host,
            server_port=_free_port(host, port),
            share=share,
            inbrowser=open_browser,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
            max_file_size=MOST_BYTES,
            theme=gr.themes.Default(**FONTS),
            css=STYLE,
            head=SCRIPT,
            app_kwargs={"middleware": [Middleware(OwnMachine)]},
        )
        yield f"{address} and {link}" if link else address
    finally:
        page.close(verbose=False)


def _free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0.

    Raises:
        ConfigError: it cannot be listened at.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OverflowError as error:
            raise ConfigError(f"port={port}: 0 to 65535 is expected") from error
        except OSError as error:
            name = "host" if isinstance(error, socket.gaierror) or error.errno == 99 else "port"
            value = host if name == "host" else port
            raise ConfigError(
                f"{name}={value}: nothing can be served there ({error.strerror}); choices: port=0 takes any free port"
            ) from error
        return int(trial.getsockname()[1])
