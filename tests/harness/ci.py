#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs docs/ci/*.yml step by step, as their services do, without them.

test_ci.py runs them with a make and an apt-get of its own. By itself, as root, this runs them as they are, in a root that
debootstrap makes (make test-ci): an hour or more, less with a filled cache. Each runs twice, with a gate that passes and with one
that fails, as the record says less than an I/O costs. It knows of the two languages what the files use.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
OWNER = 1234  # of a checkout: a service's user, not the container's
CHECKOUT = {"github": "/__w/project/project", "gitlab": "/builds/group/project"}
GATE = {"github": "make regress", "gitlab": "script"}  # the step that decides
LESS = 0.9  # of the instructions of an I/O


@dataclasses.dataclass
class Place:
    """A root to run in, what the service keeps between pipelines, and how a command is started there."""

    root: Path
    store: Path
    enter: tuple[str, ...] = ()
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    clone_of: Path = ROOT

    def path(self, name):
        return self.root / name.lstrip("/")

    def inside(self, name):
        """As who runs in there says it."""
        return name if self.enter else str(self.path(name))

    def clone(self, name):
        checkout = self.path(name)
        kept = checkout / ".cache"  # GitLab puts the cache where the checkout is
        kept = kept.rename(checkout.parent / "kept") if kept.exists() else None
        shutil.rmtree(checkout, ignore_errors=True)
        subprocess.run(["git", "clone", "-q", str(self.clone_of), str(checkout)], check=True)
        if kept:
            kept.rename(checkout / ".cache")
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "--no-dereference", f"{OWNER}:{OWNER}", str(checkout)], check=True)

    def run(self, script, home, cwd, more):
        text = f"cd {self.inside(cwd)}\n{self.localize(script)}"
        environment = self.environment | {"HOME": self.inside(home)} | {name: self.localize(value) for name, value in more.items()}
        self.path(home).mkdir(parents=True, exist_ok=True)
        return subprocess.run([*self.enter, "sh", "-e", "-c", text], env=environment).returncode

    def localize(self, text):
        return text if self.enter else re.sub(r"/var/cache/ci|/builds/|/__w/", lambda found: str(self.path(found[0])) + "/" * found[0].endswith("/"), text)


def keep(place, paths, key, back):
    """Copies what a cache holds to the store, or back; was there anything?"""
    found = False
    for path in paths:
        here, there = place.path(path), place.store / key / path.strip("/").replace("/", "-")
        source, target = (there, here) if back else (here, there)
        if source.exists():
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)
            found = True
    return found


def condition(text, outputs, good):
    """GitHub's expressions, as far as the file has them."""
    text = str(text).removeprefix("${{").removesuffix("}}").strip()
    if not re.search(r"\b(always|failure|cancelled)\(\)", text) and not good:
        return False
    if "always()" not in text and text:
        raise ValueError(f"this runner does not know {text}")
    python = re.sub(r"steps\.(\w+)\.outputs\.([\w-]+)", r"outputs.get(('\1', '\2'), '')", text.replace("always()", "True").replace("&&", "and"))
    return bool(eval(python, {"outputs": outputs})) if python else True


def assignments(path):
    return dict(line.split("=", 1) for line in path.read_text().splitlines()) if path.exists() else {}


def github(place, text):
    """[(step, status)] of those that ran."""
    whole = yaml.safe_load(text)
    job, = whole["jobs"].values()
    where = CHECKOUT["github"]
    place.path(where).mkdir(parents=True, exist_ok=True)
    outputs, ran, good = {}, [], True
    summary, output = f"{where}.summary", f"{where}.output"
    for number, step in enumerate(job["steps"]):
        if not condition(step.get("if", ""), outputs, good):
            continue
        name = step.get("run", step.get("uses", "")).strip().splitlines()[0]
        status, wants, identity = 0, step.get("with", {}), step.get("id", "")
        if "run" in step:
            place.path(output).write_text("")
            # HOME is the service's in one step and the user's own in the next.
            status = place.run(step["run"], "/github/home" if number % 2 else "/root", where, job.get("env", {}) | {
                "GITHUB_WORKSPACE": where, "GITHUB_STEP_SUMMARY": summary, "GITHUB_OUTPUT": output})
            outputs |= {(identity, key): value for key, value in assignments(place.path(output)).items()}
        elif step["uses"].startswith("actions/checkout@"):
            place.clone(where)
        elif step["uses"].startswith("actions/cache/"):
            back = "/restore@" in step["uses"]
            hit = keep(place, wants["path"].split(), "github", back)
            outputs[identity, "cache-hit"] = str(back and hit).lower()
        elif step["uses"].startswith("actions/upload-artifact@"):
            for pattern in wants["path"].split():
                for path in place.path(where).glob(pattern):
                    (place.store / "artifacts").mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, place.store / "artifacts")
        else:
            raise ValueError(f"this runner does not know {step['uses']}")
        ran.append((name, status))
        good = good and status == 0
    return ran, place.path(summary).read_text() if place.path(summary).exists() else ""


