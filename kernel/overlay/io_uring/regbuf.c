// SPDX-License-Identifier: GPL-2.0
/*
 * Extended buffer registration: struct io_uring_regbuf_desc.
 */
#include <linux/io_uring_types.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include <uapi/linux/io_uring.h>

#include "dmabuf.h"
#include "regbuf.h"
#include "rsrc.h"

static struct io_rsrc_node *io_regbuf_uaddr(struct io_ring_ctx *ctx,
					    struct io_uring_regbuf_desc *desc)
{
	struct iovec iov = {
		.iov_base	= u64_to_user_ptr(desc->uaddr),
		.iov_len	= desc->size,
	};

	/* of interest where a pointer has 32 bits */
	if (desc->uaddr > ULONG_MAX || desc->size > SIZE_MAX)
		return ERR_PTR(-EFAULT);
	return io_sqe_buffer_register(ctx, &iov);
}

/**
 * io_regbuf_register - make the node for one extended buffer descriptor
 * @ctx: the ring
 * @udesc: user address of the descriptor, advanced to the next
 *
 * Context: the ring's uring_lock is held; may sleep.
 * Return: a node for the buffer table, NULL to clear the slot, or an ERR_PTR.
 */
struct io_rsrc_node *io_regbuf_register(struct io_ring_ctx *ctx, u64 *udesc)
{
	struct io_uring_regbuf_desc desc;

	lockdep_assert_held(&ctx->uring_lock);

	if (copy_from_user(&desc, u64_to_user_ptr(*udesc), sizeof(desc)))
		return ERR_PTR(-EFAULT);
	*udesc += sizeof(desc);

	if (desc.type >= IO_REGBUF_TYPE_MAX || desc.flags ||
	    memchr_inv(desc.__resv, 0, sizeof(desc.__resv)))
		return ERR_PTR(-EINVAL);
	if (desc.type != IO_REGBUF_TYPE_DMABUF &&
	    (desc.dmabuf_fd || desc.target_fd))
		return ERR_PTR(-EINVAL);

	switch (desc.type) {
	case IO_REGBUF_TYPE_EMPTY:
		if (desc.uaddr || desc.size)
			return ERR_PTR(-EFAULT);
		return NULL;
	case IO_REGBUF_TYPE_UADDR:
		return io_regbuf_uaddr(ctx, &desc);
	default:
		return io_regbuf_dmabuf(ctx, &desc);
	}
}
