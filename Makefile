# SPDX-License-Identifier: GPL-2.0-or-later
# Verbs only; the work is in harness/.  `make help` lists them.
MAKEFLAGS += --no-print-directory
.ONESHELL: # CMD may have several lines
HARNESS = @exec /usr/bin/python3 -m harness
SOURCES = KERNEL_SRC FIO_SRC
GUEST = MODE IOMMU FILES DISK MEM SMP TIMEOUT APPEND KERNEL KERNEL_SRC
bench.takes = BENCH JOBS REGISTRATIONS MODES COLUMNS BASE TARGET DEV DESTRUCTIVE KERNEL $(SOURCES)
cost.takes = MODES CASES BASE KERNEL $(SOURCES)
regress.takes = BASE MODES KERNEL $(SOURCES)
compare.takes = A B
baseline.takes = REASON KERNEL $(SOURCES)
test.takes = $(SOURCES)
test-debug.takes = BOOTS $(SOURCES)
test-engine.takes = $(SOURCES)
test-gpu.takes = DEV DEV2 FIO_SRC
test-debian.takes = SUITE STEPS KERNEL KERNEL_SRC
fuzz.takes = SECONDS SEED MODE KERNEL $(SOURCES)
test-p2p.takes = $(SOURCES)
guest-run.takes = CMD $(GUEST) DISK_WRITE ICOUNT QEMU_EXTRA TOPOLOGY KEEP
shell.takes = $(GUEST)
clean-cache.takes = DAYS ALL
plot.takes = RUN
sources.takes = $(SOURCES)
kernel.takes = VARIANT KERNEL_SRC
kernel-tree.takes = KERNEL_SRC
kernel-check.takes = KERNEL_SRC
kernel-check-all.takes = ARCH COMMITS KERNEL_SRC
kernel-series.takes = KERNEL_SRC
harmless.takes = MODES $(SOURCES)
scaling.takes = MODES $(SOURCES)
engine.takes = FIO_SRC
deb.takes = FIO_SRC
install.takes = PREFIX DESTDIR FIO_SRC
uninstall.takes = PREFIX DESTDIR

# In the environment it is how wide the terminal is.
ifneq ($(findstring environment,$(origin COLUMNS)),)
undefine COLUMNS
endif

# What was typed and no verb of this command takes is refused before anything is done.
typed := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
taken := $(foreach verb,$(MAKECMDGOALS),$($(verb).takes))
ifneq ($(filter-out $(taken),$(typed)),)
$(error make $(or $(MAKECMDGOALS),help) takes no $(addsuffix =,$(filter-out $(taken),$(typed))): $(if $(taken),it takes $(addsuffix =,$(sort $(taken))),it takes no variables))
endif
# make install is done in another directory.
relative := $(foreach name,$(filter PREFIX DESTDIR,$(typed)),$(if $(filter-out /%,$(firstword $($(name)))),$(name)=$($(name))))
ifneq ($(relative),)
$(error $(strip $(relative)) is no absolute path: begin it with /)
endif
# Each variable of a verb that has a value, its $ left alone, as the word 'NAME=value'.
given = $(if $(value $(1)),'$(1)=$(subst ','\'',$(value $(1)))')
VERB = $(HARNESS) make $@ $(foreach name,$($@.takes),$(call given,$(name)))

##@ Look: seconds

help: ## this text
	@awk -f harness/help.awk $(MAKEFILE_LIST)

doctor: ## what this machine lacks, and how long each verb took on it
	$(VERB)

list: ## the names that variables can have: jobs, cases, modes, columns, boots
	$(VERB)

##@ Try: a guest with the feature, whatever it is for

guest-run: ## [0:05] run CMD= in a guest; FILES='a.out=/root/a.out' brings files along
	$(VERB)

shell: ## a guest to type into
	$(VERB)

##@ Measure

bench: ## [25:00] compare registrations in every IOMMU mode, or on this machine's disk (TARGET=host DEV=)
	$(VERB)

cost: ## [25:00] count the instructions of an I/O, by function
	$(VERB)

regress: ## [2:00] fail if this build costs more than a recorded one
	$(VERB)

baseline: ## [2:00] record this commit in results/history, to be committed (REASON='why it costs that')
	$(VERB)

