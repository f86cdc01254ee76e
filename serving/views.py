"""Runs and versions as people see them: one shape for the management API and the page."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from penstock.events import CandidateResult, DataRange, GateResult

Part: TypeAlias = Literal["made", "waiting", "shadow", "canary", "champion", "predecessor"]


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """One step: when (event time, by the clock, in labelled rows), why, and who asked for it."""

    seq: int
    step: str
    reason: str
    event_time_ms: int
    at_ms: int
    labelled: int = 0
    by: str = ""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """What a version was from when (event time; None: the start) until when (None: still).

    ``predecessor``: it is scored in shadow after its time.
    """

    part: Part
    from_ms: int | None
    to_ms: int | None = None
    share: float | None = None


class RunView(msgspec.Struct, kw_only=True):
    """One run of the pipeline. ``outcome`` is None while it goes on; ``seq`` is that of its first decision."""

    run_id: str
    seq: int
    trigger: str
    reason: str
    step: str
    outcome: str | None = None
    version: str = ""
    by: str = ""
    started_ms: int
    started_at_ms: int
    event_time_ms: int
    at_ms: int
    labelled: int = 0
    data: DataRange | None = None
    candidates: list[CandidateResult] = []
    gates: list[GateResult] = []
    steps: list[Happened] = []


class VersionView(msgspec.Struct, kw_only=True):
    """A version and its evidence. ``status``: the newest of its steps that counts, ``champion`` or ``archived``.

    ``asked_by``: who asked for the run; ``approver``: who let it serve (both empty: nobody had to). An attempt that
    ended without a version is listed under its run's id, with ``kind`` ``none``.
    """

    version: str
    kind: Literal["online", "batch", "none"]
    status: str
    seq: int
    run_id: str = ""
    trigger: str = ""
    reason: str = ""
    why_status: str = ""
    asked_by: str = ""
    approver: str = ""
    generation: int | None = None
    event_time_ms: int | None = None
    at_ms: int | None = None
    data: DataRange | None = None
    digest: str = ""
    size_bytes: int = 0
    lineage: dict[str, str] = {}
    candidates: list[CandidateResult] = []
    gates: list[GateResult] = []
    spans: list[Span] = []
    steps: list[Happened] = []


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """Whether retraining starts by itself, and who said so last."""

    paused: bool = False
    by: str = ""
    reason: str = ""
    at_ms: int | None = None
