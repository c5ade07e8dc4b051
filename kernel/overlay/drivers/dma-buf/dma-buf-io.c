// SPDX-License-Identifier: GPL-2.0
/*
 * File I/O straight into and out of registered dma-bufs: the layer between
 * those who submit (io_uring), the files that offer it (block devices) and the
 * drivers that do the DMA (NVMe).
 *
 * Objects
 *
 *   A *registration* (struct dma_buf_io) says that I/O through a file may use a
 *   dma-buf. It names the file, the dma-buf and, by a *leg* each, what is behind the
 *   file: a part of a device, a namespace for one, or several, each with a part of
 *   the data, or paths to the same data, which come and go. A command uses the leg of
 *   its own namespace and no other, even of the same device. A registration is what
 *   an iov_iter and a bio point to.
 *   A *context* is the attachment of a dma-buf to a device. There is one for all
 *   registrations of that pair, whoever made them and through whichever file.
 *   A *map* is one generation of a context's DMA mapping. A context has at most
 *   one; it is made at registration, taken away by the exporter (invalidation),
 *   and made anew for the next request.
 *
 * States of a context
 *
 *   mapped   ->map set       drivers take references on the map
 *   unmapped ->map NULL      a request ends with BLK_STS_NOMAP, is put aside, has
 *                            a map made where it may sleep, and is issued again
 *
 *   mapped -> unmapped   exporter calls invalidate_mappings
 *   unmapped -> mapped   dma_buf_io_make_maps(), registration
 *
 * Lifetime of a map
 *
 *   A driver takes a reference when it makes a command, as the last thing before
 *   the device gets it, and drops it when the device is done with the memory: in
 *   whatever context that is, completion, poll or cancelling, and before the
 *   request goes anywhere else. A request that waits, for a tag, in a plug, for a
 *   cgroup's budget, for a frozen or quiesced queue, for a reset, to be tried
 *   again, holds nothing. So who waits for a map to be drained waits for the
 *   device, and for nothing else.
 *
 *   Teardown runs under the reservation lock: unpublish the map, kill its
 *   reference count, wait for it to drain, unmap. Nothing is deferred: when
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
 *   The driver's own timeout handling (NVMe: after the I/O timeout it aborts the
 *   command, after another it disables the controller and cancels all that it
 *   had; 30 seconds each by default). Completing a command needs neither the
 *   reservation lock, nor memory, nor the submitter, as the wait polls for polled
 *   commands. A reset that follows may take and allocate what it likes: it
 *   cancels before.
 *
 * Lifetime of a context
 *
 *   Legs hold references. The last to go gives the context up: unmap, detach. No
 *   command can look for the map then, as each comes by a leg. If somebody has the
 *   reservation lock, perhaps an exporter that waits for another device, a worker
 *   does it, so that nobody who unregisters or exits waits for an exporter; whoever
 *   registers meanwhile makes a context of its own. A leg comes off when its
 *   registration goes, or before, when the namespace or the device does; a device
 *   waits for its contexts to go, wherever they are.
 *
 * Lock order
 *
 *   submitter's locks (uring_lock) -> reservation lock -> direct reclaim
 *	-> draining
 *   dma_buf_io_lock is innermost.
 *
 *   The invalidation callback is entered with the reservation lock and takes none
 *   under which anybody allocates. It may come out of direct reclaim, from an exporter's shrinker.
 *   dma_buf_io_lockdep() tells lockdep at boot. That no holder of a reference
 *   takes any of these is for the RCU section to see to in which it is taken, and
 *   for the contexts in which devices complete.
 */
#define pr_fmt(fmt) "dma-buf-io: " fmt

#include <linux/device.h>
#include <linux/dma-buf.h>
#include <linux/dma-buf-io.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/iommu-dma.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>

#define CREATE_TRACE_POINTS
#include <trace/events/dma_buf_io.h>

/*
 * Which contexts a device has, which legs a context, and what there is to tell of
 * its map; and that the device is not gone. Nothing of an exporter is waited for
 * under it.
 */
static DEFINE_MUTEX(dma_buf_io_lock);

#ifdef CONFIG_LOCKDEP
static struct lockdep_map dma_buf_io_drain_map =
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

/* The domain that translates what @dev accesses, or NULL if none does. */
static struct iommu_domain *dma_buf_io_domain(struct device *dev)
{
#ifdef CONFIG_IOMMU_API
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (domain && domain->type & __IOMMU_DOMAIN_PAGING)
		return domain;
#endif
	return NULL;
}

/* Where @dev gets to when it accesses @addr; 0 if @domain does not know. */
static phys_addr_t dma_buf_io_phys(struct device *dev,
				   struct iommu_domain *domain, dma_addr_t addr)
{
	return domain ? iommu_iova_to_phys(domain, addr) :
			dma_to_phys(dev, addr);
}

/*
 * Does the device have DMA operations of its own, an architecture's or Xen's, that
 * may bounce? A coherent device needs no synchronization. Those that have an
 * operation for it all the same copy bounce buffers, and do not tell which.
 */
static bool dma_buf_io_may_bounce(struct device *dev)
{
	const struct dma_map_ops *ops = get_dma_ops(dev);

	return ops && !use_dma_iommu(dev) && dev_is_dma_coherent(dev) &&
	       ops->sync_sg_for_cpu;
}

/* A segment is bounced as a whole or not at all. */
static bool dma_buf_io_bounced(struct device *dev, struct iommu_domain *domain,
			       struct scatterlist *sg)
{
	return swiotlb_find_pool(dev, dma_buf_io_phys(dev, domain,
						      sg_dma_address(sg)));
}

/*
 * An address in a segment to look up. Not the first byte of a page, if there are
 * others: 0 is what a lookup returns for "not translated", and a page may be there.
 */
static dma_addr_t dma_buf_io_first(struct scatterlist *sg)
{
	return min(sg_dma_address(sg) | ~PAGE_MASK,
		   sg_dma_address(sg) + sg_dma_len(sg) - 1);
}

