"""Bodies and answers of the management API: their shapes are what OpenAPI documents."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from penstock.events import Decision, Identifier
from serving.condition import Incident, NumberedAlert
from serving.verdict import Verdict
from serving.views import RunView, Switch, VersionView

REF = "#/components/schemas/"
Text = Annotated[str, msgspec.Meta(max_length=2000)]
Note = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
#: What a client calls its command by: one that is repeated under its id is carried out once.
CommandId = Annotated[str, msgspec.Meta(pattern="^(?!access-)[A-Za-z0-9._:-]{1,128}$")]


class ChangeBody(msgspec.Struct, frozen=True, kw_only=True):
    """What every change may say: why, and an ``id`` of the client's own, under which it may be repeated."""

    reason: Text = ""
    id: CommandId | None = None


class StartBody(ChangeBody, frozen=True, kw_only=True):
    """A run is wanted. ``model_id``: the pipeline's name, if given."""

    model_id: Identifier | None = None


class CreateBody(StartBody, frozen=True, kw_only=True):
    """A new version is wanted; ``note`` says what for, and stays with it as its reason."""

    note: Note


class RollbackBody(ChangeBody, frozen=True, kw_only=True):
    """``version``: one that served before; none: the one before the present."""

    version: Identifier | None = None


class CancelBody(ChangeBody, frozen=True, kw_only=True):
    """``run_id``: the run that is meant; none: whichever goes on."""

    run_id: Identifier | None = None


class ExperimentBody(ChangeBody, frozen=True, kw_only=True):
    """``share`` of the entities shall be answered by the version; 0 ends the experiment."""

    share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Commanded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command: it is in the log as ``command_id``; ``decision`` is None while none has come yet.

    ``status``: ``accepted`` (no decision yet), ``recorded`` (noted: there was nothing to do, or, with 202, it is being
    looked at), or the step that was decided.

    ``run_id`` is the run that it started or that the decision is about.
    """

    command_id: str
    status: str
    detail: str
    run_id: str = ""
    decision: Decision | None = None


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """Runs, newest first; ``next_before`` asks for the page after (None: this was the last)."""

    runs: list[RunView]
    next_before: int | None


class DecisionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions, newest first; ``next_before`` asks for the page after (None: this was the last)."""

    decisions: list[Decision]
    next_before: int | None


class VersionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Versions with their evidence, newest first; ``next_before`` asks for the page after (None: this was the last)."""

    model_id: str
    champion: str
    generation: int
    versions: list[VersionView]
    next_before: int | None


class AlertPage(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts, newest first; ``next_before`` asks for the page after (None: this was the last)."""

    alerts: list[NumberedAlert]
    next_before: int | None


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over the whole history of decisions."""

    runs: int
    by_trigger: dict[str, int]
    by_outcome: dict[str, int]
    not_started_by_trigger: dict[str, int]
    refused: int
    promoted_share: float | None
    started_within_24h: int
    daily_runs: int
    switch: Switch
    running: RunView | None
    waiting_for_approval: list[str]


class Production(msgspec.Struct, frozen=True, kw_only=True):
    """How the pipeline does now."""

    model_id: str
    task: str
    champion: str
    kind: str
    generation: int
    shadows: list[str]
    quality: dict[str, float | None]
    health: float | None
    drift_score: float | None
    open_incidents: list[Incident]
    alerts_by_severity: dict[str, int]
    predictions: int
    predictions_per_s: float
    labelled: int
    labelled_per_s: float
    event_time_ms: int
    switch: Switch
    running: str | None


class VersionCondition(msgspec.Struct, frozen=True, kw_only=True):
    """How one version does, on the labelled rows that it scored (served, canary or in shadow)."""

    model_id: str
    version: VersionView
    quality: dict[str, float | None] | None
    serves: bool


#: Everything that OpenAPI has to know.
SHAPES: tuple[Any, ...] = (
    StartBody,
    ChangeBody,
    CreateBody,
    RollbackBody,
    CancelBody,
    ExperimentBody,
    Commanded,
    RunPage,
    DecisionPage,
    VersionPage,
    AlertPage,
    Stats,
    Production,
    VersionCondition,
    Verdict,
)
