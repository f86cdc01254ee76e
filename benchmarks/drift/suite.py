"""All contestants over all streams: figures per family, and what the product got wrong, stream by stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from benchmarks.drift.contestants import DUMMY, PRODUCT, ours, theirs
from benchmarks.drift.frouros_peer import Frouros
from benchmarks.drift.product import Opening
from benchmarks.drift.scoring import Change, Figures, Judged, judge, random_alarms, summary
from benchmarks.drift.streams import Family, Stream
from benchmarks.output import say

#: Draws of the dummy per stream: its figures are about chance itself, not about one draw.
DUMMIES = 20
#: A single detector is a rival in delay if it finds this share of what the product finds.
RIVAL_SHARE = 0.95


class Played(NamedTuple):
    """A stream without its rows, and where each contestant alarmed."""

    drifts: tuple[Change, ...]
    rows: int
    seed: int
    alarms: dict[str, list[int]]

    def judged(self, contestant: str) -> Judged:
        """A contestant that had nothing to say did not alarm."""
        return judge(self.alarms.get(contestant, []), self.drifts, self.rows)


class Suite:
    """Collects what happened, by family."""

    def __init__(self) -> None:
        self.wrong: list[dict[str, Any]] = []
        self._played: dict[Family, list[Played]] = {}

    def run(self, streams: Iterable[Stream], frouros: Frouros | None, slow_seeds: int) -> None:
        """Let everybody work on ``streams``; detectors that are slow take part in the first ``slow_seeds`` seeds."""
        for stream in streams:
            found, opened, errors = ours(stream)
            slow = stream.seed < slow_seeds or (slow_seeds > 0 and stream.family.startswith("real"))
            found |= theirs(stream, errors, frouros, slow)
            played = Played(stream.drifts, len(stream.rows), stream.seed, found)
            self._played.setdefault(stream.family, []).append(played)
            self._note(stream, played.judged(PRODUCT), opened)

    def _note(self, stream: Stream, judged: Judged, opened: Sequence[Opening]) -> None:
        delays = ", ".join("missed" if delay is None else str(delay) for delay in judged.delays)
        say(f"{stream.family}: {stream.name}, seed {stream.seed}: delays {delays}; {len(judged.false)} false")
        false = [opening._asdict() for opening in opened if opening.row in judged.false]
        missed = [drift.row for drift, delay in zip(stream.drifts, judged.delays, strict=True) if delay is None]
        if false or missed:
            named = {"family": stream.family, "stream": stream.name, "seed": stream.seed}
            self.wrong.append({**named, "missed": missed, "false": false})

    def figures(self) -> dict[Family, dict[str, Figures]]:
        """Per family and contestant; one of the product's own counts on every stream, others where they took part."""
        return {family: _figures(played) for family, played in self._played.items()}

    def product(self, families: Sequence[Family]) -> Figures:
        """The product over several families together."""
        return summary([played.judged(PRODUCT) for family in families for played in self._played.get(family, [])])


def _figures(played: Sequence[Played]) -> dict[str, Figures]:
    names = dict.fromkeys(name for each in played for name in each.alarms)
    found = {
        name: summary([each.judged(name) for each in played if name.startswith(PRODUCT) or name in each.alarms])
        for name in names
    }
    return found | {DUMMY: _dummy(played)}


def _dummy(played: Sequence[Played]) -> Figures:
    """As many alarms as the product's over all of these streams, at random, averaged over many draws."""
    rate = sum(len(each.alarms[PRODUCT]) for each in played) / sum(each.rows for each in played)
    draws = [
        judge(random_alarms(rate, each.rows, DUMMIES * number + draw), each.drifts, each.rows)
        for number, each in enumerate(played)
        for draw in range(DUMMIES)
    ]
    return summary(draws)._replace(drifts=sum(len(each.drifts) for each in played), streams=len(played))


def rival(contestants: dict[str, Figures]) -> tuple[str, Figures] | None:
    """River's quickest single detector that finds about as much with no more false alarms; None if there is none."""
    product = contestants[PRODUCT]
    rivals = [
        (figures.median_delay, name, figures)
        for name, figures in contestants.items()
        if name.startswith("River")
        and figures.median_delay is not None
        and figures.false_per_10k <= product.false_per_10k
        and figures.detection_rate >= RIVAL_SHARE * product.detection_rate
    ]
    return min(rivals)[1:] if rivals else None
