"""Group fairness online: how often each group gets the favourable answer, now and before.

One attribute's groups are counted over several sliding windows, and over everything before each. For groups a and b
with rates p and q of favourable answers, p / q is their disparate impact ratio and p − q their difference (demographic
parity over all predictions; equal opportunity over those whose label was favourable).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from online.detectors.categorical import POOLED, category
from online.detectors.windows import AlarmAges, Packed
from online.disparate_impact import Counts, Verdict, judge
from penstock.events import FeatureValue
from penstock.spec import Categorical, Numeric, Pipeline

#: Groups that are counted by name: declared values first, then those that come first; the rest is one group.
MOST_GROUPS = 8
#: Lengths of the windows that are judged, in windows of the drift policy. Whatever the length of an episode, one of
#: them is between half of it and all of it, up to the longest: at rates of 0.8 a ratio that fell by 0.06 takes about
#: 8,000 records to stand out of all looks.
WINDOWS = (1, 2, 4, 8)
#: While a ratio is this unlikely and this far below its limit, its records are no reference for later ones.
SUSPECT, SUSPECT_EFFECT = 1e-3, 0.0375


class _Segment:
    """A stretch of ``size`` records in a row, as codes 2 × group + favourable, and their counts."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.codes: deque[int] = deque()
        self.counts: Counts = []

    @property
    def is_full(self) -> bool:
        return len(self.codes) == self._size

    def add(self, code: int) -> int | None:
        """Take one record; the one that leaves for it, if any."""
        self.codes.append(code)
        _count(self.counts, code, 1)
        if len(self.codes) <= self._size:
            return None
        gone = self.codes.popleft()
        _count(self.counts, gone, -1)
        return gone


class _State(msgspec.Struct, array_like=True):
    groups: list[str]
    edges: list[float] | None
    first: list[float]
    seen: int
    window: list[int]
    before: Counts
    ages: tuple[Packed, Packed]
    suspect: bool


