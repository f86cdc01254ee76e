"""The registry port: every version that ever passed its gates, with its lineage. Serving never needs it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from penstock.errors import RegistryError, UnknownVersionError
from penstock.models.artifact import ArtifactRef

_SQLITE = "sqlite:///"
#: How SQLAlchemy begins the line that holds the database's own words.
_OF_DATABASE = re.compile(r"\((?:\w+\.)+\w+\) ")


#: What an empty mapping of documents is.
_NONE: Mapping[str, str] = {}
#: Entries of the lineage that are tags of their own, to be searched for in MLflow's page.
_TAGGED = ("semantic_version", "trigger", "spec_digest", "data_digest", "git_commit", "lock_digest", "parent_version")


class Registration(NamedTuple):
    """What is recorded of a version. ``lineage`` answers where it came from; everything in it is text.

    ``documents`` are files by name (model card, evidence), ``description`` is one line for people.
    """

    run_id: str
    version: str
    artifact: ArtifactRef
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    lineage: Mapping[str, str]
    documents: Mapping[str, str] = _NONE
    description: str = ""


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version as the registry holds it. ``aliases``: what it is now (champion, challenger)."""

    run_id: str
    version: str
    artifact: ArtifactRef
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    lineage: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    archived: bool = False

    @property
    def semantic_version(self) -> str:
        """Major (spec), minor (data), patch (the same data again); empty where none was given."""
        return self.lineage.get("semantic_version", "")


class Registry(Protocol):
    """Versions of one pipeline. Every method may raise ``RegistryError`` (retriable: nothing is lost by a retry)."""

    def register(self, registration: Registration) -> RegisteredVersion:
        """Record a version. Idempotent by run id: what the run registered before is returned unchanged."""
        ...

    def set_alias(self, alias: str, version: str | None) -> None:
        """Make ``alias`` name ``version`` only, or nothing (None). Raises ``UnknownVersionError``."""
        ...

    def archive(self, version: str, archived: bool) -> None:
        """Mark a version as one that is not served any more, or take the mark away. Raises ``UnknownVersionError``."""
        ...

    def versions(self) -> list[RegisteredVersion]:
        """All versions, in the order in which they were registered."""
        ...

    def show(self, version: str) -> RegisteredVersion:
        """One version. Raises ``UnknownVersionError``."""
        ...


def _unknown(version: str) -> UnknownVersionError:
    return UnknownVersionError(f"version {version}: not in the registry; `penstock models list` shows what is")


class MemoryRegistry:
    """Versions in memory: backtests and tests."""

    def __init__(self) -> None:
        self._versions: dict[str, RegisteredVersion] = {}
        self._aliases: dict[str, str] = {}

    def register(self, registration: Registration) -> RegisteredVersion:
        """Keep the version, unless its run has one."""
        for held in self._versions.values():
            if held.run_id == registration.run_id:
                return self.show(held.version)
        self._versions[registration.version] = RegisteredVersion(
            registration.run_id,
            registration.version,
            registration.artifact,
            dict(registration.params),
            dict(registration.metrics),
            dict(registration.lineage),
        )
        return self.show(registration.version)

    def set_alias(self, alias: str, version: str | None) -> None:
        """Point ``alias`` at ``version``."""
        if version is None:
            self._aliases.pop(alias, None)
        else:
            self._aliases[alias] = self.show(version).version

    def archive(self, version: str, archived: bool) -> None:
        """Mark ``version`` as archived, or not."""
        for alias in self.show(version).aliases if archived else ():
            del self._aliases[alias]
        self._versions[version] = replace(self._versions[version], archived=archived)

    def versions(self) -> list[RegisteredVersion]:
        """All versions in order."""
        return [self.show(version) for version in self._versions]

    def show(self, version: str) -> RegisteredVersion:
        """One version with its aliases."""
        if version not in self._versions:
            raise _unknown(version)
        aliases = tuple(sorted(alias for alias, target in self._aliases.items() if target == version))
        return replace(self._versions[version], aliases=aliases)


