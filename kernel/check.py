#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Builds every commit of the series, with the feature on and off, and says which one brings what complaint.

Of each commit the objects of all .c files that the series touches, and that are configured, are built with W=1 and sparse; what
was not affected is not built again. A complaint is new if the commits before it did not have it, whatever its line; with --commits,
if the one before it did not. At the end
kernel-doc reads every file that the series touches, and Sphinx, if it is installed, the pages that it adds.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from series import HERE, Mail, SeriesError, git, load, put_on, read  # noqa: E402

CONFIGS = HERE / "configs"
ARCHES = {"x86_64": (), "arm64": ("ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-")}
COMPLAINT = re.compile(r"^(?:Warning: |Error: )?(?:\.{1,2}/)*([\w./-]+\.(?:[chS]|rst)):\d+:?(?:\d+:)? *(.*)$")
ENV = os.environ | {"LC_ALL": "C", "KBUILD_BUILD_TIMESTAMP": "1970-01-01"}


@dataclass
class Build:
    """A configuration of an architecture, with its objects and what it has complained about so far."""

    name: str
    arch: str
    on: bool
    objects: Path
    seen: set[tuple[str, str]] = field(default_factory=set)

    def make(self, tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
        compiler = [f"CC={'ccache ' if shutil.which('ccache') else ''}{'aarch64-linux-gnu-' if self.arch == 'arm64' else ''}gcc"]
        return subprocess.run(["make", "-s", "-C", str(tree), f"O={self.objects}", *ARCHES[self.arch], *compiler, *words], env=ENV,
                              capture_output=True, text=True, errors="replace")


def symbols(text: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^(CONFIG_\w+)=(.+)$", text))


def makefile(tree: Path, folder: Path) -> str:
    path = tree / folder / "Makefile"
    return read(path).replace("\\\n", " ") if path.exists() else ""


def conditions(tree: Path, source: str) -> set[str]:
    """The symbols by which a folder's Makefile builds a source, through the objects that it is part of."""
    folder, wanted, found, done = Path(source).parent, [Path(source).stem], set(), set()
    text = makefile(tree, folder)
    while wanted:
        name = wanted.pop()
        done.add(name)
        for line in re.findall(rf"(?m)^.*[\s=]{re.escape(name)}\.o\b.*$", text):
            found |= set(re.findall(r"\$\((CONFIG_\w+)\)", line.partition("=")[0]))
            if (part := re.match(r"([\w-]+?)-(?:y|objs|\$\(CONFIG_\w+\))\s*[:+]?=", line)) and part[1] not in (*done, "obj"):
                wanted.append(part[1])
    return found


def sources(mails: list[Mail]) -> list[str]:
    """What can be built of what the series touches."""
    return sorted({name for mail in mails for name in (*mail.hooks, *mail.overlay) if name.endswith(".c") and not name.startswith("tools/")})


def fragment(tree: Path, mails: list[Mail], on: bool) -> str:
    """Our configuration, and on top of it what the series brings, and what builds the files that it touches."""
    wanted = symbols(read(CONFIGS / "base.config")) | {"CONFIG_KUNIT": "y"}
    switches = symbols(read(CONFIGS / "series.config"))
    brought = {f"CONFIG_{name}" for mail in mails for part in mail.hooks.values() for name in re.findall(r"(?m)^\+config (\w+)$", part)}
    needed = {name for source in sources(mails) for name in conditions(tree, source)}
    wanted |= dict.fromkeys(sorted(needed | brought | set(switches)), "y")
    if not on:
        wanted |= dict.fromkeys(sorted(brought | set(switches)), "n")
    return "".join(f"{name}={value}\n" for name, value in wanted.items())


def configure(build: Build, tree: Path, text: str) -> None:
    build.objects.mkdir(parents=True, exist_ok=True)
    (build.objects / "fragment").write_text(text)
    for done in (build.make(tree, "tinyconfig"),
                 subprocess.run(["scripts/kconfig/merge_config.sh", "-m", "-O", str(build.objects), str(build.objects / ".config"),
                                 str(build.objects / "fragment")], cwd=tree, env=ENV, capture_output=True, text=True),
                 build.make(tree, "olddefconfig"), build.make(tree, f"-j{os.cpu_count()}", "prepare")):
        if done.returncode:
            raise SeriesError(f"{build.name} cannot be configured: {(done.stdout + done.stderr).strip()[-500:]}")


def targets(build: Build, tree: Path, names: list[str]) -> list[str]:
    config = symbols(read(build.objects / ".config"))
    return [f"{name[:-2]}.o" for name in names if (tree / name).exists() and conditions(tree, name) <= config.keys()]


def complaints(text: str, tree: Path) -> Iterator[tuple[str, str]]:
    """(file, what is said), without line numbers, in order."""
    for line in text.replace(f"{tree}/", "").splitlines():
        if (found := COMPLAINT.match(line.strip())) and re.search("warning|error", line, re.I):
            yield found[1], re.sub(r"\b\d+\b", "N", found[2])


def compiled(build: Build, tree: Path, names: list[str]) -> tuple[int, list[str]]:
    """How many objects a commit has, and its new complaints."""
    objects = targets(build, tree, names)
    done = build.make(tree, f"-j{os.cpu_count()}", "-k", "W=1", *(("C=1",) if shutil.which("sparse") else ()), *objects)
    fresh = [said for said in complaints(done.stdout + done.stderr, tree) if said not in build.seen]
    build.seen |= set(fresh)
    found = [f"{name}: {what}" for name, what in dict.fromkeys(fresh)]
    if done.returncode and not any("error" in line for line in found):
        found.append(f"make ends with {done.returncode}: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
    return len(objects), found


def documented(tree: Path, names: list[str]) -> set[tuple[str, str]]:
    """What kernel-doc says about files, each of which it reads."""
    tool = next(path for path in (tree / "scripts/kernel-doc.py", tree / "tools/docs/kernel-doc", tree / "scripts/kernel-doc") if path.exists())
    there = [name for name in names if name.endswith((".c", ".h")) and (tree / name).exists()]
    done = subprocess.run([str(tool), "-none", "-Wall", *there], cwd=tree, env=ENV, capture_output=True, text=True, errors="replace")
    return set(complaints(done.stdout + done.stderr, tree))


def pages(tree: Path, names: list[str]) -> list[str]:
    """What Sphinx says about pages, each with all of its kernel-doc, and with nothing else beside it."""
    found = []
    for name in (name for name in names if name.endswith(".rst")):
        with tempfile.TemporaryDirectory() as tmp:
            shutil.copy(tree / name, f"{tmp}/index.rst")
            Path(tmp, "conf.py").write_text(f"""import sys
sys.path[:0] = ["{tree}/tools/lib/python", "{tree}/Documentation/sphinx"]
extensions, primary_domain = ["kerneldoc"], "c"
kerneldoc_srctree, kerneldoc_bin = "{tree}", "{tree}/scripts/kernel-doc"
""")
            done = subprocess.run(["sphinx-build", "-q", "-b", "html", tmp, f"{tmp}/out"], env=ENV | {"srctree": str(tree)}, capture_output=True,
                                  text=True, errors="replace")
            said = (done.stdout + done.stderr).replace(f"{tmp}/", "").replace(f"{tree}/", "").splitlines()
            found += [f"{name}: {line}" for line in dict.fromkeys(said) if re.search("warning|error", line, re.I)]
            if done.returncode and not found:
                found.append(f"{name}: sphinx-build ends with {done.returncode}: {said[-1:]}")
    return found


def checkout(repo: Path, tree: Path) -> None:
    """A worktree of the base beside the developer's, which is left alone."""
    if not git(repo, "tag", "-l", "base"):
        raise SeriesError(f"{repo} has no tag `base`: make one with `series.py tree`")
    if not tree.exists():
        git(repo, "worktree", "prune")
        git(repo, "worktree", "add", "-q", "--detach", str(tree), "base")
    git(tree, "am", "--abort", check=False)
    git(tree, "checkout", "-q", "-f", "--detach", "base")


def run(args: argparse.Namespace) -> int:
    mails, tree = load(), args.out / "linux"
    checkout(args.tree, tree)
    put_on(tree, mails)
    commits = git(tree, "log", "--reverse", "--format=%h %s", "base..HEAD").splitlines()
    texts = {on: fragment(tree, mails, on) for on in (True, False)}
    builds = [Build(f"{arch} {'on' if on else 'off'}", arch, on, args.out / f"{arch}-{'on' if on else 'off'}") for arch in args.arch for on in (True, False)]
    chosen = set(args.commits or range(1, len(commits) + 1))
    if wrong := chosen - set(range(1, len(commits) + 1)):
        raise SeriesError(f"there is no commit {min(wrong)}: they are 1 to {len(commits)}")
    names, bad = sources(mails), 0
    changed: set[str] = set()  # since what was built last

    def tell(what: str, found: list[str]) -> int:
        print(f"{what}: {'clean' if not found else ''}", *(f"\n  {line}" for line in found), sep="", flush=True)
        return len(found)

    for number, commit in enumerate(["base", *commits]):
        changed |= {*mails[number - 1].hooks, *mails[number - 1].overlay} if number else {"Kconfig"}
        if not {number, number + 1} & chosen:
            continue
        git(tree, "checkout", "-q", "--detach", commit.split()[0])
        anew = any(Path(name).name in ("Kconfig", "Makefile") for name in changed)
        changed = set()
        for build in builds:
            if anew:
                configure(build, tree, texts[build.on])
            count, found = compiled(build, tree, names)
            if number in chosen:
                bad += tell(f"{number:04} {commit.partition(' ')[2]}: {build.name}, {count} objects", found)
    git(tree, "checkout", "-q", "--detach", commits[-1].split()[0])
    touched = sorted({name for mail in mails for name in (*mail.hooks, *mail.overlay)})
    after = documented(tree, touched)
    config = symbols(read(builds[0].objects / ".config"))
    left_out = [name for name in names if not conditions(tree, name) <= config.keys()]
    if left_out and not args.commits:  # what a later commit brings
        print(f"not built, as our configuration has not what they need: {' '.join(left_out)}")
    if shutil.which("sphinx-build"):
        bad += tell("pages", pages(tree, [name for mail in mails for name in mail.overlay]))
    else:
        print("pages: not done, there is no sphinx-build (python3-sphinx)")
    git(tree, "checkout", "-q", "--detach", "base")
    bad += tell("kernel-doc", [f"{name}: {what}" for name, what in sorted(after - documented(tree, touched))])
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, required=True, metavar="DIR", help="worktree made by `series.py tree`: its base is used")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where worktree and objects go, and stay for the next time")
    parser.add_argument("--arch", nargs="+", default=["x86_64"], choices=tuple(ARCHES), help="default: %(default)s")
    parser.add_argument("--commits", type=int, nargs="+", default=[], metavar="N", help="only these; default: all")
    args = parser.parse_args()
    args.tree, args.out = args.tree.resolve(), args.out.resolve()
    try:
        return run(args)
    except SeriesError as error:
        sys.exit(f"check.py: {error}")


if __name__ == "__main__":
    sys.exit(main())
