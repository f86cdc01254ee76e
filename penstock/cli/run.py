"""``penstock run``: one role, or several in one process, until told to stop."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import structlog
import typer

from consumers.notifier import Routes
from penstock.cli.compose import STREAM_ROLES, System, make_loop, served_models
from penstock.cli.context import Context, of
from penstock.cli.installation import installation, registry_of
from penstock.cli.instance import member_names
from penstock.cli.notify import notified, routes_of
from penstock.cli.probes import probes
from penstock.cli.stopping import stopped_by_signals
from penstock.clock import SystemClock
from penstock.errors import RegistryError, UsageError
from penstock.log.open import bootstrap_of
from penstock.models.blobs import write_durably
from penstock.models.watch import Watch
from penstock.runtime.collector import calm_collector
from penstock.runtime.loop import PATIENCE_S, LoopOptions
from penstock.runtime.patience import Patience
from penstock.runtime.pulse import Pulse
from penstock.runtime.switching import switch_promptly
from penstock.runtime.worker import run_loops
from penstock.telemetry import Telemetry
from penstock.testing.kill_points import kill_points_for

logger = structlog.get_logger()

ROLES = (*STREAM_ROLES, "serving")
EFFECTS_EVERY_S = 0.2
#: How long a running role waits for brokers that are away, before it ends with 3. A disk has less excuse.
KAFKA_PATIENCE_S = 900.0
#: A fit must never slow serving: the retrainer's process yields to everything else.
RETRAINER_NICENESS = 10
#: How long a stop waits for a fit, or a message. It is then left undone, and done again at the next start: a fit has
#: one outcome all the same, a message may arrive twice.
EFFECTS_GRACE_S = 2.0


def run(
    ctx: typer.Context,
    roles: Annotated[list[str], typer.Argument(help=f"One or more of: {' '.join(ROLES)}.", metavar="ROLE...")],
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Fold state again from the log where the checkpoints no longer fit.")
    ] = False,
    new_epoch: Annotated[
        bool, typer.Option("--new-epoch", help="Start fresh from here where the checkpoints no longer fit.")
    ] = False,
    follow_parent: Annotated[bool, typer.Option("--follow-parent", hidden=True)] = False,
) -> None:
    """Run one role of the pipeline (or several in one process) until SIGTERM or Ctrl-C."""
    context = of(ctx)
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        raise UsageError(f"run: unknown role {unknown[0]!r}; there are {', '.join(ROLES)}")
    mismatch_options(rebuild=rebuild, new_epoch=new_epoch)
    stop = threading.Event()
    if follow_parent:
        _stop_with_parent(stop)
    pipeline, settings = context.pipeline(), context.settings
    options = LoopOptions(on_mismatch="rebuild" if rebuild else "new-epoch" if new_epoch else "stop")
    patience_s = PATIENCE_S if bootstrap_of(settings.log) is None else KAFKA_PATIENCE_S
    pulse = Pulse(SystemClock())
    patience = Patience(SystemClock(), partial(_pause, stop), patience_s, pulse.heard)
    stream = [role for role in roles if role in STREAM_ROLES]
    routes = routes_of(settings) if "notifier" in roles else {}  # a URL that does not fit shows at the start
    with ExitStack() as held:
        held.enter_context(stopped_by_signals(stop))
        telemetry = Telemetry()
        if stream and settings.probe_port is not None and not follow_parent:  # siblings would share the port
            held.enter_context(probes(settings.host, settings.probe_port, pulse, telemetry))
        # A child that is started again while the log is away waits as long as it would have waited had it lived; its
        # parent has seen to the topics. Without a parent it ends at once: whoever started it hears what is wrong.
        opening = patience if follow_parent else replace(patience, deadline_s=0.0)
        system = opening.call(
            "open",
            lambda: held.enter_context(installation(context, pipeline, telemetry, provided=follow_parent)),
        )
        members = held.enter_context(member_names(context.data_dir, pipeline.name, stream, settings.instance))
        run_roles(context, system, roles, members, options, stop, patience, routes)


def _pause(stop: threading.Event, seconds: float) -> None:
    if stop.wait(seconds):
        raise SystemExit(0)


def mismatch_options(*, rebuild: bool, new_epoch: bool) -> list[str]:
    """The choice, as options of `penstock run`, between folding again and starting fresh.

    Raises:
        UsageError: both were chosen.
    """
    if rebuild and new_epoch:
        raise UsageError("--rebuild and --new-epoch exclude each other")
    return ["--rebuild"] if rebuild else ["--new-epoch"] if new_epoch else []


def run_roles(
    context: Context,
    system: System,
    roles: list[str],
    members: Mapping[str, str],
    options: LoopOptions,
    stop: threading.Event,
    patience: Patience,
    routes: Routes,
) -> None:
    """Run ``roles`` in this process until ``stop`` is set: serving in this thread, or else the stream loops.

    ``members``: the stream roles among them, each with the name of its member. ``patience``: with a log that is away.
    ``routes``: whom the notifier tells.
    """
    failures: list[BaseException] = []
    effects: list[threading.Thread] = []
    threads = []
    loops = {
        role: patience.call(
            "open", partial(make_loop, role, system, member, options, kill_points_for(role, os.environ), patience)
        )
        for role, member in members.items()
    }
    if "retrainer" in loops:
        if set(roles) == {"retrainer"}:
            os.nice(RETRAINER_NICENESS)
        decides = partial(loops["retrainer"].holds, 0)
        work = partial(_run_effects, context, system, decides, stop, patience)
        effects.append(_guarded("effects", work, failures, stop))
        effects.append(_guarded("checks", partial(_run_checks, system, decides, stop, patience), failures, stop))
    if "notifier" in loops:
        tells = partial(loops["notifier"].holds, 0)
        effects.append(_guarded("notifier", partial(notified, system, routes, tells, stop), failures, stop))
    if loops:
        calm_collector()
        switch_promptly()
    patience.heard("start", None)
    logger.info("started", roles=" ".join(roles), pipeline=system.pipeline.name, pid=os.getpid(), **members)
    try:
        if "serving" in roles:
            if loops:
                threads.append(_guarded("loops", lambda: run_loops(list(loops.values()), stop), failures, stop))
            _run_serving(context, system, stop, patience)
        else:
            run_loops(list(loops.values()), stop)
    except SystemExit:  # a stop ended a wait for the log: whose failure was it?
        if failures:
            raise failures[0] from None
        raise
    stop.set()
    for thread in threads:
        thread.join()
    for effect in effects:
        effect.join(EFFECTS_GRACE_S)
    if failures:
        raise failures[0]
    logger.info("stopped", roles=" ".join(roles))


def _guarded(
    name: str, work: Callable[[], None], failures: list[BaseException], stop: threading.Event
) -> threading.Thread:
    """A thread whose failure stops the process instead of going unseen."""

    def body() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises it
            failures.append(error)
            stop.set()

    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    return thread


def _run_effects(
    context: Context, system: System, decides: Callable[[], bool], stop: threading.Event, patience: Patience
) -> None:
    """Do what the retrainer decides and what its schedule says, while ``decides`` says that it decides here.

    Others stand by, without MLflow. A tick that is due during a fit waits for its end. Where a retrainer moves in the
    middle of a fit, both processes do it, and the first outcome counts.
    """
    from retraining.backend import fit_backend

    backend = fit_backend(context.settings.fit_backend)  # a setting that does not fit shows at the start
    while not decides():
        if stop.wait(EFFECTS_EVERY_S):
            return
    from retraining.effects import EffectRunner
    from retraining.schedule import Scheduler

    scheduler = Scheduler(system.pipeline, system.log, system.clock)
    registry = registry_of(context, system.pipeline)
    effects = patience.call(
        "effects",
        lambda: EffectRunner(system.pipeline, system.log, system.artifacts, registry, system.clock, backend),
    )
    try:
        registry.versions()  # MLflow takes seconds to import and set up: not in the middle of the first run
    except RegistryError as error:
        logger.warning("registry not reachable yet", why=str(error))
    while not stop.is_set():
        if not decides() or not (scheduler.step() or effects.step()):
            stop.wait(EFFECTS_EVERY_S)


def _run_checks(system: System, decides: Callable[[], bool], stop: threading.Event, patience: Patience) -> None:
    """Check the artifacts that people ask for, while ``decides`` says that the retrainer decides here."""
    while not decides():
        if stop.wait(EFFECTS_EVERY_S):
            return
    from online.loading import model_loader
    from retraining.checking import Checker

    load = model_loader(system.pipeline)
    checker = patience.call(
        "checks", lambda: Checker(system.pipeline, system.log, system.artifacts, load, system.clock)
    )
    while not stop.is_set():
        if not decides() or not checker.step():
            stop.wait(EFFECTS_EVERY_S)


def _run_serving(context: Context, system: System, stop: threading.Event, patience: Patience) -> None:
    from serving.app import run_server
    from serving.deps import ServingDeps

    served = served_models(system)
    watch = Watch(system.pipeline.rollout, "serving", system.clock.monotonic_s, system.telemetry)
    deps = ServingDeps(system.pipeline, system.log, served, system.telemetry, system.clock, context.settings, watch)

    def ready(url: str) -> None:
        write_address(context.data_dir, url)
        logger.info("serving", url=url)

    run_server(deps, context.settings.host, context.settings.port, ready, stop, patience)


def address_file(data_dir: Path) -> Path:
    """Where serving leaves its address for other commands on this machine."""
    return data_dir / "serving.url"


def write_address(data_dir: Path, url: str) -> None:
    """Note the address that serving listens on."""
    write_durably(address_file(data_dir), f"{url}\n".encode())  # as a whole: others wait for the file


def _stop_with_parent(stop: threading.Event) -> None:
    """Set ``stop`` when standard input ends: the parent holds its other end, also when it is killed."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):  # not through sys.stdin, whose lock would outlive a daemon thread
            pass
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()
