"""The live page in a real Chromium: what the topics say is what people see."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import SecretStr

from penstock.events import (
    AccessCommand,
    Alert,
    ApprovalCommand,
    Command,
    Decision,
    Drift,
    GateResult,
    Metrics,
    ModelRecord,
    Prediction,
    ScoreBlock,
)
from penstock.settings import Settings
from penstock.spec import Numeric, Pipeline
from serving.app import run_server
from tests.unit.serving.stand import FEATURES, Stand

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-pings",
]
HOSTILE = '<img src=x onerror="window.stolen=1">'

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright

        if CHROMIUM is None:
            raise FileNotFoundError("neither chromium nor google-chrome is installed")
    except (ImportError, FileNotFoundError) as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the page cannot be tested: {missing}")
        pytest.skip(f"THE PAGE IS NOT TESTED: {missing}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@contextmanager
def serving(stand: Stand, port: int = 0) -> Iterator[str]:
    stop, up = threading.Event(), threading.Event()
    urls: list[str] = []

    def ready(url: str) -> None:
        urls.append(url)
        up.set()

    thread = threading.Thread(target=run_server, args=(stand.deps, "127.0.0.1", port, ready, stop))
    thread.start()
    try:
        assert up.wait(30)
        yield urls[0]
    finally:
        stop.set()
        thread.join(10)


@contextmanager
def opened(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """The page, live; at the end it must have asked nobody else for anything, and logged no error."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
    page = context.new_page()
    page.set_default_timeout(15_000)
    requested: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(url)
    page.wait_for_selector('#connection[data-state="live"]')
    yield page
    assert [address for address in requested if not address.startswith(url)] == []
    expected = ("ERR_", "401 (Unauthorized)")  # a lost connection and a wrong key are among the tests
    assert [error for error in errors if not any(each in error for each in expected)] == []
    context.close()


def shown(page: Any, selector: str, text: str) -> None:
    """Wait until ``selector`` has exactly this text."""
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent.replace(/\\s+/g, ' ').trim() === text",
        arg=[selector, text],
    )


def learned(seen: int, generation: int, **correct: int) -> Metrics:
    return Metrics(
        stage="learner",
        partition=0,
        seen=seen,
        record_id=str(seen),
        event_time_ms=seen * 1000,
        generation=generation,
        offset=seen,
        blocks={name: ScoreBlock(n=100, correct=c, absolute_error=100.0 - c) for name, c in correct.items()},
    )


def drifted(status: Any, level: Any, row: int, incident: str = "d1", feature: str | None = "salary") -> Drift:
    return Drift(
        id=incident,
        status=status,
        kind="covariate" if feature else "concept",
        level=level,
        detector="ks",
        statistic=0.42,
        effect=0.42,
        p_value=1e-30,
        record_id=str(row),
        event_time_ms=row * 1000,
        generation=0,
        seen=row,
        drift_score=0.42,
        feature=feature,
        advice="salary moved up: was its source changed?",
    )


def decided(step: Any, generation: int, row: int, **about: Any) -> Decision:
    about = {"run_id": "run-1", "version": "v1", "trigger": "drift", "reason": f"reason of {step}", **about}
    return Decision(seq=0, step=step, event_time_ms=row * 1000, record_id=str(row), generation=generation, **about)


def first_half(stand: Stand) -> None:
    stand.append("models", ModelRecord(slot="champion", version="online", kind="online", generation=0))
    stand.append("metrics", *(learned(seen, 0, champion=90, online=90) for seen in range(100, 1000, 100)))
    stand.append("metrics", *(learned(seen, 0, champion=60, online=60, v1=95) for seen in range(1000, 1500, 100)))
    stand.append("drift", drifted("opened", "warning", 1010), drifted("escalated", "critical", 1050))
    stand.append("drift", drifted("opened", "warning", 300, "d0", None), drifted("closed", "warning", 700, "d0", None))
    stand.append("decisions", decided("triggered", 0, 1050), decided("shadow", 0, 1300))