class MlflowRegistry:
    """Versions in MLflow: an experiment and a registered model named after the pipeline.

    A version of Penstock's is a model version with the tag ``penstock.version``; MLflow's own number is only its row.
    MLflow takes about 5 s to import and set up, so that happens on first use. Not thread-safe.
    """

    def __init__(self, tracking_uri: str, artifact_location: str, pipeline: str) -> None:
        self._tracking_uri = tracking_uri
        self._artifact_location = artifact_location
        self._name = pipeline
        self._connection: tuple[Any, str] | None = None

    def register(self, registration: Registration) -> RegisteredVersion:
        """Record a version; each step looks up before it creates, so a crash in between is mended by a repeat.

        1. The MLflow run, by its tag. 2. What is said about it (again: the same values). 3. The model version, by run.
        """
        client, experiment = self._connected()
        with _Translated():
            found = self._search(client, f"tags.`penstock.run_id` = '{_quoted(registration.run_id)}'")
            if found:
                return self._described(client, found[0])
            run = self._run(client, experiment, registration)
            _say(client, run.info.run_id, registration)
            created = client.create_model_version(
                self._name,
                source=registration.artifact.uri,
                run_id=run.info.run_id,
                tags=_tags(registration),
                description=registration.description or None,
            )
            return self._described(client, created)

    def _run(self, client: Any, experiment: str, registration: Registration) -> Any:
        tag = f"tags.`penstock.run_id` = '{_quoted(registration.run_id)}'"
        runs = client.search_runs([experiment], tag, max_results=1)
        if runs:
            return runs[0]
        tags = {"penstock.run_id": registration.run_id}
        return client.create_run(experiment, tags=tags, run_name=registration.version)

    def set_alias(self, alias: str, version: str | None) -> None:
        """Set or remove MLflow's alias."""
        client, _ = self._connected()
        with _Translated():
            if version is None:
                client.delete_registered_model_alias(self._name, alias)
            else:
                client.set_registered_model_alias(self._name, alias, self._row(client, version).version)

    def archive(self, version: str, archived: bool) -> None:
        """Tag the version ``archived`` and take its aliases away; or take the tag away."""
        client, _ = self._connected()
        with _Translated():
            row = self._row(client, version)
            client.set_model_version_tag(self._name, row.version, "archived", "true" if archived else "false")
            for alias in self._aliases(client).get(str(row.version), ()) if archived else ():
                client.delete_registered_model_alias(self._name, alias)

    def versions(self) -> list[RegisteredVersion]:
        """All versions in order."""
        client, _ = self._connected()
        with _Translated():
            return [self._described(client, row) for row in self._search(client, "")]

    def show(self, version: str) -> RegisteredVersion:
        """One version."""
        client, _ = self._connected()
        with _Translated():
            return self._described(client, self._row(client, version))

    def _row(self, client: Any, version: str) -> Any:
        found = self._search(client, f"tags.`penstock.version` = '{_quoted(version)}'")
        if not found:
            raise _unknown(version)
        return found[0]

    def _search(self, client: Any, condition: str) -> list[Any]:
        """Rows of this model, oldest first."""
        where = f"name = '{_quoted(self._name)}'" + (f" and {condition}" if condition else "")
        rows: list[Any] = []
        token = None
        while True:
            page = client.search_model_versions(where, max_results=200, page_token=token)
            rows.extend(page)
            token = page.token
            if not token:
                return sorted(rows, key=lambda row: int(row.version))

    def _aliases(self, client: Any) -> dict[str, tuple[str, ...]]:
        """Aliases by MLflow's number of the version."""
        held: dict[str, tuple[str, ...]] = {}
        for alias, number in sorted(client.get_registered_model(self._name).aliases.items()):
            held[str(number)] = (*held.get(str(number), ()), alias)
        return held

    def _described(self, client: Any, row: Any) -> RegisteredVersion:
        tags = row.tags
        said = client.get_run(row.run_id).data
        return RegisteredVersion(
            run_id=tags["penstock.run_id"],
            version=tags["penstock.version"],
            artifact=ArtifactRef(
                row.source, tags["penstock.digest"], tags["penstock.signature"], int(tags["penstock.size_bytes"])
            ),
            params=dict(said.params),
            metrics=dict(said.metrics),
            lineage=msgspec.json.decode(tags["penstock.lineage"], type=dict[str, str]),
            aliases=self._aliases(client).get(str(row.version), ()),
            archived=tags.get("archived") == "true",
        )

    def _connected(self) -> tuple[Any, str]:
        if self._connection is None:
            with _Translated():
                _make_file(self._tracking_uri)
                client = _client(self._tracking_uri)
                self._connection = (client, self._ready(client))
        return self._connection

    def _ready(self, client: Any) -> str:
        """The experiment's id; experiment and registered model exist afterwards."""
        experiment = client.get_experiment_by_name(self._name)
        identity = (
            client.create_experiment(self._name, artifact_location=self._artifact_location)
            if experiment is None
            else experiment.experiment_id
        )
        if not client.search_registered_models(f"name = '{_quoted(self._name)}'"):
            client.create_registered_model(self._name)
        return str(identity)


