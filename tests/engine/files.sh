#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The engine and dmabuf-check with files of XFS and ext4, in a guest whose kernel
# takes dma-bufs for them: KTAP. Destroys what is on $DEV.
. "$(dirname "$0")/ktap.sh"
FIO=${FIO:-fio}
ENGINE=${ENGINE:-/usr/lib/dmabuf.so}
CHECK=${CHECK:-dmabuf-check}
[ -b "$DEV" ] || { echo "files.sh: DEV must name a scratch disk" >&2; exit 2; }
place=$(mktemp -d) && cd "$(mktemp -d)" || exit 2

run() { # fio with the engine, in the file system
	"$FIO" --ioengine="external:$ENGINE" --registration=dmabuf --name=job --directory="$place" --direct=1 --bs=4k --iodepth=16 \
		--size=8m "$@" >log 2>&1
}
works() { # NAME WORDS OPTIONS...
	name=$1 words=$2
	shift 2
	run "$@" && grep -q "^dmabuf: job=.* registration=dmabuf .*$words" log
	result $? "$fs: $name"
}
zeroes() { # NAME FILE
	works "$1" "" --filename="$2" --rw=randread --verify=pattern --verify_pattern=0 --verify_fatal=1 --verify_state_save=0
}
says() { # NAME PATH STATUS PATTERNS... of dmabuf-check
	name=$1
	"$CHECK" "$2" >log 2>&1
	status=$?
	shift 2
	ended $status "$@"
	result $? "$fs: $name"
}
checked="--verify=crc32c --verify_fatal=1 --verify_state_save=0"

for fs in xfs ext4; do
	case $fs in
	xfs) mkfs.xfs -q -f -K "$DEV" ;;
	ext4) mkfs.ext4 -q -F -E nodiscard "$DEV" ;;
	esac >log 2>&1 && mount -t $fs "$DEV" "$place" 2>>log
	result $? "$fs: mounted"
	grep -q " $place $fs " /proc/mounts || continue

	works "written and verified" "registrations=1" --rw=randwrite $checked
	works "read and written, all sizes" "" --rw=randrw --bsrange=512-256k --bs_unaligned=0 $checked
	works "one MiB at a time" "" --filename=large --bs=1m --size=64m --rw=randrw $checked
	works "larger than a command" "" --filename=large --bs=8m --iodepth=4 --size=64m --rw=write $checked
	works "vectors" "" --rw=randrw --nonvectored=0 $checked
	works "every I/O in a worker" "" --rw=randrw --force_async=1 $checked
	"$FIO" --ioengine="external:$ENGINE" --registration=dmabuf --name=job --filename="$place/path" --direct=1 --bs=4k --iodepth=16 \
		--size=8m --rw=randrw $checked >log 2>&1 && grep -q "^dmabuf: job=.* registration=dmabuf " log
	result $? "$fs: by its path"
	works "several files" "registrations=4" --nrfiles=4 --rw=randrw $checked
	works "fewer open than there are" "" --nrfiles=4 --openfiles=2 --rw=randrw $checked
	works "created as they are opened" "registrations=2" --filename_format='opened.$filenum' --create_on_open=1 --nrfiles=2 --rw=write $checked
	for how in none native posix truncate; do
		works "laid out by fallocate=$how" "" --filename=$how --fallocate=$how --rw=randwrite $checked
	done
	truncate -s 8M "$place/sparse" && fallocate -l 8388608 "$place/allocated"
	zeroes "holes" sparse
	zeroes "allocated, never written" allocated
	works "a hole, written" "" --filename=sparse --rw=randwrite $checked
	works "appended to" "" --filename=appended --size=4m --rw=write --file_append=1 --fallocate=none
	works "removed at the end" "" --filename=gone --unlink=1 --rw=write $checked
	[ ! -e "$place/gone" ]
	result $? "$fs: and gone"
	! run --filename=loop --unlink_each_loop=1 --loops=3 --rw=write && grep -q "unlink_each_loop=1 .*: use unlink=1" log &&
		! grep -qE "got signal|registrations=" log
	result $? "$fs: refused: removed in each loop"
	works "synchronous" "" --sync=dsync --rw=write --size=1m $checked
	works "with fsync" "" --fsync=8 --rw=randwrite --size=1m $checked
	works "two jobs, two files" "" --numjobs=2 --rw=randwrite --group_reporting $checked
	run --filename=other --rw=randwrite --verify=crc32c --do_verify=0 --verify_state_save=0 &&
		"$FIO" --name=job --ioengine=psync --directory="$place" --filename=other --bs=4k --size=8m --rw=randwrite --verify=crc32c \
			--verify_only=1 --verify_state_save=0 >log 2>&1
	result $? "$fs: what was written is there for another engine"
	says "dmabuf-check of a directory" "$place" 0 '^+ registration .*takes a dma-buf' '^ready$'
	says "dmabuf-check of a file" "$place/other" 0 '^+ registration .*takes a dma-buf' '^ready$'
	umount "$place" >log 2>&1
	result $? "$fs: nobody holds it"
done

fs=tmpfs
mount -t tmpfs tmpfs "$place" >log 2>&1 && truncate -s 8M "$place/file"
! run --filename=file --rw=read && grep -q "the file system of .* cannot take dma-bufs" log && ! grep -qE "got signal|registrations=" log
result $? "tmpfs: refused"
says "dmabuf-check of a file" "$place/file" 1 '^- ' '^not ready'
umount "$place"
finish
