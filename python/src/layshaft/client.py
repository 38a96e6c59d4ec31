"""The client: do, enqueue, scatter, attach."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from types import TracebackType
from typing import Any, Generic, TypeVar, cast, overload

import grpc
import grpc.aio

from .connection import MAX_PAUSE, MIN_PAUSE, PROTOCOL, Channel, Cluster, Connection, cluster_of
from .errors import (
    FullError,
    InvalidError,
    LayshaftError,
    TaskCancelledError,
    TaskError,
    TaskFailedError,
    TaskLostError,
    TaskTimedOutError,
    UnavailableError,
    from_status,
    is_retryable,
)
from .payload import BATCH_BYTES, MAX_BATCH, PIECE, check_size, decode, encode
from .task import current_task
from .v1 import tasks_pb2 as pb

T = TypeVar("T")
R = TypeVar("R")

# The limit of a call with a small answer, in seconds.
_RPC_TIMEOUT = 30.0
# How long a client waits for the reason of a task that has not started, after its timeout, in seconds,
# and for how many tasks of a scatter it asks.
_EXPLAIN_WITHIN = 0.1
_MAX_QUESTIONS = 16
# How much of one try counts against the patience of a client, in seconds. No try with the pause before
# it takes longer: in the rest, this process was stopped or asleep.
_LONGEST_TRY = 45.0
# A try that took longer than this, in seconds, had reached the coordinator: connecting takes less.
_ANSWERED = 5.0
# The tasks of one scatter in progress.
_WINDOW = 16 << 10
# The largest number of tasks in one message of enqueue_all.
_MAX_BACKGROUND = 5000
# The default keep of background tasks, in seconds.
_KEEP = 600.0


class TaskID(str):
    """The ID of a task that was queued."""

    joined: bool = False
    """Whether the submit joined a task with its unique key, whose own input counts."""

    @classmethod
    def of(cls, number: int, joined: bool) -> TaskID:
        """Returns the ID with a number."""
        id = cls(f"{number:x}")
        id.joined = joined
        return id


class Priority(Enum):
    """The order of tasks over all functions. Low still gets one start in eighteen."""

    HIGH = 1
    NORMAL = 0
    LOW = 2


@dataclass(frozen=True)
class Next:
    """A task that follows another, with its result as input."""

    function: str
    priority: Priority = Priority.NORMAL
    attempts: int = 0
    backoff: float = 0
    max_backoff: float = 0
    soft_limit: float = 0
    hard_limit: float = 0


@dataclass(frozen=True)
class Options:
    """How a task runs. Times are in seconds; zero means the default."""

    priority: Priority = Priority.NORMAL
    unique: str = ""
    """A key: while a task of the function with this key has not ended, a submit joins it."""
    coalesce: str = ""
    """Like unique, but a submit during a run is followed by one more run."""
    after: float = 0
    """The delay of the start."""
    at: datetime | None = None
    """The earliest time of the start, with a time zone."""
    attempts: int = 0
    """The attempts that may fail; zero means 5."""
    backoff: float = 0
    """The pause before the second attempt; it doubles for each further one. Zero means 1 s."""
    max_backoff: float = 0
    """The longest pause between attempts; zero means an hour."""
    soft_limit: float = 0
    """The time after which the handler is asked to hurry."""
    hard_limit: float = 0
    """The time after which an attempt counts as failed and is stopped."""
    keep: float = 0
    """How long result and outcome are kept after the end; for enqueue zero means 10 minutes."""
    then: Sequence[Next | str] = ()
    """Tasks that follow, each with the result of the one before it as input."""
    lossy: bool = False
    """For enqueue: accept before the task is on disk, so that a restart may lose it."""

    def spec(self, function: str, payload: bytes, keep: float) -> Any:
        """Returns the message for a submit."""
        if not function or len(function.encode()) > 512:
            raise InvalidError(f"function {function[:40]!r}: a name has 1 to 512 bytes")
        if not isinstance(self.priority, Priority):
            raise InvalidError(f"priority {self.priority!r}: use Priority.HIGH, Priority.NORMAL or Priority.LOW")
        for name in ("after", "backoff", "max_backoff", "soft_limit", "hard_limit", "keep", "attempts"):
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), int if name == "attempts" else (int, float)):
                raise InvalidError(f"{name} {getattr(self, name)!r} must be a number{'' if name == 'attempts' else ' of seconds'}")
            if getattr(self, name) < 0:
                raise InvalidError(f"{name} {getattr(self, name)} must not be negative")
        keep = self.keep or keep
        spec = pb.TaskSpec(
            function=function,
            input=payload,
            unique=self.coalesce or self.unique,
            fresh=bool(self.coalesce),
            priority=cast(Any, self.priority.value),
            delay_nanos=_nanos(self.after),
            policy=_policy(self, keep),
        )
        if self.at is not None:
            if self.at.tzinfo is None:
                raise InvalidError(f"at {self.at} has no time zone, such as datetime.timezone.utc")
            spec.due_nanos = int((self.at - _EPOCH).total_seconds() * 1e6) * 1000
        if self.lossy:
            spec.durability = pb.DURABILITY_MEMORY
        for n in self.then:
            n = Next(n) if isinstance(n, str) else n
            spec.then.append(pb.NextTask(function=n.function, priority=cast(Any, n.priority.value), policy=_policy(n, keep)))
        if task := current_task():
            spec.parent = task.number
        return spec


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DEFAULT = Options()


def _nanos(seconds: float) -> int:
    return round(seconds * 1e9)


def _policy(o: Options | Next, keep: float) -> Any:
    return pb.TaskPolicy(
        attempts=o.attempts,
        backoff_nanos=_nanos(o.backoff),
        max_backoff_nanos=_nanos(o.max_backoff),
        soft_nanos=_nanos(o.soft_limit),
        hard_nanos=_nanos(o.hard_limit),
        keep_nanos=_nanos(keep),
    )


@dataclass(frozen=True)
class Update:
    """A message about a task for the client that waits for it."""

    kind: str
    """data, warning, progress, retry, followed or waiting."""
    task: str
    """The ID of the task."""
    index: int = 0
    """The index of the input in scatter."""
    done: int = 0
    total: int = 0
    """The progress, done of total. With retry, done is the number of the next attempt."""
    payload: bytes = b""
    """The partial result, the warning, the error of a retry, or the reason of a wait."""


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The end of one task of scatter."""

    index: int
    """The index of the input."""
    result: T | None = None
    error: LayshaftError | None = None
    """The error of a task without result."""

    def value(self) -> T:
        """Returns the result, or raises the error."""
        if self.error is not None:
            raise self.error
        return cast(T, self.result)


