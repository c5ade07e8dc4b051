// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU plugin: which cache lines processors of a guest share between two marks.
 *
 *	-plugin file=sharing.so,out=PREFIX
 *
 * A line is 64 bytes of physical memory. It is shared if one processor writes it
 * and another one touches it between the marks. An access to any other line never
 * waits for another processor's cache; an access to a shared one may.
 *
 * Each second mark (harness/guest/iocost.c) writes PREFIX.0, PREFIX.1, ...:
 *
 *	instructions CPU NUMBER		of each processor
 *	ADDRESS CPU LINE READS WRITES	of each instruction, processor and shared line
 *
 * Who touches what does not depend on how finely processors take turns, which
 * -accel tcg,thread=single lets them do every 100 ms; how often a line moves would.
 * That one thread of execution is assumed here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

#define LINE_SHIFT	6
#define MAX_CPUS	64

API int qemu_plugin_version = 1;

/* Open hashes, emptied at the first mark. */
#define SHIFT		22
#define NR_SLOTS	(1u << SHIFT)

static struct line {
	uint64_t number;	/* the address, shifted; 0: empty, where there is no memory of the kernel's */
	uint64_t touched, written;	/* by which processors */
} *lines;

static struct access {
	uint64_t line, insn, cpu, reads, writes;
} *accesses;

static uint64_t executed[MAX_CPUS];
static unsigned int nr_lines, nr_accesses, nr_windows;
static const char *prefix;
static bool inside;

static uint32_t hash(uint64_t a, uint64_t b)
{
	return ((a ^ b * 0xff51afd7ed558ccdu) * 0x9e3779b97f4a7c15u) >> (64 - SHIFT);
}

static void used(unsigned int *count)
{
	if (++*count > NR_SLOTS / 2) {
		fprintf(stderr, "sharing: more than %u lines or accesses between two marks\n", NR_SLOTS / 2);
		exit(1);
	}
}

static struct line *line_of(uint64_t number)
{
	uint32_t i = hash(number, 0);

	while (lines[i].number && lines[i].number != number)
		i = (i + 1) % NR_SLOTS;
	if (!lines[i].number) {
		used(&nr_lines);
		lines[i].number = number;
	}
	return &lines[i];
}

static struct access *access_of(uint64_t line, uint64_t insn, unsigned int cpu)
{
	uint32_t i = hash(line, insn + cpu);

	while (accesses[i].line && (accesses[i].line != line || accesses[i].insn != insn || accesses[i].cpu != cpu))
		i = (i + 1) % NR_SLOTS;
	if (!accesses[i].line) {
		used(&nr_accesses);
		accesses[i] = (struct access){ .line = line, .insn = insn, .cpu = cpu };
	}
	return &accesses[i];
}

static void touch(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void *insn)
{
	const struct qemu_plugin_hwaddr *where;
	struct access *access;
	struct line *line;
	uint64_t number;

	if (!inside)
		return;
	where = qemu_plugin_get_hwaddr(info, vaddr);
	if (!where || qemu_plugin_hwaddr_is_io(where))
		return;
	number = qemu_plugin_hwaddr_phys_addr(where) >> LINE_SHIFT;
	if (!number)
		return;
	line = line_of(number);
	access = access_of(number, (uintptr_t)insn, cpu);
	line->touched |= 1ull << cpu;
	if (qemu_plugin_mem_is_store(info)) {
		line->written |= 1ull << cpu;
		access->writes++;
	} else {
		access->reads++;
	}
}

static void execute(unsigned int cpu, void *insns)
{
	executed[cpu] += (uintptr_t)insns;
}

static void begin(unsigned int cpu, void *unused)
{
	memset(lines, 0, NR_SLOTS * sizeof(*lines));
	memset(accesses, 0, NR_SLOTS * sizeof(*accesses));
	memset(executed, 0, sizeof(executed));
	nr_lines = nr_accesses = 0;
	inside = true;
}

static bool shared(const struct line *line)
{
	return line->written && (line->touched & (line->touched - 1));
}

static void end(unsigned int cpu, void *unused)
{
	char name[4096];
	uint32_t i;
	FILE *file;

	inside = false;
	snprintf(name, sizeof(name), "%s.%u", prefix, nr_windows++);
	file = fopen(name, "w");
	for (i = 0; file && i < MAX_CPUS; i++)
		if (executed[i])
			fprintf(file, "instructions %u %" PRIu64 "\n", i, executed[i]);
	for (i = 0; file && i < NR_SLOTS; i++)
		if (accesses[i].line && shared(line_of(accesses[i].line)))
			fprintf(file, "%" PRIx64 " %" PRIu64 " %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", accesses[i].insn,
				accesses[i].cpu, accesses[i].line, accesses[i].reads, accesses[i].writes);
	if (!file || fclose(file)) {
		perror(name);
		exit(1);
	}
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), i;

	qemu_plugin_register_vcpu_tb_exec_cb(tb, execute, NO_REGISTERS, (void *)n);
	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		qemu_plugin_register_vcpu_mem_cb(insn, touch, NO_REGISTERS, READS_AND_WRITES,
						 (void *)(uintptr_t)qemu_plugin_insn_vaddr(insn));
		watch_for_marks(insn, begin, end);
	}
}

API int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
	if (argc != 1 || strncmp(argv[0], "out=", 4)) {
		fprintf(stderr, "sharing: say where to: -plugin file=sharing.so,out=PREFIX\n");
		return 1;
	}
	prefix = strdup(argv[0] + 4);
	lines = calloc(NR_SLOTS, sizeof(*lines));
	accesses = calloc(NR_SLOTS, sizeof(*accesses));
	if (!prefix || !lines || !accesses)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	return 0;
}
