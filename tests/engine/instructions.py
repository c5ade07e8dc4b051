# SPDX-License-Identifier: GPL-2.0-or-later
"""User-space instructions of an I/O, fio's part included: ours with registration=user beside fio's io_uring engine.

callgrind's counts of a long and a short job, subtracted: what is left is I/O. Exits 1 if ours costs more.
Usage: instructions.py FIO_SRC ENGINE
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

SHORT, LONG = 8000, 40000
JOB = ("--name=job", "--filename=f", "--size=64m", "--direct=1", "--rw=randread", "--bs=4k", "--iodepth=128",
       "--iodepth_batch=32", "--iodepth_batch_complete_min=32", "--iodepth_batch_complete_max=32", "--norandommap",
       "--io_size=100g", "--thread=1", "--disk_util=0")


def count(fio: Path, place: str, ios: int, *engine: str) -> int:
    """Instructions of one run."""
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", fio, *engine, *JOB,
                           f"--number_ios={ios}"], capture_output=True, text=True, cwd=place, timeout=300)
    total = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not total:
        sys.exit(f"instructions.py: valgrind or fio failed: {done.stderr.strip()[-400:]}")
    return int(total[1])


def main() -> int:
    if len(sys.argv) != 3:
        sys.exit(str(__doc__).splitlines()[-1])
    fio, plugin = Path(sys.argv[1]).resolve() / "fio", Path(sys.argv[2]).resolve()
    engines = {"ours": (f"--ioengine=external:{plugin}", "--registration=user"),
               "io_uring": ("--ioengine=io_uring", "--fixedbufs", "--registerfiles")}
    per_io = {}
    with tempfile.TemporaryDirectory(dir=".") as place:
        subprocess.run([fio, "--name=lay", "--filename=f", "--size=64m", "--rw=write", "--bs=1m"], check=True,
                       capture_output=True, cwd=place)
        for name, engine in engines.items():
            per_io[name] = (count(fio, place, LONG, *engine) - count(fio, place, SHORT, *engine)) / (LONG - SHORT)
            print(f"{name} {per_io[name]:.0f} instructions per I/O", flush=True)
    ratio = per_io["ours"] / per_io["io_uring"]
    print(f"ratio {ratio:.3f}")
    return 1 if ratio > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
