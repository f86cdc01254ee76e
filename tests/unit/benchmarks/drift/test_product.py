"""The product's stages over a stream, and its detectors one at a time."""

from __future__ import annotations

from benchmarks.drift.moves import covariate_stream, error_stream
from benchmarks.drift.product import detectors, error_evidence, errors, evidence, examples, incidents, name_of, only
from benchmarks.drift.streams import Stream
from penstock.events import Evidence


def first(stream: Stream, rows: int) -> Stream:
    answers = None if stream.answers is None else stream.answers[:rows]
    return stream._replace(rows=stream.rows[:rows], answers=answers)


def test_answers_of_the_stream_are_what_is_served() -> None:
    stream = first(error_stream(0.4, seed=1), 1000)
    known = examples(stream)
    assert [example.prediction.score for example in known] == stream.answers
    assert 0.15 < sum(errors(known)) / 1000 < 0.25


def test_what_is_served_comes_from_a_snapshot_that_has_not_learned_the_newest_rows() -> None:
    stream = first(covariate_stream("mean +1 sd", seed=0), 500)
    shuffled = stream._replace(rows=[*stream.rows[:400], *reversed(stream.rows[400:])])
    known, other = examples(stream), examples(shuffled)
    assert [e.prediction.score for e in known[400:]] == [e.prediction.score for e in reversed(other[400:])]


def test_each_detector_alone_sees_the_same_looks_with_its_own_findings_only() -> None:
    whole = covariate_stream("mean +1 sd", seed=0)
    start = whole.drifts[0].row - 1200
    stream = whole._replace(rows=whole.rows[start : start + 1600])
    records = list(evidence(stream.pipeline, examples(stream)))
    assert "covariate: ks" in detectors(records)
    alone = only(records, "covariate: ks")
    assert [row for row, _ in alone] == [row for row, _ in records]
    assert {name_of(finding) for _, record in alone for finding in record.findings} == {"covariate: ks"}
    assert any(opening.row >= 1200 for opening in incidents(stream.pipeline, alone))


def test_every_error_detector_decides_when_it_is_shown_alone() -> None:
    stream = error_stream(0.4, seed=0)
    records: list[tuple[int, Evidence]] = list(error_evidence(stream.pipeline, examples(stream)))
    fired = {finding.detector for _, record in records for finding in record.findings if finding.fired}
    assert {"likelihood_ratio", "adwin", "page_hinkley"} <= fired
