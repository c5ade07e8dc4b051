// SPDX-License-Identifier: GPL-2.0
/*
 * File I/O straight into and out of registered dma-bufs: the layer between
 * those who submit (io_uring), the files that offer it (block devices) and the
 * drivers that do the DMA (NVMe).
 *
 * Objects
 *
 *   A *context* is the registration of one dma-buf for one file. It holds the
 *   dma-buf, a dynamic attachment to the device behind the file, and the file.
 *   A *map* is one generation of the context's DMA mapping. A context has at
 *   most one; it is made at registration, taken away by the exporter
 *   (invalidation), and made anew by the next request that may sleep.
 *
 * States of a context
 *
 *   mapped   ->map set       bios take references on the map
 *   unmapped ->map NULL      the next request that may sleep makes a map
 *   revoked  ->revoked set   for good: the device is gone; I/O gets -ENODEV
 *
 *   mapped -> unmapped   exporter calls invalidate_mappings
 *   unmapped -> mapped   dma_buf_io_make_map()
 *   either -> revoked    dma_buf_io_revoke_dev()
 *
 * Lifetime of a map
 *
 *   A file takes a reference as the last thing before it submits a bio, and the
 *   end of the bio drops it, in whatever context the device completes. All that
 *   a request goes through before (permission, time stamps, the page cache) and
 *   after (task work, a poller) is without: no exporter waits for user space to
 *   be scheduled or to answer, nor for a file system. A request that is put
 *   aside (for a worker, for a retry) holds no reference.
 *
 *   Teardown runs under the reservation lock: unpublish the map, kill its
 *   reference count (of all registrations of the dma-buf, so that they share
 *   the grace period), wait for it to drain, unmap. Nothing is deferred: when
 *   invalidate_mappings returns, no DMA is going on and the exporter's mapping
 *   has been returned. Hence there is no fence, no worker, and no second
 *   generation beside the one that dies.
 *
 *   The map is freed without a further grace period because
 *   1. readers find it and try to take a reference in one RCU section,
 *   2. it is unpublished before the count is killed, and
 *   3. a killed percpu_ref cannot reach zero before a grace period has passed,
 *   so whoever saw the pointer has left its section when the wait ends.
 *
 * What the wait for draining is bounded by
 *
 *   Who holds a reference is with the block layer or the device. It needs
 *   neither the reservation lock nor a lock of the submitter to complete, nor
 *   the submitter itself, as the wait polls for polled requests; and it
 *   allocates no memory by direct reclaim, which might wait for the exporter.
 *   With the device, its own timeout handling ends it (NVMe: I/O timeout, abort
 *   timeout, controller reset, each 30 seconds by default). Before that it may
 *   wait for what holds up any I/O: a tag, a cgroup's io.max, a frozen queue.
 *
 *   So the wait is one for I/O, and an exporter's shrinker must not enter it
 *   from reclaim without __GFP_IO: who freezes a queue allocates that way.
 *
 * Lock order
 *
 *   submitter's locks (uring_lock) -> dma_buf_io_dev.lock -> reservation lock
 *	-> direct reclaim -> draining
 *
 *   The invalidation callback is entered with the reservation lock and takes no
 *   other. It may come out of direct reclaim, from an exporter's shrinker. So
 *   who holds a reference on a map must neither take one of these locks nor
 *   enter reclaim. dma_buf_io_lockdep() tells lockdep at boot, and
 *   dma_buf_io_begin_hold() when a task holds a reference.
 *
 *   dma_buf_io_dev.lock is for all users of a device, so only revocation waits
 *   for exporters under it: one may keep its lock for as long as it likes.
 */
#include <linux/device.h>
#include <linux/dma-buf.h>
#include <linux/dma-buf-io.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/scatterlist.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#ifdef CONFIG_LOCKDEP
struct lockdep_map dma_buf_io_drain_map =
	STATIC_LOCKDEP_MAP_INIT("dma_buf_io_drain", &dma_buf_io_drain_map);

