"""Event contracts: one frozen Struct per topic, JSON on the wire.

Unknown fields are ignored and a change may only add optional fields, so an older reader always reads a newer
writer. NaN and infinities cannot be read, as JSON has no word for them (written, they become null, which the reader
of a number refuses). Event time is integer milliseconds since the epoch, UTC, and may be negative. Probabilities are
in [0, 1].
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

FeatureValue: TypeAlias = float | int | str | bool | None
Features: TypeAlias = dict[str, FeatureValue]
#: Binary: probability of the positive class. Multiclass: probability per class. Regression: the value.
Score: TypeAlias = float | dict[str, float]
#: A class name (classification) or a number (regression).
Outcome: TypeAlias = str | float
Role: TypeAlias = Literal["champion", "canary", "challenger"]
ModelKind: TypeAlias = Literal["prior", "online", "batch"]
Level: TypeAlias = Literal["warning", "critical"]
Identifier: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
#: What clients may send as a time: years 1 to 9999, which every calendar and every 64-bit reader can hold.
EARLIEST_MS, LATEST_MS = -62_135_596_800_000, 253_402_300_799_999
EventTime: TypeAlias = Annotated[int, msgspec.Meta(ge=EARLIEST_MS, le=LATEST_MS)]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What all events share: frozen, fields by name, defaults left out on the wire.

    Trees of values, never cycles: the garbage collector need not look at them.
    """


class Request(Event, frozen=True, kw_only=True):
    """Topic ``requests``: somebody wants a score. ``event_time_ms`` defaults to the append time."""

    id: Identifier
    features: Features
    entity: Identifier | None = None
    event_time_ms: EventTime | None = None


class Prediction(Event, frozen=True, kw_only=True):
    """Topic ``predictions``: what was answered, by which model, and what the others would have said.

    ``score`` is set for binary and regression, ``scores`` (sums to 1) for multiclass. ``snapshot`` is the number
    of examples that the online model had learned (only where ``version`` is ``online``). ``shadow`` holds the
    scores of the other versions (champion, canary, challenger, the newest online snapshot, the predecessor). Who stands
    in for a champion that cannot score is named by ``version``; the role stays ``champion``.
    """

    id: Identifier
    entity: str
    event_time_ms: int
    features: Features
    version: str
    generation: int
    decision: Outcome
    role: Role = "champion"
    score: float | None = None
    scores: dict[str, float] | None = None
    snapshot: int | None = None
    shadow: dict[str, Score] = {}

    @property
    def served(self) -> Score:
        """The score that was answered, in the task's shape."""
        if self.scores is not None:
            return self.scores
        if self.score is None:
            raise ValueError(f"prediction {self.id} has neither score nor scores")
        return self.score


class Label(Event, frozen=True, kw_only=True):
    """Topic ``labels``: what really happened. ``event_time_ms`` is when it became known; default: append time."""

    id: Identifier
    value: str | float | int | bool
    entity: Identifier | None = None
    event_time_ms: EventTime | None = None


class Example(Event, frozen=True, kw_only=True):
    """Topic ``examples``: a prediction met its label. ``revision`` > 0: a later label of the same id, never learned."""

    id: Identifier
    prediction: Prediction
    value: Outcome
    label_time_ms: int
    revision: int = 0


class Histogram(Event, frozen=True, kw_only=True):
    """Counts of reference and current window over the same bins (``edges``, numeric) or ``categories``."""

    reference: list[int]
    current: list[int]
    edges: list[float] | None = None
    categories: list[str] | None = None


DriftKind: TypeAlias = Literal[
    "concept",
    "covariate",
    "prior",
    "prediction",
    "uncertainty",
    "schema",
    "population",
    "performance",
    "fairness",
]


class Finding(Event, frozen=True, kw_only=True):
    """One detector's look at one signal. ``effect`` is in [0, 1] (KS statistic, total variation, rise of the error).

    ``p_value`` is the chance of a statistic at least as large without drift. ``since_event_time_ms`` is the
    detector's estimate of when the change began. ``measures`` holds further distances of the same two windows by name
    (``psi``, ``wasserstein``, ``jensen_shannon``), which are reported and never decide alone.
    """

    detector: str
    kind: DriftKind
    statistic: float
    effect: float
    p_value: float
    n_reference: int
    n_current: int
    feature: str | None = None
    version: str | None = None
    fired: bool = False
    since_event_time_ms: int | None = None
    reference_mean: float | None = None
    current_mean: float | None = None
    histogram: Histogram | None = None
    measures: dict[str, float] = {}


