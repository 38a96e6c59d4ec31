"""The worker: it runs the tasks of its functions until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import logging
import os
import random
import signal
import socket
import threading
import time
import typing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc
import grpc.aio

from .connection import MIN_PAUSE, PROTOCOL, Channel, Cluster, Connection, cluster_of
from .errors import Fatal, InvalidError, StoppedError, from_status, is_retryable
from .machine import processors
from .payload import BATCH_BYTES, MAX_BATCH, PIECE, check_size, decode, encode, gathered_json
from .pool import Failed, ProcessPool, error_text
from .task import BlockingTask, Task, set_current
from .v1 import tasks_pb2 as pb

F = TypeVar("F", bound=Callable[..., Any])
_Name = tuple[int, int]  # task and number of the attempt

_log = logging.getLogger("layshaft")

# Partial results waiting to be sent, in bytes. Handlers wait for room.
_MAX_QUEUED = 256 << 10
# The longest pause between tries to connect, in seconds.
_MAX_RECONNECT = 10.0
# How long the end of a worker waits for each answer of the coordinator, and for handlers after
# their cancellation, in seconds.
_ACK_WAIT, _STOP_WAIT = 2.0, 1.0
# The limit of an error text, in bytes.
_MAX_ERROR = 64 << 10
_DRAIN: _Name = (0, 0)
_BODIES = ("data", "warning", "result", "failed", "fatal")


def _run_blocking(function: Callable[..., Any], wants_task: bool, kind: Any, payload: bytes, task: BlockingTask) -> bytes:
    """Calls a handler. It is at module level, so that processes find it."""
    try:
        value = decode(payload, kind)
    except (InvalidError, UnicodeDecodeError) as error:
        raise Fatal(f"input of {task.function}: {error}") from None
    try:
        out = function(value, task) if wants_task else function(value)
    except (StopIteration, SystemExit) as error:  # a future takes neither
        raise Failed(error_text(error)) from None
    return _encode_result(task.function, out)


def _encode_result(function: str, out: object) -> bytes:
    try:
        return check_size("a result", encode(out))
    except InvalidError as error:
        raise Fatal(f"result of {function}: {error}") from None


class _Handler:
    """A function with what its signature asks for."""

    def __init__(self, name: str, function: Callable[..., Any], process: bool, hard_limit: float) -> None:
        self.name, self.function, self.process, self.hard_limit = name, function, process, hard_limit
        self.is_async = inspect.iscoroutinefunction(function)
        if process and self.is_async:
            raise InvalidError(f"function {name}: a coroutine cannot run in a process; write def, or leave out process")
        parameters = [
            p for p in inspect.signature(function).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
        ]
        if not 1 <= len(parameters) <= 2:
            raise InvalidError(f"function {name}: its handler must take the input, and may take the task as second parameter")
        self.wants_task = len(parameters) == 2
        try:
            hints = typing.get_type_hints(function)
        except NameError:
            hints = {}
        self.kind = hints.get(parameters[0].name, bytes)
        self.blocking = functools.partial(_run_blocking, function, self.wants_task, self.kind)


class _Attempt:
    """A running attempt."""

    def __init__(self, worker: Worker, assign: Any) -> None:
        self.worker, self.assign = worker, assign
        self.name: _Name = (assign.attempt.task, assign.attempt.attempt)
        self.facts = (
            f"{self.name[0]:x}", self.name[0], assign.function, self.name[1], assign.unique,
            f"layshaft-{worker._cluster or 'none'}-{assign.origin:x}-{self.name[0]:x}", assign.last,
        )
        self.run: asyncio.Task[None] | None = None
        self.task: Task | None = None
        self.hurry = False
        # Why the coordinator or the worker ended the attempt: stopped, torn or ending.
        self.stop = ""
        self.free = asyncio.Event()  # partial results may be sent
        self.free.set()
        self.sent_to: _Session | None = None

    def cancel(self, why: str) -> None:
        if not self.stop:
            self.stop = why
            if self.run:
                self.run.cancel()

    async def report(self, kind: str, value: Any) -> None:
        """Implements Reporter."""
        report = pb.TaskReport(attempt=pb.TaskAttempt(task=self.name[0], attempt=self.name[1]))
        if kind == "progress":
            report.progress.done, report.progress.total = value
            if session := self.worker._session:
                session.progress[self.name] = report
                session.work.set()
            return
        body = check_size("a partial result", encode(value))
        setattr(report, kind, body)
        while True:
            if self.stop:
                raise StoppedError("the attempt was stopped")
            session = self.worker._session
            if session is None:
                await self.worker._joined.wait()
            elif not self.free.is_set():
                await self.free.wait()
            elif session.bytes > 0 and session.bytes + len(body) > _MAX_QUEUED:
                await session.room.wait()
            else:
                self.sent_to = session
                session.put(report, len(body))
                return


class _Session:
    """One stream of a worker."""

    def __init__(self, worker: Worker, call: Any) -> None:
        self.worker, self.call = worker, call
        self.queue: list[Any] = []
        self.progress: dict[_Name, Any] = {}
        self.bytes = 0
        self.room = asyncio.Event()
        self.work = asyncio.Event()
        self.abilities = True
        self.beat = self.leaving = False
        self.over = asyncio.Event()
        self._pieces: list[bytes] = []

    def put(self, report: Any, size: int = 0) -> None:
        self.queue.append(report)
        if size:
            self.bytes += size
            self.room.clear()
        self.work.set()

    async def heartbeats(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            self.beat = True
            self.work.set()

    async def send(self) -> None:
        """Sends what waits, until the stream breaks. The receiver gets the cause."""
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            while True:
                await self.work.wait()
                await asyncio.sleep(0)  # ends of one turn share a message
                self.work.clear()
                abilities, self.abilities = self.abilities, False
                reports = [*self.progress.values(), *self.queue]
                beat, self.beat = self.beat and not reports, False
                self.progress, self.queue, self.bytes = {}, [], 0
                self.room.set()
                if abilities:
                    await self.call.write(pb.WorkTasksRequest(abilities=self.worker._abilities()))
                await self._send_reports(reports)
                if beat:
                    await self.call.write(pb.WorkTasksRequest(heartbeat=pb.TaskHeartbeat()))
                if self.leaving and not self.queue:
                    await self.call.write(pb.WorkTasksRequest(leaving=pb.TaskLeaving()))
                    await self.call.done_writing()
                    return

    async def _send_reports(self, reports: list[Any]) -> None:
        at = 0
        while at < len(reports):
            n, size = at, 0
            while n < len(reports) and n - at < MAX_BATCH and (n == at or size + len(_body(reports[n])) <= BATCH_BYTES):
                size += len(_body(reports[n]))
                n += 1
            batch = reports[at:n]
            if size > PIECE:  # one large report; the original may be sent again
                whole, sent = _body(batch[0]), 0
                while len(whole) - sent > PIECE:
                    await self.call.write(pb.WorkTasksRequest(piece=whole[sent : sent + PIECE]))
                    sent += PIECE
                rest = pb.TaskReport(attempt=batch[0].attempt)
                setattr(rest, batch[0].WhichOneof("content"), whole[sent:])
                batch[0] = rest
            await self.call.write(pb.WorkTasksRequest(reports=pb.TaskReports(reports=batch)))
            at = n

    def handle(self, m: Any) -> None:
        """Carries out a message of the coordinator."""
        w = self.worker
        for a in m.acks:
            w._ends.pop((a.task, a.attempt), None)
        for stop in m.stops:
            attempt = w._attempts.get((stop.attempt.task, stop.attempt.attempt))
            if attempt is None:
                continue
            if not stop.soft:
                attempt.cancel("timed out" if stop.reason == pb.TASK_REASON_TIMEOUT else "cancelled")
            else:
                attempt.hurry = True
                if attempt.task:
                    attempt.task.hurry.set()
        for i, assign in enumerate(m.assigns):
            if i == 0 and self._pieces and not m.piece:
                self._pieces.append(assign.input)
                assign.input = b"".join(self._pieces)
                self._pieces = []
            w._start(assign)
        if m.piece:
            self._pieces.append(m.piece)
        for ids, free in ((m.pauses, False), (m.resumes, True)):
            for id in ids:
                for attempt in w._attempts.values():
                    if attempt.name[0] == id:
                        attempt.free.set() if free else attempt.free.clear()
        w._changed.set()


def _body(report: Any) -> bytes:
    kind = report.WhichOneof("content")
    return getattr(report, kind) if kind in _BODIES else b""


class Worker:
    """Runs tasks of the functions added with handle.

    concurrency is the number of tasks at once; zero means the number of processors that this
    process may use, by its CPU mask and the CPU quotas of its cgroups. That suits handlers that
    compute; a worker of async handlers that wait for others should have more. reserved of these
    slots take only tasks of high priority. slots_of is the ID of a `layshaft worker` whose slots
    the tasks use. The worker ends by itself after max_tasks tasks, or after idle_exit seconds
    without one. drain is how long running tasks may go on after stop, in seconds.
    """

    def __init__(
        self,
        cluster: Cluster | str | None = None,
        *,
        name: str = "",
        concurrency: int = 0,
        reserved: int = 0,
        slots_of: str = "",
        max_tasks: int = 0,
        idle_exit: float = 0,
        drain: float = 30,
    ) -> None:
        self.cluster = cluster_of(cluster)
        self.cluster.addresses()
        self.concurrency = concurrency or processors()
        if not 0 <= reserved <= self.concurrency <= 1 << 16:
            raise InvalidError(f"concurrency {concurrency}, reserved {reserved}: use 1 to 65536, and reserved at most concurrency")
        self.name = f"{name or socket.gethostname().partition('.')[0]}-{os.getpid()}-{random.getrandbits(24):06x}"
        self.reserved, self.slots_of = reserved, slots_of
        self.max_tasks, self.idle_exit, self.drain = max_tasks, idle_exit, drain
        self._handlers: dict[str, _Handler] = {}
        self._attempts: dict[_Name, _Attempt] = {}
        self._ends: dict[_Name, Any] = {}  # ends that the coordinator has not acknowledged
        self._started = 0
        self._session: _Session | None = None
        self._cluster = ""  # the name of the coordinator's cluster
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_early = False

    def handle(self, function: str, *, process: bool = False, hard_limit: float = 0) -> Callable[[F], F]:
        """Returns a decorator that makes the worker run tasks of a function.

        The handler takes the input, and the task as second parameter if it has one. It may be a
        coroutine function. Another function runs in a thread, or with process in a process of its
        own, which uses another core and is killed when the task is cancelled or timed out. The
        annotation of the first parameter chooses how the input is decoded: bytes, which is the
        default, str, a dataclass, or any JSON type.

        An exception fails the attempt, and the task is tried again; Fatal ends the task. hard_limit
        is the time limit of an attempt in seconds.
        """

        def add(f: F) -> F:
            if not function or len(function.encode()) > 512:
                raise InvalidError(f"function {function[:40]!r}: a name has 1 to 512 bytes")
            if function in self._handlers:
                raise InvalidError(f"function {function} has two handlers")
            self._handlers[function] = _Handler(function, f, process, hard_limit)
            return f

        return add

    def run(self) -> None:
        """Runs tasks until SIGINT, SIGTERM or SIGHUP, which drain the worker.

        A second SIGINT or SIGTERM does not wait for running tasks. SIGHUP may stay ignored, as under nohup.
        """

        async def main() -> None:
            loop = asyncio.get_running_loop()

            def interrupt() -> None:
                if self._stop.is_set():
                    self.drain = 0
                    self._hurry_up.set()
                self.stop()

            if threading.current_thread() is threading.main_thread():
                for s in (signal.SIGINT, signal.SIGTERM):
                    with contextlib.suppress(NotImplementedError):  # on Windows
                        loop.add_signal_handler(s, interrupt)
                with contextlib.suppress(AttributeError, NotImplementedError):  # on Windows
                    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
                        loop.add_signal_handler(signal.SIGHUP, self.stop)  # a shell repeats it when its terminal closes
            await self.serve()

        asyncio.run(main())

    def stop(self) -> None:
        """Makes serve finish the running tasks and return. It may be called from any thread."""
        if self._loop is None:
            self._stop_early = True
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._stop.set)

    async def serve(self) -> None:
        """Runs tasks until stop, max_tasks or idle_exit.

        While no coordinator can be reached it tries again without limit, and running tasks go on.
        It raises an error if the first coordinator refuses the worker.
        """
        if not self._handlers:
            raise InvalidError("the worker has no function; add one with handle")
        self._loop = asyncio.get_running_loop()
        self._stop, self._changed, self._joined, self._hurry_up = asyncio.Event(), asyncio.Event(), asyncio.Event(), asyncio.Event()
        if self._stop_early:
            self._stop.set()
        self._offered = min(self.concurrency, self.max_tasks) if self.max_tasks else self.concurrency
        self._idle_since = time.monotonic()
        self._left = False
        self._threads = ThreadPoolExecutor(self.concurrency, "layshaft-task")
        self._processes = ProcessPool(self.concurrency)
        connection = Connection(self.cluster)
        link = asyncio.ensure_future(self._connect(connection))
        try:
            await self._wait_for_end(link)
            if not link.done():
                await self._drain()
        finally:
            for a in list(self._attempts.values()):
                a.cancel("ending")
            link.cancel()
            await asyncio.gather(link, return_exceptions=True)
            await connection.close()
            self._processes.close()
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._loop = None
        if not link.cancelled() and (error := link.exception()):
            raise error

    async def _wait_for_end(self, link: asyncio.Future[None]) -> None:
        stop = asyncio.ensure_future(self._stop.wait())
        patience = self.idle_exit * random.uniform(1, 1.25)
        try:
            while not link.done() and not self._stop.is_set():
                left: float | None = None
                if not self._attempts:
                    if self.max_tasks and self._started >= self.max_tasks:
                        return
                    if self.idle_exit:
                        left = self._idle_since + patience - time.monotonic()
                        if left <= 0:
                            return
                self._changed.clear()
                change = asyncio.ensure_future(self._changed.wait())
                # Without a limit there is nothing to look for at each change.
                watched = [change] if self.max_tasks or self.idle_exit else []
                waits: list[asyncio.Future[Any]] = [stop, link, *watched]
                await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
        finally:
            stop.cancel()

    async def _drain(self) -> None:
        """Takes no more tasks, and waits until the running ones have ended and their ends arrived."""
        self._offered = 0
        # An end without a task is acknowledged after all tasks that were assigned before the
        # coordinator got the offer of no slots.
        self._ends[_DRAIN] = pb.TaskReport(attempt=pb.TaskAttempt(), failed=b"")
        if self._session:
            self._session.abilities = True
            self._session.put(self._ends[_DRAIN])
        await self._wait_until(_ACK_WAIT, lambda: _DRAIN not in self._ends or self._session is None)
        if not await self._wait_until(self.drain, lambda: not self._attempts):
            for a in list(self._attempts.values()):
                a.cancel("ending")
            await self._wait_until(_STOP_WAIT, lambda: not self._attempts)
        await self._wait_until(_ACK_WAIT, lambda: not self._ends)
        if session := self._session:
            self._left = session.leaving = True
            session.work.set()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(session.over.wait(), _ACK_WAIT)

    async def _wait_until(self, limit: float, ok: Callable[[], bool]) -> bool:
        end = time.monotonic() + limit
        while not ok():
            self._changed.clear()
            left = end - time.monotonic()
            if left <= 0 or (limit == self.drain and self._hurry_up.is_set()):
                return False
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(left, 0.2))
        return True

    async def _connect(self, connection: Connection) -> None:
        """Keeps a session. It raises an error if the first one is refused."""
        pause, welcome, logged = MIN_PAUSE, False, ""
        while True:
            channel = connection.channel()
            try:
                await self._serve_session(channel)
                error: grpc.RpcError | None = None
            except grpc.RpcError as e:
                error = e
            if self._cluster:
                if not welcome or self._was_joined:
                    pause, logged = MIN_PAUSE, ""
                welcome = True
            if self._left:
                return
            why = (error.details() or error.code().name) if error else "the coordinator closed the stream"
            if error and not welcome and not is_retryable(error) and error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                raise from_status(error)
            if why != logged:
                _log.warning("no connection to %s; trying again: %s", channel.address, why)
                logged = why
            connection.skip(channel)
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, _MAX_RECONNECT)

    async def _serve_session(self, channel: Channel) -> None:
        self._was_joined = False
        hello = pb.TaskHello(worker=self.name, protocol=PROTOCOL, slots_of=self.slots_of, abilities=self._abilities())
        for task, number in [*self._attempts, *(name for name in self._ends if name != _DRAIN)]:
            hello.attempts.append(pb.TaskAttempt(task=task, attempt=number))
        if hello.attempts:
            hello.cluster = self._cluster
        call = channel.both_streams("WorkTasks", pb.WorkTasksResponse)()
        session = _Session(self, call)
        family: list[asyncio.Future[None]] = []
        try:
            with contextlib.suppress(asyncio.InvalidStateError):
                await call.write(pb.WorkTasksRequest(hello=hello))
            async for m in call:
                if not self._was_joined:
                    self._was_joined = True
                    _log.info("worker %s joined %s", self.name, channel.address)
                    self._cluster = m.welcome.cluster
                    family = [asyncio.ensure_future(session.heartbeats((m.welcome.lease_nanos or 4e9) / 4e9)), asyncio.ensure_future(session.send())]
                    self._session = session
                    session.queue = list(self._ends.values())
                    session.work.set()
                    self._joined.set()
                session.handle(m)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.INVALID_ARGUMENT:
                self._replace_largest(error)
            raise
        finally:
            call.cancel()
            if self._session is session:
                self._session = None
                self._joined.clear()
            for f in family:
                f.cancel()
            session.room.set()
            session.over.set()
            self._changed.set()
            for a in list(self._attempts.values()):
                a.free.set()
                if a.sent_to is session:
                    a.cancel("the connection broke after partial results were sent; it is unknown which of them arrived")

    def _replace_largest(self, error: grpc.RpcError) -> None:
        """Fails the task with the largest end: the coordinator may accept less than this worker."""
        name = max(self._ends, key=lambda n: len(_body(self._ends[n])), default=None)
        if name and (size := len(_body(self._ends[name]))) > _MAX_ERROR:
            text = f"the coordinator refused a report of {size} bytes: {error.details()}"
            self._ends[name] = pb.TaskReport(attempt=self._ends[name].attempt, fatal=text.encode())

    def _abilities(self) -> Any:
        functions = [pb.TaskFunction(function=h.name, timeout_nanos=round(h.hard_limit * 1e9)) for h in self._handlers.values()]
        offered = getattr(self, "_offered", self.concurrency)
        return pb.TaskAbilities(functions=functions, slots=offered, reserved=min(self.reserved, offered))

    def _start(self, assign: Any) -> None:
        attempt = _Attempt(self, assign)
        if attempt.name in self._attempts:
            return
        self._attempts[attempt.name] = attempt
        self._started += 1
        attempt.run = asyncio.ensure_future(self._execute(attempt))

    async def _execute(self, a: _Attempt) -> None:
        report = pb.TaskReport(attempt=pb.TaskAttempt(task=a.name[0], attempt=a.name[1]))
        try:
            report.result = await self._call_handler(a)
        except asyncio.CancelledError:
            report.failed = f"the attempt was stopped: {a.stop or 'its handler was cancelled'}".encode()
        except Fatal as error:
            report.fatal = error_text(error).encode()[:_MAX_ERROR]
        except (Exception, SystemExit) as error:  # SystemExit would end the worker, and others after it
            report.failed = error_text(error).encode()[:_MAX_ERROR]
        if a.stop.startswith("the connection") and report.WhichOneof("content") == "result":
            report.failed = a.stop.encode()
        del self._attempts[a.name]
        if not self._attempts:
            self._idle_since = time.monotonic()
        session = self._session
        if a.stop != "ending":  # other workers get the tasks of a worker that ends
            self._ends[a.name] = report
            if self.max_tasks:
                offer = max(0, min(self._offered, self.max_tasks - self._started + len(self._attempts)))
                if session and offer < self._offered:
                    session.abilities = True
                self._offered = offer
            if session:
                session.put(report)
        self._changed.set()

    async def _call_handler(self, a: _Attempt) -> bytes:
        handler = self._handlers.get(a.assign.function)
        if handler is None:
            raise LookupError(f"this worker has no function {a.assign.function}")
        payload = gathered_json(a.assign.input) if a.assign.gathered else a.assign.input
        if handler.is_async:
            a.task = task = Task(*a.facts, reporter=a)
            set_current(task)
            try:
                value = decode(payload, handler.kind)
            except (InvalidError, UnicodeDecodeError) as error:
                raise Fatal(f"input of {handler.name}: {error}") from None
            out = await (handler.function(value, task) if handler.wants_task else handler.function(value))
            return _encode_result(handler.name, out)
        if handler.process:
            kind, result = await self._processes.run((handler.blocking, payload, a.facts), a.report)
            if kind == "result":
                return bytes(result)
            raise Fatal(result) if kind == "fatal" else Failed(result)
        loop = asyncio.get_running_loop()

        def report(kind: str, value: Any) -> None:
            asyncio.run_coroutine_threadsafe(a.report(kind, value), loop).result()

        task_of_thread = BlockingTask(*a.facts, report=report, state=lambda: (bool(a.stop), a.hurry))
        context = contextvars.copy_context()
        context.run(set_current, task_of_thread)
        future = loop.run_in_executor(self._threads, context.run, handler.blocking, payload, task_of_thread)
        while True:
            try:
                return await asyncio.shield(future)
            except asyncio.CancelledError:
                # A thread cannot be stopped. Its slot stays in use until it returns.
                if future.done() or a.stop == "ending":
                    raise
