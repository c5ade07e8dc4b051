/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of one job: a row of buffers, each one dma-buf and its CPU
 * mapping, side by side in one stretch of addresses.
 */
#ifndef ENGINE_BUFFER_H
#define ENGINE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"

#define SMALL_PAGE	4096

struct source_ops;

struct buffer {
	const struct source_ops *source;
	void *addr;		/* where the CPU sees it */
	size_t size;
	int memory;		/* the source's own descriptor, -1: none */
	int dmabuf;		/* -1 until exported */
	off_t offset;		/* in the dma-buf, of the first byte */
	int claim;		/* a lock on these bytes of a dma-buf that others may have, -1: none */
	bool shadow;		/* the CPU cannot map it: @addr is host memory in its place */
	off_t region;		/* of a shadow: where in @memory the bytes can be read and written */
	void *device;		/* what the source's ->open gave, or NULL */
	uint64_t block;		/* the device's memory behind it; @region is an address there */
	char exporter[32];	/* who made the dma-buf, empty: ask the kernel */
	char pci[32];		/* the PCI function that gave it, as far as the source knows; or empty */
};

/* What a user says about the memory; each source reads what concerns it. */
struct source_args {
	bool exported;		/* to become dma-bufs, for which a source has limits */
	size_t page;
	bool thp;		/* small pages that the kernel may join to one of @page */
	bool scattered;		/* no two of them neighbours in physical memory */
	const char *heap;
	const char *drm_node;
	const char *vfio_device;
	unsigned int vfio_region;
	const char *socket;	/* that gives a dma-buf away, NULL: @fd is one */
	int fd;
	const char *gpu_ids;	/* such as 0:1, shared out to jobs */
	unsigned int job;	/* which one, of those with the same options */
	off_t offset;		/* in that dma-buf */
	unsigned int clone;	/* of several jobs in one dma-buf, side by side from @offset */
	const volatile bool *stop;	/* do not wait any longer */
};

/* Where memory comes from. Each source is a file of its own. */
struct source_ops {
	const char *name;
	bool pinnable;		/* ordinary pages, which I/O on addresses can take too */
	bool single;		/* one dma-buf for a job, its size given */
	bool host;		/* memory of this machine, which has to be there */
	/* the most bytes that one dma-buf of this source may have */
	size_t (*max_size)(void);
	/* what all buffers of a job need first and last, as their ->device; NULL: nothing */
	int (*open)(void **device, const struct source_args *args, struct error *e);
	void (*close)(void *device);
	/* map b->size bytes at b->addr, or host memory in their place */
	int (*alloc)(struct buffer *b, const struct source_args *args, struct error *e);
	/* set b->dmabuf to a dma-buf of that memory; NULL: ->alloc did */
	int (*export)(struct buffer *b, struct error *e);
	/* give back what ->alloc took besides descriptors, whether it did or not; NULL: nothing */
	void (*free)(struct buffer *b);
	/* with ->open: @n bytes between @host and @at in the device, 0 or -errno; and why it failed */
	int (*copy)(const struct buffer *b, void *host, off_t at, size_t n, bool to_device);
	bool (*why)(const struct buffer *b, struct error *e);
};

extern const struct source_ops source_udmabuf;
extern const struct source_ops source_heap;
extern const struct source_ops source_drm;
extern const struct source_ops source_vfio;
extern const struct source_ops source_fd;
extern const struct source_ops source_cuda;
extern const struct source_ops source_hip;

struct buffers {
	const struct source_ops *source;
	void *device;
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
int buffers_get(struct buffers *bs, const struct source_ops *source,
		const struct source_args *args, size_t unit,
		size_t size, size_t part, struct error *e);
void buffers_put(struct buffers *bs);

/* Make a dma-buf of each. */
int buffers_export(struct buffers *bs, struct error *e);

static inline struct buffer *buffers_find(struct buffers *bs, const void *addr)
{
	return &bs->v[((const char *)addr - (char *)bs->addr) / bs->part];
}

/* Map @fd at b->addr; where that cannot be mapped, and always, a shadow. */
int buffer_map(struct buffer *b, int fd, off_t offset, struct error *e);
int buffer_shadow(struct buffer *b, struct error *e);

/* Whether the CPU gets at the bytes in any way. */
static inline bool buffer_accessible(const struct buffer *b)
{
	return !b->shadow || b->memory >= 0 || b->device;
}

/* What a device said when a copy failed; false: nothing. */
static inline bool buffer_why(const struct buffer *b, struct error *e)
{
	return b->device && b->source->why(b, e);
}

/* Name who made the dma-buf, in b->exporter. false: @fd is no dma-buf. */
bool buffer_ask_exporter(struct buffer *b, int fd);
/* "system", "peer-to-peer" (in a device), or "unknown" */
const char *buffer_place(const struct buffer *b);
/* Whether brackets around CPU access have nothing to do, here and with this exporter. */
bool buffer_needs_no_brackets(const struct buffer *b);

/* Whether devices reach memory through bounce buffers: by choice, or in a guest whose memory is encrypted. */
bool buffer_transfers_bounce(void);

/*
 * The CPU starts to read, or has finished to write, @n bytes at @at of an
 * exported buffer; those of a shadow are copied. 0 or -errno.
 */
int buffer_cpu_begin(const struct buffer *b, void *at, size_t n);
int buffer_cpu_end(const struct buffer *b, const void *at, size_t n);

#endif
