"""The processors that this process may use."""

from __future__ import annotations

import math
import os
import pathlib
import re
from collections.abc import Iterator


def processors(root: str = "/") -> int:
    """The number of processors: those of the CPU mask, or the smallest CPU quota of the process's
    cgroups, rounded up, if that is less."""
    mask = len(getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0))
    return max(1, min([mask, *_quotas(pathlib.Path(root))]))


def _quotas(root: pathlib.Path) -> Iterator[int]:
    """The CPU quotas of the own cgroup and of its ancestors, of version 1 and of version 2."""
    own: dict[str, str] = {}  # path of the own cgroup, by the type of the hierarchy
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            own["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            own["cgroup"] = path
    # ID PARENT DEVICE ROOT DIRECTORY OPTIONS [FIELDS] - TYPE SOURCE OPTIONS
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        where, what = before.split(), after.split()
        if len(where) < 5 or len(what) < 3 or what[0] not in own or what[0] == "cgroup" and "cpu" not in what[2].split(","):
            continue
        shown, directory = _unescape(where[3]).rstrip("/") + "/", root / _unescape(where[4]).lstrip("/")
        path = own[what[0]]
        # a container shows only a part of the hierarchy; its own root is the nearest known ancestor
        below = path[len(shown) :] if path.startswith(shown) else ""
        parts = [] if below.startswith("..") else [p for p in below.split("/") if p]
        for n in range(len(parts), -1, -1):
            cgroup = directory.joinpath(*parts[:n])
            if what[0] == "cgroup2":
                numbers = _read(cgroup / "cpu.max").split()
            else:
                numbers = [_read(cgroup / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
            if len(numbers) == 2 and all(n.isdecimal() and int(n) > 0 for n in numbers):
                yield math.ceil(int(numbers[0]) / int(numbers[1]))


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)
