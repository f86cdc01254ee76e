from itertools import pairwise

import httpx
import pytest

from serving.page import _resumed
from tests.unit.serving.stand import Stand
from tests.unit.serving.test_streams import alert, read, serving


@pytest.mark.parametrize(
    ("last", "since"),
    [
        (None, 0),
        ("", 0),
        ("run:7", 7),
        ("other:7", 0),
        ("run:", 0),
        ("run:x", 0),
        ("run:-1", 0),
        ("run:" + "9" * 20, 0),
    ],
)
def test_a_page_resumes_only_what_this_process_told_it(last: str | None, since: int) -> None:
    assert _resumed(last, "run") == since


def test_updates_begin_with_everything_and_go_on_with_what_changed(stand: Stand) -> None:
    stand.append("alerts", alert(1))
    with serving(stand) as url:
        [first] = read(f"{url}/v1/dashboard/stream", 1)
        assert (first["event"], first["data"]["since"]) == ("overview", 0)
        assert [item["id"] for item in first["data"]["alerts"]] == ["1"]
        stand.append("alerts", alert(2))
        resumed = read(f"{url}/v1/dashboard/stream", 2, headers={"Last-Event-ID": first["id"]})
        assert {event["data"]["since"] > 0 for event in resumed} == {True}
        assert [item["id"] for event in resumed for item in event["data"]["alerts"]] == ["2"]
        elsewhere = read(f"{url}/v1/dashboard/stream", 1, headers={"Last-Event-ID": "another:1"})
        assert [item["id"] for item in elsewhere[0]["data"]["alerts"]] == ["1", "2"]


def test_an_idle_page_hears_a_pulse(stand: Stand) -> None:
    with serving(stand) as url:
        pulses = read(f"{url}/v1/dashboard/stream", 3)
        assert httpx.get(f"{url}/v1/dashboard").json()["run"] == pulses[0]["data"]["run"]
    told = [event["data"]["now_ms"] for event in pulses]
    assert all(later - earlier >= 900 for earlier, later in pairwise(told))