def second_half(stand: Stand) -> None:
    gates = [GateResult(name="min_improvement", value=0.47, threshold=0.01, passed=True)]
    stand.append("decisions", decided("promoted", 1, 1500, gates=gates))
    before = ModelRecord(slot="champion", version="online", kind="online", generation=0)
    stand.champion("v1", 1, predecessor=before)
    stand.append("metrics", *(learned(seen, 1, champion=95, online=61, v1=95) for seen in range(1500, 2000, 100)))
    stand.append("decisions", decided("rejected", 1, 1900, run_id="run-2", version="v2"))
    stand.append(
        "alerts", Alert(id="a", severity="critical", title=HOSTILE, detail=HOSTILE, at_ms=0, source="incidents")
    )


def test_the_page_before_anything_happened(browser: Any) -> None:
    with serving(Stand()) as url, opened(browser, url) as page:
        shown(page, "#version", "online model")
        shown(page, "#version-sub", "generation 0 · nothing learned yet")
        shown(page, "#quality", "–")
        shown(page, "#total", "0")
        shown(page, "#open-sub", "all quiet")
        for place in ("chart", "incidents", "runs", "history", "alerts"):
            assert page.is_visible(f"#{place}-empty"), place


def test_the_page_tells_the_story_live(browser: Any, tmp_path: Path) -> None:
    stand = Stand()
    first_half(stand)
    with serving(stand) as url, opened(browser, url) as page:
        shown(page, "#pipeline", "loans")
        shown(page, "#quality", "60.0 %")
        shown(page, "#line-challenger", "95.0 %")
        shown(page, "#line-online", "60.0 %")
        shown(page, "#open", "1")
        shown(page, "#open-sub", "1 critical")
        shown(page, "#incidents-count", "1 open, 1 closed")
        shown(page, "#labelled-total", "1,400")
        assert page.locator("#markers li").all_text_contents() == [
            "row 300: Concept drift: warning",
            "row 1,010: Covariate drift in salary: warning",
            "row 1,050: Covariate drift in salary: critical",
        ]
        assert page.locator("#incidents > li").first.locator(".what").text_content() == "Covariate drift · salary"
        assert not page.is_visible("#chart-empty")
        assert page.locator("#chart canvas").count() == 1

        second_half(stand)
        shown(page, "#version", "v1")
        shown(page, "#version-sub", "generation 1 · batch · shadow: online")
        shown(page, "#quality", "95.0 %")
        shown(page, "#quality-sub", "last 500 labelled · online 61.0 %")
        shown(page, "#line-challenger", "")
        shown(page, "#markers li:last-child", "row 1,500: v1 was promoted")
        shown(page, "#history > li:first-child .what", "v1")
        shown(page, "#history > li:first-child .when", "since row 1,500 · after online")
        runs = page.locator("#runs > li")
        assert runs.locator(".badge").all_text_contents() == ["rejected", "promoted"]
        assert runs.nth(1).locator(".steps li").all_text_contents() == ["triggered", "shadow", "promoted"]
        assert runs.nth(1).locator("tbody td").all_text_contents() == ["min improvement", "0.47", "0.01", "✓ passed"]
        assert runs.nth(0).locator(".note").first.text_content() == "reason of rejected"

        stand.append("decisions", decided("settled", 1, 1950))
        page.wait_for_function("() => document.querySelectorAll('#runs .steps li').length === 5")
        settled = page.locator("#runs > li", has_text="promoted, settled")
        assert settled.locator(".note").first.text_content() == "reason of promoted"
        assert settled.locator(".when").text_content() == "row 1,500"

        stand.append("drift", drifted("closed", "critical", 1900))
        shown(page, "#open", "0")
        shown(page, "#incidents-count", "0 open, 2 closed")
        page.screenshot(path=tmp_path / "page.png")


