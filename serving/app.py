"""The HTTP service: builds the app of its parts and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

import anyio.to_thread
import uvicorn
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from penstock.errors import DependencyError
from penstock.runtime.patience import Patience
from serving.access import PREFIX, Access
from serving.deps import ServingDeps
from serving.desk import Desk
from serving.feed import Feed
from serving.health import health_routes, model_routes
from serving.journal import Journal
from serving.management import management_routes
from serving.measure import Measure
from serving.opening import Gate, Opening
from serving.overview import Overview
from serving.page import page_routes
from serving.predict import predict_routes
from serving.problems import install_problems
from serving.roles import changes_by, load_keys
from serving.schemas import SECURITY_SCHEMES, components
from serving.streams import Clients, stream_routes
from serving.swaps import Swaps

__all__ = ["ServingDeps", "create_app", "run_server"]

GRACE_S = 1
POLL_S = 0.05


def create_app(
    deps: ServingDeps, stopping: Callable[[], bool] = lambda: False, opening: Opening | None = None
) -> FastAPI:
    """The app. Its lifespan follows the ``models`` topic and what the page shows.

    Requests are answered once all that the topics hold is known here; until then ``opening`` says why not. Open streams
    end soon after ``stopping`` says so.

    Raises:
        UsageError: an API key of the settings does not fit.
    """
    opening = opening or Opening(Patience(deps.clock, time.sleep, 0.0))
    overview = Overview(deps.pipeline)
    feed = Feed(deps.log, overview.fold)
    swaps = Swaps(deps, feed)
    clients = Clients(deps)
    keys, journal = load_keys(deps.settings), Journal(deps.log, deps.clock)

    def look_up() -> None:
        if feed.open():
            predictions = feed.partitions(["predictions"])
            overview.start_at(sum(feed.bounds(partition)[0] for partition in predictions))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        follow = partial(feed.start, asyncio.get_running_loop())
        opening.start([look_up, feed.catch_up, swaps.catch_up, follow, swaps.start])
        try:
            await anyio.to_thread.run_sync(opening.wait_for_first_try)
            async with journal.kept():
                yield
        finally:
            await anyio.to_thread.run_sync(opening.stop)
            await anyio.to_thread.run_sync(swaps.stop)
            await anyio.to_thread.run_sync(feed.stop)

    app = FastAPI(
        title=f"Penstock: {deps.pipeline.name}",
        version=version("penstock"),
        lifespan=lifespan,
        docs_url=None,  # they would load scripts from elsewhere; the document itself is at /openapi.json
        redoc_url=None,
    )
    install_problems(app)
    app.include_router(predict_routes(deps))
    app.include_router(model_routes(deps))
    app.include_router(stream_routes(deps, feed, clients, stopping))
    app.include_router(page_routes(deps, feed, overview, clients, changes_by(keys, deps.settings.host), stopping))
    management = management_routes(deps, Desk(deps, feed, overview, journal), overview)
    app.include_router(management)
    app.include_router(health_routes(deps, opening, lambda: opening.alive or (swaps.alive and feed.alive)))
    app.add_middleware(Access, keys=keys, journal=journal, host=deps.settings.host, routes=management.routes)
    app.add_middleware(Gate, opening=opening)
    app.add_middleware(Measure, telemetry=deps.telemetry, clock=deps.clock)
    _describe(app, deps)
    return app


def _describe(app: FastAPI, deps: ServingDeps) -> None:
    """OpenAPI with the schemas of this pipeline's own contract."""

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            declared = schema.setdefault("components", {})
            declared.setdefault("schemas", {}).update(components(deps.pipeline))
            declared["securitySchemes"] = SECURITY_SCHEMES
            for path, operations in schema["paths"].items():
                if path.startswith(PREFIX):
                    for operation in operations.values():
                        operation["security"] = [{name: []} for name in SECURITY_SCHEMES]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI documents this as the way to extend it


def run_server(
    deps: ServingDeps,
    host: str,
    port: int,
    ready: Callable[[str], None],
    stop: threading.Event,
    patience: Patience | None = None,
) -> None:
    """Serve in the calling thread until ``stop`` is set (or, in the main thread, until SIGINT or SIGTERM).

    ``ready`` is called with the address once requests are answered (``port`` 0: any free one). Before that the log is
    waited for as ``patience`` says (None: not at all). A stop takes less than two seconds, open streams or not:
    1. streams end, 2. requests under way are answered, 3. the threads end.

    Raises:
        DependencyError: the address is in use or not ours; the text says which.
        LogError: a topic is missing, or the log refuses, or has not answered for too long.
    """
    opening = Opening(patience or Patience(deps.clock, time.sleep, 0.0))
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise DependencyError(
            f"{host}:{port}: cannot listen there ({error.strerror}); choose another PENSTOCK_PORT"
        ) from error
    with listener:
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{listener.getsockname()[1]}"
        done = threading.Event()
        app = create_app(deps, lambda: stop.is_set() or server.should_exit, opening)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_S,
            lifespan="on",
            server_header=False,
            # "auto" takes whatever happens to be installed beside: the same server everywhere
            loop="asyncio",
            http="h11",
            ws="none",
        )
        server = uvicorn.Server(config)

        def watch() -> None:
            announced = False
            while not done.wait(POLL_S):
                if server.started and opening.why is None and not announced:
                    announced = True
                    ready(url)
                if stop.is_set() or opening.failure is not None:
                    server.should_exit = True

        watcher = threading.Thread(target=watch, name="serving-stop", daemon=True)
        watcher.start()
        try:
            server.run(sockets=[listener])
        except SystemExit as error:
            raise DependencyError("serving did not start; its log lines above say why") from error
        finally:
            done.set()
            watcher.join()
    if opening.failure is not None:
        raise opening.failure
