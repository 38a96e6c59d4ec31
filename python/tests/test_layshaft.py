"""Tests against the real coordinator, the program that LAYSHAFT_BIN names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable

import grpc

import layshaft
import layshaft.blocking
from layshaft.connection import Cluster
from layshaft.errors import from_status, is_retryable

HERE = pathlib.Path(__file__).parent
BIN = os.environ.get("LAYSHAFT_BIN", "layshaft")
PATIENCE = 40.0

_ports = [a for a in os.environ.get("LAYSHAFT_TEST_ADDRESSES", "").split(",") if a]


def free_address() -> str:
    if _ports:
        return _ports.pop()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


class Coordinator:
    def __init__(self, *args: str, address: str = "") -> None:
        self.address, self.dir, self.args = address or free_address(), tempfile.mkdtemp(), args
        self.start()

    def start(self) -> None:
        self.log = open(self.dir + ".log", "a")  # noqa: SIM115
        self.process = subprocess.Popen(
            [BIN, "coordinator", "-data", self.dir, "-listen", self.address, "-http", "none", "-gossip", "127.0.0.1:0", *self.args],
            stdout=self.log, stderr=self.log,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)
        os.unlink(self.dir + ".log")


def start_worker(address: str, *args: str, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(HERE / "handlers.py"), *args], env={**os.environ, "LAYSHAFT_CLUSTER": address, **env})


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


async def until(ok: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ok():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come")
        await asyncio.sleep(0.01)


def text_of(path: pathlib.Path) -> str:
    return path.read_text() if path.exists() else ""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):  # not Linux, or it has just ended
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return True


class Base(unittest.IsolatedAsyncioTestCase):
    coordinator: Coordinator
    worker: subprocess.Popen[bytes]

    def setUp(self) -> None:
        self.dir = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    async def asyncSetUp(self) -> None:
        self.client = layshaft.Client(Cluster(self.coordinator.address, connect=PATIENCE, patience=PATIENCE))
        self.addAsyncCleanup(self.client.close)


class TestTasks(Base):
    """One coordinator and one worker for all tests of the class."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.coordinator = Coordinator()
        cls.worker = start_worker(cls.coordinator.address)

    @classmethod
    def tearDownClass(cls) -> None:
        end(cls.worker)
        cls.coordinator.close()

    async def test_do(self) -> None:
        self.assertEqual(await self.client.do("py-echo", b"\x00\xff"), b"\x00\xff")
        self.assertEqual(await self.client.do("py-echo", "ä", out=str), "ä")
        self.assertEqual(await self.client.do("py-echo", None), b"")
        self.assertEqual(await self.client.do("py-sum", [1, 2, 3], out=int), 6)
        self.assertEqual(await self.client.do("py-point", {"x": 1, "y": 2}, out=dict), {"x": 2, "y": 1})

    async def test_facts(self) -> None:
        facts = await self.client.do("py-facts", out=dict, unique="k")
        self.assertEqual((facts["attempt"], facts["unique"], facts["function"]), (1, "k", "py-facts"))
        self.assertRegex(facts["key"], "^layshaft-.*-" + facts["id"] + "$")

    async def test_many_at_once(self) -> None:
        results = await asyncio.gather(*(self.client.do("py-sum", [i, 1], out=int) for i in range(2000)))
        self.assertEqual(results, [i + 1 for i in range(2000)])

    async def test_large(self) -> None:
        large = os.urandom(5 << 20)
        self.assertEqual(await self.client.do("py-echo", large), large)
        id = await self.client.enqueue("py-echo", large)
        self.assertEqual(await self.client.attach(id), large)
        with self.assertRaisesRegex(layshaft.InvalidError, "over the limit"):
            await self.client.do("py-echo", bytes((64 << 20) + 1))

    async def test_updates(self) -> None:
        for function in ("py-steps", "py-blocking-steps", "py-process-steps"):
            updates: list[layshaft.Update] = []
            out = await self.client.do(function, 3, out=str, on_update=updates.append)
            self.assertTrue(out.startswith("end") or out.isdecimal(), out)
            self.assertEqual([u.payload for u in updates if u.kind == "data"], [b"part 0", b"part 1", b"part 2"])
            progress = [(u.done, u.total) for u in updates if u.kind == "progress"]
            self.assertEqual(progress[-1], (3, 3), function)
            if function == "py-steps":
                self.assertEqual([u.payload for u in updates if u.kind == "warning"], [b"careful"])

    async def test_scatter(self) -> None:
        seen = {}
        async for o in self.client.scatter("py-sum", [[i, i] for i in range(500)], out=int):
            seen[o.index] = o.value()
        self.assertEqual(seen, {i: 2 * i for i in range(500)})
        errors = [o.error async for o in self.client.scatter("py-fail", ["fatal"])]
        self.assertRegex(str(errors[0]), "no way")

    async def test_scatter_timeout(self) -> None:
        path = str(self.dir / "w")
        outcomes = [o async for o in self.client.scatter("py-wait", [path], timeout=0.3)]
        self.assertRegex(str(outcomes[0].error), "no result within 0.3 s")

    async def test_retries(self) -> None:
        updates: list[layshaft.Update] = []
        out = await self.client.do("py-fail", "twice", out=str, backoff=0.01, on_update=updates.append)
        self.assertEqual(out, "attempt 3")
        retries = [u.payload for u in updates if u.kind == "retry"]
        self.assertEqual(len(retries), 2)
        self.assertTrue(retries[0].startswith(b"ValueError: attempt 1\n\nTraceback"), retries[0])
        with self.assertRaises(layshaft.TaskFailedError) as caught:
            await self.client.do("py-fail", "twice", attempts=1)
        self.assertIn("ValueError: attempt 1", caught.exception.message)
        with self.assertRaisesRegex(layshaft.TaskFailedError, "no way"):
            await self.client.do("py-fail", "fatal")
        with self.assertRaisesRegex(layshaft.TaskFailedError, "is not JSON"):
            await self.client.do("py-sum", "{")

    async def test_enqueue(self) -> None:
        ids = await self.client.enqueue_all("py-sum", [[i] for i in range(300)])
        self.assertEqual(len(set(ids)), 300)
        self.assertEqual(await self.client.attach(ids[7], out=int), 7)
        self.assertEqual((await self.client.status(ids[7])).state, "done")
        id = await self.client.enqueue("py-sum", [1], unique="u", after=3600, priority=layshaft.Priority.HIGH)
        self.assertFalse(id.joined)
        again = await self.client.enqueue("py-sum", [2], unique="u", after=3600)
        self.assertEqual((again, again.joined), (id, True))
        again, fresh = await self.client.enqueue_all("py-sum", [[3]], unique="u", after=3600) + await self.client.enqueue_all("py-sum", [[3]], after=3600)
        self.assertEqual((again, again.joined, fresh.joined), (id, True, False))
        self.assertEqual((await self.client.status(function="py-sum", unique="u")).state, "delayed")
        self.assertEqual(await self.client.cancel(id), [id])
        with self.assertRaises(layshaft.TaskCancelledError):
            await self.client.attach(id)
        with self.assertRaises(layshaft.UnknownTaskError):
            await self.client.status("fffffff")

    async def test_then(self) -> None:
        out = await self.client.do("py-sum", [1, 2], out=str, then=["py-echo", layshaft.Next("py-echo")])
        self.assertEqual(out, "3")

    async def test_cancelled_caller(self) -> None:
        path = self.dir / "w"
        call = asyncio.ensure_future(self.client.do("py-wait", str(path)))
        await until(lambda: text_of(path) == "begun\n", "the start")
        call.cancel()
        await until(lambda: text_of(path) == "begun\ncancelled\n", "the end")

    async def test_timeout(self) -> None:
        with self.assertRaisesRegex(TimeoutError, "task py-wait: no result within 0.2 s"):
            await self.client.do("py-wait", str(self.dir / "w"), timeout=0.2)

    async def test_reason_of_a_wait(self) -> None:
        want = "no result within 4 s; no worker can run function py-nobody; start one"

        async def do() -> None:
            with self.assertRaisesRegex(TimeoutError, want):
                await self.client.do("py-nobody", timeout=4)

        async def attach() -> None:
            id = await self.client.enqueue("py-nobody")
            with self.assertRaisesRegex(TimeoutError, want):
                await self.client.attach(id, timeout=4)

        async def scatter() -> None:
            async for outcome in self.client.scatter("py-nobody", [1], timeout=4):
                self.assertRegex(str(outcome.error), want)

        async def brief() -> None:
            want = "no result within 0.3 s; no worker can run function py-nobody; start one"
            with self.assertRaisesRegex(TimeoutError, want):
                await self.client.do("py-nobody", timeout=0.3)
            heard: list[layshaft.Update] = []
            with self.assertRaisesRegex(TimeoutError, want):
                await self.client.do("py-nobody", timeout=0.3, on_update=heard.append)
            self.assertEqual(heard, [])
            id = await self.client.enqueue("py-nobody")
            with self.assertRaisesRegex(TimeoutError, want):
                await self.client.attach(id, timeout=0.3)
            async for outcome in self.client.scatter("py-nobody", range(20), timeout=0.3):
                self.assertRegex(str(outcome.error), want)

        async def lost() -> None:
            async with layshaft.Client(free_address()) as client:
                with self.assertRaisesRegex(TimeoutError, "no result within 2 s; coordinator 127.0.0.1:"):
                    await client.do("py-nobody", timeout=2)

        async def silent() -> None:
            with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel accepts connections
                address = f"127.0.0.1:{server.getsockname()[1]}"
                async with layshaft.Client(layshaft.Cluster(address, connect=1)) as client:
                    with self.assertRaisesRegex(TimeoutError, f"no result within 0.5 s; no answer yet from coordinator {address}"):
                        await client.do("py-nobody", timeout=0.5)
                async with layshaft.Client(layshaft.Cluster(address, connect=1)) as client:
                    with self.assertRaisesRegex(layshaft.UnavailableError, f"coordinator {address}: .*timed out"):
                        await client.enqueue("py-nobody")

        await asyncio.gather(do(), attach(), scatter(), brief(), lost(), silent())

    async def test_process_is_killed(self) -> None:
        path = self.dir / "pid"
        call = asyncio.ensure_future(self.client.do("py-spin", str(path)))
        await until(lambda: text_of(path) != "", "the start")
        pid = int(text_of(path))
        self.assertTrue(is_alive(pid))
        call.cancel()
        await until(lambda: not is_alive(pid), "the end of the process")
        with self.assertRaisesRegex(layshaft.TaskFailedError, "ended with SIGKILL"):
            await self.client.do("py-die", attempts=1)

    async def test_odd_exceptions(self) -> None:
        # A future takes no StopIteration, and SystemExit would end the worker.
        for function, how, text in (
            ("py-raise", "stop", "StopIteration"), ("py-raise", "exit", "SystemExit: 3"), ("py-raise-async", "", "SystemExit: 3"),
            ("py-raise-process", "stop", "StopIteration"), ("py-raise-process", "exit", "SystemExit: 3"),
        ):
            with self.assertRaisesRegex(layshaft.TaskFailedError, text):
                await self.client.do(function, how, attempts=1, timeout=10)
        self.assertEqual(await self.client.do("py-echo", b"x"), b"x")

    async def test_limits(self) -> None:
        self.assertEqual(await self.client.do("py-hurry", soft_limit=0.1, out=str), "hurried")
        with self.assertRaises(layshaft.TaskTimedOutError):
            await self.client.do("py-slow", attempts=1)

    async def test_call_from_handler(self) -> None:
        self.assertEqual(await self.client.do("py-outer", "x", out=str), "x")

    async def test_invalid(self) -> None:
        for call, text in (
            (lambda: self.client.do("", b""), "a name has 1 to 512 bytes"),
            (lambda: self.client.do("f", attempts=-1), "attempts -1 must not be negative"),
            (lambda: self.client.do("f", priority="low"), "priority 'low': use Priority.HIGH"),
            (lambda: self.client.do("f", attempts="x"), "attempts 'x' must be a number"),
            (lambda: self.client.do("f", after="10"), "after '10' must be a number of seconds"),
            (lambda: self.client.do("f", object()), "has no JSON form"),
            (lambda: self.client.attach("xyz"), "is not the ID of a task"),
            (lambda: self.client.attach(function="f"), "by function and unique key"),
        ):
            with self.assertRaisesRegex(layshaft.InvalidError, text):
                await call()  # type: ignore[no-untyped-call]
        with self.assertRaisesRegex(layshaft.InvalidError, "not HOST:PORT"):
            layshaft.Client("nowhere")
        with self.assertRaisesRegex(layshaft.InvalidError, "no function"):
            await layshaft.Worker(self.coordinator.address).serve()

    async def test_max_tasks(self) -> None:
        worker = start_worker(self.coordinator.address, "few")
        self.addCleanup(end, worker)
        await asyncio.gather(self.client.do("py-few"), self.client.do("py-few"))
        await until(lambda: worker.poll() == 0, "the end of the worker")

    async def test_blocking(self) -> None:
        def use() -> None:
            with layshaft.blocking.Client(self.coordinator.address) as client:
                self.assertEqual(client.do("py-echo", "x", out=str), "x")
                self.assertEqual(sorted(o.value() for o in client.scatter("py-sum", [[1], [2]], out=int)), [1, 2])
                id = client.enqueue("py-echo", "y")
                self.assertEqual(client.attach(id, out=str), "y")
                self.assertEqual(client.status(id).state, "done")

        await asyncio.to_thread(use)

    async def test_worker_in_this_process(self) -> None:
        worker = layshaft.Worker(self.coordinator.address)
        threads = set()

        @worker.handle("here")
        def here(_: bytes) -> None:
            threads.add(threading.current_thread().name)

        serving = asyncio.ensure_future(worker.serve())
        await self.client.do("here")
        self.assertTrue(all(t.startswith("layshaft-task") for t in threads) and threads)
        worker.stop()
        await serving


