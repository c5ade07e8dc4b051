/* SPDX-License-Identifier: GPL-2.0 */
#ifndef IOU_DMABUF_H
#define IOU_DMABUF_H

#include <linux/dma-buf-io.h>
#include <linux/io_uring_types.h>
#include <linux/uio.h>

#include <uapi/linux/io_uring.h>

#include "rsrc.h"

/* Does @up come with struct io_uring_regbuf_desc, and no flags but this? */
static inline bool
io_update_is_extended(const struct io_uring_rsrc_update2 *up)
{
	return IS_ENABLED(CONFIG_DMA_BUF_IO) &&
	       up->flags == IORING_RSRC_UPDATE_EXTENDED;
}

static inline bool io_buf_is_dmabuf(const struct io_mapped_ubuf *imu)
{
	return IS_ENABLED(CONFIG_DMA_BUF_IO) &&
	       (imu->flags & IO_REGBUF_F_DMABUF);
}

struct iovec *io_regbuf_from_user(u64 udesc, struct io_uring_regbuf_desc *desc,
				  struct iovec *iov);
struct io_rsrc_node *io_regbuf_dmabuf(struct io_ring_ctx *ctx,
				      struct io_uring_regbuf_desc *desc);
struct dma_buf_io_map *io_make_dmabuf_map(struct dma_buf_io_ctx *dma_ctx,
					  unsigned int issue_flags);

/**
 * io_import_dmabuf - let a read or write use its registered dma-buf
 * @req: the request; its node is that of the buffer
 * @iter: &io_async_rw.iter of the request
 * @offset: where in the dma-buf the request starts, in bytes
 * @len: its length
 * @ddir: ITER_DEST or ITER_SOURCE
 * @issue_flags: IO_URING_F_NONBLOCK says not to sleep
 *
 * Context: as @issue_flags say. Takes the request's reference, unless @len is 0.
 * Return: 0, -EAGAIN if there is no map and this must not sleep, another errno.
 */
static inline int io_import_dmabuf(struct io_kiocb *req, struct iov_iter *iter,
				   u64 offset, size_t len, int ddir,
				   unsigned int issue_flags)
{
	const struct io_mapped_ubuf *imu = req->buf_node->buf;
	struct dma_buf_io_ctx *dma_ctx = imu->priv;
	struct dma_buf_io_map *map;

	if (unlikely(req->file != dma_ctx->file))
		return -EBADF;
	if (unlikely(offset > imu->len || len > imu->len - offset ||
		     len > MAX_RW_COUNT))
		return -EFAULT;
	if (unlikely(!len)) {
		iov_iter_bvec(iter, ddir, NULL, 0, 0);
		return 0;
	}

	map = dma_buf_io_get_map(dma_ctx);
	if (unlikely(!map)) {
		map = io_make_dmabuf_map(dma_ctx, issue_flags);
		if (IS_ERR(map))
			return PTR_ERR(map);
	}

	req->flags |= REQ_F_DMABUF_MAP;
	iov_iter_dmabuf(iter, ddir, map, offset, len);
	return 0;
}

#endif
