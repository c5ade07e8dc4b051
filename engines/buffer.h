/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of one job: a row of buffers, each one dma-buf and its CPU
 * mapping, side by side in one stretch of addresses.
 */
#ifndef ENGINE_BUFFER_H
#define ENGINE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

struct buffer {
	void *addr;		/* where the CPU sees it */
	size_t size;
	int memory;		/* the source's own descriptor, -1: none */
	int dmabuf;		/* -1 until exported */
};

/* Where memory comes from. Each source is a file of its own. */
struct source_ops {
	const char *name;
	/* the most bytes that one dma-buf of this source may have */
	size_t (*max_size)(void);
	/* map b->size bytes, in pages of @page bytes, at b->addr */
	int (*alloc)(struct buffer *b, size_t page, struct error *e);
	/* set b->dmabuf to a dma-buf of exactly that memory */
	int (*export)(struct buffer *b, struct error *e);
	/* undo both; takes a buffer that has neither */
	void (*free)(struct buffer *b);
};

extern const struct source_ops source_udmabuf;

struct buffers {
	const struct source_ops *source;
	void *addr;		/* of the first buffer */
	size_t part;		/* bytes in each but the last */
	size_t page;
	unsigned int nr;
	struct buffer *v;
	void *reserved;		/* the addresses, as mapped */
	size_t reserved_size;
};

/*
 * Get at least @size bytes in buffers whose size is a multiple of @unit, so that
 * no unit lies in two of them. @part bounds the size of one, 0: the source does.
 * Undo with buffers_put(), which takes a zeroed or half-made *bs as well.
 */
int buffers_get(struct buffers *bs, const struct source_ops *source, size_t page,
		size_t unit, size_t size, size_t part, struct error *e);
void buffers_put(struct buffers *bs);

/* Make a dma-buf of each. */
int buffers_export(struct buffers *bs, struct error *e);

static inline struct buffer *buffers_find(struct buffers *bs, const void *addr)
{
	return &bs->v[((const char *)addr - (char *)bs->addr) / bs->part];
}

/* The CPU starts, or has finished, to touch an exported buffer. 0 or -errno. */
int buffer_cpu_begin(const struct buffer *b);
int buffer_cpu_end(const struct buffer *b);

#endif
