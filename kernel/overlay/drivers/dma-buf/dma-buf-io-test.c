// SPDX-License-Identifier: GPL-2.0
/*
 * An exporter for testing importers, dma-buf-io.c above all: user space says
 * how the memory is laid out, what fails or blocks, and when the mapping is
 * taken away.
 *
 * Memory comes in chunks that are contiguous, in an order that leaves no two of
 * them adjacent. A buffer that moves has two sets of chunks: invalidation copies
 * the data to the other set and fills the one that it leaves with a pattern. DMA
 * that is late damages the pattern, which the next move or query finds.
 *
 * When the machine goes down it takes its memory back, after devices have shut
 * down: importers must not keep it waiting for what they will never do.
 *
 * /dev/dma-buf-io-test is for root. Nothing here is fast.
 */
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/list_lru.h>
#include <linux/log2.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/syscore_ops.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/ww_mutex.h>

#include <uapi/linux/dma-buf-io-test.h>

#define TEST_PATTERN	0xdb
#define TEST_MAX_SIZE	SZ_1G
#define TEST_FLAGS	(DMA_BUF_IO_TEST_SHORT | DMA_BUF_IO_TEST_LONG | \
			 DMA_BUF_IO_TEST_UNALIGNED | DMA_BUF_IO_TEST_MOVES | \
			 DMA_BUF_IO_TEST_SHRINKS | DMA_BUF_IO_TEST_ODD | \
			 DMA_BUF_IO_TEST_PARTIAL | DMA_BUF_IO_TEST_RAW)

struct test_fail {
	int		err;
	unsigned int	times;
};

/**
 * struct test_buf - a dma-buf of this exporter
 * @dmabuf: has it as its ->priv
 * @node: in test_bufs
 * @lru: in test_lru
 * @flags: DMA_BUF_IO_TEST_*
 * @order: of the chunks
 * @alloc_order: of what they are the start of: mappings that go beyond a chunk
 *	still have memory of ours, which bounce buffers are copied back to
 * @nr_chunks: in a set
 * @chunks: the set in use, and the other one of a buffer that moves
 * @attach_fail: the next attachments
 * @map_fail: the next mappings
 * @map_ms: how long mapping takes
 * @blocked: mapping waits on @wait for this to end
 * @revoked: no mapping any more
 * @wait: also for @live to become 0
 * @live: mappings there are
 * @total: mappings ever made
 * @scribbled: bytes of a pattern found damaged
 * @fence: in the reservation object, to be signalled; or NULL
 *
 * All that is not atomic is protected by the reservation lock, but for what a
 * mapping may be waiting for: @blocked and @fence.
 */
struct test_buf {
	struct dma_buf		*dmabuf;
	struct list_head	node;
	struct list_head	lru;
	u32			flags;
	unsigned int		order;
	unsigned int		alloc_order;
	unsigned int		nr_chunks;
	struct page		**chunks[2];
	struct test_fail	attach_fail;
	struct test_fail	map_fail;
	unsigned int		map_ms;
	bool			blocked;
	bool			revoked;
	wait_queue_head_t	wait;
	atomic_t		live;
	atomic_t		total;
	u64			scribbled;
	struct dma_fence	*fence;
};

static DEFINE_MUTEX(test_lock); /* test_bufs */
static LIST_HEAD(test_bufs);
static struct shrinker *test_shrinker;
/* Has an entry for each memcg whose reclaim is to call the shrinker. */
static struct list_lru test_lru;
static struct kmem_cache *test_cache;

static const char *test_fence_name(struct dma_fence *fence)
{
	return "dma-buf-io-test";
}

static const struct dma_fence_ops test_fence_ops = {
	.get_driver_name	= test_fence_name,
	.get_timeline_name	= test_fence_name,
};

static int test_fails(struct test_fail *fail)
{
	if (!fail->times)
		return 0;
	fail->times--;
	return -fail->err;
}

static int test_attach(struct dma_buf *dmabuf,
		       struct dma_buf_attachment *attach)
{
	struct test_buf *buf = dmabuf->priv;
	int ret;

	dma_resv_lock(dmabuf->resv, NULL);
	ret = test_fails(&buf->attach_fail);
	dma_resv_unlock(dmabuf->resv);
	return ret;
}

