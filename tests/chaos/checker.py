"""What the log must hold when everything is over, counted from what was sent and what is recorded, and nothing else.

Only the fresh folds use the product's stages (see `tests.system.folding`): they are what the record is compared with.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from penstock.spec import Pipeline
from tests.chaos.join_rule import Pair, joined
from tests.chaos.workload import Sent
from tests.system.folding import fold_differences, learned_by
from tests.system.log_reader import Recorded, Stored

#: A step of a run that happens at most once.
ONCE = ("trained", "registered", "shadow", "canary", "promoted", "rejected", "failed", "settled")
INGRESS = ("requests", "labels")


class Finding(NamedTuple):
    """Something that should not be: ``missing``, ``duplicate``, ``wrong`` or ``double_learned``, how often, where."""

    kind: str
    count: int
    where: str


def verdict(recorded: Recorded, sent: Sequence[Sent], pipeline: Pipeline, data_dir: Path) -> dict[str, Any]:
    """The counts of the report; all is well where ``faultless`` says so."""
    findings = [*what_is_wrong(recorded, sent, pipeline), *wrongly_learned(recorded, pipeline, data_dir)]
    differences = fold_differences(pipeline, recorded, data_dir)
    decisions = [json.loads(record.value) for record in recorded.get("decisions", {}).get(0, [])]
    counts = {kind: sum(one.count for one in findings if one.kind == kind) for kind in KINDS}
    return {
        "requests": sum(map(len, recorded["requests"].values())),
        "predictions": sum(map(len, recorded["predictions"].values())),
        "examples": sum(map(len, recorded["examples"].values())),
        "missing": counts["missing"],
        "duplicates": counts["duplicate"],
        "wrong": counts["wrong"],
        "double_learned": counts["double_learned"],
        "bit_identical": not differences,
        "differences": [f"{one.kind} {one.count}: {one.where}" for one in findings] + differences,
        "dead_letters": len(recorded["dead-letters"][0]),
        "drift": len({json.loads(record.value)["id"] for record in recorded["drift"][0]}),
        "runs": len({one["run_id"] for one in decisions if one["step"] == "trained"}),
    }


KINDS = ("missing", "duplicate", "wrong", "double_learned")


def faultless(found: Mapping[str, Any]) -> bool:
    """Whether nothing is lost, nothing is double, and every fold agrees."""
    return bool(found["bit_identical"]) and not any(
        found[name] for name in ("missing", "duplicates", "wrong", "double_learned")
    )


def what_is_wrong(recorded: Recorded, sent: Sequence[Sent], pipeline: Pipeline) -> list[Finding]:
    """Everything that can be told from the log alone."""
    poison = {(one.topic, one.value) for one in sent if one.poison}
    checks = (
        _ingress(recorded, sent),
        _predictions(recorded, poison),
        _dead_letters(recorded, poison),
        _examples(recorded, poison, pipeline),
        _drift(recorded),
        _once_each(recorded),
        _decisions([record.value for record in recorded.get("decisions", {}).get(0, [])]),
    )
    return [finding for check in checks for finding in check if finding.count]


def wrongly_learned(recorded: Recorded, pipeline: Pipeline, data_dir: Path) -> list[Finding]:
    """Whether each learner has learned as many examples as there are first examples in its partition."""
    found = []
    for partition, records in recorded.get("examples", {}).items():
        distinct = {one["id"] for one in _values(records) if not one.get("revision")}
        surplus = learned_by(pipeline, data_dir, partition) - len(distinct)
        where = f"learner/{partition} against {len(distinct)} examples"
        found += [Finding("double_learned", surplus, where)] if surplus > 0 else []
        found += [Finding("missing", -surplus, where)] if surplus < 0 else []
    return found


def _values(records: Iterable[Stored]) -> Iterator[dict[str, Any]]:
    return (json.loads(record.value) for record in records)


def _ingress(recorded: Recorded, sent: Sequence[Sent]) -> Iterator[Finding]:
    """What was acknowledged is there, key and value. Once or more: ingress is at-least-once."""
    for topic in INGRESS:
        expected = Counter((one.key, one.value) for one in sent if one.topic == topic)
        there = Counter((one.key, one.value) for records in recorded[topic].values() for one in records)
        yield Finding("missing", (expected - there).total(), f"acknowledged {topic}")
        yield Finding("wrong", len(there.keys() - expected.keys()), f"{topic} that nobody sent")
        if there == expected:
            yield Finding(
                "wrong",
                _out_of_order(recorded[topic], [one for one in sent if one.topic == topic]),
                f"{topic} in another order than acknowledged",
            )


def _out_of_order(partitions: Mapping[int, list[Stored]], sent: Sequence[Sent]) -> int:
    """In how many partitions the records do not lie as one producer sent them."""
    home = {one.key: partition for partition, records in partitions.items() for one in records}
    expected: dict[int, list[bytes]] = {partition: [] for partition in partitions}
    for one in sent:
        expected[home[one.key]].append(one.value)
    return sum([one.value for one in records] != expected[partition] for partition, records in partitions.items())


def _predictions(recorded: Recorded, poison: set[tuple[str, bytes]]) -> Iterator[Finding]:
    """Of each partition's valid requests, in their order, one prediction each."""
    for partition, requests in recorded["requests"].items():
        valid = [one.value for one in requests if ("requests", one.value) not in poison]
        asked = [json.loads(value)["id"] for value in valid]
        answered = [one["id"] for one in _values(recorded["predictions"][partition])]
        where = f"predictions/{partition}"
        yield from _difference(Counter(asked), Counter(answered), where)
        yield Finding("wrong", int(sorted(asked) == sorted(answered) and asked != answered), f"the order of {where}")


