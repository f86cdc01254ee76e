"""The page: one static file, well-formed, with nothing that is fetched or run."""

import re
from xml.etree import ElementTree

from penstock.cli.compare_models import compared_models
from penstock.cli.evaluation import History, Rows
from penstock.cli.html_report import page
from penstock.cli.report import build_report
from penstock.spec import Numeric, Pipeline
from producers.drifts import TrueDrift

XHTML = "{http://www.w3.org/1999/xhtml}"
HOSTILE = "<img src='http://evil'/> & \"co\""
PIPELINE = Pipeline(name="toy", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))
EMPTY = History(Rows([], {}), [], [], [], [], [], 0, 0)


def shown(feature=None, name="as declared", drifts=None):
    report = build_report(PIPELINE, EMPTY, drifts, 1.0, None)
    incident = {"position": 0, "closed_position": None, "kind": "covariate", "level": "warning", "detector": "ks"}
    report["drift"] = [{**incident, "feature": feature, "statistic": 0.3, "p_value": 1e-9}]
    entry = {
        "name": name,
        "method": "run",
        "elapsed_s": 1.0,
        "incidents": [{**incident, "feature": feature}],
        "critical": 0,
        "detection": None,
        "retrainings": [],
        "promotions": [],
        "accuracy": None,
    }
    compared = {"found_within_rows": 100, "variants": [entry], "models": compared_models(report)}
    return page(PIPELINE, EMPTY, report, compared)


def test_an_empty_run_is_a_page():
    root = ElementTree.fromstring(shown())
    assert root.get("lang") == "en"
    assert root.find(f"{XHTML}head/{XHTML}title").text == "Backtest of toy"
    assert [h.text for h in root.iter(f"{XHTML}h1")] == ["Backtest of toy"]
    assert all(table.find(f"{XHTML}caption") is not None for table in root.iter(f"{XHTML}table"))
    assert all(th.get("scope") in ("col", "row") for th in root.iter(f"{XHTML}th"))


def test_nothing_is_fetched_and_nothing_runs():
    text = shown()
    assert "<script" not in text
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import""", text)
    assert "default-src 'none'" in text


def test_names_are_escaped():
    text = shown(feature=HOSTILE, name=HOSTILE)
    assert "<img" not in text
    rows = [th.text for th in ElementTree.fromstring(text).iter(f"{XHTML}th")]
    assert HOSTILE in rows


def test_it_says_what_found_means_only_where_drifts_are_known():
    assert "No true drifts are known" in shown()
    assert "at most 100 rows after" in shown(drifts=[TrueDrift(5, "concept")])
