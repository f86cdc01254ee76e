"""A TCP proxy before a Kafka broker that can be slow, stall one way, reset, or tell when a commit has passed.

A network that drops packets one way does not lose bytes of a connection: they are sent again until that is over. So
what is stalled here is held back, and passed on later if the connection still lives.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

#: Number of the request that ends a transaction (commit or abort) in Kafka's protocol.
END_TXN = 26
CHUNK = 65_536
STALL_S = 0.02


@dataclass
class Weather:
    """What the network does now. ``latency_s`` is added per chunk and way."""

    latency_s: float = 0.0
    stall_requests: bool = False
    stall_answers: bool = False
    refuse: bool = False
    #: Called when a commit was passed on to the broker, before its answer is.
    on_commit: Callable[[], None] | None = field(default=None)


class Proxy:
    """Listens on ``front`` and passes connections on to ``upstream``, in the weather of the moment."""

    def __init__(self, front: int, upstream: int) -> None:
        self.weather = Weather()
        self._front, self._upstream = front, upstream
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to listen."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self._front), backlog=64)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def reset(self) -> int:
        """Break all connections as a router that restarts (RST); how many there were."""
        with self._lock:
            victims = list(self._open)
        for victim in victims:
            with contextlib.suppress(OSError):
                victim.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                victim.shutdown(socket.SHUT_RDWR)
        return len(victims) // 2

    def end(self) -> None:
        """Stop listening and break what is open."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.reset()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self.weather.refuse:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream), 5)
            except OSError:  # the broker is away
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for way in (self._requests, self._answers):
                threading.Thread(target=self._guarded, args=(way, client, server), daemon=True).start()

    def _guarded(
        self, way: Callable[[socket.socket, socket.socket], None], client: socket.socket, server: socket.socket
    ) -> None:
        with contextlib.suppress(OSError):
            way(client, server)
        with self._lock:
            self._open -= {client, server}
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        """Request by request, so that a commit is seen."""
        while frame := _frame(client):
            time.sleep(self.weather.latency_s)
            while self.weather.stall_requests:
                time.sleep(STALL_S)
            server.sendall(frame)
            (kind,) = struct.unpack_from(">h", frame, 4)
            hook = self.weather.on_commit
            if kind == END_TXN and hook is not None:
                hook()

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        while data := server.recv(CHUNK):
            time.sleep(self.weather.latency_s)
            while self.weather.stall_answers:
                time.sleep(STALL_S)
            client.sendall(data)


def _frame(connection: socket.socket) -> bytes:
    """The next length-prefixed request; empty at the end."""
    head = _exactly(connection, 4)
    if not head:
        return b""
    (length,) = struct.unpack(">i", head)
    return head + _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        data = connection.recv(min(count, CHUNK))
        if not data:
            return b""
        parts.append(data)
        count -= len(data)
    return b"".join(parts)