/* In place of the wait for draining. */
static void dma_buf_io_might_drain(void)
{
	lock_map_acquire(&dma_buf_io_drain_map);
	lock_map_release(&dma_buf_io_drain_map);
}
#else
static void dma_buf_io_might_drain(void)
{
}
#endif

static void dma_buf_io_map_drained(struct percpu_ref *refs)
{
	struct dma_buf_io_map *map =
		container_of(refs, struct dma_buf_io_map, refs);

	complete(&map->drained);
}

/* The exporter may be wrong or worse: believe nothing of what it returns. */
static int dma_buf_io_check_sgt(struct sg_table *sgt, size_t size)
{
	struct scatterlist *sg;
	u64 total = 0;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i)
		if (check_add_overflow(total, (u64)sg_dma_len(sg), &total))
			return -EINVAL;
	return total == size ? 0 : -EINVAL;
}

static void dma_buf_io_fill_bvecs(struct dma_buf_io_map *map, size_t size)
{
	struct bio_vec *bv;

	for (bv = map->bvecs; size; bv++) {
		unsigned int len = min_t(size_t, size,
					 1UL << DMA_BUF_IO_BVEC_SHIFT);

		bvec_set_page(bv, NULL, len, 0);
		size -= len;
	}
}

/*
 * An exporter's error for those who called us, none of those that the kernel
 * has for itself: io_uring would wait for ever for what is -EIOCBQUEUED.
 */
static int dma_buf_io_errno(int err)
{
	if (err > -ERESTARTSYS)
		return err;
	return err == -ERESTARTSYS ? -EINTR : -EIO;
}

/* The live map, made if there is none. */
static struct dma_buf_io_map *dma_buf_io_ctx_map(struct dma_buf_io_ctx *ctx)
{
	struct dma_resv *resv = ctx->dmabuf->resv;
	struct dma_buf_io_dev *dev = ctx->dev;
	struct dma_buf_io_map *map;
	struct sg_table *sgt;
	long ret;

	dma_resv_assert_held(resv);

	if (ctx->revoked)
		return ERR_PTR(-ENODEV);
	map = rcu_dereference_protected(ctx->map, dma_resv_held(resv));
	if (map)
		return map;
	/* killed by an invalidation that never came to this registration */
	if (WARN_ON_ONCE(ctx->dying))
		return ERR_PTR(-EBUSY);

	sgt = dma_buf_map_attachment(ctx->attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt))
		return ERR_CAST(sgt);

	/*
	 * Dynamic importers obey write fences (struct dma_buf, ->resv), those of
	 * a move that mapping has just started included. No new ones appear
	 * while the lock is held.
	 */
	ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_WRITE, true,
				    MAX_SCHEDULE_TIMEOUT);
	if (ret < 0)
		goto err_unmap_attachment;

	ret = dma_buf_io_check_sgt(sgt, ctx->dmabuf->size);
	if (ret)
		goto err_unmap_attachment;

	map = dev->ops->map(dev, sgt, ctx->dmabuf->size);
	if (IS_ERR(map)) {
		ret = PTR_ERR(map);
		goto err_unmap_attachment;
	}

	ret = percpu_ref_init(&map->refs, dma_buf_io_map_drained, 0,
			      GFP_KERNEL_ACCOUNT);
	if (ret)
		goto err_unmap;
	init_completion(&map->drained);
	map->sgt = sgt;
	dma_buf_io_fill_bvecs(map, ctx->dmabuf->size);
	rcu_assign_pointer(ctx->map, map);
	return map;

err_unmap:
	dev->ops->unmap(dev, map);
err_unmap_attachment:
	dma_buf_unmap_attachment(ctx->attach, sgt, DMA_BIDIRECTIONAL);
	return ERR_PTR(ret);
}