#: An effect, a share or a probability.
UnitInterval: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class DriftThresholds(Event, frozen=True, kw_only=True):
    """Thresholds of a pipeline's drift policy, by the names that they have there. None: not set."""

    false_incidents_per_50k: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    effect_floor: UnitInterval | None = None
    psi_warning: Annotated[float, msgspec.Meta(ge=0.0)] | None = None
    psi_critical: Annotated[float, msgspec.Meta(ge=0.0)] | None = None
    error_floor: UnitInterval | None = None
    performance_floor: UnitInterval | None = None
    prior_floor: UnitInterval | None = None
    prediction_floor: UnitInterval | None = None
    uncertainty_floor: UnitInterval | None = None
    population_floor: UnitInterval | None = None
    fairness_floor: UnitInterval | None = None
    critical_performance_drop: UnitInterval | None = None
    critical_feature_share: UnitInterval | None = None
    critical_drift_score: UnitInterval | None = None
    quiet_looks: Annotated[int, msgspec.Meta(ge=1)] | None = None


class PolicyChange(Event, frozen=True, kw_only=True):
    """A person changed ``thresholds``: those that are set hold from here on, the others as before.

    With ``reset`` all changes before this one are undone first.
    """

    by: str
    thresholds: DriftThresholds
    reset: bool = False
    reason: str = ""


class Evidence(Event, frozen=True, kw_only=True):
    """Topic ``evidence``: all findings of one look, by one partition of one stage; or a ``change`` of thresholds.

    ``record_id`` is the request id of the record at which the look happened, ``seen`` how many records the
    partition had counted by then, ``generation`` the champion's generation that the look is about. Of a ``change``
    (stage ``policy``), ``record_id`` is its own id, ``event_time_ms`` when it was made, and the rest says nothing.
    """

    stage: Literal["monitor", "learner", "policy"]
    partition: int
    seen: int
    record_id: str
    event_time_ms: int
    generation: int
    findings: list[Finding]
    reference: str = ""
    change: PolicyChange | None = None


class Cause(Event, frozen=True, kw_only=True):
    """One signal of an incident: what moved, how far (``effect`` and ``measures``), and how it was before."""

    detector: str
    effect: float
    p_value: float
    feature: str | None = None
    version: str | None = None
    reference_mean: float | None = None
    current_mean: float | None = None
    measures: dict[str, float] = {}
    histogram: Histogram | None = None


class Drift(Event, frozen=True, kw_only=True):
    """Topic ``drift``: an incident opened, got worse, or closed. ``id`` names the incident in all of these.

    ``causes`` are its signals, the greatest effect first. ``reference`` says in words what was compared with.
    ``drift_score`` and ``health`` are the pipeline's at that moment, in [0, 1].
    """

    id: str
    status: Literal["opened", "escalated", "closed"]
    kind: str
    level: Level
    detector: str
    statistic: float
    effect: float
    p_value: float
    record_id: str
    event_time_ms: int
    generation: int
    seen: int
    drift_score: float
    feature: str | None = None
    performance_drop: float | None = None
    since_event_time_ms: int | None = None
    features: dict[str, float] = {}
    histogram: Histogram | None = None
    advice: str = ""
    health: float | None = None
    reference: str = ""
    causes: list[Cause] = []


