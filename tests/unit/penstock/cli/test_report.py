"""The report is a function of the log: these logs are written by hand."""

import pytest

from penstock.cli.evaluation import last_known_labels, read_history
from penstock.cli.report import CLASSIFICATION, REGRESSION, build_report, summary
from penstock.clock import VirtualClock
from penstock.events import Decision, Drift, Example, Label, ModelRecord, Prediction, Request, encode
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Message
from penstock.spec import Numeric, Pipeline
from producers.drifts import TrueDrift

PIPELINE = Pipeline(name="toy", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))


class Written:
    """A log written record by record at given times."""

    def __init__(self, pipeline: Pipeline = PIPELINE) -> None:
        self.pipeline = pipeline
        self.clock = VirtualClock()
        self.log = MemoryLog(self.clock, topic_configs(1))

    def at(self, now_ms: int, topic: str, event, raw: bytes | None = None) -> None:
        self.clock.advance_to_ms(now_ms)
        self.log.append([Message(topic, b"k", raw if raw is not None else encode(event), 0)])

    def labelled(self, row: int, score: float, value: str, *, version="online", generation=0, shadow=None) -> None:
        identifier = str(row)
        prediction = Prediction(
            id=identifier,
            entity=identifier,
            event_time_ms=row * 1000,
            features={"x": 0.0},
            version=version,
            generation=generation,
            score=score,
            decision="1" if score >= 0.5 else "0",
            shadow=shadow or {},
        )
        self.at(row * 1000, "requests", Request(id=identifier, features={"x": 0.0}))
        self.at(row * 1000, "predictions", prediction)
        self.at(row * 1000 + 1, "labels", Label(id=identifier, value=value))
        example = Example(id=identifier, prediction=prediction, value=value, label_time_ms=row * 1000 + 1)
        self.at(row * 1000 + 1, "examples", example)

    def report(self, true_drifts=None):
        history = read_history(self.log, self.pipeline)
        return build_report(self.pipeline, history, true_drifts, elapsed_s=2.0, peak_rss_mb=100.0)


def test_an_empty_log_gives_every_key_and_no_number():
    report = Written().report()
    assert report["events"] == report["labelled"] == report["dead_letters"] == 0
    assert all(report[name] is None for name in (*CLASSIFICATION, *REGRESSION, "baseline_accuracy", "baseline_mae"))
    assert report["drift"] == report["alarms"] == report["retrainings"] == report["promotions"] == []
    assert "no labelled rows" in summary(report)
    assert set(report["confidence_intervals"].values()) == set(report["fading"].values()) == {None}
    assert report["segments"] is report["fairness"] is None


def test_served_scores_and_baselines():
    written = Written()
    for row, (score, value) in enumerate([(0.9, "1"), (0.8, "1"), (0.3, "0"), (0.6, "0")]):
        written.labelled(row, score, value)
    report = written.report()
    assert report["accuracy"] == 0.75
    assert report["baseline_accuracy"] == pytest.approx(2 / 3)
    assert report["majority_accuracy"] == 0.5
    assert report["brier"] == pytest.approx((0.01 + 0.04 + 0.09 + 0.36) / 4)
    assert report["kappa_temporal"] == pytest.approx((0.75 - 2 / 3) / (1 / 3))
    assert report["calibration_error"] == pytest.approx((0.1 + 0.2 + 0.3 + 0.6) / 4)
    low, high = report["confidence_intervals"]["accuracy"]
    assert low < 0.75 < high
    assert report["confidence_intervals"]["mae"] is None
    assert report["fading"]["accuracy"] == 0.75
    assert report["roc_auc"] == 1.0
    assert report["mae"] is None
    assert report["events_per_second"] == 2.0
    assert "accuracy 0.750" in summary(report)


def test_the_delayed_baseline_knows_only_labels_that_had_arrived():
    written = Written()
    for row, value in enumerate(["1", "0", "0"]):
        written.labelled(row, 0.5, value)
    history = read_history(written.log, PIPELINE)
    assert last_known_labels(history) == [None, "1", "0"]


def test_positions_are_rows_and_broken_rows_count():
    written = Written()
    written.labelled(0, 0.9, "1")
    written.at(1000, "requests", None, raw=b"{broken")
    written.at(1000, "dead-letters", None, raw=b"{broken")
    written.labelled(2, 0.9, "1")
    drift = Drift(
        id="d",
        status="opened",
        kind="concept",
        level="warning",
        detector="adwin",
        statistic=0.2,
        effect=0.2,
        p_value=1e-9,
        record_id="0",
        event_time_ms=0,
        generation=0,
        seen=1,
        drift_score=0.2,
    )
    written.at(2500, "drift", drift)
    written.labelled(3, 0.9, "1")
    from msgspec.structs import replace

    written.at(3500, "drift", replace(drift, status="escalated", level="critical"))
    written.labelled(4, 0.9, "1")
    written.at(4500, "drift", replace(drift, status="closed"))
    report = written.report([TrueDrift(row=0, kind="concept")])
    assert (report["events"], report["labelled"], report["dead_letters"]) == (5, 4, 1)
    (incident,) = report["drift"]
    assert (incident["position"], incident["evidence_position"], incident["closed_position"]) == (2, 0, 4)
    assert incident["level"] == "critical"
    assert report["true_drifts"][0]["row"] == 0


def test_a_promotion_is_judged_on_the_rows_that_both_scored():
    written = Written()
    written.labelled(0, 0.4, "1")
    before = ModelRecord(slot="champion", version="online", kind="online", generation=0)
    model = ModelRecord(slot="champion", version="v1", kind="batch", generation=1, predecessor=before)
    shared = {"run_id": "r1", "event_time_ms": 0, "record_id": "0", "trigger": "concept", "generation": 1}
    written.at(500, "decisions", Decision(seq=0, step="triggered", reason="drift", **shared))
    written.at(700, "decisions", Decision(seq=1, step="promoted", reason="better", version="v1", model=model, **shared))
    for row in range(1, 5):
        value = "1" if row % 2 else "0"
        score = 0.9 if row % 2 else 0.1
        written.labelled(row, score, value, version="v1", generation=1, shadow={"online": 0.5})
    report = written.report()
    (promotion,) = report["promotions"]
    assert (promotion["version"], promotion["predecessor"], promotion["rows"]) == ("v1", "online", 4)
    assert promotion["served_accuracy"] == 1.0
    assert promotion["served_log_loss"] < promotion["predecessor_log_loss"]
    (run,) = report["retrainings"]
    assert (run["decision"], run["version"], run["position"], run["effective_position"]) == ("promoted", "v1", 0, 0)
    assert [m["version"] for m in report["models"]] == ["online", "v1"]


def test_regression_has_errors_instead_of_accuracies():
    pipeline = Pipeline(name="toy", task="regression", target="y", features=(Numeric("x"),))
    written = Written(pipeline)
    for row, value in enumerate([1.0, 2.0, 4.0]):
        prediction = Prediction(
            id=str(row),
            entity="e",
            event_time_ms=0,
            features={},
            version="online",
            generation=0,
            score=2.0,
            decision=2.0,
        )
        written.at(row, "requests", Request(id=str(row), features={}))
        written.at(row, "examples", Example(id=str(row), prediction=prediction, value=value, label_time_ms=0))
    report = written.report()
    assert report["mae"] == pytest.approx(1.0)
    assert report["baseline_mae"] == pytest.approx(1.5)
    assert report["accuracy"] is None
    assert "MAE" in summary(report)