/* Whether the device gets anywhere with both ends of a segment. */
static bool dma_buf_io_translated(struct device *dev,
				  struct iommu_domain *domain,
				  struct scatterlist *sg)
{
	dma_addr_t last = sg_dma_address(sg) + sg_dma_len(sg) - 1;

	return dma_buf_io_phys(dev, domain, dma_buf_io_first(sg)) &&
	       dma_buf_io_phys(dev, domain, last);
}

/*
 * The exporter may be wrong or worse: believe nothing of what it returns.
 *
 * With addresses that the device's IOMMU does not translate I/O would report
 * success, and the data go nowhere. Bounced memory cannot be shared: whoever
 * synchronizes all of the buffer for the CPU, as DMA_BUF_IOCTL_SYNC does, copies
 * old bytes over what the device has just written to the memory itself.
 */
static int dma_buf_io_check_sgt(struct device *dev, struct dma_buf *dmabuf,
				struct sg_table *sgt)
{
	struct iommu_domain *domain = dma_buf_io_domain(dev);
	struct scatterlist *sg;
	u64 total = 0;
	unsigned int i;

	if (dma_buf_io_may_bounce(dev))
		return -EOPNOTSUPP;
	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (!sg_dma_len(sg) ||
		    check_add_overflow(total, (u64)sg_dma_len(sg), &total))
			return -EINVAL;
		cond_resched();

		/* PCI peer-to-peer: no IOMMU, no bounce buffers on the way */
		if (sg_dma_is_bus_address(sg)) {
			/* not asked for then: it cannot be synchronized */
			if (!dev_is_dma_coherent(dev))
				return -EOPNOTSUPP;
			continue;
		}
		if (domain && !dma_buf_io_translated(dev, domain, sg)) {
			pr_warn_ratelimited("exporter %s has not mapped %pad for %s\n",
					    dmabuf->exp_name,
					    &sg_dma_address(sg), dev_name(dev));
			return -EINVAL;
		}
		if (dma_buf_io_bounced(dev, domain, sg))
			return -EOPNOTSUPP;
	}
	return total == dmabuf->size ? 0 : -EINVAL;
}

/*
 * The PCI device whose memory is at @phys, in @info->peer; and in @bar, so that the
 * next segments need no search.
 */
static bool dma_buf_io_find_peer(phys_addr_t phys, struct resource *bar,
				 struct dma_buf_io_info *info)
{
	struct resource at = DEFINE_RES_MEM(phys, 1), *res;
	struct pci_dev *pdev = NULL;

	if (bar->flags && resource_contains(bar, &at))
		return true;
	for_each_pci_dev(pdev) {
		res = pci_find_resource(pdev, &at);
		if (!res || resource_type(res) != IORESOURCE_MEM)
			continue;
		*bar = DEFINE_RES_MEM(res->start, resource_size(res));
		if (!info->peer[0])
			strscpy(info->peer, pci_name(pdev));
		pci_dev_put(pdev);
		return true;
	}
	return false;
}

/* A bus address as the processor has it. */
static phys_addr_t dma_buf_io_bus_to_phys(struct device *dev, dma_addr_t addr)
{
#ifdef CONFIG_PCI
	struct pci_bus_region region = { .start = addr, .end = addr };
	struct resource res = DEFINE_RES_MEM(addr, 1);

	if (dev_is_pci(dev)) {
		pcibios_bus_to_resource(to_pci_dev(dev)->bus, &res, &region);
		return res.start;
	}
#endif
	return addr;
}

/*
 * A reserved page may be RAM that the kernel leaves alone, or another device's
 * memory: ask the resource tree.
 */
static bool dma_buf_io_is_system(phys_addr_t phys)
{
	struct page *page = pfn_to_online_page(PHYS_PFN(phys));

	return page && (!PageReserved(page) || page_is_ram(PHYS_PFN(phys)));
}

/* By addresses and not by pages, which a mapping need not have. */
static enum dma_buf_io_memory
dma_buf_io_whose(struct device *dev, struct iommu_domain *domain,
		 struct scatterlist *sg, struct resource *bar,
		 struct dma_buf_io_info *info)
{
	dma_addr_t addr = dma_buf_io_first(sg);
	phys_addr_t phys;

	if (sg_dma_is_bus_address(sg)) {
		/* there is nothing else that has such addresses */
		dma_buf_io_find_peer(dma_buf_io_bus_to_phys(dev, addr), bar,
				     info);
		return DMA_BUF_IO_PEER;
	}
	phys = dma_buf_io_phys(dev, domain, addr);
	if (dma_buf_io_is_system(phys))
		return DMA_BUF_IO_SYSTEM;
	return dma_buf_io_find_peer(phys, bar, info) ? DMA_BUF_IO_PEER :
						       DMA_BUF_IO_OTHER;
}

/* What there is to tell about a mapping that has been checked. */
static void dma_buf_io_describe(struct device *dev, struct sg_table *sgt,
				struct dma_buf_io_info *info)
{
	struct iommu_domain *domain = dma_buf_io_domain(dev);
	struct resource bar = {};
	struct scatterlist *sg;
	dma_addr_t next = 0;
	unsigned int i;
	u64 run = 0;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		enum dma_buf_io_memory memory =
			dma_buf_io_whose(dev, domain, sg, &bar, info);
		enum dma_buf_io_way way = sg_dma_is_bus_address(sg) ?
			DMA_BUF_IO_BUS : domain ? DMA_BUF_IO_IOVA :
			DMA_BUF_IO_PHYSICAL;

		if (!i) {
			info->memory = memory;
			info->way = way;
		} else if (info->memory != memory) {
			info->memory = DMA_BUF_IO_MIXED;
		}
		if (info->way != way)
			info->way = DMA_BUF_IO_WAYS;
		run = sg_dma_len(sg) + (sg_dma_address(sg) == next ? run : 0);
		next = sg_dma_address(sg) + sg_dma_len(sg);
		info->largest = max(info->largest, run);
		cond_resched();
	}
	info->nr_segments = i;
}

/*
 * Errors from ERESTARTSYS on are the kernel's own. Exporters may return them all the
 * same, and io_uring would wait for ever on -EIOCBQUEUED: return others instead.
 */