class TestFaults(Base):
    """Each test has its own coordinator."""

    def setUp(self) -> None:
        super().setUp()
        self.coordinator = Coordinator()
        self.addCleanup(self.coordinator.close)

    def start_worker(self, *args: str, **env: str) -> subprocess.Popen[bytes]:
        worker = start_worker(self.coordinator.address, *args, **env)
        self.addCleanup(end, worker)
        return worker

    async def test_restart(self) -> None:
        """A running attempt goes on while the coordinator is away, and its result counts."""
        self.start_worker()
        path = self.dir / "w"
        id = await self.client.enqueue("py-wait", str(path))
        waiter = asyncio.ensure_future(self.client.attach(id, out=str))
        await until(lambda: text_of(path) == "begun\n", "the start")
        self.coordinator.kill()
        later = asyncio.ensure_future(self.client.enqueue("py-sum", [1, 2]))
        self.coordinator.start()
        self.assertEqual(await self.client.attach(await later, out=int), 3)
        (self.dir / "w.go").touch()
        self.assertEqual(await waiter, "went")
        self.assertEqual(text_of(path), "begun\n")  # one attempt, not cancelled

    async def test_drain(self) -> None:
        for s in (signal.SIGTERM, signal.SIGHUP):
            worker = self.start_worker()
            path = self.dir / s.name
            call = asyncio.ensure_future(self.client.do("py-wait", str(path), out=str))
            await until(lambda: text_of(path) == "begun\n", "the start")
            worker.send_signal(s)
            if s == signal.SIGHUP:
                worker.send_signal(s)
            (self.dir / (s.name + ".go")).touch()
            self.assertEqual(await call, "went")
            await until(lambda: worker.poll() == 0, "the end of the worker")

    async def test_process_ends_with_its_worker(self) -> None:
        """A killed worker leaves no process behind: its task runs elsewhere."""
        worker = self.start_worker()
        path = self.dir / "pid"
        call = asyncio.ensure_future(self.client.do("py-spin", str(path)))
        await until(lambda: text_of(path) != "", "the start")
        pid = int(text_of(path))
        worker.kill()
        await until(lambda: not is_alive(pid), "the end of the process")
        call.cancel()

    async def test_end_without_drain(self) -> None:
        """A worker that ends returns its tasks, and another one gets them."""
        first = self.start_worker(DRAIN="0")
        path = self.dir / "w"
        call = asyncio.ensure_future(self.client.do("py-wait", str(path), out=str))
        await until(lambda: text_of(path) == "begun\n", "the start")
        first.send_signal(signal.SIGTERM)
        await until(lambda: first.poll() == 0, "the end of the worker")
        self.start_worker()
        await until(lambda: text_of(path).count("begun\n") == 2 or call.done(), "the second attempt")
        (self.dir / "w.go").touch()
        self.assertEqual(await call, "went")

    async def test_several_addresses(self) -> None:
        addresses = f"{free_address()},{self.coordinator.address}"
        self.start_worker(LAYSHAFT_CLUSTER=addresses)
        async with layshaft.Client(addresses) as client:
            self.assertEqual(await client.do("py-echo", "x", out=str), "x")

    async def test_unreachable(self) -> None:
        async with layshaft.Client(Cluster(free_address(), connect=0.2)) as client:
            with self.assertRaisesRegex(layshaft.UnavailableError, "coordinator 127.0.0.1:"):
                await client.do("py-echo")


