"""``penstock doctor``: checks the installation and says what to do."""

from __future__ import annotations

import importlib.util
import platform
import sqlite3
import sys
from collections.abc import Callable
from typing import NamedTuple

import typer

from penstock import __version__
from penstock.cli.context import Context, of
from penstock.cli.installation import log_of
from penstock.cli.store import open_store
from penstock.errors import PenstockError
from penstock.log.port import TopicPartition
from penstock.spec import Pipeline
from penstock.topology import TOPICS


class Check(NamedTuple):
    """One check: ``ok`` None means that it was left out, with the reason in ``detail``."""

    name: str
    ok: bool | None
    detail: str


def doctor(ctx: typer.Context) -> None:
    """Check Python, packages, data directory, log and pipeline. Exit 3 if something is wrong."""
    context = of(ctx)
    checks = [
        Check("penstock", True, f"{__version__} on Python {platform.python_version()}, {platform.machine()}"),
        Check("python", sys.version_info >= (3, 11), "3.11 or newer is needed"),
        Check("sqlite", sqlite3.sqlite_version_info >= (3, 35), f"{sqlite3.sqlite_version}; 3.35 or newer is needed"),
        _extra("retrain", ("sklearn", "skops", "mlflow")),
        _try("data directory", lambda: _writable(context)),
        _try(
            "settings", lambda: f"log {context.settings.log}, serving {context.settings.host}:{context.settings.port}"
        ),
        _try("API keys", lambda: _api_keys(context)),
        *_pipeline_checks(context),
    ]
    marks = {True: "ok", False: "FAILED", None: "-"}
    lines = [f"{marks[check.ok]:<7} {check.name}: {check.detail}" for check in checks]
    context.show([check._asdict() for check in checks], "\n".join(lines))
    if any(check.ok is False for check in checks):
        raise typer.Exit(3)


def _extra(name: str, modules: tuple[str, ...]) -> Check:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        return Check(f"extra {name}", None, f"{', '.join(missing)} not installed: pip install 'penstock[{name}]'")
    return Check(f"extra {name}", True, "installed")


def _try(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except (PenstockError, OSError) as error:
        return Check(name, False, str(error))


def _writable(context: Context) -> str:
    directory = context.data_dir
    directory.mkdir(parents=True, exist_ok=True)
    probe = directory / ".doctor"
    probe.write_text("ok")
    probe.unlink()
    return f"{directory} is writable"


def _api_keys(context: Context) -> str:
    """Who has a key and how changes are let in. Keys themselves are never shown."""
    from serving.roles import changes_by, load_keys

    keys = load_keys(context.settings)
    without = {
        "keys": "",
        "loopback": "; changes are taken from this machine alone",
        "off": "; no changes are taken: set PENSTOCK_API_KEYS",
    }
    return keys.masked() + without[changes_by(keys, context.settings.host)]


def _pipeline_checks(context: Context) -> list[Check]:
    try:
        path = context.pipeline_file()
    except PenstockError as error:
        return [Check("pipeline", None, str(error))]
    try:
        pipeline = context.pipeline()
    except PenstockError as error:
        return [Check("pipeline", False, str(error))]
    declared = Check("pipeline", True, f"{path}: {pipeline.name}, {pipeline.task}, {len(pipeline.features)} features")
    return [declared, _try("store", lambda: _store(context, pipeline)), _try("log", lambda: _held(context, pipeline))]


def _store(context: Context, pipeline: Pipeline) -> str:
    open_store(context.settings, pipeline)
    return context.settings.store_url or f"{context.data_dir} (PENSTOCK_STORE_URL is not set)"


def _held(context: Context, pipeline: Pipeline) -> str:
    """How far each topic goes: the sum of its partitions' ends. On Kafka, marks of transactions count too."""
    with log_of(context, pipeline) as log:
        ends = {
            topic: sum(log.bounds(TopicPartition(topic, number)).end for number in range(log.partitions(topic)))
            for topic in TOPICS
        }
    return "end offsets: " + ", ".join(f"{topic} {end}" for topic, end in ends.items())