class ScoreBlock(Event, frozen=True, kw_only=True):
    """Mergeable sums over ``n`` labelled examples of one version: add blocks field by field, then divide by n.

    ``..._squared`` are sums of squares of each example's figure (of its squared error: ``quartic_error``).
    ``target_mean`` and ``target_squares`` (sum of squared deviations from it) are of a regression's values, and merge
    by Chan's rule. ``no_change_...`` is what the previous example's label would have got as the answer, over the
    ``no_change_n`` examples that had one. ``class_counts``: per class that occurs, how often it (happened, was decided,
    both). ``confidence_bins``: per bin of the score (binary: of the positive class; multiclass: of the decided
    class), examples, hits and the sum of scores; ``rank_bins``: per class and bin of its score, examples and hits.
    """

    n: int = 0
    correct: int = 0
    log_loss: float = 0.0
    brier: float = 0.0
    absolute_error: float = 0.0
    squared_error: float = 0.0
    log_loss_squared: float = 0.0
    brier_squared: float = 0.0
    quartic_error: float = 0.0
    target_mean: float = 0.0
    target_squares: float = 0.0
    no_change_n: int = 0
    no_change_correct: int = 0
    no_change_absolute_error: float = 0.0
    no_change_squared_error: float = 0.0
    class_counts: dict[str, tuple[int, int, int]] = {}
    confidence_bins: dict[int, tuple[int, int, float]] = {}
    rank_bins: dict[str, dict[int, tuple[int, int]]] = {}


class LossPair(Event, frozen=True, kw_only=True):
    """Mergeable sums over the ``n`` labelled examples that two versions both scored: add them field by field.

    The loss is log loss, of a regression the absolute error. ``difference_squared``: of (first − second) per example.
    """

    first: str
    second: str
    n: int
    first_loss: float
    second_loss: float
    difference_squared: float


class DriftCondition(Event, frozen=True, kw_only=True):
    """How far a pipeline's inputs are from their reference at a moment: the drift score, and the share of the watched
    features that moved. ``..._since_ms``: the event time since which it has been above the limit of the retraining
    policy (None: it is not), in this generation and but for breaks of less than ``drift.quiet_looks`` looks.
    """

    drift_score: UnitInterval
    drifted_share: UnitInterval
    drift_score_since_ms: int | None = None
    drifted_share_since_ms: int | None = None


class Metrics(Event, frozen=True, kw_only=True):
    """Topic ``metrics``: what a stage counted since its last record (``blocks``, ``counts``), and in all (``seen``).

    ``blocks`` is keyed by version; ``champion`` is the key of what was served. ``answered``: predictions by the version
    that was served. ``segments``: of what was served, by attribute and its value. ``pairs``: of every two versions that
    scored the same examples, by name. ``condition``: of stage ``incidents``, at each look of the monitors
    while something is above its limit, and once when that has ended.
    """

    stage: str
    partition: int
    seen: int
    record_id: str
    event_time_ms: int
    generation: int
    offset: int
    blocks: dict[str, ScoreBlock] = {}
    counts: dict[str, int] = {}
    answered: dict[str, int] = {}
    segments: dict[str, dict[str, ScoreBlock]] = {}
    pairs: list[LossPair] = []
    condition: DriftCondition | None = None


class ModelRecord(Event, frozen=True, kw_only=True):
    """Topic ``models`` (key: slot): what a slot holds now.

    ``uri``, ``digest`` (SHA-256) and ``signature`` (HMAC) name the artifact. Version ``online`` in slot ``champion``
    has none of its own: the newest ``online-<p>`` snapshots are served.

    ``slot``: ``champion``, ``challenger`` or ``canary`` (``version`` empty: the slot was cleared) or
    ``online-<partition>``. ``share`` of the entities are answered by the canary: those whose hash with
    ``run_id`` is low.
    ``predecessor`` is scored in shadow until a later record of the same generation names none.
    ``snapshot`` counts what an online model has learned, and starts again with a new epoch; ``offset``, that of the
    newest example in it, only grows.
    """

    slot: str
    version: str
    kind: ModelKind
    generation: int
    snapshot: int | None = None
    offset: int = 0
    uri: str = ""
    digest: str = ""
    signature: str = ""
    size_bytes: int = 0
    predecessor: ModelRecord | None = None
    run_id: str = ""
    share: float = 0.0


class DataRange(Event, frozen=True, kw_only=True):
    """A range of ``examples``, per partition [start, stop) offsets. ``rows``: labelled rows in it."""

    offsets: dict[str, tuple[int, int]]
    rows: int = 0


