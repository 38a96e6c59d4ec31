"""Layshaft workers inside the executors of Spark, on YARN or any other cluster manager.

    spark-submit --master yarn --num-executors 4 --executor-cores 4 --conf spark.task.cpus=4 \\
        spark.py --join coordinator:7946 --workers 4 -- ./wordcount 'dataset://logs/**'

One job in barrier mode starts all workers at once, one for each task. They stay while the command
after "--" runs, or for --seconds. Then they drain: they finish attempts, hand over outputs, and the
tasks end. They drain, too, when the driver dies. The binary of layshaft goes along with the job, so
nothing is installed on the machines.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from pyspark import BarrierTaskContext, SparkFiles
from pyspark.sql import SparkSession


def end_with_parent():
    """Makes Linux send SIGTERM to the worker when the Python process of its task is killed."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        pass  # not Linux


def work(driver, program, join, slots, flags):
    """Runs one worker until the driver closes its connection, then drains it."""
    context = BarrierTaskContext.get()
    folder = tempfile.mkdtemp(prefix="layshaft-")
    worker = None
    try:
        binary = os.path.join(folder, "layshaft")
        shutil.copy(SparkFiles.get(program), binary)
        os.chmod(binary, 0o700)
        context.barrier()  # all have the binary, or none starts
        command = [binary, "worker", "-join", join, "-data", os.path.join(folder, "data"), "-slots", str(slots), *flags]
        with socket.create_connection(driver) as connection:
            worker = subprocess.Popen(command, preexec_fn=end_with_parent)
            threading.Thread(target=lambda: (worker.wait(), shut(connection)), daemon=True).start()
            while connection.recv(1):  # nothing is sent: it returns when one side ends
                pass
        worker.terminate()  # SIGTERM drains
        return worker.wait()
    finally:
        if worker and worker.poll() is None:
            worker.terminate()
            worker.wait()
        shutil.rmtree(folder, ignore_errors=True)


def shut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the driver was first


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--join", required=True, metavar="HOST:PORT", help="gossip address of a coordinator")
    options.add_argument("--workers", type=int, default=2, help="number of workers, at most the executors that fit")
    options.add_argument("--layshaft", default=shutil.which("layshaft"), help="the binary to send to the executors")
    options.add_argument("--worker-flag", action="append", default=[], metavar="FLAG", help="such as -memory=4GiB; may be repeated")
    options.add_argument("--seconds", type=float, help="without a command: how long the workers stay")
    options.add_argument("command", nargs="*", help="runs beside the driver while there are workers")
    given = options.parse_args()
    if not given.layshaft:
        options.error("layshaft is not in the PATH; name it with --layshaft")
    if not given.command and not given.seconds:
        options.error("give a command, or --seconds")

    spark = SparkSession.builder.appName("layshaft").getOrCreate().sparkContext
    spark.addFile(given.layshaft)
    slots = int(spark.getConf().get("spark.task.cpus", "1"))
    listener = socket.create_server(("", 0), backlog=given.workers)
    host = spark.getConf().get("spark.driver.host", "127.0.0.1")
    driver = (host, listener.getsockname()[1])
    program, join, flags = os.path.basename(given.layshaft), given.join, given.worker_flag

    ended = []

    def run():
        tasks = spark.parallelize(range(given.workers), given.workers).barrier()
        ended.extend(tasks.mapPartitions(lambda _: [work(driver, program, join, slots, flags)]).collect())

    job = threading.Thread(target=run)
    job.start()
    connections = []
    listener.settimeout(1)
    while job.is_alive() and len(connections) < given.workers:  # the job may fail before
        try:
            connections.append(listener.accept()[0])
        except TimeoutError:
            continue
    code = 1
    if len(connections) == given.workers:
        print(f"layshaft: {given.workers} workers with {slots} slots each started", flush=True)
        if given.command:
            code = subprocess.call(given.command)
        else:
            job.join(given.seconds)
            code = 0
    for connection in connections:
        connection.close()
    job.join()
    spark.stop()
    print(f"layshaft: workers drained, exit codes {ended}", flush=True)
    sys.exit(code or any(ended))


if __name__ == "__main__":
    main()
