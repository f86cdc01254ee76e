"""Keeps the broker of a test run until its last user is gone (see ``tests.broker.shared``)."""

from __future__ import annotations

import fcntl
import shutil
import sys
from pathlib import Path

from tests.broker.docker import DockerBroker, engine_answers
from tests.broker.jars import NoBrokerError
from tests.broker.java import JavaBroker


def start(folder: Path) -> DockerBroker | JavaBroker:
    """A container where an engine answers (and has or gets the image), else a Java process."""
    if engine_answers():
        container = DockerBroker()
        try:
            container.start()
        except Exception as error:  # noqa: BLE001 - no image, no network, no rights: Java is the other way
            print(f"Docker answers, but the broker did not start in it ({error}); Java instead", flush=True)
        else:
            return container
    broker = JavaBroker(folder / "broker")
    broker.start()
    return broker


def main(folder: Path) -> int:
    """Start the broker, say where it is, wait until nobody uses it, stop it. 3: no broker can be had here."""
    try:
        broker = start(folder)
    except NoBrokerError as error:
        print(error, flush=True)
        return 3
    with (folder / "users").open("a") as users:
        written = folder / "bootstrap.new"
        written.write_text(broker.bootstrap)
        written.rename(folder / "bootstrap")
        fcntl.flock(users, fcntl.LOCK_EX)
        (folder / "bootstrap").unlink()
        if isinstance(broker, JavaBroker):
            broker.kill()  # nobody needs its data
            shutil.rmtree(folder / "broker" / "data", ignore_errors=True)
        else:
            broker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
