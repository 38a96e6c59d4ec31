"""A task worker that appends one line per execution to a file, as internal/ledger does."""

import asyncio
import logging
import os
import sys
import zlib

import layshaft

worker = layshaft.Worker(concurrency=4)


@worker.handle("count")
async def count(payload: bytes, task: layshaft.Task) -> bytes:
    h = zlib.crc32(payload)
    # A Gearman job ends with its first failure.
    if h % 10 == 0 and task.attempt == 1 and not payload.startswith(b"gearman-"):
        raise RuntimeError("the first attempt fails")
    await asyncio.sleep(h % 33 / 1000)  # up to 32 ms, so that faults meet running attempts
    os.write(ledger, payload + b" " + task.id.encode() + b"\n")  # one write: lines stay whole
    return payload


@worker.handle("square", process=True)
def square(n: int) -> int:
    return n * n


@worker.handle("sum")
def add(numbers: list[int]) -> int:
    return sum(numbers)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    ledger = os.open(sys.argv[1], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    worker.run()
