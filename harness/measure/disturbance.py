# SPDX-License-Identifier: GPL-2.0-or-later
"""What others took of a guest's processor while a cell was measured: seen from the host, between two lines that the guest says."""

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..machine.guest import Sink

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
BEGIN, END = "cell begins: ", "cell ends: "
MOST = 0.10  # of the processor that others may have while a cell is measured


def script(name: str, line: str) -> str:
    return f"echo '{BEGIN}{name}'\n{line}\necho '{END}{name}'"


def processor(cpu: int) -> tuple[int, int]:
    """Ticks that a processor was busy, and that the host of this machine had it."""
    found = re.search(rf"^cpu{cpu} (.+)$", (PROC / "stat").read_text(), re.M)
    user, nice, system, _, _, irq, softirq, steal = map(int, found[1].split()[:8]) if found else (0,) * 8
    return user + nice + system + irq + softirq, steal


def own(pid: int) -> int:
    """Ticks of all threads of a process."""
    words = (PROC / str(pid) / "stat").read_text().rpartition(") ")[2].split()
    return int(words[11]) + int(words[12])


def megahertz(cpu: int) -> float | None:
    found = re.findall(r"^cpu MHz\s*: ([\d.]+)$", (PROC / "cpuinfo").read_text(), re.M)
    return float(found[cpu]) if cpu < len(found) else None


def worst(cells: Iterable[dict[str, Any]]) -> float:
    """The largest share of the processor that others had; 0 where nobody looked."""
    return max((cell.get("others") or 0.0 for cell in cells), default=0.0)


class Watch:
    """A guest's output on its way to a file. Of guests that may be on any processor nothing is told."""

    def __init__(self, file: Sink) -> None:
        self.file, self.line, self.pid, self.begun = file, b"", 0, (0.0, 0, 0, 0)
        self.cells: dict[str, dict[str, Any]] = {}

    def started(self, pid: int) -> None:
        self.pid = pid

    def look(self) -> tuple[int, tuple[float, int, int, int]]:
        cpu, *more = sorted(os.sched_getaffinity(self.pid))
        busy, steal = processor(cpu) if not more else (0, 0)
        return (-1 if more else cpu), (time.monotonic(), busy, steal, own(self.pid))

    def said(self, line: str) -> None:
        """Shares of the wall clock between the two lines of a cell."""
        try:
            if line.startswith(BEGIN):
                self.begun = self.look()[1]
            elif line.startswith(END):
                cpu, now = self.look()
                wall, busy, steal, mine = (after - before for after, before in zip(now, self.begun))
                if cpu >= 0 and wall > 0:
                    others = max(busy - mine, 0) / TICKS / wall
                    self.cells[line.removeprefix(END)] = {"others": round(others + steal / TICKS / wall, 3), "steal": round(steal / TICKS / wall, 3),
                                                          "load": round(os.getloadavg()[0], 2), "mhz": megahertz(cpu)}
        except OSError:  # it has just ended
            pass

    def write(self, data: bytes) -> None:
        self.file.write(data)
        *lines, self.line = (self.line + data).split(b"\n")
        for line in lines:
            self.said(line.decode(errors="replace").strip())

    def flush(self) -> None:
        self.file.flush()