/* From now on no request finds the map or gets a reference on it. */
static void dma_buf_io_kill(struct dma_buf_io_ctx *ctx)
{
	struct dma_buf_io_map *map;

	map = rcu_replace_pointer(ctx->map, NULL,
				  dma_resv_held(ctx->dmabuf->resv));
	if (!map)
		return;
	percpu_ref_kill(&map->refs);
	ctx->dying = map;
}

static void dma_buf_io_drain(struct dma_buf_io_dev *dev,
			     struct dma_buf_io_map *map)
{
	dma_buf_io_might_drain();
	if (!dev->ops->poll) {
		wait_for_completion(&map->drained);
		return;
	}
	while (!wait_for_completion_timeout(&map->drained, 1))
		dev->ops->poll(dev);
}

/*
 * Take the map away, after which no DMA is going on. @idle says that no request
 * can hold a reference or be about to take one, so that nothing need be waited
 * for; what revocation has killed is left to it.
 */
static void dma_buf_io_unmap(struct dma_buf_io_ctx *ctx, bool idle)
{
	struct dma_resv *resv = ctx->dmabuf->resv;
	struct dma_buf_io_map *map;
	struct sg_table *sgt;

	dma_resv_assert_held(resv);
	might_sleep();

	if (idle) {
		map = rcu_replace_pointer(ctx->map, NULL, dma_resv_held(resv));
	} else {
		dma_buf_io_kill(ctx);
		map = ctx->dying;
		ctx->dying = NULL;
	}
	if (!map)
		return;

	if (!idle)
		dma_buf_io_drain(ctx->dev, map);
	percpu_ref_exit(&map->refs);

	sgt = map->sgt;
	ctx->dev->ops->unmap(ctx->dev, map);
	dma_buf_unmap_attachment(ctx->attach, sgt, DMA_BIDIRECTIONAL);
}

static void dma_buf_io_invalidate(struct dma_buf_attachment *attach);

static const struct dma_buf_attach_ops dma_buf_io_attach_ops = {
	.invalidate_mappings	= dma_buf_io_invalidate,
};

/*
 * Memory of other devices, without pages. Not where the driver would have to
 * maintain caches for it.
 */
static const struct dma_buf_attach_ops dma_buf_io_attach_p2p_ops = {
	.allow_peer2peer	= true,
	.invalidate_mappings	= dma_buf_io_invalidate,
};

/*
 * dma_buf_invalidate_mappings(), which is all that calls this, does so for each
 * attachment in one hold of the lock. The first call kills the maps of all
 * registrations, so that one grace period and one wait for the device serve
 * them all: anybody may register a dma-buf a great many times.
 */
static void dma_buf_io_invalidate(struct dma_buf_attachment *attach)
{
	struct dma_buf_io_ctx *ctx = attach->importer_priv;
	struct dma_buf_attachment *other;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (rcu_access_pointer(ctx->map))
		list_for_each_entry(other, &attach->dmabuf->attachments, node)
			if (other->importer_ops == &dma_buf_io_attach_ops ||
			    other->importer_ops == &dma_buf_io_attach_p2p_ops)
				dma_buf_io_kill(other->importer_priv);
	dma_buf_io_unmap(ctx, false);
}

/* Take the map away for good. */
static void dma_buf_io_revoke(struct dma_buf_io_ctx *ctx, bool idle)
{
	dma_resv_lock(ctx->dmabuf->resv, NULL);
	dma_buf_io_unmap(ctx, idle);
	WRITE_ONCE(ctx->revoked, true);
	dma_resv_unlock(ctx->dmabuf->resv);
}

/**
 * dma_buf_io_init_dev - make a device ready for contexts
 * @dev: embedded in the driver's structure
 * @dma_dev: the device that does the DMA
 * @ops: the driver's
 *
 * Undo with dma_buf_io_revoke_dev() before the driver lets go of @dma_dev.
 */
