"""One suite for every registry."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from penstock.errors import RegistryError, UnknownVersionError
from penstock.models import registry as module
from penstock.models.artifact import ArtifactRef
from penstock.models.registry import MemoryRegistry, MlflowRegistry, Registration, Registry

pytest.importorskip("mlflow")
event = pytest.importorskip("sqlalchemy").event
LINEAGE = {"spec": "abc", "data": '{"0":[0,10]}', "trigger": 'drift:d1\'s "x"', "libraries": "x" * 3000}


def registration(number: int, run_id: str | None = None) -> Registration:
    ref = ArtifactRef(f"ab/{number}", f"{number:064x}", "f" * 64, 100 + number)
    return Registration(run_id or f"run-{number}", f"v{number}", ref, {"winner": "forest"}, {"log_loss": 0.25}, LINEAGE)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(params=["memory", "mlflow"])
def registry(request: pytest.FixtureRequest, shared: Path) -> Iterator[Registry]:
    if request.param == "memory":
        yield MemoryRegistry()
        return
    # One database for all tests (its set-up takes seconds); a pipeline of its own for each.
    name = f"p-{abs(hash(request.node.name)) % 10**8}"
    yield MlflowRegistry(f"sqlite:///{shared}/registry.db", (shared / "artifacts").as_uri(), name)


def test_every_registry_is_tested() -> None:
    found = {
        name
        for name, kind in vars(module).items()
        if isinstance(kind, type) and hasattr(kind, "set_alias") and name != "Registry"
    }
    assert found == {"MemoryRegistry", "MlflowRegistry"}


def test_what_is_registered_can_be_shown(registry: Registry) -> None:
    registered = registry.register(registration(1))
    assert registry.show("v1") == registered
    assert registered.artifact == registration(1).artifact
    assert registered.lineage == LINEAGE
    assert registered.metrics == {"log_loss": 0.25}
    assert registered.params == {"winner": "forest"}
    assert (registered.aliases, registered.archived) == ((), False)


def test_a_run_registers_once(registry: Registry) -> None:
    first = registry.register(registration(1))
    assert registry.register(registration(1)) == first
    assert registry.register(registration(2, run_id="run-1")) == first
    assert [held.version for held in registry.versions()] == ["v1"]


def test_versions_come_in_order_of_registration(registry: Registry) -> None:
    for number in range(1, 12):
        registry.register(registration(number))
    assert [held.version for held in registry.versions()] == [f"v{number}" for number in range(1, 12)]


def test_an_alias_names_one_version(registry: Registry) -> None:
    registry.register(registration(1))
    registry.register(registration(2))
    registry.set_alias("champion", "v1")
    registry.set_alias("challenger", "v2")
    registry.set_alias("champion", "v2")
    registry.set_alias("champion", "v2")
    assert registry.show("v1").aliases == ()
    assert registry.show("v2").aliases == ("challenger", "champion")
    registry.set_alias("challenger", None)
    registry.set_alias("challenger", None)
    assert registry.show("v2").aliases == ("champion",)


def test_an_archived_version_has_no_alias(registry: Registry) -> None:
    registry.register(registration(1))
    registry.set_alias("champion", "v1")
    registry.archive("v1", True)
    held = registry.show("v1")
    assert held.archived
    assert held.aliases == ()


@pytest.mark.parametrize(
    "use",
    [lambda r: r.show("v9"), lambda r: r.set_alias("champion", "v9"), lambda r: r.archive("v9", True)],
    ids=["show", "alias", "archive"],
)
def test_an_unknown_version_is_named(registry: Registry, use: Callable[[Registry], object]) -> None:
    with pytest.raises(UnknownVersionError, match="version v9"):
        use(registry)


def test_mlflow_keeps_versions_across_processes(shared: Path) -> None:
    def opened() -> MlflowRegistry:
        return MlflowRegistry(f"sqlite:///{shared}/registry.db", (shared / "artifacts").as_uri(), "kept")

    first = opened().register(registration(1))
    assert opened().show("v1") == first


def test_mlflow_says_nothing_while_all_is_well(shared: Path) -> None:
    MlflowRegistry(f"sqlite:///{shared / 'mlflow.db'}", str(shared / "artifacts"), "quiet").versions()
    assert not logging.getLogger("mlflow.store.db.utils").isEnabledFor(logging.INFO)


def test_a_crash_between_run_and_version_is_mended(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = MlflowRegistry(f"sqlite:///{shared}/registry.db", (shared / "artifacts").as_uri(), "mended")
    client, experiment = held._connected()
    with monkeypatch.context() as patch:
        patch.setattr(client, "create_model_version", Mock(side_effect=OSError("gone")))
        with pytest.raises(RegistryError, match="gone"):
            held.register(registration(1))
    assert held.versions() == []
    assert held.register(registration(1)).version == "v1"
    assert len(client.search_runs([experiment])) == 1


def test_an_unreachable_server_is_one_clear_retriable_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    held = MlflowRegistry(f"sqlite:///{tmp_path}/file/registry.db", tmp_path.as_uri(), "p")
    with pytest.raises(RegistryError, match="model registry: ") as caught:
        held.versions()
    assert caught.value.retriable
    assert "\n" not in str(caught.value)


def test_a_registry_that_was_killed_while_it_was_made_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "registry.db.1.building").write_bytes(b"half")
    made = MlflowRegistry(f"sqlite:///{tmp_path}/registry.db", (tmp_path / "artifacts").as_uri(), "credit")
    assert made.versions() == []
    assert [path.name for path in tmp_path.iterdir()] == ["registry.db"]


def test_a_version_that_serves_again_is_not_archived_any_more(registry: Registry) -> None:
    registry.register(registration(1))
    registry.archive("v1", True)
    registry.archive("v1", False)
    assert not registry.show("v1").archived


def test_what_a_version_comes_with_is_kept_beside_it(shared: Path) -> None:
    held = MlflowRegistry(f"sqlite:///{shared}/registry.db", (shared / "artifacts").as_uri(), "documents")
    lineage = {**LINEAGE, "semantic_version": "1.2.0", "git_commit": "c" * 40}
    card = "# Model card\n" + "evidence " * 5000
    documents = {"model_card.md": card, "gates.json": "[]"}
    held.register(registration(1)._replace(lineage=lineage, documents=documents, description="forest, 1.2.0"))
    assert held.show("v1").semantic_version == "1.2.0"
    client, experiment = held._connected()
    (run,) = client.search_runs([experiment])
    stored = Path(client.download_artifacts(run.info.run_id, "model_card.md"))
    assert stored.read_text() == card
    (row,) = client.search_model_versions("name = 'documents'")
    assert row.description == "forest, 1.2.0"
    assert (row.tags["semantic_version"], row.tags["git_commit"], row.tags["archived"]) == ("1.2.0", "c" * 40, "false")
    assert client.search_model_versions("tags.semantic_version = '1.2.0'")


def test_a_full_registry_is_retriable_and_loses_nothing(shared: Path) -> None:
    held = MlflowRegistry(f"sqlite:///{shared}/registry.db", (shared / "artifacts").as_uri(), "full")
    held.register(registration(1))
    engine = held._connected()[0]._tracking_client.store.engine

    def capped(connection: Any, record: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(engine, "connect", capped)
    engine.dispose()
    large = registration(2)._replace(lineage={"libraries": "x" * 90_000})
    with pytest.raises(RegistryError, match="full") as caught:
        held.register(large)
    assert caught.value.retriable
    assert [version.version for version in held.versions()] == ["v1"]
    event.remove(engine, "connect", capped)
    engine.dispose()
    assert held.register(large).version == "v2"
    assert held.register(large).lineage == large.lineage
    assert [version.version for version in held.versions()] == ["v1", "v2"]


def test_a_server_that_never_answers_is_known_within_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        held = MlflowRegistry(f"http://127.0.0.1:{silent.getsockname()[1]}", "", "slow")
        began_s = time.monotonic()
        with pytest.raises(RegistryError, match="model registry: "):
            held.versions()
        assert time.monotonic() - began_s < 20.0
