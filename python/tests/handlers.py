"""The worker of the tests, a program of its own: spawned processes import it again."""

import asyncio
import dataclasses
import os
import signal
import sys
import time

import layshaft

worker = layshaft.Worker(concurrency=64, drain=float(os.environ.get("DRAIN", "30")))


@dataclasses.dataclass
class Point:
    x: int
    y: int


@worker.handle("py-echo")
async def echo(data: bytes) -> bytes:
    return data


@worker.handle("py-sum")
async def add(numbers: list) -> int:  # type: ignore[type-arg]
    return sum(numbers)


@worker.handle("py-point")
def mirror(p: Point) -> Point:
    return Point(p.y, p.x)


@worker.handle("py-facts")
async def facts(_: bytes, task: layshaft.Task) -> dict[str, object]:
    return {"id": task.id, "attempt": task.attempt, "key": task.key, "unique": task.unique, "function": task.function}


@worker.handle("py-steps")
async def steps(n: int, task: layshaft.Task) -> str:
    for i in range(n):
        await task.progress(i + 1, n)
        await task.send(f"part {i}")
    await task.warn("careful")
    return "end"


@worker.handle("py-blocking-steps")
def blocking_steps(n: int, task: layshaft.BlockingTask) -> str:
    for i in range(n):
        task.progress(i + 1, n)
        task.send(f"part {i}")
    return f"end of {layshaft.current_task().id}"  # type: ignore[union-attr]


@worker.handle("py-process-steps", process=True)
def process_steps(n: int, task: layshaft.BlockingTask) -> str:
    blocking_steps(n, task)
    return str(os.getpid())


@worker.handle("py-spin", process=True)
def spin(path: str) -> None:
    with open(path, "w") as f:
        f.write(str(os.getpid()))
    while True:
        pass


@worker.handle("py-die", process=True)
def die(_: bytes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@worker.handle("py-raise")
def raise_it(how: str) -> None:
    if how == "stop":
        next(iter(()))
    sys.exit(3)


@worker.handle("py-raise-process", process=True)
def raise_it_there(how: str) -> None:
    raise_it(how)


@worker.handle("py-raise-async")
async def raise_it_async(_: bytes) -> None:
    sys.exit(3)


@worker.handle("py-fail")
async def fail(how: str, task: layshaft.Task) -> str:
    if how == "fatal":
        raise layshaft.Fatal("no way")
    if task.attempt < 3:
        raise ValueError(f"attempt {task.attempt}")
    return f"attempt {task.attempt}"


@worker.handle("py-wait")
async def wait(path: str) -> str:
    with open(path, "a") as f:
        f.write("begun\n")
    try:
        while not os.path.exists(path + ".go"):
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        with open(path, "a") as f:
            f.write("cancelled\n")
        raise
    return "went"


@worker.handle("py-hurry", hard_limit=30)
async def hurry(_: bytes, task: layshaft.Task) -> str:
    await task.hurry.wait()
    return "hurried"


@worker.handle("py-slow", hard_limit=0.2)
def slow(_: bytes, task: layshaft.BlockingTask) -> None:
    while not task.stopped:
        time.sleep(0.01)


@worker.handle("py-outer")
async def outer(text: str) -> str:
    async with layshaft.Client() as client:
        return await client.do("py-echo", text, out=str)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "few":
        worker = layshaft.Worker(max_tasks=2)
        worker.handle("py-few")(echo)
    worker.run()
