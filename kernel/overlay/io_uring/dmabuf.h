/* SPDX-License-Identifier: GPL-2.0 */
#ifndef IOU_DMABUF_H
#define IOU_DMABUF_H

#include <linux/dma-buf-io.h>
#include <linux/io_uring_types.h>

struct io_rsrc_node;
struct io_uring_regbuf_desc;

#ifdef CONFIG_DMA_BUF_IO

struct io_rsrc_node *io_regbuf_dmabuf(struct io_ring_ctx *ctx,
				      struct io_uring_regbuf_desc *desc);
int io_import_dmabuf(struct io_kiocb *req, struct iov_iter *iter, u64 offset,
		     size_t len, unsigned int issue_flags);

#else

static inline struct io_rsrc_node *
io_regbuf_dmabuf(struct io_ring_ctx *ctx, struct io_uring_regbuf_desc *desc)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline int io_import_dmabuf(struct io_kiocb *req, struct iov_iter *iter,
				   u64 offset, size_t len,
				   unsigned int issue_flags)
{
	return -EFAULT;
}

#endif
#endif
