#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# fio and the engine under valgrind, with registered dma-bufs, in a guest: KTAP.
# As guest.sh, wants scratch NVMe namespaces in $DEV and $DEV2, and valgrind.
. "$(dirname "$0")/ktap.sh"
FIO=${FIO:-fio}
ENGINE=${ENGINE:-/usr/lib/dmabuf.so}
[ -b "$DEV" ] && [ -b "$DEV2" ] || { echo "valgrind.sh: DEV and DEV2 must name two scratch disks" >&2; exit 2; }
cd "$(mktemp -d)" || exit 2

under() { # TOOL OPTIONS...
	tool=$1
	shift
	valgrind $tool "$FIO" --ioengine="external:$ENGINE" --name=job --direct=1 --bs=4k --thread=1 --disk_util=0 "$@" >log 2>&1
}
clean() { # NAME OPTIONS...: what memcheck has to say concerns fio, if anybody
	name=$1
	shift
	under "--leak-check=full --track-fds=yes" --registration=dmabuf --iodepth=16 "$@" &&
		grep -q "^dmabuf: job=.* registration=dmabuf" log && grep -q "ERROR SUMMARY" log &&
		! grep -qE "==.*(dmabuf\.so\)|\((dmabuf|nvme|ring|buffer|source_[a-z]+)\.c:)" log
	result $? "memcheck: $name"
}
count() { # REGISTRATION IOS: user-space instructions of a run
	under "--tool=callgrind --callgrind-out-file=/dev/null" --registration="$1" --number_ios="$2" --filename="$NULLDEV" \
		--rw=randread --iodepth=128 --iodepth_batch=32 --iodepth_batch_complete_min=32 --iodepth_batch_complete_max=32 \
		--norandommap --size=64m --io_size=100g && sed -n 's/.*Collected : //p' log
}

check="--rw=randrw --size=1m --verify=crc32c --verify_fatal=1 --verify_state_save=0"
clean "verified" --filename="$DEV" $check
clean "a dma-buf for each block, two devices" --filename="$DEV:$DEV2" --dmabuf_size=4k $check
clean "a dma-heap, every third I/O in a worker" --filename="$DEV" --source=heap --force_async=3 $check
clean "polled completions" --filename="$DEV" --hipri $check
clean "commands" --filename="/dev/ng${DEV#/dev/nvme}" $check

few=1000 many=9000
for registration in user dmabuf; do
	a=$(count $registration $few) && b=$(count $registration $many) && per=$(((b - a) * 10 / (many - few)))
	echo "# registration=$registration: $((per / 10)).$((per % 10)) user-space instructions per I/O, fio's included"
	eval "$registration=$per"
done
[ "$user" -gt 0 ] && [ "$dmabuf" -gt 0 ] && [ $((dmabuf * 1000)) -le $((user * 1002)) ]
result $? "user-space instructions per I/O: no more with dma-bufs than with user memory"
finish