static void test_fill_sgt(struct test_buf *buf, struct sg_table *sgt)
{
	unsigned int len = PAGE_SIZE << buf->order, i;
	struct scatterlist *sg;

	for_each_sgtable_sg(sgt, sg, i)
		sg_set_page(sg, buf->chunks[0][i], len, 0);

	sg = sgt->sgl;
	if (buf->flags & DMA_BUF_IO_TEST_SHORT)
		sg->length -= PAGE_SIZE;
	if (buf->flags & DMA_BUF_IO_TEST_LONG)
		sg->length += PAGE_SIZE;
	if (buf->flags & DMA_BUF_IO_TEST_UNALIGNED) {
		sg->offset += 512;
		sg->length -= 512;
		sg_last(sgt->sgl, sgt->orig_nents)->length += 512;
	}
	if (buf->flags & DMA_BUF_IO_TEST_ODD) {
		sg->length -= 512;
		sg_last(sgt->sgl, sgt->orig_nents)->length += 512;
	}
	if (buf->flags & DMA_BUF_IO_TEST_PARTIAL)
		sg_last(sgt->sgl, sgt->orig_nents)->length -= 512;
}

static int test_dma_map(struct test_buf *buf, struct device *dev,
			struct sg_table *sgt, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	unsigned int i;

	if (!(buf->flags & DMA_BUF_IO_TEST_RAW))
		return dma_map_sgtable(dev, sgt, dir, 0);
	for_each_sgtable_sg(sgt, sg, i) {
		sg_dma_address(sg) = sg_phys(sg);
		sg_dma_len(sg) = sg->length;
	}
	sgt->nents = sgt->orig_nents;
	return 0;
}

static struct sg_table *test_map(struct dma_buf_attachment *attach,
				 enum dma_data_direction dir)
{
	struct test_buf *buf = attach->dmabuf->priv;
	struct sg_table *sgt;
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (buf->revoked)
		return ERR_PTR(-ENODEV);
	if (buf->map_ms)
		msleep(buf->map_ms);
	ret = wait_event_interruptible(buf->wait, !READ_ONCE(buf->blocked));
	if (!ret)
		ret = test_fails(&buf->map_fail);
	if (ret)
		return ERR_PTR(ret);

	sgt = kmalloc_obj(*sgt);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table(sgt, buf->nr_chunks, GFP_KERNEL);
	if (ret)
		goto err_free;
	test_fill_sgt(buf, sgt);
	ret = test_dma_map(buf, attach->dev, sgt, dir);
	if (ret)
		goto err_free_table;
	atomic_inc(&buf->live);
	atomic_inc(&buf->total);
	return sgt;

err_free_table:
	sg_free_table(sgt);
err_free:
	kfree(sgt);
	return ERR_PTR(ret);
}

static void test_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		       enum dma_data_direction dir)
{
	struct test_buf *buf = attach->dmabuf->priv;

	if (!(buf->flags & DMA_BUF_IO_TEST_RAW))
		dma_unmap_sgtable(attach->dev, sgt, dir, 0);
	sg_free_table(sgt);
	kfree(sgt);
	if (atomic_dec_and_test(&buf->live))
		wake_up_all(&buf->wait);
}

static struct page *test_page(struct test_buf *buf, pgoff_t index)
{
	return buf->chunks[0][index >> buf->order] +
		(index & ((1U << buf->order) - 1));
}

static vm_fault_t test_fault(struct vm_fault *vmf)
{
	struct test_buf *buf = vmf->vma->vm_private_data;
	struct dma_resv *resv = buf->dmabuf->resv;
	vm_fault_t ret = VM_FAULT_SIGBUS;

	/* not while the data moves */
	if (dma_resv_lock_interruptible(resv, NULL))
		return VM_FAULT_NOPAGE;
	if (vmf->pgoff < buf->dmabuf->size >> PAGE_SHIFT)
		ret = vmf_insert_pfn(vmf->vma, vmf->address,
				     page_to_pfn(test_page(buf, vmf->pgoff)));
	dma_resv_unlock(resv);
	return ret;
}

static const struct vm_operations_struct test_vm_ops = {
	.fault	= test_fault,
};

static int test_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &test_vm_ops;
	vma->vm_private_data = dmabuf->priv;
	return 0;
}

