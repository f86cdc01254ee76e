"""What the retrain benchmark fits on, and that its latencies count from the scheduled moment."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.loops.refit import PIPELINE, drawn
from benchmarks.retrain import PER_SECOND, _latencies


def test_rows_have_all_features_and_both_classes_and_are_the_same_each_time() -> None:
    rows = drawn(200)
    assert rows == drawn(200)
    assert {outcome for _, outcome in rows} == set(PIPELINE.classes)
    assert [*rows[0][0]] == [feature.name for feature in PIPELINE.features]
    assert len(PIPELINE.features) == 25


def test_a_late_answer_makes_those_after_it_late_too() -> None:
    class Slow(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        answered = 0

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            Slow.answered += 1
            if Slow.answered == 1:
                time.sleep(0.3)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = _latencies(f"127.0.0.1:{server.server_address[1]}", [row for row, _ in drawn(5)], 1)
        server.shutdown()
    assert len(found) == PER_SECOND
    assert sum(latency > 0.1 for latency in found) >= 2
    assert min(found) < 0.1
