"""Records of the log as a table for a report: one column per feature, and what was said and what happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from penstock.contract import decoder_for
from penstock.errors import ContractError
from penstock.events import Example, Features, Prediction, Request
from penstock.log.port import Record
from penstock.spec import Numeric, Pipeline

#: Columns beside the features. A feature of the same name keeps it; these then get an underscore more.
SCORE, DECISION, OUTCOME = "score", "decision", "outcome"


class Columns(NamedTuple):
    """Names of the columns by what they hold."""

    numeric: list[str]
    categorical: list[str]


def table_of(pipeline: Pipeline, topic: str, records: Iterable[Record]) -> tuple[pd.DataFrame, int]:
    """A frame with one row per record that keeps its contract, and how many do not.

    Numeric features and scores are floats; the rest (dates too) are strings; missing values stay missing. Of multiclass
    scores there is one column per class.
    """
    decode = decoder_for(topic, pipeline)
    rows: list[dict[str, Any]] = []
    broken = 0
    for record in records:
        try:
            event = decode(record.value)
        except ContractError:
            broken += 1
            continue
        if isinstance(event, Request):
            rows.append(_features(pipeline, event.features))
        elif isinstance(event, Prediction):
            rows.append(_predicted(pipeline, event))
        elif isinstance(event, Example) and event.revision == 0:
            rows.append(_predicted(pipeline, event.prediction) | {_free(pipeline, OUTCOME): event.value})
    columns = columns_of(pipeline, topic)
    frame = pd.DataFrame(rows, columns=[*columns.numeric, *columns.categorical])
    for name in columns.numeric:
        frame[name] = pd.to_numeric(frame[name]).astype("float64")
    for name in columns.categorical:
        frame[name] = frame[name].map(str, na_action="ignore").astype("object")
    return frame, broken


def columns_of(pipeline: Pipeline, topic: str) -> Columns:
    """The columns that a table of ``topic`` has."""
    numeric = [feature.name for feature in pipeline.features if isinstance(feature, Numeric)]
    categorical = [feature.name for feature in pipeline.features if not isinstance(feature, Numeric)]
    if topic != "requests":
        score = _free(pipeline, SCORE)
        numeric += [f"{score} {name}" for name in pipeline.classes] if pipeline.task == "multiclass" else [score]
        if pipeline.task != "regression":
            categorical.append(_free(pipeline, DECISION))
    if topic == "examples":
        (numeric if pipeline.task == "regression" else categorical).append(_free(pipeline, OUTCOME))
    return Columns(numeric, categorical)


def _features(pipeline: Pipeline, features: Features) -> dict[str, Any]:
    return {feature.name: features[feature.name] for feature in pipeline.features}


def _predicted(pipeline: Pipeline, prediction: Prediction) -> dict[str, Any]:
    row = _features(pipeline, prediction.features)
    score = _free(pipeline, SCORE)
    served = prediction.served
    row |= {f"{score} {name}": share for name, share in served.items()} if isinstance(served, dict) else {score: served}
    if pipeline.task != "regression":
        row[_free(pipeline, DECISION)] = prediction.decision
    return row


def _free(pipeline: Pipeline, name: str) -> str:
    names = {feature.name for feature in pipeline.features}
    while name in names:
        name += "_"
    return name
