"""The report in a browser: no errors, no requests, sortable tables, plots, both colour schemes.

Chromium is driven over its debugging pipe with the standard library alone.
"""

import base64
import io
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from radapt.durable import write_json
from radapt.reports import write_adapt_report, write_report
from report_page import draw_pictures, draw_volume
from toy_subsets import SEQUENCES, subset_tables

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FOUND = next((path for name in NAMES if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(FOUND is None, reason=f"no Chromium on this machine (looked for {', '.join(NAMES)})")
PATIENCE = 120  # seconds: a busy machine draws slowly
HOSTILE = "<img src=x onerror=\"document.title='broken in'\">"


class Browser:
    """One page of a headless Chromium, and everything it complained about or asked for."""

    def __init__(self, profile: Path, graphics: tuple[str, ...] = ("--disable-gpu",)) -> None:
        read_in, self._to = os.pipe()
        self._from, write_out = os.pipe()

        def wire() -> None:  # Chromium reads commands from 3 and answers on 4
            for source, target in ((os.dup(read_in), 3), (os.dup(write_out), 4)):
                os.dup2(source, target)
                os.set_inheritable(target, True)

        command = [
            *(str(FOUND), "--headless=new", "--no-sandbox", *graphics, "--disable-dev-shm-usage"),
            *("--remote-debugging-pipe", "--no-first-run", "--disable-extensions", f"--user-data-dir={profile}"),
        ]
        self.process = subprocess.Popen(
            command, preexec_fn=wire, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(read_in)
        os.close(write_out)
        self._buffer, self._count, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._count:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._from], [], [], PATIENCE)[0]:
                raise TimeoutError(f"Chromium said nothing for {PATIENCE} s")
            part = os.read(self._from, 1 << 20)
            if not part:
                raise RuntimeError("Chromium ended")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def ask(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def open(self, file: Path, width: int = 1280, dark: bool = False) -> None:
        self.events.clear()
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=file.as_uri())
        deadline = time.monotonic() + PATIENCE
        while self.ask("document.documentElement?.dataset.ready ?? null") is None:
            assert time.monotonic() < deadline, f"the page's script did not finish: {self.complaints()}"
            time.sleep(0.05)

    def complaints(self) -> list[str]:
        kinds = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        return [json.dumps(event["params"])[:500] for event in self.events if event.get("method") in kinds]

    def requests(self) -> list[str]:
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [one["request"]["url"][:100] for one in sent]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._to)
        os.close(self._from)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def report(toy_run, toy_cohort) -> Path:
    """A two-class cohort of a hostile name with two test sets, and one of several findings."""
    brain = toy_cohort(name=f"brain {HOSTILE}", tests=("test", f"other {HOSTILE}"))
    chest = toy_cohort(name="chest", outputs=("edema", "mass", "hernia"), multilabel=True, one_class=("test",))
    toy_run.cohort(brain).cohort(chest).backbone("dinov2-s").backbone("resnet50", "random")
    for backbone, skill in (("dinov2-s", 1.0), ("resnet50", 0.2), (f"mine {HOSTILE}", 0.5)):
        for seed in (0, 1):
            toy_run.cell(brain, backbone, seed=seed, skill=skill)
        toy_run.cell(chest, backbone, skill=skill)
    toy_run.cell(chest, "dinov2-s", "knn", state="failed", reason="no neighbours")
    toy_run.pictures("chest", "0")
    return write_report(toy_run.finish())


def drawn(browser: Browser) -> list[list[Any]]:
    """The kind of every figure, and the number of its charts that are shown."""
    shown = "[...p.querySelectorAll('svg[role=img]')].filter((svg) => svg.getBoundingClientRect().height > 99).length"
    return browser.ask(f"[...document.querySelectorAll('.plot')].map((p) => [p.dataset.plot, {shown}])")


def column(browser: Browser, index: int) -> list[str]:
    rows = "[...document.querySelector('.by-metric:not([hidden]) table.leaderboard').tBodies[0].rows]"
    return browser.ask(f"{rows}.map((row) => row.cells[{index}].innerText.trim())")


