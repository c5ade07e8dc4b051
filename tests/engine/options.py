# SPDX-License-Identifier: GPL-2.0-or-later
"""What users of fio's io_uring engine type, a row each: what that engine does with it, and what ours does.

The table in engines/README.md is table() of this, and compare.py runs every row through both engines.
"""

import re
from dataclasses import dataclass

SAME = "same"        # both work; I/Os, bytes and errors of each direction are equal
WORKS = "works"      # both or ours works, with figures that depend on time
FAILS = "fails"      # the I/O cannot be done here, and both say so by their status and count alike
REFUSED = "refused"  # a sentence, and nothing has run


@dataclass(frozen=True)
class Row:
    name: str             # as users write it; the test's name as well
    args: str             # of the job that shows it
    theirs: str = SAME
    ours: str = SAME
    says: str = ""        # the sentence of a refusal
    since: int = 0        # FIO_IOOPS_VERSION that has it
    on: str = "f"         # a file, or "loop"
    only_to_us: str = "--registration=user"  # arguments that the other engine does not have

    @property
    def slug(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


VERIFY = "--rw=randrw --verify={} --verify_fatal=1"
READS = "--rw=randread"
WRITES = "--rw=randwrite"
METADATA = "commands here carry no metadata"
MODES = "commands here are reads, writes and flushes"

ROWS = (
    # the engine's own
    Row("fixedbufs", f"{READS} --fixedbufs"),
    Row("registerfiles", f"{READS} --registerfiles=1"),
    Row("sqthread_poll", f"{READS} --sqthread_poll"),
    Row("sqthread_poll_cpu", f"{READS} --sqthread_poll --sqthread_poll_cpu=0"),
    Row("nonvectored", f"{READS} --nonvectored=1"),
    Row("nonvectored=0", f"{VERIFY.format('crc32c')} --nonvectored=0", only_to_us="--registration=none"),
    Row("nowait", f"{READS} --nowait=1", on="loop", theirs=WORKS, ours=WORKS),
    Row("force_async", f"{READS} --force_async=4"),
    Row("hipri", f"{READS} --hipri", FAILS, FAILS, on="loop"),
    Row("cmdprio_percentage", f"{READS} --cmdprio_percentage=30"),
    Row("cmdprio_class", f"{WRITES} --cmdprio_percentage=30 --cmdprio_class=2"),
    Row("cmdprio", f"{READS} --cmdprio_percentage=30 --cmdprio_class=2 --cmdprio=3"),
    Row("cmdprio_hint", f"{READS} --cmdprio_percentage=30 --cmdprio_hint=1", since=33),
    Row("cmdprio_bssplit", f"{READS} --bssplit=4k/50:8k/50 --cmdprio_bssplit=4k/20:8k/60"),
    Row("cmdprio_percentage with cmdprio_bssplit", f"{READS} --cmdprio_percentage=9 --cmdprio_bssplit=4k/20", REFUSED, REFUSED,
        "exclude each other"),
    Row("uncached", f"{READS} --uncached=1", WORKS, REFUSED, "no page cache is involved"),
    # of commands to /dev/ngXnY, which passthru.sh has in a guest; here there are files
    Row("cmd_type", f"{READS} --cmd_type=nvme", WORKS, REFUSED, "cmd_type=nvme is for NVMe generic character devices"),
    *(Row(name, f"{READS} --{name}=1", WORKS, REFUSED, f"{name}=1 is a bit of NVMe commands", 36) for name in ("readfua", "writefua")),
    Row("readfua=0, writefua=0", f"{READS} --readfua=0 --writefua=0", since=36),
    *(Row(name, f"{READS} --{name}={value}", WORKS, REFUSED, says, since) for name, value, since, says in (
        ("md_per_io_size", "0", 33, METADATA), ("pi_act", "1", 33, METADATA), ("pi_chk", "GUARD", 33, METADATA),
        ("apptag", "1", 33, METADATA), ("apptag_mask", "1", 33, METADATA), ("write_mode", "write", 36, MODES),
        ("verify_mode", "read", 36, MODES), ("deac", "1", 36, MODES))),
    # depth and batches
    Row("iodepth=1", f"{READS} --iodepth=1"),
    Row("iodepth_batch", f"{READS} --iodepth=32 --iodepth_batch=8"),
    Row("iodepth_batch_complete_min, _max", f"{READS} --iodepth=32 --iodepth_batch_complete_min=4 --iodepth_batch_complete_max=16"),
    Row("iodepth_batch_complete_min=0", f"{READS} --iodepth=32 --iodepth_batch_complete_min=0"),
    Row("iodepth_low", f"{READS} --iodepth=32 --iodepth_low=8"),
    Row("serialize_overlap", f"{WRITES} --serialize_overlap=1 --norandommap"),
    Row("io_submit_mode=offload", f"{READS} --io_submit_mode=offload", REFUSED, REFUSED, "can't be used with offloaded submit"),
    # blocks and buffers
    Row("bs not a power of two", "--rw=read --bs=12k --size=3m"),
    Row("bsrange", "--rw=randrw --bsrange=512-64k"),
    Row("bs_unaligned", "--rw=randread --bsrange=512-4k --bs_unaligned=1", FAILS, REFUSED, "bs_unaligned=1 makes blocks"),
    Row("bssplit", "--rw=randrw --bssplit=4k/30:16k/40:64k/30"),
    Row("blockalign", f"{READS} --bs=4k --blockalign=8k"),
    Row("iomem_align", f"{READS} --iomem_align=512"),
    Row("mem=mmap", f"{READS} --mem=mmap", SAME, REFUSED, "'mem/iomem' conflicts"),
    Row("zero_buffers", f"{WRITES} --zero_buffers"),
    Row("refill_buffers", f"{WRITES} --refill_buffers"),
    Row("buffer_pattern", f"{WRITES} --buffer_pattern=0x5a"),
    Row("buffer_compress_percentage", f"{WRITES} --buffer_compress_percentage=50"),
    Row("dedupe_percentage", f"{WRITES} --dedupe_percentage=50"),
    Row("short write", "--rw=write --bs=64k --size=1m --filename=short --fallocate=none"),
    # where and how much
    Row("rw=read, write, readwrite", "--rw=rw"),
    Row("rwmixread", "--rw=randrw --rwmixread=20"),
    Row("norandommap", f"{READS} --norandommap"),
    Row("random_distribution", f"{READS} --random_distribution=zipf:1.2"),
    Row("rw=read:8k", "--rw=read:8k --size=1m"),
    Row("zonemode=strided", "--rw=read --zonemode=strided --zonesize=64k --zoneskip=64k"),
    Row("offset, size", f"{READS} --offset=1m --size=2m"),
    Row("io_size", f"{READS} --io_size=6m"),
    Row("number_ios", f"{READS} --number_ios=77"),
    Row("loops", f"{READS} --loops=3"),
    Row("nrfiles, openfiles", f"{READS} --nrfiles=5 --openfiles=2 --filename=", WORKS, WORKS),
    Row("file_service_type", f"{READS} --nrfiles=4 --file_service_type=sequential --filename="),
    Row("nrfiles, openfiles, registerfiles=0", f"{READS} --nrfiles=5 --openfiles=2 --registerfiles=0 --filename="),
    Row("unlink_each_loop", f"{WRITES} --loops=2 --unlink_each_loop=1"),
    Row("buffered (direct=0)", "--rw=randrw --direct=0"),
    Row("bs_unaligned, buffered", "--rw=randread --bsrange=512-4k --bs_unaligned=1 --direct=0"),
    # pace
    Row("rate", f"{READS} --rate=16m"),
    Row("rate_iops", f"{READS} --rate_iops=4000"),
    Row("rate_process=poisson", f"{READS} --rate_iops=4000 --rate_process=poisson"),
    Row("thinktime", f"{READS} --size=1m --thinktime=100 --thinktime_blocks=16"),
    Row("startdelay", f"{READS} --startdelay=100ms"),
    Row("ramp_time", f"{READS} --time_based --runtime=1 --ramp_time=200ms", WORKS, WORKS),
    Row("time_based", f"{READS} --size=64k --time_based --runtime=1", WORKS, WORKS),
    Row("latency_target", f"{READS} --time_based --runtime=1 --latency_target=1s --latency_window=200ms --latency_percentile=99",
        WORKS, WORKS),
    Row("max_latency", f"{READS} --max_latency=30s"),
    Row("steadystate", f"{READS} --time_based --runtime=4 --ss=iops:90% --ss_dur=2", WORKS, WORKS),
    # data
    *(Row(f"verify={name}", VERIFY.format(name)) for name in (
        "md5", "crc7", "crc16", "crc32", "crc32c", "crc64", "sha1", "sha256", "sha512", "sha3-256", "xxhash")),
    Row("verify=pattern", "--rw=write --verify=pattern --verify_pattern=0xa5%o --verify_fatal=1"),
    Row("verify_async", f"{VERIFY.format('crc32c')} --verify_async=2"),
    Row("verify_backlog", f"{VERIFY.format('crc32c')} --verify_backlog=16"),
    Row("verify_interval, verify_offset", f"{VERIFY.format('crc32c')} --verify_interval=512 --verify_offset=64"),
    Row("do_verify=0", f"{VERIFY.format('crc32c')} --do_verify=0"),
    Row("verify_only", "--rw=randwrite --verify=crc32c --verify_fatal=1 --verify_only=1 --filename=written --randseed=9"),
    Row("experimental_verify", f"{VERIFY.format('crc32c')} --experimental_verify=1"),
    # flushes and trims
    Row("fsync", f"{WRITES} --fsync=5"),
    Row("fdatasync", f"{WRITES} --fdatasync=5"),
    Row("sync_file_range", f"{WRITES} --sync_file_range=write:4"),
    Row("end_fsync", f"{WRITES} --end_fsync=1"),
    Row("rw=randtrim", "--rw=randtrim", on="loop"),
    Row("rw=trimwrite", "--rw=trimwrite", on="loop"),
    # jobs and logs
    Row("numjobs", f"{READS} --numjobs=3"),
    Row("thread", f"{READS} --numjobs=3 --thread=1"),
    Row("group_reporting", f"{READS} --numjobs=3 --group_reporting"),
    Row("prioclass, prio", f"{READS} --prioclass=2 --prio=3"),
    Row("continue_on_error", f"{READS} --bs=100 --size=10k --continue_on_error=io", FAILS, FAILS),
    Row("write_iolog", "--rw=randrw --write_iolog=log"),
    Row("read_iolog", "--read_iolog=replay --filename=", WORKS, WORKS),
    Row("read_iolog_chunked=1", "--read_iolog=replay --read_iolog_chunked=1 --filename=", SAME, REFUSED, "replay the whole log"),
    Row("write_lat_log, log_avg_msec", f"{READS} --write_lat_log=l --log_avg_msec=10"),
)


def table() -> str:
    """For engines/README.md."""
    lines = ["| option | io_uring | ours | test |", "|---|---|---|---|"]
    for row in ROWS:
        ours = f"{row.ours}: {row.says}" if row.says else row.ours
        lines.append(f"| `{row.name}` | {row.theirs} | {ours} | `{row.slug}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
