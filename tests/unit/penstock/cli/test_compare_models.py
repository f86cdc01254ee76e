"""Models side by side."""

import pickle
import random

import pytest

from online.committee import Committee
from penstock.cli.compare_models import compared_models, members_alone
from penstock.cli.evaluation import History, Rows, Scored
from penstock.cli.report import build_report
from penstock.events import Example, Prediction
from penstock.spec import Categorical, Numeric, Pipeline

FEATURES = (Numeric("x"), Categorical("c"))
PIPELINES = {
    "binary": Pipeline(name="toy", task="binary", target="y", features=FEATURES, classes=("0", "1"), tier="light"),
    "multiclass": Pipeline(
        name="toy", task="multiclass", target="y", features=FEATURES, classes=("0", "1", "2"), tier="light"
    ),
    "regression": Pipeline(name="toy", task="regression", target="y", features=FEATURES, tier="light"),
}


def history(pipeline, rows):
    random_ = random.Random(4)
    scored = []
    for row in range(rows):
        x = random_.gauss(0.0, 1.0)
        value = x if pipeline.task == "regression" else str(int(x > 0))
        score = 0.5
        shares = (
            {"scores": dict.fromkeys(pipeline.classes, 1 / 3)} if pipeline.task == "multiclass" else {"score": score}
        )
        prediction = Prediction(
            id=str(row),
            entity=str(row),
            event_time_ms=row,
            features={"x": x, "c": random_.choice("ab")},
            version="online",
            generation=0,
            snapshot=max(0, row - 5),
            decision=0.5 if pipeline.task == "regression" else "0",
            **shares,
        )
        example = Example(id=str(row), prediction=prediction, value=value, label_time_ms=row)
        scored.append(Scored(row, example, row))
    return History(Rows(list(range(rows)), {}), scored, [], [], [], [], rows, 0)


@pytest.mark.parametrize("task", PIPELINES)
def test_every_member_is_scored_on_the_same_rows(task):
    pipeline = PIPELINES[task]
    entries = members_alone(pipeline, history(pipeline, 300))
    assert [entry["name"] for entry in entries] == ["committee", *Committee(pipeline).members]
    assert {entry["rows"] for entry in entries} == {299}
    quality = "mae" if task == "regression" else "log_loss"
    assert all(entry[quality] is not None for entry in entries)
    if task == "binary":
        assert entries[0]["accuracy"] > 0.8


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_score_nobody(rows):
    pipeline = PIPELINES["binary"]
    assert {entry["rows"] for entry in members_alone(pipeline, history(pipeline, rows))} == {0}


def test_asking_the_members_changes_nothing():
    pipeline = PIPELINES["binary"]
    committee = Committee(pipeline)
    assert committee.member_scores({"x": 1.0, "c": "a"}) == {}
    for item in history(pipeline, 50).scored:
        committee.learn_one(item.example.prediction.features, item.example.value)
    before = pickle.dumps(committee)
    assert set(committee.member_scores({"x": 1.0, "c": None})) == set(committee.members)
    assert pickle.dumps(committee) == before


def test_what_was_served_and_the_baselines():
    report = build_report(PIPELINES["binary"], history(PIPELINES["binary"], 20), None, 1.0, None)
    kinds = [entry["kind"] for entry in compared_models(report)]
    assert kinds[:2] == ["served", "online"]
    assert kinds.count("baseline") >= 2
