# SPDX-License-Identifier: GPL-2.0-or-later
"""The report stands alone, and a browser shows it."""

import argparse
import dataclasses
import gzip
import json
import re
import shutil
import struct
import subprocess
import xml.etree.ElementTree
import zlib

import matplotlib
import pytest
import readme
import test_bench
import test_cost
import test_regress

from harness import __main__
from harness.build import deps
from harness.judge import regress
from harness.paths import ROOT
from harness.record import store
from harness.show import cost as show_cost
from harness.show import plot, projection, published, report, table

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A run of every kind, bench and cost beside it, drawn once."""
    tmp_path = tmp_path_factory.mktemp("drawn")
    bench, costs = test_bench.record(), test_cost.result()
    for name, result, file in (("bench", bench, "run.json"), ("cost", costs, "cost.json")):
        result["made_of"]["kernel"]["bzimage_sha256"] = "same"
        (tmp_path / name).mkdir()
        store.write(tmp_path / name / file, result)
    (tmp_path / "bench/table.txt").write_text(table.text(bench))
    (tmp_path / "cost/cost.txt").write_text(show_cost.text(costs))
    plot.draw(bench, tmp_path / "bench")
    plot.subsystems(costs, tmp_path / "cost")
    plot.curves(costs, tmp_path / "cost")
    return tmp_path


@pytest.fixture
def run(drawn, tmp_path, monkeypatch):
    shutil.copytree(drawn, tmp_path / "runs")
    monkeypatch.setattr(report, "RESULTS", tmp_path / "runs")
    return tmp_path / "runs/bench"


def test_it_needs_nothing_beside_it(run):
    text = report.write(run).read_text()
    assert not re.search(r'(src|href)="(?!#)', text) and "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_no_name_is_used_twice_and_every_reference_is_met(run):
    text = report.write(run).read_text()
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names)) > 100
    assert set(re.findall(r'(?:xlink:href="|url\()#([^")]+)', text)) <= set(names)


def titles(text):
    return re.findall(r"<(?:h2|summary)>([^<]+)</(?:h2|summary)>", text)


def test_the_claim_comes_first_and_everything_is_in_it(run):
    text = report.write(run).read_text()
    places = [text.index(each) for each in ("<nav>", "PASS</span>5 of 5 claims hold", "dmabuf: no IOMMU map", 'id="figure-hero"', "fio 3.33", "<h2>Instructions per I/O (bench)</h2>")]
    assert places == sorted(places)
    names = titles(text)
    assert names[:6] == ["Instructions per I/O (bench)", "Operations per I/O (bench)", "IOPS of the emulated machine (bench)", "Exact cost per I/O (cost)", "Goals (cost)",
                         "What an I/O does (cost)"]
    drawn = [title for _, title, _ in report.FIGURES if title in names]
    assert len(drawn) == 7 and [name for name in names if name in drawn] == drawn
    assert names[-4:] == ["Details", "Conditions of bench/run.json", "Conditions of cost/cost.json", "What is not shown"]
    assert "<pre" not in text and "Cost of recorded commits: no `make regress` of this kernel stands beside this run." in text.replace("&#39;", "'")
    assert set(re.findall(r'<a href="#([^"]+)"', text)) <= set(re.findall(r'\bid="([^"]+)"', text))
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    assert "0.571" in cells and "4,000" in cells  # of 4,000 instructions over 7,000


@pytest.mark.parametrize("spoil, says", (({"dmabuf_map": 0.02}, "FAIL</span>1 of 5 claims fail"), ({"lazy_cost": 4400.0}, "FAIL</span>1 of 5 claims fail")))
def test_a_claim_that_fails_is_seen_first(run, spoil, says):
    store.write(run / "run.json", test_bench.record(**spoil) | {"made_of": store.read(run / "run.json")["made_of"]})
    text = report.write(run).read_text()
    assert says in text and '<span class="badge bad">FAILS</span>dmabuf' in text


def test_what_costs_more_is_named_in_the_report_of_a_gate(tmp_path, data):
    base = json.loads(gzip.decompress((data / "record.json.gz").read_bytes()))
    new = test_regress.slower(base, "io_read", 0.03, "strict")
    store.write(tmp_path / "record.json", new)
    text = report.write(tmp_path, (base, new, regress.findings(base, new))).read_text()
    assert "FAIL</span>4 of 4 claims fail" in text and "<td>io_read</td>" in text and "What moved: strict read-4k dmabuf" in text
    assert "PASS</span>1 of 1 claims hold" in report.write(tmp_path, (base, base, [])).read_text()


def test_figures_of_another_kernel_are_left_out(run):
    other = store.read(run.parent / "cost/cost.json")
    other["made_of"]["kernel"]["bzimage_sha256"] = "other"
    store.write(run.parent / "cost/cost.json", other)
    text = report.write(run).read_text()
    assert "(cost)" not in text and "no `make cost` of this kernel stands beside this run" in text


def test_the_run_of_a_host_is_shown_and_spoils_no_other(run):
    """Its kernel is not one of ours: no digest, no QEMU, no commit."""
    result = test_bench.record()
    result["made_of"]["kernel"] = {"release": "7.3.4 (x)", "version": "#1 SMP"}
    result |= {"accel": ["hardware"], "host": {"model": "a disk", "iommu": ["dmar0"]}, "circumstances": {"date": "2026-11-27", "qemu": "no QEMU"}}
    result["plan"]["column"] = {"name": "host", "text": "this machine", "iommu": "vtd"}
    place = run.parent / "host"
    place.mkdir()
    store.write(place / "run.json", result)
    (place / "table.txt").write_text(table.text(result))
    text = report.write(place).read_text()
    assert "a disk behind dmar0" in text and "(cost)" not in text
    assert report.companions(run) == [run.parent / "cost"]


def test_text_of_a_record_is_no_markup(run):
    result = store.read(run / "run.json")
    result["circumstances"]["qemu"] = "<script>alert(1)</script>"
    store.write(run / "run.json", result)
    assert "<script>" not in report.write(run).read_text()


def pixels(png):
    """Rows of an 8-bit RGB or RGBA image as bytes, filters undone for none and left alone otherwise: enough to see ink."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height, zlib.decompress(b"".join(png[at + 8:at + 8 + length] for at, length in chunks(png)))


