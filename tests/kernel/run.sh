#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs the guest tests: run.sh DEV [DEV2] [TEST...]
# Each program is one KTAP subtest; the last line counts the test points.
# A new line in the kernel log that tells of a bug fails the test it came in.
# Exit status: 0, 1 if anything failed, 4 if nothing ran.
# Works under busybox; TIMEOUT= is the longest that a program may take, WITHOUT=
# names programs to leave out of all.

dir=$(dirname "$0")
[ -x "$dir/verify" ] || dir=$dir/../../build/tests
case $1 in
/dev/*) export DEV="$1"; shift ;;
*) [ -n "$DEV" ] || { echo "run.sh: no disk: name a scratch NVMe namespace" >&2; exit 2; } ;;
esac
case $1 in
/dev/*) export DEV2="$1"; shift ;;
esac
all='register_errors header compat io_errors vectored order data slots passthru observe fence ublk queues partition exporter invalidate fuzz
	targets stacked reset pressure writeback cancel held removal silence lifetime faults modules kunit kmemleak'
[ $# -gt 0 ] || for test in $all; do
	case " $WITHOUT " in
	*" $test "*) ;;
	*) set -- "$@" "$test" ;;
	esac
done

splats='WARNING:|BUG:|BUG |Oops|INFO: task|INFO: rcu|rcu:.*(stall|detected)|circular locking|recursive locking|lock state|suspicious RCU|KASAN|KCSAN|UBSAN|DMA-API:|DMAR:.*fault|list_(add|del) corruption|sleeping function|refcount_t:|general protection|Kernel panic|Call Trace'
out=$(mktemp -d) || exit 2
trap 'rm -rf "$out"' EXIT
mkdir -p /tmp
# The kernel drops marks that come more than ten in five seconds.
echo on >/proc/sys/kernel/printk_devkmsg
[ -d /sys/kernel/debug/dma_buf ] || mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null

number=0 bad=0 skips=0
: >"$out/points"
echo "KTAP version 1"
echo "1..$#"
for test; do
	number=$((number + 1))
	mark="tests/kernel: $test $$ $number"
	echo "$mark" >/dev/kmsg
	start=$(date +%s)
	{ timeout "${TIMEOUT:-600}" "$dir/$test" 2>&1; echo $? >"$out/status"; } |
		tee "$out/log" | sed 's/^/  /'
	status=$(cat "$out/status")
	grep -E '^(not )?ok ' "$out/log" >>"$out/points"
	case $status in
	0 | 4) verdict= ;;
	124 | 143) verdict="timed out after ${TIMEOUT:-600} seconds" ;;
	127) verdict="no program $dir/$test" ;;
	*) verdict="exit status $status" ;;
	esac
	# No mark in the log: it has wrapped, and what it held is unknown.
	dmesg | awk -v mark="$mark" '
		seen { print }
		index($0, mark) { seen = 1 }
		END { if (!seen) print "BUG: the kernel log lost its mark" }' >"$out/dmesg"
	# A request that the device forgot costs 30 s: say so where that is not the aim.
	echo "# $test took $(($(date +%s) - start)) s, $(grep -c 'nvme.* timeout' "$out/dmesg") timeouts of requests"
	grep -E "$splats" "$out/dmesg" | grep -v 'dma-debug disabled' | awk '!/KCSAN/ || /dma_?buf/' >"$out/splats"
	# Without memory, which faults sees to, dma-debug gives up. Data races elsewhere are mainline's.
	[ -s "$out/splats" ] &&
		verdict="the kernel complained: $(head -n 1 "$out/splats")" &&
		sed 's/^/  # /' "$out/splats"
	if [ -n "$verdict" ]; then
		bad=$((bad + 1))
		echo "not ok $number - $test # $verdict"
	elif [ "$status" = 4 ]; then
		skips=$((skips + 1))
		echo "ok $number - $test # SKIP $(sed -n 's/.*# SKIP //p' "$out/log" | head -n 1)"
	else
		echo "ok $number - $test"
	fi
done

points() { grep -cE "$1" "$out/points"; }
skipped=$(points '^ok .*# SKIP')
echo "# $(($(points '^ok ') - skipped)) passed, $(points '^not ok ') failed, $skipped skipped" \
	"($number programs, $bad failed, $skips skipped whole)"
[ "$bad" -eq 0 ] || exit 1
[ "$skips" -lt "$number" ] || exit 4
