#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Turns kernel/series + kernel/overlay into git-am-able mails, and back.

`mails` writes them as they are sent, under the cover letter of cover-letter.txt. A mail in series/ carries the hunks of existing files; every new file of the
commit stands whole in overlay/ and is named there by an `overlay: PATH` line
between `---` and the first hunk.
"""
import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERIES, OVERLAY, COVER = HERE / "series", HERE / "overlay", HERE / "cover-letter.txt"
STATE = ".series-state"
# The same bytes on every machine: nobody's git configuration counts.
IDENT = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
         (("NAME", "series"), ("EMAIL", "series@localhost"), ("DATE", "2000-01-01T00:00:00Z"))}
ENV = {**{k: v for k, v in os.environ.items() if not k.startswith("GIT_")}, **IDENT, "LC_ALL": "C",
       "TZ": "UTC", "GIT_OPTIONAL_LOCKS": "0", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
FORMAT = ("--zero-commit --no-signature -N --full-index --no-renames -U3 --diff-algorithm=myers --no-indent-heuristic "
          "--src-prefix=a/ --dst-prefix=b/ --no-ext-diff --no-textconv --subject-prefix=PATCH").split()
LARGE = 400  # lines of existing files that a mail changes: more is more than one idea
NEW = re.compile(r"diff --git .*\nnew file mode 100(\d+)\n")


class SeriesError(Exception):
    pass


def git(repo: Path, *args: str, check: bool = True) -> str:
    """The output of a git command, bytes kept through surrogates."""
    done = subprocess.run(["git", "-C", str(repo), *args], env=ENV, capture_output=True)
    if check and done.returncode:
        raise SeriesError(f"git {args[0]} in {repo}: {done.stderr.decode(errors='replace').strip()}")
    return (done.stdout + (b"" if check else done.stderr)).decode("utf-8", "surrogateescape")


def read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape")


def write(path: Path, text: str, mode: int) -> bool:
    """Writes only what differs, so that make rebuilds only what changed."""
    data = text.encode("utf-8", "surrogateescape")
    if path.is_file() and path.read_bytes() == data and path.stat().st_mode & 0o111 == mode & 0o111:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return True


def mode_of(path: Path) -> int:
    return 0o755 if os.access(path, os.X_OK) else 0o644


def sections(diff: str) -> dict[str, str]:
    """A diff as {path: its part}, in order."""
    parts = re.split(r"(?m)^(?=diff --git )", diff)[1:]
    return {re.match(r"diff --git a/(.*) b/\1\n", part)[1]: part for part in parts}


def split_mail(text: str) -> tuple[str, str, dict[str, str]]:
    """(headers and body with `---`, notes below it, diff by path)."""
    head, dashes, rest = text.partition("\n---\n")
    notes, _, _ = rest.partition("diff --git ")
    return head + dashes, notes, sections(rest)


class Mail:
    def __init__(self, path: Path):
        self.name = path.name
        self.head, notes, self.hooks = split_mail(read(path))
        self.overlay = re.findall(r"(?m)^overlay: (\S+)$", notes)
        if not self.overlay and not self.hooks:
            raise SeriesError(f"{path.name} changes nothing: it has neither an overlay: line nor a hunk")
        new = [name for name, part in self.hooks.items() if NEW.match(part)]
        if new:
            raise SeriesError(f"{path.name} adds {new[0]} as a hunk: put the file in overlay/ and an overlay: line in the mail")

    def compose(self) -> str:
        parts = self.hooks | {name: new_file(name) for name in self.overlay}
        return self.head + "\n" + "".join(parts[name] for name in sorted(parts))


def new_file(name: str) -> str:
    text, mode = read(OVERLAY / name), mode_of(OVERLAY / name)
    data = text.encode("utf-8", "surrogateescape")
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    head = f"diff --git a/{name} b/{name}\nnew file mode 100{mode:o}\nindex {'0' * 40}..{blob}\n"
    if not text:
        return head
    lines = text.removesuffix("\n").split("\n")
    count = f",{len(lines)}" if len(lines) > 1 else ""
    body = "".join(f"+{line}\n" for line in lines) + ("" if text.endswith("\n") else "\\ No newline at end of file\n")
    return f"{head}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1{count} @@\n{body}"


def load() -> list[Mail]:
    """The mails in order; every overlay file is named by exactly one."""
    mails = [Mail(path) for path in sorted(SERIES.glob("*.patch"))]
    named: dict[str, str] = {}
    for mail in mails:
        for name in mail.overlay:
            if name in named:
                raise SeriesError(f"{mail.name} names overlay file {name}, which {named[name]} already adds")
            if not (OVERLAY / name).is_file():
                raise SeriesError(f"{mail.name} names overlay file {name}, which is not there: restore it or drop the line")
            named[name] = mail.name
        for name in mail.hooks:
            if name in named:
                raise SeriesError(f"{mail.name} changes {name}, which {named[name]} adds: change the overlay file itself")
    orphans = [name for name in overlay_files() if name not in named]
    if orphans:
        raise SeriesError(f"no mail names overlay file {orphans[0]}: add an overlay: line, or export the tree it is committed in")
    return mails


def overlay_files() -> list[str]:
    return sorted(str(path.relative_to(OVERLAY)) for path in OVERLAY.rglob("*") if path.is_file())


def am(repo: Path, mails: list[Mail]) -> None:
    """Puts the series on top of what stands in the worktree and tags that `base`."""
    for key, value in (("core.looseCompression", "0"), ("core.fsync", "none"), ("gc.auto", "0"), ("core.hooksPath", "/dev/null")):
        git(repo, "config", key, value)
    git(repo, "add", "-A", "-f")
    git(repo, "commit", "-q", "--allow-empty", "-m", "Pristine kernel")
    git(repo, "tag", "base")
    put_on(repo, mails)


def put_on(repo: Path, mails: list[Mail]) -> None:
    """A commit for each mail, on what is checked out."""
    if not mails:
        return
    with tempfile.TemporaryDirectory() as tmp:
        for mail in mails:
            write(Path(tmp) / mail.name, mail.compose(), 0o644)
        out = git(repo, "am", "-q", "--keep-non-patch", "--no-scissors", "--committer-date-is-author-date",
                  *(f"{tmp}/{mail.name}" for mail in mails), check=False)
    failed = re.search(r"Patch failed at (\d+)", out)
    if failed or (repo / ".git/rebase-apply").exists():
        why = "; ".join(re.findall(r"(?m)^error: (.*)$", out)) or out.strip()
        raise SeriesError(f"{mails[int(failed[1]) - 1].name if failed else 'the series'} does not apply: {why}")


def scratch(tree: Path, tmp: Path) -> tuple[Path, list[Mail]]:
    """A repository of just the files that the series names, series applied."""
    mails = load()
    if not (tree / "Makefile").is_file() or (tree / STATE).exists():
        raise SeriesError(f"{tree} is not a pristine kernel tree: give --base the extracted source that kernel/BASE names")
    for mail in mails:
        for name in mail.overlay:
            if (tree / name).exists():
                raise SeriesError(f"{mail.name} adds {name}, which {tree} already has: "
                                  "the base is not pristine or not the one of kernel/BASE")
        for name in mail.hooks:
            if not (tree / name).is_file():
                raise SeriesError(f"{mail.name} changes {name}, which {tree} has not: the base is not the one of kernel/BASE")
            (tmp / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tree / name, tmp / name)
    git(tmp, "init", "-q", "-b", "main")
    am(tmp, mails)
    return tmp, mails


def split(repo: Path) -> dict[Path, tuple[str, int]]:
    """The commits base..HEAD as the files of series/ and overlay/."""
    files: dict[Path, tuple[str, int]] = {}
    added: dict[str, str] = {}
    if git(repo, "rev-list", "--merges", "base..HEAD"):
        raise SeriesError(f"{repo} has a merge after base: rebase, a series is a line of commits")
    for number, commit in enumerate(git(repo, "log", "--reverse", "--format=%h %f", "base..HEAD").splitlines(), 1):
        rev, slug = commit.split(" ")
        if re.search(r"(?m)^(---|diff -|Index: )", git(repo, "log", "-1", "--format=%B", rev)):
            raise SeriesError(f"commit {commit} has a line in its message at which git am would cut it: indent that line")
        with tempfile.NamedTemporaryFile("w") as attributes:
            print("*.[ch] diff=cpp", file=attributes, flush=True)
            text = git(repo, "-c", f"core.attributesFile={attributes.name}", "format-patch", "-1", "--stdout", *FORMAT, rev)
        head, _, diff = split_mail(text.rstrip("\n") + "\n")
        if not diff:  # git 2.39 sends no mail for it, 2.47 one without a hunk
            raise SeriesError(f"commit {commit} changes nothing: drop it (git rebase -i base)")
        for name in diff.keys() & added.keys():
            raise SeriesError(f"commit {commit} changes {name}, which commit {added[name]} adds: fold it in "
                              f"(git commit --fixup={added[name].split()[0]}, git rebase -i --autosquash base)")
        new = {name: int(mode[1], 8) for name, part in diff.items() if (mode := NEW.match(part))}
        for name, mode in new.items():
            files[OVERLAY / name] = (git(repo, "cat-file", "blob", f"{rev}:{name}"), mode)
            added[name] = commit
        notes = "".join(f"overlay: {name}\n" for name in new)
        hunks = "".join(part for name, part in diff.items() if name not in new)
        files[SERIES / f"{number:04}-{slug[:52].rstrip('.-')}.patch"] = (head + "\n".join(filter(None, (notes, hunks))), 0o644)
    return files


def ours() -> list[Path]:
    return sorted(SERIES.glob("*.patch")) + [OVERLAY / name for name in overlay_files()]


def compose(args: argparse.Namespace) -> None:
    text = "".join(mail.compose() for mail in load())
    if args.output:
        write(args.output, text, 0o644)
    else:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))


def apply(args: argparse.Namespace) -> None:
    out, state = args.out, args.out / STATE
    if (out / ".git").exists() or out.resolve() == args.base.resolve():
        raise SeriesError(f"{out} is a developer's tree or the base itself: give --out a directory that may be overwritten")
    with tempfile.TemporaryDirectory() as tmp:
        repo, _ = scratch(args.base, Path(tmp))
        touched = git(repo, "diff", "--no-renames", "--name-only", "base", "HEAD").splitlines()
        before = read(state).splitlines() if state.exists() else []
        write(state, "".join(f"{name}\n" for name in sorted({*before, *touched})), 0o644)
        written = 0
        for name in sorted({*before, *touched}):
            source = repo / name if name in touched else args.base / name
            if source.exists():
                written += write(out / name, read(source), mode_of(source))
            else:
                written += (out / name).exists()
                (out / name).unlink(missing_ok=True)
        write(state, "".join(f"{name}\n" for name in touched), 0o644)
    print(f"{out}: {len(touched)} files differ from the base, {written} written now")


def tree(args: argparse.Namespace) -> None:
    if args.out.exists():
        raise SeriesError(f"{args.out} is already there: export or remove it first")
    mails = load()
    args.out.mkdir(parents=True)
    entries = [path for path in args.base.iterdir() if path.name != ".git"]
    subprocess.run(["cp", "-a", "--reflink=auto", "-t", args.out, *entries], check=True)
    git(args.out, "init", "-q", "-b", "main")
    am(args.out, mails)
    print(f"{args.out}: tag base and {len(mails)} commits")


def hidden(repo: Path) -> list[str]:
    """New files that git status does not show: the .gitignore of Debian's kernel ends in a line that hides everything."""
    rules_there = read(repo / ".gitignore")
    if "\n/*\n" not in rules_there:
        return []
    with tempfile.NamedTemporaryFile("w") as rules:
        print(rules_there.replace("\n/*\n", "\n"), file=rules, flush=True)
        return git(repo, "ls-files", "-o", f"--exclude-from={rules.name}").splitlines()


