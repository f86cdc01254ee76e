"""Online models made again from the log, and compared with what was published. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from penstock.cli.compose import System, read_all
from penstock.contract import decoder_for
from penstock.errors import DependencyError, PenstockError, UnrecoverableStateError, UsageError
from penstock.events import Alert, Example, Features, ModelRecord
from penstock.log.port import TopicPartition
from penstock.models.model import Model
from penstock.models.probe import largest_difference, probe_rows
from penstock.models.slot import ONLINE
from penstock.runtime.checkpoint import StateIdentity, library_versions
from penstock.runtime.ranges import read_range
from penstock.runtime.refold import refold

if TYPE_CHECKING:
    from online.committee import Committee

STAGE = "learner"
TOPIC = "examples"
#: Rows of the log that models are compared on, besides the probe rows.
RECENT_ROWS = 256


class Rebuilt(NamedTuple):
    """One model made again from the examples [``start``, ``stop``).

    ``base``: what the fold started from (``origin``, ``epoch``, ``checkpoint``; ``data`` for a batch model).
    ``difference``: the greatest absolute difference of scores on ``rows`` rows; None: the two cannot be compared.
    """

    version: str
    partition: int | None
    snapshot: int | None
    base: str
    start: int
    stop: int
    examples: int
    rows: int
    difference: float | None
    seconds: float
    note: str = ""

    @property
    def identical(self) -> bool:
        """Is what was made again what was published?"""
        return self.difference == 0.0 and not self.note


class Fold(NamedTuple):
    """What a learner had learned at the end of the examples from ``start`` on; ``base``: what it started from."""

    model: Committee
    learned: int
    base: str
    start: int


def online_records(system: System, version: str) -> list[ModelRecord]:
    """The records that ``online`` (the newest of each partition) or ``online@N`` (after N examples) means.

    Raises:
        UsageError: there is no such snapshot.
        DependencyError: there may have been one, but ``models`` is compacted and no longer tells.
    """
    decode = decoder_for("models", system.pipeline)
    records = [cast(ModelRecord, decode(value)) for value in read_all(system.log, "models")]
    snapshots = [record for record in records if record.slot.startswith(f"{ONLINE}-") and record.uri]
    newest = {record.slot: record for record in sorted(snapshots, key=lambda record: record.offset)}
    if not newest:
        raise UsageError("models rebuild: no snapshot of the online model has been announced yet")
    if version == ONLINE:
        return [newest[slot] for slot in sorted(newest)]
    number = version.removeprefix(f"{ONLINE}@")
    if not number.isdecimal():
        raise UsageError(f"models rebuild: {version!r} is no version; name online, online@N or a batch version")
    found = [record for record in snapshots if record.snapshot == int(number)]
    if not found:
        held = ", ".join(sorted({f"{ONLINE}@{record.snapshot}" for record in snapshots}))
        if int(number) > max(record.snapshot or 0 for record in newest.values()):
            raise UsageError(f"models rebuild: no snapshot after {number} examples was announced; there are {held}")
        raise DependencyError(
            f"models rebuild: the log no longer holds a snapshot after {number} examples (`models` is compacted); "
            f"there are {held}"
        )
    return found


def rebuild_online(system: System, record: ModelRecord) -> Rebuilt:
    """Fold the learner over the examples that the snapshot of ``record`` had learned, and compare the two.

    1. Fetch, verify and load what was published. 2. Fold. Where a new epoch was announced, the fold starts there, if
    that gives as many examples as the record names. Where the log no longer reaches back to the start, the oldest
    checkpoint that it does reach is the base. 3. Compare scores on probe rows and on the newest examples of the range.

    Raises:
        ArtifactError: what was published is missing, changed, or not signed by our key.
        UnrecoverableStateError: the log lacks examples of the range, and no checkpoint makes up for them.
    """
    from online.loading import model_loader

    started_s = time.monotonic()
    partition = int(record.slot.removeprefix(f"{ONLINE}-"))
    published = model_loader(system.pipeline)(
        "online", system.artifacts.get(record.uri, record.digest, record.signature)
    )
    stop = record.offset + 1
    fold = refolded(system, partition, record, stop)
    rows = [*probe_rows(system.pipeline), *_recent(system, partition, stop)]
    compared = compare(published, fold.model, rows)
    unlike = fold.learned != record.snapshot
    short = f"learned {fold.learned} examples, the record says {record.snapshot}" if unlike else ""
    return Rebuilt(
        record.version,
        partition,
        record.snapshot,
        fold.base,
        fold.start,
        stop,
        fold.learned,
        len(rows),
        compared.difference,
        round(time.monotonic() - started_s, 3),
        "; ".join(note for note in (short, compared.why) if note),
    )


class Compared(NamedTuple):
    """The greatest difference of two models' scores; None where they cannot be compared, and ``why`` not."""

    difference: float | None
    why: str = ""


