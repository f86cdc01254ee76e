from __future__ import annotations

import msgspec
import pytest

from penstock.topology import STAGES, TOPICS, StageEntry, Topic, partition_count, physical_name


def test_names_in_the_log_carry_pipeline_and_version() -> None:
    assert physical_name("credit", "dead-letters") == "credit.dead-letters.v1"


def test_partitions_are_the_pipelines_or_one() -> None:
    assert partition_count(TOPICS["requests"], 4) == 4
    assert partition_count(TOPICS["evidence"], 4) == 1


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_outputs_that_follow_an_inputs_partition_have_an_input_to_follow(stage: StageEntry) -> None:
    spread = {topic for topic in stage.writes if TOPICS[topic].partitions is None}
    assert not (spread and stage.reads) or any(TOPICS[topic].partitions is None for topic in stage.reads)


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_no_stage_consumes_what_it_writes(stage: StageEntry) -> None:
    """But for the retrainer's runner of effects, whose outcomes come back as commands."""
    own = set(stage.reads) & set(stage.writes)
    assert own == ({"commands"} if stage.name == "retrainer" else set())


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda topic: topic.name)
def test_what_is_kept_for_ever_is_what_people_ask_about_years_later(topic: Topic) -> None:
    assert (topic.retention_ms is None) == (topic.name in {"decisions", "models", "replays", "incident-reports"})
    assert (topic.cleanup == "compact") == (topic.name in {"models", "incident-reports"})


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda topic: topic.name)
def test_every_contract_is_one_that_can_be_decoded(topic: Topic) -> None:
    if topic.name == "dead-letters":
        assert topic.contract is None
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.Decoder(topic.contract).decode(b"[]")
