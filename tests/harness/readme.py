#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of README.md, and those of other documents, each from the record that it names.

They stand between comments, <!-- figures NAME --> and <!-- /figures -->. `tests/harness/readme.py results/RUN` writes them again
from another record, which becomes the one that README.md shows and git keeps; with results/history/COMMIT.json it does so for the
other documents; without an argument from the same ones.
"""

import re
import sys
from pathlib import Path
from statistics import mean, median

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from harness.judge import speed, stats  # noqa: E402
from harness.machine.modes import MODES  # noqa: E402
from harness.measure import bench  # noqa: E402
from harness.record import schema, store  # noqa: E402
from harness.record.rows import select  # noqa: E402
from harness.show import published  # noqa: E402

README, IGNORE = ROOT / "README.md", ROOT / ".gitignore"
OF_HISTORY = (ROOT / "kernel/cover-letter.txt", ROOT / "docs/compatibility.md")
COMMIT = re.compile(r"results/history/([0-9a-f]{12}\.json)")
NAMED = re.compile(r"results/(\d{4}-\d\d-\d\d-[0-9a-f]{8}(?:-\d+)?)")
BLOCK = re.compile(r"(<!-- figures (\w+) -->\n).*?(<!-- /figures -->)", re.S)
LARGE = tuple(f"{how}-{size}" for how in ("seqread", "seqwrite") for size in ("128k", "1m"))


def cost(result, **where):
    return median(row["instructions_per_io"] for row in select(result["cost"], **where))


def operations(result, **where):
    row, = select(result["operations"], **where)
    return sum(row[f"{name}_per_io"] for name in ("map", "unmap", "flush")), row["command_per_io"]


def repeats(result, registrations, jobs):
    """The largest difference between the rounds of a cell."""
    spreads = []
    for mode in result["plan"]["modes"]:
        for job in jobs:
            for registration in registrations:
                values = [row["instructions_per_io"] for row in select(result["cost"], mode=mode, job=job, registration=registration)]
                spreads.append(max(values) / min(values) - 1)
    return max(spreads)


def scatter(result):
    """What the IOPS of the median cell differ by."""
    rounds = {}
    for row in result["speed"]:
        rounds.setdefault((row["mode"], row["job"], row["registration"]), []).append(row["iops"])
    return median(max(values) / min(values) - 1 for values in rounds.values())


def first(result):
    where = {"mode": "strict", "job": "randread-4k"}
    user, dmabuf = ((cost(result, registration=name, **where), operations(result, registration=name, **where)[0]) for name in ("user", "dmabuf"))
    here = f"[run {result['id']}](results/{result['id']}/table.txt)"
    return ["| for a 4 KiB random read, IOMMU in STRICT mode | user memory | dma-buf | |", "|---|--:|--:|---|",
            f"| instructions of the processor | {user[0]:,.0f} | {dmabuf[0]:,.0f} | **measured here**, in an emulated machine: {here} |",
            f"| operations of the IOMMU | {user[1]:.2f} | {dmabuf[1]:.2f} | **measured here**, same run; a count, which hardware does not change |",
            f"| reads per second | {published.rate(published.IOPS['strict'])} | {published.rate(published.IOPS_DMABUF)} | **published**, not ours: "
            f"hardware, one Optane drive, {published.SOURCE} |"]


def conditions(result):
    made, place = result["made_of"], result["circumstances"]
    qemu = re.search(r"version (\S+)", place["qemu"])[1]
    return [f"[Run {result['id']}](results/{result['id']}/table.txt): Linux {made['kernel']['version']}, fio {made['fio']['version']}, QEMU {qemu} "
            f"{'with' if 'kvm' in result['accel'] else 'without'} KVM,",
            "VT-d and NVMe emulated, one processor, a null disk, 128 requests deep in batches of 32, fio's own work included."]


def shown(result):
    """Jobs with their titles."""
    kinds = {"scattered": ", scattered pages", "2m": ", 2 MiB pages"}
    return [(job, title + ("" if job.endswith("-4k") else kinds.get(result["plan"]["memory"][job], ""))) for job, title in bench.SHOWN.items() if job in result["plan"]["jobs"]]


def table(result):
    text = ["| | IOMMU mode | instructions per I/O: user | dma-buf | ratio of pairs | IOMMU operations per I/O: user | dma-buf | commands per I/O: user | dma-buf |",
            "|---|---|--:|--:|--:|--:|--:|--:|--:|"]
    for job, title in shown(result):
        for mode in result["plan"]["modes"]:
            where = {"mode": mode, "job": job}
            user, dmabuf = (cost(result, registration=name, **where) for name in ("user", "dmabuf"))
            (before, split), (after, whole) = (operations(result, registration=name, **where) for name in ("user", "dmabuf"))
            ratio = stats.ratio(*(stats.rounds(select(result["cost"], registration=name, **where), "instructions_per_io") for name in ("dmabuf", "user")))
            text.append(f"| {title} | {mode.upper()} | {user:,.0f} | {dmabuf:,.0f} | {ratio.value:.3f} | {before:.2f} | {after:.2f} | {split:.3g} | {whole:.3g} |")
            title = ""
    return text


def called(result):
    """Of the reads shown, the IOPS ratios that are more than noise, those that are nothing, and the others with what they lack."""
    loud, alike, none = [], [], []
    for job, title in shown(result):
        for mode in result["plan"]["modes"]:
            found = speed.verdict(result, job, mode, "dmabuf")
            said = f"{title} in {mode.upper()} ({found.ratio.value:.2f}"
            if found.called:
                (alike if found.called == "alike" else loud).append(f"{said})")
            else:
                none.append(f"{said}, {found.reason})")
    return loud, alike, none


def noise(result):
    small = [job for job in result["plan"]["jobs"] if job.endswith("-4k")]
    large = [job for job in result["plan"]["jobs"] if job in LARGE]
    loud, alike, none = called(result)
    return ["How well that repeats: the instructions of a cell differ from round to round by at most "
            f"{repeats(result, ['dmabuf'], result['plan']['jobs']):.1%} with dma-bufs,",
            f"{repeats(result, ['none', 'user'], small):.1%} with 4 KiB blocks of user memory, {repeats(result, ['none', 'user'], large):.0%} with large ones. "
            "What those cost depends on how much of the memory happens to be contiguous.",
            f"IOPS differ by {scatter(result):.0%} in the median cell.", "",
            f"IOPS, dma-buf over user memory, by pairs of one boot. More than noise: {'; '.join(loud) or 'nothing'}.",
            *([f"Alike within {stats.EFFECT:.0%}: {'; '.join(alike)}."] if alike else []),
            *([f"No verdict: {'; '.join(none)}."] if none else [])]


def history_cost(result, mode, case, registration):
    row, = select(result["cells"], mode=mode, case=case, registration=registration)
    return row


def cover(result):
    name = f"results/history/{result['commit'][:12]}.json"
    text = ["Instructions of the processor for an I/O, program, kernel and interrupts.",
            "QEMU without KVM, VT-d and NVMe emulated, one processor, 128 requests deep",
            f"in batches of 32; - where nothing was measured. The record is",
            f"{name}.", "", f"{'':19}{'user memory':>14}{'dma-buf':>11}"]
    for mode in MODES:
        text.append(f" {mode.upper()}")
        for case, title in (("read-4k", "4 KiB read"), ("write-4k", "4 KiB write"), ("read-1m", "1 MiB read")):
            dmabuf = history_cost(result, mode, case, "dmabuf")
            user = f"{mean(history_cost(result, mode, case, 'user')['rounds']):,.0f}" if case == "read-4k" else "-"
            whole = "  in 1 command" if case == "read-1m" and dmabuf["bytes_per_command"] == 1 << 20 else ""
            text.append(f"   {title:<16}{user:>14}{mean(dmabuf['rounds']):>11,.0f}{whole}")
    return text


# Of April 2026 on our base and configuration, by the counter of `make cost`: instructions of an I/O in each mode, commands of an I/O.
# Measured once; no record of it is kept.
PUBLIC = {"4 KiB read": ("read-4k", (3008, 3009, 2989), (1, 1, 1)), "4 KiB write": ("write-4k", (3236, 3237, 3217), (1, 1, 1)),
          "64 KiB read": ("", (4917, 4917, 4602), (1, 1, 1)), "128 KiB read": ("", (6996, 6994, 6352), (1, 1, 1)),
          "1 MiB read": ("read-1m", (52464, 52462, 28303), (8, 8, 1))}


def public(result):
    text = ["| instructions per I/O | IOMMU mode | public, April 2026 | commands | this series | commands |", "|---|---|--:|--:|--:|--:|"]
    for title, (case, costs, commands) in PUBLIC.items():
        for mode, cost_there, there in zip(MODES, costs, commands):
            ours = history_cost(result, mode, case, "dmabuf") if case else None
            size = 1 << 20 if case == "read-1m" else 4096
            here = f"{mean(ours['rounds']):,.0f} | {size / ours['bytes_per_command']:.3g}" if ours else "- | -"
            text.append(f"| {title} | {mode.upper()} | {cost_there:,} | {there} | {here} |")
            title = ""
    return text


OTHERS = {"cover": cover, "public": public}
BLOCKS = {"first": first, "conditions": conditions, "table": table, "noise": noise}


def picture(text):
    """The file that README.md's figure is."""
    return ROOT / re.search(r'<img src="([^"]+)"', text)[1]


