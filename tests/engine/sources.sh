#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The engine with memory of every source that this kernel and machine have: KTAP.
# As guest.sh, wants scratch NVMe namespaces in $DEV and $DEV2. A source whose
# device is missing is skipped; QEMU_EXTRA of the harness gives the last two:
#   -device virtio-gpu-pci
#   -object memory-backend-ram,id=bar,size=16M,share=on -device ivshmem-plain,memdev=bar
# and -cpu max,vendor=AuthenticAMD,family=23,model=1,stepping=2, through whose host
# bridge Linux trusts transfers from device to device.
# With "steps" and an engine that has fail.c, each source is told at each step in
# turn that it fails, and has to say so and give back all.
. "$(dirname "$0")/ktap.sh"
FIO=${FIO:-fio}
ENGINE=${ENGINE:-/usr/lib/dmabuf.so}
[ -b "$DEV" ] && [ -b "$DEV2" ] || { echo "sources.sh: DEV and DEV2 must name two scratch disks" >&2; exit 2; }
cd "$(mktemp -d)" || exit 2

give='' steps=$1
run() { # OPTIONS...; $give is the program that hands over a dma-buf, if any
	case $1 in
	--filename=*) ;;
	*) set -- --filename="$DEV" "$@" ;;
	esac
	$give "$FIO" --ioengine="external:$ENGINE" --registration=dmabuf --name=job --direct=1 \
		--bs=16k --iodepth=16 --size=1m "$@" >log 2>&1
}
other() { # fio's own synchronous engine
	"$FIO" --ioengine=psync --name=job --filename="$DEV" --direct=1 --bs=16k --size=1m "$@" >log 2>&1
}
said() { # WORDS...
	for word; do
		grep -q "^dmabuf: job=.* $word\( \|$\)" log || { echo "the summary has no $word" >>log; return 1; }
	done
}
crashed() {
	grep -qE "got signal|Sanitizer|runtime error" log
}
steps_of() { # NAME OPTIONS...: until no step is left that could fail
	name=$1 step=0 refusals=0
	shift
	while :; do
		step=$((step + 1))
		FAIL_STEP=$step run "$@" --rw=randread --size=64k --thread=1 || {
			refusals=$((refusals + 1))
			grep -q "^dmabuf: job: .*\.$" log || break
		}
		! crashed && grep -q "^fail: .* libraries=0 blocks=0 mappings=0 streams=0 descriptors=0$" log || break
		grep -q "^fail: .* failed=none " log || continue
		[ $refusals -ge 15 ] && said registration=dmabuf
		result $? "$name: $refusals of $((step - 1)) steps refused, and everything given back"
		return
	done
	result 1 "$name: step $step fails"
}
check="--verify=crc32c --verify_fatal=1 --verify_state_save=0"
seed=0
data_of() { # NAME 'WORDS' OPTIONS...: its data alone, and each direction against plain system calls
	name=$1 words=$2 seed=$((seed + 2))
	shift 2
	[ $steps ] && steps_of "$name" "$@"
	run "$@" $check --rw=randrw && said registration=dmabuf eagain_reissues=0 $words
	result $? "$name: verified"
	run "$@" $check --rw=randwrite --randseed=$seed --do_verify=0 &&
		other $check --rw=randwrite --randseed=$seed --verify_only=1
	result $? "$name: what it writes, pread() reads"
	other $check --rw=randwrite --randseed=$((seed + 1)) --do_verify=0 &&
		run "$@" $check --rw=randwrite --randseed=$((seed + 1)) --verify_only=1
	result $? "$name: what pwrite() writes, it reads"
	printf XXXX | dd of="$DEV" bs=1 seek=300001 conv=notrunc,fsync 2>/dev/null
	! run "$@" $check --rw=randwrite --randseed=$((seed + 1)) --verify_only=1 && grep -q "verify.*failed\|verify: bad" log
	result $? "$name: it finds four bytes that are wrong"
}
refused() { # NAME SENTENCE OPTIONS...
	name=$1 sentence=$2
	shift 2
	! run --rw=read "$@" && grep -q "$sentence" log && ! grep -q "registrations=" log && ! crashed
	result $? "refused: $name"
}
node_of() { # DRIVER PREFIX: its card or render node; a virtio device is below the PCI one, others are without
	for dir in /sys/class/drm/"$2"*; do
		[ -e "$dir/dev" ] || continue	# a connector
		case "$(readlink -f "$dir"/device/virtio*/driver) $(readlink -f "$dir")" in
		*"/$1 "* | *"/$1/"*) echo "/dev/dri/$(basename "$dir")"; return ;;
		esac
	done
	return 1
}