static void test_free_chunks(struct test_buf *buf, unsigned int set)
{
	unsigned int i;

	for (i = 0; buf->chunks[set] && i < buf->nr_chunks; i++)
		if (buf->chunks[set][i])
			__free_pages(buf->chunks[set][i], buf->alloc_order);
	kvfree(buf->chunks[set]);
}

/* Without the lock, which a mapping that waits for the fence holds. */
static void test_signal(struct test_buf *buf)
{
	struct dma_fence *fence = xchg(&buf->fence, NULL);

	if (!fence)
		return;
	dma_fence_signal(fence);
	dma_fence_put(fence);
}

static void test_free(struct test_buf *buf)
{
	test_free_chunks(buf, 0);
	test_free_chunks(buf, 1);
	kmem_cache_free(test_cache, buf);
}

static void test_release(struct dma_buf *dmabuf)
{
	struct test_buf *buf = dmabuf->priv;

	mutex_lock(&test_lock);
	list_del(&buf->node);
	mutex_unlock(&test_lock);
	list_lru_del_obj(&test_lru, &buf->lru);
	test_signal(buf);
	test_free(buf);
}

static const struct dma_buf_ops test_ops = {
	.attach		= test_attach,
	.map_dma_buf	= test_map,
	.unmap_dma_buf	= test_unmap,
	.mmap		= test_mmap,
	.release	= test_release,
};

static void test_watch(struct test_buf *buf)
{
	size_t len = PAGE_SIZE << buf->order;
	unsigned int i;

	for (i = 0; buf->chunks[1] && i < buf->nr_chunks; i++) {
		u8 *at = page_address(buf->chunks[1][i]), *end = at + len;

		while ((at = memchr_inv(at, TEST_PATTERN, end - at))) {
			buf->scribbled++;
			*at = TEST_PATTERN;
		}
	}
}

static void test_move(struct test_buf *buf)
{
	size_t len = PAGE_SIZE << buf->order;
	unsigned int i;

	test_watch(buf);
	unmap_mapping_range(buf->dmabuf->file->f_mapping, 0, 0, 1);
	for (i = 0; i < buf->nr_chunks; i++) {
		memcpy(page_address(buf->chunks[1][i]),
		       page_address(buf->chunks[0][i]), len);
		memset(page_address(buf->chunks[0][i]), TEST_PATTERN, len);
	}
	swap(buf->chunks[0], buf->chunks[1]);
}

/* Returns -EBUSY if the importer comes back before it has unmapped. */
static int test_invalidate(struct test_buf *buf)
{
	dma_resv_assert_held(buf->dmabuf->resv);

	dma_buf_invalidate_mappings(buf->dmabuf);
	if (atomic_read(&buf->live))
		return -EBUSY;
	if (buf->flags & DMA_BUF_IO_TEST_MOVES)
		test_move(buf);
	return 0;
}

static int test_invalidate_and_hold(struct test_buf *buf, u64 ms, u64 *result)
{
	struct dma_resv *resv = buf->dmabuf->resv;
	u64 start;
	int ret;

	dma_resv_lock(resv, NULL);
	start = ktime_get_ns();
	ret = test_invalidate(buf);
	*result = ktime_get_ns() - start;
	if (ms)
		msleep(min(ms, 60000ULL));
	dma_resv_unlock(resv);
	return ret;
}

/* What VFIO does: unmapping may come later, but needs nobody's help. */
static int test_revoke(struct test_buf *buf, u64 *result)
{
	struct dma_resv *resv = buf->dmabuf->resv;
	u64 start = ktime_get_ns();

	dma_resv_lock(resv, NULL);
	buf->revoked = true;
	dma_buf_invalidate_mappings(buf->dmabuf);
	dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, false,
			      MAX_SCHEDULE_TIMEOUT);
	dma_resv_unlock(resv);
	if (wait_event_killable(buf->wait, !atomic_read(&buf->live)))
		return -EINTR;
	*result = ktime_get_ns() - start;
	return 0;
}

