/* SPDX-License-Identifier: GPL-2.0 */
/*
 * File I/O straight into and out of registered dma-bufs.
 *
 * See drivers/dma-buf/dma-buf-io.c for the model: objects, states, locks.
 */
#ifndef _LINUX_DMA_BUF_IO_H
#define _LINUX_DMA_BUF_IO_H

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/completion.h>
#include <linux/list.h>
#include <linux/percpu-refcount.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct device;
struct dma_buf;
struct dma_buf_attachment;
struct dma_buf_io_dev;
struct file;
struct seq_file;
struct sg_table;

/*
 * A bio over a registered dma-buf is described by bio_vecs without pages, each
 * standing for this much of the dma-buf, so that the generic code that advances,
 * splits, clones or rewinds a bio needs no case of its own, while offsets may
 * have 64 bits. The last one may reach beyond the end of the dma-buf, as the
 * size of a bio bounds it.
 */
#define DMA_BUF_IO_BVEC_SHIFT	30

/**
 * struct dma_buf_io_map - one generation of a context's DMA mapping
 * @refs: one per command that the device has, and an initial one that teardown
 *	drops
 * @drained: completed when @refs reaches zero
 * @sgt: the exporter's mapping; addresses are valid while @refs is held
 *
 * Embedded in the driver's structure, which &dma_buf_io_dev_ops.map allocates
 * and &dma_buf_io_dev_ops.unmap frees. The driver leaves all fields to the
 * common layer.
 */
struct dma_buf_io_map {
	struct percpu_ref	refs;
	struct completion	drained;
	struct sg_table		*sgt;
};

/**
 * enum dma_buf_io_memory - whose memory a mapping leads to
 * @DMA_BUF_IO_SYSTEM: the machine's
 * @DMA_BUF_IO_PEER: another PCI device's
 * @DMA_BUF_IO_OTHER: neither, such as memory that firmware has set aside
 * @DMA_BUF_IO_MIXED: of several kinds
 */
enum dma_buf_io_memory {
	DMA_BUF_IO_SYSTEM,
	DMA_BUF_IO_PEER,
	DMA_BUF_IO_OTHER,
	DMA_BUF_IO_MIXED,
};

/**
 * enum dma_buf_io_way - what the addresses of a mapping are
 * @DMA_BUF_IO_PHYSICAL: as the device's bridge to memory has them
 * @DMA_BUF_IO_IOVA: translated by the device's IOMMU
 * @DMA_BUF_IO_BUS: of PCI, and what they lead to answers without the host bridge
 * @DMA_BUF_IO_WAYS: of several kinds
 */
enum dma_buf_io_way {
	DMA_BUF_IO_PHYSICAL,
	DMA_BUF_IO_IOVA,
	DMA_BUF_IO_BUS,
	DMA_BUF_IO_WAYS,
};

/**
 * struct dma_buf_io_info - what there is to tell about a map
 * @memory: whose memory it leads to
 * @way: and how
 * @peer: name of that PCI device, the first if there are several; or empty
 * @nr_segments: DMA segments of the exporter's mapping
 * @largest: bytes of the longest run of addresses without a gap
 * @chunk: bytes; each piece of this size, counted from the start, is such a run.
 *	The size of the dma-buf, if all of it is. The driver's, as what follows.
 * @driver_bytes: memory of the driver's for the map
 * @lists: the driver keeps lists of addresses for the device to read
 */
struct dma_buf_io_info {
	enum dma_buf_io_memory	memory;
	enum dma_buf_io_way	way;
	char			peer[20];
	unsigned int		nr_segments;
	u64			largest;
	u64			chunk;
	size_t			driver_bytes;
	bool			lists;
};

/**
 * struct dma_buf_io_dev_ops - what a driver does for a map
 * @map: build what commands need from @sgt, whose DMA segments are known to add
 *	up to @size bytes and to be translated for the device. Returns a map
 *	inside a structure of the driver's own, or an ERR_PTR. Must not warn
 *	about what @sgt holds: user space chose it.
 *	May sleep and allocate; the reservation lock is held.
 * @unmap: undo and free what @map made. No command uses it any more.
 *	May sleep, but must neither allocate memory nor submit I/O: the
 *	reservation lock is held, and reclaim may be waiting for it.
 * @poll: complete polled commands that the device is done with, whose submitter
 *	may never come to look. Optional.
 *	Called as @unmap is, and as often as the wait takes.
 * @describe: enter what is the driver's to know about what @map made. Optional.
 *	Called as @map is.
 * @owner_gone: is what a registration would be for about to be named to
 *	dma_buf_io_revoke(), or has it been? Must not sleep.
 */
struct dma_buf_io_dev_ops {
	struct dma_buf_io_map *(*map)(struct dma_buf_io_dev *dev,
				      struct sg_table *sgt, size_t size);
	void (*unmap)(struct dma_buf_io_dev *dev, struct dma_buf_io_map *map);
	void (*poll)(struct dma_buf_io_dev *dev);
	void (*describe)(const struct dma_buf_io_map *map, size_t size,
			 struct dma_buf_io_info *info);
	bool (*owner_gone)(const void *owner);
};

