"""The same broker in a container, where a Docker engine answers."""

from __future__ import annotations

from typing import Any

from tests.broker.java import START_TIMEOUT_S, answers, free_port

IMAGE = "apache/kafka:4.1.0"
PULL_AND_START_TIMEOUT_S = START_TIMEOUT_S


def engine_answers() -> bool:
    """Whether a Docker engine can be reached now (quick and quiet where there is none)."""
    import docker
    import requests

    try:
        client = docker.from_env(timeout=2)
    except docker.errors.DockerException:
        return False
    try:
        return bool(client.ping())
    except (docker.errors.DockerException, requests.RequestException):
        return False
    finally:
        client.close()


class DockerBroker:
    """A broker in a container that testcontainers removes at the end, also when this process is killed."""

    def __init__(self) -> None:
        self.port = free_port()
        self._container: Any = None

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the plain listener."""
        return f"localhost:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            Exception: whatever the engine says (no such image, no network).
            RuntimeError: it does not answer.
        """
        import time

        from testcontainers.core.container import DockerContainer

        self._container = DockerContainer(IMAGE).with_bind_ports(9092, self.port)
        for name, value in container_environment(self.port).items():
            self._container.with_env(name, value)
        self._container.start()
        deadline = time.monotonic() + PULL_AND_START_TIMEOUT_S
        while not answers(self.bootstrap):
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the container of {IMAGE} does not answer at {self.bootstrap}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Remove the container."""
        if self._container is not None:
            self._container.stop()


def container_environment(port: int) -> dict[str, str]:
    """The image's own way to say what ``broker_properties`` says; ``port`` is where the host finds it."""
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://localhost:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
