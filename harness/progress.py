# SPDX-License-Identifier: GPL-2.0-or-later
"""Long steps: run a command into a log, say every quarter of a minute that it lives."""

import os
import re
import shlex
import subprocess
import time
from pathlib import Path

from .fault import Fault

INTERVAL = 15.0


def say(text: str) -> None:
    print(text, flush=True)


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def run(title: str, argv: list[str], log: Path, count: str = "", total: int = 0, cwd: Path | None = None,
        env: dict[str, str] | None = None) -> None:
    """Run argv; `count` is a pattern of log lines worth counting, `total` how many to expect."""
    say(f"{title} ...")
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("w") as output:
        output.write(shlex.join(argv) + "\n")
        output.flush()
        try:
            process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *argv], stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, cwd=cwd, env=os.environ | (env or {}))
        except FileNotFoundError as error:
            raise Fault(f"{title}: there is no {error.filename} here: `make doctor` says what this machine lacks") from error
        try:
            while process.poll() is None:
                try:
                    process.wait(INTERVAL)
                except subprocess.TimeoutExpired:
                    done = len(re.findall(count, log.read_text(errors="replace"), re.M)) if count else 0
                    of = f" of about {total}" if total else ""
                    say(f"{title}: {clock(time.monotonic() - start)}" + (f", {done}{of} files" if count else ""))
        finally:
            process.terminate()
            process.wait()
    if process.returncode:
        lines = log.read_text(errors="replace").splitlines()
        blamed = [line for line in lines if re.search(r"error|\*\*\*|^E:|cannot|No space", line, re.I)]
        raise Fault(f"{title} failed; {log} ends in:\n" + "\n".join((blamed or lines)[-8:]))
    say(f"{title}: done in {clock(time.monotonic() - start)}")
