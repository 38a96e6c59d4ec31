import asyncio

import layshaft


async def main() -> None:
    async with layshaft.Client() as client:
        print(await client.do("reverse", "hello", out=str))

        id = await client.enqueue("reverse", "later", priority=layshaft.Priority.LOW)
        print(await client.attach(id, out=str))

        words = ["one", "two", "three"]
        async for outcome in client.scatter("reverse", words, out=str, timeout=10):
            print(words[outcome.index], outcome.value())


asyncio.run(main())
