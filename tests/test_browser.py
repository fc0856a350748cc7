"""Every page in a real browser: no error, no foreign request, maths, explorers, accessibility."""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from conftest import ROOT

from course.book import sphinx_ext

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE, LAPTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
PAGES = [
    page.rsplit(".", 1)[0]
    for page in sphinx_ext._pages(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
] + ["search", "genindex"]


def _executable() -> str:
    """The system's browser; without one CI fails and other machines skip."""
    found = os.environ.get("COURSE_BROWSER") or next(
        filter(None, map(shutil.which, BROWSERS)), None
    )
    if found is None:
        message = f"no browser: none of {', '.join(BROWSERS)} is on the PATH"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(f"{message}; set COURSE_BROWSER to its path to run this test")
    return found


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        """Write nothing for each request."""


@pytest.fixture(scope="module")
def address(built_book) -> Iterator[str]:
    """The built book, served on this machine."""
    handler = functools.partial(_Quiet, directory=str(built_book))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    executable = _executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield running
        running.close()


class Visit(NamedTuple):
    """A page, open in the browser, and what it did while it loaded and was used."""

    page: object
    name: str
    html: str
    requests: list[str]
    errors: list[str]
    own: str


@pytest.fixture(scope="module", params=PAGES)
def visit(request, browser, address, built_book) -> Iterator[Visit]:
    context = browser.new_context(viewport=LAPTOP, color_scheme="light", reduced_motion="reduce")
    page = context.new_page()
    requests, errors = [], []
    page.on("request", lambda sent: requests.append(sent.url))
    page.on("requestfailed", lambda sent: errors.append(f"failed: {sent.url}"))
    page.on("pageerror", lambda error: errors.append(f"uncaught: {error}"))
    page.on(
        "response",
        lambda got: errors.append(f"{got.status}: {got.url}") if got.status >= 400 else None,
    )
    page.on(
        "console",
        lambda said: errors.append(f"console: {said.text}") if said.type == "error" else None,
    )
    path = f"{request.param}.html"
    page.goto(address + path, wait_until="load")
    html = (built_book / path).read_text(encoding="utf-8")
    page.wait_for_function("!window.MathJax || !MathJax.startup || MathJax.startup.promise")
    page.evaluate("window.MathJax && MathJax.startup ? MathJax.startup.promise : null")
    views = html.count('type="application/vnd.jupyter.widget-view+json"')
    page.wait_for_function(f"document.querySelectorAll('.widget-subarea').length >= {views}")
    page.wait_for_timeout(300)
    yield Visit(page, request.param, html, requests, errors, address)
    context.close()


def test_loads_without_error_and_from_this_machine_alone(visit):
    foreign = [url for url in visit.requests if not url.startswith((visit.own, "data:", "blob:"))]
    assert foreign == []
    assert visit.errors == []


def test_mathematics_is_rendered(visit):
    count = visit.page.evaluate("document.querySelectorAll('.bd-article .math').length")
    rendered = visit.page.evaluate(
        "document.querySelectorAll('.bd-article .math mjx-container').length"
    )
    assert rendered >= count
    assert (
        visit.page.evaluate("document.querySelectorAll('mjx-merror, .MathJax_Error').length") == 0
    )
    cut = visit.page.evaluate(
        """() => [...document.querySelectorAll('.bd-article mjx-container[display="true"]')]
            .filter(e => e.scrollWidth > e.clientWidth + 1)
            .map(e => e.closest('[id]')?.id)"""
    )
    assert cut == [], "equations wider than the page of a laptop"
    left = visit.page.evaluate(
        """() => {
            const copy = document.querySelector('.bd-article')?.cloneNode(true);
            if (!copy) return [];
            copy.querySelectorAll('pre, code, script, mjx-container').forEach(e => e.remove());
            return copy.textContent.match(/\\$\\$|\\\\\\(|\\\\\\[|\\\\begin\\{/g) || [];
        }"""
    )
    assert left == [], "LaTeX stands in the text as it was written"


def test_every_picture_has_alt_text_once_the_page_is_drawn(visit):
    texts = visit.page.evaluate("[...document.images].map(i => [i.src.slice(0, 60), i.alt])")
    bad = [(source, alt) for source, alt in texts if len(alt.split()) < 2 or "_images/" in alt]
    assert bad == []


VISIBLE = """area => [...area.querySelectorAll('img')].filter(i => i.offsetParent !== null)
    .map(i => [i.src, i.alt])"""


def test_every_explorer_changes_its_picture_when_its_slider_moves(visit):
    areas = visit.page.locator(".bd-article .widget-subarea")
    expected = visit.html.count('type="application/vnd.jupyter.widget-view+json"')
    assert areas.count() == expected
    for area in areas.all():
        sliders = area.get_by_role("slider")
        assert sliders.count() >= 1, "an explorer without a slider"
        first = area.evaluate(VISIBLE)
        assert len(first) == 1, f"{len(first)} pictures are visible, allowed is one"
        for slider in sliders.all():
            assert slider.get_attribute("aria-label"), "a slider without a name"
            seen = [area.evaluate(VISIBLE)]
            for key in ("ArrowRight", "ArrowLeft"):
                slider.press(key)
                visit.page.wait_for_timeout(100)
                seen.append(area.evaluate(VISIBLE))
            assert [len(pictures) for pictures in seen] == [1, 1, 1]
            (before, moved, back) = (pictures[0] for pictures in seen)
            assert moved[0] != before[0], "the picture did not change"
            assert moved[1] != before[1], "the alt text did not change"
            assert back == before
    assert visit.errors == []


def _faults(page, options: dict) -> list[tuple]:
    """What axe calls serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    # The inside of a rendered formula is MathJax's.
    context = {"exclude": ["mjx-container"]}
    options = {"resultTypes": ["violations"]} | options
    report = Axe().run(page, context=context, options=options).response
    return [
        (violation["id"], node["target"], node["failureSummary"][:300])
        for violation in report["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


# Colours are what differs between the themes.
@pytest.mark.parametrize(
    ("theme", "options"),
    [("light", {}), ("dark", {"runOnly": {"type": "rule", "values": ["color-contrast"]}})],
)
def test_axe_finds_nothing_serious(visit, theme, options):
    visit.page.set_viewport_size(LAPTOP)
    visit.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    visit.page.wait_for_timeout(300)
    assert _faults(visit.page, options) == []


def test_axe_sees_faults_of_both_kinds(browser):
    page = browser.new_page()
    page.set_content(
        "<html lang=en><title>t</title><main><h1 style='color:#aaa;background:#fff'>pale</h1>"
        "<img src='data:,'></main></html>"
    )
    assert {name for name, *_ in _faults(page, {})} == {"color-contrast", "image-alt"}
    page.close()


def test_fits_a_phone(visit):
    visit.page.set_viewport_size(PHONE)
    visit.page.wait_for_timeout(200)
    width = visit.page.evaluate("document.documentElement.scrollWidth")
    wide = visit.page.evaluate(
        """() => [...document.querySelectorAll('.bd-article *')]
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .filter(e => !e.closest('pre, mjx-container, .output, div.math'))
            .filter(e => !e.closest('.pst-scrollable-table-container'))
            .map(e => e.tagName + '.' + e.className).slice(0, 5)"""
    )
    visit.page.set_viewport_size(LAPTOP)
    assert width <= PHONE["width"], wide
    assert wide == []


def test_without_a_browser_ci_fails_and_others_skip(monkeypatch):
    monkeypatch.delenv("COURSE_BROWSER", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no browser"):
        _executable()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="COURSE_BROWSER"):
        _executable()


def test_pages_are_those_of_the_contents():
    assert len(PAGES) >= 10
    assert all(Path(ROOT, f"{page}.md").is_file() for page in PAGES[:-2])