def _difference(expected: Counter[Any], there: Counter[Any], where: str) -> Iterator[Finding]:
    lost, surplus = expected - there, there - expected
    yield Finding("missing", lost.total(), f"{where}, such as {next(iter(lost), None)}")
    yield Finding("duplicate", surplus.total(), f"{where}, such as {next(iter(surplus), None)}")


def _dead_letters(recorded: Recorded, poison: set[tuple[str, bytes]]) -> Iterator[Finding]:
    """One for each poisonous record, naming its place and holding its bytes."""
    expected = Counter(
        (topic, str(partition), str(one.offset), one.key, one.value)
        for topic in INGRESS
        for partition, records in recorded[topic].items()
        for one in records
        if (topic, one.value) in poison
    )
    there: Counter[Any] = Counter()
    for record in recorded["dead-letters"][0]:
        headers = dict(record.headers)
        place = [headers.get(f"__streams.errors.{name}", b"").decode() for name in ("topic", "partition", "offset")]
        there[(*place, record.key, record.value)] += 1
    yield from _difference(expected, there, "dead letters")


def _examples(recorded: Recorded, poison: set[tuple[str, bytes]], pipeline: Pipeline) -> Iterator[Finding]:
    """What the join rule implies, each with the first prediction of its id."""
    for partition, examples in recorded["examples"].items():
        predictions = recorded["predictions"][partition]
        labels = [one for one in recorded["labels"][partition] if ("labels", one.value) not in poison]
        expected = joined(predictions, labels, pipeline.horizon_ms, pipeline.early_bound_ms)
        there = Counter(
            Pair(one["id"], one["value"], one["label_time_ms"], one.get("revision", 0)) for one in _values(examples)
        )
        yield from _difference(expected, there, f"examples/{partition}")
        first: dict[str, dict[str, Any]] = {}
        for prediction in _values(predictions):
            first.setdefault(prediction["id"], prediction)
        others = [
            one["id"]
            for one in _values(examples)
            if not one.get("revision") and one["prediction"] != first.get(one["id"])
        ]
        yield Finding("wrong", len(others), f"examples/{partition} with another prediction than the first of their id")


def _drift(recorded: Recorded) -> Iterator[Finding]:
    """An incident opens once and closes once."""
    events = Counter(
        (one["id"], one["status"]) for one in _values(recorded["drift"][0]) if one["status"] in ("opened", "closed")
    )
    yield Finding("duplicate", sum(count - 1 for count in events.values()), "drift ids")


def _once_each(recorded: Recorded) -> Iterator[Finding]:
    """What a stage says about its n-th input, and alerts, are said once."""

    def named(*fields: str) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
        return lambda value: tuple(value.get(field) for field in fields)

    keys = {
        "evidence": named("stage", "partition", "seen", "record_id"),
        "metrics": named("stage", "partition", "seen"),
    }
    for topic, key in keys.items():
        counts = Counter(key(value) for value in _values(recorded.get(topic, {}).get(0, [])))
        yield Finding("duplicate", sum(count - 1 for count in counts.values()), topic)


def _decisions(values: Sequence[bytes]) -> Iterator[Finding]:
    """Gaps in the chain, hashes that are not those of what stands before or in the decision, and repeated steps."""
    broken, before = 0, ""
    for number, raw in enumerate(values):
        decision = json.loads(raw)
        own = decision.get("hash", "")
        plain = raw.replace(f',"hash":"{own}"'.encode(), b"")
        blank = raw.replace(f'"hash":"{own}"'.encode(), b'"hash":""')
        hashes = {hashlib.sha256(data).hexdigest() for data in (plain, blank)}
        broken += decision["seq"] != number or decision.get("previous_hash", "") != before or own not in hashes
        before = own
    yield Finding("wrong", broken, "links of the chain of decisions")
    steps = Counter((one["run_id"], one["step"]) for one in map(json.loads, values) if one["step"] in ONCE)
    yield Finding("duplicate", sum(count - 1 for count in steps.values()), "steps of runs")