class GroupRates:
    """One attribute's groups over sliding windows of 1, 2, 4 and 8 × ``drift.window`` records, each against all before.

    The first ``drift.reference`` records are left out: a model that has learned nothing decides by nothing. They set
    the groups of a number, which are its quarters there. A window is judged once it is full and what came before it is
    at least as long. Records that leave the longest are forgotten where the attribute is suspect at that moment; when
    it has been so for as long as the longest window, what came before that window is. A promotion changes nothing here:
    a model that treats groups otherwise is what this must find.
    """

    def __init__(self, pipeline: Pipeline, attribute: str) -> None:
        self.attribute = attribute
        feature = pipeline.feature(attribute)
        self._numeric = isinstance(feature, Numeric)
        self._warm_up, self._unit = pipeline.drift.reference, pipeline.drift.window
        self._groups: dict[str, int] = {}
        if isinstance(feature, Categorical):
            self._groups = {value: index for index, value in enumerate(feature.values[:MOST_GROUPS])}
        self._edges: list[float] | None = None
        self._first: list[float] = []
        self._seen = 0
        self._segments = self._no_segments()
        self._before: Counts = []
        # Due after two of what it is given, which is one of the longest window.
        self._ages = AlarmAges(1, WINDOWS[-1] * self._unit // 2)
        self._suspect = False

    def _no_segments(self) -> list[_Segment]:
        """Newest first; the first i of them are the i-th window."""
        return [_Segment(self._unit * (end - start)) for start, end in pairwise((0, *WINDOWS))]

    def add(self, value: FeatureValue, favoured: bool) -> None:
        """Count one record: the attribute's value (None: of no group), and whether the answer was favourable."""
        self._seen += 1
        if self._seen <= self._warm_up:
            if self._numeric and isinstance(value, int | float):
                self._first.append(float(value))
            return
        group = self._group(value)
        if group is None:
            return
        gone = self._push(2 * group + favoured)
        if gone is not None and not self._suspect:
            _count(self._before, gone, 1)

    def _push(self, code: int) -> int | None:
        gone: int | None = code
        for segment in self._segments:
            if gone is None:
                break
            gone = segment.add(gone)
        return gone

    def _group(self, value: FeatureValue) -> int | None:
        if self._edges is None and self._numeric:
            self._edges, self._first = quarters(self._first), []
        if self._edges is not None and isinstance(value, int | float):
            name = range_name(self._edges, bisect_right(self._edges, float(value)))
        else:
            text = category(value)
            if text is None:
                return None
            name = text
        if name not in self._groups and len(self._groups) >= MOST_GROUPS:
            name = POOLED
        return self._groups.setdefault(name, len(self._groups))

    def look(self, records: int) -> Verdict | None:
        """How the groups stand, ``records`` after the last look; None while fewer than two can be judged."""
        verdict = min(self._verdicts(), key=lambda found: (found.p_value, found.ratio), default=None)
        if verdict is not None:
            verdict = verdict._replace(p_value=min(1.0, len(WINDOWS) * verdict.p_value))
        self._suspect = verdict is not None and verdict.p_value <= SUSPECT and verdict.effect >= SUSPECT_EFFECT
        if len(self._ages.update(np.array([self._suspect]), records)):
            self._before = []
        return verdict

    def _verdicts(self) -> Iterator[Verdict]:
        """One of each window that can be judged."""
        names, newer = list(self._groups), list[Counts]()
        for index, segment in enumerate(self._segments):
            if not segment.is_full:
                return
            counts = _total([each.counts for each in self._segments[: index + 1]])
            reference = _total([*(each.counts for each in self._segments[index + 1 :]), self._before])
            if sum(n for _, n in reference) >= WINDOWS[index] * self._unit:
                verdict = judge(names, counts, reference, newer)
                if verdict is not None:
                    yield verdict
            newer.append(counts)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Of each group that is in the longest window: (favourable answers, answers)."""
        counted = zip(self._groups, _total([segment.counts for segment in self._segments]), strict=False)
        return {name: (good, n) for name, (good, n) in counted if n}

    def state(self) -> bytes:
        """All state, as MessagePack."""
        return msgspec.msgpack.encode(
            _State(
                list(self._groups),
                self._edges,
                self._first,
                self._seen,
                [code for segment in reversed(self._segments) for code in segment.codes],
                self._before,
                self._ages.pack(),
                self._suspect,
            )
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._groups = {name: index for index, name in enumerate(held.groups)}
        self._edges, self._first, self._seen = held.edges, held.first, held.seen
        self._before, self._suspect = held.before, held.suspect
        self._ages.unpack(held.ages)
        self._segments = self._no_segments()
        for code in held.window:
            self._push(code)


def favourable(pipeline: Pipeline) -> str | None:
    """The decision that people hope for; None where there are no classes."""
    if pipeline.favourable is not None or not pipeline.classes:
        return pipeline.favourable
    return pipeline.classes[-1]


def _count(counts: Counts, code: int, by: int) -> None:
    group, good = divmod(code, 2)
    while len(counts) <= group:
        counts.append([0, 0])
    counts[group][0] += by * good
    counts[group][1] += by


def _total(parts: Sequence[Counts]) -> Counts:
    """Counts of all ``parts`` together."""
    groups = max(map(len, parts), default=0)
    return [
        [sum(part[group][column] for part in parts if group < len(part)) for column in (0, 1)]
        for group in range(groups)
    ]


def quarters(values: Sequence[float]) -> list[float]:
    """Edges that part ``values`` into four groups of about equal size; fewer where values repeat."""
    if not values:
        return []
    return sorted({float(edge) for edge in np.quantile(values, (0.25, 0.5, 0.75), method="nearest")})


def range_name(edges: Sequence[float], index: int) -> str:
    """The name of the group of values from edge ``index`` − 1 on, up to below edge ``index``."""
    low = f"{edges[index - 1]:g}" if index else ""
    high = f"{edges[index]:g}" if index < len(edges) else ""
    return f"{low}…{high}" if low or high else "(any)"
