"""The processors that a process may use."""

from __future__ import annotations

import os
import pathlib
import tempfile
import unittest

from layshaft.machine import processors

V2 = "35 25 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
V1 = "37 25 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


class TestProcessors(unittest.TestCase):
    def check(self, want: int | None, files: dict[str, str]) -> None:
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                path = pathlib.Path(root) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            have = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            self.assertEqual(processors(root), have if want is None else min(want, have))

    def test_without_quota(self) -> None:
        self.check(None, {})
        self.check(None, {"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/a/cpu.max": "max 100000\n", "sys/fs/cgroup/b/cpu.max": "1000 100000\n"})

    def test_version_2(self) -> None:
        self.check(1, {"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "sys/fs/cgroup/a/cpu.max": "50000 100000\n"})
        container = "1 2 0:30 /../../docker/1f /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
        self.check(1, {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": container, "sys/fs/cgroup/cpu.max": "100000 100000\n"})

    def test_version_1(self) -> None:
        own = "9:name=systemd:/x\n4:cpu,cpuacct:/batch/job\n"
        at = "sys/fs/cgroup/cpu,cpuacct/batch/"
        self.check(1, {"proc/self/cgroup": own, "proc/self/mountinfo": V1, at + "job/" + QUOTA: "-1\n", at + "job/" + PERIOD: "100000\n", at + QUOTA: "90000\n", at + PERIOD: "100000\n"})


if __name__ == "__main__":
    unittest.main()