static int dma_buf_io_errno(int err)
{
	if (err > -ERESTARTSYS)
		return err;
	return err == -ERESTARTSYS ? -EINTR : -EIO;
}

/* From now on no command finds the map or gets a reference on it. */
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

/* It takes longer than a driver that works should need. */
static void dma_buf_io_complain(struct dma_buf_io_ctx *ctx,
				struct dma_buf_io_map *map)
{
	dev_warn(ctx->dev->dev,
		 "exporter %s has waited %u s for its dma-buf, and %ld commands are not done\n",
		 ctx->dmabuf->exp_name,
		 jiffies_to_msecs(ctx->dev->patience) / 1000,
		 atomic_long_read(&map->refs.data->count));
}

static void dma_buf_io_drain(struct dma_buf_io_ctx *ctx,
			     struct dma_buf_io_map *map)
{
	struct dma_buf_io_dev *dev = ctx->dev;
	unsigned long step = dev->ops->poll ? 1 : dev->patience;
	unsigned long complain = jiffies + dev->patience;
	bool complained = false;

	dma_buf_io_might_drain();
	while (!wait_for_completion_timeout(&map->drained, step)) {
		if (dev->ops->poll)
			dev->ops->poll(dev);
		if (!complained && time_after_eq(jiffies, complain)) {
			dma_buf_io_complain(ctx, map);
			complained = true;
		}
	}
}

/*
 * Take the map away, after which no DMA is going on. @idle says that nobody can
 * hold a reference or be about to take one, so that nothing need be waited for.
 */
static void dma_buf_io_unmap(struct dma_buf_io_ctx *ctx, bool idle)
{
	struct dma_resv *resv = ctx->dmabuf->resv;
	struct dma_buf_io_map *map;
	struct sg_table *sgt;
	ktime_t start;

	dma_resv_assert_held(resv);
	might_sleep();

	/* an invalidation has killed it and comes for it next */
	if (idle && !ctx->dying) {
		map = rcu_replace_pointer(ctx->map, NULL, dma_resv_held(resv));
		if (!map)
			return;
	} else {
		dma_buf_io_kill(ctx);
		map = ctx->dying;
		if (!map)
			return;
		ctx->dying = NULL;
		start = ktime_get();
		dma_buf_io_drain(ctx, map);
		WRITE_ONCE(ctx->nr_invalidations, ctx->nr_invalidations + 1);
		trace_dma_buf_io_invalidate(ctx, ktime_sub(ktime_get(), start));
	}
	percpu_ref_exit(&map->refs);

	sgt = map->sgt;
	ctx->dev->ops->unmap(ctx->dev, map);
	dma_buf_unmap_attachment(ctx->attach, sgt, DMA_BIDIRECTIONAL);
	trace_dma_buf_io_unmap(ctx);
}

static int dma_buf_io_make_map(struct dma_buf_io_ctx *ctx)
{
	struct dma_resv *resv = ctx->dmabuf->resv;
	struct dma_buf_io_dev *dev = ctx->dev;
	struct dma_buf_io_info info = {};
	struct dma_buf_io_map *map;
	struct sg_table *sgt;
	long ret;

	sgt = dma_buf_map_attachment(ctx->attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);

	/*
	 * Dynamic importers obey write fences (struct dma_buf, ->resv), those of
	 * a move that mapping has just started included. No new ones appear
	 * while the lock is held.
	 */
	ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_WRITE, true,
				    MAX_SCHEDULE_TIMEOUT);
	if (ret < 0)
		goto err_unmap_attachment;

	ret = dma_buf_io_check_sgt(dev->dev, ctx->dmabuf, sgt);
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

	dma_buf_io_describe(dev->dev, sgt, &info);
	if (dev->ops->describe)
		dev->ops->describe(map, ctx->dmabuf->size, &info);
	mutex_lock(&dma_buf_io_lock);
	ctx->info = info;
	ctx->nr_maps++;
	mutex_unlock(&dma_buf_io_lock);
	rcu_assign_pointer(ctx->map, map);
	return 0;

err_unmap:
	dev->ops->unmap(dev, map);
err_unmap_attachment:
	dma_buf_unmap_attachment(ctx->attach, sgt, DMA_BIDIRECTIONAL);
	return ret;
}

