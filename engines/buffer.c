// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/dma-buf.h>

#include "buffer.h"

static size_t round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static size_t lcm(size_t a, size_t b)
{
	size_t x = a, y = b;

	while (y) {
		size_t rest = x % y;

		x = y;
		y = rest;
	}
	return a / x * b;
}

/* Addresses for the whole row, aligned for its pages. */
static int reserve(struct buffers *bs, size_t size, struct error *e)
{
	bs->reserved_size = size + bs->page;
	bs->reserved = mmap(NULL, bs->reserved_size, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bs->reserved == MAP_FAILED) {
		bs->reserved = NULL;
		return error_set(e, errno, "no address space for %zu bytes of buffers", size);
	}
	bs->addr = (void *)round_up((uintptr_t)bs->reserved, bs->page);
	return 0;
}

void buffers_put(struct buffers *bs)
{
	for (unsigned int i = 0; i < bs->nr; i++)
		bs->source->free(&bs->v[i]);
	free(bs->v);
	if (bs->reserved)
		munmap(bs->reserved, bs->reserved_size);
	memset(bs, 0, sizeof(*bs));
}

int buffers_get(struct buffers *bs, const struct source_ops *source, size_t page,
		size_t unit, size_t size, size_t part, struct error *e)
{
	size_t max = source->max_size(), step;
	int ret;

	memset(bs, 0, sizeof(*bs));
	bs->source = source;
	bs->page = page;
	size = round_up(size, page);
	if (!part || part > max)
		part = max;
	bs->part = size;
	if (size > part) {
		step = lcm(unit, page);
		bs->part = (part < step ? step : part) / step * step;
		if (bs->part > max)
			return error_set(e, EINVAL, "blocks of %zu bytes and pages of %zu only fit together every %zu bytes, more than one %s may have (%zu): choose a block size that divides into pages",
					 unit, page, step, source->name, max);
	}

	ret = reserve(bs, size, e);
	if (ret)
		goto err_put;
	bs->v = calloc((size + bs->part - 1) / bs->part, sizeof(*bs->v));
	if (!bs->v) {
		ret = error_set(e, ENOMEM, "no memory for the table of buffers");
		goto err_put;
	}
	for (size_t at = 0; at < size; at += bs->part) {
		struct buffer *b = &bs->v[bs->nr++];

		b->addr = (char *)bs->addr + at;
		b->size = size - at < bs->part ? size - at : bs->part;
		b->memory = -1;
		b->dmabuf = -1;
		ret = source->alloc(b, page, e);
		if (ret)
			goto err_put;
	}
	return 0;

err_put:
	buffers_put(bs);
	return ret;
}

int buffers_export(struct buffers *bs, struct error *e)
{
	int ret = 0;

	for (unsigned int i = 0; i < bs->nr && !ret; i++)
		ret = bs->source->export(&bs->v[i], e);
	return ret;
}

static int cpu_sync(const struct buffer *b, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	while (ioctl(b->dmabuf, DMA_BUF_IOCTL_SYNC, &sync) < 0)
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	return 0;
}

int buffer_cpu_begin(const struct buffer *b)
{
	return cpu_sync(b, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
}

int buffer_cpu_end(const struct buffer *b)
{
	return cpu_sync(b, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
}
