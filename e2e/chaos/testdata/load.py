"""Clients that do, enqueue and scatter until standard input ends.

Each line of the output is one finished thing: "enqueue INPUT ID", "do INPUT", "scatter INPUT", or
"wrong ..." with what was wrong.
"""

import asyncio
import dataclasses
import sys
from collections.abc import Awaitable, Callable

import layshaft

ATTEMPTS = 100  # a fault never uses them up


async def every(pause: float, stopped: asyncio.Event, f: Callable[[int], Awaitable[None]]) -> None:
    i = 0
    while not stopped.is_set():
        try:
            await f(i)
        except Exception as error:
            print("wrong", f"{f.__name__} {i}:", type(error).__name__, error, flush=True)
        i += 1
        await asyncio.sleep(pause)


async def main() -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stopped.set)
    cluster = dataclasses.replace(layshaft.Cluster.from_env(), connect=60, patience=300)
    async with layshaft.Client(cluster) as client:

        async def enqueue(i: int) -> None:
            text = f"python-enqueue-{i}"
            id = await client.enqueue("count", text.encode(), attempts=ATTEMPTS, keep=24 * 3600)
            print("enqueue", text, id, flush=True)

        async def do(i: int) -> None:
            text = f"python-do-{i}"
            got = await client.do("count", text.encode(), attempts=ATTEMPTS)
            print("do" if got == text.encode() else f"wrong result {got!r} of", text, flush=True)

        async def scatter(i: int) -> None:
            texts = [f"python-scatter-{i}-{k}" for k in range(30)]
            seen = set()
            async for outcome in client.scatter("count", [t.encode() for t in texts], attempts=ATTEMPTS):
                if outcome.value() != texts[outcome.index].encode() or outcome.index in seen:
                    print("wrong outcome", outcome, "of", texts[outcome.index], flush=True)
                seen.add(outcome.index)
            print("scatter" if len(seen) == len(texts) else f"wrong: {len(seen)} results of", i, flush=True)

        await asyncio.gather(
            every(0.03, stopped, enqueue),
            every(0.02, stopped, do),
            every(0.5, stopped, scatter),
        )


asyncio.run(main())
