/* SPDX-License-Identifier: GPL-2.0 */
#ifndef IOU_DMABUF_H
#define IOU_DMABUF_H

#include <linux/dma-buf-io.h>
#include <linux/fs.h>
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

static inline bool io_req_is_dmabuf(const struct io_kiocb *req)
{
	return IS_ENABLED(CONFIG_DMA_BUF_IO) && (req->flags & REQ_F_BUF_NODE) &&
	       io_buf_is_dmabuf(req->buf_node->buf);
}

/*
 * May @req, whose buffer is a dma-buf, use @len bytes from @offset? -EBADF for
 * another file than the one that it was registered for, -EFAULT for what is outside
 * of it.
 */
static inline int io_check_dmabuf(const struct io_kiocb *req,
				  const struct io_mapped_ubuf *imu, u64 offset,
				  size_t len)
{
	const struct dma_buf_io *io = imu->priv;

	if (unlikely(req->file != io->file))
		return -EBADF;
	if (unlikely(offset > imu->len || len > imu->len - offset ||
		     len > MAX_RW_COUNT))
		return -EFAULT;
	return 0;
}

int io_regbuf_from_user(u64 udesc, struct io_uring_regbuf_desc *desc,
			struct iovec *iov);
struct io_rsrc_node *io_regbuf_dmabuf(struct io_ring_ctx *ctx,
				      struct io_uring_regbuf_desc *desc);
int io_dmabuf_make_maps(struct io_kiocb *req);
bool io_dmabuf_lost_map(struct io_kiocb *req, long *res);

#endif