class TestGroup(unittest.IsolatedAsyncioTestCase):
    """Three coordinators with one state."""

    async def test_kill_one_by_one(self) -> None:
        addresses = [free_address() for _ in range(3)]
        peers = ",".join(addresses)
        group = [Coordinator("-peers", peers, address=a) for a in addresses]
        for c in group:
            self.addCleanup(c.close)
        worker = start_worker(peers)
        self.addCleanup(end, worker)
        async with layshaft.Client(Cluster(peers, connect=PATIENCE, patience=PATIENCE)) as client:
            self.assertEqual(await client.do("py-sum", [0], out=int), 0)
            for c in group:
                c.kill()  # each of them once, so also the leader
                ids = await client.enqueue_all("py-sum", [[i, 1] for i in range(100)])
                id = await client.enqueue("py-sum", [7])
                self.assertEqual(await client.do("py-sum", [1, 2], out=int), 3)
                self.assertEqual(await client.attach(id, out=int), 7)
                self.assertEqual(sorted([o.value() async for o in client.scatter("py-sum", [[1], [2]], out=int)]), [1, 2])
                self.assertEqual(await client.attach(ids[-1], out=int), 100)
                c.start()


class _Status(grpc.RpcError):
    def __init__(self, text: str) -> None:
        self.text = text

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return self.text


