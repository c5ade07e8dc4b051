/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registered dma-bufs for users of liburing 2.2 and later: copy this file. It needs no
 * header of a new kernel. What each call may return, and what a request may then, is
 * in docs/man/io_uring_register_dmabuf.3. Once liburing has these calls, drop it.
 *
 * All return 0, or a positive number where that is said, or -errno, as liburing does.
 * The ring must not have been given to io_uring_close_ring_fd().
 */
#ifndef DMABUF_REGISTER_H
#define DMABUF_REGISTER_H

#include <errno.h>
#include <liburing.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As in linux/io_uring/dmabuf.h, which not every system has. */
struct dmabuf_register_desc {
	uint32_t	type;
	uint32_t	flags;
	uint64_t	size;
	uint64_t	uaddr;
	int32_t		dmabuf_fd;
	int32_t		target_fd;
	uint64_t	resv[6];
};

struct dmabuf_register_update {
	uint32_t	offset;
	uint32_t	flags;
	uint64_t	data;
	uint64_t	tags;
	uint32_t	nr;
	uint32_t	resv2;
};

struct dmabuf_register_clone {
	uint32_t	src_fd;
	uint32_t	flags;
	uint32_t	src_off;
	uint32_t	dst_off;
	uint32_t	nr;
	uint32_t	pad[3];
};

enum {
	DMABUF_REGISTER_EXTENDED	= 1 << 1,	/* IORING_RSRC_UPDATE_EXTENDED */
	DMABUF_REGISTER_EMPTY		= 0,		/* IO_REGBUF_TYPE_EMPTY */
	DMABUF_REGISTER_DMABUF		= 2,		/* IO_REGBUF_TYPE_DMABUF */
	DMABUF_REGISTER_UPDATE		= 16,		/* IORING_REGISTER_BUFFERS_UPDATE */
	DMABUF_REGISTER_CLONE		= 30,		/* IORING_REGISTER_CLONE_BUFFERS */
	DMABUF_REGISTER_REPLACE		= 1 << 1	/* IORING_REGISTER_DST_REPLACE */
};

static inline int dmabuf_register_slot(struct io_uring *ring, unsigned int slot, uint32_t type, int dmabuf_fd, int target_fd, uint64_t tag)
{
	struct dmabuf_register_desc desc;
	struct dmabuf_register_update update;

	memset(&desc, 0, sizeof(desc));
	desc.type = type;
	desc.dmabuf_fd = dmabuf_fd;
	desc.target_fd = target_fd;
	memset(&update, 0, sizeof(update));
	update.offset = slot;
	update.flags = DMABUF_REGISTER_EXTENDED;
	update.data = (uintptr_t)&desc;
	update.tags = tag ? (uintptr_t)&tag : 0;
	update.nr = 1;
	return syscall(__NR_io_uring_register, ring->ring_fd, DMABUF_REGISTER_UPDATE, &update, sizeof(update)) == 1 ? 0 : -errno;
}

/*
 * Put a dma-buf into a slot of the ring's table, io_uring_register_buffers_sparse(), for
 * I/O through this open file. What was in the slot is replaced; if this fails it stays.
 * A completion with @tag as its user_data says that the slot's dma-buf has been replaced
 * or cleared and no request uses it any more; 0: none. Both descriptors may be closed.
 */
static inline int io_uring_register_dmabuf(struct io_uring *ring, unsigned int slot, int dmabuf_fd, int target_fd, uint64_t tag)
{
	return dmabuf_register_slot(ring, slot, DMABUF_REGISTER_DMABUF, dmabuf_fd, target_fd, tag);
}

/* Empty a slot, whatever is in it. */
static inline int io_uring_clear_dmabuf(struct io_uring *ring, unsigned int slot)
{
	return dmabuf_register_slot(ring, slot, DMABUF_REGISTER_EMPTY, 0, 0, 0);
}

/*
 * Let @nr slots of @dst, from @dst_slot on, share what those of @src have, instead of
 * what they had. @dst gets a table if it has none. Not with the public patches.
 */
static inline int io_uring_clone_dmabufs(struct io_uring *dst, unsigned int dst_slot, struct io_uring *src, unsigned int src_slot, unsigned int nr)
{
	struct dmabuf_register_clone clone;

	memset(&clone, 0, sizeof(clone));
	clone.src_fd = src->ring_fd;
	clone.flags = DMABUF_REGISTER_REPLACE;
	clone.src_off = src_slot;
	clone.dst_off = dst_slot;
	clone.nr = nr;
	return syscall(__NR_io_uring_register, dst->ring_fd, DMABUF_REGISTER_CLONE, &clone, 1) < 0 ? -errno : 0;
}

/*
 * 1: this kernel registers dma-bufs; which files take them, registering tells. 0: it
 * does not. Or an error that leaves this open, such as -EPERM where io_uring is disabled.
 */
static inline int io_uring_probe_dmabuf(void)
{
	struct io_uring ring;
	int ret = io_uring_queue_init(1, &ring, 0);

	if (ret)
		return ret == -ENOSYS ? 0 : ret;
	ret = io_uring_register_buffers_sparse(&ring, 1);
	/* Neither descriptor is any: a kernel that looks at them has the feature. */
	if (!ret)
		ret = io_uring_register_dmabuf(&ring, 0, -1, -1, 0);
	io_uring_queue_exit(&ring);
	if (ret == -EBADF)
		return 1;
	return ret == -EINVAL || ret == -EOPNOTSUPP ? 0 : ret;
}

/* Why registering failed, in words. */
static inline const char *io_uring_dmabuf_strerror(int error)
{
	switch (error < 0 ? -error : error) {
	case EINVAL:
		return io_uring_probe_dmabuf() ? "the file lacks O_DIRECT, or the device cannot use this memory" :
						 "this kernel cannot register dma-bufs";
	case EOPNOTSUPP:
		return "this file takes no dma-bufs, or not this one; an NVMe disk on PCIe does";
	case ENODEV:
		return "the device is gone";
	case ENXIO:
		return "the ring has no table of buffers";
	default:
		return strerror(error < 0 ? -error : error);
	}
}

#endif
