"""`penstock up`, over HTTP and the command line, as an upstream app and an operator use it."""

import json
import signal
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.system.log_reader import LogReader
from tests.system.processes import kill_session, penstock, start, wait_for

pytestmark = pytest.mark.system

ROWS = 700


@pytest.fixture(scope="module")
def hook():
    """A webhook for alerts: its URL, and the titles that it got."""
    titles = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            titles.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["title"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}", titles
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def project(tmp_path_factory, hook):
    """A project as `penstock init` makes it, with its roles up on a free port."""
    folder = tmp_path_factory.mktemp("project")
    lines = ["amount,channel,risky"]
    lines += [
        f"{(row * 37) % 101},{'web' if row % 3 else 'shop'},{int(((row * 37) % 101 > 50) != (row % 9 == 0))}"
        for row in range(ROWS)
    ]
    (folder / "cards.csv").write_text("\n".join(lines) + "\n")
    made = penstock("init", "--from-csv", "cards.csv", "--target", "risky", cwd=folder)
    assert made.returncode == 0, made.stderr
    # All rows come within seconds: with the default share the last snapshot would be one of the first.
    settings = {"PENSTOCK_PORT": "0", "PENSTOCK_NOTIFY_INFO_URLS": hook[0], "PENSTOCK_SNAPSHOT_SHARE": "0.5"}
    process = start("up", cwd=folder, output=folder / "up.txt", **settings)
    address = folder / ".penstock" / "serving.url"
    try:
        wait_for(address.exists, "serving's address", 90, process)
        yield folder, address.read_text().strip(), process
    finally:
        if process.poll() is None:
            kill_session(process)


def test_it_says_where_it_answers(project):
    folder, url, process = project
    wait_for(lambda: f"cards: {url}\n" in (folder / "up.txt").read_text(), "the address", 10, process)
    assert not url.endswith(":0")


def call(url: str, body: object = None, raw: bytes | None = None):
    """Status and JSON answer of one request."""
    data = raw if raw is not None else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def log_of(folder: Path) -> LogReader:
    return LogReader(folder / ".penstock" / "log.db", "cards")


def test_a_score_that_was_answered_is_in_the_log_and_meets_its_label(project):
    folder, url, process = project
    features = {"amount": 80, "channel": "web", "unknown": [1, 2]}
    status, answer = call(f"{url}/v1/predict", {"id": "card-1", "features": features})
    assert status == 200
    assert answer["id"] == "card-1"
    assert 0.0 <= answer["score"] <= 1.0
    assert "card-1" in [prediction["id"] for prediction in log_of(folder).values("predictions")]
    assert call(f"{url}/v1/labels", {"id": "card-1", "value": "1"})[0] == 202
    wait_for(lambda: log_of(folder).count("examples") > 0, "the example", 30, process)
    assert log_of(folder).values("examples")[0]["id"] == "card-1"


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"id": "x", "features": {"amount": "much", "channel": "web"}}', "features.amount"),
        (b'{"id": "x", "features": {"channel": "web"}}', "features.amount"),
        (b'{"id": "x", "features": {"amount": NaN, "channel": "web"}}', "features.amount"),
        (b'{"id": "x", "features"', "body"),
        (b"[" * 5000, "body"),
        (b'{"id": "' + b"x" * 10_000_000 + b'"}', "body"),
    ],
    ids=["wrong type", "absent", "NaN", "broken", "deep", "10 MB"],
)
def test_bad_input_is_a_problem_that_names_the_field(project, raw, field):
    _, url, _ = project
    status, problem = call(f"{url}/v1/predict", raw=raw)
    assert 400 <= status < 500
    assert problem["status"] == status
    assert problem["field"] == field
    assert call(f"{url}/health/live")[0] == 200


def test_replayed_traffic_is_scored_learned_and_can_be_backtested(project):
    folder, url, process = project
    before = log_of(folder).count("predictions")
    sent = penstock("replay", "--data", "cards.csv", cwd=folder)
    assert sent.returncode == 0, sent.stderr
    wait_for(lambda: log_of(folder).count("predictions") >= before + ROWS, "all predictions", 60, process)
    wait_for(lambda: log_of(folder).count("examples") >= ROWS, "all examples", 60, process)
    wait_for(lambda: (call(f"{url}/v1/model")[1].get("snapshot") or 0) >= 200, "a snapshot", 60, process)
    score = call(f"{url}/v1/predict", {"features": {"amount": 95, "channel": "web"}})[1]["score"]
    assert score > call(f"{url}/v1/predict", {"features": {"amount": 5, "channel": "web"}})[1]["score"]
    history = penstock("backtest", "--from-log", f"requests/0:0-{ROWS}", "--json", cwd=folder)
    assert history.returncode == 0, history.stderr
    report = json.loads(history.stdout)
    assert (report["events"], report["labelled"]) == (ROWS, ROWS)
    assert report["accuracy"] > report["majority_accuracy"]


def test_an_operator_sees_the_log_and_asks_for_a_retrain(project):
    folder, _, process = project
    asked = penstock("retrain", "--reason", "audit", "--json", cwd=folder)
    identifier = json.loads(asked.stdout)["command"]
    wait_for(lambda: log_of(folder).count("decisions") > 0, "a decision", 60, process)
    commands = penstock("events", "tail", "commands", cwd=folder)
    assert identifier in commands.stdout
    first = json.loads(penstock("events", "tail", "decisions", cwd=folder).stdout.splitlines()[0])
    assert first["value"]["seq"] == 0
    listed = json.loads(penstock("models", "list", "--json", cwd=folder).stdout)
    assert listed[0]["version"] == "online"
    assert penstock("models", "show", "v99", cwd=folder).returncode == 2
    assert penstock("doctor", cwd=folder).returncode == 0


def test_an_auditor_follows_an_answer_and_every_command_and_people_are_told(project, hook):
    folder, _, process = project
    _, titles = hook
    links = json.loads(penstock("trace", "card-1", "--json", cwd=folder).stdout)["links"]
    found = {link["what"]: link["offset"] for link in links}
    assert found["request"] is None  # over HTTP
    assert None not in (found["prediction"], found["label"], found["example"])
    assert penstock("trace", "nobody", cwd=folder).returncode == 2
    changed = json.loads(penstock("drift", "policy", "set", "effect_floor=0.9", "--json", cwd=folder).stdout)["id"]

    def recorded():
        return changed in [decision.get("command") for decision in log_of(folder).values("decisions")]

    wait_for(recorded, "the decision on the change", 30, process)
    title = "cards: thresholds of the drift policy changed"
    wait_for(lambda: title in titles, "the message", 30, process)
    verified = penstock("audit", "verify", cwd=folder)
    assert verified.returncode == 0, verified.stdout
    assert titles.count(title) == 1


def test_it_stops_when_asked(project):
    folder, _, process = project
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0, (folder / "up.txt").read_text()
