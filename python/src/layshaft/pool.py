"""Processes for handlers that compute: one attempt at a time in each, killed when stopped."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from .errors import Fatal
from .task import BlockingTask, set_current

# A call of a handler: function, whether it takes the task, input, and the facts of the task.
Call = tuple[Callable[..., bytes], bytes, tuple[Any, ...]]


class Failed(Exception):
    """The error of a handler, with its text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def error_text(error: BaseException) -> str:
    """Returns the text of a handler's error: one line, and then the traceback."""
    if isinstance(error, Failed):
        return error.text
    first = f"{type(error).__name__}: {error}" if not isinstance(error, Fatal) else str(error)
    if isinstance(error, Fatal):
        return first
    return first + "\n\n" + "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _end_with_parent() -> None:
    """Ends this process when the worker has ended, however that went: another worker gets the task."""
    if parent := multiprocessing.parent_process():
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _serve(pipe: Connection) -> None:
    """Runs calls from the pipe until it closes. It is the main function of a child process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker decides
    with contextlib.suppress(EOFError, OSError):
        while True:
            run, payload, facts = pipe.recv()

            def report(kind: str, value: Any) -> None:
                pipe.send((kind, value))
                pipe.recv()  # the worker has taken it

            task = BlockingTask(*facts, report=report, state=lambda: (False, False))
            set_current(task)
            try:
                pipe.send(("result", run(payload, task)))
            except Fatal as error:
                pipe.send(("fatal", error_text(error)))
            except Exception as error:
                pipe.send(("failed", error_text(error)))


class _Child:
    """A process and its pipe."""

    def __init__(self) -> None:
        # A forked child of a process with gRPC's threads may hang, so children are spawned.
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other,), daemon=True)
        self.process.start()
        other.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class ProcessPool:
    """Up to size processes. They start when they are needed, and live until close."""

    def __init__(self, size: int) -> None:
        self._idle: list[_Child] = []
        self._threads = ThreadPoolExecutor(size, "layshaft-pipe")

    async def run(self, call: Call, report: Callable[[str, Any], Any]) -> tuple[str, Any]:
        """Runs a call and returns how it ended: result, failed or fatal, and the bytes or the text.

        Reports go to the coroutine function report. If the caller is cancelled, the process is
        killed.
        """
        loop = asyncio.get_running_loop()
        child = self._idle.pop() if self._idle else await loop.run_in_executor(self._threads, _Child)
        try:
            message = await loop.run_in_executor(self._threads, _exchange, child.pipe, call)
            while message[0] not in ("result", "failed", "fatal"):
                await report(*message)
                message = await loop.run_in_executor(self._threads, _exchange, child.pipe, None)
        except (EOFError, OSError):
            await loop.run_in_executor(None, child.kill)
            return "failed", f"the process of the handler ended with {_ending(child.process.exitcode)}"
        except BaseException:
            child.process.kill()  # which ends the thread's read, too
            await asyncio.shield(loop.run_in_executor(None, child.kill))
            raise
        self._idle.append(child)
        return message

    def close(self) -> None:
        """Ends the idle processes."""
        for child in self._idle:
            child.kill()
        self._idle = []
        self._threads.shutdown(wait=False)


def _exchange(pipe: Connection, message: Any) -> tuple[str, Any]:
    pipe.send(message)
    answer: tuple[str, Any] = pipe.recv()
    return answer


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
