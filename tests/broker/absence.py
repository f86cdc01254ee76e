"""What happens to a test that needs a broker where none can be had."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from tests.broker import jars

#: How the reason begins.
NO_KAFKA = "no Kafka broker"


def no_kafka(why: object) -> NoReturn:
    """Skip the test, or fail it in CI, in one line."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{NO_KAFKA}: {why}", pytrace=False)
    pytest.skip(f"{NO_KAFKA}: {why}")


def need_java() -> None:
    """For tests that kill, restart or configure their broker: only a Java process of their own will do."""
    lacking = jars.missing()
    if lacking is not None:
        no_kafka(f"this test needs one of its own: {lacking}")
