"""The jars of Apache Kafka, from Maven Central, kept between runs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
import uuid
from pathlib import Path

#: The oldest Java that Kafka 4 runs on.
JAVA = 17
POM = Path(__file__).with_name("pom.xml")
#: A first download may fail on a busy network: (seconds before each try).
TRIES_S = (0.0, 3.0, 10.0)


class NoBrokerError(Exception):
    """No broker can be had on this machine. The text is one line: why, and what to install."""


def cache() -> Path:
    """Where the jars are kept: PENSTOCK_KAFKA_JARS, or the user's cache."""
    given = os.environ.get("PENSTOCK_KAFKA_JARS")
    if given:
        return Path(given)
    edition = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]  # another list of jars, another folder
    return Path.home() / ".cache" / "penstock" / f"kafka-4.1.0-{edition}"


def java_version(text: str) -> int:
    """The major version in what ``java -version`` says; 0 where there is none."""
    found = re.search(r'version "(\d+)', text)
    return int(found[1]) if found else 0


def missing() -> str | None:
    """What this machine lacks for a broker on Java, or None."""
    if shutil.which("java") is None:
        return f"no java: install a Java runtime of version {JAVA} or newer"
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    if java_version(said) < JAVA:
        return f"java is too old ({said.splitlines()[0] if said else 'unknown'}): install {JAVA} or newer"
    if not _complete(cache()) and shutil.which("mvn") is None:
        return "no mvn to fetch Kafka's jars with: install maven"
    return None


def jars() -> Path:
    """The folder of the broker's jars, fetched once.

    Raises:
        NoBrokerError: they cannot be fetched.
    """
    folder = cache()
    if not _complete(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        fetched = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}")
        _fetch(fetched)
        (fetched / "complete").touch()
        try:
            fetched.rename(folder)
        except OSError:  # another process was quicker
            shutil.rmtree(fetched)
    return folder


def _complete(folder: Path) -> bool:
    return (folder / "complete").is_file()


def _fetch(folder: Path) -> None:
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    said = ""
    for pause_s in TRIES_S:
        time.sleep(pause_s)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        except FileNotFoundError as error:
            raise NoBrokerError("no mvn to fetch Kafka's jars with: install maven") from error
        except subprocess.TimeoutExpired:
            said = "no end within 240 s"
            continue
        if done.returncode == 0:
            return
        said = next((line for line in done.stdout.splitlines() if "ERROR" in line), done.stdout[-200:])
    shutil.rmtree(folder, ignore_errors=True)
    raise NoBrokerError(f"Kafka's jars could not be fetched with mvn ({len(TRIES_S)} tries): {said.strip()}")
