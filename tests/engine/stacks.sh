#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The engine and dmabuf-check on volumes of LVM, tables of dmsetup and arrays of mdadm,
# in a guest whose kernel has the series: KTAP. Destroys what is on $DEV and $DEV2.
. "$(dirname "$0")/ktap.sh"
FIO=${FIO:-fio}
ENGINE=${ENGINE:-/usr/lib/dmabuf.so}
CHECK=${CHECK:-dmabuf-check}
[ -b "$DEV" ] && [ -b "$DEV2" ] || { echo "stacks.sh: DEV and DEV2 must name two scratch disks" >&2; exit 2; }
cd "$(mktemp -d)" || exit 2
mkdir -p /run /etc/lvm
# There is no udev that makes nodes, and nobody to be told.
export DM_DISABLE_UDEV=1
echo 'activation { udev_sync=0 udev_rules=0 monitoring=0 } devices { use_devicesfile=0 }' >/etc/lvm/lvm.conf

run() { # fio with the engine
	"$FIO" --ioengine="external:$ENGINE" --registration=dmabuf --name=job --filename="$volume" --direct=1 --bs=4k --iodepth=16 \
		--size=16m "$@" >log 2>&1
}
works() { # NAME OPTIONS...
	name=$1
	shift
	run "$@" --verify=crc32c --verify_fatal=1 --verify_state_save=0 && grep -q "^dmabuf: job=.* registration=dmabuf .*eagain_reissues=0" log
	result $? "$kind: $name"
}
refused() { # NAME
	! run --rw=read && grep -q "cannot take dma-bufs: use a PCI NVMe device, or a linear or striped volume" log && ! grep -q "got signal" log
	result $? "refused: $1"
}
says() { # STATUS PATTERNS... of dmabuf-check
	"$CHECK" "$volume" >log 2>&1
	ended $? "$@"
	result $? "$kind: what dmabuf-check says"
}
all() {
	works "written and verified" --rw=randwrite
	works "read and written, all sizes" --rw=randrw --bsrange=4k-256k
	works "larger than a stripe" --rw=randrw --bs=1m --size=64m
	works "vectors" --rw=randrw --nonvectored=0
	works "every I/O in a worker" --rw=randrw --force_async=1
	run --rw=randwrite --verify=crc32c --do_verify=0 --verify_state_save=0 &&
		"$FIO" --name=job --ioengine=psync --filename="$volume" --direct=1 --bs=4k --size=16m --rw=randwrite --verify=crc32c \
			--verify_only=1 --verify_state_save=0 >log 2>&1
	result $? "$kind: what was written is there for another engine"
	says 0 "^  stack .*consists of .*nvme[0-9]*n[0-9]*" '^+ registration .*takes a dma-buf' '^ready$'
}

{ pvcreate -ff -y "$DEV" "$DEV2" && vgcreate -y vg "$DEV" "$DEV2" && lvcreate -y -Wn -Zn -L 128M -n line vg &&
	lvcreate -y -Wn -Zn -L 128M -i 2 -I 64k -n stripe vg; } >log 2>&1
result $? "LVM: two volumes"
volume=/dev/mapper/vg-line kind="LVM, linear"
all
volume=/dev/mapper/vg-stripe kind="LVM, striped"
all
{ lvcreate -y -Wn -Zn -L 64M -m 1 --type mirror --mirrorlog core -n mirror vg || lvcreate -y -Wn -Zn -s -L 32M -n snap vg/line; } >log 2>&1
if [ -b /dev/mapper/vg-snap ] || [ -b /dev/mapper/vg-mirror ]; then
	volume=$(ls /dev/mapper/vg-snap /dev/mapper/vg-mirror 2>/dev/null | head -n 1)
	refused "a mirror or a snapshot"
else
	skip "refused: a mirror or a snapshot" "$(tail -n 1 log) (CONFIG_DM_MIRROR, CONFIG_DM_SNAPSHOT)"
fi
vgremove -y -f vg >log 2>&1 && pvremove -y "$DEV" "$DEV2" >>log 2>&1
result $? "LVM: removed, nobody holds them"

echo "0 131072 delay $DEV 0 1" | dmsetup create slow >log 2>&1
result $? "dmsetup: a target that keeps bios to itself"
volume=/dev/mapper/slow
refused "dm-delay"
dmsetup remove --retry slow >log 2>&1
result $? "dmsetup: removed"

mdadm --create /dev/md/zero --run --level=0 --raid-devices=2 --chunk=64 "$DEV" "$DEV2" >log 2>&1
result $? "mdadm: an array of level 0"
volume=$(readlink -f /dev/md/zero) kind="RAID 0"
[ -b "$volume" ] || volume=$(ls /dev/md[0-9]* | head -n 1)
all
mdadm --stop "$volume" >log 2>&1
result $? "mdadm: stopped, nobody holds it"
finish
