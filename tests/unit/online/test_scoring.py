from __future__ import annotations

import pytest

from online.prior import PriorModel
from online.scoring import decide, score_requests
from penstock.errors import ArtifactError
from penstock.events import Request
from penstock.models.slot import Canary, Loaded, Serving
from penstock.spec import Numeric, Pipeline

BINARY = Pipeline(name="b", task="binary", target="y", classes=("no", "yes"), features=(Numeric("a"),), threshold=0.4)
MULTI = Pipeline(name="m", task="multiclass", target="y", classes=("z", "b", "c"), features=(Numeric("a"),))
REGRESSION = Pipeline(name="r", task="regression", target="y", features=(Numeric("a"),))


class Scripted:
    """Answers ``weight`` × feature a; counts its calls."""

    def __init__(self, weight):
        self.weight = weight
        self.calls = []

    def score_many(self, rows):
        self.calls.append(len(rows))
        return [self.weight * row["a"] for row in rows]


def test_decisions():
    assert decide(BINARY, 0.4) == "yes"
    assert decide(BINARY, 0.39) == "no"
    assert decide(MULTI, {"b": 0.5, "c": 0.3, "z": 0.2}) == "b"
    assert decide(MULTI, {"b": 0.4, "c": 0.2, "z": 0.4}) == "z"
    assert decide(REGRESSION, -3.5) == -3.5


def requests(n):
    return [(Request(id=f"r{i}", features={"a": i / 10}, event_time_ms=1000 + i), 5) for i in range(n)]


def test_each_model_is_asked_once_per_batch():
    champion, other = Scripted(1.0), Scripted(0.5)
    serving = Serving(3, Loaded("v7", "batch", champion), (Loaded("online", "online", other, 400),))
    predictions = score_requests(BINARY, serving, requests(6))
    assert champion.calls == other.calls == [6]
    assert [p.score for p in predictions] == [i / 10 for i in range(6)]
    assert [p.decision for p in predictions] == ["no"] * 4 + ["yes"] * 2
    assert all(p.version == "v7" and p.generation == 3 and p.role == "champion" for p in predictions)
    assert all(p.snapshot is None for p in predictions)
    assert predictions[4].shadow == {"online": 0.2}
    assert predictions[4].event_time_ms == 1004
    assert predictions[4].entity == "r4"


def test_absent_times_and_entities_have_their_defaults():
    serving = Serving(0, Loaded("online", "online", Scripted(1.0), 200))
    batch = [(Request(id="r", entity="e", features={"a": 0.0}), 77)]
    prediction = score_requests(BINARY, serving, batch)[0]
    assert (prediction.entity, prediction.event_time_ms, prediction.snapshot) == ("e", 77, 200)


def test_event_time_zero_is_a_time():
    serving = Serving(0, Loaded("online", "online", Scripted(1.0), 0))
    prediction = score_requests(BINARY, serving, [(Request(id="r", features={"a": 0.0}, event_time_ms=0), 77)])[0]
    assert prediction.event_time_ms == 0
    assert prediction.snapshot == 0


def test_multiclass_scores_stand_in_their_own_field():
    serving = Serving(0, Loaded("online", "prior", PriorModel(MULTI), 0))
    prediction = score_requests(MULTI, serving, requests(1))[0]
    assert prediction.score is None
    assert prediction.scores == {"z": 1 / 3, "b": 1 / 3, "c": 1 / 3}
    assert prediction.decision == "z"


def test_no_requests_no_calls():
    model = Scripted(1.0)
    assert score_requests(BINARY, Serving(0, Loaded("v", "batch", model)), []) == []
    assert model.calls == []


class Failing:
    def score_many(self, rows):
        raise ValueError("no")


def calmly(loaded, rows):
    try:
        return loaded.model.score_many(rows)
    except ValueError:
        return None


def test_the_canary_answers_its_entities_and_each_model_is_asked_once():
    champion, canary, online = Scripted(1.0), Scripted(0.5), Scripted(0.25)
    shadows = (Loaded("online", "online", online, 400), Loaded("v8", "batch", canary))
    serving = Serving(3, Loaded("v7", "batch", champion), shadows, Canary("v8", 0.5, "run"))
    predictions = score_requests(BINARY, serving, requests(40))
    assert champion.calls == canary.calls == online.calls == [40]
    assert {p.role for p in predictions} == {"champion", "canary"}
    for prediction in predictions:
        served, other = ("v8", "v7") if prediction.role == "canary" else ("v7", "v8")
        assert (prediction.role == "canary") == serving.canary.answers(prediction.entity)
        assert (prediction.version, prediction.generation, set(prediction.shadow)) == (served, 3, {"online", other})
    scores = {p.version: p.score / p.features["a"] for p in predictions[1:]}
    assert scores == pytest.approx({"v7": 1.0, "v8": 0.5})


def test_a_canary_that_cannot_score_leaves_its_entities_to_the_champion():
    serving = Serving(
        3, Loaded("v7", "batch", Scripted(1.0)), (Loaded("v8", "batch", Failing()),), Canary("v8", 1.0, "")
    )
    predictions = score_requests(BINARY, serving, requests(3), calmly)
    assert [(p.version, p.role, p.shadow) for p in predictions] == [("v7", "champion", {})] * 3


def test_the_first_fallback_that_can_score_answers_and_none_is_asked_twice():
    online, prior = Scripted(0.25), Scripted(0.0)
    shadow = Loaded("online", "online", online, 400)
    fallbacks = (Loaded("v6", "batch", Failing()), shadow, Loaded("prior", "prior", prior))
    serving = Serving(3, Loaded("v7", "batch", Failing()), (shadow,), None, fallbacks)
    predictions = score_requests(BINARY, serving, requests(2), calmly)
    assert [(p.version, p.role, p.generation, p.snapshot, p.shadow) for p in predictions] == [
        ("online", "champion", 3, 400, {})
    ] * 2
    assert (online.calls, prior.calls) == ([2], [])


def test_without_anybody_who_can_score_there_is_no_answer():
    with pytest.raises(ArtifactError, match="model v7 and all that stand in for it cannot score"):
        score_requests(BINARY, Serving(3, Loaded("v7", "batch", Failing())), requests(1), calmly)


def test_scores_that_are_not_finite_are_no_scores():
    class Infinite:
        def score_many(self, rows):
            return [float("nan") for _ in rows]

    with pytest.raises(ArtifactError, match="not one finite score per row"):
        score_requests(BINARY, Serving(0, Loaded("v", "batch", Infinite())), requests(2))
