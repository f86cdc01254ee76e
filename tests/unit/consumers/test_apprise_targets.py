"""Messages over HTTP for real, and what nobody may read in a log."""

from __future__ import annotations

import json
import smtplib
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from consumers.apprise_targets import apprise_targets
from penstock.errors import DependencyError, UsageError

TOKEN = "s3cr3t-token-nobody-may-read"  # noqa: S105 - of nothing


class Hook:
    """A webhook on this machine that keeps what it gets and answers with ``status``."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append(json.loads(body))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:{TOKEN}@127.0.0.1:{self.server.server_port}/{TOKEN}"


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_a_webhook_gets_the_message(hook: Hook) -> None:
    (target,) = apprise_targets(hook.url, "URLS")
    assert target.send("drift", "two\nlines", "critical") == ""
    (got,) = hook.got
    assert (got["title"], got["message"], got["type"]) == ("drift", "two\nlines", "failure")


def test_a_refusal_comes_back_without_what_is_secret(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    (target,) = apprise_targets(hook.url, "URLS")
    hook.status = 500
    why = target.send("drift", "why", "warning")
    assert "500" in why
    hook.server.server_close()
    gone = target.send("drift", "why", "warning")
    assert gone
    assert TOKEN not in target.name + why + gone + caplog.text


def test_several_urls_have_names_of_their_own_that_stay() -> None:
    urls = f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN.replace('-', '')}, mailtos://u:{TOKEN}@example.com?to=a@b.org,d@e.org"
    names = [target.name for target in apprise_targets(urls, "URLS")]
    assert names == [target.name for target in apprise_targets(urls, "URLS")]
    assert len(set(names)) == 2
    assert [name.split("-")[0] for name in names] == ["slack", "mailtos"]


@pytest.mark.parametrize("url", ["nosuch://" + TOKEN, TOKEN, "json://", "slack://" + TOKEN])
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(UsageError, match="PENSTOCK_NOTIFY_URLS") as told:
        apprise_targets(url, "PENSTOCK_NOTIFY_URLS")
    assert TOKEN not in str(told.value)


def test_a_plug_in_that_fails_is_a_message_that_was_not_taken(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    (target,) = apprise_targets(hook.url, "URLS")

    class Broken:
        def __init__(self, **_: object) -> None:
            raise RuntimeError(f"cannot use {TOKEN}")

    monkeypatch.setattr(target._apprise, "Apprise", Broken)
    assert target.send("t", "b", "info") == "RuntimeError: cannot use ****"


def test_without_apprise_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(DependencyError, match=r"penstock\[notify\]"):
        apprise_targets("json://127.0.0.1", "PENSTOCK_NOTIFY_URLS")


def test_slack_gets_the_message_at_its_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[tuple[str, dict[str, Any]]] = []

    def post(_: str, url: str, data: Any = None, **__: object) -> requests.Response:
        posted.append((url, json.loads(data)))
        answer = requests.Response()
        answer.status_code, answer._content = 200, b"ok"
        return answer

    monkeypatch.setattr(requests, "request", post)
    (target,) = apprise_targets("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts", "URLS")
    assert target.send("drift", "why", "critical") == ""
    ((url, body),) = posted
    assert url == "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    assert "drift" in json.dumps(body)
    assert "why" in json.dumps(body)


def test_mail_goes_to_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, list[str], str]] = []

    class Server:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def sendmail(self, sender: str, readers: list[str], message: str) -> None:
            sent.append((sender, readers, message))

        def __getattr__(self, _: str) -> Any:
            return lambda *_, **__: None

    monkeypatch.setattr(smtplib, "SMTP", Server)
    (target,) = apprise_targets("mailto://ada:secret@example.com?to=ops@example.org&smtp=mail.example.com", "URLS")
    assert target.send("drift", "why", "warning") == ""
    ((_, readers, message),) = sent
    assert readers == ["ops@example.org"]
    assert "Subject: drift" in message