def test_report_in_a_browser(browser: Browser, report: Path) -> None:
    browser.open(report)

    # Drawn, without a complaint or a request.
    assert {kind for kind, _ in drawn(browser)} == {"forest", "ranks", "reliability", "roc"}
    assert all(count for _, count in drawn(browser)), drawn(browser)
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    assert browser.ask("document.title") == "toy study · radapt report"
    assert browser.ask("[...document.images].every((image) => image.src.startsWith('data:'))")

    # Sorting: by name both ways, with the keyboard, and undefined numbers at the end.
    names = column(browser, 1)
    browser.ask("document.querySelector('table.leaderboard thead button').click()")
    assert column(browser, 1) == sorted(names, key=str.casefold)
    assert browser.ask("document.querySelector('table.leaderboard th[aria-sort]').ariaSort") == "ascending"
    browser.ask("document.querySelector('table.leaderboard thead button').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    assert column(browser, 1) == sorted(names, key=str.casefold, reverse=True)
    findings = "document.querySelector('#cohort-2 .by-metric:not([hidden]) table.leaderboard')"
    for _ in ("descending", "ascending"):
        browser.ask(f"{findings}.querySelectorAll('thead button')[2].click()")
        assert "failed" in browser.ask(f"[...{findings}.tBodies[0].rows].at(-1).textContent")

    # Another metric: tables and forest follow.
    choose = "const m = document.getElementById('metric'); m.value = 'brier'; m.dispatchEvent(new Event('change'))"
    browser.ask(f"(() => {{ {choose} }})()")
    visible = "[...document.querySelectorAll('.leaderboard')].filter((table) => table.offsetParent)"
    shown = f"{visible}.map((table) => table.closest('.by-metric').dataset.metric)"
    assert set(browser.ask(shown)) == {"brier"}
    assert "Brier" in browser.ask("document.querySelector('.plot[data-plot=forest]').innerText")

    # The first screen follows too: the number and every sentence.
    visible = "[...document.querySelectorAll('article.answer .by-metric')].filter((one) => one.offsetParent)"
    assert set(browser.ask(f"{visible}.map((one) => one.dataset.metric)")) == {"brier"}
    assert "its Brier is" in browser.ask(f"{visible}[0].textContent")
    assert "Is the next method really worse?" in browser.ask(f"{visible}[0].textContent")

    # Finding methods, and the table as a file, without formulas.
    first = "document.querySelector('#cohort-1 section.board')"
    find = (
        f"(() => {{ const f = {first}.querySelector('[data-find]'); f.value = '%s'; "
        "f.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )
    browser.ask(find % "RESNET linear")
    seen = f"[...{first}.querySelectorAll('.ranking:not([hidden]) tbody tr')].filter((row) => row.offsetParent)"
    assert browser.ask(f"{seen}.map((row) => row.cells[1].dataset.sort)") == ["resnet50"]
    assert browser.ask(f"{first}.querySelector('[data-count]').textContent") == "1 of 3 methods"
    csv = f"{first}.querySelector('[data-csv]')"
    browser.ask(f"{csv}.click()")
    head, line = browser.ask(f"{csv}.dataset.saved").split("\r\n")
    assert head.startswith("#,Backbone,Protocol,Brier,95 % CI")
    assert line.split(",")[1:3] == ["resnet50", "linear"]
    assert float(line.split(",")[3]) > 0
    browser.ask(find % "")
    browser.ask(f"{csv}.click()")
    assert len(browser.ask(f"{csv}.dataset.saved").split("\r\n")) == 4
    assert browser.complaints() == []

    # Another test set, another view, another method.
    for selector in (".plot select", ".gallery [data-choices] select"):
        last = f"const s = document.querySelector('{selector}'); s.value = [...s.options].at(-1).value;"
        browser.ask(f"(() => {{ {last} s.dispatchEvent(new Event('change')) }})()")
    assert (
        browser.ask("document.querySelector('[data-choices]').querySelectorAll('[data-choice]:not([hidden])').length")
        == 1
    )
    assert browser.complaints() == []


@pytest.fixture
def ladder(toy_run, toy_cohort) -> Path:
    """Classes and masks, few labels and costs, with hostile names."""
    cost = {"trained": 1000, "parameters": 50_000, "peak_memory_mb": 80.0, "seconds": 9.0}
    labels = ("core", f"rim {HOSTILE}")
    toy = toy_cohort(name="both", patients=20, mask_labels=dict(enumerate(labels, 1)), case_prefix=HOSTILE)
    toy_run.cohort(toy).backbone("dinov2-s")
    for shots in (1, 4):
        for repeat in (0, 1):
            toy_run.cell(toy, "dinov2-s", "fewshot", protocol="knn", shots=shots, repeat=repeat)
    toy_run.cell(toy, "dinov2-s", "few shares", fraction=0.5, repeat=0)
    toy_run.cell(toy, "dinov2-s", "knn", protocol="knn")
    toy_run.cell(toy, "none", "scratch", cost=cost | {"trained": 50_000})
    toy_run.segmentation(toy, "dinov2-s", f"segment {HOSTILE}", labels=labels, cost=cost)
    toy_run.segmentation(toy, "none", "unet", labels=labels, cost=cost)
    return write_report(toy_run.finish())


def test_every_kind_of_plot_is_drawn(browser: Browser, ladder: Path) -> None:
    browser.open(ladder)
    assert {kind for kind, _ in drawn(browser)} == {"reliability", "roc", "learning", "strip", "cost"}
    assert all(count for _, count in drawn(browser)), drawn(browser)

    # A metric of one aim: the other shows what leads it, and says so.
    choose = "const m = document.getElementById('metric'); m.value = 'hd95_mm'; m.dispatchEvent(new Event('change'))"
    browser.ask(f"(() => {{ {choose} }})()")
    visible = "[...document.querySelectorAll('.leaderboard')].filter((table) => table.offsetParent)"
    shown = f"{visible}.map((table) => table.closest('.by-metric').dataset.metric)"
    assert set(browser.ask(shown)) == {"auroc", "hd95_mm"}
    notes = "[...document.querySelectorAll('.no-metric')].filter((note) => note.offsetParent).map((n) => n.textContent)"
    assert set(browser.ask(notes)) == {"The metric chosen above was not computed here; this is AUROC."}
    titles = "[...document.querySelectorAll('.plot[data-plot=cost]')].map((p) => p.innerText)"
    first, second = browser.ask(titles)
    assert "AUROC" in first
    assert "HD95 (mm)" in second

    # Every choice of every plot.
    browser.ask(
        "document.querySelectorAll('.plot select').forEach((s) => [...s.options].forEach((option) => {"
        " s.value = option.value; s.dispatchEvent(new Event('change')) }))"
    )
    assert browser.complaints() == []
    assert browser.ask("document.title") == "toy study · radapt report"


def test_every_section_fits_a_phone_screen(browser: Browser, ladder: Path) -> None:
    browser.open(ladder, 390)
    assert browser.ask("document.documentElement.scrollWidth") <= 390
    assert browser.complaints() == []


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, True)])
def test_page_fits_every_width(browser: Browser, report: Path, width: int, dark: bool) -> None:
    browser.open(report, width, dark)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.complaints() == []
    background = browser.ask("getComputedStyle(document.body).backgroundColor")
    sizes = "[...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() && [...one.childNodes]"
    sizes += ".some((node) => node.nodeType === 3 && node.textContent.trim()))"
    sizes += ".map((one) => [parseFloat(getComputedStyle(one).fontSize), one.className || one.tagName])"
    assert {str(name) for size, name in browser.ask(sizes) if size < 12} == set()
    assert (sum(map(int, background.removeprefix("rgb(").rstrip(")").split(","))) < 200) == dark