def test_what_comes_from_outside_stays_text(browser: Any) -> None:
    stand = Stand()
    first_half(stand)
    second_half(stand)
    stand.champion(HOSTILE, 2)
    stand.append("drift", drifted("opened", "warning", 2100, "d9", HOSTILE))
    stand.append("decisions", decided("promoted", 2, 2200, run_id=HOSTILE, version=HOSTILE))
    with serving(stand) as url, opened(browser, url) as page:
        shown(page, "#version", HOSTILE)
        shown(page, "#alerts > li .what", HOSTILE)
        assert page.locator("main img, main script").count() == 0
        assert page.evaluate("window.stolen") is None


def test_predictions_are_counted_live(browser: Any) -> None:
    stand = Stand()
    event = Prediction(
        id="1", entity="1", event_time_ms=1, features={}, version="v", generation=0, decision="yes", score=0.5
    )
    stand.append("predictions", *[event] * 40)
    with serving(stand) as url, opened(browser, url) as page:
        shown(page, "#total", "40")
        for _ in range(3):
            httpx.post(f"{url}/v1/predict", json={"features": FEATURES}).raise_for_status()
        shown(page, "#total", "43")
        page.wait_for_function("() => Number(document.querySelector('#rate').textContent) > 0")


def test_a_regression_shows_its_error(browser: Any) -> None:
    pipeline = Pipeline(name="bikes", task="regression", target="count", features=(Numeric("hour"),))
    stand = Stand(pipeline=pipeline)
    stand.append("metrics", learned(100, 0, champion=75, online=75))
    with serving(stand) as url, opened(browser, url) as page:
        shown(page, "#quality-title", "Rolling mean absolute error")
        shown(page, "#quality", "0.25")


def test_hovering_says_what_was_where(browser: Any) -> None:
    stand = Stand()
    first_half(stand)
    with serving(stand) as url, opened(browser, url) as page:
        shown(page, "#quality", "60.0 %")
        box = page.locator("#chart .u-over").bounding_box()
        share = (1050 - 100) / (1400 - 100)
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
        page.wait_for_selector("#tip:not([hidden])")
        tip = page.locator("#tip").text_content()
        assert "Covariate drift in salary: critical (row 1,050)" in tip
        assert "Challenger 95.0 %" in tip


def test_a_lost_connection_is_said_and_found_again(browser: Any) -> None:
    stand = Stand()
    with serving(stand) as url:
        port = int(url.rpartition(":")[2])
        context = opened(browser, url)
        page = context.__enter__()
    page.wait_for_selector('#connection[data-state="lost"]')
    assert "lost" in page.text_content("#connection-text")
    stand.append("metrics", learned(100, 0, champion=88, online=88))
    with serving(stand, port):
        page.wait_for_selector('#connection[data-state="live"]')
        shown(page, "#quality", "88.0 %")
        context.__exit__(None, None, None)


def test_on_a_wall_nothing_needs_scrolling_and_on_a_phone_nothing_is_cut(browser: Any) -> None:
    stand = Stand()
    first_half(stand)
    second_half(stand)
    with serving(stand) as url, opened(browser, url) as page:
        shown(page, "#quality", "95.0 %")
        for width, height, scrolls in ((1440, 900, False), (1920, 1080, False), (390, 844, True)):
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_function("(width) => innerWidth === width", arg=width)
            page.wait_for_function(
                "() => document.documentElement.scrollWidth <= innerWidth"
            )  # the chart follows a frame later
            assert page.evaluate("document.documentElement.scrollHeight > innerHeight") is scrolls, width