static int test_add_fence(struct test_buf *buf, u64 arg)
{
	static const enum dma_resv_usage usages[] = {
		[1] = DMA_RESV_USAGE_KERNEL,
		[2] = DMA_RESV_USAGE_WRITE,
		[3] = DMA_RESV_USAGE_READ,
	};
	struct dma_fence *fence;
	int ret;

	if (arg >= ARRAY_SIZE(usages))
		return -EINVAL;
	fence = kzalloc_obj(*fence);
	if (!fence)
		return -ENOMEM;
	dma_fence_init(fence, &test_fence_ops, NULL, dma_fence_context_alloc(1),
		       1);
	dma_resv_lock(buf->dmabuf->resv, NULL);
	ret = dma_resv_reserve_fences(buf->dmabuf->resv, 1);
	if (!ret) {
		dma_resv_add_fence(buf->dmabuf->resv, fence, usages[arg]);
		fence = xchg(&buf->fence, fence);
	}
	dma_resv_unlock(buf->dmabuf->resv);

	/* not added, or the one before */
	if (fence) {
		dma_fence_signal(fence);
		dma_fence_put(fence);
	}
	return ret;
}

/* Two locks in one context, backing off as long as it takes. */
static int test_lock_pair(struct test_buf *buf, int fd)
{
	struct dma_resv *first = buf->dmabuf->resv, *second;
	struct dma_buf *other = dma_buf_get(fd);
	struct ww_acquire_ctx ctx;
	int ret;

	if (IS_ERR(other))
		return PTR_ERR(other);
	second = other->resv;
	if (first == second) {
		dma_buf_put(other);
		return -EINVAL;
	}

	ww_acquire_init(&ctx, &reservation_ww_class);
	ret = dma_resv_lock(first, &ctx);
	while (!ret) {
		ret = dma_resv_lock(second, &ctx);
		if (ret != -EDEADLK)
			break;
		dma_resv_unlock(first);
		dma_resv_lock_slow(second, &ctx);
		swap(first, second);
		ret = 0;
	}
	if (!ret) {
		ww_acquire_done(&ctx);
		ret = test_invalidate(buf);
		dma_resv_unlock(second);
	}
	dma_resv_unlock(first);
	ww_acquire_fini(&ctx);
	dma_buf_put(other);
	return ret;
}

static int test_set(struct test_buf *buf, u32 op, u64 arg)
{
	struct test_fail fail = { .err = (u32)arg, .times = arg >> 32 };

	if (op != DMA_BUF_IO_TEST_SLOW_MAP && fail.err > MAX_ERRNO)
		return -EINVAL;
	dma_resv_lock(buf->dmabuf->resv, NULL);
	if (op == DMA_BUF_IO_TEST_FAIL_ATTACH)
		buf->attach_fail = fail;
	else if (op == DMA_BUF_IO_TEST_FAIL_MAP)
		buf->map_fail = fail;
	else
		buf->map_ms = min(arg, 60000ULL);
	dma_resv_unlock(buf->dmabuf->resv);
	return 0;
}

static int test_do(struct test_buf *buf, struct dma_buf_io_test_control *control)
{
	switch (control->op) {
	case DMA_BUF_IO_TEST_INVALIDATE:
		return test_invalidate_and_hold(buf, control->arg,
						&control->result);
	case DMA_BUF_IO_TEST_REVOKE:
		return test_revoke(buf, &control->result);
	case DMA_BUF_IO_TEST_FAIL_ATTACH:
	case DMA_BUF_IO_TEST_FAIL_MAP:
	case DMA_BUF_IO_TEST_SLOW_MAP:
		return test_set(buf, control->op, control->arg);
	case DMA_BUF_IO_TEST_BLOCK_MAP:
		/* without the lock, which a mapping that blocks holds */
		WRITE_ONCE(buf->blocked, control->arg == 1);
		wake_up_all(&buf->wait);
		return 0;
	case DMA_BUF_IO_TEST_FENCE:
		if (control->arg)
			return test_add_fence(buf, control->arg);
		test_signal(buf);
		return 0;
	case DMA_BUF_IO_TEST_LOCK_PAIR:
		return test_lock_pair(buf, control->arg);
	case DMA_BUF_IO_TEST_LIVE:
		control->result = atomic_read(&buf->live);
		return 0;
	case DMA_BUF_IO_TEST_TOTAL:
		control->result = atomic_read(&buf->total);
		return 0;
	case DMA_BUF_IO_TEST_SCRIBBLED:
		dma_resv_lock(buf->dmabuf->resv, NULL);
		test_watch(buf);
		control->result = buf->scribbled;
		dma_resv_unlock(buf->dmabuf->resv);
		return 0;
	default:
		return -EINVAL;
	}
}

