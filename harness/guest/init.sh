#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-or-later
# PID 1 of the guest: mount, check the IOMMU mode, run /harness/command, report, power off.
# The status port carries "mode TYPE" and "exit N"; without the latter the guest is lost.
/bin/busybox --install -s /bin
export PATH=/root:/tests:/bin:/sbin:/usr/bin:/usr/sbin HOME=/root RESULTS=/results
mkdir -p /proc /sys /dev /tmp /root /results /mnt /var/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
ln -s /proc/self/fd /dev/fd
ifconfig lo up 2>/dev/null
echo "harness: start" >/dev/kmsg
. /harness/environment

# What this kernel has as modules; their options are on its command line.
if [ -d /lib/modules/all ]; then
	ln -s all "/lib/modules/$(uname -r)"
	depmod
	modprobe -a virtio_pci virtio_console nvme dma-buf-io-test
fi

# What a driver makes that is not there would be waited for in vain.
for driver in pci/drivers/virtio-pci virtio/drivers/virtio_console pci/drivers/nvme; do
	[ -d "/sys/bus/$driver" ] && continue
	echo "harness: this kernel has no ${driver##*/}" >/dev/kmsg
	lacks=1
done
[ -z "$lacks" ] || poweroff -f

# Device and port probing is asynchronous: wait for the event, with a deadline.
await() {
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || { echo "harness: gave up waiting for $*" >/dev/kmsg; poweroff -f; }
		sleep 0.05
	done
}
port() {
	for name in /sys/class/virtio-ports/*/name; do
		[ "$(cat "$name" 2>/dev/null)" = "$1" ] || continue
		port=/dev/$(basename "$(dirname "$name")")
		[ -e "$port" ] && return 0
	done
	return 1
}
disk() {
	for serial in /sys/class/nvme/*/serial; do
		[ "$(tr -d ' ' <"$serial" 2>/dev/null)" = "$1" ] || continue
		controller=$(dirname "$serial")
		disk=/dev/$(basename "$controller")n1
		[ -b "$disk" ] && return 0
	done
	return 1
}

await port out && out=$port
await port status && status=$port
await port results && results=$port
exec 3>"$status"

for pair in $DISKS; do
	await disk "${pair#*=}"
	export "${pair%%=*}=$disk"
	observed=$(cat "$controller/device/iommu_group/type" 2>/dev/null || echo none)
	echo "mode $observed" >&3
	[ "$observed" = "$EXPECT" ] || wrong=1
done

if [ -z "$wrong" ]; then
	cd /root || poweroff -f
	sh /harness/command </dev/null >"$out" 2>&1
	code=$?
	tar -c -C /results . >"$results"
	echo "exit $code" >&3
fi
echo "harness: end" >/dev/kmsg
poweroff -f
