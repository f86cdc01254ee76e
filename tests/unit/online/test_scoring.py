from __future__ import annotations

from online.prior import PriorModel
from online.scoring import decide, score_requests
from penstock.events import Request
from penstock.models.slot import Loaded, Serving
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