static int test_control(void __user *arg)
{
	struct dma_buf_io_test_control control;
	struct dma_buf *dmabuf;
	int ret;

	if (copy_from_user(&control, arg, sizeof(control)))
		return -EFAULT;
	dmabuf = dma_buf_get(control.fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	ret = dmabuf->ops == &test_ops ? test_do(dmabuf->priv, &control) :
					 -EINVAL;
	dma_buf_put(dmabuf);
	if (!ret && copy_to_user(arg, &control, sizeof(control)))
		ret = -EFAULT;
	return ret;
}

static int test_compare_chunks(const void *a, const void *b)
{
	return cmp_int(page_to_pfn(*(struct page **)b),
		       page_to_pfn(*(struct page **)a));
}

/* From the highest to the lowest, so that none ends where the next begins. */
static int test_alloc_chunks(struct test_buf *buf, unsigned int set)
{
	unsigned int i;

	buf->chunks[set] = kvcalloc(buf->nr_chunks, sizeof(*buf->chunks[set]),
				    GFP_KERNEL);
	if (!buf->chunks[set])
		return -ENOMEM;
	for (i = 0; i < buf->nr_chunks; i++) {
		buf->chunks[set][i] = alloc_pages(GFP_KERNEL | __GFP_COMP |
						  __GFP_ZERO | __GFP_NOWARN,
						  buf->alloc_order);
		if (!buf->chunks[set][i])
			return -ENOMEM;
		if (set)
			memset(page_address(buf->chunks[set][i]), TEST_PATTERN,
			       PAGE_SIZE << buf->order);
	}
	sort(buf->chunks[set], buf->nr_chunks, sizeof(*buf->chunks[set]),
	     test_compare_chunks, NULL);
	return 0;
}

static struct test_buf *test_alloc(const struct dma_buf_io_test_create *create)
{
	struct test_buf *buf;
	int ret;

	buf = kmem_cache_alloc_lru(test_cache, &test_lru,
				   GFP_KERNEL | __GFP_ZERO);
	if (!buf)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&buf->lru);
	buf->flags = create->flags;
	buf->order = ilog2(create->segment >> PAGE_SHIFT);
	buf->alloc_order = buf->order;
	if (buf->flags & (DMA_BUF_IO_TEST_LONG | DMA_BUF_IO_TEST_UNALIGNED |
			  DMA_BUF_IO_TEST_ODD))
		buf->alloc_order++;
	buf->nr_chunks = create->size / create->segment;
	init_waitqueue_head(&buf->wait);
	ret = test_alloc_chunks(buf, 0);
	if (!ret && (buf->flags & DMA_BUF_IO_TEST_MOVES))
		ret = test_alloc_chunks(buf, 1);
	if (ret) {
		test_free(buf);
		return ERR_PTR(ret);
	}
	return buf;
}

static int test_create(void __user *arg)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf_io_test_create create;
	struct dma_buf *dmabuf;
	struct test_buf *buf;

	if (copy_from_user(&create, arg, sizeof(create)))
		return -EFAULT;
	if (create.flags & ~TEST_FLAGS || create.__resv ||
	    create.segment < PAGE_SIZE || !is_power_of_2(create.segment) ||
	    create.segment > PAGE_SIZE << MAX_PAGE_ORDER || !create.size ||
	    create.size > TEST_MAX_SIZE || create.size % create.segment)
		return -EINVAL;

	buf = test_alloc(&create);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	info.ops = &test_ops;
	info.size = create.size;
	if (create.flags & DMA_BUF_IO_TEST_PARTIAL)
		info.size -= 512;
	info.flags = O_RDWR;
	info.priv = buf;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		test_free(buf);
		return PTR_ERR(dmabuf);
	}
	buf->dmabuf = dmabuf;
	mutex_lock(&test_lock);
	list_add(&buf->node, &test_bufs);
	mutex_unlock(&test_lock);
	if (buf->flags & DMA_BUF_IO_TEST_SHRINKS)
		list_lru_add_obj(&test_lru, &buf->lru);

	create.fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (create.fd < 0) {
		dma_buf_put(dmabuf);
		return create.fd;
	}
	return copy_to_user(arg, &create, sizeof(create)) ? -EFAULT : 0;
}

