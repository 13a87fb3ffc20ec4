"""The page in a real browser: no requests, no complaints, records by click and by key, in every size and theme."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from craftbench.benchmarks import catalogue
from craftbench.benchmarks.store import Store
from craftbench.report.findings import findings
from craftbench.report.write import write_report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip


class Chromium:
    """A tab, driven by the DevTools protocol over a pair of pipes."""

    def __init__(self, binary, profile):
        read, self._write = (self._high(end) for end in os.pipe())
        self._read, write = (self._high(end) for end in os.pipe())
        self._process = subprocess.Popen(
            [binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(3, 4),
            preexec_fn=lambda: (os.dup2(read, 3), os.dup2(write, 4)),
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        self._number, self._buffer, self._session, self.events = itertools.count(1), b"", None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    @staticmethod
    def _high(end):
        """The same pipe under a number above 4."""
        import fcntl

        moved = fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10)
        os.close(end)
        return moved

    def call(self, method, seconds=60.0, **params):
        number = next(self._number)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": self._session} if self._session else {})
        os.write(self._write, json.dumps(message).encode() + b"\0")
        reply = self._wait(lambda heard: heard.get("id") == number, seconds)
        assert "error" not in reply, reply
        return reply["result"]

    def _wait(self, wanted, seconds):
        end = time.monotonic() + seconds
        while True:
            while b"\0" not in self._buffer:
                ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
                assert ready, "the browser does not answer"
                self._buffer += os.read(self._read, 1 << 20)
            text, _, self._buffer = self._buffer.partition(b"\0")
            heard = json.loads(text)
            self.events.append(heard)
            if wanted(heard):
                return heard

    def open(self, path, width=1280, height=900, scheme="light", media="screen", motion="no-preference"):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        preferred = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in preferred.items()]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.events.clear()
        self.call("Page.navigate", url=f"{path.as_uri()}")
        if not self.heard("Page.loadEventFired"):
            self._wait(lambda heard: heard.get("method") == "Page.loadEventFired", 60.0)

    def heard(self, method):
        return [event["params"] for event in self.events if event.get("method") == method]

    def ask(self, expression, seconds=60.0):
        reply = self.call("Runtime.evaluate", seconds, expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def click(self, number):
        self.ask(f"{number}.click()")
        self.ask(OPEN)

    def press(self, key, code):
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def close(self):
        self._process.terminate()
        self._process.wait(20)
        os.close(self._write)
        os.close(self._read)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if binary is None:
        if os.environ.get("CRAFTBENCH_REQUIRE_BROWSER") == "1":
            pytest.fail("CRAFTBENCH_REQUIRE_BROWSER=1, but neither chromium, chromium-browser nor google-chrome is on the path")
        pytest.skip("no Chromium is installed; install one to look at the page")
    opened = Chromium(binary, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(report):
    return report


@pytest.fixture(scope="module")
def hostile_page(hostile, tmp_path_factory):
    found = findings(hostile.benchmark, hostile.store, "quick")
    return write_report(
        [replace(found, figures=found.figures[:3], studies=found.studies[:1])], tmp_path_factory.mktemp("hostile-report")
    )


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """The page of all papers, before anything was run: beside each hole what ships."""
    store = Store(tmp_path_factory.mktemp("empty"))
    found = [replace(findings(catalogue.declared(name), store, "quick"), diagrams=()) for name in catalogue.PAPERS]
    return write_report(found, tmp_path_factory.mktemp("five"))


# the page unpacks its records while it loads, so a panel opens a moment after the click
OPEN = "new Promise(done => { const look = () => document.querySelector('dialog[open]') ? done() : setTimeout(look); look(); })"


def assert_quiet(browser, path):
    """Nothing but the file itself was requested, and nothing was complained of."""
    requested = {request["request"]["url"] for request in browser.heard("Network.requestWillBeSent")}
    assert {url for url in requested if not url.startswith("data:")} <= {path.as_uri()}
    assert browser.heard("Runtime.exceptionThrown") == []
    assert browser.heard("Log.entryAdded") == []
    assert [said for said in browser.heard("Runtime.consoleAPICalled") if said["type"] in ("error", "warning")] == []


def test_it_requests_nothing_complains_of_nothing_and_is_small(browser, page):
    browser.open(page)
    assert_quiet(browser, page)
    assert page.stat().st_size <= 3_000_000


def test_the_verdicts_of_all_papers_are_the_first_screen(browser, five):
    browser.open(five, width=1600)
    assert browser.ask("document.querySelector('h1').textContent") == "Verdicts on the papers' claims"
    assert browser.ask("document.querySelectorAll('.board').length") == len(catalogue.PAPERS)
    assert browser.ask("[...document.querySelectorAll('.board')].at(-1).getBoundingClientRect().bottom") <= 900
    assert browser.ask("[...document.querySelectorAll('.board .word')].every(w => w.scrollWidth <= w.parentElement.clientWidth)")


LOUD = """['.word', '.scope'].map(kind => { const style = getComputedStyle(document.querySelector('WHERE ' + kind));
  return [style.fontSize, style.fontWeight]; })"""


@pytest.mark.parametrize("where", [".board tbody", ".verdict"])
@pytest.mark.parametrize("width", [400, 1600])
def test_a_scope_is_as_loud_as_its_verdict(browser, page, where, width):
    browser.open(page, width=width)
    word, scope = browser.ask(LOUD.replace("WHERE", where))
    assert word == scope


LED = """[...document.querySelectorAll('.board td a')].map(a => {
  const row = a.closest('tr').querySelector('.scope').textContent;
  const place = document.getElementById(decodeURIComponent(a.getAttribute('href').slice(1)));
  const words = [...place.querySelectorAll(a.matches('.ours') ? '.ours .word' : '.words:not(.ours) .word')];
  const said = a.querySelector('.word').textContent;
  return [row === place.querySelector('.scope').textContent, said, words.map(w => w.textContent)];
})"""


@pytest.mark.parametrize("which", ["page", "five"])
def test_every_word_of_the_matrix_leads_to_its_verdict(browser, which, request):
    browser.open(request.getfixturevalue(which))
    led = browser.ask(LED)
    assert len(led) > 8
    for same_scope, word, words in led:
        assert same_scope
        assert words in ([word], ["– not run"] if word == "– not in quick" else [word])


def test_what_ships_stands_beside_what_was_not_run(browser, five):
    browser.open(five)
    ours = "[...document.querySelectorAll('.board')].map(b => b.querySelectorAll('.ours .word').length)"
    assert min(browser.ask(ours)) >= 5
    assert browser.ask(
        "[...document.querySelectorAll('td.num.hole .note')].some(n => /^ours, shipped: [.0-9]+$/.test(n.textContent))"
    )


def test_two_hops_bring_to_any_table(browser, five):
    browser.open(five)
    assert browser.ask("getComputedStyle(document.querySelector('.bar')).position") == "sticky"
    articles = "[...document.querySelectorAll('article')]"
    first = f"{articles}.every(a => document.querySelector(`.bar a[href='#${{a.querySelector('h2').id}}']`))"
    assert browser.ask(first)
    missed = (
        f"{articles}.flatMap(a => [...a.querySelectorAll('h4[id*=\"-t-\"]')]"
        "  .filter(h => !a.querySelector(`nav a[href='#${h.id}']`)).map(h => h.id))"
    )
    assert browser.ask(missed) == []
    assert browser.ask("document.querySelectorAll('h4[id*=\"-t-\"]').length") > 20


@pytest.mark.parametrize(("motion", "behaviour"), [("reduce", "auto"), ("no-preference", "smooth")])
def test_nothing_moves_for_who_asked_for_less_motion(browser, page, motion, behaviour):
    browser.open(page, motion=motion)
    assert browser.ask("getComputedStyle(document.documentElement).scrollBehavior") == behaviour


AXE = """axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], resultTypes: ['violations']})
  .then(found => found.violations.flatMap(each => each.nodes.map(node => `${each.id}: ${node.html.slice(0, 160)}`)))"""


@pytest.fixture(scope="module")
def real_page():
    """A report that somebody names, to look at what real runs write."""
    if "CRAFTBENCH_REPORT" not in os.environ:
        pytest.skip("CRAFTBENCH_REPORT names no report.html")
    return Path(os.environ["CRAFTBENCH_REPORT"]).resolve()


@pytest.mark.parametrize(("which", "width", "scheme"), [
    ("page", 400, "dark"), ("page", 1600, "light"), ("hostile_page", 1600, "dark"), ("five", 400, "light"),
    ("real_page", 400, "dark"), ("real_page", 1600, "light"),
])  # fmt: skip
def test_axe_finds_nothing(browser, which, width, scheme, request):
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        assert os.environ.get("CRAFTBENCH_REQUIRE_BROWSER") != "1", "axe-core-python, which carries axe's script, is not installed"
        pytest.skip("axe-core-python, which carries axe's script, is not installed")
    browser.open(request.getfixturevalue(which), width=width, scheme=scheme)
    browser.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    browser.ask(Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8") + "; true")
    assert browser.ask(AXE, seconds=900.0) == []


def test_a_click_on_a_number_opens_its_record_and_escape_closes_it(browser, page):
    browser.open(page)
    browser.click("document.querySelector('td a[data-cell]')")
    text = browser.ask("document.querySelector('dialog[open]').textContent")
    for part in ("Original: AUC", "seed 0", "cells/invented/ml/mf/flip-10/original/final-0-", "damping", "f1", "end_to_end", "321"):
        assert part in text
    assert "craftbench run invented --profile quick --runner original --dataset ml" in text
    browser.press("Escape", 27)
    assert browser.ask("document.querySelector('dialog[open]') === null")
    assert_quiet(browser, page)


def test_every_number_has_a_panel(browser, page):
    browser.open(page)
    opened = browser.ask(
        f"(async () => {{ for (const a of document.querySelectorAll('a[data-cell]')) {{ a.click(); await {OPEN};"
        "  const d = document.querySelector('dialog'); if (!d.querySelector('details')) return a.outerHTML; d.close(); }"
        "  return ''; })()"
    )
    assert opened == ""
    numbers = "document.querySelectorAll('table.numbers tbody td.num a').length"
    assert browser.ask(numbers) == browser.ask("document.querySelectorAll('a[data-cell]').length") > 60
    assert_quiet(browser, page)


def test_the_keyboard_alone_opens_and_closes_a_record_and_comes_back(browser, page):
    browser.open(page)
    browser.ask("document.querySelector('td a[data-cell]').focus()")
    browser.press("Enter", 13)
    browser.ask(OPEN)
    assert browser.ask("document.querySelector('dialog[open]').contains(document.activeElement)")
    browser.press("Escape", 27)
    assert browser.ask("document.activeElement.matches('td a[data-cell]')")
    browser.press("Tab", 9)
    assert browser.ask("getComputedStyle(document.activeElement).outlineStyle") != "none"


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("which", ["page", "hostile_page", "five"])
def test_no_width_makes_the_page_overflow(browser, which, width, request):
    browser.open(request.getfixturevalue(which), width=width)
    browser.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.ask("document.documentElement.scrollWidth") <= width
    if not browser.ask("document.querySelector('td a[data-cell]') !== null"):
        return
    browser.click("document.querySelector('td a[data-cell]')")
    assert browser.ask("(d => d.scrollWidth <= d.clientWidth)(document.querySelector('dialog[open]'))")


CONTRAST = """(() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => { const f = [r, g, b].map(c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * f[0] + .7152 * f[1] + .0722 * f[2]; };
  const ground = node => { for (; node; node = node.parentElement) { const c = rgb(getComputedStyle(node).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  document.querySelectorAll('details').forEach(d => d.open = true);
  const poor = new Set();
  for (const node of document.querySelectorAll('main *, footer *')) {
    if (![...node.childNodes].some(c => c.nodeType === 3 && c.textContent.trim()) || node.closest('.spoken, style')) continue;
    const style = getComputedStyle(node), svg = node.ownerSVGElement;
    const [a, b] = [light(rgb(svg ? style.fill : style.color)), light(ground(node))];
    if ((Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5)
      poor.add(`${node.tagName}.${node.className.baseVal ?? node.className} ${style.color} on ${ground(node)}`);
  }
  return [...poor];
})()"""


@pytest.mark.parametrize(("scheme", "media"), [("light", "screen"), ("dark", "screen"), ("dark", "print")])
def test_all_text_can_be_read(browser, page, scheme, media):
    browser.open(page, scheme=scheme, media=media)
    assert browser.ask(CONTRAST) == []


def test_dark_is_dark_and_print_is_not(browser, page):
    def brightness(**how):
        browser.open(page, **how)
        return browser.ask("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)")

    assert brightness(scheme="light") > 600
    assert brightness(scheme="dark") < 150
    assert brightness(scheme="dark", media="print") == 765


def test_figures_follow_the_theme(browser, page):
    browser.open(page, scheme="dark")
    assert browser.ask("getComputedStyle(document.querySelector('.drawing svg text')).fill") == browser.ask(
        "getComputedStyle(document.body).color"
    )
    assert browser.ask("[...document.querySelectorAll('svg')].every(s => s.getAttribute('aria-label'))")


def test_print_shows_tables_without_boxes_that_scroll(browser, page):
    browser.open(page, media="print")
    assert browser.ask("[...document.querySelectorAll('.scroll')].every(box => getComputedStyle(box).overflowX === 'visible')")
    assert browser.ask("[...document.querySelectorAll('nav')].every(n => n.offsetParent === null)")


def test_the_structure_can_be_heard(browser, page):
    browser.open(page)
    assert browser.ask("document.querySelectorAll('h1').length") == 1
    assert browser.ask("document.documentElement.lang") == "en"
    levels = browser.ask("[...document.querySelectorAll('main :is(h1, h2, h3, h4)')].map(h => +h.tagName[1])")
    assert all(level <= before + 1 for before, level in itertools.pairwise(levels))
    assert browser.ask("[...document.querySelectorAll('main table')].every(t => t.caption && t.caption.textContent.trim())")
    assert browser.ask("[...document.querySelectorAll('th')].every(th => th.scope)")
    assert browser.ask(
        "[...document.querySelectorAll('.scroll')].every(box => box.tabIndex === 0 && box.getAttribute('aria-label'))"
    )
    duplicates = "(ids => ids.filter((id, i) => ids.indexOf(id) !== i))([...document.querySelectorAll('[id]')].map(n => n.id))"
    assert browser.ask(duplicates) == []
    links = "[...document.querySelectorAll('a[href^=\"#\"]')]"
    assert browser.ask(f"{links}.every(a => document.getElementById(a.getAttribute('href').slice(1)))")


def test_hostile_text_stays_text(browser, hostile_page, hostile):
    browser.open(hostile_page)
    assert_quiet(browser, hostile_page)
    assert browser.ask("document.scripts.length") == 2
    assert browser.ask("document.querySelectorAll('main b').length") == 0
    assert "<b>bold</b>" in browser.ask("document.querySelector('h2').textContent")
    assert hostile_page.stat().st_size <= 3_000_000
    browser.click("[...document.querySelectorAll('td a[data-cell]')].at(-1)")
    assert browser.ask("document.querySelectorAll('dialog b, dialog script').length") == 0
    assert_quiet(browser, hostile_page)


def test_a_page_of_holes_is_whole(browser, never_run, tmp_path):
    path = write_report([findings(never_run.benchmark, never_run.store, "quick")], tmp_path)
    browser.open(path)
    assert_quiet(browser, path)
    assert browser.ask("[...document.querySelectorAll('.verdict .word')].every(w => w.textContent === '– not run')")
    assert browser.ask("document.querySelectorAll('td.hole code').length") > 0