def chunks(png):
    at = 8
    while at < len(png):
        length = struct.unpack(">I", png[at:at + 4])[0]
        if png[at + 4:at + 8] == b"IDAT":
            yield at, length
        at += length + 12


@pytest.mark.skipif(not BROWSER, reason="no Chromium here: apt-get install chromium")
def test_a_browser_shows_it(run, tmp_path):
    place = report.write(run)
    argv = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    dom = subprocess.run([*argv, "--dump-dom", f"file://{place}"], capture_output=True, text=True, timeout=90).stdout
    assert dom.count("<svg") == 8 and "What is not shown" in dom
    shot = tmp_path / "report.png"
    subprocess.run([*argv, "--window-size=1200,6000", f"--screenshot={shot}", f"file://{place}"], capture_output=True, timeout=90)
    width, height, raw = pixels(shot.read_bytes())
    assert (width, height) == (1200, 6000)
    assert len(zlib.compress(raw)) > 100_000  # an empty page of this size takes a few hundred bytes


@pytest.mark.parametrize("kind, file", (("bench", "run.json"), ("cost", "cost.json")))
def test_make_plot_writes_it_again(run, monkeypatch, kind, file):
    monkeypatch.setattr(deps, "install", lambda: None)
    place = run.parent / kind
    changed = store.read(place / file) | {"id": "quite-another"}
    store.write(place / file, changed)
    (place / "report.html").write_text("old")
    assert __main__.redraw(argparse.Namespace(run=str(place))) == 0
    text = (place / "report.html").read_text()
    assert "quite-another" in text and text.count("<svg") >= 2


SHOWN = ROOT / "results" / readme.run_of(readme.README.read_text())
DRAWN_BY = "3.6.3"  # matplotlib of Debian 12: another draws the same, not in the same bytes


def test_the_run_that_is_kept_is_what_it_would_be_shown_as(tmp_path, monkeypatch):
    """`make plot` on it changes nothing: no figure of a record depends on anything but the record."""
    place = tmp_path / SHOWN.name
    place.mkdir()
    shutil.copy(SHOWN / "run.json", place)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(deps, "install", lambda: None)
    assert __main__.redraw(argparse.Namespace(run=str(place))) == 0
    kept = {path.name for path in SHOWN.iterdir() if path.is_file()}
    assert kept == {path.name for path in place.iterdir()}
    same = kept if matplotlib.__version__ == DRAWN_BY else {name for name in kept if name.endswith((".csv", ".json", ".txt"))}
    assert [name for name in sorted(same) if (place / name).read_bytes() != (SHOWN / name).read_bytes()] == []


def test_every_figure_is_well_formed(run):
    for path in [*run.glob("*.svg"), *(run.parent / "cost").glob("*.svg")]:
        xml.etree.ElementTree.parse(path)


def test_the_projection_prices_what_was_counted():
    assert projection.iops(1000, 0, projection.Price(ghz=2, cpi=1, invalidation=500)) == 2e6
    assert projection.iops(1000, 1, projection.Price(ghz=2, cpi=1, invalidation=1000)) == 1e6


COUNTS = {"strict": 5400.0, "lazy": 4000.0, "passthrough": 3000.0}, {"strict": 1.0, "lazy": 0.01, "passthrough": 0.0}


def test_an_invalidation_costs_what_strict_and_lazy_differ_by():
    price = projection.Price(ghz=2, cpi=1)
    price = dataclasses.replace(price, invalidation=projection.left_for_flushes(*COUNTS, price))
    strict, lazy = (1 / projection.iops(COUNTS[0][mode], COUNTS[1][mode], price) for mode in ("strict", "lazy"))
    assert strict - lazy == pytest.approx(1 / published.IOPS["strict"] - 1 / published.IOPS["lazy"])


def test_it_says_what_no_core_can_do():
    assert "CANNOT BE MET" in projection.meeting(*COUNTS, projection.Price(ghz=3))[1]
    assert "CANNOT BE MET" not in projection.meeting(*COUNTS, projection.Price(ghz=5))[1]


def test_a_projection_calls_itself_one():
    costs = test_cost.result()
    text = projection.text(costs, projection.Price())
    assert text.startswith("PROJECTION, not a measurement: not made")
    costs = whole()
    text = projection.text(costs, projection.Price())
    assert text.startswith("PROJECTION, not a measurement: IOPS") and "What this cannot say" in text
    assert "published STRICT and LAZY differ by" in text and "0.57M" in text
    assert "cycles per IOTLB invalidation waited for (assumed)" in projection.text(costs, projection.Price(invalidation=1.0))


def whole():
    """User memory in all modes, with flushes in strict."""
    costs = test_cost.result()
    costs["modes"] = list(COUNTS[0])
    row = next(row for row in costs["rows"] if (row["case"], row["registration"]) == (projection.CASE, "user"))
    costs["rows"] = [row | {"mode": mode, "instructions_per_io": COUNTS[0][mode], "mechanisms": row["mechanisms"] | {"flush": COUNTS[1][mode]}}
                     for mode in costs["modes"]]
    return costs