static unsigned long test_shrink_count(struct shrinker *shrinker,
				       struct shrink_control *sc)
{
	struct test_buf *buf;
	unsigned long n = 0;

	if (!mutex_trylock(&test_lock))
		return 0;
	list_for_each_entry(buf, &test_bufs, node)
		if (buf->flags & DMA_BUF_IO_TEST_SHRINKS)
			n += atomic_read(&buf->live);
	mutex_unlock(&test_lock);
	/* half is scanned, see test_init() */
	return 2 * n;
}

/*
 * As those of GPUs: whatever can be locked goes, waiting for the importer. More
 * than those of GPUs, in reclaim for the limit of a memcg, too, whosever the buffer
 * is, and without __GFP_IO, as file I/O promises to withstand.
 */
static unsigned long test_shrink_scan(struct shrinker *shrinker,
				      struct shrink_control *sc)
{
	struct test_buf *buf;
	unsigned long n = 0;

	if (!mutex_trylock(&test_lock))
		return SHRINK_STOP;
	list_for_each_entry(buf, &test_bufs, node) {
		if (!(buf->flags & DMA_BUF_IO_TEST_SHRINKS) ||
		    !atomic_read(&buf->live) ||
		    !dma_resv_trylock(buf->dmabuf->resv))
			continue;
		WARN_ON(test_invalidate(buf));
		dma_resv_unlock(buf->dmabuf->resv);
		n++;
	}
	mutex_unlock(&test_lock);
	return n ?: SHRINK_STOP;
}

/* Nobody would know of a wait without end but by the machine not going down. */
static void test_shutdown(void *data)
{
	struct test_buf *buf;
	unsigned int n = 0;

	mutex_lock(&test_lock);
	list_for_each_entry(buf, &test_bufs, node) {
		dma_resv_lock(buf->dmabuf->resv, NULL);
		if (atomic_read(&buf->live)) {
			WARN_ON(test_invalidate(buf));
			n++;
		}
		dma_resv_unlock(buf->dmabuf->resv);
	}
	mutex_unlock(&test_lock);
	if (n)
		pr_info("dma-buf-io-test: took back %u buffers\n", n);
}

static const struct syscore_ops test_syscore_ops = {
	.shutdown	= test_shutdown,
};

static struct syscore test_syscore = {
	.ops	= &test_syscore_ops,
};

static long test_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case DMA_BUF_IO_TEST_CREATE:
		return test_create((void __user *)arg);
	case DMA_BUF_IO_TEST_CONTROL:
		return test_control((void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations test_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= test_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice test_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "dma-buf-io-test",
	.fops	= &test_fops,
	.mode	= 0600,
};

static int __init test_init(void)
{
	int ret = -ENOMEM;

	test_cache = KMEM_CACHE(test_buf, SLAB_ACCOUNT);
	if (!test_cache)
		return -ENOMEM;
	test_shrinker = shrinker_alloc(SHRINKER_MEMCG_AWARE, "dma-buf-io-test");
	if (!test_shrinker)
		goto err_cache;
	ret = list_lru_init_memcg(&test_lru, test_shrinker);
	if (ret)
		goto err_shrinker;
	test_shrinker->count_objects = test_shrink_count;
	test_shrinker->scan_objects = test_shrink_scan;
	/* called by the lightest reclaim, though there are few objects */
	test_shrinker->seeks = 0;
	test_shrinker->batch = 1;
	shrinker_register(test_shrinker);

	ret = misc_register(&test_device);
	if (!ret) {
		register_syscore(&test_syscore);
		return 0;
	}
err_shrinker:
	shrinker_free(test_shrinker);
	list_lru_destroy(&test_lru);
err_cache:
	kmem_cache_destroy(test_cache);
	return ret;
}

static void __exit test_exit(void)
{
	unregister_syscore(&test_syscore);
	misc_deregister(&test_device);
	shrinker_free(test_shrinker);
	list_lru_destroy(&test_lru);
	kmem_cache_destroy(test_cache);
}

module_init(test_init);
module_exit(test_exit);
MODULE_DESCRIPTION("dma-bufs whose exporter does what a test tells it to");
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
