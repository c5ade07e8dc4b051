/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dma-bufs of the kernel's test exporter, CONFIG_DMA_BUF_IO_TEST. */
#ifndef EXPORTER_H
#define EXPORTER_H

#include <fcntl.h>
#include <linux/dma-buf-io-test.h>
#include <sys/ioctl.h>

#include "helpers.h"
#include "sys.h"

static int exporter = -1;

static inline enum t_result need_exporter(void)
{
	if (exporter < 0)
		exporter = open("/dev/dma-buf-io-test", O_RDWR | O_CLOEXEC);
	return exporter >= 0 ? T_PASS : t_skip("/dev/dma-buf-io-test: %m (CONFIG_DMA_BUF_IO_TEST)");
}

/* A dma-buf of its own, or -errno. No segment is less than a page, so some are larger than asked for. */
static inline int export_buf(size_t size, size_t segment, unsigned int flags)
{
	const size_t page = sysconf(_SC_PAGESIZE);
	struct dma_buf_io_test_create create = { .size = size, .segment = segment < page ? page : segment, .flags = flags };

	return ioctl(exporter, DMA_BUF_IO_TEST_CREATE, &create) ? -errno : create.fd;
}

/* Returns 0 or -errno; *result may be NULL. */
static inline int control(const struct t_buf *buf, unsigned int op, uint64_t arg, uint64_t *result)
{
	struct dma_buf_io_test_control c = { .fd = buf->fd, .op = op, .arg = arg };

	if (ioctl(exporter, DMA_BUF_IO_TEST_CONTROL, &c))
		return -errno;
	if (result)
		*result = c.result;
	return 0;
}

static inline uint64_t ask(const struct t_buf *buf, unsigned int op)
{
	uint64_t result = 0;

	if (control(buf, op, 0, &result))
		t_die("asking the exporter: %m");
	return result;
}

/*
 * So many mappings are left, if not at once: rings are torn down behind the
 * caller's back, and io-wq lets go of a registration after the completion.
 */
static inline enum t_result await_live(const struct t_buf *buf, unsigned int count)
{
	int ms;

	for (ms = 0; ms < bound(10) * 1000 && ask(buf, DMA_BUF_IO_TEST_LIVE) != count; ms += 10)
		usleep(10000);
	T_IS(ask(buf, DMA_BUF_IO_TEST_LIVE), count, "mappings");
	return T_PASS;
}

static inline uint64_t times(unsigned int n, int err)
{
	return (uint64_t)n << 32 | err;
}

#endif
