/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What our plugins use of QEMU's plugin API, version 1 (QEMU 5.0 to 9.0), for which
 * Debian 12 has no header package; and the marks of the guest's program.
 */
#ifndef PLUGIN_H
#define PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define API		__attribute__((visibility("default")))
#define INLINE_ADD	0
#define NO_REGISTERS	0
#define READS_AND_WRITES 3

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;
struct qemu_info_t;
typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*cb)(unsigned int, void *), int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *ptr, uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*cb)(unsigned int, void *), int flags,
					    void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn,
				      void (*cb)(unsigned int, qemu_plugin_meminfo_t, uint64_t, void *), int flags,
				      int what, void *data);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t info, uint64_t vaddr);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *addr);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *addr);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

/*
 * No-ops that harness/guest/iocost.c executes: nopl with a displacement that nobody
 * has a reason to write. The callbacks are those for the first and the second one.
 */
static inline void watch_for_marks(struct qemu_plugin_insn *insn, void (*begin)(unsigned int, void *),
				   void (*end)(unsigned int, void *))
{
	static const unsigned char begin_mark[] = { 0x0f, 0x1f, 0x80, 0x01, 0x4d, 0x42, 0x7a };
	static const unsigned char end_mark[] = { 0x0f, 0x1f, 0x80, 0x02, 0x4d, 0x42, 0x7a };
	const void *data = qemu_plugin_insn_data(insn);

	if (qemu_plugin_insn_size(insn) != sizeof(begin_mark))
		return;
	if (!memcmp(data, begin_mark, sizeof(begin_mark)))
		qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, NO_REGISTERS, NULL);
	else if (!memcmp(data, end_mark, sizeof(end_mark)))
		qemu_plugin_register_vcpu_insn_exec_cb(insn, end, NO_REGISTERS, NULL);
}

#endif
