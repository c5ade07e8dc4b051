// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for QEMU under harness/qemu/sharing.c: fake_memory PLUGIN PREFIX
 * Each line of the program below is an instruction that a processor executes.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define API	__attribute__((visibility("default")))
#define STORE	0x10000	/* of what we hand over as qemu_plugin_meminfo_t */
#define IO	0x20000

typedef void exec_fn(unsigned int cpu, void *data);
typedef void mem_fn(unsigned int cpu, uint32_t info, uint64_t vaddr, void *data);

/* An address that it touches, 0: none; or a mark. */
static struct insn {
	unsigned int cpu;
	uint64_t pc, addr;
	uint32_t how;
	int mark;
	exec_fn *exec, *block;
	mem_fn *mem;
	void *exec_data, *block_data, *mem_data;
} program[] = {
	{ 0, 0x10, 0x5000, STORE },		/* before the marks */
	{ 1, 0x14, 0x5000 },
	{ 0, 0x20, .mark = 1 },
	{ 0, 0x30, 0x1000, STORE },		/* shared: written here, read there, at the line's other end */
	{ 1, 0x34, 0x103f },
	{ 1, 0x34, 0x103f },
	{ 0, 0x40, 0x2000, STORE },		/* one processor's own */
	{ 0, 0x44, 0x2000 },
	{ 0, 0x50, 0x3000 },			/* read by both, which costs nothing */
	{ 1, 0x50, 0x3000 },
	{ 0, 0x60, 0x4000, STORE | IO },	/* a device's register */
	{ 1, 0x60, 0x4000, STORE | IO },
	{ 2, 0x70, 0x1040, STORE },		/* the line after */
	{ 0, 0x80, .mark = 2 },
	{ 0, 0x20, .mark = 1 },
	{ 0, 0x30, 0x1000, STORE },		/* alone in this window */
	{ 0, 0x80, .mark = 2 },
};
static void (*translate)(uint64_t id, void *tb);
static struct { uint64_t addr; bool io; } where;

API void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*cb)(uint64_t, void *))
{
	(void)id;
	translate = cb;
}

API void qemu_plugin_register_vcpu_tb_exec_cb(struct insn *tb, exec_fn *cb, int flags, void *data)
{
	(void)flags;
	tb->block = cb;
	tb->block_data = data;
}

API void qemu_plugin_register_vcpu_insn_exec_cb(struct insn *insn, exec_fn *cb, int flags, void *data)
{
	(void)flags;
	insn->exec = cb;
	insn->exec_data = data;
}

API void qemu_plugin_register_vcpu_mem_cb(struct insn *insn, mem_fn *cb, int flags, int what, void *data)
{
	(void)flags;
	(void)what;
	insn->mem = cb;
	insn->mem_data = data;
}

API bool qemu_plugin_mem_is_store(uint32_t info)
{
	return info & STORE;
}

API void *qemu_plugin_get_hwaddr(uint32_t info, uint64_t vaddr)
{
	where.addr = vaddr;
	where.io = info & IO;
	return &where;
}

API bool qemu_plugin_hwaddr_is_io(void *addr)
{
	(void)addr;
	return where.io;
}

API uint64_t qemu_plugin_hwaddr_phys_addr(void *addr)
{
	(void)addr;
	return where.addr;
}

API size_t qemu_plugin_tb_n_insns(struct insn *tb)
{
	(void)tb;
	return 1;
}

API struct insn *qemu_plugin_tb_get_insn(struct insn *tb, size_t index)
{
	return tb + index;
}

API size_t qemu_plugin_insn_size(struct insn *insn)
{
	return insn->mark ? 7 : 4;
}

API const void *qemu_plugin_insn_data(struct insn *insn)
{
	static unsigned char bytes[7];

	memcpy(bytes, (unsigned char[7]){ 0x0f, 0x1f, 0x80, insn->mark, 0x4d, 0x42, 0x7a }, 7);
	return bytes;
}

API uint64_t qemu_plugin_insn_vaddr(struct insn *insn)
{
	return insn->pc;
}

int main(int argc, char **argv)
{
	int (*install)(uint64_t id, const void *info, int argc, char **argv);
	void *plugin = argc == 3 ? dlopen(argv[1], RTLD_NOW) : NULL;
	char out[4096], *args[] = { out };
	unsigned int i;

	if (!plugin) {
		fprintf(stderr, "fake_memory: %s\n", argc == 3 ? dlerror() : "PLUGIN PREFIX");
		return 1;
	}
	snprintf(out, sizeof(out), "out=%s", argv[2]);
	install = (int (*)(uint64_t, const void *, int, char **))dlsym(plugin, "qemu_plugin_install");
	if (install(1, NULL, 1, args))
		return 1;
	for (i = 0; i < sizeof(program) / sizeof(program[0]); i++) {
		struct insn *insn = &program[i];

		translate(1, insn);
		insn->block(insn->cpu, insn->block_data);
		if (insn->exec)
			insn->exec(insn->cpu, insn->exec_data);
		if (insn->addr)
			insn->mem(insn->cpu, insn->how, insn->addr, insn->mem_data);
	}
	return 0;
}
