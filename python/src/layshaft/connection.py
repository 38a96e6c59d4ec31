"""The way to a coordinator: addresses, certificates, and channels."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from .errors import InvalidError

# This package's version of the wire protocol layshaft.v1.
PROTOCOL = 1

# Pauses between tries to connect, in seconds.
MIN_PAUSE, MAX_PAUSE = 0.01, 2.0

_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
)

_LONGEST_CONNECT = 3.0  # the limit of one attempt to connect, in seconds


def _try_ms(limit: float) -> int:
    """Returns the limit of one attempt, in ms, so that a whole number of them takes limit seconds."""
    return max(int(1000 * limit / max(math.ceil(limit / _LONGEST_CONNECT), 1)), 1)


@dataclass(frozen=True)
class TLS:
    """PEM files for mutual TLS. They are read at each connection, so they may be renewed."""

    ca: str
    """The file with the certificate of the cluster's CA."""
    cert: str
    """The file with the certificate of this process: role worker, or for clients role client."""
    key: str
    """The file with the private key of cert. One that every user can read is refused."""
    server_name: str = "coordinator.layshaft"
    """The host name in the coordinator's certificate. `layshaft cert issue` gives the default to
    coordinators only, so no other process passes for one; empty means the host of the address."""


@dataclass(frozen=True)
class Cluster:
    """The addresses of a cluster's coordinators, and the settings of the connection."""

    address: str = "127.0.0.1:7070"
    """HOST:PORT, or several separated by commas. A client stays with one that answers."""
    tls: TLS | None = None
    """The certificates; None means a connection without TLS."""
    connect: float = 10.0
    """The seconds for which a client tries to reach a coordinator for the first time."""
    patience: float = 120.0
    """The seconds for which a client tries to reach a coordinator that it has reached before."""

    @classmethod
    def from_env(cls, address: str = "") -> Cluster:
        """Returns a Cluster with LAYSHAFT_CLUSTER, LAYSHAFT_TLS_CA, _CERT, _KEY and _SERVER_NAME."""
        env = os.environ.get
        tls = None
        if ca := env("LAYSHAFT_TLS_CA", ""):
            tls = TLS(ca, env("LAYSHAFT_TLS_CERT", ""), env("LAYSHAFT_TLS_KEY", ""), env("LAYSHAFT_TLS_SERVER_NAME", TLS.server_name))
        return cls(address or env("LAYSHAFT_CLUSTER", "") or cls.address, tls)

    def addresses(self) -> list[str]:
        """Returns the list of addresses. It raises InvalidError for a wrong one."""
        out: list[str] = []
        for a in (part.strip() for part in self.address.split(",")):
            host, colon, port = a.rpartition(":")
            if a and (not colon or not port.isdecimal() or int(port) > 65535):
                raise InvalidError(f"{a!r} is not HOST:PORT, such as 127.0.0.1:7070; commas separate several addresses")
            if a and a not in out:
                out.append(a)
        if not out:
            raise InvalidError("the cluster has no address; name HOST:PORT")
        return out


def cluster_of(cluster: Cluster | str | None) -> Cluster:
    """Returns the Cluster for an argument of a client or worker. None means the environment."""
    if isinstance(cluster, Cluster):
        return cluster
    return Cluster.from_env(cluster or "")


class Channel:
    """A channel to one address, with the calls that this package makes."""

    def __init__(self, address: str, channel: grpc.aio.Channel) -> None:
        self.address = address
        self.grpc = channel
        self._calls: dict[str, Any] = {}

    def connecting(self) -> bool:
        """Reports whether the connection is not open yet."""
        return self.grpc.get_state() is grpc.ChannelConnectivity.CONNECTING

    def unary(self, method: str, reply: Any) -> Any:
        """Returns the call of a method with one request and one reply of the given type."""
        return self._call(method, reply, self.grpc.unary_unary)

    def server_stream(self, method: str, reply: Any) -> Any:
        """Returns the call of a method with one request and a stream of replies."""
        return self._call(method, reply, self.grpc.unary_stream)

    def both_streams(self, method: str, reply: Any) -> Any:
        """Returns the call of a method with two streams."""
        return self._call(method, reply, self.grpc.stream_stream)

    def _call(self, method: str, reply: Any, kind: Any) -> Any:
        if method not in self._calls:
            self._calls[method] = kind(
                f"/layshaft.v1.TasksService/{method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=reply.FromString,
            )
        return self._calls[method]


class Connection:
    """The channels of one client or worker: one is current, and others are tried when it fails."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._addresses = cluster.addresses()
        self._current = 0
        self._channels: dict[tuple[str, object], Channel] = {}
        if cluster.tls:
            self._credentials(cluster.tls)  # errors should come early

    def channel(self) -> Channel:
        """Returns the current channel. It connects on first use."""
        address = self._addresses[self._current]
        tls = self.cluster.tls
        version = tuple(os.stat(f).st_mtime_ns for f in (tls.ca, tls.cert, tls.key)) if tls else None
        known = self._channels.get((address, version))
        if known is None:
            known = Channel(address, self._open(address))
            self._channels[address, version] = known
        return known

    def skip(self, failed: Channel) -> None:
        """Makes the next address current, unless failed is not current any longer."""
        if self._addresses[self._current] == failed.address:
            self._current = (self._current + 1) % len(self._addresses)

    def _open(self, address: str) -> grpc.aio.Channel:
        tls = self.cluster.tls
        options = [*_OPTIONS, ("grpc.min_reconnect_backoff_ms", _try_ms(self.cluster.connect))]
        if tls is None:
            return grpc.aio.insecure_channel(address, options=options)
        if tls.server_name:
            options.append(("grpc.ssl_target_name_override", tls.server_name))
        return grpc.aio.secure_channel(address, self._credentials(tls), options=options)

    @staticmethod
    def _credentials(tls: TLS) -> grpc.ChannelCredentials:
        def read(name: str, path: str) -> bytes:
            try:
                with open(path, "rb") as f:
                    return f.read()
            except OSError as error:
                raise InvalidError(f"TLS {name}: {error}") from None

        key = read("key", tls.key)
        mode = stat.S_IMODE(os.stat(tls.key).st_mode)
        if os.name == "posix" and mode & 0o007:
            raise InvalidError(f"TLS key {tls.key} is open to every user of this machine (mode {mode:04o}); close it: chmod o= {tls.key}")
        return grpc.ssl_channel_credentials(read("ca", tls.ca), key, read("cert", tls.cert))

    async def close(self) -> None:
        """Closes all channels. Calls in progress fail."""
        channels, self._channels = self._channels, {}
        for c in channels.values():
            await c.grpc.close()
