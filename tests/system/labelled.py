"""A small pipeline file, and labelled examples for its learners."""

from __future__ import annotations

import random

from penstock.events import Example, Prediction, encode
from penstock.log.port import Message


def spec(name: str, partitions: int) -> str:
    """The text of a pipeline file."""
    return f"""
from penstock.spec import Numeric, Pipeline

PIPELINE = Pipeline(
    name="{name}", task="binary", target="y", classes=("0", "1"),
    features=(Numeric("x"), Numeric("z")), partitions={partitions},
)
"""


def labelled(partition: int, rows: int) -> list[Message]:
    """``rows`` labelled examples for ``partition``."""
    rng = random.Random(rows)
    messages = []
    for row in range(rows):
        x = rng.gauss(0, 1)
        prediction = Prediction(
            id=f"{partition}-{row}-{rng.random()}",
            entity="e",
            event_time_ms=row,
            features={"x": x, "z": rng.gauss(0, 1)},
            version="online",
            generation=0,
            decision="1",
            score=0.5,
        )
        example = Example(id=prediction.id, prediction=prediction, value=str(int(x > 0)), label_time_ms=row)
        messages.append(Message("examples", b"e", encode(example), partition))
    return messages