/* Make the map if there is none. */
static int dma_buf_io_map(struct dma_buf_io_ctx *ctx)
{
	ktime_t start;
	int ret;

	dma_resv_assert_held(ctx->dmabuf->resv);

	if (rcu_access_pointer(ctx->map))
		return 0;
	/* killed by an invalidation that never came to this attachment */
	if (WARN_ON_ONCE(ctx->dying))
		return -EBUSY;
	start = ktime_get();
	ret = dma_buf_io_make_map(ctx);
	trace_dma_buf_io_map(ctx, ktime_sub(ktime_get(), start), ret);
	return ret;
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

static struct dma_buf_io_ctx *
dma_buf_io_attach_to_ctx(const struct dma_buf_attachment *attach)
{
	if (attach->importer_ops != &dma_buf_io_attach_ops &&
	    attach->importer_ops != &dma_buf_io_attach_p2p_ops)
		return NULL;
	return attach->importer_priv;
}

/*
 * dma_buf_invalidate_mappings(), which is all that calls this, does so for each
 * attachment in one hold of the lock. The first call kills the maps of all
 * devices, so that one grace period serves them all.
 */
static void dma_buf_io_invalidate(struct dma_buf_attachment *attach)
{
	struct dma_buf_io_ctx *ctx = attach->importer_priv;
	struct dma_buf_attachment *other;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (rcu_access_pointer(ctx->map)) {
		list_for_each_entry(other, &attach->dmabuf->attachments, node) {
			struct dma_buf_io_ctx *ours =
				dma_buf_io_attach_to_ctx(other);

			if (ours)
				dma_buf_io_kill(ours);
		}
	}
	dma_buf_io_unmap(ctx, false);
}

/**
 * dma_buf_io_init_dev - make a device ready for contexts
 * @dev: embedded in the driver's structure
 * @dma_dev: the device that does the DMA
 * @ops: the driver's
 * @patience: see &struct dma_buf_io_dev
 *
 * Undo with dma_buf_io_revoke_dev() before the driver lets go of @dma_dev.
 */
void dma_buf_io_init_dev(struct dma_buf_io_dev *dev, struct device *dma_dev,
			 const struct dma_buf_io_dev_ops *ops,
			 unsigned long patience)
{
	dev->dev = dma_dev;
	dev->ops = ops;
	dev->patience = patience;
	INIT_LIST_HEAD(&dev->ctxs);
	INIT_LIST_HEAD(&dev->refused);
	init_waitqueue_head(&dev->idle);
	dev->gone = false;
}
EXPORT_SYMBOL_NS_GPL(dma_buf_io_init_dev, "DMA_BUF");

/*
 * The context of a dma-buf and a device, if there is one that is not about to go;
 * a reference on it. The oldest, so that of two tasks that have made one each
 * both choose the same.
 */
static struct dma_buf_io_ctx *dma_buf_io_find_ctx(struct dma_buf *dmabuf,
						  struct dma_buf_io_dev *dev)
{
	struct dma_buf_attachment *attach;

	dma_resv_assert_held(dmabuf->resv);

	list_for_each_entry_reverse(attach, &dmabuf->attachments, node) {
		struct dma_buf_io_ctx *ctx = dma_buf_io_attach_to_ctx(attach);

		if (ctx && ctx->dev == dev &&
		    refcount_inc_not_zero(&ctx->refs)) {
			/* its maker may not have come so far */
			WRITE_ONCE(ctx->attach, attach);
			return ctx;
		}
	}
	return NULL;
}

/* Without references; nobody finds it any more. */
static void dma_buf_io_free_ctx(struct dma_buf_io_ctx *ctx)
{
	struct dma_buf_io_dev *dev = ctx->dev;

	if (ctx->attach)
		dma_buf_detach(ctx->dmabuf, ctx->attach);
	dma_buf_put(ctx->dmabuf);

	mutex_lock(&dma_buf_io_lock);
	list_del(&ctx->node);
	if (list_empty(&dev->ctxs))
		wake_up_all(&dev->idle);
	mutex_unlock(&dma_buf_io_lock);
	kfree_rcu(ctx, rcu);
}

static void dma_buf_io_give_up(struct dma_buf_io_ctx *ctx)
{
	dma_resv_lock(ctx->dmabuf->resv, NULL);
	dma_buf_io_unmap(ctx, true);
	dma_resv_unlock(ctx->dmabuf->resv);
	dma_buf_io_free_ctx(ctx);
}

/* The same, unless somebody has the lock, and may keep it. */
static bool dma_buf_io_try_give_up(struct dma_buf_io_ctx *ctx)
{
	struct dma_resv *resv = ctx->dmabuf->resv;

	if (!dma_resv_trylock(resv))
		return false;
	dma_buf_io_unmap(ctx, true);
	dma_resv_unlock(resv);
	/* dma_buf_detach() takes it again; somebody may have it by now */
	if (dma_resv_is_locked(resv))
		return false;
	dma_buf_io_free_ctx(ctx);
	return true;
}

static void dma_buf_io_teardown(struct work_struct *work)
{
	dma_buf_io_give_up(container_of(work, struct dma_buf_io_ctx, teardown));
}

/* @wait: the caller waits for whoever has the reservation lock */
static void dma_buf_io_put_ctx(struct dma_buf_io_ctx *ctx, bool wait)
{
	if (!refcount_dec_and_test(&ctx->refs))
		return;
	if (wait)
		dma_buf_io_give_up(ctx);
	else if (!dma_buf_io_try_give_up(ctx))
		queue_work(system_dfl_long_wq, &ctx->teardown);
}

/* A new context, which others may find and use from now on, or an ERR_PTR. */
static struct dma_buf_io_ctx *dma_buf_io_make_ctx(struct dma_buf *dmabuf,
						  struct dma_buf_io_dev *dev)
{
	struct dma_buf_attachment *attach;
	struct dma_buf_io_ctx *ctx;

	ctx = kzalloc_obj(*ctx, GFP_KERNEL_ACCOUNT);
	if (!ctx)
		return ERR_PTR(-ENOMEM);
	ctx->dev = dev;
	ctx->dmabuf = dmabuf;
	refcount_set(&ctx->refs, 1);
	INIT_LIST_HEAD(&ctx->legs);
	INIT_WORK(&ctx->teardown, dma_buf_io_teardown);

	/* from here on the device waits for the context to go */
	mutex_lock(&dma_buf_io_lock);
	if (dev->gone) {
		mutex_unlock(&dma_buf_io_lock);
		kfree(ctx);
		return ERR_PTR(-ENODEV);
	}
	list_add_tail(&ctx->node, &dev->ctxs);
	mutex_unlock(&dma_buf_io_lock);
	get_dma_buf(dmabuf);

	attach = dma_buf_dynamic_attach(dmabuf, dev->dev,
					dev_is_dma_coherent(dev->dev) ?
					&dma_buf_io_attach_p2p_ops :
					&dma_buf_io_attach_ops, ctx);
	if (IS_ERR(attach)) {
		dma_buf_io_put_ctx(ctx, false);
		return ERR_CAST(attach);
	}
	/* without the lock: whoever has found it by now has written the same */
	WRITE_ONCE(ctx->attach, attach);
	return ctx;
}

static struct dma_buf_io_ctx *dma_buf_io_lookup_ctx(struct dma_buf *dmabuf,
						    struct dma_buf_io_dev *dev)
{
	struct dma_buf_io_ctx *ctx;
	int ret;

	ret = dma_resv_lock_interruptible(dmabuf->resv, NULL);
	if (ret)
		return ERR_PTR(ret);
	ctx = dma_buf_io_find_ctx(dmabuf, dev);
	dma_resv_unlock(dmabuf->resv);
	return ctx;
}

static struct dma_buf_io_ctx *dma_buf_io_get_ctx(struct dma_buf *dmabuf,
						 struct dma_buf_io_dev *dev)
{
	struct dma_buf_io_ctx *ctx, *first;

	ctx = dma_buf_io_lookup_ctx(dmabuf, dev);
	if (ctx)
		return ctx;

	ctx = dma_buf_io_make_ctx(dmabuf, dev);
	if (IS_ERR(ctx))
		return ctx;

	/* somebody else may have been first; then ours goes */
	first = dma_buf_io_lookup_ctx(dmabuf, dev);
	dma_buf_io_put_ctx(ctx, false);
	return first ?: ERR_PTR(-ENODEV);
}

/* The leg of an owner, be it attached or refused; NULL if there is none. */
static struct dma_buf_io_leg *dma_buf_io_leg_of(struct dma_buf_io *io,
						const void *owner)
{
	struct dma_buf_io_leg *leg;

	for (leg = &io->leg; leg; leg = dma_buf_io_next_leg(leg)) {
		/* pairs with dma_buf_io_set_leg() */
		if (smp_load_acquire(&leg->owner) == owner &&
		    (rcu_access_pointer(leg->ctx) || READ_ONCE(leg->refused)))
			return leg;
	}
	return NULL;
}

/**
 * dma_buf_io_owner_state - ask whether a part of a device can be used
 * @io: for this registration
 * @owner: as given to dma_buf_io_attach()
 *
 * Context: any; may have changed by when this returns.
 * Return: the state.
 */
enum dma_buf_io_state dma_buf_io_owner_state(struct dma_buf_io *io,
					     const void *owner)
{
	const struct dma_buf_io_leg *leg;

	guard(rcu)();
	leg = dma_buf_io_leg_of(io, owner);
	if (!leg)
		return DMA_BUF_IO_UNKNOWN;
	if (READ_ONCE(leg->avoid)) {
		if (READ_ONCE(leg->for_good))
			return DMA_BUF_IO_REFUSED;
		if (time_before(jiffies, READ_ONCE(leg->retry)))
			return DMA_BUF_IO_AVOID;
	}
	return READ_ONCE(leg->refused) ? DMA_BUF_IO_UNKNOWN :
					 DMA_BUF_IO_ATTACHED;
}
EXPORT_SYMBOL_NS_GPL(dma_buf_io_owner_state, "DMA_BUF");

/* A leg that is free. One that was made stays, as there are readers. */
static struct dma_buf_io_leg *dma_buf_io_free_leg(struct dma_buf_io *io)
{
	struct dma_buf_io_leg *leg = &io->leg, *more;

	lockdep_assert_held(&dma_buf_io_lock);
	while (rcu_access_pointer(leg->ctx) || leg->refused) {
		if (!io->several)
			return NULL;
		if (!leg->next) {
			more = kzalloc_obj(*more, GFP_NOWAIT | __GFP_ACCOUNT);
			if (!more)
				return NULL;
			/* pairs with dma_buf_io_next_leg() */
			smp_store_release(&leg->next, more);
		}
		leg = leg->next;
	}
	return leg;
}

/* Name a leg that is free: whoever sees the owner sees no context of another's. */
static void dma_buf_io_set_leg(struct dma_buf_io_leg *leg, const void *owner,
			       const void *group)
{
	lockdep_assert_held(&dma_buf_io_lock);
	WRITE_ONCE(leg->group, group);
	WRITE_ONCE(leg->avoid, false);
	/* pairs with dma_buf_io_get_map(), dma_buf_io_leg_of() */
	smp_store_release(&leg->owner, owner);
}

/* Do not choose a device for a while; never again if it cannot work at all. */
static void dma_buf_io_avoid_leg(struct dma_buf_io_leg *leg, int err)
{
	WRITE_ONCE(leg->retry, jiffies + HZ);
	WRITE_ONCE(leg->for_good, err == -EINVAL || err == -EOPNOTSUPP);
	WRITE_ONCE(leg->avoid, true);
}

/*
 * Attaching a device has failed with @err: remember, until it or @owner is gone, if
 * there may be another way.
 */
static void dma_buf_io_refuse(struct dma_buf_io *io, struct dma_buf_io_dev *dev,
			      const void *owner, const void *group, int err)
{
	struct dma_buf_io_leg *leg;

	guard(mutex)(&dma_buf_io_lock);
	if (!group || dev->gone || dev->ops->owner_gone(owner))
		return;
	leg = dma_buf_io_leg_of(io, owner);
	if (!leg) {
		leg = dma_buf_io_free_leg(io);
		if (!leg)
			return;
		dma_buf_io_set_leg(leg, owner, group);
		list_add(&leg->node, &dev->refused);
		dma_buf_io_avoid_leg(leg, err);
		WRITE_ONCE(leg->refused, dev);
	} else if (leg->refused) {
		dma_buf_io_avoid_leg(leg, err);
	}
}

static bool dma_buf_io_is_attached(struct dma_buf_io *io, const void *owner)
{
	const struct dma_buf_io_leg *leg;

	guard(rcu)();
	leg = dma_buf_io_leg_of(io, owner);
	return leg && !READ_ONCE(leg->refused);
}

/* Whoever gets the context has its reference, too. */
static struct dma_buf_io_ctx *dma_buf_io_take_off(struct dma_buf_io_leg *leg)
{
	struct dma_buf_io_ctx *ctx;

	lockdep_assert_held(&dma_buf_io_lock);
	ctx = rcu_replace_pointer(leg->ctx, NULL,
				  lockdep_is_held(&dma_buf_io_lock));
	if (ctx || leg->refused)
		list_del(&leg->node);
	WRITE_ONCE(leg->refused, NULL);
	return ctx;
}

/* Takes over the caller's reference on @ctx, if it returns 0. */
static int dma_buf_io_add_leg(struct dma_buf_io *io, struct dma_buf_io_ctx *ctx,
			      const void *owner, const void *group)
{
	struct dma_buf_io_leg *leg;

	/* in revocation, which takes the lock, too, it is gone before */
	guard(mutex)(&dma_buf_io_lock);
	if (ctx->dev->gone || ctx->dev->ops->owner_gone(owner))
		return -ENODEV;
	leg = dma_buf_io_leg_of(io, owner);
	if (leg && !leg->refused)
		return -EEXIST;
	if (leg)
		dma_buf_io_take_off(leg);
	else
		leg = dma_buf_io_free_leg(io);
	if (!leg)
		return io->several ? -ENOMEM : -EOPNOTSUPP;
	dma_buf_io_set_leg(leg, owner, group);
	list_add(&leg->node, &ctx->legs);
	rcu_assign_pointer(leg->ctx, ctx);
	return 0;
}

/**
 * dma_buf_io_attach - name a device behind a registration
 * @io: the registration
 * @dev: the device
 * @owner: what of the device the file is for: commands name it, and
 *	dma_buf_io_revoke() when it goes; unique among all devices
 * @group: see &dma_buf_io_leg.group
 *
 * To be called from a driver's implementation of
 * &file_operations.register_dmabuf or what leads there.
 *
 * Context: may sleep; takes the reservation lock of the dma-buf.
 * Return: 0, also if it is attached; -ENODEV when the device or @owner is gone, -ENOMEM,
 * -EINTR, -EOPNOTSUPP for a second device of a file that has but one or for one
 * that has refused before, or what the exporter says.
 */
int dma_buf_io_attach(struct dma_buf_io *io, struct dma_buf_io_dev *dev,
		      const void *owner, const void *group)
{
	struct dma_buf_io_ctx *ctx;
	int ret;

	if (dma_buf_io_owner_state(io, owner) == DMA_BUF_IO_REFUSED)
		return -EOPNOTSUPP;
	if (dma_buf_io_is_attached(io, owner))
		return 0;

	ctx = dma_buf_io_get_ctx(io->dmabuf, dev);
	if (IS_ERR(ctx)) {
		ret = dma_buf_io_errno(PTR_ERR(ctx));
		if (ret != -EINTR)
			dma_buf_io_refuse(io, dev, owner, group, ret);
		return ret;
	}

	ret = dma_buf_io_add_leg(io, ctx, owner, group);
	/* -EEXIST: somebody else was first */
	if (ret)
		dma_buf_io_put_ctx(ctx, false);
	return ret == -EEXIST ? 0 : ret;
}
EXPORT_SYMBOL_NS_GPL(dma_buf_io_attach, "DMA_BUF");

/* Take off a leg of the device; its context, or NULL if there is none. */
static struct dma_buf_io_ctx *dma_buf_io_take_any(struct dma_buf_io_dev *dev,
						  const void *owner)
{
	struct dma_buf_io_leg *leg, *next;
	struct dma_buf_io_ctx *ctx;

	guard(mutex)(&dma_buf_io_lock);
	list_for_each_entry_safe(leg, next, &dev->refused, node)
		if (!owner || leg->owner == owner)
			dma_buf_io_take_off(leg);
	list_for_each_entry(ctx, &dev->ctxs, node) {
		list_for_each_entry(leg, &ctx->legs, node) {
			if (owner && leg->owner != owner)
				continue;
			/* go on here next time */
			list_rotate_to_front(&ctx->node, &dev->ctxs);
			return dma_buf_io_take_off(leg);
		}
	}
	return NULL;
}

/**
 * dma_buf_io_revoke - revoke registrations for a part of a device, a namespace for one
 * @dev: the device
 * @owner: as given to dma_buf_io_attach(), or NULL for all
 *
 * I/O by these registrations fails with -ENODEV from now on, or goes by their other
 * devices. Mappings that no other registration uses are returned.
 *
 * Context: may sleep, and waits for exporters; all requests of @owner must have
 * ended, and no new ones may come. Those of others of the device go on.
 */
void dma_buf_io_revoke(struct dma_buf_io_dev *dev, const void *owner)
{
	struct dma_buf_io_ctx *ctx;

	while ((ctx = dma_buf_io_take_any(dev, owner))) {
		trace_dma_buf_io_revoke(ctx);
		dma_buf_io_put_ctx(ctx, true);
	}
}
EXPORT_SYMBOL_NS_GPL(dma_buf_io_revoke, "DMA_BUF");

/**
 * dma_buf_io_revoke_dev - the device is going away
 * @dev: the device
 *
 * Registrations stay but are good for nothing; attaching fails with -ENODEV. When
 * this returns nothing is left of the device's mappings and attachments.
 *
 * Context: may sleep, and waits for exporters; the driver must have ended all
 * requests.
 */
void dma_buf_io_revoke_dev(struct dma_buf_io_dev *dev)
{
	mutex_lock(&dma_buf_io_lock);
	dev->gone = true;
	mutex_unlock(&dma_buf_io_lock);

	dma_buf_io_revoke(dev, NULL);
	/* what others are about to give up */
	wait_event(dev->idle, list_empty_careful(&dev->ctxs));
	/* and whoever woke us to be done with the list */
	mutex_lock(&dma_buf_io_lock);
	mutex_unlock(&dma_buf_io_lock);
}
EXPORT_SYMBOL_NS_GPL(dma_buf_io_revoke_dev, "DMA_BUF");

/**
 * dma_buf_io_register - register a dma-buf for I/O through a file
 * @file: the file; the registration takes its own reference
 * @dmabuf: the dma-buf; the registration takes its own reference
 *
 * The map is made right away, if no other registration has one, so that a buffer
 * which the device cannot use is refused here and not by the first request.
 *
 * Context: may sleep; takes the reservation lock of @dmabuf. Waits for it
 * interruptibly, but for attaching and detaching, which know no signals.
 * Return: the registration, to be undone by dma_buf_io_unregister(), or an
 * ERR_PTR: -EOPNOTSUPP when the file cannot do this or the device not with this
 * memory, -EINVAL when the mapping does not fit the dma-buf's size or the device,
 * -ENODEV, -ENOMEM, -EINTR, or what the exporter says.
 */
struct dma_buf_io *dma_buf_io_register(struct file *file,
				       struct dma_buf *dmabuf)
{
	size_t nr_bvecs, i;
	struct dma_buf_io *io;
	int ret;

	might_sleep();

	if (!file->f_op->register_dmabuf || !file->f_op->rw_dmabuf)
		return ERR_PTR(-EOPNOTSUPP);
	if (!dmabuf->size)
		return ERR_PTR(-EINVAL);

	nr_bvecs = ((dmabuf->size - 1) >> DMA_BUF_IO_BVEC_SHIFT) + 1;
	io = kvzalloc_flex(*io, bvecs, nr_bvecs,
			   GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!io)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < nr_bvecs; i++)
		bvec_set_page(&io->bvecs[i], NULL, 1U << DMA_BUF_IO_BVEC_SHIFT,
			      0);
	io->file = get_file(file);
	get_dma_buf(dmabuf);
	io->dmabuf = dmabuf;

	ret = file->f_op->register_dmabuf(file, io);
	if (!ret)
		ret = dma_buf_io_make_maps(io);
	trace_dma_buf_io_register(io, ret);
	if (ret) {
		dma_buf_io_unregister(io);
		return ERR_PTR(ret);
	}
	return io;
}

