"""The ``server.properties`` of a broker that is node, controller and cluster in one."""

from __future__ import annotations

from pathlib import Path

from tests.broker.secure import Listeners


def broker_properties(data: Path, port: int, controller_port: int, secure: Listeners | None = None) -> str:
    """Settings of a one-node cluster on localhost: quick rebalances, few internal partitions, no topics by accident."""
    addresses = {"PLAINTEXT": f"localhost:{port}", **(secure.names() if secure else {})}
    advertised = ",".join(f"{name}://{address}" for name, address in addresses.items())
    lines = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": f"localhost:{controller_port}",
        "listeners": f"{advertised},CONTROLLER://localhost:{controller_port}",
        "advertised.listeners": advertised,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "2",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "auto.create.topics.enable": "false",
        "log.cleaner.enable": "true",
        # A broker that was killed may come back when its last session has ended: soon.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        **(secure.properties() if secure else {}),
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())