def run_of(text):
    """The one record."""
    names = sorted(set(NAMED.findall(text)))
    if len(names) != 1:
        raise SystemExit(f"README.md names {len(names)} records ({' '.join(names)}): its figures are of one")
    return names[0]


def written(text, result, blocks=None):
    return BLOCK.sub(lambda found: found[1] + "\n".join((blocks or BLOCKS)[found[2]](result)) + "\n" + found[3], text)


def history(name):
    return store.load(ROOT / "results/history" / name, schema.OF_HISTORY)


def write_others(named=""):
    for path in filter(Path.exists, OF_HISTORY):
        text = path.read_text()
        path.write_text(COMMIT.sub(f"results/history/{named}", text) if named else text)
        name, = set(COMMIT.findall(path.read_text()))
        path.write_text(written(path.read_text(), history(name), OTHERS))


def main():
    if found := COMMIT.search(" ".join(sys.argv[1:])):
        return write_others(found[1])
    write_others()
    old = run_of(README.read_text())
    result = store.load(store.find(sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "results" / old), schema.OF_BENCH), schema.OF_BENCH)
    place = ROOT / "results" / result["id"]
    if not (place / picture(README.read_text()).name).exists():
        raise SystemExit(f"{place} has no {picture(README.read_text()).name}: `make plot RUN={place}`")
    for path in (README, IGNORE):
        path.write_text(path.read_text().replace(old, result["id"]))
    README.write_text(written(README.read_text(), result))
    if old != result["id"]:
        print(f"README.md shows {result['id']} now. To commit it:\n  git rm -rq --cached results/{old}\n  git add .gitignore README.md results/{result['id']}")


if __name__ == "__main__":
    main()
