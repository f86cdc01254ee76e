"""What is read from the log."""

from __future__ import annotations

from penstock.clock import VirtualClock
from penstock.contract import decoder_for
from penstock.events import DataRange, Example, Prediction, encode
from penstock.log.memory import MemoryLog
from penstock.log.port import Message, TopicConfig
from penstock.spec import Categorical, Numeric, Pipeline
from retraining.dataset import Dataset, Row, read_dataset

FEATURES = (Numeric("x"), Categorical("c"))


def pipeline() -> Pipeline:
    return Pipeline(name="p", task="binary", target="y", features=FEATURES, classes=("0", "1"))


def example(identity: str, time: int, revision: int = 0, version: str = "online") -> bytes:
    prediction = Prediction(
        id=identity, entity="e", event_time_ms=time, features={"x": 1.0, "c": None}, version=version,
        generation=0, decision="1", score=0.25, shadow={"online": 0.5} if version != "online" else {},
    )  # fmt: skip
    return encode(Example(id=identity, prediction=prediction, value="1", label_time_ms=time, revision=revision))


def test_rows_come_in_time_order_over_partitions_without_revisions() -> None:
    log = MemoryLog(VirtualClock(), [TopicConfig("examples", 2)])
    for partition, values in enumerate(
        ([example("a", 5), example("b", 1), example("a", 5, revision=1)], [example("c", 3, version="v1"), b"broken"])
    ):
        log.append([Message("examples", b"k", value, partition) for value in values])
    data = DataRange(offsets={"0": (0, 3), "1": (0, 2)})
    dataset = read_dataset(log, data, decoder_for("examples", pipeline()))
    assert [row.id for row in dataset.rows] == ["b", "c", "a"]
    assert dataset.rows[1].scores == {"v1": 0.25, "online": 0.5}
    assert dataset.rows[0].scores == {"online": 0.25}
    assert [(row.partition, row.offset) for row in dataset.rows] == [(0, 1), (1, 0), (0, 0)]
    assert dataset == read_dataset(log, data, decoder_for("examples", pipeline()))
    part = read_dataset(log, DataRange(offsets={"0": (1, 2)}), decoder_for("examples", pipeline()))
    assert [row.id for row in part.rows] == ["b"]
    assert part.digest != dataset.digest


def test_the_split_is_by_time() -> None:
    rows = tuple(Row(str(index), index, {}, "0", {}) for index in range(10))
    earlier, later = Dataset(rows, "").split(0.3)
    assert [row.id for row in later] == ["7", "8", "9"]
    assert len(earlier) == 7
