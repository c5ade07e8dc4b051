// SPDX-License-Identifier: GPL-2.0
/*
 * Registered dma-bufs as fixed buffers. A slot of the buffer table holds a
 * registration (see drivers/dma-buf/dma-buf-io.c). A read or write that uses the
 * slot hands it to the file's ->rw_dmabuf(). Cloning a table shares it.
 *
 * The slot lives until the last request that uses it has completed, and the file
 * is done with the registration by then. So there is nothing here to count, to
 * drop or to repeat: a request that is put aside, for io-wq for one, holds nothing.
 *
 * A request that met no DMA mapping completes with -ESTALE, which nobody else
 * sees: io_dmabuf_lost_map() sends it to io-wq, where the mapping is made before
 * the request is issued again.
 *
 * Requests with other buffers do not come by. To the ordinary import such a slot
 * is one for neither direction, so it refuses it; only then do reads and writes
 * look whether it is a dma-buf.
 */
#include <linux/dma-buf.h>
#include <linux/dma-buf-io.h>
#include <linux/file.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "io_uring.h"
#include "dmabuf.h"
#include "rsrc.h"

/**
 * io_regbuf_from_user - read one extended buffer descriptor
 * @udesc: its user address
 * @desc: what is there
 * @iov: for user memory and empty slots, what an iovec can say as well
 *
 * Context: may sleep.
 * Return: 0, or -EFAULT or -EINVAL for what no slot can be made of.
 */
int io_regbuf_from_user(u64 udesc, struct io_uring_regbuf_desc *desc,
			struct iovec *iov)
{
	if (copy_from_user(desc, u64_to_user_ptr(udesc), sizeof(*desc)))
		return -EFAULT;

	if (desc->type >= IO_REGBUF_TYPE_MAX || desc->flags ||
	    memchr_inv(desc->__resv, 0, sizeof(desc->__resv)))
		return -EINVAL;
	if (desc->type == IO_REGBUF_TYPE_DMABUF)
		/* the size is the dma-buf's, addresses are offsets into it */
		return desc->uaddr || desc->size ? -EINVAL : 0;
	if (desc->dmabuf_fd || desc->target_fd)
		return -EINVAL;

	if (desc->type == IO_REGBUF_TYPE_EMPTY && (desc->uaddr || desc->size))
		return -EFAULT;
	/* of interest where a pointer has 32 bits */
	if (desc->uaddr > ULONG_MAX || desc->size > SIZE_MAX)
		return -EFAULT;
	iov->iov_base = u64_to_user_ptr(desc->uaddr);
	iov->iov_len = desc->size;
	return 0;
}

static void io_release_dmabuf(void *priv)
{
	dma_buf_io_unregister(priv);
}

static struct dma_buf_io *io_register_dmabuf(int target_fd, int dmabuf_fd)
{
	struct dma_buf *dmabuf;
	struct dma_buf_io *io;
	struct file *file;

	/* users probe for this feature by which of two bad fds is refused */
	file = fget(target_fd);
	if (!file)
		return ERR_PTR(-EBADF);
	dmabuf = dma_buf_get(dmabuf_fd);
	if (IS_ERR(dmabuf)) {
		fput(file);
		return ERR_CAST(dmabuf);
	}

	io = dma_buf_io_register(file, dmabuf);
	dma_buf_put(dmabuf);
	fput(file);
	return io;
}

/**
 * io_regbuf_dmabuf - register a dma-buf
 * @ctx: the ring
 * @desc: descriptor of type IO_REGBUF_TYPE_DMABUF
 *
 * Context: the ring's uring_lock is held; may sleep.
 * Return: a node for the buffer table, or an ERR_PTR.
 */
struct io_rsrc_node *io_regbuf_dmabuf(struct io_ring_ctx *ctx,
				      struct io_uring_regbuf_desc *desc)
{
	struct io_mapped_ubuf *imu;
	struct io_rsrc_node *node;
	struct dma_buf_io *io;
	int ret = -ENOMEM;

	lockdep_assert_held(&ctx->uring_lock);

	/* many descriptors may take long, and so may an exporter */
	if (fatal_signal_pending(current))
		return ERR_PTR(-EINTR);

	node = io_rsrc_node_alloc(ctx, IORING_RSRC_BUFFER);
	if (!node)
		return ERR_PTR(-ENOMEM);
	/* those of the cache have room for segments */
	imu = kzalloc_obj(*imu, GFP_KERNEL_ACCOUNT);
	if (!imu)
		goto err_free_node;

	io = io_register_dmabuf(desc->target_fd, desc->dmabuf_fd);
	if (IS_ERR(io)) {
		ret = PTR_ERR(io);
		/* by task work and not by a signal: user space need not know */
		if (ret == -EINTR && test_thread_flag(TIF_NOTIFY_SIGNAL) &&
		    !task_sigpending(current))
			ret = -ERESTARTNOINTR;
		goto err_free_imu;
	}

	imu->len = io->dmabuf->size;
	imu->folio_shift = PAGE_SHIFT;
	refcount_set(&imu->refs, 1);
	imu->flags = IO_REGBUF_F_DMABUF;
	imu->release = io_release_dmabuf;
	imu->priv = io;
	node->buf = imu;
	return node;

err_free_imu:
	kfree(imu);
err_free_node:
	io_cache_free(&ctx->node_cache, node);
	return ERR_PTR(ret);
}

/* ->work.flags are of this request: it has been in io-wq, or they are cleared. */
static bool io_dmabuf_cancelled(struct io_kiocb *req)
{
	return percpu_ref_is_dying(&req->ctx->refs) ||
	       (atomic_read(&req->work.flags) & IO_WQ_WORK_CANCEL);
}

/* What making a map has come to, for the request. */
static int io_dmabuf_errno(struct io_kiocb *req, int ret)
{
	switch (ret) {
	case -EINTR:
		/* an exporter that says so for no reason */
		if (!signal_pending(current))
			return -EBUSY;
		if (io_dmabuf_cancelled(req) || io_wq_worker_stopped())
			return -ECANCELED;
		io_run_task_work();
		return -ESTALE;
	case -EAGAIN:
	case -ESTALE:
		/* the exporter's; to others these have a meaning */
		return -EBUSY;
	default:
		return ret;
	}
}

/**
 * io_dmabuf_make_maps - make the DMA mapping that a request needs
 * @req: the request, whose buffer is a dma-buf, in a worker of io-wq
 *
 * Context: may sleep.
 * Return: 0; -ESTALE if the worker is wanted elsewhere first; or an error for the
 * request: -ECANCELED, what the exporter says, and -EBUSY if that is to try again.
 */
int io_dmabuf_make_maps(struct io_kiocb *req)
{
	return io_dmabuf_errno(req,
			       dma_buf_io_make_maps(req->buf_node->buf->priv));
}

/**
 * io_dmabuf_lost_map - decide about a request that met no DMA mapping
 * @req: the request, whose buffer is a dma-buf
 * @res: what it is to complete with, if not issued again
 *
 * Also for a request that would have had to wait. There is no limit to how often:
 * between two calls the mapping existed.
 *
 * Context: any.
 * Return: whether io-wq is to make a mapping and issue the request again.
 */
bool io_dmabuf_lost_map(struct io_kiocb *req, long *res)
{
	struct dma_buf_io *io = req->buf_node->buf->priv;

	if (req->flags & REQ_F_NOWAIT) {
		*res = -EAGAIN;
		return false;
	}
	if (io_dmabuf_cancelled(req)) {
		*res = -ECANCELED;
		return false;
	}
	atomic_long_inc(&io->nr_lost);
	return true;
}