/**
 * struct dma_buf_io_dev - a device that does DMA for files
 * @dev: its struct device
 * @ops: the driver's
 * @patience: after how many jiffies of waiting for commands to complete it is
 *	reported, once for each wait; about as long as the driver takes to give
 *	up on a device that does not answer
 * @ctxs: all contexts of the device, &dma_buf_io_ctx.node
 * @refused: legs that could not be made, &dma_buf_io_leg.node
 * @idle: woken when @ctxs becomes empty
 * @gone: dma_buf_io_revoke_dev() was called
 */
struct dma_buf_io_dev {
	struct device				*dev;
	const struct dma_buf_io_dev_ops		*ops;
	unsigned long				patience;
	struct list_head			ctxs;
	struct list_head			refused;
	wait_queue_head_t			idle;
	bool					gone;
};

/**
 * struct dma_buf_io_ctx - what a dma-buf and a device have in common
 * @map: the live map, or NULL. Written under the reservation lock, read under
 *	RCU.
 * @dying: no longer @map and killed, but not yet drained. Under the reservation
 *	lock.
 * @dev: the device, which waits for the context to go before it does
 * @dmabuf: the buffer; holds a reference
 * @attach: of @dmabuf to @dev; NULL before it is made. Set by its maker or by who
 *	finds it first, both to the same.
 * @refs: one per leg, and others while they look
 * @info: about the map, or the last there was. Written under the reservation lock
 *	and dma_buf_io_lock, so either is enough to read it.
 * @nr_maps: that were ever made; the number of the last one. As @info.
 * @nr_invalidations: how often the exporter has taken the map away. Written under
 *	the reservation lock.
 * @legs: registrations that use it, &dma_buf_io_leg.node
 * @node: in &dma_buf_io_dev.ctxs
 * @teardown: gives up a context without references
 * @rcu: defers freeing
 */
struct dma_buf_io_ctx {
	struct dma_buf_io_map __rcu	*map;
	struct dma_buf_io_map		*dying;
	struct dma_buf_io_dev		*dev;
	struct dma_buf			*dmabuf;
	struct dma_buf_attachment	*attach;
	refcount_t			refs;
	struct dma_buf_io_info		info;
	u64				nr_maps;
	u64				nr_invalidations;
	struct list_head		legs;
	struct list_head		node;
	struct work_struct		teardown;
	struct rcu_head			rcu;
};

/**
 * struct dma_buf_io_leg - a part of a device behind a registration
 * @ctx: of the device and the dma-buf; holds a reference. NULL once the device,
 *	or its part, is gone. Read under RCU, after @owner.
 * @next: the next one of the registration. Once set it stays.
 * @owner: the part: what the device offers that the file is for, a namespace for
 *	one. By it a command finds the leg. The part may go while the device
 *	stays, and commands for others of its parts go on.
 * @group: devices of a group are ways to the same data, of which one must be
 *	mapped; NULL for a device that must be
 * @refused: a device that could not be attached, instead of @ctx
 * @avoid: the device could not be attached or mapped
 * @for_good: nor is there any point in trying again
 * @retry: in jiffies, when to choose it again, in spite of @avoid
 * @node: in &dma_buf_io_ctx.legs while @ctx is set, &dma_buf_io_dev.refused while
 *	@refused is
 */
struct dma_buf_io_leg {
	struct dma_buf_io_ctx __rcu	*ctx;
	struct dma_buf_io_leg		*next;
	const void			*owner;
	const void			*group;
	struct dma_buf_io_dev		*refused;
	bool				avoid;
	bool				for_good;
	unsigned long			retry;
	struct list_head		node;
};

/**
 * struct dma_buf_io - a registration: a dma-buf that I/O through a file may use
 * @leg: the first device behind the file; of most the only one
 * @several: set, before it attaches any, by who may have several devices, or
 *	others later: paths, stripes. The driver is then asked again, by
 *	@attach, when a request finds no map.
 * @attach: set by files whose devices may set @several: attach those that are not,
 *	and have not refused for good. Returns 0 or an error for the request.
 * @file: I/O must come through this very struct file; holds a reference
 * @private: for the file to use
 * @len_mask: bits that no length may have; for those who check several ranges
 *	before they use any. The file itself checks each request.
 * @offset_mask: the same of offsets into the dma-buf
 * @dmabuf: the buffer; holds a reference
 * @nr_lost: how often a request was put aside for want of a map
 * @bvecs: page-less segments of %DMA_BUF_IO_BVEC_SHIFT size for bios; they never
 *	change
 *
 * Nothing of it changes while it lives, but that legs may come off, or on, and what
 * is counted.
 */
struct dma_buf_io {
	struct dma_buf_io_leg		leg;
	bool				several;
	int				(*attach)(struct dma_buf_io *io);
	struct file			*file;
	void				*private;
	unsigned int			len_mask;
	unsigned int			offset_mask;
	struct dma_buf			*dmabuf;
	atomic_long_t			nr_lost;
	struct bio_vec			bvecs[];
};

/* For those who submit I/O, io_uring for one. */
struct dma_buf_io *dma_buf_io_register(struct file *file,
				       struct dma_buf *dmabuf);
