// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fake_qemu PLUGIN OUT: as much of QEMU as harness/qemu/profile.c sees.
 * Translates and executes a little program; what must have been counted is in
 * test_profile.py.
 */
#include <dlfcn.h>
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct qemu_plugin_insn {
	uint64_t addr;
	const char *data;
	size_t size;
	struct {
		uint64_t *counter, add;
	} inlines[2];
	size_t nr_inlines;
	void (*cb)(unsigned int, void *);
};

struct qemu_plugin_tb {
	size_t n;
	struct qemu_plugin_insn insns[4];
};

static void (*translate)(uint64_t, struct qemu_plugin_tb *);

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*cb)(uint64_t, struct qemu_plugin_tb *))
{
	translate = cb;
}

void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *ptr, uint64_t imm)
{
	insn->inlines[insn->nr_inlines].counter = ptr;
	insn->inlines[insn->nr_inlines++].add = imm;
}

void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*cb)(unsigned int, void *), int flags,
					    void *data)
{
	insn->cb = cb;
}

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb)
{
	return tb->n;
}

struct qemu_plugin_insn *qemu_plugin_tb_get_insn(struct qemu_plugin_tb *tb, size_t index)
{
	return &tb->insns[index];
}

const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn)
{
	return insn->data;
}

size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn)
{
	return insn->size;
}

uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn)
{
	return insn->addr;
}

static void execute(const struct qemu_plugin_tb *tb, int times)
{
	while (times--) {
		for (size_t i = 0; i < tb->n; i++) {
			for (size_t j = 0; j < tb->insns[i].nr_inlines; j++)
				*tb->insns[i].inlines[j].counter += tb->insns[i].inlines[j].add;
			if (tb->insns[i].cb)
				tb->insns[i].cb(0, NULL);
		}
	}
}

static const struct qemu_plugin_tb begin = {
	.n = 1, .insns = { { .addr = 0x1000, .data = "\x0f\x1f\x80\x01\x4d\x42\x7a", .size = 7 } },
};
static const struct qemu_plugin_tb end = {
	.n = 1, .insns = { { .addr = 0x2000, .data = "\x0f\x1f\x80\x02\x4d\x42\x7a", .size = 7 } },
};
/* the last one has the length of a mark and is none */
static const struct qemu_plugin_tb work = {
	.n = 3, .insns = { { .addr = 0x400000, .data = "\x90", .size = 1 },
			   { .addr = 0xffffffff81000001, .data = "\x31\xc0", .size = 2 },
			   { .addr = 0xffffffff81000003, .data = "\x0f\x1f\x80\x00\x00\x00\x00", .size = 7 } },
};

/* the stub of an interrupt, what it does, the way out; a second stub on the way */
static const struct qemu_plugin_tb interrupt = {
	.n = 4, .insns = { { .addr = 0xffffffff81000140, .data = "\x90", .size = 1 },
			   { .addr = 0xffffffff81000900, .data = "\x90", .size = 1 },
			   { .addr = 0xffffffff81001300, .data = "\x90", .size = 1 },
			   { .addr = 0xffffffff81000a00, .data = "\x90", .size = 1 } },
};

int main(int argc, char **argv)
{
	int (*install)(uint64_t, const void *, int, char **);
	struct qemu_plugin_tb a = begin, b = end, c = work, again = work, d = interrupt;
	char out[4096];
	char *arguments[] = { out, "enter=ffffffff81000140-ffffffff8100014f", "enter=ffffffff81001300-ffffffff81001300",
			      "leave=ffffffff81000a00" };
	void *plugin;

	plugin = argc == 3 ? dlopen(argv[1], RTLD_NOW) : NULL;
	install = plugin ? dlsym(plugin, "qemu_plugin_install") : NULL;
	if (!install)
		errx(2, "usage: fake_qemu PLUGIN OUT: %s", dlerror());
	snprintf(out, sizeof(out), "out=%s", argv[2]);
	if (install(1, NULL, 4, arguments))
		return 1;
	translate(1, &a);
	translate(1, &b);
	translate(1, &c);
	translate(1, &d);

	execute(&d, 1);
	execute(&c, 2);
	execute(&a, 1);
	execute(&c, 3);
	translate(1, &again); /* QEMU throws its translations away now and then */
	execute(&again, 4);
	execute(&d, 2);
	execute(&b, 1);

	execute(&c, 5);
	execute(&a, 1);
	execute(&c, 1);
	execute(&b, 1);
	return 0;
}