blocks() { # the first 1 MiB of the disk, a sum for each write
	block=0
	while [ $block -lt 64 ]; do
		dd if="$DEV" bs=16k skip=$block count=1 iflag=direct 2>/dev/null | md5sum
		block=$((block + 1))
	done
}
gpu_of() { # KIND
	kind=$1
	data_of "$kind" "source=$kind buffers=1 cpu=copy" --source="$kind"
	run --source="$kind" --dmabuf_size=16k --rw=randrw $check && said buffers=16 registrations=16 cpu=copy
	result $? "$kind: a dma-buf for each block"
	for how in "" --thread=1; do
		run --source="$kind" --numjobs=2 --offset_increment=4m --rw=randrw $check $how && [ "$(grep -c "^dmabuf: job=.* cpu=copy" log)" = 2 ]
		result $? "$kind: two jobs $how"
	done
	run --filename="$DEV:$DEV2" --source="$kind" --bssplit=4k/50:64k/50 --rw=randrw $check && said registrations=2
	result $? "$kind: two devices, bssplit"
	run --source="$kind" --rw=randrw && said cpu=once cpu_sync=0
	result $? "$kind: no copies without verify="
	run --source="$kind" --rw=write --buffer_pattern=0x5a17c0de && said cpu=once &&
		other --rw=read --verify=pattern --verify_pattern=0x5a17c0de --verify_fatal=1
	result $? "$kind: buffer_pattern is written, and copied once"
	run --source="$kind" --rw=write --zero_buffers && said cpu=once && [ -z "$(dd if="$DEV" bs=1M count=1 iflag=direct 2>/dev/null | tr -d '\0')" ]
	result $? "$kind: zero_buffers are"
	run --source="$kind" --rw=write --refill_buffers && said cpu=copy && [ "$(blocks | sort -u | wc -l)" = 64 ]
	result $? "$kind: refill_buffers gives each write other bytes"
	refused "$kind: pages" "has pages of its own" --source="$kind" --pages=2m
	refused "$kind: a GPU that is not there" "there is no GPU 99" --source="$kind" --gpu_dev_ids=99
}
case $1 in
cuda | hip)
	steps=
	gpu_of "$1"
	finish
	exit
	;;
esac

data_of udmabuf "exporter=udmabuf memory=system page=4096" --source=udmabuf
[ $steps ] && steps_of "commands to /dev/ng${DEV#/dev/nvme}" --filename="/dev/ng${DEV#/dev/nvme}"
echo 8 >/proc/sys/vm/nr_hugepages
data_of "udmabuf, hugetlb" "page=2097152" --pages=2m
shmem=/sys/kernel/mm/transparent_hugepage/shmem_enabled
if [ -w $shmem ]; then
	echo never >$shmem
	refused "transparent huge pages that are switched off" "write advise into" --pages=thp
	echo advise >$shmem
	data_of "udmabuf, transparent huge pages" "exporter=udmabuf page=2097152" --pages=thp
else
	skip "udmabuf, transparent huge pages" "no $shmem: CONFIG_TRANSPARENT_HUGEPAGE"
fi

for heap in system default_cma_region; do
	if [ -c /dev/dma_heap/$heap ]; then
		data_of "dma-heap $heap" "source=heap exporter=$heap memory=system buffers=1" --source=heap --heap=$heap
		[ $heap = system ] || continue
		run --filename="$DEV:$DEV2" --source=heap --dmabuf_size=16k --rw=randrw $check && said buffers=16 registrations=32
		result $? "dma-heap system: a dma-buf for each block, two devices"
		run --source=heap --bssplit=4k/50:64k/50 --rw=randrw $check && said buffers=1
		result $? "dma-heap system: bssplit"
	else
		skip "dma-heap $heap" "no /dev/dma_heap/$heap: CONFIG_DMABUF_HEAPS_SYSTEM or _CMA (with cma= at boot)"
	fi
done
refused "a heap that is not there" "cannot open /dev/dma_heap/none" --source=heap --heap=none
refused "pages of a heap" "has pages of its own" --source=heap --pages=2m

for driver in vgem vkms virtio_gpu; do
	if node=$(node_of $driver card); then
		data_of "drm $driver" "source=drm exporter=$driver memory=system" --source=drm --drm_node="$node"
	else
		skip "drm $driver" "no card node of $driver"
	fi
done
if node=$(node_of virtio_gpu render); then
	data_of "drm virtio_gpu, render node" "exporter=virtio_gpu" --source=drm --drm_node="$node"
else
	skip "drm virtio_gpu, render node" "no such node"
fi
if node=$(node_of vgem render); then
	refused "dumb buffers on a render node" "name /dev/dri/cardN" --source=drm --drm_node="$node"
