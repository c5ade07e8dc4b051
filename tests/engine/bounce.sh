#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The engine where devices reach memory through bounce buffers (swiotlb=force): KTAP.
# As guest.sh, wants a scratch NVMe namespace in $DEV.
. "$(dirname "$0")/ktap.sh"
FIO=${FIO:-fio}
ENGINE=${ENGINE:-/usr/lib/dmabuf.so}
[ -b "$DEV" ] || { echo "bounce.sh: DEV must name a scratch disk" >&2; exit 2; }
cd "$(mktemp -d)" || exit 2

run() { # OPTIONS...
	"$FIO" --ioengine="external:$ENGINE" --registration=dmabuf --name=job --filename="$DEV" --direct=1 --bs=16k --iodepth=4 \
		--size=1m "$@" >log 2>&1
}
paid() {
	grep -q "so each I/O paid two system calls" log
}

for source in udmabuf heap; do
	run --source=$source --rw=randwrite && grep -q "^dmabuf: job=.* cpu_sync=1 " log && paid
	result $? "$source: writes of buffers that fio changes are bracketed, and why is said"
	run --source=$source --rw=randwrite --scramble_buffers=0 && grep -q "^dmabuf: job=.* cpu_sync=0 " log && ! paid
	result $? "$source: others are not"
done
run --source=heap --rw=randwrite --verify=crc32c --verify_fatal=1 --verify_state_save=0 && ! paid
result $? "heap: verified"
! run --rw=read --bs=1m --iodepth=16 --size=16m && grep -q "than bounce buffers hold, so use dmabuf_size=128k" log
result $? "refused: a dma-buf that bounce buffers do not hold"
run --rw=read --iodepth=64 --dmabuf_size=128k && grep -q "^dmabuf: job=.* buffers=8 " log
result $? "what that sentence says helps"
finish
