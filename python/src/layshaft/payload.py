"""The bytes of inputs and results: bytes, str, JSON."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any, TypeVar, cast

from .errors import InvalidError
from .v1 import tasks_pb2 as pb

T = TypeVar("T")

# The limits of bodies in bytes: of a payload, and of the pieces in which a large one is sent.
MAX_PAYLOAD = 64 << 20
PIECE = 1 << 20
# The limits of one message: tasks or reports, and about the bytes of their bodies.
MAX_BATCH = 500
BATCH_BYTES = 256 << 10


def encode(value: object) -> bytes:
    """Returns the payload of a value. It raises InvalidError without one."""
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise InvalidError(f"a value of type {type(value).__name__} has no JSON form: {error}") from None


def check_size(what: str, payload: bytes) -> bytes:
    """Returns the payload, or raises InvalidError if it is too large."""
    if len(payload) > MAX_PAYLOAD:
        raise InvalidError(f"{what} of {len(payload)} bytes is over the limit of {MAX_PAYLOAD}")
    return payload


def decode(payload: bytes, out: type[T]) -> T:
    """Returns the payload as an out: bytes, str, a dataclass, or any JSON value.

    The members of a dataclass are not converted. An empty payload is None for JSON types.
    """
    if out is bytes:
        return cast(T, payload)
    if out is str:
        return cast(T, payload.decode())
    if not payload:
        return cast(T, None)
    try:
        value: Any = json.loads(payload)
    except ValueError:
        text = repr(payload[:40]) + ("…" if len(payload) > 40 else "")
        raise InvalidError(f"payload {text} is not JSON, which {out!r} needs") from None
    if dataclasses.is_dataclass(out) and isinstance(value, dict):
        names = {f.name for f in dataclasses.fields(out)}
        return out(**{k: v for k, v in value.items() if k in names})
    return cast(T, value)


def gathered_json(payload: bytes) -> bytes:
    """Returns the results of a group as the JSON that every language gets; see docs/tasks.md."""
    rows: list[dict[str, Any]] = []
    outcomes = {pb.TASK_STATE_DONE: "done", pb.TASK_STATE_CANCELLED: "cancelled"}
    for r in pb.GatheredResults.FromString(payload).results:
        row: dict[str, Any] = {"id": f"{r.task:x}", "outcome": "done" if r.done else outcomes.get(r.state, "failed")}
        if not r.done:
            row["error"] = r.error.decode(errors="replace")
        else:
            row["encoding"], row["result"] = _as_json(r.result)
        rows.append(row)
    return json.dumps(rows, ensure_ascii=False).encode()


def _as_json(result: bytes) -> tuple[str, Any]:
    try:
        text = result.decode()
    except UnicodeDecodeError:
        return "base64", base64.b64encode(result).decode()
    try:
        return "json", json.loads(text)
    except ValueError:
        return "text", text