fi
refused "no DRM node" "is no DRM node" --source=drm --drm_node=/dev/null

if command -v give >/dev/null; then
	give="give 262144 9"
	data_of "a descriptor inherited" "source=fd exporter=udmabuf memory=system bytes=262144" --source=fd --dmabuf_fd=9
	refused "a dma-buf that is too small" "has 262144 bytes and the job needs 524288" --source=fd --dmabuf_fd=9 --iodepth=32
	give="give 262144 socket"
	data_of "a descriptor from a socket" "source=fd exporter=udmabuf" --source=fd --dmabuf_socket=socket
	run --source=fd --dmabuf_socket=socket --numjobs=2 --offset_increment=4m --rw=randrw $check
	result $? "a descriptor from a socket, two jobs"

	# Whose exporter takes the mapping away all the while.
	if [ -c /dev/dma-buf-io-test ]; then
		give="give 262144m 9"
		run --source=fd --dmabuf_fd=9 --rw=randrw --loops=20 $check && said exporter=dma_buf_io_test &&
			grep -q "^dmabuf: job=.* maps_rebuilt=[1-9]" log && said eagain_reissues=0
		result $? "maps_rebuilt: the exporter moves the data during verified I/O"
	else
		skip "maps_rebuilt: the exporter moves the data" "no /dev/dma-buf-io-test"
	fi

	# One large dma-buf for several jobs: each has a part of its own, or is refused.
	give="give 524288 9"
	two() { # OPTION OPTION: one for each of two sections with the same descriptor
		cat >two.fio <<-END
			[global]
			ioengine=external:$ENGINE
			registration=dmabuf
			dmabuf_fd=9
			direct=1
			rw=randrw
			bs=16k
			iodepth=16
			size=1m
			verify=crc32c
			verify_fatal=1
			verify_state_save=0
			[one]
			filename=$DEV
			$1
			[two]
			filename=$DEV2
			$2
		END
		$give "$FIO" two.fio >log 2>&1
	}
	two dmabuf_offset=0 dmabuf_offset=256k && [ "$(grep -c "^dmabuf: job=.* registrations=1 " log)" = 2 ]
	result $? "two sections, two parts of one dma-buf"
	! two && grep -q "another job has these bytes of the dma-buf" log && [ "$(grep -c "^dmabuf: job=" log)" = 1 ] && ! crashed
	result $? "refused: two sections in the same part"
	! two dmabuf_offset=64k dmabuf_offset=256k && grep -q "another job has these bytes of the dma-buf" log && ! crashed
	result $? "refused: two sections in parts that overlap"
	run --dmabuf_fd=9 --numjobs=2 --offset_increment=4m --rw=randrw $check && [ "$(grep -c "^dmabuf: job=" log)" = 2 ]
	result $? "two jobs of numjobs=, each takes the next part"
	! run --dmabuf_fd=9 --numjobs=3 --offset_increment=4m --rw=read && grep -q "needs 262144 from 524288 on" log && ! crashed
	result $? "refused: the third of them, in a dma-buf for two"
	refused "a part beyond the end" "needs 262144 from 4194304 on" --dmabuf_fd=9 --dmabuf_offset=4m

	# The CPU cannot map it: the data goes from disk to disk through it, and nothing looks at it.
	give="give 262144r 9"
	nobody="--source=fd --dmabuf_fd=9"
	dd if=/dev/urandom of="$DEV" bs=64k count=4 conv=notrunc,fsync 2>/dev/null
	run $nobody --rw=randread && said exporter=system cpu=none cpu_sync=0
	result $? "memory that the CPU cannot map: reads"
	both="--bs=256k --iodepth=1 --size=256k"
	cat >both.sh <<-END
		"$FIO" --ioengine=external:$ENGINE --registration=dmabuf $nobody --direct=1 $both --name=in --filename=$DEV --rw=read &&
		"$FIO" --ioengine=external:$ENGINE --registration=dmabuf $nobody --direct=1 $both --name=out --filename=$DEV2 --rw=write
	END
	$give sh both.sh >log 2>&1 && said cpu=none && blockdev --flushbufs "$DEV2" &&
		[ "$(dd if="$DEV" bs=64k count=4 2>/dev/null | md5sum)" = "$(dd if="$DEV2" bs=64k count=4 2>/dev/null | md5sum)" ]
	result $? "memory that the CPU cannot map: from disk to disk"
	refused "verify= in memory that the CPU cannot map" "cannot map this dma-buf of system, and verify= has to see" $nobody $check
	refused "data for memory that the CPU cannot map" "cannot map this dma-buf of system, and writes carry" $nobody --rw=write --zero_buffers
	give=