def _quoted(text: str) -> str:
    return text.replace("'", "")


def _tags(registration: Registration) -> dict[str, str]:
    artifact = registration.artifact
    return {
        "penstock.run_id": registration.run_id,
        "penstock.version": registration.version,
        "penstock.digest": artifact.digest,
        "penstock.signature": artifact.signature,
        "penstock.size_bytes": str(artifact.size_bytes),
        "penstock.lineage": msgspec.json.encode(dict(registration.lineage)).decode(),
        "archived": "false",
        **{name: registration.lineage[name] for name in _TAGGED if name in registration.lineage},
    }


def _say(client: Any, run: str, registration: Registration) -> None:
    from mlflow.entities import Metric, Param, RunTag

    metrics = [Metric(name, value, 0, 0) for name, value in registration.metrics.items()]
    params = [Param(name, value) for name, value in registration.params.items()]
    tags = [RunTag(f"lineage.{name}", value) for name, value in registration.lineage.items()]
    client.log_batch(run, metrics, params, tags)
    client.log_dict(run, {**registration.lineage, "artifact": registration.artifact._asdict()}, "lineage.json")
    for name, text in registration.documents.items():
        client.log_text(run, text, name)
    client.set_terminated(run)


def _make_file(tracking_uri: str) -> None:
    """Make a new SQLite registry under another name first: MLflow never mends one that it was killed in while making.

    1. Build. 2. Link, which never replaces what another process has made meanwhile. 3. Remove what builders left.
    """
    if not tracking_uri.startswith(_SQLITE) or not tracking_uri.removeprefix(_SQLITE):
        return
    path = Path(tracking_uri.removeprefix(_SQLITE))
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f"{path.name}.{os.getpid()}.building")
    building.unlink(missing_ok=True)
    _client(f"{_SQLITE}{building}").search_experiments(max_results=1)
    with suppress(FileExistsError):
        os.link(building, path)
    for left in path.parent.glob(f"{path.name}.*.building*"):
        left.unlink(missing_ok=True)


def _client(tracking_uri: str) -> Any:
    # MLflow reports its use over the network unless these are set before it is imported.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    # An unreachable server must be known within seconds: the caller retries, and MLflow's own retries take minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    import logging

    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):  # only now: the import sets levels of its own
        logging.getLogger(name).setLevel(logging.WARNING)

    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


class _Translated:
    """Turns whatever MLflow raises into ``RegistryError``; our own errors pass."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, UnknownVersionError):
            raise RegistryError(f"model registry: {_line_of(error)[:300]}") from error


def _line_of(error: Exception) -> str:
    """One line for people: what the database said, where it was one; else the first line."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return next((line for line in lines if _OF_DATABASE.match(line)), lines[0])
