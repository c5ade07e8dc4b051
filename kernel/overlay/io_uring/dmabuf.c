// SPDX-License-Identifier: GPL-2.0
/*
 * Registered dma-bufs as fixed buffers: a slot of the buffer table holds a
 * context (see drivers/dma-buf/dma-buf-io.c), and a read or write that uses the
 * slot hands it to the file in its iterator.
 *
 * The slot lives until the last request that uses it has completed, and the file
 * is done with the context by then. So there is nothing here to count, to drop or
 * to repeat: a request that is put aside, for io-wq for one, holds nothing.
 *
 * Requests with other buffers do not come by. To the ordinary import such a slot
 * is one for neither direction, so it refuses it; only then do reads and writes
 * look whether it is a dma-buf.
 */
#include <linux/dma-buf.h>
#include <linux/dma-buf-io.h>
#include <linux/file.h>
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
 * @iov: for what an iovec can say as well
 *
 * Context: may sleep.
 * Return: @iov, set to the user memory or empty slot that is described, NULL if
 * @desc is of a dma-buf, or an ERR_PTR.
 */
struct iovec *io_regbuf_from_user(u64 udesc, struct io_uring_regbuf_desc *desc,
				  struct iovec *iov)
{
	if (copy_from_user(desc, u64_to_user_ptr(udesc), sizeof(*desc)))
		return ERR_PTR(-EFAULT);

	if (desc->type >= IO_REGBUF_TYPE_MAX || desc->flags ||
	    memchr_inv(desc->__resv, 0, sizeof(desc->__resv)))
		return ERR_PTR(-EINVAL);
	if (desc->type == IO_REGBUF_TYPE_DMABUF)
		return NULL;
	if (desc->dmabuf_fd || desc->target_fd)
		return ERR_PTR(-EINVAL);

	if (desc->type == IO_REGBUF_TYPE_EMPTY && (desc->uaddr || desc->size))
		return ERR_PTR(-EFAULT);
	/* of interest where a pointer has 32 bits */
	if (desc->uaddr > ULONG_MAX || desc->size > SIZE_MAX)
		return ERR_PTR(-EFAULT);
	iov->iov_base = u64_to_user_ptr(desc->uaddr);
	iov->iov_len = desc->size;
	return iov;
}

static void io_release_dmabuf(void *priv)
{
	dma_buf_io_unregister(priv);
}

static struct dma_buf_io_ctx *io_dmabuf_ctx(int target_fd, int dmabuf_fd)
{
	struct dma_buf_io_ctx *ctx;
	struct dma_buf *dmabuf;
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

	ctx = dma_buf_io_register(file, dmabuf);
	dma_buf_put(dmabuf);
	fput(file);
	return ctx;
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
	struct dma_buf_io_ctx *dma_ctx;
	struct io_mapped_ubuf *imu;
	struct io_rsrc_node *node;
	int ret = -ENOMEM;

	lockdep_assert_held(&ctx->uring_lock);

	/* the size is the dma-buf's, addresses are offsets into it */
	if (desc->uaddr || desc->size)
		return ERR_PTR(-EINVAL);

	node = io_rsrc_node_alloc(ctx, IORING_RSRC_BUFFER);
	if (!node)
		return ERR_PTR(-ENOMEM);
	imu = io_cache_alloc(&ctx->imu_cache, GFP_KERNEL_ACCOUNT);
	if (!imu)
		goto err_free_node;

	dma_ctx = io_dmabuf_ctx(desc->target_fd, desc->dmabuf_fd);
	if (IS_ERR(dma_ctx)) {
		ret = PTR_ERR(dma_ctx);
		goto err_free_imu;
	}

	imu->ubuf = 0;
	imu->len = dma_ctx->dmabuf->size;
	imu->nr_bvecs = 0;
	imu->folio_shift = PAGE_SHIFT;
	refcount_set(&imu->refs, 1);
	imu->flags = IO_REGBUF_F_DMABUF;
	imu->dir = 0;
	imu->release = io_release_dmabuf;
	imu->priv = dma_ctx;
	node->buf = imu;
	return node;

err_free_imu:
	io_cache_free(&ctx->imu_cache, imu);
err_free_node:
	io_cache_free(&ctx->node_cache, node);
	return ERR_PTR(ret);
}

/**
 * io_import_dmabuf - let a read or write use its registered dma-buf
 * @req: the request; its node, if any, is that of the buffer
 * @iter: &io_async_rw.iter of the request
 * @offset: where in the dma-buf the request starts, in bytes
 * @len: its length in bytes
 * @ddir: ITER_DEST or ITER_SOURCE
 * @ret: why the ordinary import has failed
 *
 * Context: any.
 * Return: 0, @ret if the buffer is no dma-buf, -EBADF for another file than the
 * one that it was registered for, -EFAULT for what is outside of it, or -ENODEV
 * when the device is gone, of which the file may say that it has no bytes.
 */
int io_import_dmabuf(struct io_kiocb *req, struct iov_iter *iter, u64 offset,
		     size_t len, int ddir, int ret)
{
	const struct io_mapped_ubuf *imu;
	struct dma_buf_io_ctx *dma_ctx;

	if (!(req->flags & REQ_F_BUF_NODE))
		return ret;
	imu = req->buf_node->buf;
	if (!io_buf_is_dmabuf(imu))
		return ret;

	dma_ctx = imu->priv;
	if (unlikely(req->file != dma_ctx->file))
		return -EBADF;
	if (unlikely(offset > imu->len || len > imu->len - offset ||
		     len > MAX_RW_COUNT))
		return -EFAULT;
	if (unlikely(dma_buf_io_is_revoked(dma_ctx)))
		return -ENODEV;
	iov_iter_dmabuf(iter, ddir, dma_ctx, offset, len);
	return 0;
}
