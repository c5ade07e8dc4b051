# SPDX-License-Identifier: GPL-2.0-or-later
# `make help`: the verbs of the Makefile in its groups, with the time that each takes and the variables.
/^[A-Z]+ = [A-Z_ ]+$/ { group["$(" $1 ")"] = substr($0, length($1) + 4) }
/^[a-z0-9-]+\.takes = / {
	verb = $1
	sub(/\.takes$/, "", verb)
	for (i = 3; i <= NF; i++)
		takes[verb] = takes[verb] " " ($i in group ? group[$i] : $i)
}
/^##@ / { printf "\n%s\n", substr($0, 5) }
/^[a-z0-9-]+:.*## / {
	verb = $1
	sub(/:.*/, "", verb)
	text = $0
	sub(/.*## /, "", text)
	time = ""
	if (match(text, /^\[[^]]*\] /)) {
		time = substr(text, 2, RLENGTH - 3)
		text = substr(text, RLENGTH + 1)
	}
	printf "  %-14s%6s  %s\n", verb, time, text
	if (verb in takes) {
		gsub(/ /, "= ", takes[verb])
		printf "  %22s%s=\n", "", substr(takes[verb], 3)
	}
}
END { print "\nTimes are minutes:seconds on two processors without KVM; the first run builds, too: 15 minutes more.\nNames of jobs, modes and the like: make list. The feature and its figures: README.md." }
