"""Serve the page to this machine, or to whom the user wants it shown, and load nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from lightdiff.play.page.build import build_page
from lightdiff.play.page.look import SCRIPT, STYLE
from lightdiff.play.playable import Playable
from lightdiff.play.uploads import MOST_BYTES

POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"
"""What a browser may load for the page: what this server has, and nothing from another one."""
FONT, FONT_OF_CODE = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
"""Fonts that every machine has."""


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
        port: its port.
        share: whether Gradio makes a public link as well.
        open_browser: whether the page is opened in a browser of this machine.

    Yields:
        The address of the page, and the public link behind it.
    """
    page = build_page(playables)
    try:
        _, address, link = page.launch(
            server_name=host,
            server_port=port,
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
            theme=gr.themes.Default(font=FONT, font_mono=FONT_OF_CODE),
            css=STYLE,
            head=SCRIPT,
            app_kwargs={"middleware": [Middleware(OwnMachine)]},
        )
        yield f"{address} and {link}" if link else address
    finally:
        page.close(verbose=False)
