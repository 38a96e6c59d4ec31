"""The client without asyncio, for scripts, Django, notebooks. It is safe for concurrent use.

::

    with layshaft.blocking.Client("127.0.0.1:7070") as client:
        print(client.do("reverse", "hello", out=str))
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar, overload

from . import client as _client
from .connection import Cluster

T = TypeVar("T")


class Client:
    """Runs a layshaft.Client in an event loop of its own; see there for the arguments."""

    def __init__(self, cluster: Cluster | str | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="layshaft", daemon=True)
        self._thread.start()
        try:
            self._client: _client.Client = self._run(self._open(cluster))
        except BaseException:
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise

    @staticmethod
    async def _open(cluster: Cluster | str | None) -> _client.Client:
        return _client.Client(cluster)

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except BaseException:  # such as KeyboardInterrupt: the task ends with its caller
            future.cancel()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection. Calls in progress fail."""
        if self._loop.is_running():
            self._run(self._client.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @overload
    def do(self, function: str, input: object = None, *, out: type[T], **options: Any) -> T: ...
    @overload
    def do(self, function: str, input: object = None, **options: Any) -> bytes: ...
    def do(self, function: str, input: object = None, *, out: type[Any] = bytes, **options: Any) -> Any:
        """Runs a task and returns its result."""
        return self._run(self._client.do(function, input, out=out, **options))

    @overload
    def scatter(self, function: str, inputs: Iterable[object], *, out: type[T], **options: Any) -> Iterator[_client.Outcome[T]]: ...
    @overload
    def scatter(self, function: str, inputs: Iterable[object], **options: Any) -> Iterator[_client.Outcome[bytes]]: ...
    def scatter(self, function: str, inputs: Iterable[object], *, out: type[Any] = bytes, **options: Any) -> Iterator[_client.Outcome[Any]]:
        """Runs one task for each input, and yields the outcomes as they come."""
        outcomes: Any = self._client.scatter(function, inputs, out=out, **options)

        async def following() -> _client.Outcome[Any] | None:
            return await anext(outcomes, None)

        try:
            while (outcome := self._run(following())) is not None:
                yield outcome
        finally:
            self._run(outcomes.aclose())

    def enqueue(self, function: str, input: object = None, **options: Any) -> _client.TaskID:
        """Queues a background task and returns its ID."""
        return self._run(self._client.enqueue(function, input, **options))

    def enqueue_all(self, function: str, inputs: Iterable[object], **options: Any) -> list[_client.TaskID]:
        """Queues a background task for each input, in few messages, and returns their IDs."""
        return self._run(self._client.enqueue_all(function, inputs, **options))

    @overload
    def attach(self, id: str = "", *, out: type[T], **options: Any) -> T: ...
    @overload
    def attach(self, id: str = "", **options: Any) -> bytes: ...
    def attach(self, id: str = "", *, out: type[Any] = bytes, **options: Any) -> Any:
        """Waits for the end of a task that was queued earlier, and returns its result."""
        return self._run(self._client.attach(id, out=out, **options))

    def status(self, id: str = "", *, function: str = "", unique: str = "") -> _client.Status:
        """Returns the state of a task."""
        return self._run(self._client.status(id, function=function, unique=unique))

    def cancel(self, *ids: str) -> list[str]:
        """Ends unfinished tasks, and returns the IDs of those that it ended."""
        return self._run(self._client.cancel(*ids))
