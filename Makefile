# SPDX-License-Identifier: GPL-2.0-or-later
# Verbs only; the work is in harness/.  `make help` lists them.
MAKEFLAGS += --no-print-directory
.ONESHELL: # CMD may have several lines
# The harness dies with make, and QEMU with the harness.
HARNESS = @exec setpriv --pdeathsig TERM /usr/bin/python3 -m harness
# NAME=value of the command line, its $ left alone, as --option=value.
quote = '$(subst ','\'',$(value $(1)))'
option = $(if $(value $(1)),--$(2)=$(call quote,$(1)))
flag = $(if $(filter-out 0,$($(1))),--$(2))
KERNEL_FROM = $(call option,KERNEL_SRC,kernel-src)
FIO_FROM = $(call option,FIO_SRC,fio-src)
IMAGE = $(call option,KERNEL,kernel) $(KERNEL_FROM)

bench: ## compare registrations in every IOMMU mode (BENCH=short, sweep JOBS= REGISTRATIONS= MODES= COLUMNS= KERNEL= BASE=; TARGET=host DEV= DESTRUCTIVE=1)
	$(HARNESS) bench $(if $(filter short sweep,$(BENCH)),--$(BENCH)) $(call option,JOBS,jobs) $(call option,MODES,modes) \
	  $(call option,REGISTRATIONS,registrations) $(call option,COLUMNS,columns) $(call option,BASE,base) \
	  $(call option,TARGET,target) $(call option,DEV,dev) $(call flag,DESTRUCTIVE,destructive) $(IMAGE) $(FIO_FROM)

cost: ## count the instructions of an I/O, by function (MODES= CASES= KERNEL= BASE=)
	$(HARNESS) cost $(call option,MODES,modes) $(call option,CASES,cases) $(call option,BASE,base) $(IMAGE) $(FIO_FROM)

regress: ## fail if this build costs more than a recorded one (BASE=commit or record, MODES= KERNEL=)
	$(HARNESS) regress $(call option,BASE,base) $(call option,MODES,modes) $(IMAGE) $(FIO_FROM)

compare: ## how far two records of one build differ, by cell (A= B=: results/history/*.json, or runs); fails beyond 0.2 %
	$(HARNESS) compare $(call quote,A) $(call quote,B)

baseline: ## record this commit in results/history, to be committed
	$(HARNESS) baseline $(IMAGE) $(FIO_FROM)

test: ## host tests, series checks, guest tests in every mode, the cost gate, a short bench
	$(HARNESS) test $(KERNEL_FROM) $(FIO_FROM)

test-debug: ## guest tests on kernels that check themselves: KASAN, lockdep, KCSAN, PREEMPT_RT, and on arm64 (BOOTS=); an hour or more
	$(HARNESS) test-debug $(KERNEL_FROM) $(FIO_FROM) $(call option,BOOTS,boots)

fuzz: ## random operations on the debug kernel (SECONDS=600 SEED= MODE= KERNEL=)
	$(HARNESS) fuzz $(call option,SECONDS,seconds) $(call option,SEED,seed) $(call option,MODE,mode) $(IMAGE) $(FIO_FROM)

test-engine: ## the engine on the host beside fio's own, and in guests: every mode, multipath, unpatched
	$(HARNESS) test-engine $(KERNEL_FROM) $(FIO_FROM)

check-abi: ## build the engine for each fio that Debian has, and run each in each
	$(HARNESS) check-abi

test-debian: ## engine, host tests, a guest, a short bench on another release, in a root of its own (SUITE=bookworm, trixie, sid; STEPS= KERNEL=)
	$(HARNESS) test-debian $(call quote,SUITE) $(IMAGE) $(call option,STEPS,steps)

guest-run: ## run CMD= in a guest (MODE= IOMMU= FILES= DISK= DISK_WRITE=1 ICOUNT=1 MEM= SMP= TIMEOUT= KERNEL= APPEND= QEMU_EXTRA= KEEP=)
	$(HARNESS) guest-run $(call option,MODE,mode) $(call option,IOMMU,iommu) $(call option,FILES,files) $(IMAGE) $(call option,DISK,disk) \
	  $(call flag,DISK_WRITE,disk-write) $(call flag,ICOUNT,icount) $(call option,MEM,mem) $(call option,SMP,smp) \
	  $(call option,TIMEOUT,timeout) $(call option,APPEND,append) $(call option,QEMU_EXTRA,qemu-extra) \
	  $(call option,KEEP,keep) -- $(call quote,CMD)

plot: ## write tables, figures and report of RUN= again
	$(HARNESS) plot $(call quote,RUN)

deps: ## install the Debian packages that are missing
	$(HARNESS) deps

sources: ## get and unpack kernel and fio (KERNEL_SRC= FIO_SRC= name others)
	$(HARNESS) sources $(KERNEL_FROM) $(FIO_FROM)

kernel: ## build the patched kernel, build/bzImage (VARIANT=unpatched, debug, kcsan, rt, arm64: bzImage-base, -debug, -kcsan, -rt, Image-arm64)
	$(HARNESS) kernel $(KERNEL_FROM) $(call option,VARIANT,variant)

kernel-tree: ## a git worktree of the series to develop in: build/linux
	$(HARNESS) kernel-tree $(KERNEL_FROM)

kernel-export: ## split its commits back into kernel/series and kernel/overlay
	@exec /usr/bin/python3 kernel/series.py export --tree build/linux

kernel-check: ## round trip of the series, checkpatch over it
	$(HARNESS) kernel-check $(KERNEL_FROM)

harmless: ## code without the feature, sizes of structures, ordinary I/O: against the unpatched base (MODES=)
	$(HARNESS) harmless $(KERNEL_FROM) $(FIO_FROM) $(call option,MODES,modes)

engine: ## build fio, the engine and the guest's programs into build/
	$(HARNESS) engine $(FIO_FROM)

deb: ## build/deb/*.deb: engine, dmabuf-check and manual pages, for the fio of this Debian (FIO_SRC=)
	$(HARNESS) deb $(FIO_FROM)

install: engine ## put the engine where fio finds it as dmabuf.so (PREFIX= DESTDIR=)
	@$(MAKE) -C engines install O=../build FIO_SRC="$$(dirname "$$(readlink -f build/fio)")"

uninstall: ## undo install
	@$(MAKE) -C engines uninstall

clean: ## remove build/; the cache stays in ~/.cache/dmabuf-bench
	@rm -rf build

help: ## this text
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 15

.PHONY: bench cost regress compare baseline fuzz test test-debug test-engine test-debian check-abi guest-run plot deps sources kernel kernel-tree kernel-export kernel-check harmless engine deb install uninstall clean help
.DEFAULT_GOAL := help