def test_an_empty_report_draws_too(browser: Browser, toy_run) -> None:
    browser.open(write_report(toy_run.path))
    assert browser.complaints() == []


def test_cases_are_browsed_by_mouse_and_keyboard(browser: Browser, toy_run, toy_cohort) -> None:
    toy = toy_cohort(case_prefix=HOSTILE)
    cell = toy_run.cohort(toy).backbone("dinov2-s").cell(toy, "dinov2-s", skill=0.3)
    draw_pictures(toy_run.path, cell, list(toy.ids("test")), masks=True)
    browser.open(write_report(toy_run.finish()), 390)
    names = "[...document.querySelectorAll('.rows b')].map((name) => name.textContent)"
    every = browser.ask(names)
    assert 30 < len(every) < len(toy.ids("test"))  # some have no label
    assert browser.ask("document.querySelector('.browser .case h4').textContent") == every[0].removeprefix("▣ ")

    # Slices: by slider and by wheel; the outlines can be hidden.
    caption = "document.querySelector('.images figcaption').textContent"
    assert browser.ask(caption) == "t1, slice 6 of 9"
    move = "const s = document.querySelector('.images input'); s.value = 3; s.dispatchEvent(new Event('input'))"
    browser.ask(f"(() => {{ {move} }})()")
    assert browser.ask(caption) == "t1, slice 8 of 9"
    wheel = "new WheelEvent('wheel', { deltaY: -1, cancelable: true, bubbles: true })"
    browser.ask(f"document.querySelector('.frame').dispatchEvent({wheel})")
    assert browser.ask(caption) == "t1, slice 6 of 9"
    browser.ask("document.querySelectorAll('.browser input[type=checkbox]').forEach((box) => box.click())")
    assert browser.ask("[...document.querySelectorAll('.frame path')].filter((path) => path.checkVisibility())") == []

    # A cell of the confusion matrix lists its cases; arrows go through them.
    browser.ask("document.querySelector('.confusion td.wrong .see').click()")
    deadline = time.monotonic() + PATIENCE
    while len(browser.ask(names)) == len(every):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    count = browser.ask("document.querySelector('.confusion td.wrong .see').textContent")
    wrong = browser.ask(names)
    assert str(len(wrong)) == count
    assert browser.ask("document.querySelector('.browser .count').textContent") == f"{count} of {count} cases listed."
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowDown", code="ArrowDown")
    assert browser.ask("document.querySelector('.rows [aria-current] b').textContent") == wrong[1]
    assert browser.ask("document.activeElement.textContent").startswith(wrong[1])
    for label, value in (("Cases that are listed", ""), ("Predictions whose cases are listed", 0)):
        choose(browser, label, value)
    assert browser.ask(names) == every
    assert browser.ask("document.documentElement.scrollWidth") <= 390
    assert browser.complaints() == []
    assert browser.ask("document.title") == "toy study · radapt report"