void dma_buf_io_unregister(struct dma_buf_io *io);
int dma_buf_io_make_maps(struct dma_buf_io *io);
struct dma_buf *dma_buf_io_hold_maps(struct dma_buf_io *io);
void dma_buf_io_release_maps(struct dma_buf *dmabuf);
void dma_buf_io_show(struct dma_buf_io *io, struct seq_file *m);

/* To choose an error by: it may have gone the next moment. Any context. */
static inline bool dma_buf_io_is_gone(const struct dma_buf_io *io)
{
	return !rcu_access_pointer(io->leg.ctx) && !io->several;
}

/* For drivers. */
void dma_buf_io_init_dev(struct dma_buf_io_dev *dev, struct device *dma_dev,
			 const struct dma_buf_io_dev_ops *ops,
			 unsigned long patience);
int dma_buf_io_attach(struct dma_buf_io *io, struct dma_buf_io_dev *dev,
		      const void *owner, const void *group);
void dma_buf_io_revoke(struct dma_buf_io_dev *dev, const void *owner);
void dma_buf_io_revoke_dev(struct dma_buf_io_dev *dev);

/**
 * enum dma_buf_io_state - can a part of a device be used for a registration? In
 *	order: what comes before %DMA_BUF_IO_AVOID may be chosen.
 * @DMA_BUF_IO_UNKNOWN: to be tried
 * @DMA_BUF_IO_ATTACHED: yes
 * @DMA_BUF_IO_AVOID: not at the moment, if there is another
 * @DMA_BUF_IO_REFUSED: no
 */
enum dma_buf_io_state {
	DMA_BUF_IO_UNKNOWN,
	DMA_BUF_IO_ATTACHED,
	DMA_BUF_IO_AVOID,
	DMA_BUF_IO_REFUSED,
};

enum dma_buf_io_state dma_buf_io_owner_state(struct dma_buf_io *io,
					     const void *owner);

static inline struct dma_buf_io_leg *
dma_buf_io_next_leg(const struct dma_buf_io_leg *leg)
{
	/* pairs with the release that adds one */
	return smp_load_acquire(&leg->next);
}

/**
 * dma_buf_io_get_map - take a reference on the live map for a device
 * @io: the registration
 * @owner: the part of the device that the command is for, as given to
 *	dma_buf_io_attach()
 *
 * For as long as the device has the command, and no longer: to be taken when the
 * command is made, as the last thing that can fail or wait, and to be dropped as
 * soon as the device is done with the memory.
 *
 * Context: an RCU reader, so that no holder can sleep before the device has the
 * command; the queue_rq methods of drivers are in one.
 * Return: the map, to be undone by dma_buf_io_put_map(); NULL if there is none at
 * the moment. End the request with %BLK_STS_NOMAP then.
 */
static inline struct dma_buf_io_map *
dma_buf_io_get_map(struct dma_buf_io *io, const void *owner)
{
	const struct dma_buf_io_leg *leg = &io->leg;
	const struct dma_buf_io_ctx *ctx;
	struct dma_buf_io_map *map;

	/* pairs with dma_buf_io_set_leg(): no context of an owner before */
	while (unlikely(smp_load_acquire(&leg->owner) != owner)) {
		leg = dma_buf_io_next_leg(leg);
		if (!leg)
			return NULL;
	}
	ctx = rcu_dereference(leg->ctx);
	if (unlikely(!ctx))
		return NULL;
	map = rcu_dereference(ctx->map);
	if (unlikely(!map || !percpu_ref_tryget_live_rcu(&map->refs)))
		return NULL;
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
 * Let @bio transfer @len bytes at @offset of the dma-buf; the rest of @bio,
 * REQ_DMABUF included, is the caller's. @io must stay until @bio has ended.
 * BIO_CLONED: the segments are not the bio's own, and it gets no others.
 */
static inline void bio_set_dmabuf(struct bio *bio, struct dma_buf_io *io,
				  size_t offset, unsigned int len)
{
	bio->bi_io_vec = io->bvecs;
	bio->bi_iter.bi_idx = offset >> DMA_BUF_IO_BVEC_SHIFT;
	bio->bi_iter.bi_offset = offset & ((1UL << DMA_BUF_IO_BVEC_SHIFT) - 1);
	bio->bi_iter.bi_size = len;
	bio_set_flag(bio, BIO_CLONED);
}

void bio_submit_dmabuf_held(struct bio *bio);
int bdev_register_dmabuf_below(struct file **files, unsigned int nr,
			       struct dma_buf_io *io);

/* The registration behind a REQ_DMABUF bio. */
static inline struct dma_buf_io *bio_dmabuf(const struct bio *bio)
{
	return container_of(bio->bi_io_vec, struct dma_buf_io, bvecs[0]);
}

/* Where in the dma-buf a REQ_DMABUF bio starts, in bytes. */
static inline u64 bio_dmabuf_offset(const struct bio *bio)
{
	return ((u64)bio->bi_iter.bi_idx << DMA_BUF_IO_BVEC_SHIFT) +
		bio->bi_iter.bi_offset;
}

#endif
