/* SPDX-License-Identifier: GPL-2.0 */
#ifndef IOU_DMABUF_H
#define IOU_DMABUF_H

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
int io_import_dmabuf(struct io_kiocb *req, struct iov_iter *iter, u64 offset,
		     size_t len, int ddir, int ret);

#endif