def test_outlines_are_those_of_the_chosen_method(browser: Browser, toy_run, toy_cohort) -> None:
    toy = toy_cohort(outputs=(), mask_labels={"1": "core", "2": "rim"}, patients=12)
    toy_run.cohort(toy).backbone("dinov2-s")
    best, second, _ = (
        toy_run.segmentation(toy, "none", f"unet {skill}", labels=("core", "rim"), skill=skill)
        for skill in (0.9, 0.7, 0.5)
    )
    draw_pictures(toy_run.path, best, list(toy.ids("test")), masks=True, others=[second])
    browser.open(write_report(toy_run.finish()), 390)
    drawn = "[...document.querySelectorAll('.frame path')].map((path) => path.getAttribute('d').slice(0, 2))"
    note = "document.querySelector('.browser .case > .note:not(.facts)')?.textContent"
    assert "none in this file" in browser.ask("document.querySelector('.browser').previousElementSibling.textContent")
    for number, (paths, lacking) in enumerate(((["M0", "M1"], False), (["M0", "M2"], False), (["M0"], True))):
        choose(browser, "Predictions whose cases are listed", number)
        assert browser.ask(drawn) == paths
        assert ("outlines by this method are not in this file" in browser.ask(note)) == lacking
    choose(browser, "Predictions whose cases are listed", 1)

    # The outline lies where it should on each slice: 2 of 8 pixels of the frame from the left, 2 from above.
    where = """(() => {
      const box = document.querySelector('.frame path.predicted').getBoundingClientRect();
      const frame = document.querySelector('.frame').getBoundingClientRect();
      return [(box.left - frame.left) / frame.width, (box.top - frame.top) / frame.height, box.height / frame.height];
    })()"""
    left, top, height = browser.ask(where)
    assert (left, height) == (pytest.approx(2 / 8, abs=0.02), pytest.approx((3 * 8 + 4) / 8, abs=0.05))
    assert top == pytest.approx(2 / 8 - 2, abs=0.02)  # the third of four slices is shown
    browser.ask("document.querySelector('.browser input[type=checkbox]').click()")
    seen = "[...document.querySelectorAll('.frame path')].filter((path) => path.checkVisibility())"
    assert browser.ask(f"{seen}.map((path) => path.classList[0])") == ["predicted"]
    assert browser.complaints() == []