harmless: ## what it costs those who do not use it, against the unpatched base
	$(VERB)

scaling: ## what several processors cost per I/O, and the cache lines that they share (MODES=)
	$(VERB)

compare: ## two records, cell by cell: before, after, ratio, verdict (A= B=: records, or directories of runs)
	$(VERB)

plot: ## write tables, figures and report of RUN= again
	$(VERB)

##@ Test

test: ## [55:00] everything quick: host, series, guests in every mode, the cost gate, a short bench
	$(VERB)

test-engine: ## [27:00] the engine beside fio's own, and in guests: every mode, multipath, unpatched
	$(VERB)

test-debug: ## [90:00] guests whose kernels check themselves: KASAN, lockdep, KCSAN, PREEMPT_RT; arm64
	$(VERB)

test-p2p: ## [5:00] by which way a disk gets at another device's memory: below a switch, ports, host bridges
	$(VERB)

test-readme: ## [10:00] the commands of README.md and docs/hacking.md, in a fresh clone
	@exec /usr/bin/python3 -m pytest -q -rs tests/harness/readme_commands.py

docs-check: ## [0:30] what documents name is there, and their figures are those of their records
	@exec /usr/bin/python3 -m pytest -q -rs tests/harness/test_docs.py tests/harness/test_readme.py tests/harness/test_example.py

test-ci: ## [43:00] the files of docs/ci step by step, in a root that debootstrap makes (as root)
	@exec /usr/bin/python3 tests/harness/ci.py

fuzz: ## [12:00] random operations on the debug kernel
	$(VERB)

test-gpu: engine ## memory of this machine's GPUs, on any kernel; DEV= DEV2=: scratch disks, for data on a kernel with the feature
	@exec env $(foreach name,DEV DEV2,$(call given,$(name))) sh tests/gpu/run.sh

test-debian: ## what is typed on another release (SUITE=bookworm, trixie, sid), in a root of its own (as root)
	$(VERB)

check-abi: ## build the engine for each fio that Debian has, and run each in each
	$(VERB)

##@ Build: what the verbs above need, they build

deps: ## install the Debian packages that are missing
	$(VERB)

sources: ## [0:35] get and unpack kernel and fio
	$(VERB)

kernel: ## [14:00] the patched kernel, build/bzImage; or another VARIANT=
	$(VERB)

engine: ## [0:15] fio, the engine and the guest's programs, in build/
	$(VERB)

deb: ## engine, dmabuf-check and manual pages for the fio of this Debian: build/deb/*.deb
	$(VERB)

install: engine ## put the engine where fio finds it as dmabuf.so (PREFIX= DESTDIR=)
	@$(MAKE) -C engines install O=../build FIO_SRC="$$(dirname "$$(readlink -f build/fio)")"

uninstall: ## undo install
	@$(MAKE) -C engines uninstall

##@ Change the kernel side

kernel-tree: ## [1:10] a git worktree of the series to develop in: build/linux
	$(VERB)

kernel-export: ## split its commits back into kernel/series and kernel/overlay
	@exec /usr/bin/python3 kernel/series.py export --tree build/linux

kernel-check: ## [0:10] round trip of the series, checkpatch over it
	$(VERB)

kernel-check-all: ## [16:00] every commit, the feature on and off: W=1, sparse, kernel-doc, the pages; or some COMMITS=, ARCH=arm64
	$(VERB)

kernel-series: ## the mails as they are sent, with a cover letter: build/series
	$(VERB)

##@ Release

dist: ## a tarball of this commit: build/dmabuf-bench-VERSION.tar.gz
	@name=dmabuf-bench-$$(sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)
	git describe --exact-match --tags --match "v$${name##*-}" >/dev/null 2>&1 || name=$$name+g$$(git rev-parse --short=12 HEAD)
	mkdir -p build && git archive --prefix="$$name/" -o "build/$$name.tar.gz" HEAD && echo "build/$$name.tar.gz"

##@ Clean

clean: ## remove build/, and runs that did not finish
	@rm -rf build

clean-cache: ## remove from ~/.cache/dmabuf-bench what was not used for DAYS=30, or ALL=1
	$(VERB)

.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*##.*/\1/p' $(MAKEFILE_LIST))
.DEFAULT_GOAL := help
