# SPDX-License-Identifier: GPL-2.0-or-later
# Verbs only; the work is in harness/.  `make help` lists them.
MAKEFLAGS += --no-print-directory
.ONESHELL: # CMD may have several lines
HARNESS = @exec /usr/bin/python3 -m harness
SOURCES = KERNEL_SRC FIO_SRC
bench.takes = BENCH JOBS REGISTRATIONS MODES COLUMNS BASE TARGET DEV DESTRUCTIVE KERNEL $(SOURCES)
cost.takes = MODES CASES BASE KERNEL $(SOURCES)
regress.takes = BASE MODES KERNEL $(SOURCES)
compare.takes = A B
baseline.takes = KERNEL $(SOURCES)
test.takes = $(SOURCES)
test-debug.takes = BOOTS $(SOURCES)
test-engine.takes = $(SOURCES)
fuzz.takes = SECONDS SEED MODE KERNEL $(SOURCES)
guest-run.takes = CMD MODE IOMMU FILES DISK DISK_WRITE ICOUNT MEM SMP TIMEOUT APPEND QEMU_EXTRA KEEP KERNEL KERNEL_SRC
plot.takes = RUN
sources.takes = $(SOURCES)
kernel.takes = VARIANT KERNEL_SRC
kernel-tree.takes = KERNEL_SRC
kernel-check.takes = KERNEL_SRC
harmless.takes = MODES $(SOURCES)
engine.takes = FIO_SRC
deb.takes = FIO_SRC
install.takes = PREFIX DESTDIR FIO_SRC
uninstall.takes = PREFIX DESTDIR

# What was typed and no verb of this command takes is refused before anything is done.
typed := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
taken := $(foreach verb,$(MAKECMDGOALS),$($(verb).takes))
ifneq ($(filter-out $(taken),$(typed)),)
$(error make $(or $(MAKECMDGOALS),help) takes no $(addsuffix =,$(filter-out $(taken),$(typed))): $(if $(taken),it takes $(addsuffix =,$(sort $(taken))),it takes no variables))
endif
# Each variable of a verb that has a value, its $ left alone, as the word 'NAME=value'.
given = $(if $(value $(1)),'$(1)=$(subst ','\'',$(value $(1)))')
VERB = $(HARNESS) make $@ $(foreach name,$($@.takes),$(call given,$(name)))

bench: ## compare registrations in every IOMMU mode (BENCH=short, sweep JOBS= REGISTRATIONS= MODES= COLUMNS= KERNEL= BASE=; TARGET=host DEV= DESTRUCTIVE=1)
	$(VERB)

cost: ## count the instructions of an I/O, by function (MODES= CASES= KERNEL= BASE=)
	$(VERB)

regress: ## fail if this build costs more than a recorded one (BASE=commit or record, MODES= KERNEL=)
	$(VERB)

compare: ## how far two records of one build differ, by cell (A= B=: results/history/*.json, or runs); fails beyond 0.2 %
	$(VERB)

baseline: ## record this commit in results/history, to be committed
	$(VERB)

test: ## host tests, series checks, guest tests in every mode, the cost gate, a short bench
	$(VERB)

test-debug: ## guest tests on kernels that check themselves: KASAN, lockdep, KCSAN, PREEMPT_RT, and on arm64 (BOOTS=); an hour or more
	$(VERB)

fuzz: ## random operations on the debug kernel (SECONDS=600 SEED= MODE= KERNEL=)
	$(VERB)

test-engine: ## the engine on the host beside fio's own, and in guests: every mode, multipath, unpatched
	$(VERB)

check-abi: ## build the engine for each fio that Debian has, and run each in each
	$(VERB)

guest-run: ## run CMD= in a guest (MODE= IOMMU= FILES= DISK= DISK_WRITE=1 ICOUNT=1 MEM= SMP= TIMEOUT= KERNEL= APPEND= QEMU_EXTRA= KEEP=)
	$(VERB)

plot: ## write tables, figures and report of RUN= again
	$(VERB)

deps: ## install the Debian packages that are missing
	$(VERB)

sources: ## get and unpack kernel and fio (KERNEL_SRC= FIO_SRC= name others)
	$(VERB)

kernel: ## build the patched kernel, build/bzImage (VARIANT=unpatched, debug, kcsan, rt, arm64: bzImage-base, -debug, -kcsan, -rt, Image-arm64)
	$(VERB)

kernel-tree: ## a git worktree of the series to develop in: build/linux
	$(VERB)

kernel-export: ## split its commits back into kernel/series and kernel/overlay
	@exec /usr/bin/python3 kernel/series.py export --tree build/linux

kernel-check: ## round trip of the series, checkpatch over it
	$(VERB)

harmless: ## code without the feature, sizes of structures, ordinary I/O: against the unpatched base (MODES=)
	$(VERB)

engine: ## build fio, the engine and the guest's programs into build/
	$(VERB)

deb: engine ## build/deb/*.deb: engine, dmabuf-check and manual pages, for the fio of build/fio
	@set -e
	rm -rf build/deb; mkdir -p build/deb/fio-dmabuf/kernel/overlay
	cp -r engines packaging/debian build/deb/fio-dmabuf/
	cp -r kernel/overlay/include build/deb/fio-dmabuf/kernel/overlay/
	cd build/deb/fio-dmabuf
	FIO_SRC=$$(dirname $$(readlink -f ../../fio)) dpkg-buildpackage -b -us -uc -tc

install: engine ## put the engine where fio finds it as dmabuf.so (PREFIX= DESTDIR=)
	@$(MAKE) -C engines install O=$(CURDIR)/build FIO_SRC=$$(dirname $$(readlink -f build/fio))

uninstall: ## undo install
	@$(MAKE) -C engines uninstall

clean: ## remove build/; the cache stays in ~/.cache/dmabuf-bench
	@rm -rf build

help: ## this text
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 15

.PHONY: bench cost regress compare baseline fuzz test test-debug test-engine check-abi guest-run plot deps sources kernel kernel-tree kernel-export kernel-check harmless engine deb install uninstall clean help
.DEFAULT_GOAL := help
