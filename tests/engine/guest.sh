#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The engine with registered dma-bufs, in a guest whose kernel has them: KTAP.
# Wants fio and dmabuf.so in $FIO and $ENGINE (defaults: those of the harness's
# guest) and scratch NVMe namespaces in $DEV and $DEV2. Destroys what is on them.
. "$(dirname "$0")/ktap.sh"
FIO=${FIO:-fio}
ENGINE=${ENGINE:-/usr/lib/dmabuf.so}
[ -b "$DEV" ] && [ -b "$DEV2" ] || { echo "guest.sh: DEV and DEV2 must name two scratch disks" >&2; exit 2; }
case $1 in
/*) cd "$1" || exit 2 ;;
*) cd "$(mktemp -d)" || exit 2 ;;
esac

run() { # fio with the engine, one job on $DEV unless --filename is the first option
	case $1 in
	--filename=*) ;;
	*) set -- --filename="$DEV" "$@" ;;
	esac
	"$FIO" --ioengine="external:$ENGINE" --registration=dmabuf --name=job --direct=1 --bs=4k --iodepth=16 \
		--size=4m "$@" >log 2>&1
}
other() { # fio's own synchronous engine
	"$FIO" --ioengine=psync --name=job --filename="$DEV" --direct=1 --bs=4k --size=4m "$@" >log 2>&1
}
# Each I/O was a registered one, and the summary has the words WORDS.
said() { # WORDS...
	for word; do
		grep -q "^dmabuf: job=.* $word\( \|$\)" log || { echo "the summary has no $word" >>log; return 1; }
	done
}
works() { # NAME 'WORDS' OPTIONS...
	name=$1 words=$2
	shift 2
	run "$@" && said registration=dmabuf eagain_reissues=0 $words
	result $? "$name"
}
verified() { # NAME 'WORDS' OPTIONS...
	name=$1 words=$2
	shift 2
	works "verified: $name" "cpu_sync=1 $words" "$@" --rw=randrw --verify=crc32c --verify_fatal=1 --verify_state_save=0
}
refused() { # NAME SENTENCE OPTIONS...
	name=$1 sentence=$2
	shift 2
	! run "$@" && grep -q "$sentence" log && ! grep -qE "got signal|registrations=" log
	result $? "refused: $name"
}

# data, in every arrangement of buffers, files, rings and jobs
verified "one dma-buf" "buffers=1 registrations=1 page=4096"
verified "scattered pages" "buffers=1 page=4096" --pages=scattered --bs=128k --size=64m
verified "huge pages" "buffers=1 page=2097152" --pages=2m
verified "many huge pages" "bytes=33554432" --pages=2m --bs=1m --iodepth=32 --size=64m
verified "a dma-buf for each block" "buffers=16 registrations=16" --dmabuf_size=4k
verified "blocks of all sizes" "" --bsrange=512-256k --bs_unaligned=0 --size=16m
verified "a block size that is no power of two" "" --bs=12k --dmabuf_size=64k --size=6m
verified "memory inside a page" "" --bs=512 --iomem_align=512
verified "larger than one command" "" --bs=8m --iodepth=4 --size=64m
works "verified: more than 1 GiB in one dma-buf, two devices, all in flight" "buffers=1 bytes=1342177280 registrations=2 cpu_sync=1" \
	--filename="$DEV:$DEV2" --size=100% --bs=8m --iodepth=160 --rw=write --verify=crc32c --verify_fatal=1 --verify_state_save=0
verified "plain descriptors" "" --registerfiles=0
verified "a kernel thread submits" "" --sqthread_poll
verified "every I/O in a worker" "" --force_async=1
verified "vectors" "" --nonvectored=0
if [ "$(cat "/sys/class/block/$(basename "$DEV")/queue/io_poll")" = 1 ]; then
	verified "polled completions" "" --hipri
	verified "polled completions, a kernel thread submits" "" --hipri --sqthread_poll
	verified "polled completions, larger than one command" "" --hipri --bs=8m --iodepth=4 --size=64m
else
	run --rw=randread --hipri
	[ $? != 0 ] && grep -q "cannot complete by polling" log
	result $? "refused: polled completions without poll queues"
fi
verified "depth 1" "registrations=1" --iodepth=1
verified "batches" "" --iodepth=64 --iodepth_batch=16 --iodepth_batch_complete_min=8 --iodepth_batch_complete_max=32
verified "two devices" "registrations=2" --filename="$DEV:$DEV2"
verified "two devices, several dma-bufs" "registrations=8" --filename="$DEV:$DEV2" --dmabuf_size=16k
verified "two processes" "" --numjobs=2 --offset_increment=4m
verified "two threads" "" --numjobs=2 --offset_increment=4m --thread=1
verified "other threads compare" "" --verify_async=2
verified "reads among the writes" "" --verify_backlog=8
verified "flushes between" "" --fsync=7 --fdatasync=11

# data, one direction at a time against plain system calls
check="--rw=randwrite --verify=sha256 --verify_fatal=1 --verify_state_save=0 --randseed=3"
run $check --do_verify=0 --bs=16k && other $check --verify_only=1 --bs=16k
result $? "what it writes, pread() reads"
other $check --do_verify=0 --randseed=4 --bs=16k && run $check --verify_only=1 --randseed=4 --bs=16k
result $? "what pwrite() writes, it reads"
run --rw=write --verify=pattern --verify_pattern=0x11 --do_verify=0 &&
	! run --rw=read --verify=pattern --verify_pattern=0x22 && grep -q "verify.*failed\|verify: bad" log
result $? "damage is found"

# half of the offsets are no logical block's: fio makes of that what it makes of its own engine's
without_errors() { # I/Os of the last run, less its errors; how many fail is chance
	ios=$(sed -n 's/.*"total_ios" : \([0-9]*\),/\1/p' log | head -n 1) errors=$(sed -n 's/.*"total_err" : \([0-9]*\),/\1/p' log)
	[ "$errors" -gt 300 ] && echo $((ios - errors))
}
failing="--name=job --filename=$DEV --direct=1 --iodepth=16 --rw=randread --bs=512 --blockalign=256 --number_ios=1000 --size=64m --continue_on_error=io --ignore_error=EINVAL --output-format=json"
"$FIO" --ioengine=io_uring $failing >log 2>&1
theirs=$(without_errors)
"$FIO" --ioengine="external:$ENGINE" --registration=dmabuf $failing >log 2>&1
echo "ours: $(without_errors), theirs: $theirs" >>log
[ "$theirs" ] && [ "$(without_errors)" = "$theirs" ]
result $? "failed I/O is counted as with io_uring"

# life of a registration
works "reopened in a loop" "registrations=1" --rw=randread --size=64k --time_based --runtime=1
works "no brackets for plain reads" "cpu_sync=0" --rw=randread
works "no brackets for plain writes" "cpu_sync=0" --rw=randwrite --scramble_buffers=0
if [ "$(uname -m)" = x86_64 ] && ! grep -q "swiotlb=force" /proc/cmdline; then
	works "no brackets for scrambled writes, where they would do nothing" "cpu_sync=0" --rw=randwrite
else
	works "brackets for scrambled writes" "cpu_sync=1" --rw=randwrite
	grep -q "so each I/O paid two system calls" log
	result $? "and why is said"
fi
works "brackets by choice" "cpu_sync=1" --rw=randread --cpu_sync=on
works "trims between writes" "" --rw=trimwrite
works "one hundred jobs, one after the other" "" --rw=read --size=64k --loops=100

# refusals
refused "buffered I/O" "needs direct=1" --direct=0 --rw=read
refused "a character device" "is neither a block device nor a regular file" --filename=/dev/zero --rw=read
refused "more huge pages than there are" "raise /proc/sys/vm/nr_hugepages" --pages=2m --bs=4m --iodepth=4096 --rw=read
if truncate -s 8M image && loop=$(losetup -f 2>log) && losetup "$loop" image 2>log; then
	refused "a driver without the feature" "$loop cannot take dma-bufs" --filename="$loop" --rw=read
	losetup -d "$loop"
else
	skip "refused: a driver without the feature" "no loop device: $(cat log)"
fi
finish
