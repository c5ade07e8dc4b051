#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The engine's memory of GPUs on a machine that has one, on any kernel: KTAP, and what
# the machine is. Wants fio, the engine, gpu-memory and pretend in $FIO, $ENGINE,
# $MEMORY and $PRETEND (default: those in build/). On a kernel with the feature it goes on to
# move data, if $DEV and $DEV2 name two scratch NVMe namespaces; what is on them
# is lost. Status 2: there is no GPU.
here=$(cd "$(dirname "$0")" && pwd) root=$(cd "$(dirname "$0")/../.." && pwd)
FIO=${FIO:-$root/build/fio}
ENGINE=${ENGINE:-$root/build/dmabuf.so}
MEMORY=${MEMORY:-$root/build/gpu-memory}
PRETEND=${PRETEND:-$root/build/pretend}
kinds=$KINDS		# of GPUs, where these are not right
[ "$kinds" ] || ! [ -e /dev/nvidiactl ] || kinds=cuda
[ "$KINDS" ] || ! [ -e /dev/kfd ] || kinds="$kinds hip"
[ "$kinds" ] || { echo "run.sh: no GPU here, neither /dev/nvidiactl nor /dev/kfd: run it where one is" >&2; exit 2; }
for dir in /usr/local/nvidia/lib64 /usr/local/nvidia/lib /opt/rocm/lib; do
	[ -d $dir ] && LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$dir
done
export LD_LIBRARY_PATH FIO ENGINE
work=$(mktemp -d) && cd "$work" || exit 2
trap 'cd / && rm -r "$work"; [ -z "$loop" ] || losetup -d "$loop"' EXIT
. "$here/../engine/ktap.sh"

said() { # NAME COMMAND...
	name=$1
	shift
	text=$("$@" 2>/dev/null | head -n 4) && [ "$text" ] || text=unknown
	echo "$text" | sed "s/^/# $name: /"
}
said date date -u +%Y-%m-%d
said commit sh -c 'echo "${COMMIT:-$(git -C "$0" describe --always --dirty)}"' "$root"
said kernel uname -srm
said GPU nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
said module sh -c "sed -n 's/^NVRM version: *//p' /proc/driver/nvidia/version"
said fio "$FIO" --version

run() { # OPTIONS...; nothing is written
	$before "$FIO" --ioengine="external:$ENGINE" --readonly --name=job --direct=1 --rw=read --bs=64k --iodepth=4 --size=1m "$@" >log 2>&1
}
refused() { # NAME SENTENCE OPTIONS...
	name=$1 sentence=$2
	shift 2
	! run "$@" && grep "^dmabuf: job: " log | head -n 1 | sed 's/^/# /' && grep -q "$sentence" log &&
		! grep -qE "got signal|registrations=" log
	result $? "refused: $name"
}

# The numbers that we call the driver with, against its vendor's header.
header=/usr/local/cuda/include/cuda.h
[ -e $header ] || header=/usr/include/cuda.h
if [ -e $header ] && command -v cc >/dev/null; then
	cc -fsyntax-only -D_GNU_SOURCE -I"$(dirname "$header")" -I"$root/engines" "$here/facts.c" 2>log
	result $? "CUDA's header has the engine's numbers ($(sed -n 's/^#define CUDA_VERSION /version /p' "$header"))"
else
	skip "CUDA's header has the engine's numbers" "no cuda.h, or no cc"
fi

# Any block device does, it is only opened to be read: our own, or whose the machine lets us read.
device=$DEV loop=
if ! [ "$device" ]; then
	truncate -s 8M image && loop=$(losetup -f --show image 2>/dev/null) && device=$loop
fi
if ! [ "$device" ]; then
	while read -r _ _ _ name; do
		dd if="/dev/$name" of=/dev/null bs=64k count=16 2>/dev/null && device=/dev/$name && break
	done </proc/partitions
fi
for kind in $kinds; do
	"$MEMORY" "$kind" >memory 2>log
	status=$?
	sed 's/^/    /' memory
	result $status "memory of source=$kind"
	if ! [ "$device" ]; then
		skip "the engine with source=$kind" "no block device can be read here"
		continue
	fi
	on="--filename=$device --source=$kind"
	before=
	refused "$kind: I/O on addresses" "the kernel cannot pin memory of source=$kind" $on --registration=user
	run $on
	if grep -q "io_uring is not available" log; then
		skip "the engine with source=$kind" "this kernel lets nobody have an io_uring"
	elif grep -q "this kernel's io_uring cannot register dma-bufs" log; then
		# All that the engine does before a kernel would take its dma-bufs.
		before=$PRETEND
		refused "$kind: a GPU that is not there" "there is no GPU 4711" $on --gpu_dev_ids=4711
		for jobs in "a process" "two processes --numjobs=2" "two threads --numjobs=2 --thread=1"; do
			want=$(echo "$jobs" | grep -c two)
			run $on ${jobs#"${jobs%%--*}"}
			[ "$(grep -c "^dmabuf: job: cannot register the dma-buf with $device" log)" = $((want + 1)) ] &&
				! grep -qE "got signal|registrations=" log
			status=$?
			grep "^dmabuf: job: " log | sort -u | sed 's/^/# /'
			result $status "$kind: exported, and refused by a kernel without the feature, ${jobs%% --*}"
		done
		skip "$kind: data" "this kernel cannot register dma-bufs"
	elif [ -b "$DEV" ] && [ -b "$DEV2" ]; then
		refused "$kind: a GPU that is not there" "there is no GPU 4711" $on --gpu_dev_ids=4711
		sh "$here/../engine/sources.sh" "$kind" >data 2>&1
		status=$?
		sed 's/^/    /' data
		result $status "$kind: data"
	else
		skip "$kind: data" "set DEV and DEV2 to two scratch NVMe namespaces"
	fi
done
finish
