"""The page of report.py in a real browser: sorting, filtering, curves, comparing, colours; no request and no error."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightdiff.commands.report import report
from reported import make_run, png, record

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("playwright") is None,
    reason="needs the program chromium and the package playwright: make setup-browser",
)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of four runs: version_0 with pictures, version_1 and version_2 with other settings, a broken version_10."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    for number, (lr, loss, fid) in enumerate(((0.001, 0.5, 3.0), (0.002, 0.25, 9.0), (0.001, 0.125, None))):
        config = {"optimizer": {"lr": lr}, "seed": number, "same": 7, "text": HOSTILE if number == 1 else "plain"}
        records = fid and [record(values={"fid": {"value": fid, "spread": None}})]
        result = f'{{"epochs": 7, "steps": 30, "metrics": {{"val/loss": {loss}}}}}'
        run = make_run(folder / f"version_{number}", config, result=result, records=records or None)
        (run / "metrics.csv").write_text(f"step,val/loss\n10,1.0\n20,0.8\n30,{loss}\n")
    png(folder / "version_0/samples/step_0000001.png").with_suffix(".gif").write_bytes(b"GIF89a")
    make_run(folder / "version_10", "a: [1,", result=None)
    return report([folder])


@pytest.fixture
def page(browser: Any, path: Path) -> Iterator[Any]:
    """The page, opened; when a test is over, nothing was requested but the page, and nothing was wrong."""
    opened = browser.new_page()
    requests: list[str] = []
    wrong: list[str] = []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: wrong.append(dialog.message))
    opened.goto(path.as_uri())
    yield opened
    assert wrong == []
    assert [url for url in requests if not url.startswith("data:image/")] == [path.as_uri()]
    opened.close()


def names(page: Any, selector: str = "main article:visible h2") -> list[str]:
    return [text.split()[0] for text in page.locator(selector).all_inner_texts()]


def test_cards_are_sorted_both_ways_and_runs_without_a_value_come_last(page: Any) -> None:
    assert names(page) == ["version_0", "version_1", "version_2", "version_10"]
    page.get_by_label("sort by").select_option("validation loss")
    assert names(page) == ["version_2", "version_1", "version_0", "version_10"]
    page.get_by_title("turn the order around").click()
    assert names(page) == ["version_0", "version_1", "version_2", "version_10"]
    page.get_by_label("sort by").select_option("best distance")
    assert names(page) == ["version_1", "version_0", "version_2", "version_10"]


def test_the_table_is_sorted_by_a_click_on_its_head(page: Any) -> None:
    page.get_by_role("button", name="show a table").click()
    rows = "#table tbody td:nth-child(2)"
    assert names(page, rows)[0] == "version_0" and names(page) == []
    head = page.locator("#table").get_by_role("button", name="run")
    head.click()
    assert names(page, rows) == ["version_10", "version_2", "version_1", "version_0"]
    assert page.locator("#table th[aria-sort=descending]").inner_text().startswith("run")
    page.locator("#table").get_by_role("link", name="version_1", exact=True).click()
    assert page.locator("#run-1").is_visible()


def test_a_filter_of_several_words_hides_the_other_runs_and_their_curves(page: Any) -> None:
    field = page.get_by_role("searchbox")
    field.fill("optimizer.lr=0.001 DONE")
    assert names(page) == ["version_0", "version_2"] and page.get_by_text("2 of 4 runs").is_visible()
    assert page.locator("#curves path.line").count() == 2
    field.fill("no such run")
    assert names(page) == [] and page.get_by_text("No points of this curve").is_visible()
    field.fill("")
    assert len(names(page)) == 4


def test_a_curve_is_read_under_the_pointer_and_singled_out_by_the_legend(page: Any) -> None:
    lines = page.locator("#curves path.line")
    assert lines.count() == 3
    # the last points of the three curves, from the best to the worst, lie at the right end
    box = page.locator("#curves svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 28, box["y"] + box["height"] - 42)
    assert page.locator("#curves output").inner_text() == "version_2: 0.125 at step 30"
    assert page.locator("#curves path.faint").count() == 2
    page.locator(".legend").get_by_role("button", name="version_1").click()
    page.mouse.move(0, 0)
    assert page.locator("#curves path.faint").count() == 2
    assert page.locator(".legend [aria-pressed=true]").inner_text() == "version_1"
    page.get_by_label("over", exact=False).and_(page.locator("select")).select_option("minutes")
    assert page.get_by_text("No times are known of this curve.").is_visible()


def test_a_linear_axis_is_labelled_with_round_numbers(page: Any) -> None:
    page.get_by_label("logarithmic").uncheck()
    assert page.locator("#curves path.line").count() == 3
    labels = page.locator("#curves svg text").all_text_contents()
    assert {"0.2", "1", "10", "30"} <= set(labels)


def test_two_runs_side_by_side_show_exactly_what_differs(page: Any) -> None:
    side = page.locator("#compare")
    assert side.is_hidden()
    page.get_by_label("compare version_0", exact=True).check()
    assert "Tick another run" in side.inner_text()
    page.get_by_label("compare version_1", exact=True).check()
    rows = [row.split("\t") for row in side.locator("tr.differs").all_inner_texts()]
    assert rows == [["optimizer.lr", "0.001", "0.002"], ["seed", "0", "1"], ["text", "plain", HOSTILE]]
    assert "3 choices and settings differ" in side.inner_text()
    assert side.locator("img").count() == 1 and "no samples" in side.inner_text()
    page.get_by_role("button", name="clear").click()
    assert side.is_hidden() and page.locator(".pick input:checked").count() == 0


def test_a_picture_leads_to_its_gif(page: Any, path: Path) -> None:
    targets = page.locator("#run-0 a").evaluate_all("links => links.map((link) => link.href)")
    assert targets.count((path.parent / "version_0/samples/step_0000001.gif").as_uri()) == 2


@pytest.mark.parametrize("width", [360, 1280])
def test_it_is_dark_where_the_system_is_or_the_reader_says_so_and_nothing_is_wider_than_the_screen(
    page: Any, width: int
) -> None:
    def darkness() -> bool:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.strip("rgb()").split(","))) < 384

    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme="light")
    assert not darkness()
    page.emulate_media(color_scheme="dark")
    assert darkness()
    page.get_by_label("colours").select_option("light")
    assert not darkness()
    page.get_by_label("compare version_0", exact=True).check()
    page.get_by_label("compare version_1", exact=True).check()
    page.get_by_role("button", name="show a table").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_one_run_without_results_and_a_hostile_name_are_shown_as_text(browser: Any, tmp_path: Path) -> None:
    opened = browser.new_page()
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: wrong.append(dialog.message))
    name = HOSTILE.replace("/", "_")
    odd = {HOSTILE: HOSTILE, "constructor": 1, "__proto__": 2}
    make_run(tmp_path / f"runs/{name}/version_0", odd, result=None)
    make_run(tmp_path / "runs/b/version_0", {HOSTILE: "other"}, result=None)
    for folder in (tmp_path / "runs/b", tmp_path / "runs"):
        opened.goto(report([folder]).as_uri())
        assert opened.locator("#curves").count() == 0
    checkpoint = {"file": None, "sha256": "ab", "step": 1}
    measured = record(checkpoint=checkpoint, values={"constructor": {"value": 1.0, "spread": None}})
    make_run(tmp_path / "runs/c/version_0", {HOSTILE: "third"}, records=[measured])
    opened.goto(report([tmp_path / "runs"]).as_uri())
    assert "constructor" in opened.locator("#curves select").first.inner_text()
    for box in opened.locator(".pick input").all():
        box.check()
    opened.get_by_role("button", name="show a table").click()
    cells = opened.locator("#compare tr.differs").filter(has_text="constructor").locator("td").all_inner_texts()
    assert sorted(cells) == ["1", "not set", "not set"]
    assert name in opened.locator("#table").inner_text() and name in opened.locator("#compare").inner_text()
    assert opened.locator("img, article script, section script").count() == 0 and wrong == []
    opened.close()