def choose(browser: Browser, label: str, value: int | str) -> None:
    """Choose in the visible drop-down of that label."""
    found = f"[...document.querySelectorAll('select[aria-label=\"{label}\"]')].find((s) => s.offsetParent)"
    browser.ask(f"(() => {{ const s = {found}; s.value = '{value}'; s.dispatchEvent(new Event('change')); }})()")


def captions(browser: Browser) -> list[str]:
    shown = "[...document.querySelectorAll('.subsets table')].filter((table) => table.offsetParent)"
    return browser.ask(f"{shown}.map((table) => table.caption.innerText)")


def test_selecting_metric_and_method_of_subsets(browser: Browser, toy_run, toy_cohort) -> None:
    toy = toy_cohort(modalities=SEQUENCES)
    toy_run.cohort(toy).backbone("dinov2-s")
    for label, strength in (("ours", 1.5), ("theirs", 0.5)):
        id_ = toy_run.cell(toy, "dinov2-s", label)
        subset_tables(0, SEQUENCES, strength).write(toy_run.path / "cells" / id_)
    browser.open(write_report(toy_run.finish()))
    assert captions(browser)[2].startswith("AUROC of dinov2-s · ours on every subset")
    choose(browser, "Method whose subsets are shown", 1)
    assert captions(browser)[2].startswith("AUROC of dinov2-s · theirs")
    assert len(captions(browser)) == 5  # two comparisons, the heat map, shares and costs
    choose(browser, "Metric on every subset of sequences", 1)
    assert captions(browser)[2].startswith("MCC of dinov2-s · ours")
    choose(browser, "Metric on every subset of sequences", 0)
    assert captions(browser)[2].startswith("AUROC of dinov2-s · theirs")
    assert browser.complaints() == []


def test_adaptation_page_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    history = [{"step": step, "loss": 1 / step} for step in (1, 2, 3)]
    write_json(tmp_path / "adapt.json", {"cohort": HOSTILE, "trained": {"history": history}})
    subset_tables().write(tmp_path)
    page = write_adapt_report(tmp_path)
    browser.open(page, 390)
    assert browser.ask("document.documentElement.scrollWidth") <= 390
    choose(browser, "Metric on every subset of sequences", 2)
    assert captions(browser)[0].startswith("AUROC of")
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("data:", "blob:"))] == [page.as_uri()]


def test_ticks_of_bars_are_whole(browser: Browser, toy_run, toy_cohort) -> None:
    toy = toy_cohort(outputs=(), mask_labels={"1": "core", "2": "rim"}, patients=12)
    toy_run.cohort(toy).backbone("dinov2-s").segmentation(toy, "dinov2-s", skill=0.97)
    browser.open(write_report(toy_run.finish()))
    cut = """[...document.querySelectorAll("th.axis .ticks i")].filter((tick) => tick.offsetParent).filter((tick) => {
      const own = tick.getBoundingClientRect(), cell = tick.closest("th").getBoundingClientRect();
      return own.left < cell.left || own.right > cell.right;
    }).map((tick) => tick.textContent)"""
    assert browser.ask(cut) == []