def export(args: argparse.Namespace) -> None:
    if not (args.tree / ".git").exists() or not git(args.tree, "tag", "-l", "base"):
        raise SeriesError(f"{args.tree} is no git repository with a tag `base`: make one with `series.py tree`")
    dirty = git(args.tree, "status", "--porcelain").splitlines() + hidden(args.tree)
    if dirty:
        raise SeriesError(f"{args.tree} has uncommitted changes ({dirty[0].strip()}): commit (git add -f) or drop them")
    files = split(args.tree)
    for path in ours():
        if path not in files:
            path.unlink()
            print(f"removed {path.relative_to(HERE)}")
    for path, (text, mode) in files.items():
        if write(path, text, mode):
            print(f"wrote {path.relative_to(HERE)}")


def check(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as tmp:
        files = split(scratch(args.base, Path(tmp))[0])
    there = {path: (read(path), mode_of(path)) for path in ours()}
    differ = [str(path.relative_to(HERE)) for path in sorted({*files, *there}) if files.get(path) != there.get(path)]
    if differ:
        raise SeriesError(f"the round trip changes {', '.join(differ)}: run `series.py export` on the tree they come from")
    print(f"round trip: {len(there)} files, byte for byte")


def checkpatch(args: argparse.Namespace) -> None:
    bad = []
    with tempfile.TemporaryDirectory() as tmp:
        for mail in load():
            write(Path(tmp) / mail.name, mail.compose(), 0o644)
            done = subprocess.run(["perl", args.base / "scripts/checkpatch.pl", "--strict", "--show-types", "--quiet",
                                   f"--root={args.base}", f"{tmp}/{mail.name}"],
                                  cwd=HERE.parent, env=ENV | {"GIT_DIR": f"{tmp}/none"})  # our history is not the kernel's
            bad += [mail.name] if done.returncode else []
            print(f"checkpatch: {mail.name}: {'unclean' if done.returncode else 'clean'}", flush=True)
    if bad:
        raise SeriesError(f"checkpatch complains about {', '.join(bad)}: see its lines above")


def pinned() -> dict[str, str]:
    """BASE: one `key value` a line."""
    return dict(line.split(None, 1) for line in read(HERE / "BASE").splitlines() if line.strip() and not line.startswith("#"))


def cover() -> tuple[str, str, int]:
    """(subject, text, version): what no generator knows. Comments guide generators and are not sent."""
    text = re.sub(r"(?m)^<!--.*-->\n", "", read(COVER)).strip() + "\n"
    subject, _, body = text.partition("\n\n")
    versions = [int(number) for number in re.findall(r"(?m)^v(\d+):$", body.partition("\nChangelog\n")[2])]
    if "\n" in subject or not versions or versions != list(range(versions[0], 0, -1)):
        raise SeriesError(f"{COVER.name} begins with a subject in a paragraph of its own and ends in `Changelog`, newest `vN:` first")
    long = [line for line in body.splitlines() if len(line) > 76 and " " in line.strip() and "results/" not in line]
    if long:
        raise SeriesError(f"{COVER.name} has a line of more than 76 columns: {long[0]}")
    return subject, body, versions[0]


def mails(args: argparse.Namespace) -> None:
    subject, body, version = cover()
    out = args.out.resolve()
    if out.exists() and any(path.suffix != ".patch" for path in out.iterdir()):
        raise SeriesError(f"{args.out} holds more than mails: give --out a directory that may be emptied")
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as tmp:
        repo, series = scratch(args.base, Path(tmp))
        git(repo, "format-patch", "-q", "-n", "--cover-letter", "--no-signature", "--no-renames", f"--output-directory={out}",
            "--subject-prefix=PATCH", *([f"-v{version}"] if version > 1 else []), "base..HEAD")
        author, date = git(repo, "log", "-1", "--format=%an <%ae>%n%aD").splitlines()
    letter = out / (f"v{version}-" * (version > 1) + "0000-cover-letter.patch")
    pin = pinned()
    text = re.sub(r"(?m)^From: .*\n", f"From: {author}\n", read(letter), count=1)
    text = re.sub(r"(?m)^Date: .*\n", f"Date: {date}\n", text, count=1)
    text = text.replace("*** SUBJECT HERE ***", subject).replace("*** BLURB HERE ***", f"{body}\nThe base is Linux {pin['version']} ({pin['tag']}).")
    write(letter, text, 0o644)
    for mail in series:
        changed = sum(len(re.findall(r"(?m)^[+-](?!(?:--|\+\+) )", part)) for part in mail.hooks.values())
        if changed > LARGE:
            print(f"{mail.name} changes {changed} lines of existing files: more than {LARGE} is more than one idea, split it")
    print(f"{args.out}: a cover letter and {len(series)} mails, v{version}")


def hooks(args: argparse.Namespace) -> None:
    print("| file | lines added | mail |\n|---|---|---|")
    rows = sorted((name, len(re.findall(r"(?m)^\+(?!\+\+ )", part)), mail.name) for mail in load() for name, part in mail.hooks.items())
    for name, lines, mail_name in rows:
        print(f"| {name} | {lines} | {mail_name} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(function, text: str, **paths: str) -> None:
        sub = verbs.add_parser(function.__name__, help=text)
        for name, what in paths.items():
            sub.add_argument(f"--{name}", type=Path, required=True, metavar="DIR", help=what)
        sub.set_defaults(run=function)
        if function is compose:
            sub.add_argument("-o", "--output", type=Path, metavar="MBOX", help="file to write (default: standard output)")

    base = "pristine extracted kernel"
    verb(compose, "print the series as one mbox")
    verb(apply, "write the patched files into a directory or a kernel tree", base=base, out="where to; only what differs is written")
    verb(tree, "make a git worktree to develop in: tag base, then the series", base=base, out="the new worktree")
    verb(export, "split the commits base..HEAD of a worktree into series/ and overlay/", tree="worktree made by `tree`")
    verb(check, "prove that export(apply(series)) is the series, byte for byte", base=base)
    verb(checkpatch, "run the kernel's checkpatch --strict over each mail", base=base)
    verb(mails, "write the mails as they are sent, with a cover letter", base=base, out="where to; emptied first")
    verb(hooks, "print the table of hooks into existing files")
    args = parser.parse_args()
    try:
        args.run(args)
    except SeriesError as error:
        sys.exit(f"series.py: {error}")
    except OSError as error:
        sys.exit(f"series.py: {error.strerror}: {error.filename}")


if __name__ == "__main__":
    main()