/**
 * dma_buf_io_unregister - end a registration
 * @io: the registration; freed
 *
 * The mapping goes with the last registration that uses it, and before this
 * returns, unless somebody has the dma-buf's reservation lock: then soon.
 *
 * Context: may sleep. Does not wait for an exporter that has the lock, unless it
 * takes it in the moment before the context is detached. No request may use the
 * registration or be about to.
 */
void dma_buf_io_unregister(struct dma_buf_io *io)
{
	struct dma_buf_io_leg *leg, *next;
	struct dma_buf_io_ctx *ctx;

	trace_dma_buf_io_unregister(io, 0);
	for (leg = &io->leg; leg; leg = next) {
		mutex_lock(&dma_buf_io_lock);
		ctx = dma_buf_io_take_off(leg);
		mutex_unlock(&dma_buf_io_lock);
		if (ctx)
			dma_buf_io_put_ctx(ctx, false);
		next = leg->next;
		if (leg != &io->leg)
			kfree(leg);
	}

	dma_buf_put(io->dmabuf);
	fput(io->file);
	kvfree(io);
}

static int dma_buf_io_map_ctx(struct dma_buf_io_ctx *ctx)
{
	int ret;

	ret = dma_resv_lock_interruptible(ctx->dmabuf->resv, NULL);
	if (ret)
		return ret;
	ret = dma_buf_io_map(ctx);
	dma_resv_unlock(ctx->dmabuf->resv);
	return ret;
}

