#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# examples/read in a guest; on a kernel where dma-bufs are "registered", or on an "unpatched" one. KTAP.
. "$(dirname "$0")/ktap.sh"
cd "$(mktemp -d)" || exit 2
says() { # NAME SENTENCE DEVICE
	/examples/read "$3" >got 2>log
	[ $? = 1 ] && [ ! -s got ] && grep -q "$2" log && [ "$(wc -l <log)" = 1 ]
	result $? "$1"
}
if [ "$1" = registered ]; then
	dd if=/dev/urandom of="$DEV" bs=1M count=1 2>log
	dd if="$DEV" of=want bs=1M count=1 iflag=direct 2>log
	/examples/read "$DEV" >got 2>log && cmp got want >>log
	result $? "the bytes are those of the disk"
	/examples/read "$DEV" >got 2>log && cmp got want >>log
	result $? "and again: the first time left nothing behind"
	dd if=/dev/zero of=image bs=4k count=512 2>log
	losetup /dev/loop0 image
	says "a device whose driver takes none is told" "takes no dma-bufs, or not this one; an NVMe disk on PCIe does" /dev/loop0
	losetup -d /dev/loop0
else
	says "an unpatched kernel is told" "this kernel cannot register dma-bufs" "$DEV"
fi
says "a device that is not there is told" "No such file" /nonexistent
finish
