#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# dmabuf-check in a guest: KTAP. The kernel that it runs on is named by $1:
#   ready       one with the series
#   unpatched   one without
#   multipath   one with the series, booted with nvme_core.multipath=Y
#               nvme_core.multipath_always_on=Y
. "$(dirname "$0")/ktap.sh"
CHECK=${CHECK:-dmabuf-check}
KERNEL=${1:-ready}
options=
NG=/dev/ng${DEV#/dev/nvme}
device=$DEV
says() { # NAME STATUS PATTERNS... of dmabuf-check "$device"
	name=$1 want=$2
	shift 2
	"$CHECK" $options "$device" >log 2>&1
	ended $? "$want" "$@"
	result $? "$name"
}
cd "$(mktemp -d)" || exit 2
[ -b "$DEV" ] || { echo "check.sh: DEV must name an NVMe namespace" >&2; exit 2; }

case $KERNEL in
ready)
	if [ -d /sys/class/iommu/dmar0 ]; then
		iommu='iommu *group [0-9]*, \(strict\|lazy\) translation\|iommu *group [0-9]*, passthrough'
	else
		iommu='iommu *none'
	fi
	says "ready" 0 '^+ kernel .* for READ_FIXED WRITE_FIXED .*URING_CMD' '^  mapping .*memory=system addresses=' '^+ udmabuf' '^+ device .*driver nvme' '^+ registration' "$iommu" 'max_hw_dmabuf_sectors_kb=' '^ready$'
	options=--exporter=$(basename "$(readlink -f "/sys/class/block/$(basename "$DEV")/device/device")")
	says "the disk as its own exporter" 1 '^- topology .*is the disk itself' '^not ready'
	options=
	device=$NG
	says "a device for commands" 0 '^+ kernel' "^+ device *$NG at .*driver nvme" "$iommu" 'max_hw_dmabuf_sectors_kb=' \
		"^+ commands *$NG takes NVMe commands for namespace [0-9]*, blocks of [0-9]* bytes" '^+ registration .*for its commands' '^ready$'
	device=/dev/null
	says "another character device" 1 '^- device .*/dev/null' '^not ready'
	;;
unpatched)
	says "an unpatched kernel" 1 '^- kernel .*does not know' 'next: boot a kernel with the series' '^not ready'
	device=$NG
	says "commands on an unpatched kernel" 1 '^- kernel .*does not know' '^+ commands ' '^not ready'
	;;
multipath)
	says "a multipath head" 0 '^+ kernel' '^  multipath .* is an NVMe multipath head: it takes dma-bufs by its paths on PCI' '^+ registration' '^ready$'
	device=$NG
	says "commands of a head" 0 '^  multipath .* is the character device of an NVMe multipath head: it takes dma-bufs by its paths on PCI' '^+ commands ' \
		'^+ registration .*for its commands' '^ready$'
	;;
esac
finish
