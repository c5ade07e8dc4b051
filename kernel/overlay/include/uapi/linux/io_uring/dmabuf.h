/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Registered buffers beyond plain user memory: the extended form of
 * IORING_REGISTER_BUFFERS_UPDATE.
 */
#ifndef _UAPI_LINUX_IO_URING_DMABUF_H
#define _UAPI_LINUX_IO_URING_DMABUF_H

#include <linux/types.h>

/*
 * For ->flags of struct io_uring_rsrc_update2 (->resv in older headers): says that
 * ->data points to an array of struct io_uring_regbuf_desc, not of iovecs.
 * Bit 0 stays unused: IORING_RSRC_REGISTER_SPARSE has it in the sister call.
 */
#define IORING_RSRC_UPDATE_EXTENDED	(1U << 1)

enum io_uring_regbuf_type {
	/* clear the slot */
	IO_REGBUF_TYPE_EMPTY,
	/* user memory, ->uaddr and ->size */
	IO_REGBUF_TYPE_UADDR,
	/* ->dmabuf_fd, for I/O to ->target_fd only; ->size and ->uaddr are 0 */
	IO_REGBUF_TYPE_DMABUF,

	IO_REGBUF_TYPE_MAX,
};

struct io_uring_regbuf_desc {
	__u32	type;		/* enum io_uring_regbuf_type */
	__u32	flags;		/* reserved, 0 */
	__u64	size;		/* bytes */
	__u64	uaddr;		/* user address */
	__s32	dmabuf_fd;
	__s32	target_fd;
	__u64	__resv[6];
};

/* What IO_URING_QUERY_DMABUF answers; needs no ring. */
struct io_uring_query_dmabuf {
	/* bit n for type n of enum io_uring_regbuf_type */
	__u64	buffer_types;
	/* bit n for operation n, IORING_OP_*, on a slot with a dma-buf */
	__u64	opcodes[2];
	/* IORING_RSRC_UPDATE_* for IORING_REGISTER_BUFFERS_UPDATE */
	__u32	update_flags;
	/* for ->flags of struct io_uring_regbuf_desc, and its size */
	__u32	desc_flags;
	__u32	desc_size;
	__u32	__resv;
};

#endif
