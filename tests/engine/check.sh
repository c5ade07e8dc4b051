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
says() { # NAME STATUS PATTERNS... of dmabuf-check "$DEV"
	name=$1 want=$2
	shift 2
	"$CHECK" $options "$DEV" >log 2>&1
	status=$?
	for pattern; do
		grep -q "$pattern" log || { echo "no line has: $pattern" >>log; status=bad; }
	done
	[ "$status" = "$want" ]
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
	says "ready" 0 '^+ kernel' '^+ udmabuf' '^+ device .*driver nvme' '^+ registration' "$iommu" 'max_hw_dmabuf_sectors_kb=' '^ready$'
	options=--exporter=$(basename "$(readlink -f "/sys/class/block/$(basename "$DEV")/device/device")")
	says "the disk as its own exporter" 1 '^- topology .*is the disk itself' '^not ready'
	options=
	;;
unpatched)
	says "an unpatched kernel" 1 '^- kernel .*does not know' 'next: boot a kernel with the series' '^not ready'
	;;
multipath)
	says "a multipath head" 0 '^+ kernel' '^  multipath .*is an NVMe multipath head' '^+ registration' '^ready$'
	;;
esac
finish