@dataclass(frozen=True)
class Status:
    """The state of a task."""

    id: str
    function: str
    state: str
    """waiting, delayed, running, done, failed or cancelled."""
    attempts: int
    error: str = field(default="")


class _Ended(Exception):
    """The stream ended before the answer. Its cause is the gRPC error."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


_Handler = Callable[[Any], None]


class _Stream:
    """A CallTasks stream for many tasks. Submits of one turn of the event loop share a message."""

    def __init__(self, channel: Channel, only_ends: bool) -> None:
        self.channel = channel
        self._call = channel.both_streams("CallTasks", pb.CallTasksResponse)()
        self._handlers: dict[int, _Handler] = {}
        self._lost: dict[int, Callable[[BaseException], None]] = {}
        self._next = 0
        self._out: list[Any] = []
        self._leaves: list[int] = []
        self._questions: list[int] = []
        self._work = asyncio.Event()
        self.error: BaseException | None = None
        options = pb.CallTasksOptions(only_ends=only_ends, protocol=PROTOCOL)
        self._sender = asyncio.ensure_future(self._send(pb.CallTasksRequest(options=options)))
        self._receiver = asyncio.ensure_future(self._receive())

    def submit(self, spec: Any, handler: _Handler, lost: Callable[[BaseException], None]) -> int:
        """Submits a task and returns its index. One of handler and lost is called later."""
        if self.error:
            raise _Ended(self.error)
        i = self._next
        self._next += 1
        self._handlers[i], self._lost[i] = handler, lost
        self._out.append(spec)
        self._work.set()
        return i

    def forget(self, i: int, leave: bool) -> None:
        """Ends the wait for a task; leave ends the task too, unless others wait for it."""
        if self._handlers.pop(i, None) is None:
            return
        self._lost.pop(i)
        if leave:
            self._leaves.append(i)
            self._work.set()

    def explain(self, i: int) -> None:
        """Asks why a task has not started. The handler gets the answer as a waiting update."""
        self._questions.append(i)
        self._work.set()

    async def _send(self, first: Any) -> None:
        try:
            await self._call.write(first)
            while True:
                await self._work.wait()
                await asyncio.sleep(0)  # callers that were answered together also submit together
                self._work.clear()
                out, self._out = self._out, []
                leaves, self._leaves = self._leaves, []
                questions, self._questions = self._questions, []
                await _write_tasks(self._call, out)
                if questions:
                    await self._call.write(pb.CallTasksRequest(explain=pb.TaskIndexes(indexes=questions)))
                if leaves:
                    await self._call.write(pb.CallTasksRequest(leave=pb.TaskIndexes(indexes=leaves)))
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # the receiver gets the cause

    async def _receive(self) -> None:
        error: BaseException
        try:
            async for updates in _updates(self._call):
                for u in updates:
                    if handler := self._handlers.get(u.index):
                        handler(u)
            error = UnavailableError("the coordinator closed the stream")
        except (grpc.RpcError, asyncio.CancelledError) as e:
            error = e
        self.error = error
        self._sender.cancel()
        lost, self._lost, self._handlers = self._lost, {}, {}
        for f in lost.values():
            f(error)

    async def close(self) -> None:
        """Ends the stream, and with it its foreground tasks."""
        self._call.cancel()
        self._sender.cancel()
        self._receiver.cancel()
        await asyncio.gather(self._sender, self._receiver, return_exceptions=True)


async def _write_tasks(call: Any, specs: list[Any]) -> None:
    """Sends tasks in as many messages as necessary, and a large input ahead, in pieces."""
    at = 0
    while at < len(specs):
        n, size = at, 0
        while n < len(specs) and n - at < MAX_BATCH and (n == at or size + len(specs[n].input) <= BATCH_BYTES):
            size += len(specs[n].input)
            n += 1
        batch = specs[at:n]
        if size > PIECE:
            whole, sent = batch[0].input, 0
            while len(whole) - sent > PIECE:
                await call.write(pb.CallTasksRequest(piece=whole[sent : sent + PIECE]))
                sent += PIECE
            rest = pb.TaskSpec()
            rest.CopyFrom(batch[0])
            rest.input = whole[sent:]
            batch[0] = rest
        await call.write(pb.CallTasksRequest(tasks=pb.TaskBatch(tasks=batch, abbreviated=True)))
        at = n


async def _updates(call: Any) -> AsyncIterator[Sequence[Any]]:
    """Yields the updates of a stream with whole bodies."""
    pieces: list[bytes] = []
    async for message in call:
        if message.piece:
            pieces.append(message.piece)
            continue
        if pieces and message.updates:
            _prefix(message.updates[0], b"".join(pieces))
            pieces = []
        yield message.updates


def _prefix(update: Any, head: bytes) -> None:
    kind = update.WhichOneof("event")
    if kind in ("data", "warning", "result"):
        setattr(update, kind, head + getattr(update, kind))
    elif kind in ("retrying", "failed"):
        part = getattr(update, kind)
        part.error = head + part.error


_FAILURES: dict[int, type[TaskError]] = {
    pb.TASK_REASON_TIMEOUT: TaskTimedOutError,
    pb.TASK_REASON_LOST: TaskLostError,
    pb.TASK_REASON_CANCELLED: TaskCancelledError,
}


def _is_last(update: Any) -> bool:
    kind = update.WhichOneof("event")
    return kind in ("result", "failed") or (kind == "accepted" and bool(update.accepted.refused))


def _refusal(function: str, accepted: Any) -> LayshaftError | None:
    if not accepted.refused:
        return None
    kind = FullError if accepted.full else InvalidError
    return kind(f"task {function} was refused: {accepted.refused}")


def _result(function: str, update: Any) -> bytes:
    """Returns the result of the last update of a task, or raises its error."""
    kind = update.WhichOneof("event")
    if kind == "result":
        return cast(bytes, update.result)
    if kind == "accepted":
        raise _refusal(function, update.accepted) or LayshaftError("no outcome")
    failure = _FAILURES.get(update.failed.reason, TaskFailedError)
    raise failure(f"{update.task:x}", function, update.failed.error.decode(errors="replace"))


def _public(update: Any, index: int) -> Update | None:
    """Returns an update as users see it; None if they do not."""
    kind, task = update.WhichOneof("event"), f"{update.task:x}"
    if kind in ("data", "warning"):
        return Update(kind, task, index, payload=getattr(update, kind))
    if kind == "progress":
        return Update(kind, task, index, update.progress.done, update.progress.total)
    if kind == "retrying":
        return Update("retry", task, index, update.retrying.attempt, payload=update.retrying.error)
    if kind == "waiting" and update.waiting.reason:
        return Update(kind, task, index, payload=update.waiting.reason.encode())
    if kind == "next":
        return Update("followed", task, index)
    return None


class Client:
    """Submits tasks and waits for them. Use it in one event loop.

    If the coordinator cannot be reached, a client tries again, also at the cluster's other
    addresses; see Cluster. A submit without an answer is repeated, and makes no second task.
    """

    def __init__(self, cluster: Cluster | str | None = None) -> None:
        self.cluster = cluster_of(cluster)
        self._connection = Connection(self.cluster)
        self._reached = False
        self._shared: dict[str, _Stream] = {}

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection. Calls in progress fail."""
        streams, self._shared = list(self._shared.values()), {}
        for s in streams:
            await s.close()
        await self._connection.close()
        await asyncio.sleep(0)  # lets tasks inside of gRPC end

    @overload
    async def do(self, function: str, input: object = None, *, out: type[T], timeout: float | None = None, on_update: Callable[[Update], None] | None = None, **options: Any) -> T: ...
    @overload
    async def do(self, function: str, input: object = None, *, timeout: float | None = None, on_update: Callable[[Update], None] | None = None, **options: Any) -> bytes: ...
    async def do(self, function: str, input: object = None, *, out: type[Any] = bytes, timeout: float | None = None, on_update: Callable[[Update], None] | None = None, **options: Any) -> Any:
        """Runs a task and returns its result as an out.

        The task ends with its caller: after timeout seconds, which raises TimeoutError, and when
        the coroutine is cancelled. The other options are those of Options.
        """
        spec = Options(**options).spec(function, check_size("an input", encode(input)), 0)
        delay = _Delay()

        async def run() -> bytes:
            if on_update:
                return await self._retry(lambda channel: self._do_alone(channel, spec, on_update, delay), delay)
            return await self._retry(lambda channel: self._do_shared(channel, spec, delay), delay)

        payload = await _limited(run(), timeout, f"task {function}", delay)
        return decode(payload, out)

    async def _do_shared(self, channel: Channel, spec: Any, delay: _Delay) -> bytes:
        return _result(spec.function, await self._ask(channel, spec, "foreground", leave=True, delay=delay))

    async def _ask(self, channel: Channel, spec: Any, which: str, leave: bool, delay: _Delay | None = None) -> Any:
        """Submits a task on a shared stream and returns its last update."""
        stream = self._shared.get(which)
        if stream is None or stream.error or stream.channel is not channel:
            # A stream of a former channel stays open for those who wait on it.
            stream = self._shared[which] = _Stream(channel, only_ends=True)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def handle(u: Any) -> None:
            if delay:
                delay.note(u)
            if _is_last(u) or (not leave and u.WhichOneof("event") == "accepted"):
                stream.forget(i, leave=False)
                if not future.done():
                    future.set_result(u)

        def lost(error: BaseException) -> None:
            if not future.done():
                future.set_exception(_Ended(error))

        i = stream.submit(spec, handle, lost)
        if delay:
            delay.ask = lambda: stream.explain(i)
        try:
            return await future
        except asyncio.CancelledError:
            stream.forget(i, leave)
            raise

    async def _do_alone(self, channel: Channel, spec: Any, on_update: Callable[[Update], None], delay: _Delay) -> bytes:
        async for _, u in self._stream_all(channel, spec.function, [(0, spec)], on_update, {0: delay}):
            return _result(spec.function, u)
        raise LayshaftError("no outcome")

    async def _stream_all(self, channel: Channel, function: str, specs: Sequence[tuple[int, Any]], on_update: Callable[[Update], None] | None, delays: dict[int, _Delay]) -> AsyncIterator[tuple[int, Any]]:
        """Runs tasks on a stream of their own and yields index and last update of each."""
        ends: asyncio.Queue[tuple[int, Any] | BaseException] = asyncio.Queue()
        stream = _Stream(channel, only_ends=on_update is None)
        try:
            todo, open = iter(specs), 0

            def submit_next() -> bool:
                index, spec = next(todo, (0, None))
                if spec is None:
                    return False

                delay = delays.setdefault(index, _Delay())

                def handle(u: Any) -> None:
                    delay.note(u)
                    if _is_last(u):
                        stream.forget(place, leave=False)
                        delays.pop(index, None)
                        ends.put_nowait((index, u))
                    elif on_update and not delay.asked and (public := _public(u, index)):
                        on_update(public)

                place = stream.submit(spec, handle, ends.put_nowait)
                delay.ask = lambda: stream.explain(place)
                return True

            while open < _WINDOW and submit_next():
                open += 1
            while open > 0:
                end = await ends.get()
                if isinstance(end, BaseException):
                    raise _Ended(end)
                open -= 1
                if submit_next():
                    open += 1
                yield end
        finally:
            await stream.close()

    @overload
    def scatter(self, function: str, inputs: Iterable[object], *, out: type[T], timeout: float | None = None, on_update: Callable[[Update], None] | None = None, **options: Any) -> AsyncIterator[Outcome[T]]: ...
    @overload
    def scatter(self, function: str, inputs: Iterable[object], *, timeout: float | None = None, on_update: Callable[[Update], None] | None = None, **options: Any) -> AsyncIterator[Outcome[bytes]]: ...
    async def scatter(self, function: str, inputs: Iterable[object], *, out: type[Any] = bytes, timeout: float | None = None, on_update: Callable[[Update], None] | None = None, **options: Any) -> AsyncIterator[Outcome[Any]]:
        """Runs one task for each input, and yields the outcomes as they come.

        After timeout seconds each input without an outcome gets an error, and its task ends.
        """
        o = Options(**options)
        left = {i: o.spec(function, check_size(f"input {i}", encode(v)), 0) for i, v in enumerate(inputs)}
        deadline = None if timeout is None else time.monotonic() + timeout
        trial = _Trial(self)
        delays: dict[int, _Delay] = {}
        away = _Delay()
        while left:
            channel = self._connection.channel()
            trial.begin()
            ends = self._stream_all(channel, function, list(left.items()), on_update, delays)
            try:
                while left:
                    wait = None if deadline is None else max(0.0, deadline - time.monotonic())
                    index, u = await _next_end(ends, wait, delays)
                    self._reached = True
                    del left[index]
                    try:
                        yield Outcome(index, decode(_result(function, u), out))
                    except LayshaftError as error:
                        yield Outcome(index, error=error)
            except (asyncio.TimeoutError, TimeoutError):
                await ends.aclose()  # type: ignore[attr-defined]
                known = next((why for delay in delays.values() if (why := delay.suffix())), "")
                for index in left:
                    why = delays.get(index, away).suffix() or known
                    yield Outcome(index, error=LayshaftError(f"input {index} of {function}: no result within {timeout} s{why}"))
                return
            except _Ended as error:
                away.failed(channel, error.cause)
                delays.clear()
                await trial.failed(channel, error.cause)
            finally:
                await ends.aclose()  # type: ignore[attr-defined]

    async def enqueue(self, function: str, input: object = None, **options: Any) -> TaskID:
        """Queues a background task, which is then on the coordinator's disk, and returns its ID."""
        spec = Options(**options).spec(function, check_size("an input", encode(input)), _KEEP)
        spec.parent, spec.background, spec.token = 0, True, random.getrandbits(64)

        async def submit(channel: Channel) -> Any:
            try:
                return await _answered(self._ask(channel, spec, "background", leave=False))
            finally:
                again = pb.TaskSpec()  # the stream may still use the message
                again.CopyFrom(spec)
                again.resubmitted = True
                _replace(again)

        def _replace(again: Any) -> None:
            nonlocal spec
            spec = again

        u = await self._retry(submit)
        if refused := _refusal(function, u.accepted):
            raise refused
        return TaskID.of(u.accepted.task or u.task, u.accepted.joined)

    async def enqueue_all(self, function: str, inputs: Iterable[object], **options: Any) -> list[TaskID]:
        """Queues a background task for each input, in few messages, and returns their IDs."""
        o = Options(**options)
        out: list[TaskID] = []
        batch: list[Any] = []
        size = 0

        async def flush() -> None:
            nonlocal size
            request = pb.SubmitTasksRequest(tasks=batch)

            async def submit(channel: Channel) -> Any:
                try:
                    return await _answered(channel.unary("SubmitTasks", pb.SubmitTasksResponse)(request))
                finally:
                    for spec in request.tasks:
                        spec.resubmitted = True

            for accepted in (await self._retry(submit)).accepted:
                if refused := _refusal(function, accepted):
                    raise refused
                out.append(TaskID.of(accepted.task, accepted.joined))
            batch.clear()
            size = 0

        for i, value in enumerate(inputs):
            payload = check_size(f"input {i}", encode(value))
            if batch and (len(batch) == _MAX_BACKGROUND or size + len(payload) > PIECE):
                await flush()
            if len(payload) > PIECE:
                out.append(await self.enqueue(function, payload, **options))
                continue
            spec = o.spec(function, payload, _KEEP)
            spec.parent, spec.token = 0, random.getrandbits(64)
            batch.append(spec)
            size += len(payload)
        if batch:
            await flush()
        return out

    @overload
    async def attach(self, id: str = "", *, function: str = "", unique: str = "", out: type[T], timeout: float | None = None, on_update: Callable[[Update], None] | None = None) -> T: ...
    @overload
    async def attach(self, id: str = "", *, function: str = "", unique: str = "", timeout: float | None = None, on_update: Callable[[Update], None] | None = None) -> bytes: ...
    async def attach(self, id: str = "", *, function: str = "", unique: str = "", out: type[Any] = bytes, timeout: float | None = None, on_update: Callable[[Update], None] | None = None) -> Any:
        """Waits for the end of a task that was queued earlier, and returns its result as an out.

        Name it by its ID, or by function and unique key. The task goes on if the caller leaves.
        """
        name = _task_name(id, function, unique)
        task = current_task()
        delay = _Delay()

        async def wait(channel: Channel) -> bytes:
            request = pb.WaitTaskRequest(name=name, only_ends=on_update is None, parent=task.number if task else 0)
            call = channel.server_stream("WaitTask", pb.WaitTaskResponse)(request)
            try:
                async for updates in _updates(call):
                    for u in updates:
                        delay.note(u)
                        if u.WhichOneof("event") == "next":  # go on with it after a broken connection
                            name.CopyFrom(pb.TaskName(task=u.next))
                        if _is_last(u):
                            return _result(function, u)
                        if on_update and (public := _public(u, 0)):
                            on_update(public)
            finally:
                call.cancel()
            raise _Ended(UnavailableError("the coordinator closed the stream"))

        def ask() -> None:
            async def answer() -> None:
                t = (await self._unary("GetTask", pb.GetTaskRequest(name=name), pb.GetTaskResponse)).task
                delay.note(pb.TaskUpdate(waiting=pb.TaskWaiting(reason=t.waiting_reason)))

            questions.append(asyncio.ensure_future(answer()))

        questions: list[asyncio.Future[None]] = []
        delay.ask = ask
        try:
            payload = await _limited(self._retry(wait, delay), timeout, f"task {id or function}", delay)
        finally:
            for question in questions:
                question.cancel()
            await asyncio.gather(*questions, return_exceptions=True)
        return decode(payload, out)

    async def status(self, id: str = "", *, function: str = "", unique: str = "") -> Status:
        """Returns the state of a task."""
        request = pb.GetTaskRequest(name=_task_name(id, function, unique))
        t = (await self._unary("GetTask", request, pb.GetTaskResponse)).task
        state = pb.TaskState.Name(t.state).removeprefix("TASK_STATE_").lower()
        return Status(f"{t.task:x}", t.function, state, t.attempts, t.error.decode(errors="replace"))

    async def cancel(self, *ids: str) -> list[str]:
        """Ends unfinished tasks, and returns the IDs of those that it ended."""
        request = pb.CancelTasksRequest(tasks=[_number(id) for id in ids])
        reply = await self._unary("CancelTasks", request, pb.CancelTasksResponse)
        return [f"{n:x}" for n in reply.tasks]

    async def _unary(self, method: str, request: Any, reply: Any) -> Any:
        async def call(channel: Channel) -> Any:
            return await _answered(channel.unary(method, reply)(request))

        return await self._retry(call)

    async def _retry(self, call: Callable[[Channel], Awaitable[R]], delay: _Delay | None = None) -> R:
        """Repeats a call until it succeeds or fails for good."""
        trial = _Trial(self)
        while True:
            channel = self._connection.channel()
            trial.begin()
            if delay:
                delay.trying(channel)
            try:
                out = await call(channel)
            except (grpc.RpcError, _Ended) as error:
                cause = error.cause if isinstance(error, _Ended) else error
                if delay:
                    delay.failed(channel, cause)
                await trial.failed(channel, cause)
                continue
            except TaskError:
                self._reached = True
                raise
            self._reached = True
            return out