/* The context of a leg, with a reference; NULL if it is off. */
static struct dma_buf_io_ctx *dma_buf_io_get_leg(struct dma_buf_io_leg *leg)
{
	struct dma_buf_io_ctx *ctx;

	guard(mutex)(&dma_buf_io_lock);
	ctx = rcu_dereference_protected(leg->ctx,
					lockdep_is_held(&dma_buf_io_lock));
	if (ctx)
		refcount_inc(&ctx->refs);
	return ctx;
}

/* Returns 0, an error, or 1 if the leg is off. */
static int dma_buf_io_map_leg(struct dma_buf_io_leg *leg)
{
	struct dma_buf_io_ctx *ctx;
	int ret;

	ctx = dma_buf_io_get_leg(leg);
	if (!ctx)
		return 1;

	ret = rcu_access_pointer(ctx->map) ? 0 : dma_buf_io_map_ctx(ctx);
	dma_buf_io_put_ctx(ctx, false);
	return dma_buf_io_errno(ret);
}

static bool dma_buf_io_group_is_mapped(struct dma_buf_io *io, const void *group)
{
	const struct dma_buf_io_ctx *ctx;
	struct dma_buf_io_leg *leg;

	guard(rcu)();
	for (leg = &io->leg; leg; leg = dma_buf_io_next_leg(leg)) {
		ctx = rcu_dereference(leg->ctx);
		if (ctx && READ_ONCE(leg->group) == group &&
		    rcu_access_pointer(ctx->map))
			return true;
	}
	return false;
}