else
	skip "a descriptor handed over" "give.c is not built"
fi
refused "system memory with require_p2p" "memory of udmabuf is system memory for $DEV, and not another device's" --require_p2p
refused "a descriptor that is no dma-buf" "is no dma-buf" --source=fd --dmabuf_fd=0
refused "a socket nobody listens at" "cannot connect to" --source=fd --dmabuf_socket=nothing

# QEMU's ivshmem: a BAR that is memory. Where P2P is not possible, that is said.
bar=
for dir in /sys/bus/pci/devices/*; do
	[ "$(cat "$dir/vendor" "$dir/device" | xargs)" = "0x1af4 0x1110" ] && bar=$(basename "$dir")
done
if [ "$bar" ]; then
	echo vfio-pci >"/sys/bus/pci/devices/$bar/driver_override"
	echo "$bar" >/sys/bus/pci/drivers_probe
	if run --source=vfio --vfio_device="$bar" --vfio_region=2 --rw=read; then
		data_of "vfio BAR" "exporter=vfio_pci_core memory=peer-to-peer cpu=copy" --source=vfio --vfio_device="$bar" --vfio_region=2
		run --source=vfio --vfio_device="$bar" --vfio_region=2 --rw=read --require_p2p && said memory=peer-to-peer "addresses=\(iova\|physical\)"
		result $? "vfio BAR: require_p2p"
		run --source=vfio --vfio_device="$bar" --vfio_region=2 --rw=randrw && said cpu=once cpu_sync=0
		result $? "vfio BAR: no copies without verify="
		run --source=vfio --vfio_device="$bar" --vfio_region=2 --rw=write --buffer_pattern=0x5a17c0de && said cpu=once &&
			other --rw=read --verify=pattern --verify_pattern=0x5a17c0de --verify_fatal=1
		result $? "vfio BAR: buffer_pattern is written, and copied once"
	else
		grep '^dmabuf:' log | sed 's/^/# /'
		grep -q "^dmabuf: job: /dev/.* cannot reach memory of vfio_pci_core peer-to-peer" log
		result $? "refused: a vfio BAR that the disk cannot reach"
	fi
	refused "a region that is too small" "has 256 bytes and the job needs" --source=vfio --vfio_device="$bar" --vfio_region=0
else
	skip "vfio BAR" "no ivshmem device"
fi
# GPUs: no guest has one, but a library in the place of their drivers', which says what a job leaves.
gave_back() {
	! grep -q "^standin: .* ended" log || grep "^standin: .* ended" log | tail -n 1 | grep -q "contexts=0 streams=0 blocks=0 lost=0"
}
call_fails() { # KIND CALL: a sentence, or it did not matter
	if ! STANDIN_FAIL=$2 run --source="$1" --rw=randrw --size=64k --thread=1 $check; then
		refusals=$((refusals + 1))
		grep -q "dmabuf: job.*STANDIN_LAUNCH_FAILED" log || return 1
	fi
	crashed && return 1
	case $2 in
	cu*Destroy_v2 | cuMemFree_v2 | hipFree | hipStreamDestroy) ;;
	*) gave_back ;;
	esac
}
calls_fail() { # KIND PREFIX: each call of its driver in turn
	refusals=0 wrong=none
	for call in $(grep "^$2" $standin/calls); do
		call_fails "$1" "$call" || { wrong=$call; break; }
	done
	[ $wrong = none ] && [ $refusals -ge 9 ]
	result $? "$1: each call of its driver fails in turn, $refusals refused; wrong: $wrong"
}
standin=/usr/lib/standin
if [ -d $standin ]; then
	refused "no driver of a GPU" "cannot load libcuda.so.1" --source=cuda
	export LD_LIBRARY_PATH=$standin${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
	for kind in cuda hip; do
		gpu_of $kind
	done
	if [ $steps ]; then
		calls_fail cuda cu
		calls_fail hip hip
	fi
	STANDIN_PCIE=needed run --source=cuda --rw=randrw $check && said cpu=copy && gave_back
	result $? "cuda: exports that take the PCIe mapping flag"
	! STANDIN_FAIL=cuMemcpyDtoHAsync_v2 run --source=cuda --rw=randrw $check &&
		grep -q "dmabuf: job: .* cuda memory, .*: a copy from the GPU failed on GPU 0 (STANDIN_LAUNCH_FAILED)" log
	result $? "cuda: an I/O whose copy fails says what the driver said"
else
	skip "memory of GPUs" "no $standin: make -C tests/gpu"
fi
refused "no vfio device" "no PCI device 0000:7f:1f.7" --source=vfio --vfio_device=0000:7f:1f.7

finish