void dma_buf_io_init_dev(struct dma_buf_io_dev *dev, struct device *dma_dev,
			 const struct dma_buf_io_dev_ops *ops)
{
	dev->dev = dma_dev;
	dev->ops = ops;
	mutex_init(&dev->lock);
	INIT_LIST_HEAD(&dev->ctxs);
	dev->gone = false;
}
EXPORT_SYMBOL_NS_GPL(dma_buf_io_init_dev, "DMA_BUF");

/**
 * dma_buf_io_revoke_dev - revoke all contexts of a device for good
 * @dev: the device, which is going away
 *
 * Contexts stay registered but have no attachment any more; I/O to them fails
 * with -ENODEV, and attaching a new one does too.
 *
 * Context: may sleep; the driver must have ended all requests.
 */
void dma_buf_io_revoke_dev(struct dma_buf_io_dev *dev)
{
	struct dma_buf_io_ctx *ctx;

	mutex_lock(&dev->lock);
	dev->gone = true;
	/* first all, so that they share a grace period */
	list_for_each_entry(ctx, &dev->ctxs, node) {
		dma_resv_lock(ctx->dmabuf->resv, NULL);
		WRITE_ONCE(ctx->revoked, true);
		dma_buf_io_kill(ctx);
		dma_resv_unlock(ctx->dmabuf->resv);
	}
	list_for_each_entry(ctx, &dev->ctxs, node) {
		if (!ctx->attach)
			continue;
		dma_buf_io_revoke(ctx, false);
		dma_buf_detach(ctx->dmabuf, ctx->attach);
		ctx->attach = NULL;
	}
	mutex_unlock(&dev->lock);
}
EXPORT_SYMBOL_NS_GPL(dma_buf_io_revoke_dev, "DMA_BUF");

/**
 * dma_buf_io_attach - attach a dma-buf to a device
 * @dev: the device
 * @dmabuf: the dma-buf; the context takes its own reference
 *
 * To be called from a driver's implementation of
 * &file_operations.register_dmabuf or what leads there.
 *
 * Context: may sleep.
 * Return: a context to be returned to dma_buf_io_register(), or an ERR_PTR:
 * -ENODEV when the device is gone, -ENOMEM, or what the exporter says.
 */
struct dma_buf_io_ctx *dma_buf_io_attach(struct dma_buf_io_dev *dev,
					 struct dma_buf *dmabuf)
{
	struct dma_buf_io_ctx *ctx;
	bool gone;
	int ret;

	ctx = kzalloc_obj(*ctx, GFP_KERNEL_ACCOUNT);
	if (!ctx)
		return ERR_PTR(-ENOMEM);
	ctx->dev = dev;
	ctx->dmabuf = dmabuf;

	ctx->attach = dma_buf_dynamic_attach(dmabuf, dev->dev,
					     dev_is_dma_coherent(dev->dev) ?
					     &dma_buf_io_attach_p2p_ops :
					     &dma_buf_io_attach_ops, ctx);
	if (IS_ERR(ctx->attach)) {
		ret = dma_buf_io_errno(PTR_ERR(ctx->attach));
		goto err_free;
	}

	mutex_lock(&dev->lock);
	gone = dev->gone;
	if (!gone)
		list_add_tail(&ctx->node, &dev->ctxs);
	mutex_unlock(&dev->lock);
	if (gone) {
		ret = -ENODEV;
		goto err_detach;
	}
	get_dma_buf(dmabuf);
	return ctx;

err_detach:
	dma_buf_detach(dmabuf, ctx->attach);
err_free:
	kfree(ctx);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_NS_GPL(dma_buf_io_attach, "DMA_BUF");

/**
 * dma_buf_io_register - register a dma-buf for I/O through a file
 * @file: the file; the context takes its own reference
 * @dmabuf: the dma-buf; the context takes its own reference
 *
 * The first map is made right away, so that a buffer which the device cannot
 * use is refused here and not by the first request.
 *
 * Context: may sleep; takes the reservation lock of @dmabuf.
 * Return: the context, to be undone by dma_buf_io_unregister(), or an ERR_PTR:
 * -EOPNOTSUPP when the file cannot do this, -EINVAL when the mapping does not
 * fit the dma-buf's size or the device, -ENODEV, -ENOMEM, -EINTR, or what the
 * exporter says.
 */
struct dma_buf_io_ctx *dma_buf_io_register(struct file *file,
					   struct dma_buf *dmabuf)
{
	struct dma_buf_io_ctx *ctx;
	struct dma_buf_io_map *map;