def gitlab(place, text):
    job, = yaml.safe_load(text).values()
    where = CHECKOUT["gitlab"]
    variables = {name: str(value).replace("${CI_PROJECT_DIR}", where) for name, value in job["variables"].items()} | {"CI_PROJECT_DIR": where}
    cached = [f"{where}/{path}" for path in job["cache"]["paths"]]
    place.clone(where)
    keep(place, cached, "gitlab", back=True)
    ran = []
    # One shell for the first two, another for the last, whatever came of them.
    ran.append(("script", place.run("\n".join([*job["before_script"], *job["script"]]), "/root", where, variables)))
    ran.append(("after_script", place.run("\n".join(job["after_script"]), "/root", where, variables)))
    if ran[0][1] == 0 or job["cache"].get("when") == "always":
        keep(place, cached, "gitlab", back=False)
    if ran[0][1] == 0 or job["artifacts"].get("when") == "always":
        for path in job["artifacts"]["paths"]:
            if place.path(f"{where}/{path}").exists():
                (place.store / "artifacts").mkdir(parents=True, exist_ok=True)
                shutil.copy(place.path(f"{where}/{path}"), place.store / "artifacts")
    return ran, ""


def debootstrap(root):
    """A Debian with nothing more, that gets packages as this machine does."""
    sources = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"], capture_output=True, text=True, check=True)
    mirror = next(line for line in sources.stdout.splitlines() if line.endswith("/debian") or line.endswith("/debian/"))
    subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(root), mirror], check=True, stdout=subprocess.DEVNULL)
    for name in ("/etc/resolv.conf", "/etc/hosts"):
        shutil.copy(name, root / name[1:])
    for path in Path("/etc/apt/apt.conf.d").iterdir():  # proxies and the like
        if "Acquire::http" in path.read_text():
            shutil.copy(path, root / "etc/apt/apt.conf.d")
    for place in ("/etc/ssl/certs", "/usr/local/share/ca-certificates"):
        if Path(place).exists():
            shutil.copytree(place, root / place[1:], dirs_exist_ok=True)


def filled(store, names):
    """As of a service that has built this before: what this machine's cache has."""
    here = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dmabuf-bench"
    prefixes = {"github": "var-cache-ci", "gitlab": f"{CHECKOUT['gitlab'][1:].replace('/', '-')}-.cache"}
    for name in names:
        (store / name).mkdir(parents=True)
        for part in ("kernel", "src"):
            if (here / part).exists():
                subprocess.run(["cp", "-a", "--reflink=auto", str(here / part), str(store / name / f"{prefixes[name]}-dmabuf-bench-{part}")], check=True)


def spoiled(target):
    """A clone whose newest record says that an I/O cost less: its gate fails."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(target)], check=True)
    path = max((target / "results/history").glob("*.json"), key=lambda each: json.loads(each.read_text())["commit_date"])
    record = json.loads(path.read_text())
    for cell in record["cells"]:
        cell["rounds"] = [value * LESS for value in cell["rounds"]]
    path.write_text(json.dumps(record))
    subprocess.run(["git", "-C", str(target), "-c", "user.name=x", "-c", "user.email=x@example", "commit", "-qam", "a record that says less"], check=True)
    return target


def as_it_should(place, name, ran, passes):
    """Did nothing but the gate decide, did it say why, and is the kernel kept?"""
    summary = place.path(f"{CHECKOUT[name]}/build/regress/summary.md")
    verdict = summary.read_text().splitlines()[0] if summary.exists() else ""
    failed = [step for step, status in ran if status]
    return (failed == ([] if passes else [GATE[name]]) and bool(re.match("### no regression" if passes else r"### \d+ regressions", verdict))
            and any(place.store.rglob("bzImage")))


def run_in(root, store, names):
    """1 if something is not as it should be."""
    mounts = []
    try:
        for kind, name in (("proc", "proc"), ("sysfs", "sys"), ("devtmpfs", "dev"), ("tmpfs", "dev/shm")):
            (root / name).mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", kind, kind, str(root / name)], check=True)
            mounts.append(root / name)
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
        bad, worse = 0, spoiled(store / "spoiled")
        for name in names:
            for passes, origin in ((True, ROOT), (False, worse)):
                place = Place(root, store, ("chroot", str(root)), environment, origin)
                ran, summary = globals()[name](place, (ROOT / f"docs/ci/{name}.yml").read_text())
                good = as_it_should(place, name, ran, passes)
                print(f"== {name}, a gate that {'passes' if passes else 'fails'}: {'ok' if good else 'NOT AS IT SHOULD BE'}\n{summary}"
                      + "\n".join(f"status {status}: {step}" for step, status in ran), flush=True)
                bad += not good
        return int(bad > 0)
    finally:
        for mount in reversed(mounts):
            subprocess.run(["umount", "-l", str(mount)], check=True)


def main():
    """In a mount namespace of its own: what is mounted here ends with it."""
    if "--inside" not in sys.argv:
        os.execvp("unshare", ["unshare", "-m", sys.executable, *sys.argv, "--inside"])
    names = [name for name in CHECKOUT if name in sys.argv] or list(CHECKOUT)
    scratch = Path(tempfile.mkdtemp(prefix="ci-root-"))
    try:
        debootstrap(scratch / "root")
        filled(scratch / "store", names)
        return run_in(scratch / "root", scratch / "store", names)
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", str(scratch)])  # not what could still be mounted there


if __name__ == "__main__":
    sys.exit(main())