class CandidateResult(Event, frozen=True, kw_only=True):
    """How one candidate did on the rows that all were compared on."""

    name: str
    log_loss: float | None = None
    accuracy: float | None = None
    mae: float | None = None
    rmse: float | None = None


class GateResult(Event, frozen=True, kw_only=True):
    """One gate's verdict. ``passed`` is None where the gate was reported but not applied."""

    name: str
    value: float | None
    threshold: float | None
    passed: bool | None
    detail: str = ""


class RetrainCommand(Event, frozen=True, kw_only=True, tag_field="kind", tag="retrain"):
    """Topic ``commands``: a person or a schedule asks for a retrain."""

    id: str
    by: str
    at_ms: int
    reason: str = ""


class RollbackCommand(Event, frozen=True, kw_only=True, tag_field="kind", tag="rollback"):
    """Topic ``commands``: a person asks for a former champion; ``version`` empty: the one before the present."""

    id: str
    by: str
    at_ms: int
    version: str = ""
    reason: str = ""


class OutcomeCommand(Event, frozen=True, kw_only=True, tag_field="kind", tag="outcome"):
    """Topic ``commands``: an effect of a run is done; the first outcome of (run, step) wins.

    ``fit``: candidates were fitted and compared. ``check``: the artifact of a version that a person asked for was
    read and verified; ``error`` says why it cannot serve.
    """

    id: str
    run_id: str
    step: Literal["fit", "check"]
    at_ms: int
    error: str = ""
    candidates: list[CandidateResult] = []
    gates: list[GateResult] = []
    winner: str = ""
    rows_train: int = 0
    rows_compared: int = 0
    model: ModelRecord | None = None
    lineage: dict[str, str] = {}


class PromoteCommand(Event, frozen=True, kw_only=True, tag_field="kind", tag="promote"):
    """Topic ``commands``: a person wants ``version``, which is registered, to serve."""

    id: str
    by: str
    at_ms: int
    version: str
    reason: str = ""


class ApprovalCommand(Event, frozen=True, kw_only=True, tag_field="kind", tag="approval"):
    """Topic ``commands``: a person's word on ``version``, which waits for it."""

    id: str
    by: str
    at_ms: int
    version: str
    approved: bool
    reason: str = ""


class ExperimentCommand(Event, frozen=True, kw_only=True, tag_field="kind", tag="experiment"):
    """Topic ``commands``: ``share`` of the entities are to be answered by ``version`` (A/B); 0 ends the experiment."""

    id: str
    by: str
    at_ms: int
    version: str
    share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    reason: str = ""


class CancelCommand(Event, frozen=True, kw_only=True, tag_field="kind", tag="cancel"):
    """Topic ``commands``: a person ends the run that is going on (``run_id`` empty: whichever it is)."""

    id: str
    by: str
    at_ms: int
    run_id: str = ""
    reason: str = ""


class PauseCommand(Event, frozen=True, kw_only=True, tag_field="kind", tag="pause"):
    """Topic ``commands``: a person switches what starts retraining by itself off (``paused``) or on again."""

    id: str
    by: str
    at_ms: int
    paused: bool
    reason: str = ""


class TickCommand(Event, frozen=True, kw_only=True, tag_field="kind", tag="tick"):
    """Topic ``commands``: ``schedule`` (a cron line, or ``at_latest``) is due at ``at_ms``, which is also in the id."""

    id: str
    at_ms: int
    schedule: str


class HealthCommand(Event, frozen=True, kw_only=True, tag_field="kind", tag="health"):
    """Topic ``commands``: ``version`` does not answer as it should: ``value`` of ``check`` is beyond ``limit``.

    ``failures``: calls in a row; ``errors``: share of the newest calls; ``latency``: seconds of a call; ``load``: its
    artifact was refused.
    """

    id: str
    by: str
    at_ms: int
    version: str
    generation: int
    check: Literal["failures", "errors", "latency", "load"]
    value: float
    limit: float
    detail: str = ""


class AccessCommand(Event, frozen=True, kw_only=True, tag_field="kind", tag="access"):
    """Topic ``commands``: a call of the management API, for the audit trail. ``count``: so many calls like this."""

    id: str
    by: str
    role: str
    at_ms: int
    method: str
    path: str
    status: int
    count: int = 1


