"""The scorer stage: requests in, predictions out. It has no state: what it serves is a fold of ``models``."""

from __future__ import annotations

from collections.abc import Sequence

from online.scoring import score_requests
from penstock.events import Request
from penstock.models.slot import ServedModels
from penstock.models.watch import Watch, topic_of
from penstock.runtime.stage import Input, Output
from penstock.spec import Pipeline


class Scorer:
    """Scores the requests of one partition with whatever is served when a batch arrives.

    Which version scored which request is timing; it is decided here once and written into the prediction. So is what
    ``watch`` sees of the versions' health.
    """

    def __init__(self, pipeline: Pipeline, served: ServedModels, watch: Watch) -> None:
        self._pipeline = pipeline
        self._served = served
        self._watch = watch

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        """One prediction per request, keyed by entity. A repeated id is scored again (the joiner counts the first)."""
        requests = []
        for topic, _, offset, timestamp_ms, event in inputs:
            if not isinstance(event, Request):
                raise TypeError(f"scorer: {topic}/{offset} is a {type(event).__name__}")
            requests.append((event, timestamp_ms))
        # One reading of the reference: a swap in between cannot mix two versions in one batch.
        serving = self._served.serving
        predictions = score_requests(self._pipeline, serving, requests, self._watch.asking(serving))
        self._watch.answered(serving, predictions)
        self._served.remember([request.features for request, _ in requests])
        new_tuple = tuple.__new__  # half the price of calling a named tuple's class
        outputs = [new_tuple(Output, ("predictions", prediction.entity, prediction)) for prediction in predictions]
        if inputs:
            outputs += [Output(topic_of(said), said.id, said) for said in self._watch.news(inputs[-1].timestamp_ms)]
        return outputs