def compare(one: Model, other: Model, rows: Sequence[Features]) -> Compared:
    """Compare the scores of two models on ``rows``."""
    try:
        return Compared(largest_difference(one.score_many(rows), other.score_many(rows)))
    except ValueError as error:
        return Compared(None, f"they cannot be compared: {error}")


def refolded(system: System, partition: int, record: ModelRecord, stop: int) -> Fold:
    """The learner of ``partition`` folded over its examples up to ``stop``: as the snapshot of ``record`` was made.

    Raises:
        UnrecoverableStateError: the log lacks examples of the range, and no checkpoint makes up for them.
    """
    where = TopicPartition(TOPIC, partition)
    first, end = system.log.bounds(where)
    if end < stop:
        raise UnrecoverableStateError(
            f"models rebuild: {TOPIC}/{partition} is needed up to offset {stop}, but the log ends at {end}"
        )
    epochs = [epoch for epoch in _epochs(system, partition) if epoch < stop]
    fold = None
    for start in [*sorted(epochs, reverse=True), 0]:
        if start < first:
            break
        fold = _folded(system, partition, "epoch" if start else "origin", start, stop)
        if fold.learned == record.snapshot:
            return fold
    return fold or _from_checkpoint(system, partition, first, stop)


def _folded(system: System, partition: int, base: str, start: int, stop: int, state: bytes | None = None) -> Fold:
    from consumers.learner import Learner
    from online.detectors.outcomes import OutcomeDetectors

    learner = Learner(system.pipeline, partition, system.snapshots(), OutcomeDetectors(system.pipeline))
    if state is not None:
        learner.restore(state)
    records = read_range(system.log, TopicPartition(TOPIC, partition), start, stop)
    refold(learner, records, decoder_for(TOPIC, system.pipeline))
    return Fold(learner.committee, learner.committee.learned, base, start)


def _from_checkpoint(system: System, partition: int, first: int, stop: int) -> Fold:
    """From the oldest checkpoint that the log reaches back to: the longest fold that can still be made."""
    identity = StateIdentity(system.pipeline.state_digest(), library_versions())
    usable = [
        stored.checkpoint
        for stored in system.checkpoints.candidates(STAGE, partition)
        if first <= stored.checkpoint.offsets.get(TOPIC, 0) <= stop
        and not stored.checkpoint.identity.differences(identity)
    ]
    if not usable:
        raise UnrecoverableStateError(
            f"models rebuild: {TOPIC}/{partition} is needed from offset 0, but the log holds it from {first}, and no "
            f"checkpoint of this spec and these library versions lies between {first} and {stop}; "
            "restore a backup that is old enough"
        )
    oldest = min(usable, key=lambda checkpoint: checkpoint.offsets.get(TOPIC, 0))
    return _folded(system, partition, "checkpoint", oldest.offsets.get(TOPIC, 0), stop, oldest.state)


def _epochs(system: System, partition: int) -> list[int]:
    """The offsets of examples at which a new epoch of the learner of ``partition`` was announced."""
    decode = decoder_for("alerts", system.pipeline)
    prefix = f"new-epoch-{STAGE}-{partition}-"
    alerts = [cast(Alert, decode(value)) for value in read_all(system.log, "alerts")]
    ends = [alert.id.removeprefix(prefix) for alert in alerts if alert.id.startswith(prefix)]
    return sorted({int(end) for end in ends if end.isdecimal()})


def _recent(system: System, partition: int, stop: int) -> list[Features]:
    where = TopicPartition(TOPIC, partition)
    start = max(system.log.bounds(where).first, stop - RECENT_ROWS)
    decode = decoder_for(TOPIC, system.pipeline)
    found = []
    for record in read_range(system.log, where, start, stop):
        try:
            example = cast(Example, decode(record.value))
        except PenstockError:
            continue
        if not example.revision:
            found.append(example.prediction.features)
    return found
