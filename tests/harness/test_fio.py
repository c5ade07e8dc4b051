# SPDX-License-Identifier: GPL-2.0-or-later
"""fio's JSON as recorded: what counts as a sample and what does not."""

import json

import pytest

from harness.fault import Fault
from harness.measure import fio


@pytest.fixture
def text(data):
    return (data / "randread-user.json").read_text()


def test_a_run(text):
    sample = fio.sample(fio.parse(text))
    job = json.loads(text)["jobs"][0]
    assert sample.ios == job["read"]["total_ios"] > 10000
    assert sample.iops == job["read"]["iops"]
    assert sample.bytes == sample.ios * 4096
    assert sample.latency_ns == {"read": {"p50": job["read"]["clat_ns"]["percentile"]["50.000000"],
                                          "p99": job["read"]["clat_ns"]["percentile"]["99.000000"],
                                          "p999": job["read"]["clat_ns"]["percentile"]["99.900000"]}}


def test_lines_around_the_object_do_not_matter(text):
    assert fio.parse(f"dmabuf: said something\n{text}\nand more\n") == fio.parse(text)


def test_both_directions_add_up(text):
    report = fio.parse(text)
    report["jobs"][0]["write"] = report["jobs"][0]["read"]
    both, one = fio.sample(report), fio.sample(fio.parse(text))
    assert (both.ios, both.iops) == (2 * one.ios, 2 * one.iops)
    assert set(both.latency_ns) == {"read", "write"}


@pytest.mark.parametrize("spoil", (
    lambda job: job.update(error=5),
    lambda job: job["read"].update(short_ios=1),
    lambda job: job["read"].update(drop_ios=1),
    lambda job: job["read"].update(total_ios=0),
))
def test_a_bad_run_is_no_sample(text, spoil):
    report = fio.parse(text)
    spoil(report["jobs"][0])
    with pytest.raises(Fault, match="randread-4k"):
        fio.sample(report)


def test_a_missing_key_is_an_error(text):
    report = fio.parse(text)
    del report["jobs"][0]["read"]["iops"]
    with pytest.raises(KeyError):
        fio.sample(report)


@pytest.mark.parametrize("cut", ("", "fio: no such device\n", None))
def test_no_json_is_an_error(text, cut):
    with pytest.raises(Fault):
        fio.parse(text[:2000] if cut is None else cut)


def test_registrations_differ_in_one_variable():
    none, user = (fio.command("randread-4k", "/o", name, "scattered", "--runtime=1s", "/dev/x") for name in ("none", "user"))
    assert none.replace("REGISTRATION=none", "REGISTRATION=user") == user and "--pages=scattered" in user