def test_headings_landmarks_and_contrast(browser: Any) -> None:
    with serving(Stand()) as url, opened(browser, url) as page:
        assert page.locator("h1").count() == 1
        assert page.locator("main").count() == 1
        unnamed = page.evaluate(
            """[...document.querySelectorAll('section, [tabindex], svg:not([aria-hidden])')].filter(
                (e) => !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby')).length"""
        )
        assert unnamed == 0
        ratios = page.evaluate(
            """() => {
              const light = (css) => css.match(/\\d+/g).slice(0, 3).map((v) => v / 255)
                .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
              const ground = light(getComputedStyle(document.querySelector('.panel')).backgroundColor);
              return [...document.querySelectorAll('h2, .sub, .empty, .legend li, .count, .big')]
                .map((e) => (light(getComputedStyle(e).color) + 0.05) / (ground + 0.05));
            }"""
        )
        assert len(ratios) > 15
        assert min(ratios) >= 4.5  # WCAG 2.2, AA


def test_a_person_approves_a_version_with_its_evidence_before_the_eyes(browser: Any) -> None:
    stand = Stand(settings=Settings(api_keys=SecretStr(f"ada:admin:{'a' * 20}")))
    first_half(stand)
    gates = [GateResult(name="improvement", value=0.47, threshold=0.01, passed=True, detail=HOSTILE)]
    stand.append(
        "decisions",
        decided("trained", 0, 1310, gates=gates, lineage={"git_commit": HOSTILE}),
        decided("awaiting_approval", 0, 1390, reason="500 rows in shadow " + "and a long reason " * 60),
    )
    with serving(stand) as url, opened(browser, url) as page:
        page.wait_for_selector("#waiting .wait")
        lane = page.locator('.lane[data-version="v1"]')
        assert lane.get_attribute("aria-label") == "v1, waits for approval: show the evidence"
        over, waiting = (page.locator(each).bounding_box() for each in ("#chart .u-over", ".lane .bar.waiting"))
        share = (1390 - 100) / (1400 - 100)
        assert waiting["x"] == pytest.approx(over["x"] + over["width"] * share, abs=1.5)  # on the axis of the chart

        lane.press("Enter")
        assert page.locator("#evidence .gates tbody tr").first.text_content() == "improvement0.470.01✓ passed"
        assert HOSTILE in page.text_content("#evidence")
        assert page.locator("#evidence img").count() == 0
        unnamed = page.evaluate(
            """[...document.querySelectorAll('button')].filter(
                (b) => !(b.ariaLabel || b.textContent.trim())).map((b) => b.id)"""
        )
        assert unnamed in ([], ["ask-confirm"])  # which has its name once it is asked
        page.keyboard.press("Escape")
        assert not page.is_visible("#evidence")

        page.click("#waiting .act:has-text('Approve')")
        page.fill("#ask-key", "wrong" * 5)
        page.press("#ask-key", "Enter")
        shown(page, "#ask-answer", "This key is not known. Enter another one.")
        page.fill("#ask-key", "a" * 20)
        page.fill("#ask-reason", "looked at it")
        page.click("#ask-confirm")
        command = until(lambda: next(iter(approvals(stand)), None))
        assert (command.by, command.version, command.approved) == ("ada", "v1", True)
        assert command.reason == "looked at it"
        answer = {"trigger": f"command:{command.id}", "by": "ada", "command": command.id}
        stand.append("decisions", decided("approved", 0, 1395, **answer))
        shown(page, "#toasts", "Approve: reason of approved")
        page.wait_for_selector("#waiting", state="hidden")
        assert page.evaluate("Object.keys(localStorage).length + document.cookie.length") == 0

        page.click("#switch")
        assert page.is_hidden("#ask-key-row")  # the key is held until the tab is closed
        page.click("#ask-cancel")
        assert len(changes(stand)) == 1
        page.set_viewport_size({"width": 420, "height": 900})
        page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")


def changes(stand: Stand) -> list[Any]:
    commands = [msgspec.json.decode(record.value, type=Command) for record in stand.records("commands")]
    return [command for command in commands if not isinstance(command, AccessCommand)]


def approvals(stand: Stand) -> list[ApprovalCommand]:
    return [command for command in changes(stand) if isinstance(command, ApprovalCommand)]


def until(found: Callable[[], Any]) -> Any:
    """What ``found`` returns, as soon as it is something."""
    deadline = time.monotonic() + 15
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return result
