# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# KTAP for the shell tests, which source it: what they test says goes to ./log.
number=0 bad=0
result() { # STATUS NAME
	number=$((number + 1))
	if [ "$1" = 0 ]; then
		echo "ok $number - $2"
	else
		bad=$((bad + 1))
		echo "not ok $number - $2"
		sed 's/^/# /' log
	fi
}
skip() { # NAME REASON
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}
ended() { # STATUS WANTED PATTERNS..., each of which a line of ./log has
	status=$1 want=$2
	shift 2
	for pattern; do
		grep -q "$pattern" log || { echo "no line has: $pattern" >>log; status=bad; }
	done
	[ "$status" = "$want" ]
}
finish() { # the last command of all
	echo "1..$number"
	echo "# $bad of $number failed"
	[ "$bad" = 0 ]
}
echo "KTAP version 1"
