"""Listeners that ask who is there: SCRAM over TLS, and TLS with certificates on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.broker.certificates import Authority, Certificate


@dataclass(frozen=True, slots=True)
class Listeners:
    """What the broker needs (``server``, ``ca_file``) and what a client must know (the rest)."""

    sasl_port: int
    mutual_port: int
    ca_file: Path
    server: Certificate
    client: Certificate
    username: str
    password: str

    @property
    def sasl(self) -> str:
        """``host:port`` where a client shows a password (SASL_SSL, SCRAM-SHA-512)."""
        return f"localhost:{self.sasl_port}"

    @property
    def mutual(self) -> str:
        """``host:port`` where a client shows a certificate (SSL)."""
        return f"localhost:{self.mutual_port}"

    def names(self) -> dict[str, str]:
        """Listener name → address."""
        return {"SASL": self.sasl, "MUTUAL": self.mutual}

    def properties(self) -> dict[str, str]:
        """Broker settings of both listeners."""
        return {
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.server.both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca_file),
            "listener.name.mutual.ssl.client.auth": "required",
        }

    def format_arguments(self) -> list[str]:
        """What tells the storage tool about the user."""
        return ["--add-scram", f"SCRAM-SHA-512=[name={self.username},password={self.password}]"]


def listeners(folder: Path, sasl_port: int, mutual_port: int, password: str) -> Listeners:
    """Certificates for ``localhost`` (not for its address) and a user ``penstock``; files go to ``folder``."""
    authority = Authority(folder)
    return Listeners(
        sasl_port,
        mutual_port,
        authority.ca_file,
        authority.certificate("server", "localhost"),
        authority.certificate("client"),
        "penstock",
        password,
    )
