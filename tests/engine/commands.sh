#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The engine on /dev/ngXnY, in a guest: KTAP. Wants fio and dmabuf.so as guest.sh does,
# and scratch NVMe namespaces in $DEV and $DEV2, by their block devices. $1 says what they are:
#   ready       namespaces of a kernel with the series
#   unpatched   of one without
#   multipath   heads
#   metadata    blocks with metadata
. "$(dirname "$0")/ktap.sh"
FIO=${FIO:-fio}
ENGINE=${ENGINE:-/usr/lib/dmabuf.so}
KIND=${1:-ready}
NG=/dev/ng${DEV#/dev/nvme} NG2=/dev/ng${DEV2#/dev/nvme}
[ -b "$DEV" ] && [ -c "$NG" ] && [ -b "$DEV2" ] || { echo "commands.sh: DEV and DEV2 must name two scratch disks" >&2; exit 2; }
cd "$(mktemp -d)" || exit 2
queue() { # FILE of the first disk's queue
	cat "/sys/class/block/${DEV#/dev/}/queue/$1"
}
BLOCK=$(queue logical_block_size)

registration=dmabuf
run() { # fio with the engine, one job on $NG unless --filename is the first option
	case $1 in
	--filename=*) ;;
	*) set -- --filename="$NG" "$@" ;;
	esac
	"$FIO" --ioengine="external:$ENGINE" --registration=$registration --name=job --bs=4k --iodepth=16 --size=4m "$@" >log 2>&1
}
other() { # fio's own synchronous engine, on the block device
	"$FIO" --ioengine=psync --name=job --filename="$DEV" --direct=1 --bs=4k --size=4m "$@" >log 2>&1
}
said() { # WORDS...
	for word; do
		grep -q "^dmabuf: job=.* $word\( \|$\)" log || { echo "the summary has no $word" >>log; return 1; }
	done
}
works() { # NAME 'WORDS' OPTIONS...
	name=$1 words=$2
	shift 2
	run "$@" && said registration=$registration eagain_reissues=0 $words
	result $? "$registration: $name"
}
verified() { # NAME 'WORDS' OPTIONS...
	name=$1 words=$2
	shift 2
	works "verified: $name" "$words" "$@" --rw=randrw --verify=crc32c --verify_fatal=1 --verify_state_save=0
}
refused() { # NAME SENTENCE OPTIONS...
	name=$1 sentence=$2
	shift 2
	! run "$@" && grep -q "^dmabuf: job: .*$sentence" log && ! grep -qE "got signal|registrations=" log &&
		[ "$(grep -c "^dmabuf: job: " log)" = 1 ]
	result $? "$registration: refused: $name"
}
# Both directions against plain system calls on the block device.
beside_the_block_device() {
	check="--rw=randwrite --verify=sha256 --verify_fatal=1 --verify_state_save=0 --bs=16k"
	run $check --do_verify=0 --randseed=3 && other $check --verify_only=1 --randseed=3
	result $? "$registration: what it writes, pread() of the block device reads"
	other $check --do_verify=0 --randseed=4 && run $check --verify_only=1 --randseed=4
	result $? "$registration: what pwrite() to the block device writes, it reads"
	run --rw=write --verify=pattern --verify_pattern=0x11 --do_verify=0 &&
		! run --rw=read --verify=pattern --verify_pattern=0x22 && grep -q "verify.*failed\|verify: bad" log
	result $? "$registration: damage is found"
}
figures() { # I/Os, bytes and errors of the last run's JSON
	sed -n 's/^ *"\(total_ios\|io_bytes\|short_ios\|drop_ios\|error\|total_err\)" : \([0-9]*\).*/\1=\2/p' log | tr '\n' ' '
}
counts() { # NAME OPTIONS...: of ours and of fio's engine for such files
	name=$1
	shift
	run "$@" --output-format=json
	ours=$(figures)
	"$FIO" --ioengine=io_uring_cmd --cmd_type=nvme --fixedbufs=$fixed --name=job --filename="$NG" --bs=4k --iodepth=16 --size=4m "$@" \
		--output-format=json >log 2>&1
	theirs=$(figures)
	echo "ours: $ours, theirs: $theirs" >>log
	case $ours in *io_bytes=[1-9]*) [ "$ours" = "$theirs" ] ;; *) false ;; esac
	result $? "$registration: counts as fio's io_uring_cmd: $name"
}

case $KIND in
metadata)
	for registration in none user dmabuf; do
		refused "blocks with metadata" "have 8 bytes of metadata" --rw=read
	done
	finish
	exit
	;;
unpatched)
	refused "an unpatched kernel" "io_uring cannot register dma-bufs" --rw=read
	registrations="none user"
	;;
*)
	registrations="none user dmabuf"
	;;
esac

