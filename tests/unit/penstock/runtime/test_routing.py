from __future__ import annotations

import pytest

from penstock.events import Label, encode
from penstock.runtime.routing import Router
from penstock.runtime.stage import Output
from penstock.topology import STAGES, TOPICS

EVENT = Label(id="a", value=1.0)


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_topic_that_a_stage_writes_is_routed_by_the_topology(stage: str) -> None:
    entry = STAGES[stage]
    messages = Router(entry).messages([Output(topic, "kéy", EVENT) for topic in entry.writes], 3)
    assert [message.topic for message in messages] == list(entry.writes)
    for message in messages:
        assert message.partition == (3 if TOPICS[message.topic].partitions is None else 0)
        assert (message.key, message.value) == ("kéy".encode(), encode(EVENT))


def test_a_topic_that_is_not_the_stages_is_refused() -> None:
    with pytest.raises(KeyError):
        Router(STAGES["monitor"]).messages([Output("decisions", "k", EVENT)], 0)
