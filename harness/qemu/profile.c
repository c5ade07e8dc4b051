// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU plugin: how often each guest instruction is executed between two marks.
 *
 *	-plugin file=profile.so,out=PREFIX[,enter=FIRST-LAST]...[,leave=ADDRESS]
 *
 * The marks are no-ops that the guest program executes (harness/guest/iocost.c).
 * Each second mark writes PREFIX.0, PREFIX.1, ...: lines of address and count,
 * both of which stand for everything that the machine did in between: user,
 * kernel, interrupts, of all processes. Between an instruction of an "enter"
 * range and the next one at "leave", the machine is in an interrupt; the first
 * line says how many of those there were, and how many instructions in them.
 *
 * One thread of execution (-accel tcg,thread=single) is assumed.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

API int qemu_plugin_version = 1;

/* An open hash of all addresses ever translated: a guest executes some hundred thousand. */
#define SLOTS_SHIFT	22
#define NR_SLOTS	(1u << SLOTS_SHIFT)

static struct slot {
	uint64_t addr, count, before;
} *slots;
static const char *prefix;
static unsigned int nr_used, nr_windows;

#define MAX_RANGES	32

static struct range {
	uint64_t first, last;
} enter[MAX_RANGES];
static unsigned int nr_enter;
static uint64_t leave;
static uint64_t executed;	/* instructions, ever */
static bool in_interrupt;
static uint64_t entered_at;	/* of executed */

static struct interrupts {
	uint64_t number, instructions;
} interrupts, interrupts_before;

static struct slot *slot_of(uint64_t addr)
{
	uint32_t i = (addr * 0x9e3779b97f4a7c15u) >> (64 - SLOTS_SHIFT);

	while (slots[i].addr && slots[i].addr != addr)
		i = (i + 1) % NR_SLOTS;
	if (!slots[i].addr) {
		if (++nr_used > NR_SLOTS / 2) {
			fprintf(stderr, "profile: more than %u different instructions\n", NR_SLOTS / 2);
			exit(1);
		}
		slots[i].addr = addr;
	}
	return &slots[i];
}

static void enter_interrupt(unsigned int cpu, void *unused)
{
	if (in_interrupt)
		return;
	in_interrupt = true;
	entered_at = executed;
	interrupts.number++;
}

static void leave_interrupt(unsigned int cpu, void *unused)
{
	if (in_interrupt)
		interrupts.instructions += executed - entered_at;
	in_interrupt = false;
}

static bool enters(uint64_t addr)
{
	unsigned int i;

	for (i = 0; i < nr_enter; i++)
		if (addr >= enter[i].first && addr <= enter[i].last)
			return true;
	return false;
}

static void begin(unsigned int cpu, void *unused)
{
	uint32_t i;

	interrupts_before = interrupts;
	for (i = 0; i < NR_SLOTS; i++)
		slots[i].before = slots[i].count;
}

static void end(unsigned int cpu, void *unused)
{
	char name[4096];
	uint32_t i;
	FILE *file;

	snprintf(name, sizeof(name), "%s.%u", prefix, nr_windows++);
	file = fopen(name, "w");
	if (file)
		fprintf(file, "interrupts %" PRIu64 " %" PRIu64 "\n", interrupts.number - interrupts_before.number,
			interrupts.instructions - interrupts_before.instructions);
	for (i = 0; file && i < NR_SLOTS; i++)
		if (slots[i].count != slots[i].before)
			fprintf(file, "%" PRIx64 " %" PRIu64 "\n", slots[i].addr, slots[i].count - slots[i].before);
	if (!file || fclose(file)) {
		perror(name);
		exit(1);
	}
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), i;

	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t addr = qemu_plugin_insn_vaddr(insn);

		qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD, &slot_of(addr)->count, 1);
		qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD, &executed, 1);
		if (enters(addr))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, enter_interrupt, NO_REGISTERS, NULL);
		else if (addr == leave)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, leave_interrupt, NO_REGISTERS, NULL);
		watch_for_marks(insn, begin, end);
	}
}

static bool parse(const char *argument)
{
	struct range *range = &enter[nr_enter];

	if (!strncmp(argument, "out=", 4))
		return (prefix = strdup(argument + 4));
	if (nr_enter < MAX_RANGES && sscanf(argument, "enter=%" SCNx64 "-%" SCNx64, &range->first, &range->last) == 2)
		return ++nr_enter;
	return sscanf(argument, "leave=%" SCNx64, &leave) == 1;
}

API int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
	int i;

	for (i = 0; i < argc; i++)
		if (!parse(argv[i]))
			break;
	if (i < argc || !prefix) {
		fprintf(stderr, "profile: say where to: -plugin file=profile.so,out=PREFIX[,enter=FIRST-LAST]...[,leave=ADDRESS]\n");
		return 1;
	}
	slots = calloc(NR_SLOTS, sizeof(*slots));
	if (!slots)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	return 0;
}