def test_the_metric_menu_changes_what_is_over_all_cohorts(browser: Browser, toy_run, toy_cohort) -> None:
    for name in "abc":
        toy = toy_cohort(name=name, patients=10, case_prefix=name)
        toy_run.cohort(toy)
        for backbone, skill in (("dinov2-s", 1.2), ("resnet50", 0.4)):
            toy_run.cell(toy, backbone, skill=skill)
    browser.open(write_report(toy_run.finish()))
    seen = """[...document.querySelectorAll("#over-cohorts .lead, .across .sentence, #over-cohorts svg.chart")]
      .filter((one) => one.getClientRects().length).map((one) => one.ariaLabel ?? one.textContent)"""
    assert [" in AUROC" in text for text in browser.ask(seen)] == [True] * 3
    browser.ask("""(() => { const menu = document.getElementById("metric"); menu.value = "mcc";
      menu.dispatchEvent(new Event("change")); })()""")
    assert [" in MCC" in text for text in browser.ask(seen)] == [True] * 3
    assert browser.complaints() == []


WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@pytest.fixture
def with_volume(toy_run, toy_cohort) -> Path:
    """Two cases of a segmentation with pictures, the first with a volume too."""
    toy = toy_cohort(outputs=(), mask_labels={"1": "core", "2": "rim"}, patients=12, case_prefix=HOSTILE)
    cell = toy_run.cohort(toy).segmentation(toy, "none", "unet", labels=("core", "rim"))
    cases = list(toy.ids("test")[:2])
    draw_pictures(toy_run.path, cell, cases, masks=True)
    draw_volume(toy_run.path, cell, cases[0])
    return write_report(toy_run.finish())


def open_case(browser: Browser, mark: str) -> None:
    browser.ask(f"[...document.querySelectorAll('.rows button')].find((b) => {mark}(b.textContent)).click()")


def wait_for(browser: Browser, expression: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not browser.ask(expression):
        assert time.monotonic() < deadline, f"{expression} did not come true: {browser.complaints()}"
        time.sleep(0.1)


def canvas_pixels(browser: Browser) -> np.ndarray:
    """The pixels of the canvas as they are shown inside its focus ring, (H, W, 3)."""
    browser.ask("document.querySelector('.stage').scrollIntoView({ block: 'end', behavior: 'instant' })")
    browser.ask("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    box = browser.ask(
        "(() => { const b = document.querySelector('.stage canvas').getBoundingClientRect();"
        " return [b.left + 4, b.top + 4, b.right - 4, b.bottom - 4].map(Math.round) })()"
    )
    shot = browser.call("Page.captureScreenshot", format="png")["data"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB").crop(box)).astype(int)


def drawn_until(browser: Browser, looks: Callable[[np.ndarray], bool]) -> np.ndarray:
    """The pixels once they look so: a scene is drawn some frames after it was asked for."""
    deadline = time.monotonic() + PATIENCE
    while not looks(pixels := canvas_pixels(browser)):
        assert time.monotonic() < deadline, f"the canvas does not look so: {browser.complaints()}"
        time.sleep(0.1)
    return pixels


def coloured(pixels: np.ndarray) -> bool:
    """Whether image, truth (green) and prediction (orange) are drawn."""
    shades = len(np.unique(pixels.reshape(-1, 3), axis=0))
    return shades > 50 and green(pixels) > 0.002 and orange(pixels) > 0.002


def green(pixels: np.ndarray) -> float:
    red, green, _ = np.moveaxis(pixels, -1, 0)
    return float((green > red + 40).mean())


def orange(pixels: np.ndarray) -> float:
    red, green, blue = np.moveaxis(pixels, -1, 0)
    return float(((red > green + 15) & (green > blue + 15)).mean())  # the cross-hair is red


def press(browser: Browser, key: str) -> None:
    browser.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)
    browser.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)


@pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.slow)])
def test_a_volume_opens_in_3d(tmp_path: Path, with_volume: Path, width: int) -> None:
    browser = Browser(tmp_path / "profile", WEBGL)
    try:
        browser.open(with_volume, width)
        open_case(browser, "((text) => !text.includes('(3D)'))")
        assert browser.ask("document.querySelector('.volume')") is None
        open_case(browser, "((text) => text.includes('(3D)'))")
        assert browser.ask("document.querySelector('canvas')") is None  # nothing runs before the button is pressed
        assert browser.ask("typeof niivue") == "undefined"
        assert "t1, 40 × 48 × 24 voxels of 1 × 1 × 2 mm." in browser.ask("document.querySelector('.volume').innerText")
        browser.ask("document.querySelector('.volume .open').click()")
        wait_for(browser, "document.querySelector('.stage canvas')?.dataset.drawn === ''")

        # Image, truth and prediction are drawn; each can be hidden.
        drawn_until(browser, coloured)
        boxes = "document.querySelectorAll('.volume input[type=checkbox]')"
        browser.ask(f"{boxes}[0].click()")
        drawn_until(browser, lambda pixels: green(pixels) == 0 < orange(pixels))
        browser.ask(f"{boxes}[1].click()")
        drawn_until(browser, lambda pixels: green(pixels) == 0 and (pixels > 200).all(axis=2).mean() > 0.02)
        browser.ask(f"{boxes}.forEach((box) => box.click())")
        both = drawn_until(browser, coloured)

        # Keys move the cross-hair, and turn the 3D view alone.
        assert browser.ask("document.activeElement.tagName") == "CANVAS"
        for _ in range(2):
            press(browser, "PageUp")
        drawn_until(browser, lambda pixels: np.abs(pixels - both).mean() > 0.2)
        view = "const s = document.querySelector('.volume select'); s.value = 'render';"
        browser.ask(f"(() => {{ {view} s.dispatchEvent(new Event('change')); }})()")
        solid = drawn_until(browser, lambda pixels: np.abs(pixels - both).mean() > 2)
        browser.ask("document.querySelector('.stage canvas').focus()")
        for _ in range(2):
            press(browser, "ArrowLeft")
        drawn_until(browser, lambda pixels: np.abs(pixels - solid).mean() > 0.2)

        # Closed and opened again; another case takes the view away.
        assert browser.ask("document.documentElement.scrollWidth") <= width
        browser.ask("[...document.querySelectorAll('.volume button')].at(-1).click()")
        assert browser.ask("document.querySelector('canvas')") is None
        assert browser.ask("document.activeElement.textContent") == "Open in 3D"
        browser.ask("document.activeElement.click()")
        wait_for(browser, "document.querySelector('.stage canvas')?.dataset.drawn === ''")
        drawn_until(browser, coloured)
        open_case(browser, "((text) => !text.includes('(3D)'))")
        assert browser.ask("document.querySelector('canvas')") is None
        assert browser.complaints() == []
        assert [url for url in browser.requests() if not url.startswith(("data:", "blob:"))] == [with_volume.as_uri()]
        assert browser.ask("document.title") == "toy study · radapt report"
    finally:
        browser.close()


def test_without_webgl_a_sentence_says_so(browser: Browser, with_volume: Path) -> None:
    browser.open(with_volume)
    open_case(browser, "((text) => text.includes('(3D)'))")
    browser.ask("HTMLCanvasElement.prototype.getContext = () => null")
    browser.ask("document.querySelector('.volume .open').click()")
    assert "does not offer WebGL 2" in browser.ask("document.querySelector('.volume').innerText")
    assert browser.ask("document.querySelector('.stage')") is None
    assert browser.complaints() == []
