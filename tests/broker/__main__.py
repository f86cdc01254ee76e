"""``make kafka``: the tests' broker in the foreground, for a person."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.broker.jars import NoBrokerError, missing
from tests.broker.java import JavaBroker, answers

#: Topics and records stay here from one run to the next.
FOLDER = Path(".penstock") / "kafka"


def main() -> int:
    """Run a broker on localhost until Ctrl-C (or SIGTERM, or its own end)."""
    port = os.environ.get("KAFKA_PORT") or "9092"
    if not port.isdecimal() or not 0 < int(port) < 65_535:
        return _say(f"KAFKA_PORT={port}: not a port", 2)
    lacking = missing()
    if lacking is not None:
        return _say(lacking, 3)
    if answers(f"localhost:{port}"):
        return _say(f"localhost:{port}: a broker is there already; choose another port with KAFKA_PORT=", 3)
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    try:
        broker = JavaBroker(FOLDER, int(port))
        broker.start()
    except (NoBrokerError, RuntimeError, subprocess.CalledProcessError) as error:
        return _say(str(error), 3)
    _say(
        f"Kafka is up at {broker.bootstrap} (data and log in {FOLDER}; Ctrl-C stops it)\n"
        f"try: .venv/bin/penstock topics create --pipeline pipelines/credit.py --log kafka://{broker.bootstrap}"
    )
    while not stop.wait(0.5):
        if broker.process is not None and broker.process.poll() is not None:
            return _say(f"the broker ended by itself; see {broker.log}", 3)
    broker.stop()
    return 0


def _say(text: str, code: int = 0) -> int:
    print(text, file=sys.stderr if code else sys.stdout, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
