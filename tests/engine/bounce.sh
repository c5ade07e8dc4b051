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
refused() { # WHAT OPTIONS...
	what=$1
	shift
	! run "$@" && grep -q "^dmabuf: job: .*$sentence" log && ! grep -qE "got signal|registrations=" log
	result $? "refused: $what"
}

sentence="takes no dma-bufs where devices reach memory through bounce buffers"
for source in udmabuf heap; do
	refused "$source, reads" --source=$source --rw=read
	refused "$source, writes" --source=$source --rw=randwrite
done
sentence="\($sentence\|bounces its transfers (swiotlb=force), no dma-buf is taken\)"
refused "a dma-buf that bounce buffers do not hold" --rw=read --bs=1m --iodepth=16 --size=16m
run --registration=user --rw=randrw --verify=crc32c --verify_fatal=1 --verify_state_save=0
result $? "what that sentence says helps"
! "${CHECK:-dmabuf-check}" "$DEV" >log 2>&1 && grep -q "does not bounce its transfers" log
result $? "dmabuf-check says it, too"
finish
