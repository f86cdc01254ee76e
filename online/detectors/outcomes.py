"""All detectors that need labels, as the learner runs them."""

from __future__ import annotations

from online.detectors.concept import ErrorDetectors
from online.detectors.labelled import LabelledDetector
from online.detectors.performance import PerformanceDecay
from online.detectors.prior import LabelShift
from online.detectors.reference_model import ReferenceModels
from penstock.events import Example, Finding, Score
from penstock.spec import Pipeline


class OutcomeDetectors:
    """Concept drift, prior drift and performance decay of one partition's labelled examples, as one detector."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._detectors: tuple[LabelledDetector, ...] = (
            ErrorDetectors(pipeline),
            ReferenceModels(pipeline),
            LabelShift(pipeline),
            PerformanceDecay(pipeline),
        )

    def update(self, example: Example, online_score: Score) -> list[Finding]:
        """Count one champion example (revision 0); what fired now."""
        found: list[Finding] = []
        for detector in self._detectors:
            found += detector.update(example, online_score)
        return found

    def look(self) -> list[Finding]:
        """The newest finding of each signal. Changes nothing."""
        return [finding for detector in self._detectors for finding in detector.look()]

    def reset(self, generation: int) -> None:
        """A champion of a higher generation serves: its own examples are the reference."""
        for detector in self._detectors:
            detector.reset(generation)
