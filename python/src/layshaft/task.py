"""The running task as its handler sees it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any, Protocol


class Reporter(Protocol):
    """Sends what a handler reports while it runs. Kind is data, warning or progress."""

    async def report(self, kind: str, value: Any) -> None: ...


class _Facts:
    """What is fixed for an attempt."""

    def __init__(self, id: str, number: int, function: str, attempt: int, unique: str, key: str, last: bool) -> None:
        self.id = id
        """The ID of the task, as commands and pages show it."""
        self.number = number
        """The ID as a number."""
        self.function = function
        """The name of the function."""
        self.attempt = attempt
        """The number of the attempt, from 1."""
        self.unique = unique
        """The unique key of the task; it may be empty."""
        self.key = key
        """The idempotency key: the same for all attempts at this task, and for no other task."""
        self.last = last
        """Whether no other attempt follows this one."""


class Task(_Facts):
    """The task of an async handler."""

    def __init__(self, *facts: Any, reporter: Reporter) -> None:
        super().__init__(*facts)
        self._reporter = reporter
        self.hurry = asyncio.Event()
        """Set when the soft limit has passed: the result still counts, but should come soon."""

    async def send(self, value: object) -> None:
        """Sends a partial result to the waiting clients. It waits while they read too slowly."""
        await self._reporter.report("data", value)

    async def warn(self, text: str) -> None:
        """Sends a message for people."""
        await self._reporter.report("warning", text)

    async def progress(self, done: int, total: int) -> None:
        """Reports that done of total parts are done. It does not wait."""
        await self._reporter.report("progress", (done, total))


class BlockingTask(_Facts):
    """The task of a handler that is no coroutine. It runs in a thread or in a process."""

    def __init__(self, *facts: Any, report: Callable[[str, Any], None], state: Callable[[], tuple[bool, bool]]) -> None:
        super().__init__(*facts)
        self._report = report
        self._state = state

    def send(self, value: object) -> None:
        """Sends a partial result to the waiting clients. It waits while they read too slowly."""
        self._report("data", value)

    def warn(self, text: str) -> None:
        """Sends a message for people."""
        self._report("warning", text)

    def progress(self, done: int, total: int) -> None:
        """Reports that done of total parts are done."""
        self._report("progress", (done, total))

    @property
    def stopped(self) -> bool:
        """Whether the result is no longer needed. A thread should return then.

        A process does not need to ask: it is killed.
        """
        return self._state()[0]

    @property
    def hurry(self) -> bool:
        """Whether the soft limit has passed."""
        return self._state()[1]


_current: contextvars.ContextVar[Task | BlockingTask | None] = contextvars.ContextVar("layshaft_task", default=None)


def current_task() -> Task | BlockingTask | None:
    """Returns the task whose handler calls, or None outside of handlers."""
    return _current.get()


def set_current(task: Task | BlockingTask) -> None:
    """Makes task the current one of this context."""
    _current.set(task)
