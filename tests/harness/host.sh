#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# `bench --target host` on a machine with a disk behind an IOMMU: a guest. KTAP.
# The harness is in the current directory; DEV and DEV2 are scratch disks.
. "$(dirname "$0")/ktap.sh"
bench() {
	python3 -m harness bench --target host --short --jobs randread-4k --registrations "user dmabuf" "$@" >log 2>&1
}
refused() { # NAME SENTENCE DEVICE
	bench --dev "$3"
	[ $? = 240 ] && grep -q "^harness: .*$2" log && [ "$(wc -l <log)" = 1 ]
	result $? "refused: $1"
}
function=$(basename "$(readlink -f "/sys/class/block/$(basename "$DEV")/device/device")")
running() { # fio, by its name; zombies have no command line
	for each in /proc/[0-9]*; do
		grep -q "^fio" "$each/comm" 2>/dev/null && [ -n "$(tr -d '\0' <"$each/cmdline" 2>/dev/null)" ] && return 0
	done
	return 1
}
type=$(readlink -f "/sys/bus/pci/devices/$function/iommu_group")/type
undone() { # the mode is what it was, the disk is there if under another name, nothing of ours runs
	DEV=/dev/$(basename "$(echo "/sys/bus/pci/devices/$function"/nvme/nvme*/nvme*n1)")
	[ "$(cat "$type")" = DMA ] && [ -b "$DEV" ] && ! running
}
interrupted() { # SIGNAL STATUS NAME
	# A background job of a shell without job control ignores SIGINT; Python must not inherit that.
	python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execvp(sys.argv[1], sys.argv[1:])' \
		python3 -m harness bench --target host --short --jobs randread-4k --modes "passthrough" --dev "$DEV" >log 2>&1 &
	pid=$! tries=0
	until { [ "$(cat "$type")" = identity ] && running; } || [ $tries = 300 ]; do
		tries=$((tries + 1))
		sleep 0.2
	done
	kill "-$1" $pid
	wait $pid
	status=$?
	echo "status $status" >>log
	[ $tries -lt 300 ] && [ $status = "$2" ] && undone
	result $? "$3"
}

refused "no disk" "say DEV=" ""
refused "a wrong path" "does not exist" /nonexistent
refused "a directory" "is not a block device" /tmp
refused "not NVMe" "is no NVMe disk" /dev/loop0
mke2fs "$DEV2" >/dev/null 2>&1 && mount -t ext4 "$DEV2" /mnt
refused "a mounted disk" "is mounted at /mnt" "$DEV2"
umount /mnt
losetup /dev/loop0 "$DEV2"
refused "a disk behind a loop device" "is behind loop0" "$DEV2"
losetup -d /dev/loop0
sleep 1000 <"$DEV2" &
refused "a disk that a program has open" "is open in process $! (sleep)" "$DEV2"
kill $!
printf '\0\0\0\0\203\0\0\0\1\0\0\0\0\100\0\0' | dd of="$DEV2" bs=1 seek=446 conv=notrunc 2>/dev/null
printf '\125\252' | dd of="$DEV2" bs=1 seek=510 conv=notrunc 2>/dev/null
blockdev --rereadpt "$DEV2"
sleep 1
refused "a partition" "is a partition: name the whole disk, $DEV2" "${DEV2}p1"
bench --dev "$DEV" --jobs "randread-4k randwrite-4k"
[ $? = 240 ] && grep -q "randwrite-4k would destroy" log
result $? "refused: a job that writes"

dd if=/dev/urandom of="$DEV" bs=1M count=33 2>/dev/null
before=$(dd if="$DEV" bs=1M count=33 2>/dev/null | md5sum)
bench --dev "$DEV"
status=$?
said() { tr -d ' \n' <"$(echo results/*/boots/speed-$1-1/boot.json)" | grep -q "\"observed\":\[\"$2\"\]"; }
[ $status = 0 ] && undone && said strict DMA && said lazy DMA-FQ && said passthrough identity &&
	grep -q "^dmabuf: .*registration=dmabuf" results/*/boots/*/out.txt
result $? "every mode, and back"
[ "$(dd if="$DEV" bs=1M count=33 2>/dev/null | md5sum)" = "$before" ]
result $? "what was on the disk still is"
cp -r results/. "$RESULTS"
interrupted INT 130 "SIGINT in the middle: all is undone"
interrupted TERM 143 "SIGTERM in the middle: all is undone"
finish
