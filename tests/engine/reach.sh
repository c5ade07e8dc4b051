#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The engine and the memory of another device, ivshmem's by VFIO: KTAP. EXPECT= is what
# addresses the kernel gives the disk in $DEV, or "refused", for which there is a reason.
. "$(dirname "$0")/ktap.sh"
FIO=${FIO:-fio}
CHECK=${CHECK:-dmabuf-check}
ENGINE=${ENGINE:-/usr/lib/dmabuf.so}
cd "$(mktemp -d)" || exit 2
[ -b "$DEV" ] || { echo "reach.sh: DEV must name an NVMe namespace" >&2; exit 2; }
run() { # OPTIONS...
	"$FIO" --ioengine="external:$ENGINE" --registration=dmabuf --name=job --direct=1 --filename="$DEV" --bs=16k --iodepth=16 --size=1m "$@" >log 2>&1
}
said() { # WORDS...
	for word; do
		grep -q "^dmabuf: job=.* $word\( \|$\)" log || { echo "the summary has no $word" >>log; return 1; }
	done
}
says() { # PATTERN
	grep -q "$1" log || { echo "nothing says: $1" >>log; return 1; }
}
for dir in /sys/bus/pci/devices/*; do
	[ "$(cat "$dir/vendor" "$dir/device" | xargs)" = "0x1af4 0x1110" ] && bar=$(basename "$dir")
done
echo vfio-pci >"/sys/bus/pci/devices/$bar/driver_override"
echo "$bar" >/sys/bus/pci/drivers_probe
memory="--source=vfio --vfio_device=$bar --vfio_region=2"

! run --require_p2p --rw=read && says "^dmabuf: job: require_p2p=1: memory of udmabuf is system memory for $DEV, and not another device's"
result $? "require_p2p: system memory is refused"
case $EXPECT in
refused)
	! run $memory --rw=read && says "^dmabuf: job: $DEV cannot reach memory of vfio_pci_core peer-to-peer (Invalid argument): "
	result $? "a refusal"
	says "and $bar \(meet at the host bridge\|are below different host bridges\), and that (8086:29c0) has to be on the kernel's list"
	result $? "the reason for it"
	;;
*)
	if [ "$DATA" = no ]; then
		skip "require_p2p: the memory of another device" "QEMU does not carry the bytes: DATA=no"
	else
		run $memory --require_p2p --rw=randrw --verify=crc32c --verify_fatal=1 --verify_state_save=0 &&
			said memory=peer-to-peer "addresses=$EXPECT" maps_rebuilt=0
		result $? "require_p2p: the memory of another device, verified"
	fi
	;;
esac
"$CHECK" --exporter="$bar" "$DEV" >log 2>&1
case $(readlink -f "/sys/class/block/$(basename "$DEV")") in
*/pci0000:00/*) here=00 ;;
esac
case $(readlink -f "/sys/bus/pci/devices/$bar") in
*/pci0000:$here/*) way="behind one bridge\|meet at the host bridge" ;;
*) way="below different host bridges" ;;
esac
says "^[+ ] topology .*$bar and the device \(are \)\?\($way\)" && says "^  mapping .*memory=system addresses="
result $? "dmabuf-check says where they are, and of a mapping what the kernel tells"
finish
