# SPDX-License-Identifier: GPL-2.0-or-later
"""What is typed at make arrives at the harness as it was typed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import __main__ as main
from harness import typed
from harness.build import products
from harness.check import debian, suite
from harness.machine.modes import IOMMUS, MODES, MORE_MODES
from harness.measure import bench, columns, cost

ROOT = Path(__file__).resolve().parents[2]


def make(*words):
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return shlex.split(done.stdout.replace("\\\n", " "))


@pytest.mark.parametrize("command", ("echo $DEV $(uname) \"it's\"", "one\ntwo", "-x", "a # b"))
def test_the_command_is_not_touched(command):
    words = make("guest-run", f"CMD={command}")
    assert words[4:] == ["make", "guest-run", f"CMD={command}"]
    assert typed.options(words[4:]) == ["guest-run", "--", command]


def test_variables_become_options():
    words = typed.options(make("guest-run", "CMD=x", "MODE=lazy", "ICOUNT=1", "DISK=512M", "APPEND=a=b c")[4:])
    assert words == ["guest-run", "--mode=lazy", "--disk=512M", "--append=a=b c", "--icount", "--", "x"]
    assert "--icount" not in typed.options(make("guest-run", "CMD=x", "ICOUNT=0")[4:])
    assert typed.options(make("bench", "BENCH=short", "MODES=")[4:]) == ["bench", "--bench=short"]
    assert typed.options(["bench", "--jobs", "A=b"]) == ["bench", "--jobs", "A=b"]


def test_what_is_in_the_environment_counts_if_the_verb_takes_it(monkeypatch):
    monkeypatch.setenv("MODE", "lazy")
    assert "--mode=lazy" in typed.options(make("guest-run", "CMD=x")[4:])
    assert "MODE=lazy" not in make("bench")


def test_but_not_the_width_of_the_terminal(monkeypatch):
    """Shells may export it, and readline does."""
    monkeypatch.setenv("COLUMNS", "80")
    assert not any("COLUMNS" in word for word in make("bench"))
    assert "COLUMNS=smp2" in make("bench", "COLUMNS=smp2")


@pytest.mark.parametrize("words, says", (
    (("bench", "MODE=lazy"), "make bench takes no MODE=: it takes BASE= BENCH= "),
    (("bench", "MODE="), "make bench takes no MODE="),
    (("guest-run", "CMD=x", "MODES=lazy", "KRNEL=x"), "make guest-run takes no KRNEL= MODES="),
    (("V=1",), "make help takes no V=: it takes no variables"),
    (("install", "MODE=lazy"), "it takes DESTDIR= FIO_SRC= PREFIX="),
    (("install", "PREFIX=here"), "PREFIX=here is no absolute path"),
    (("uninstall", "DESTDIR=a/b", "PREFIX=/usr"), "DESTDIR=a/b is no absolute path"),
))
def test_a_variable_that_the_verb_does_not_take_is_refused(words, says):
    done = subprocess.run(["make", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert says in re.sub(r"(\w+=) (\w+=)(?=:)", lambda found: " ".join(sorted(found.groups())), done.stderr)


def test_every_verb_says_what_it_takes():
    """Each option of the harness that make can give, and no other."""
    text = (ROOT / "Makefile").read_text()
    for group in ("SOURCES", "GUEST"):
        text = text.replace(f"$({group})", re.search(rf"^{group} = (.*)$", text, re.M)[1])
    takes = {verb: set(names.split()) for verb, names in re.findall(r"^([a-z0-9-]+)\.takes = (.*)$", text, re.M)}
    for verb in re.findall(r"^([a-z0-9-]+):.*##.*\n\t\$\(VERB\)", text, re.M):
        said = harness(verb, "--help").stdout
        known = {name.upper().replace("-", "_") for name in re.findall(r"--([a-z0-9-]+)", said.partition("options:")[2])} - {"HELP", "SHORT", "SWEEP"}
        known |= {name for name in typed.PLACES if re.search(rf"^  {name}\b", said, re.M)}
        assert takes.get(verb, set()) == known, verb


def harness(*words, **environment):
    return subprocess.run([sys.executable, "-m", "harness", *words], cwd=ROOT, capture_output=True, text=True, env=os.environ | environment)


@pytest.mark.parametrize("words", (
    ("guest-run", "--mode=fast", "true"),
    ("guest-run", "--kernel=/nonexistent", "true"),
    ("bench", "--jobs=nothing"),
    ("bench", "--registrations=user magic"),
    ("bench", "--columns=vtd magic"),
    ("bench", "--columns=unpatched", "--base=/nonexistent"),
    ("bench", "--kernel=/nonexistent"),
    ("bench", "--target=host"),
    ("bench", "--target=host", "--dev=/dev/null"),
    ("bench", "--target=host", "--dev=/dev/null", "--columns=amd"),
    ("bench", "--dev=/dev/nvme0n1"),
    ("guest-run", "--iommu=magic", "true"),
    ("guest-run", "--timeout=soon", "true"),
    ("guest-run", "--files='open", "true"),
    ("guest-run", "--mem=much", "true"),
    ("guest-run", "--smp=0", "true"),
    ("guest-run", "--disk=nothing", "true"),
    ("guest-run", "--qemu-extra='open", "true"),
    ("guest-run", "--kernel-src=/nonexistent", "true"),
    ("guest-run", " "),
    ("bench", "--bench=shrt"),
    ("bench", "--modes=fast"),
    ("bench", "--jobs=qd-1", "--short"),
    ("bench", "--jobs=qd-1 randread-4k"),
    ("bench", "--jobs=randread-4k", "--sweep"),
    ("bench", "--columns=amd", "--modes=lazy"),
    ("bench", "--columns=unpatched", "--registrations=dmabuf", "--base=/etc/hostname"),
    ("bench", "--fio-src=/etc"),
    ("bench", "--target=host", "--dev=/dev/null", "--jobs=qd-1"),
    ("cost", "--cases=typo"),
    ("cost", "--modes=typo"),
    ("cost", "--base=/nonexistent"),
    ("cost", "--base=/etc/hostname"),
    ("cost", "--kernel=/etc/hostname"),
    ("guest-run", "--kernel=/etc/hostname", "true"),
    ("guest-run", "--kernel=/bin/sh", "--iommu=smmu", "true"),
    ("shell", "--kernel=/etc/hostname"),
    ("bench", "--base=Makefile"),
    ("bench", "--columns=unpatched", "--base=/etc/hostname"),
    ("regress", "--base=typo"),
    ("regress", "--base=/etc/hostname"),
    ("regress", "--base=/etc"),
    ("regress", "--modes=typo"),
    ("compare", "/etc/hostname", "README.md"),
    ("compare", "Makefile", "results"),
    ("plot", "README.md"),
    ("project", "/etc"),
    ("baseline", "--reason=it is new", "--kernel=/etc/hostname"),
    ("baseline",),
    ("baseline", "--reason=because"),
    ("fuzz", "--kernel=/nonexistent"),
    ("fuzz", "--seed=odd"),
    ("kernel", "--variant=fast"),
    ("harmless", "--modes=fast"),
    ("scaling", "--modes=fast"),
    ("test", "--kernel-src=/etc"),
    ("test-debug", "--boots=none"),
    ("test-engine", "--fio-src=/nonexistent"),
    ("test-debian", "none"),
    ("test-debian", "trixie", "--steps=guest nothing"),
    ("deb", "--fio-src=/nonexistent"),
    ("plot", "/nonexistent"),
    ("nonsense",),
    ("make",),
    (),
))
def test_bad_input_is_one_sentence_and_a_status_of_our_own(words, tmp_path):
    """And nothing is got, built or installed before it."""
    done = harness(*words, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode in (240, 241)
    assert done.stderr.startswith("harness: ") and done.stderr.count("\n") == 1
    assert done.stdout == "" or done.stdout.startswith("bench: amd: lazy is unavailable")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words, says", (
    (("guest-run", "CMD=x", "MODE=fast"), "MODE=fast is none of strict lazy"),
    (("guest-run", "CMD=x", "TIMEOUT=soon"), "TIMEOUT=soon is no number"),
    (("guest-run", "CMD=x", "ICOUNT=yes"), "ICOUNT=yes is neither 0 nor 1"),
    (("guest-run",), "CMD"),
    (("bench", "BENCH=shrt"), "BENCH=shrt is none of short sweep"),
    (("compare", "A=x"), "B"),
    (("test-debian", "SUITE=woody"), "SUITE=woody is none of bookworm trixie sid"),
    (("test-debian",), "SUITE"),
    (("test-debian", "SUITE=sid", "STEPS=none"), "STEPS=none: no step has none in its title, of make engine, "),
    (("cost", "CASES=typo"), "CASES=typo: typo is none of read-4k"),
    (("guest-run", "CMD=x", "KERNEL=Makefile"), "KERNEL=Makefile is no kernel that this guest can boot: name a bzImage"),
    (("bench", "BASE=Makefile"), "BASE=Makefile is for the unpatched column: name it in COLUMNS=, too"),
    (("cost", "BASE=Makefile"), "BASE=Makefile is no kernel"),
))
def test_errors_name_what_was_typed(words, says):
    done = subprocess.run(["make", *words], cwd=ROOT, capture_output=True, text=True)
    assert says in done.stderr and not re.search(r"--[a-z]", done.stderr)


def test_a_program_that_is_missing_is_one_sentence(tmp_path):
    """On a machine that has make, python and no more; deps believes it has the rest."""
    script = "import sys; from harness import __main__ as main; from harness.build import deps; deps.install = lambda *_: None; sys.exit(main.main())"
    done = subprocess.run([sys.executable, "-c", script, "kernel"], cwd=ROOT, capture_output=True, text=True,
                          env={"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)})
    assert done.returncode == 240 and "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    done = subprocess.run([sys.executable, "-m", "harness", "regress", "--base=HEAD~1"], cwd=ROOT, capture_output=True, text=True,
                          env={"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)})
    assert done.returncode == 240 and done.stderr == "harness: there is no git here: `make doctor` says what this machine lacks\n"


@pytest.mark.parametrize("words", (("regress",), ("regress", f"--base={'a' * 12}"), ("baseline", "--reason=it is new")))
def test_a_tree_without_commits_is_told_before_anything_is_built(tmp_path, words):
    """As from an archive; bench and cost go on, and name no commit."""
    for name in ("harness", "kernel", "results/history"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run([sys.executable, "-m", "harness", *words], cwd=tmp_path, capture_output=True, text=True,
                          env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)})
    assert done.returncode == 240 and done.stderr.count("\n") == 1 and done.stdout == ""
    assert "git cannot tell what commit this is" in done.stderr and not (tmp_path / "cache").exists()


def test_make_needs_no_setpriv():
    assert "setpriv" not in " ".join(make("doctor"))


def test_help_shows_every_verb_in_a_group_with_what_it_takes():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    verbs = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.M)
    assert len(verbs) > 25 and re.findall(r"^  ([a-z0-9-]+) ", said, re.M) == verbs
    assert len(re.findall(r"^[A-Z]\w+", said, re.M)) >= 7 and max(map(len, said.splitlines())) <= 160
    assert re.search(r"^  cost +25:00  count .*\n +MODES= CASES= BASE= KERNEL= KERNEL_SRC= FIO_SRC=$", said, re.M)
    assert subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout == said


def test_list_names_all_that_can_be_named():
    said = harness("list").stdout
    names = set(re.findall(r"^  (\S+) ", said, re.M))
    assert names >= {*bench.JOBS, *bench.SWEEPS, *cost.CASES, *columns.COLUMNS, *MODES, *MORE_MODES, *IOMMUS, *suite.DEBUG_BOOTS, *products.VARIANTS, *debian.SUITES}


def test_a_reader_that_goes_away_is_no_error():
    done = subprocess.run(f"{sys.executable} -m harness list | head -1", shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "" and done.stdout == "JOBS= of bench\n"


def test_a_curve_alone_is_a_sweep():
    args = main.parser().parse_args(["bench", "--jobs", "qd-1"])
    assert main.bench_plan(args).cost_rounds == 0 and main.bench_plan(args).jobs == ("qd-1",)


def test_every_verb_explains_itself():
    verbs = [line.split()[0] for line in harness("--help").stdout.splitlines() if line.startswith("    ")
             and not line.startswith("     ")]
    assert len(verbs) >= 9
    for verb in verbs:
        assert harness(verb, "--help").returncode == 0


@pytest.mark.parametrize("ignored, status", ((False, 129), (True, 0)))
def test_a_terminal_that_goes_away_ends_it_unless_told_otherwise(ignored, status):
    """nohup make bench goes on."""
    code = ("import os, signal, sys, time; from harness import __main__ as main\n"
            f"signal.signal(signal.SIGHUP, signal.SIG_{'IGN' if ignored else 'DFL'})\n"
            "main.catch(); os.kill(os.getpid(), signal.SIGHUP); time.sleep(0.1)")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == status


def test_nothing_outlives_make(tmp_path):
    """SIGKILL for make alone: the harness and its QEMU follow."""
    kernel = tmp_path / "bzImage"
    kernel.write_bytes(b"\0" * 0x202 + b"HdrS")
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "qemu-system-x86_64").write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 60\n")
    (fake / "qemu-system-x86_64").chmod(0o755)
    process = subprocess.Popen(["make", "guest-run", f"KERNEL={kernel}", "CMD=true"], cwd=ROOT,
                               # a cache of its own: guests wait there for a processor
                               env=os.environ | {"PATH": f"{fake}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path)})
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    qemu = int((tmp_path / "pid").read_text())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30  # of its own: on a busy machine the start has used up the other
    while Path(f"/proc/{qemu}").exists():
        assert time.monotonic() < deadline, "QEMU outlived make"
        time.sleep(0.05)


def test_a_full_disk_is_one_sentence(tmp_path):
    """A file system of one page."""
    (tmp_path / "full").mkdir()
    (tmp_path / "bzImage").write_bytes(b"\0" * 0x202 + b"HdrS")
    script = (f"mount -t tmpfs -o size=4k tmpfs {tmp_path}/full && "
              f"TMPDIR={tmp_path}/full {sys.executable} -m harness guest-run --kernel={tmp_path}/bzImage true")
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    assert done.returncode == 240
    assert "No space left on device: make room in " in done.stderr.splitlines()[-1]
