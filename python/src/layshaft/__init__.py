"""Client and worker for the task queue of a Layshaft coordinator.

A worker, which runs until Ctrl-C::

    import layshaft

    worker = layshaft.Worker("127.0.0.1:7070")

    @worker.handle("reverse")
    def reverse(text: str) -> str:
        return text[::-1]

    if __name__ == "__main__":
        worker.run()

A client::

    async with layshaft.Client("127.0.0.1:7070") as client:
        print(await client.do("reverse", "hello", out=str))

`layshaft.blocking` has the same client without asyncio.

Inputs and results are bytes on the wire. A str is sent as UTF-8, bytes unchanged, None as nothing,
a dataclass and every other value as JSON. The receiver names the type that it wants: a handler by
the annotation of its parameter, a client by `out`.
"""

from .client import Client, Next, Outcome, Priority, Status, TaskID, Update
from .connection import TLS, Cluster
from .errors import (
    Fatal,
    ForbiddenError,
    FullError,
    InvalidError,
    LayshaftError,
    StoppedError,
    TaskCancelledError,
    TaskError,
    TaskFailedError,
    TaskLostError,
    TaskTimedOutError,
    UnavailableError,
    UnknownTaskError,
)
from .task import BlockingTask, Task, current_task
from .worker import Worker

__version__ = "0.1.0"

__all__ = [
    "TLS",
    "BlockingTask",
    "Client",
    "Cluster",
    "Fatal",
    "ForbiddenError",
    "FullError",
    "InvalidError",
    "LayshaftError",
    "Next",
    "Outcome",
    "Priority",
    "Status",
    "StoppedError",
    "Task",
    "TaskCancelledError",
    "TaskError",
    "TaskFailedError",
    "TaskID",
    "TaskLostError",
    "TaskTimedOutError",
    "UnavailableError",
    "UnknownTaskError",
    "Update",
    "Worker",
    "current_task",
]
