"""Whether groups are treated alike: demographic parity of all decisions, equal opportunity of labelled ones."""

from __future__ import annotations

import msgspec

from online.detectors.base import Batch
from online.disparate_impact import LEAST_GROUP
from online.fairness import GroupRates, favourable
from penstock.events import Example, Finding
from penstock.spec import Date, Pipeline


class _Protected:
    """The group rates of every protected attribute, all about the same favourable decision."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.favourable = favourable(pipeline)
        names = [name for name in pipeline.protected if not isinstance(pipeline.feature(name), Date)]
        self.rates = [GroupRates(pipeline, name) for name in names if self.favourable is not None]

    def findings(self, detector: str, difference: str, records: int) -> list[Finding]:
        return [_finding(rates, detector, difference, records) for rates in self.rates]

    def state(self) -> bytes:
        return msgspec.msgpack.encode((self.favourable, {rates.attribute: rates.state() for rates in self.rates}))

    def restore(self, state: bytes) -> None:
        """Attributes that were not protected then start afresh; all do if another decision was the favourable one."""
        about, states = msgspec.msgpack.decode(state, type=tuple[str | None, dict[str, bytes]])
        for rates in self.rates:
            if about == self.favourable and rates.attribute in states:
                rates.restore(states[rates.attribute])


def _finding(rates: GroupRates, detector: str, difference: str, records: int) -> Finding:
    verdict, counts = rates.look(records), rates.counts()
    shares = {name: good / n for name, (good, n) in counts.items() if n >= LEAST_GROUP}
    measures: dict[str, float] = {f"n:{name}": n for name, (_, n) in counts.items()}
    measures |= {f"rate:{name}": share for name, share in shares.items()}
    measures["groups_too_small"] = len(counts) - len(shares)
    if len(shares) > 1:
        low, high = min(shares.values()), max(shares.values())
        measures[difference] = high - low
        if high > 0.0:
            measures["disparate_impact"] = low / high
    finding = Finding(
        detector=detector,
        kind="fairness",
        feature=rates.attribute,
        statistic=1.0,
        effect=0.0,
        p_value=1.0,
        n_reference=0,
        n_current=sum(n for _, n in counts.values()),
        measures=measures,
    )
    if verdict is None:
        return finding
    return msgspec.structs.replace(
        finding,
        statistic=verdict.ratio,
        effect=min(1.0, verdict.effect),
        p_value=verdict.p_value,
        n_reference=sum(n for _, n in verdict.reference),
        n_current=sum(n for _, n in verdict.counts),
        reference_mean=verdict.limit,
        current_mean=verdict.ratio,
    )


class DemographicParity:
    """Of each protected attribute, how often each group is answered favourably (`GroupRates`).

    ``statistic`` is the disparate impact ratio of the pair of groups that stands worst, ``effect`` how far it lies
    below its limit (``reference_mean``: what it was, or 0.85 where that is 0.80 to 0.85), ``p_value`` over all pairs
    and windows. ``measures`` has the longest window's counts (``n:…``) and rates (``rate:…``) per group,
    ``disparate_impact`` (least / greatest rate), ``demographic_parity_difference`` (greatest − least), and
    ``groups_too_small``: how many have fewer than 100 records, and so no rate. With fewer than two large ones nothing
    is judged: statistic 1, p-value 1.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._protected = _Protected(pipeline)

    def update(self, batch: Batch) -> list[Finding]:
        """Take ``batch``; one finding per protected attribute."""
        for rates in self._protected.rates:
            for row, decision in zip(batch.rows, batch.decisions, strict=True):
                if decision is not None:
                    rates.add(row[rates.attribute], decision == self._protected.favourable)
        return self._protected.findings("demographic_parity", "demographic_parity_difference", len(batch.rows))

    def reset(self) -> None:
        """Nothing is forgotten: groups must be treated alike across promotions."""

    def turn(self) -> None:
        """Its reference is always what came before its window."""

    def state(self) -> bytes:
        """All windows and references."""
        return self._protected.state()

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned; see `DemographicParity`."""
        self._protected.restore(state)


class EqualOpportunity:
    """As `DemographicParity`, over examples whose label was the favourable one (Hardt, Price & Srebro, 2016).

    ``measures`` has ``equal_opportunity_difference``. Answers count by what was decided when they were served.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._protected = _Protected(pipeline)
        self._since_look = 0

    def update(self, example: Example) -> None:
        """Count one labelled example of the champion."""
        if example.value != self._protected.favourable:
            return
        self._since_look += 1
        for rates in self._protected.rates:
            value = example.prediction.features[rates.attribute]
            rates.add(value, example.prediction.decision == self._protected.favourable)

    def look(self) -> list[Finding]:
        """One finding per protected attribute."""
        records, self._since_look = self._since_look, 0
        return self._protected.findings("equal_opportunity", "equal_opportunity_difference", records)

    def state(self) -> bytes:
        """All windows and references."""
        return msgspec.msgpack.encode((self._since_look, self._protected.state()))

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        self._since_look, held = msgspec.msgpack.decode(state, type=tuple[int, bytes])
        self._protected.restore(held)