poll=$(queue io_poll)
for registration in $registrations; do
	fixed=0
	[ $registration = none ] || fixed=1
	verified "plain" ""
	verified "by name" "" --cmd_type=nvme --direct=1
	verified "plain descriptors" "" --registerfiles=0
	verified "a kernel thread submits" "" --sqthread_poll
	verified "every command in a worker" "" --force_async=1
	if [ "$poll" = 1 ]; then
		verified "polled completions" "" --hipri
		verified "polled completions, a kernel thread submits" "" --hipri --sqthread_poll
		verified "polled completions, flushes between" "" --hipri --fsync=7
	fi
	verified "flushes between" "" --fsync=7 --fdatasync=11 --end_fsync=1
	verified "to the medium, from the medium" "" --readfua=1 --writefua=1
	verified "blocks of all sizes" "" --bsrange=$BLOCK-128k --size=16m
	verified "a block size that is no power of two" "" --bs=12k --size=6m
	verified "depth 1" "" --iodepth=1
	verified "batches" "" --iodepth=64 --iodepth_batch=16 --iodepth_batch_complete_min=8 --iodepth_batch_complete_max=32
	verified "two devices" "" --filename="$NG:$NG2"
	verified "two processes" "" --numjobs=2 --offset_increment=4m
	verified "two threads" "" --numjobs=2 --offset_increment=4m --thread=1
	verified "other threads compare" "" --verify_async=2
	verified "reads among the writes" "" --verify_backlog=8
	works "reopened in a loop" "" --rw=randread --size=64k --time_based --runtime=1
	beside_the_block_device
	counts "random reads" --rw=randread
	counts "reads and writes, verified" --rw=randrw --verify=crc32c
	counts "all of the device" --rw=read --bs=128k --size=100% --number_ios=100000
	counts "blocks of several sizes" --rw=randrw --bssplit=4k/50:16k/50
	blocks=$(cat "/sys/class/block/${DEV#/dev/}/size")
	grep -q "\"io_bytes\" : $((blocks * 512))," log || run --rw=read --bs=128k --size=100% --output-format=json &&
		grep -q "\"io_bytes\" : $((blocks * 512))," log
	result $? "$registration: the device is as large as its block device"
done

if [ $KIND = ready ]; then
	verified "scattered pages" "buffers=1 page=4096" --pages=scattered --bs=128k --size=64m
	verified "huge pages" "buffers=1 page=2097152" --pages=2m
	verified "a dma-buf for each block" "buffers=16 registrations=16" --dmabuf_size=4k
	verified "two devices, several dma-bufs" "registrations=8" --filename="$NG:$NG2" --dmabuf_size=16k
	verified "the largest command" "" --bs="$(queue max_hw_dmabuf_sectors_kb)k" --iodepth=4 --size=64m
	works "no brackets for plain reads" "cpu_sync=0" --rw=randread
	refused "more than one command takes" "queue/max_hw_dmabuf_sectors_kb of nvme" --rw=read --bs=$(($(queue max_hw_dmabuf_sectors_kb) + 4))k --size=64m
fi

# Commands that fail: beyond the end of the namespace
end=$(($(cat "/sys/class/block/${DEV#/dev/}/size") * 512))
printf 'fio version 2 iolog\n%s add\n%s open\n%s read %s 4096\n%s close\n' "$NG" "$NG" "$NG" $end "$NG" >beyond
sed "s/read $end/read $((BLOCK / 2))/" beyond >part
for registration in $registrations; do
	for fua in 0 1; do
		with=
		[ $fua = 0 ] || with=" with FUA"
		! "$FIO" --ioengine="external:$ENGINE" --registration=$registration --name=job --read_iolog=beyond --readfua=$fua >log 2>&1 &&
			grep -q "4096 bytes$with: Remote I/O error: NVMe status 0x[0-9a-f]*80, LBA out of range" log
		result $? "$registration: a block beyond the end, readfua=$fua"
	done
	! "$FIO" --ioengine="external:$ENGINE" --registration=$registration --name=job --read_iolog=part >log 2>&1 &&
		grep -q "^dmabuf: job: offset $((BLOCK / 2)) and 4096 bytes are not whole blocks of $NG, which are of $BLOCK bytes" log
	result $? "$registration: a part of a block"
done

registration=user
max=$(($(queue max_hw_sectors_kb) + 4))
refused "more than one command takes" "bs=$((max * 1024)) is more than the $(((max - 4) * 1024)) bytes .*(queue/max_hw_sectors_kb of nvme" --rw=read --bs=${max}k --size=64m
! "$FIO" --ioengine=io_uring_cmd --cmd_type=nvme --name=job --filename="$NG" --rw=read --bs=${max}k --size=64m >log 2>&1
result $? "and the kernel does"
refused "blocks that are none" "bs=1000 is not a multiple of the $BLOCK bytes of a block of $NG" --rw=read --bs=1000
refused "a split with such" "bssplit=$((BLOCK + 4)) is not a multiple" --rw=read --bssplit=$BLOCK/40:$((BLOCK + 4))/20:$((2 * BLOCK))/40
refused "places between blocks" "blockalign=$((BLOCK / 2)) is not a multiple" --rw=randread --blockalign=$((BLOCK / 2))
refused "a start between blocks" "offset=$((BLOCK / 2)) is not a multiple" --rw=read --offset=$((BLOCK / 2))
refused "unaligned blocks" "bs_unaligned=1 makes blocks" --rw=read --bsrange=4k-8k --bs_unaligned=1
refused "trims" "for trims name the block device" --rw=trim
refused "trims between writes" "for trims name the block device" --rw=trimwrite
refused "trims of what is verified" "for trims name the block device" --rw=write --verify=crc32c --trim_percentage=10
refused "files of two kinds" "$NG takes commands, and $DEV2 does not" --filename="$NG:$DEV2" --rw=read
refused "a block device" "cmd_type=nvme is for NVMe generic character devices, /dev/ngXnY, and $DEV is none" --filename="$DEV" --cmd_type=nvme --rw=read --direct=1
refused "a controller" "and /dev/nvme0 is none" --filename=/dev/nvme0 --cmd_type=nvme --rw=read
refused "FUA of a block device" "writefua=1 is a bit of NVMe commands" --filename="$DEV" --direct=1 --writefua=1 --rw=write
refused "nowait" "nowait=1 is a flag of reads and writes" --nowait=1 --rw=read
refused "sync" "sync= is a flag of files" --sync=1 --rw=write
refused "sync_file_range" "sync_file_range= is about the page cache" --sync_file_range=write:4 --rw=write
refused "priorities" "takes no priority with a command" --cmdprio_percentage=50 --rw=read
works "the job's priority" "" --prio=3 --prioclass=2 --rw=read
finish
