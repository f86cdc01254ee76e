"""What was scored since the last look, per version and per segment, as tallies."""

from __future__ import annotations

import msgspec

from online.blocks import merged, merged_all
from online.detectors.categorical import POOLED, category
from online.tally import Tally, tally_of
from penstock.events import Example, FeatureValue, Outcome, Score, ScoreBlock
from penstock.spec import Categorical, Pipeline

#: The block of what was served, whatever its version.
CHAMPION = "champion"
#: Values of a segment that are counted by name: the declared ones, then the first that come; the rest is pooled.
SEGMENT_VALUES = 20
#: The segment of examples whose value is missing.
MISSING = "(missing)"


class _State(msgspec.Struct, array_like=True):
    served: list[tuple[str, bytes]]
    others: list[tuple[str, bytes]]
    segments: dict[str, tuple[list[str], list[tuple[str, bytes]]]]
    previous: Outcome | None


class Scoreboard:
    """Counts what every version said of each example, and what was served by value of each of ``Pipeline.segments``.

    The baseline of an example is the label of the one before it. Each score is counted once: a version that was both
    served and scored in shadow is merged when it is asked for. A segment has at most 22 values, so that an attribute of
    a hundred thousand values makes no record or consumer grow.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._previous: Outcome | None = None
        self._known = {name: _declared(pipeline, name) for name in pipeline.segments}
        self._empty()

    def _empty(self) -> None:
        self._served: dict[str, Tally] = {}
        self._others: dict[str, Tally] = {}
        self._segments: dict[str, dict[str, Tally]] = {name: {} for name in self._known}

    def add(self, example: Example) -> None:
        """Count one example, by what was said at the time of its request."""
        prediction = example.prediction
        champion = prediction.role == "champion"
        self._count(self._served if champion else self._others, prediction.version, prediction.served, example)
        for version, score in prediction.shadow.items():
            self._count(self._others, version, score, example)
        if champion:
            for name, tallies in self._segments.items():
                self._count(tallies, self._segment(name, prediction.features[name]), prediction.served, example)
        self._previous = example.value

    def _count(self, tallies: dict[str, Tally], key: str, score: Score, example: Example) -> None:
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = tally_of(self._pipeline)
        tally.add(score, example.value, self._previous)

    def _segment(self, name: str, value: FeatureValue) -> str:
        text, known = category(value), self._known[name]
        if text is None:
            return MISSING
        if text not in known:
            if len(known) >= SEGMENT_VALUES:
                return POOLED
            known[text] = None
        return text

    def flush(self) -> tuple[dict[str, ScoreBlock], dict[str, dict[str, ScoreBlock]]]:
        """The blocks by version (`CHAMPION`: all that was served), and by segment and value; then starts afresh."""
        served, others = _blocks(self._served), _blocks(self._others)
        blocks = {
            version: merged(served.get(version, _NONE), others.get(version, _NONE)) for version in served | others
        }
        if served:
            blocks[CHAMPION] = merged_all(served.values())
        segments = {name: _blocks(tallies) for name, tallies in self._segments.items() if tallies}
        self._empty()
        return {version: blocks[version] for version in sorted(blocks)}, segments

    def state(self) -> bytes:
        """All tallies, the values that have a segment of their own, and the newest label, as MessagePack."""
        segments = {name: (list(self._known[name]), _states(tallies)) for name, tallies in self._segments.items()}
        return msgspec.msgpack.encode(_State(_states(self._served), _states(self._others), segments, self._previous))

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned. Segments that were not declared then start empty."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._empty()
        self._previous = held.previous
        self._served, self._others = self._restored(held.served), self._restored(held.others)
        for name in self._known:
            if name in held.segments:
                known, tallies = held.segments[name]
                self._known[name] = dict.fromkeys(known)
                self._segments[name] = self._restored(tallies)

    def _restored(self, states: list[tuple[str, bytes]]) -> dict[str, Tally]:
        tallies = {}
        for key, state in states:
            tallies[key] = tally_of(self._pipeline)
            tallies[key].restore(state)
        return tallies


_NONE = ScoreBlock()


def _declared(pipeline: Pipeline, name: str) -> dict[str, None]:
    feature = pipeline.feature(name)
    values = feature.values if isinstance(feature, Categorical) else ()
    return dict.fromkeys(values[:SEGMENT_VALUES])


def _blocks(tallies: dict[str, Tally]) -> dict[str, ScoreBlock]:
    return {key: tally.block() for key, tally in sorted(tallies.items())}


def _states(tallies: dict[str, Tally]) -> list[tuple[str, bytes]]:
    return [(key, tally.state()) for key, tally in tallies.items()]