/* Returns 0, the error of what has to be mapped, or 1 if no leg is on. */
static int dma_buf_io_map_legs(struct dma_buf_io *io)
{
	struct dma_buf_io_leg *leg;
	int ret = 1, err, failed = 0;

	for (leg = &io->leg; leg; leg = dma_buf_io_next_leg(leg)) {
		err = dma_buf_io_map_leg(leg);
		if (err > 0)
			continue;
		ret = 0;
		if (err && (err == -EINTR || !READ_ONCE(leg->group)))
			return err;
		if (err)
			dma_buf_io_avoid_leg(leg, err);
		else if (READ_ONCE(leg->avoid))
			WRITE_ONCE(leg->avoid, false);
		failed = err ?: failed;
	}
	if (!failed)
		return ret;

	for (leg = &io->leg; leg; leg = dma_buf_io_next_leg(leg))
		if (READ_ONCE(leg->avoid) && rcu_access_pointer(leg->ctx) &&
		    !dma_buf_io_group_is_mapped(io, READ_ONCE(leg->group)))
			return failed;
	/*
	 * The request is issued again and chooses one that is mapped. If that is
	 * down, not as fast as it can.
	 */
	schedule_timeout_interruptible(HZ / 100 ?: 1);
	return 0;
}

/**
 * dma_buf_io_make_maps - make what maps a registration lacks
 * @io: the registration
 *
 * For a request that has ended with %BLK_STS_NOMAP, before it is issued again,
 * which may meet the next invalidation.
 *
 * Context: may sleep; takes the reservation lock of the dma-buf, interruptibly.
 * The caller must hold nothing that an exporter may wait for.
 * Return: 0, also if some of several devices have none, as the request then goes by
 * another; -ENODEV when the device or what the file is for is gone, -EINTR, and as
 * for dma_buf_io_register().
 */
int dma_buf_io_make_maps(struct dma_buf_io *io)
{
	int ret = io->several ? io->attach(io) : 0;

	if (!ret)
		ret = dma_buf_io_map_legs(io);
	/* without any of several the file waits for one */
	if (ret > 0)
		ret = io->several ? 0 : -ENODEV;
	return ret;
}

