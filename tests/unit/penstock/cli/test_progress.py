"""Whether a fit is under way, from the chain of decisions."""

from __future__ import annotations

import pytest

from penstock.cli.progress import Progress
from penstock.clock import VirtualClock
from penstock.events import Decision, Step, encode
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Message
from penstock.spec import Numeric, Pipeline

PIPELINE = Pipeline(name="p", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))


@pytest.mark.parametrize("end", ["trained", "failed", "cancelled"])
def test_a_fit_is_under_way_until_its_outcome_whatever_else_names_its_run(end: Step) -> None:
    log = MemoryLog(VirtualClock(), topic_configs(1))
    progress = Progress(log, PIPELINE)

    def decided(step: Step) -> bool:
        decision = Decision(
            seq=0, run_id="r1", step=step, event_time_ms=0, record_id="0", trigger="drift:d", reason="", generation=0
        )
        log.append([Message("decisions", b"r1", encode(decision))])
        return progress.fitting()

    assert not progress.fitting()
    assert not decided("triggered")
    assert decided("collected")
    assert decided("not_started")
    assert not decided(end)
