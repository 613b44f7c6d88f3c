"""The page of play.py in a real browser: one server and one browser for all tests here."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lightdiff.config.extras import installed
from lightdiff.utils.images import make_grid, to_uint8
from playables import HOSTILE, ROOT, shipped
from waiting import PATIENCE, until

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup-browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: make setup-browser"),
    pytest.mark.skipif(not installed("play"), reason="the extra play is not installed: make setup-browser"),
]
MODELS = ("models/mnist_fast", "models/mnist_one_step", "models/mnist_super_resolution")


@dataclass
class Server:
    """A running play.py.

    Args:
        process: its process.
        address: where its page is.
        home: its home folder, and its working directory.
        hosts: what the browser has asked for.
    """

    process: subprocess.Popen[str]
    address: str
    home: Path
    hosts: set[str] = field(default_factory=set)

    @property
    def places(self) -> list[Path]:
        """Its folders for temporary files."""
        return [*Path(tempfile.gettempdir()).glob(f"lightdiff-play-{self.process.pid}-*")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    paths = ",".join(str(ROOT / model) for model in MODELS)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "play.py"), f"ckpt_path=[{paths}]", "port=0", "device=cpu"],
        cwd=home,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.match(r"the page is at (http://127\.0\.0\.1:\d+/)", line)
    assert found, line
    yield Server(process, found[1], home)
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Any, server: Server, **settings: Any) -> Any:
    """Open the page as a visitor of its own."""
    context = browser.new_context(**settings)
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    page.on("request", lambda request: server.hosts.add(request.url))
    page.goto(server.address)
    page.wait_for_selector("#draw-0-go")
    return page


@pytest.fixture(scope="module")
def visitor(browser: Any, server: Server) -> Any:
    """The page that most tests here share."""
    return opened(browser, server)


def tab(page: Any, *names: str) -> None:
    """Open a tab, and one in it."""
    for name in names:
        page.get_by_role("tab", name=name, exact=True).locator("visible=true").click()


def fill(page: Any, label: str, value: Any) -> None:
    """Write into the field with this label that is on show."""
    shown = page.get_by_label(re.compile(f"^(number input for )?{label}$")).locator("visible=true")
    shown.fill(str(value))
    shown.blur()


def finished(page: Any, name: str) -> Any:
    """Press the button of a tab, wait for its result, and return the element that shows it."""
    # a result of before is none that is waited for
    page.evaluate(f"document.querySelectorAll('#{name}-shown .finished').forEach((each) => each.className = 'former')")
    page.click(f"#{name}-go")
    page.wait_for_selector(f"#{name}-shown .finished")
    return page.locator(f"#{name}-shown")


def pixels(element: Any) -> np.ndarray:
    """Return the gray levels (h, w) of an image whose content is in its address."""
    content = base64.b64decode(element.get_attribute("src").partition(",")[2])
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("L"))


def test_images_are_drawn_step_by_step_and_downloaded(visitor: Any) -> None:
    tab(visitor, MODELS[0], "Draw")
    fill(visitor, "steps", 12)
    fill(visitor, "seed", 3)
    fill(visitor, "guidance scale", 2)
    visitor.click("#draw-0-go")
    visitor.wait_for_selector("#draw-0-shown .going")
    assert "x0_hat" in visitor.inner_text("#draw-0-shown .pictures")
    visitor.wait_for_selector("#draw-0-shown .finished")
    drawn = shipped("mnist_fast").model.sample(16, num_steps=12, seed=3, guidance_scale=2.0)
    expected = make_grid(to_uint8(drawn), 4)
    assert np.array_equal(pixels(visitor.locator("#draw-0-shown img")), expected[0].numpy())
    for kind in ("PNG", "GIF"):
        with visitor.expect_download() as download:
            visitor.get_by_text(f"download {kind}").locator("visible=true").click()
        assert download.value.suggested_filename == f"seed3.{kind.lower()}"
        with Image.open(download.value.path()) as image:
            assert image.format == kind and getattr(image, "n_frames", 1) == (13 if kind == "GIF" else 1)


def test_the_slider_walks_along_the_row(visitor: Any) -> None:
    tab(visitor, MODELS[0], "Walk")
    fill(visitor, "steps", 2)
    shown = finished(visitor, "interpolate-0")
    ends = []
    for position in (0, 8):
        shown.locator("input[type=range]").fill(str(position))
        assert (
            shown.locator(".stages figcaption")
            .locator("visible=true")
            .inner_text()
            .startswith(f"{position * 12.5:.0f} %")
        )
        ends.append(pixels(shown.locator(".stages img").locator("visible=true")))
    assert not np.array_equal(*ends)


def test_what_is_painted_is_filled_and_nothing_else_changes(visitor: Any) -> None:
    tab(visitor, MODELS[0], "Fill in")
    # without a picture and without paint there is one line
    visitor.click("#fill-in-0-go")
    visitor.wait_for_selector("#fill-in-0-shown .refused")
    assert visitor.inner_text("#fill-in-0-shown") == "picture: put one in, or draw one"
    visitor.click("#fill-in-0-draw-one")
    visitor.wait_for_selector("#fill-in-0 canvas")
    # a number that is typed before the page is complete is set back, so the page has answered first
    fill(visitor, "steps", 3)
    fill(visitor, "images", 1)
    box = visitor.locator("#fill-in-0 canvas").bounding_box()
    visitor.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.2)
    visitor.mouse.down()
    visitor.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.8, steps=5)
    visitor.mouse.up()
    mask = visitor.evaluate("window.lightdiffMask('fill-in-0-painter')")
    painted = np.array([*mask]).reshape(28, 28) == "1"
    assert painted[:, 20:25].any() and not painted[:, :18].any() and 40 < painted.sum() < 200
    before = pixels(visitor.locator("#fill-in-0 .stack img"))
    result = pixels(finished(visitor, "fill-in-0").locator("img").last)
    assert np.array_equal(before[~painted], result[~painted])
    visitor.get_by_text("clear").locator("visible=true").click()
    visitor.click("#fill-in-0-go")
    visitor.wait_for_selector("#fill-in-0-shown .refused")
    assert "nothing is painted" in visitor.inner_text("#fill-in-0-shown")


def test_hostile_files_are_refused_in_one_line_and_a_picture_is_taken(
    visitor: Any, server: Server, tmp_path: Path
) -> None:
    tab(visitor, MODELS[0], "Vary")
    fill(visitor, "steps", 4)
    file = visitor.locator("#start-from-0-file input[type=file]")
    for name, (content, message) in HOSTILE.items():
        if "\n" in name or not content:
            continue
        (tmp_path / name).write_bytes(content)
        file.set_input_files(tmp_path / name)
        line = visitor.locator("#start-from-0 .refused", has_text=name)
        line.wait_for()
        assert message in line.inner_text() and "\n" not in line.inner_text()
        visitor.locator("#start-from-0-file [aria-label*=lear], #start-from-0-file [aria-label*=emove]").first.click()
        visitor.locator("#start-from-0 .refused").wait_for(state="detached")
    Image.new("L", (100, 50), 255).save(tmp_path / "white.png")
    file.set_input_files(tmp_path / "white.png")
    visitor.wait_for_selector("#start-from-0 img")
    assert (pixels(visitor.locator("#start-from-0 img")) == 255).all()
    assert finished(visitor, "start-from-0").locator("img").count() == 2
    [place] = server.places
    assert not [*place.rglob("*.png")] and not [*place.rglob("*.svg")]


def test_a_picture_is_made_larger_by_the_model_that_can(visitor: Any, tmp_path: Path) -> None:
    tab(visitor, MODELS[2], "Draw")
    fill(visitor, "steps", 2)
    visitor.click("#draw-2-go")
    visitor.wait_for_selector("#draw-2-shown .refused")
    assert "this model needs a picture of 7x7" in visitor.inner_text("#draw-2-shown")
    Image.new("L", (7, 7), 200).save(tmp_path / "small.png")
    visitor.locator("#draw-2-condition-file input[type=file]").set_input_files(tmp_path / "small.png")
    visitor.wait_for_selector("#draw-2-condition img")
    assert finished(visitor, "draw-2").locator("img").count() == 2


def test_two_models_are_compared(visitor: Any) -> None:
    tab(visitor, "Compare")
    fill(visitor, "steps", 2)
    fill(visitor, "images", 3)
    image = pixels(finished(visitor, "compare").locator("img"))
    expected = [to_uint8(shipped(model.partition("/")[2]).model.sample(3, num_steps=2, seed=0)) for model in MODELS[:2]]
    assert np.array_equal(image, make_grid(torch.cat(expected), 3)[0].numpy())


def test_training_images_that_are_not_there_are_one_line(visitor: Any) -> None:
    tab(visitor, MODELS[0], "Nearest")
    visitor.click("#neighbours-0-go")
    visitor.wait_for_selector("#neighbours-0-shown .refused")
    assert "say where they are by data_dir" in visitor.inner_text("#neighbours-0-shown")


def test_long_work_is_stopped_and_two_visitors_draw_side_by_side(browser: Any, server: Server, visitor: Any) -> None:
    tab(visitor, MODELS[0], "Draw")
    fill(visitor, "steps", 1000)
    visitor.click("#draw-0-go")
    visitor.locator("#draw-0-shown .going", has_text="of 1000").wait_for()
    assert re.match(r"step \d+ of 1000, \d", visitor.inner_text("#draw-0-shown .progress").strip())
    other = opened(browser, server)
    fill(other, "steps", 2)
    fill(other, "seed", 8)
    other.click("#draw-0-go")
    # the second one waits until the first one gives up
    visitor.click("#draw-0-stop")
    visitor.get_by_text(re.compile(r"stopped at step \d+ of 1000")).wait_for()
    other.wait_for_selector("#draw-0-shown .finished")
    assert visitor.locator("#draw-0-shown .finished").count() == 0
    fill(visitor, "steps", 2)
    fill(visitor, "seed", 9)
    results = [pixels(finished(page, "draw-0").locator("img")) for page in (visitor, other)]
    for result, seed in zip(results, (9, 8), strict=True):
        drawn = shipped("mnist_fast").model.sample(16, num_steps=2, seed=seed, guidance_scale=2.0 if seed == 9 else 1.0)
        assert np.array_equal(result, make_grid(to_uint8(drawn), 4)[0].numpy())
    other.context.close()


def test_ten_requests_at_once_are_queued_and_none_is_lost(visitor: Any, server: Server) -> None:
    config = visitor.evaluate("window.gradio_config")
    by_id = {component["id"]: component["props"].get("elem_id") for component in config["components"]}
    number = next(
        each["id"]
        for each in config["dependencies"]
        if any(by_id.get(target) == "draw-0-go" and event == "click" for target, event in each["targets"])
    )
    answers: dict[int, str] = {}

    def ask(seed: int) -> None:
        base, session = f"{server.address}gradio_api/queue", f"session{seed}"
        data = ["each in turn", "ddim", 2, seed, 1, 1]
        body = json.dumps({"data": data, "fn_index": number, "session_hash": session}).encode()
        request = urllib.request.Request(f"{base}/join", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=PATIENCE).close()
        with urllib.request.urlopen(f"{base}/data?session_hash={session}", timeout=PATIENCE) as stream:
            for line in stream:
                message = json.loads(line.removeprefix(b"data:")) if line.startswith(b"data:") else {}
                answers[seed] = answers.get(seed, "") + json.dumps(message.get("output", ""))
                if message.get("msg") in ("process_completed", "close_stream"):
                    return

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 10 and all(f"seed{seed}.png" in answers[seed] for seed in range(10))


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_page_fits_a_phone(browser: Any, server: Server, colours: str, tmp_path: Path) -> None:
    page = opened(browser, server, viewport={"width": 390, "height": 844}, color_scheme=colours, has_touch=True)
    fill(page, "steps", 1)
    finished(page, "draw-0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=os.environ.get("LIGHTDIFF_SHOTS", str(tmp_path)) + f"/phone_{colours}.png", full_page=True)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    level = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
    assert level < 80 if colours == "dark" else level > 200
    page.context.close()


def test_no_request_left_this_machine(visitor: Any, server: Server) -> None:
    """The browser's requests in all tests above; and the policy that keeps it so."""
    foreign = {url for url in server.hosts if not url.startswith((server.address, "data:", "blob:"))}
    assert len(server.hosts) > 10 and not foreign
    blocked = visitor.evaluate("""() => new Promise((done) => {
        document.addEventListener("securitypolicyviolation", (event) => done(event.blockedURI));
        fetch("http://127.0.0.2:1/").catch(() => setTimeout(() => done("not by the policy"), 5000));
    })""")
    assert blocked.startswith("http://127.0.0.2:1")
    assert "default-src 'self'" in visitor.request.get(server.address).headers["content-security-policy"]


def test_the_server_ends_and_leaves_nothing_behind(server: Server) -> None:
    assert len(server.places) == 1
    server.process.send_signal(signal.SIGTERM)
    assert until(lambda: server.process.poll() is not None)
    assert server.process.returncode == 143
    # matplotlib, which Gradio asks for its backend, keeps a list of fonts for all programs
    written = [path for path in server.home.rglob("*") if path.is_file() and "matplotlib" not in path.parts]
    assert server.places == [] and written == []