/**
 * dma_buf_io_hold_maps - make maps and keep exporters from taking them away
 * @io: the registration
 *
 * For a request that has lost its map to an exporter: between this and
 * dma_buf_io_release_maps() it is issued, and a command that the driver makes then
 * finds its map. It must be issued without waiting for anything but memory: not for
 * a tag, for one, nor for a frozen queue.
 *
 * Context: may sleep; as for dma_buf_io_make_maps().
 * Return: the dma-buf, whose reservation lock is held and on which there is a
 * reference, to be undone by dma_buf_io_release_maps() even if @io is gone by then;
 * or an ERR_PTR as for dma_buf_io_make_maps().
 */
struct dma_buf *dma_buf_io_hold_maps(struct dma_buf_io *io)
{
	struct dma_buf *dmabuf = io->dmabuf;
	struct dma_buf_io_ctx *ctx;
	struct dma_buf_io_leg *leg;
	int ret = 0;

	/* those that are to be attached, or fail, are for this to see to */
	if (io->several)
		ret = dma_buf_io_make_maps(io);
	if (!ret)
		ret = dma_resv_lock_interruptible(dmabuf->resv, NULL);
	if (ret)
		return ERR_PTR(ret);
	get_dma_buf(dmabuf);
	for (leg = &io->leg; leg; leg = dma_buf_io_next_leg(leg)) {
		ctx = dma_buf_io_get_leg(leg);
		if (!ctx && io->several)
			continue;
		ret = ctx ? dma_buf_io_errno(dma_buf_io_map(ctx)) : -ENODEV;
		if (ctx)
			dma_buf_io_put_ctx(ctx, false);
		if (ret && !READ_ONCE(leg->group)) {
			dma_buf_io_release_maps(dmabuf);
			return ERR_PTR(ret);
		}
	}
	return dmabuf;
}

/**
 * dma_buf_io_release_maps - let exporters take maps away again
 * @dmabuf: from dma_buf_io_hold_maps()
 *
 * Context: may sleep.
 */
void dma_buf_io_release_maps(struct dma_buf *dmabuf)
{
	dma_resv_unlock(dmabuf->resv);
	dma_buf_put(dmabuf);
}

static void dma_buf_io_show_ctx(const struct dma_buf_io_ctx *ctx,
				struct seq_file *m)
{
	static const char *const whose[] = {
		[DMA_BUF_IO_SYSTEM] = "system", [DMA_BUF_IO_PEER] = "peer",
		[DMA_BUF_IO_OTHER] = "other", [DMA_BUF_IO_MIXED] = "mixed",
	};
	static const char *const ways[] = {
		[DMA_BUF_IO_PHYSICAL] = "physical", [DMA_BUF_IO_IOVA] = "iova",
		[DMA_BUF_IO_BUS] = "bus", [DMA_BUF_IO_WAYS] = "mixed",
	};
	const struct dma_buf_io_info *info = &ctx->info;

	seq_printf(m, " mapped=%d maps=%llu invalidations=%llu",
		   !!rcu_access_pointer(ctx->map), ctx->nr_maps,
		   READ_ONCE(ctx->nr_invalidations));
	if (!ctx->nr_maps)
		return;
	seq_printf(m, " memory=%s addresses=%s", whose[info->memory],
		   ways[info->way]);
	if (info->peer[0])
		seq_printf(m, " peer=%s", info->peer);
	seq_printf(m, " segments=%u largest=%llu chunk=%llu lists=%d driver_bytes=%zu",
		   info->nr_segments, info->largest, info->chunk, info->lists,
		   info->driver_bytes);
}

/* Of several parts of a device the first is shown. */
static bool dma_buf_io_was_shown(const struct dma_buf_io *io,
				 const struct dma_buf_io_leg *leg)
{
	const struct dma_buf_io_leg *each;

	for (each = &io->leg; each != leg; each = each->next)
		if (rcu_access_pointer(each->ctx) ==
		    rcu_access_pointer(leg->ctx) &&
		    each->refused == leg->refused)
			return true;
	return false;
}

/**
 * dma_buf_io_show - tell users about a registration
 * @io: the registration
 * @m: gets a line about it, and one for each device
 *
 * What is said of a mapping is of the last one that was made. Nothing is waited
 * for, not even the reservation lock, which an exporter may keep.
 *
 * Context: may sleep.
 */
void dma_buf_io_show(struct dma_buf_io *io, struct seq_file *m)
{
	const struct dma_buf_io_ctx *ctx;
	struct dma_buf_io_leg *leg;

	seq_printf(m, "dmabuf inode=%llu exporter=%s lost=%ld file=",
		   file_inode(io->dmabuf->file)->i_ino, io->dmabuf->exp_name,
		   atomic_long_read(&io->nr_lost));
	seq_file_path(m, io->file, " \t\n\\");
	seq_putc(m, '\n');

	guard(mutex)(&dma_buf_io_lock);
	for (leg = &io->leg; leg; leg = dma_buf_io_next_leg(leg)) {
		ctx = rcu_dereference_protected(leg->ctx,
						lockdep_is_held(&dma_buf_io_lock));
		if ((!ctx && !leg->refused) || dma_buf_io_was_shown(io, leg))
			continue;
		seq_printf(m, "       device=%s", ctx ?
			   dev_name(ctx->dev->dev) :
			   dev_name(leg->refused->dev));
		if (ctx)
			dma_buf_io_show_ctx(ctx, m);
		else
			seq_puts(m, " refused");
		seq_putc(m, '\n');
	}
}

#ifdef CONFIG_LOCKDEP
/* The lock order, for lockdep to know before anybody has taken it. */
static int __init dma_buf_io_lockdep(void)
{
	struct dma_resv resv;

	dma_resv_init(&resv);

	dma_resv_lock(&resv, NULL);
	fs_reclaim_acquire(GFP_KERNEL);
	dma_buf_io_might_drain();
	mutex_lock(&dma_buf_io_lock);
	mutex_unlock(&dma_buf_io_lock);
	fs_reclaim_release(GFP_KERNEL);
	dma_resv_unlock(&resv);
	dma_resv_fini(&resv);
	return 0;
}
subsys_initcall(dma_buf_io_lockdep);
#endif
