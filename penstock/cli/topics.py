"""``penstock topics create``: the log's topics, made before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Annotated

import typer

from penstock.cli.context import of
from penstock.cli.installation import make_folder
from penstock.cli.kafka import kafka_options
from penstock.clock import SystemClock
from penstock.errors import LogError, UnknownTopicError
from penstock.log.open import open_log, topic_configs
from penstock.log.port import Log, TopicConfig

app = typer.Typer(help="The topics of a pipeline in the log.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """The topics of a pipeline in the log."""


@app.command("create")
def create(
    ctx: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Create nothing; exit 3 unless all fit.")] = False,
) -> None:
    """Create the topics that are missing. Exit 3 if one has another number of partitions (nothing is created then)."""
    context = of(ctx)
    pipeline = context.pipeline()
    configs = topic_configs(pipeline.partitions)
    kafka = kafka_options(context.settings, pipeline.name)
    if kafka is None:
        make_folder(context.data_dir)
    else:
        kafka = replace(kafka, client="kafka-python")  # it knows soonest that a broker is away
    with closing(open_log(context.settings.log, context.data_dir, pipeline.name, SystemClock(), kafka)) as log:
        missing = [config.name for config in configs if not _is_there(log, config)]
        if check and missing:
            raise LogError(
                f"{pipeline.name}: no such topics: {', '.join(missing)}; create them with `penstock topics create`"
            )
        log.ensure_topics(configs)
    there = [config.name for config in configs if config.name not in missing]
    context.show({"pipeline": pipeline.name, "created": missing, "there": there}, _text(configs, missing))


def _is_there(log: Log, config: TopicConfig) -> bool:
    try:
        log.partitions(config.name)
    except UnknownTopicError:
        return False
    return True


def _text(configs: Sequence[TopicConfig], created: Sequence[str]) -> str:
    lines = [
        f"{'created' if config.name in created else 'there':<8} {config.name}  {config.partitions} "
        f"partition{'' if config.partitions == 1 else 's'}"
        for config in configs
    ]
    return "\n".join(lines)
