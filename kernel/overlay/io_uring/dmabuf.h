/* SPDX-License-Identifier: GPL-2.0 */
#ifndef IOU_DMABUF_H
#define IOU_DMABUF_H

#include <linux/dma-buf-io.h>
#include <linux/io_uring_types.h>
#include <linux/uio.h>

#include "rsrc.h"

struct io_uring_regbuf_desc;

#ifdef CONFIG_DMA_BUF_IO

struct io_rsrc_node *io_regbuf_dmabuf(struct io_ring_ctx *ctx,
				      struct io_uring_regbuf_desc *desc);
struct dma_buf_io_map *io_make_dmabuf_map(struct dma_buf_io_ctx *dma_ctx,
					  unsigned int issue_flags);

/*
 * Set up @iter for @len bytes from @offset of the dma-buf in @imu and take the
 * request's reference. Only reads and writes know how to drop it. Returns 0 or
 * a negative errno; -EAGAIN if there is no map and this must not sleep.
 */
static inline int io_import_dmabuf(struct io_kiocb *req, struct iov_iter *iter,
				   const struct io_mapped_ubuf *imu, u64 offset,
				   size_t len, int ddir,
				   unsigned int issue_flags)
{
	struct dma_buf_io_ctx *dma_ctx = imu->priv;
	struct dma_buf_io_map *map;

	if (unlikely(req->opcode != IORING_OP_READ_FIXED &&
		     req->opcode != IORING_OP_WRITE_FIXED))
		return -EFAULT;
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

#else

static inline struct io_rsrc_node *
io_regbuf_dmabuf(struct io_ring_ctx *ctx, struct io_uring_regbuf_desc *desc)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline int io_import_dmabuf(struct io_kiocb *req, struct iov_iter *iter,
				   const struct io_mapped_ubuf *imu, u64 offset,
				   size_t len, int ddir,
				   unsigned int issue_flags)
{
	return -EFAULT;
}

#endif
#endif
