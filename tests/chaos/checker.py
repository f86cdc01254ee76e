"""What the log must hold when everything is over, counted from the log alone."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from penstock.spec import load_pipeline
from tests.system.folding import check_folds, stored_learner
from tests.system.log_reader import LogReader

CREDIT = Path(__file__).parents[2] / "pipelines" / "credit.py"
#: A step of a run that happens at most once.
ONCE = ("trained", "registered", "shadow", "promoted", "rejected", "failed", "settled")


def verdict(data: Path, events: int) -> dict[str, Any]:
    """The counts of the report; all is well where ``faultless`` says so."""
    log = LogReader(data / "log.db", "credit")
    requests = [value["id"] for value in log.values("requests")]
    predictions = [value["id"] for value in log.values("predictions")]
    labels = [value["id"] for value in log.values("labels")]
    examples = [value["id"] for value in log.values("examples") if not value.get("revision")]
    drift = [value.decode() for value in log.raw("drift")]  # an incident is written when it opens and when it closes
    pipeline = load_pipeline(CREDIT)
    try:
        check_folds(pipeline, data)
        difference = ""
    except AssertionError as error:
        difference = str(error)[:300] or "the folds differ"
    return {
        "requests": len(requests),
        "missing": (events - len(set(requests)))
        + len(set(requests) - set(predictions))
        + len(set(labels) & set(requests) - set(examples)),
        "duplicates": sum(map(_repeats, (requests, predictions, labels, examples, drift)))
        + _broken_links(log.raw("decisions"))
        + _repeated_steps(log.values("decisions")),
        "double_learned": stored_learner(pipeline, data).committee.learned - len(set(examples)),
        "bit_identical": not difference,
        "difference": difference,
        "dead_letters": log.count("dead-letters"),
        "runs": len({value["run_id"] for value in log.values("decisions") if value["step"] == "trained"}),
    }


def faultless(found: dict[str, Any]) -> bool:
    """Whether nothing is lost, nothing is double, and every fold agrees."""
    counts = ("missing", "duplicates", "double_learned", "dead_letters")
    return found["bit_identical"] and not any(found[name] for name in counts)


def _repeats(ids: list[str]) -> int:
    return len(ids) - len(set(ids))


def _broken_links(decisions: list[bytes]) -> int:
    """Gaps in the numbers, and hashes that are not those of what stands before or in the decision."""
    broken, before = 0, ""
    for number, raw in enumerate(decisions):
        decision = json.loads(raw)
        own = decision.get("hash", "")
        plain = raw.replace(f',"hash":"{own}"'.encode(), b"")
        blank = raw.replace(f'"hash":"{own}"'.encode(), b'"hash":""')
        hashes = {hashlib.sha256(data).hexdigest() for data in (plain, blank)}
        broken += decision["seq"] != number or decision.get("previous_hash", "") != before or own not in hashes
        before = own
    return broken


def _repeated_steps(decisions: list[dict[str, Any]]) -> int:
    steps = Counter((value["run_id"], value["step"]) for value in decisions if value["step"] in ONCE)
    return sum(count - 1 for count in steps.values())
