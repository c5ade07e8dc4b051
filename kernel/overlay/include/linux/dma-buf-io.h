/* SPDX-License-Identifier: GPL-2.0 */
/*
 * File I/O straight into and out of registered dma-bufs.
 *
 * See drivers/dma-buf/dma-buf-io.c for the model: objects, states, locks.
 */
#ifndef _LINUX_DMA_BUF_IO_H
#define _LINUX_DMA_BUF_IO_H

#include <linux/bio.h>
#include <linux/completion.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/percpu-refcount.h>
#include <linux/rcupdate.h>
#include <linux/uio.h>

struct device;
struct dma_buf;
struct dma_buf_attachment;
struct dma_buf_io_dev;
struct file;
struct sg_table;

/*
 * A bio over a map is described by bio_vecs without pages, each standing for
 * this much of the dma-buf (the last for what is left), so that the generic
 * code that advances, splits, clones or rewinds a bio needs no case of its own,
 * while offsets may have 64 bits.
 */
#define DMA_BUF_IO_BVEC_SHIFT	30

/**
 * struct dma_buf_io_map - one generation of a context's DMA mapping
 * @refs: one per bio from before it is submitted until it has ended, which what
 *	it is split into shares; and an initial one that teardown drops
 * @drained: completed when @refs reaches zero
 * @sgt: the exporter's mapping; addresses are valid while @refs is held
 * @bvecs: page-less segments of %DMA_BUF_IO_BVEC_SHIFT size for bios
 *
 * Embedded at the end of the driver's structure, which &dma_buf_io_dev_ops.map
 * allocates and &dma_buf_io_dev_ops.unmap frees. The driver leaves all fields
 * to the common layer.
 */
struct dma_buf_io_map {
	struct percpu_ref	refs;
	struct completion	drained;
	struct sg_table		*sgt;
	struct bio_vec		bvecs[];
};

/**
 * struct dma_buf_io_dev_ops - what a driver does for a map
 * @map: build what requests need from @sgt, whose DMA segments are known to add
 *	up to @size bytes. Returns a structure of the driver's own with room for
 *	dma_buf_io_nr_bvecs(@size) elements in its &dma_buf_io_map.bvecs, or an
 *	ERR_PTR. Must not warn about what @sgt holds: user space chose it.
 *	Context: may sleep and allocate; the reservation lock is held.
 * @unmap: undo and free what @map made. No request uses it any more.
 *	Context: may sleep; the reservation lock is held, and reclaim may be
 *	waiting for it.
 * @poll: complete polled requests that the device is done with, whose submitter
 *	may never come to look. Optional.
 *	Context: as for @unmap.
 */
struct dma_buf_io_dev_ops {
	struct dma_buf_io_map *(*map)(struct dma_buf_io_dev *dev,
				      struct sg_table *sgt, size_t size);
	void (*unmap)(struct dma_buf_io_dev *dev, struct dma_buf_io_map *map);
	void (*poll)(struct dma_buf_io_dev *dev);
};

/**
 * struct dma_buf_io_dev - a device that contexts can be attached to
 * @dev: does the DMA
 * @ops: the driver's
 * @lock: protects the fields below, and attaching against revoking
 * @ctxs: all contexts of the device, &dma_buf_io_ctx.node
 * @gone: dma_buf_io_revoke_dev() was called
 */
struct dma_buf_io_dev {
	struct device				*dev;
	const struct dma_buf_io_dev_ops		*ops;
	struct mutex				lock; /* ctxs, gone */
	struct list_head			ctxs;
	bool					gone;
};

/**
 * struct dma_buf_io_ctx - the registration of one dma-buf for one file
 * @map: the live map, or NULL. Written under the reservation lock, read under
 *	RCU.
 * @dying: no longer @map and killed, but not yet drained. Under the reservation
 *	lock.
 * @file: I/O must come through this very struct file; holds a reference
 * @dmabuf: the buffer; holds a reference
 * @attach: NULL once revoked with the device. Protected by &dma_buf_io_dev.lock
 *	while @node is in the list.
 * @dev: pinned by @file
 * @node: in &dma_buf_io_dev.ctxs
 * @revoked: no map will ever be made again. Written under the reservation lock.
 */
struct dma_buf_io_ctx {
	struct dma_buf_io_map __rcu	*map;
	struct dma_buf_io_map		*dying;
	struct file			*file;
	struct dma_buf			*dmabuf;
	struct dma_buf_attachment	*attach;
	struct dma_buf_io_dev		*dev;
	struct list_head		node;
	bool				revoked;
};

