"""The comparison in a real browser: it loads alone, its slider and switches work, nothing acts."""

import shutil

import pytest

from lightning_gen.tracking.records import read
from lightning_gen.tracking.report.page import compare, render

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
DRAWN = """(axis) => {
  const panels = [...document.querySelectorAll(".panel")].filter((panel) => {
    const box = panel.getBoundingClientRect();
    return box.top < innerHeight && box.bottom > 0;
  });
  return panels.length > 0 && panels.every((panel) => panel.dataset.axis === axis);
}"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Open the page of some runs; every message, error and request is kept."""

    def visit(folders):
        path = tmp_path / "page.html"
        path.write_text(render(compare(list(read(map(str, folders))))), encoding="utf-8")
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("dialog", lambda dialog: page.said.append(dialog.message))
        page.on("request", lambda r: r.url.startswith("data:") or page.said.append(r.url))
        page.goto(path.as_uri())
        assert page.said.pop(0) == path.as_uri()
        return page

    yield visit
    for context in browser.contexts:
        context.close()


def go(page, selector, axis="images"):
    page.evaluate("s => document.querySelector(s).scrollIntoView()", selector)
    page.wait_for_function(DRAWN, arg=axis)


def sources(page):
    return page.eval_on_selector_all(".films img", "all => all.map((i) => i.src)")


def lines(page, panel=0):
    """Horizontal ends and number of points of each line of a panel as plotly has it."""
    return page.evaluate(
        """(panel) => [...document.querySelectorAll(".panel")][panel].querySelector(".plot")
        ._fullData.map((t) => [t.name, t._length, Math.max(...t.x)])""",
        panel,
    )


def test_the_page_loads_alone_and_draws_what_comes_into_view(two_groups, visit):
    folders, *_ = two_groups
    page = visit(folders)
    go(page, "#curves")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(300)
    go(page, "#curves")
    assert page.said == []
    assert page.evaluate("window.Plotly.version")
    assert page.locator("td.best").count() == 1


def test_the_slider_moves_all_pictures(two_groups, visit):
    folders, *_ = two_groups
    page = visit(folders)
    last = sources(page)
    assert page.locator("#time").text_content() == "4,000 images"
    page.locator("#slider").fill("0")
    first = sources(page)
    assert page.locator("#time").text_content() == "1,000 images"
    moved = [a != b for a, b in zip(first, last, strict=True)]
    assert moved.count(True) == 10 and moved.count(False) == 1  # the real data stand still
    page.locator("#slider").press("ArrowRight")
    assert page.locator("#time").text_content() == "2,000 images"
    assert sources(page) not in (first, last)
    wide = page.eval_on_selector_all(".films img", "all => all.map((i) => i.naturalWidth)")
    assert wide == [32] * 11
    assert page.said == []


def test_the_axis_switches_to_hours(two_groups, visit):
    folders, *_ = two_groups
    page = visit(folders)
    go(page, "#curves")
    assert {end for *_, end in lines(page)} == {4000}
    page.check("input[value=hours]")
    go(page, "#curves", "hours")
    ends = {name: end for name, _, end in lines(page)}
    assert ends["dcgan, mean of 5"] == 1.0 and ends["wgan, mean of 5"] == 2.0
    assert page.locator("#axis-name").text_content() == "device-hours"
    page.check("input[value=images]")
    go(page, "#curves", "images")
    assert {end for *_, end in lines(page)} == {4000}
    assert page.said == []


def test_seeds_and_groups_can_be_hidden(two_groups, visit):
    folders, *_ = two_groups
    page = visit(folders)
    go(page, "#curves")
    with_seeds = len(lines(page))
    page.uncheck("#seeds")
    page.wait_for_function("n => document.querySelector('.panel').dataset.lines == n", arg=6)
    assert with_seeds == 16 and len(lines(page)) == 6  # a mean and two edges a group, ten seeds
    page.click("#legend button >> nth=0")
    page.wait_for_function("n => document.querySelector('.panel').dataset.lines == n", arg=3)
    assert page.locator(".films figure:visible").count() == 6  # five seeds, the real data
    assert page.said == []


def test_text_of_runs_does_nothing(make_run, how, visit):
    act = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked=1'>"
    name = "<img src=x onerror='window.hacked=1'>"
    hostile = make_run(
        name, scores=[(act, 1.0)], alert=act, data={"name": act}, model={act: act, "lr": "{{1+1}}"}
    )
    page = visit([hostile, make_run("other", seed=1)])
    go(page, "#curves")
    page.hover(".panel .plot")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x]").count() == 0
    assert name in page.locator("h1").text_content() and act in page.locator(".alerts").inner_text()
    assert page.said == []


def test_the_policy_admits_no_other_script(make_run, visit):
    page = visit([make_run()])
    page.evaluate(
        """() => { const s = document.createElement("script");
        s.textContent = "window.hacked = 1"; document.head.append(s); }"""
    )
    assert page.evaluate("window.hacked") is None
    assert "Content Security Policy" in page.said[0]


def test_runs_without_pictures_hours_or_scores_are_drawn(make_run, visit):
    page = visit([make_run(state="running", scores=(), pictures=False, hours=None)])
    go(page, "#curves")
    page.check("input[value=hours]")
    go(page, "#curves", "hours")
    assert lines(page) == []
    assert page.locator("#slider").count() == 0 and page.said == []