	might_sleep();

	if (!file->f_op->register_dmabuf)
		return ERR_PTR(-EOPNOTSUPP);
	if (!dmabuf->size)
		return ERR_PTR(-EINVAL);

	ctx = file->f_op->register_dmabuf(file, dmabuf);
	if (IS_ERR(ctx))
		return ctx;
	ctx->file = get_file(file);

	map = dma_buf_io_make_map(ctx);
	if (IS_ERR(map)) {
		dma_buf_io_unregister(ctx);
		return ERR_CAST(map);
	}
	dma_buf_io_put_map(map);
	return ctx;
}

/**
 * dma_buf_io_unregister - end a registration
 * @ctx: the context; freed
 *
 * Context: may sleep; takes the reservation lock of the dma-buf. No request may
 * use the context or be about to.
 */
void dma_buf_io_unregister(struct dma_buf_io_ctx *ctx)
{
	struct dma_buf_io_dev *dev = ctx->dev;

	dma_buf_io_revoke(ctx, true);
	mutex_lock(&dev->lock);
	list_del(&ctx->node);
	mutex_unlock(&dev->lock);
	/* unless revocation of the device has */
	if (ctx->attach)
		dma_buf_detach(ctx->dmabuf, ctx->attach);

	dma_buf_put(ctx->dmabuf);
	/* last, as the file is what keeps the device's structures alive */
	fput(ctx->file);
	kfree(ctx);
}

/**
 * dma_buf_io_make_map - take a reference on the map of a context, making it
 * @ctx: the context
 *
 * Context: may sleep; takes the reservation lock of the dma-buf. The caller
 * must hold no reference on any map, or an exporter may wait for it for ever.
 * Return: the map, to be undone by dma_buf_io_put_map(), or an ERR_PTR: -ENODEV
 * once revoked, -EINTR, and as for dma_buf_io_register().
 */
struct dma_buf_io_map *dma_buf_io_make_map(struct dma_buf_io_ctx *ctx)
{
	struct dma_resv *resv = ctx->dmabuf->resv;
	struct dma_buf_io_map *map;

	if (dma_resv_lock_interruptible(resv, NULL))
		return ERR_PTR(-EINTR);
	map = dma_buf_io_ctx_map(ctx);
	if (!IS_ERR(map))
		percpu_ref_get(&map->refs);
	dma_resv_unlock(resv);

	return IS_ERR(map) ? ERR_PTR(dma_buf_io_errno(PTR_ERR(map))) : map;
}

#ifdef CONFIG_LOCKDEP
/* The lock order, for lockdep to know before anybody has taken it. */
static int __init dma_buf_io_lockdep(void)
{
	struct dma_buf_io_dev dev;
	struct dma_resv resv;

	dma_buf_io_init_dev(&dev, NULL, NULL);
	dma_resv_init(&resv);

	mutex_lock(&dev.lock);
	dma_resv_lock(&resv, NULL);
	fs_reclaim_acquire(GFP_KERNEL);
	dma_buf_io_might_drain();
	fs_reclaim_release(GFP_KERNEL);
	dma_resv_unlock(&resv);
	mutex_unlock(&dev.lock);

	dma_resv_fini(&resv);
	mutex_destroy(&dev.lock);
	return 0;
}
subsys_initcall(dma_buf_io_lockdep);
#endif