class _Trial:
    """The tries of one call: it waits between them, and gives up in the end."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._failing = 0.0  # how long tries in a row have failed, in seconds
        self._last: float | None = None  # the end of the latest of them
        self._pause = MIN_PAUSE
        self.begin()

    def begin(self) -> None:
        self._begun = time.monotonic()

    async def failed(self, channel: Channel, error: BaseException) -> None:
        """Waits for the next try, or raises the error."""
        now = time.monotonic()
        c = self._client
        if now - self._begun > _ANSWERED:
            c._reached, self._failing, self._last, self._pause = True, 0.0, None, MIN_PAUSE
        if isinstance(error, grpc.RpcError):
            if not is_retryable(error):
                raise from_status(error) from None
        elif not isinstance(error, UnavailableError):
            raise UnavailableError("the client was closed") from None
        self._failing += min(now - (self._begun if self._last is None else self._last), _LONGEST_TRY)
        self._last = now
        left = (c.cluster.patience if c._reached else c.cluster.connect) - self._failing
        if left <= 0:
            why = error.details() if isinstance(error, grpc.RpcError) else error
            raise UnavailableError(f"coordinator {c.cluster.address}: {why}") from None
        c._connection.skip(channel)
        await asyncio.sleep(min(self._pause * random.uniform(0.5, 1), left))
        self._pause = min(self._pause * 2, MAX_PAUSE)


async def _answered(call: Awaitable[R]) -> R:
    """Returns the result of a call with a small answer, or raises UnavailableError after its limit.

    Only the time counts in which this process runs.
    """
    task = asyncio.ensure_future(call)
    left = _RPC_TIMEOUT
    try:
        while left > 0:
            begun = time.monotonic()
            done, _ = await asyncio.wait({task}, timeout=min(left, 1.0))
            if done:
                return task.result()
            left -= min(time.monotonic() - begun, 2.0)
    finally:
        task.cancel()
    raise UnavailableError(f"the coordinator does not answer within {_RPC_TIMEOUT:.0f} s")


class _Delay:
    """The reason why a call has no result yet."""

    def __init__(self) -> None:
        self._why = ""
        self._channel: Channel | None = None
        self.ask: Callable[[], None] | None = None
        """Asks the coordinator for the reason; note gets the answer."""
        self.asked = False
        self._answered = asyncio.Event()

    def trying(self, channel: Channel) -> None:
        """Takes the channel of the next try."""
        self._channel = channel

    def note(self, update: Any) -> None:
        """Takes the reason in an update. Any other update means that there is none."""
        self._why = update.waiting.reason if update.WhichOneof("event") == "waiting" else ""
        self._answered.set()

    async def explain(self) -> None:
        """Asks for a reason that is not known, and waits a little for the answer."""
        if self._why or not self.ask:
            return
        self.asked = True
        self._answered.clear()
        self.ask()
        try:
            await asyncio.wait_for(self._answered.wait(), _EXPLAIN_WITHIN)
        except asyncio.TimeoutError:
            pass  # the caller's error is the one that counts

    def failed(self, channel: Channel, error: BaseException) -> None:
        """Takes the error of a try."""
        why = error.details() if isinstance(error, grpc.RpcError) else error
        self._why = f"coordinator {channel.address}: {why}"

    def suffix(self) -> str:
        """Returns the reason as the end of an error."""
        why = self._why
        if not why and self._channel and self._channel.connecting():
            why = f"no answer yet from coordinator {self._channel.address}"
        return f"; {why}" if why else ""


async def _next_end(ends: AsyncIterator[R], timeout: float | None, delays: dict[int, _Delay]) -> R:
    """Returns the next end, or raises TimeoutError after timeout seconds, when delays have their reasons."""
    task = asyncio.ensure_future(ends.__anext__())
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout)
        if done:
            return task.result()
        await asyncio.gather(*(delay.explain() for delay in list(delays.values())[:_MAX_QUESTIONS]))
        raise TimeoutError
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _limited(call: Awaitable[R], timeout: float | None, what: str, delay: _Delay) -> R:
    """Returns the result of a call, or raises TimeoutError with the reason after timeout seconds."""
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout)
        if done:
            return task.result()
        await delay.explain()
        raise TimeoutError(f"{what}: no result within {timeout} s{delay.suffix()}")
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _number(id: str) -> int:
    try:
        # A handle of Gearman, such as H:host:17, has the number in decimal.
        return int(id.rpartition(":")[2]) if id.startswith("H:") else int(id, 16)
    except ValueError:
        raise InvalidError(f"{id!r} is not the ID of a task, which is 1 to 16 hexadecimal digits") from None


def _task_name(id: str, function: str, unique: str) -> Any:
    if id:
        return pb.TaskName(task=_number(id))
    if not function or not unique:
        raise InvalidError("name the task by its ID, or by function and unique key")
    return pb.TaskName(function=function, unique=unique)
