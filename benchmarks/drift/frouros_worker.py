"""Frouros' detectors over series of numbers: one JSON request per line of stdin, one answer per line of stdout.

Runs in the peer's own environment, which has neither the product nor its libraries. A request is
{"names": [detector, ...], "values": [...]}, the answer {detector: [positions at which it reported drift]}. A detector
is started again after each of its alarms, as Frouros' guide does.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any


def alarms(name: str, values: list[float]) -> list[int]:
    """The positions at which a detector with its defaults reports drift."""
    detector: Any = getattr(import_module("frouros.detectors.concept_drift"), name)()
    found = []
    for position, value in enumerate(values):
        detector.update(value=value)
        if detector.status["drift"]:
            found.append(position)
            detector.reset()
    return found


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({name: alarms(name, request["values"]) for name in request["names"]}), flush=True)


if __name__ == "__main__":
    main()
