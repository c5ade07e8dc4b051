// SPDX-License-Identifier: GPL-2.0
/*
 * Registered dma-bufs as fixed buffers: a slot of the buffer table holds a
 * context (see drivers/dma-buf/dma-buf-io.c), a read or write that uses the
 * slot holds a reference on the context's map from import until the device is
 * done.
 *
 * The reference lives in the request's iterator, REQ_F_DMABUF_MAP says that it
 * is there. It is taken in one place, io_import_dmabuf(), and dropped in one,
 * io_put_dmabuf_map() of rw.c, which is called
 *   - from the completion callbacks, in the context that the device completes
 *     in, before task work is queued or a poller told, and
 *   - when issuing returns and the request was not queued: then it failed, or it
 *     is put aside, for io-wq for one, and will import again.
 */
#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/slab.h>

#include <uapi/linux/io_uring.h>

#include "io_uring.h"
#include "dmabuf.h"
#include "rsrc.h"

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

/* Context: uring_lock held; may sleep. Returns a node or an ERR_PTR. */
struct io_rsrc_node *io_regbuf_dmabuf(struct io_ring_ctx *ctx,
				      struct io_uring_regbuf_desc *desc)
{
	struct dma_buf_io_ctx *dma_ctx;
	struct io_mapped_ubuf *imu;
	struct io_rsrc_node *node;
	int ret = -ENOMEM;

	/* the size is the dma-buf's, addresses are offsets into it */
	if (desc->uaddr || desc->size)
		return ERR_PTR(-EINVAL);

	node = io_rsrc_node_alloc(ctx, IORING_RSRC_BUFFER);
	if (!node)
		return ERR_PTR(-ENOMEM);
	imu = io_alloc_imu(ctx, 0);
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
	imu->dir = IO_BUF_DEST | IO_BUF_SOURCE;
	imu->release = io_release_dmabuf;
	imu->priv = dma_ctx;
	node->buf = imu;
	return node;

err_free_imu:
	imu->nr_bvecs = 0;
	io_free_imu(ctx, imu);
err_free_node:
	io_cache_free(&ctx->node_cache, node);
	return ERR_PTR(ret);
}

/* The live map, made if this may sleep; a reference on it, or an ERR_PTR. */
struct dma_buf_io_map *io_make_dmabuf_map(struct dma_buf_io_ctx *dma_ctx,
					  unsigned int issue_flags)
{
	struct dma_buf_io_map *map;

	if (issue_flags & IO_URING_F_NONBLOCK)
		return ERR_PTR(-EAGAIN);
	map = dma_buf_io_make_map(dma_ctx);
	/* a worker is also "interrupted" to be given work */
	if (map == ERR_PTR(-EINTR) && !fatal_signal_pending(current))
		return ERR_PTR(-EAGAIN);
	return map;
}