static inline size_t dma_buf_io_nr_bvecs(size_t size)
{
	return ((size - 1) >> DMA_BUF_IO_BVEC_SHIFT) + 1;
}

/* For those who submit I/O, io_uring for one. */
struct dma_buf_io_ctx *dma_buf_io_register(struct file *file,
					   struct dma_buf *dmabuf);
void dma_buf_io_unregister(struct dma_buf_io_ctx *ctx);
struct dma_buf_io_map *dma_buf_io_make_map(struct dma_buf_io_ctx *ctx);

/* For drivers. */
void dma_buf_io_init_dev(struct dma_buf_io_dev *dev, struct device *dma_dev,
			 const struct dma_buf_io_dev_ops *ops);
struct dma_buf_io_ctx *dma_buf_io_attach(struct dma_buf_io_dev *dev,
					 struct dma_buf *dmabuf);
void dma_buf_io_revoke_dev(struct dma_buf_io_dev *dev);

/* For errors that are to the point: the next moment it may be. Any context. */
static inline bool dma_buf_io_is_revoked(const struct dma_buf_io_ctx *ctx)
{
	return READ_ONCE(ctx->revoked);
}

/**
 * dma_buf_io_get_map - take a reference on the live map of a context
 * @ctx: the context
 *
 * Context: any that may enter an RCU reader; never sleeps.
 * Return: the map, to be undone by dma_buf_io_put_map(); NULL if there is none
 * at the moment, then dma_buf_io_make_map() from where sleeping is allowed.
 */
static inline struct dma_buf_io_map *
dma_buf_io_get_map(struct dma_buf_io_ctx *ctx)
{
	struct dma_buf_io_map *map;

	rcu_read_lock();
	map = rcu_dereference(ctx->map);
	if (map && !percpu_ref_tryget_live_rcu(&map->refs))
		map = NULL;
	rcu_read_unlock();
	return map;
}

/**
 * dma_buf_io_put_map - drop a reference on a map
 * @map: the map; must not be used any more
 *
 * Context: any, interrupts included. The device must be done with the memory.
 */
static inline void dma_buf_io_put_map(struct dma_buf_io_map *map)
{
	percpu_ref_put(&map->refs);
}

/*
 * A reference that the running task holds is to lockdep a lock that draining
 * takes. Whoever holds one and goes for what may wait for draining, such as a
 * reservation lock or direct reclaim by kmalloc(), is reported the first time,
 * waiting or not. Allocating from a bio_set is not, as it tries without reclaim
 * first; nor is reclaim that may not enter file systems.
 * Brackets what is done with the reference in process context; no code without
 * lockdep.
 */
#ifdef CONFIG_LOCKDEP
extern struct lockdep_map dma_buf_io_drain_map;

static inline void dma_buf_io_begin_hold(void)
{
	/* as a trylock, because getting a reference waits for nobody */
	lock_map_acquire_tryread(&dma_buf_io_drain_map);
}

static inline void dma_buf_io_end_hold(void)
{
	lock_map_release(&dma_buf_io_drain_map);
}
#else
static inline void dma_buf_io_begin_hold(void)
{
}

static inline void dma_buf_io_end_hold(void)
{
}
#endif

/*
 * Let @bio transfer what @iter describes, by way of @map, on which the caller
 * holds a reference until @bio ends; the rest of @bio is the caller's.
 */
static inline void bio_set_dmabuf(struct bio *bio, struct dma_buf_io_map *map,
				  const struct iov_iter *iter)
{
	bio->bi_io_vec = map->bvecs;
	bio->bi_iter.bi_idx = iter->iov_offset >> DMA_BUF_IO_BVEC_SHIFT;
	bio->bi_iter.bi_offset = iter->iov_offset &
				 ((1UL << DMA_BUF_IO_BVEC_SHIFT) - 1);
	bio->bi_iter.bi_size = iov_iter_count(iter);
	bio_set_flag(bio, BIO_CLONED);
}

/* The map behind a REQ_DMABUF bio; valid until the bio ends. */
static inline struct dma_buf_io_map *bio_dmabuf_map(const struct bio *bio)
{
	return container_of(bio->bi_io_vec, struct dma_buf_io_map, bvecs[0]);
}

/* Where in the dma-buf a REQ_DMABUF bio starts, in bytes. */
static inline u64 bio_dmabuf_offset(const struct bio *bio)
{
	return ((u64)bio->bi_iter.bi_idx << DMA_BUF_IO_BVEC_SHIFT) +
		bio->bi_iter.bi_offset;
}

#endif
