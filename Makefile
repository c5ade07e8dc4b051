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

guest-run: ## MODE= CMD= FILES= run one command in a guest (also KERNEL= DISK= DISK_WRITE=1 ICOUNT=1 MEM= SMP= TIMEOUT= APPEND= QEMU_EXTRA= KEEP=)
	$(HARNESS) guest-run $(call option,MODE,mode) $(call option,FILES,files) $(call option,KERNEL,kernel) \
	  $(call option,DISK,disk) $(call flag,DISK_WRITE,disk-write) $(call flag,ICOUNT,icount) $(call option,MEM,mem) \
	  $(call option,SMP,smp) $(call option,TIMEOUT,timeout) $(call option,APPEND,append) \
	  $(call option,QEMU_EXTRA,qemu-extra) $(call option,KEEP,keep) -- $(call quote,CMD)

help: ## this text
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: guest-run help
.DEFAULT_GOAL := help