class TestErrors(unittest.TestCase):
    def test_handshakes(self) -> None:
        """A wrong certificate stays wrong; a connection that breaks during the handshake may come back."""
        for text, want in (
            ("failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Handshake read failed (Socket closed)", True),
            ("last error: UNKNOWN: ipv4:127.0.0.1:1: Handshake read failed (Connection reset by peer)", True),
            ("last error: UNAVAILABLE: ipv4:127.0.0.1:1: Handshake read failed (Endpoint closing)", True),
            ("last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused", True),
            ("Custom verification check failed with error: UNAUTHENTICATED: Hostname Verification Check failed.", False),
            ("Ssl handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED", False),
            ("Peer name localhost is not in peer certificate", False),
        ):
            self.assertEqual(is_retryable(_Status(text)), want, text)

    def test_other_name(self) -> None:
        """The error says what to do when the coordinator's certificate has another name."""
        for text, want in (
            ("Custom verification check failed with error: UNAUTHENTICATED: Hostname Verification Check failed.", True),
            ("Peer name coordinator.layshaft is not in peer certificate", True),
            ("last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused", False),
        ):
            error = from_status(_Status(text))
            self.assertIsInstance(error, layshaft.UnavailableError)
            self.assertTrue(str(error).startswith(text), error)
            for way in ("layshaft cert issue", "server_name", "LAYSHAFT_TLS_SERVER_NAME"):
                self.assertEqual(way in str(error), want, error)


