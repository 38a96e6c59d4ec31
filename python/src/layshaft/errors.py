"""Errors of clients, and the error that a handler raises to end its task."""

from __future__ import annotations

import grpc


class LayshaftError(Exception):
    """The base of all errors of this package except Fatal."""


class InvalidError(LayshaftError):
    """The request makes no sense. Repeating it cannot help."""


class UnavailableError(LayshaftError):
    """No coordinator could be reached in time."""


class ForbiddenError(LayshaftError):
    """The certificate of this process does not permit the request."""


class FullError(LayshaftError):
    """The task was refused because a queue, memory or disk is full. A later try may succeed."""


class UnknownTaskError(LayshaftError):
    """The task does not exist, or ended longer ago than its keep."""


class TaskError(LayshaftError):
    """The outcome of a task that has no result."""

    reason = "failed"

    def __init__(self, id: str, function: str, message: str) -> None:
        self.id = id
        self.function = function
        # The text of the handler's error; it may have several lines.
        self.message = message
        name = f"task {function} {id}" if function else f"task {id}"
        super().__init__(f"{name}: {self.reason}" + (f": {message}" if message else ""))

    def __reduce__(self) -> tuple[type[TaskError], tuple[str, str, str]]:
        return type(self), (self.id, self.function, self.message)


class TaskFailedError(TaskError):
    """The task failed for good, after its last attempt or with Fatal."""


class TaskTimedOutError(TaskFailedError):
    """The last attempt exceeded its hard limit."""

    reason = "took longer than its hard limit"


class TaskLostError(TaskFailedError):
    """The last attempt was lost with its worker."""

    reason = "its worker was lost"


class TaskCancelledError(TaskError):
    """The task was cancelled, or dropped because nobody waited for it."""

    reason = "cancelled"


class Fatal(Exception):
    """A handler raises Fatal to end its task without further attempts."""


class StoppedError(Exception):
    """A blocking call of a handler whose attempt the coordinator has stopped."""


_BY_CODE: dict[grpc.StatusCode, type[LayshaftError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidError,
    grpc.StatusCode.FAILED_PRECONDITION: InvalidError,
    grpc.StatusCode.UNIMPLEMENTED: InvalidError,
    grpc.StatusCode.NOT_FOUND: UnknownTaskError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: FullError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.PERMISSION_DENIED: ForbiddenError,
    grpc.StatusCode.UNAUTHENTICATED: ForbiddenError,
}


_OTHER_NAME = (
    "; the coordinator's certificate has another name: issue it again with layshaft cert issue, or set server_name or LAYSHAFT_TLS_SERVER_NAME to its name"
)


def from_status(error: grpc.RpcError) -> LayshaftError:
    """Returns the error of this package for a gRPC status."""
    kind = _BY_CODE.get(error.code(), LayshaftError)
    text = error.details() or error.code().name
    if any(words in text.lower() for words in ("hostname verification", "peer name")):
        text += _OTHER_NAME
    return kind(text)


def is_distrust(error: grpc.RpcError) -> bool:
    """Reports whether the two sides do not accept each other's certificates."""
    # A coordinator that ends, or a cut connection, also breaks a handshake, with many texts.
    text = (error.details() or "").lower()
    return any(word in text for word in ("certificate", "peer name", "ssl_error", "verification", "tsi_protocol_failure"))


def is_retryable(error: grpc.RpcError) -> bool:
    """Reports whether another try may succeed."""
    if error.code() == grpc.StatusCode.INTERNAL:  # gRPC's text for a connection that broke early
        return error.details() == "Internal error from Core"
    return error.code() == grpc.StatusCode.UNAVAILABLE and not is_distrust(error)