class PolicyCommand(Event, frozen=True, kw_only=True, tag_field="kind", tag="policy"):
    """Topic ``commands``: thresholds of the drift policy were changed on ``evidence``, for the audit trail."""

    id: str
    by: str
    at_ms: int
    change: str
    reason: str = ""


Command: TypeAlias = (
    RetrainCommand
    | RollbackCommand
    | OutcomeCommand
    | PromoteCommand
    | ApprovalCommand
    | ExperimentCommand
    | CancelCommand
    | PauseCommand
    | TickCommand
    | HealthCommand
    | AccessCommand
    | PolicyCommand
)

Step: TypeAlias = Literal[
    "triggered",
    "collected",
    "trained",
    "registered",
    "awaiting_approval",
    "approved",
    "shadow",
    "canary",
    "promoted",
    "rolled_back",
    "refused",
    "rejected",
    "failed",
    "cancelled",
    "not_started",
    "settled",
    "paused",
    "resumed",
    "recorded",
]


class Decision(Event, frozen=True, kw_only=True):
    """Topic ``decisions``: one transition of one run, in a chain: ``hash`` covers all fields and ``previous_hash``.

    ``seq`` counts from 0 without gaps; ``labelled`` and ``rows`` are the stream's counts when it was decided. ``by`` is
    who asked for it (empty: nobody, it followed from the data), ``command`` the id of the command that it answers: each
    command has one such decision. ``lineage`` says where a ``trained`` version came from.
    """

    seq: int
    run_id: str
    step: Step
    event_time_ms: int
    record_id: str
    trigger: str
    reason: str
    generation: int
    labelled: int = 0
    rows: int = 0
    version: str = ""
    model: ModelRecord | None = None
    data: DataRange | None = None
    candidates: list[CandidateResult] = []
    gates: list[GateResult] = []
    by: str = ""
    command: str = ""
    lineage: dict[str, str] = {}
    previous_hash: str = ""
    hash: str = ""


class Alert(Event, frozen=True, kw_only=True):
    """Topic ``alerts``: one clear line for people. ``incident`` is the id of the report on it, where there is one."""

    id: str
    severity: Literal["info", "warning", "critical"]
    title: str
    detail: str
    at_ms: int
    source: str
    incident: str = ""


class Notification(Event, frozen=True, kw_only=True):
    """Topic ``notifications``: people were told of ``alerts`` (their ids) over ``target``, or will not be, and why not.

    ``target`` names a URL without what is secret in it. ``settled`` are the alerts of which nothing more is to be sent.
    ``unrouted``: no URL is set for their severity.
    """

    id: str
    alerts: list[str]
    status: Literal["sent", "given_up", "unrouted"]
    at_ms: int
    target: str = ""
    attempts: int = 0
    settled: list[str] = []
    error: str = ""


class Happening(Event, frozen=True, kw_only=True):
    """One line of an incident's timeline."""

    event_time_ms: int
    what: str


class IncidentReport(Event, frozen=True, kw_only=True):
    """Topic ``incident-reports``: all there is to know of an incident so far; the newest ``revision`` holds.

    ``id`` is that of the drift incident, or ``rollback-<seq>`` of the decision. ``answered``: requests per version
    since the incident opened (of a rollback: since the promotion that it undid). ``markdown`` is for people.
    """

    id: str
    kind: Literal["drift", "rollback"]
    revision: int
    status: Literal["open", "closed"]
    level: Level
    title: str
    opened_ms: int
    event_time_ms: int
    markdown: str
    since_event_time_ms: int | None = None
    answered: dict[str, int] = {}
    decisions: list[int] = []
    timeline: list[Happening] = []


class Replay(Event, frozen=True, kw_only=True):
    """Topic ``replays``: dead letters that went back to their topic, in the same transaction as this.

    ``sources``: per ``<topic>/<partition>``, the ranges [start, stop) of the offsets that they had there.
    """

    id: str
    by: str
    at_ms: int
    sources: dict[str, list[tuple[int, int]]]


_encoder = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    """JSON bytes of ``event``, keys in declared order (so equal events have equal bytes)."""
    return _encoder.encode(event)