class TestTLS(Base):
    @classmethod
    def setUpClass(cls) -> None:
        cls.certs = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.certs, ignore_errors=True)

        def cert(*args: str) -> None:
            subprocess.run([BIN, "cert", *args], check=True, capture_output=True)

        cert("init", "-dir", str(cls.certs))
        for role in ("coordinator", "worker", "client"):
            cert("issue", "-dir", str(cls.certs), "-role", role, "-name", "t")
        cls.coordinator = Coordinator(*cls.flags("coordinator"))
        cls.addClassCleanup(cls.coordinator.close)

    @classmethod
    def files(cls, role: str) -> tuple[str, str, str]:
        return tuple(str(cls.certs / f) for f in ("ca.pem", f"{role}-t.pem", f"{role}-t-key.pem"))  # type: ignore[return-value]

    @classmethod
    def flags(cls, role: str) -> list[str]:
        ca, cert, key = cls.files(role)
        return ["-tls-ca", ca, "-tls-cert", cert, "-tls-key", key]

    async def test_tls(self) -> None:
        ca, cert, key = self.files("worker")
        worker = start_worker(self.coordinator.address, LAYSHAFT_TLS_CA=ca, LAYSHAFT_TLS_CERT=cert, LAYSHAFT_TLS_KEY=key)
        self.addCleanup(end, worker)
        async with layshaft.Client(Cluster(self.coordinator.address, layshaft.TLS(*self.files("client")), connect=PATIENCE)) as client:
            self.assertEqual(await client.do("py-echo", "x", out=str), "x")
        # The host of the address is not in the certificate.
        strict = layshaft.TLS(*self.files("client"), server_name="")
        async with layshaft.Client(Cluster(self.coordinator.address, strict, connect=1)) as client:
            with self.assertRaises(layshaft.UnavailableError):
                await client.do("py-echo", "x", out=str)
        # A key that every user can read is refused.
        open_key = self.files("client")[2] + ".open"
        shutil.copyfile(self.files("client")[2], open_key)
        os.chmod(open_key, 0o644)
        with self.assertRaisesRegex(layshaft.InvalidError, "chmod o= "):
            layshaft.Client(Cluster(self.coordinator.address, layshaft.TLS(*self.files("client")[:2], open_key)))
        # A client's certificate is not good for a worker.
        refused = layshaft.Worker(Cluster(self.coordinator.address, layshaft.TLS(*self.files("client"))))
        refused.handle("f")(lambda _: None)
        with self.assertRaises(layshaft.ForbiddenError):
            await asyncio.wait_for(refused.serve(), PATIENCE)


if __name__ == "__main__":
    unittest.main()
