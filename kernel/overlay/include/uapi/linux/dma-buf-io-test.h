/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/dma-buf-io-test: dma-bufs whose exporter does what a test tells it to.
 */
#ifndef _UAPI_LINUX_DMA_BUF_IO_TEST_H
#define _UAPI_LINUX_DMA_BUF_IO_TEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The mapping is one page shorter, or longer, than the dma-buf. */
#define DMA_BUF_IO_TEST_SHORT		(1U << 0)
#define DMA_BUF_IO_TEST_LONG		(1U << 1)
/* The first segment starts inside a page, the last ends in one. */
#define DMA_BUF_IO_TEST_UNALIGNED	(1U << 2)
/* Invalidation moves the data to other pages and watches those it left. */
#define DMA_BUF_IO_TEST_MOVES		(1U << 3)
/* Memory pressure invalidates the mapping. */
#define DMA_BUF_IO_TEST_SHRINKS		(1U << 4)
/* All segments start with a page, but the first is 512 bytes shorter. */
#define DMA_BUF_IO_TEST_ODD		(1U << 5)
/* The dma-buf ends 512 bytes early, inside a page. */
#define DMA_BUF_IO_TEST_PARTIAL		(1U << 6)
/* The mapping has physical addresses, whatever the device's IOMMU translates. */
#define DMA_BUF_IO_TEST_RAW		(1U << 7)

struct dma_buf_io_test_create {
	__u64	size;		/* a multiple of the segment */
	__u32	segment;	/* bytes: a power of two of pages */
	__u32	flags;
	__s32	fd;		/* out */
	__u32	__resv;
};

enum dma_buf_io_test_op {
	/* Take the mapping away; hold the lock for @arg ms after. Result: ns. */
	DMA_BUF_IO_TEST_INVALIDATE,
	/* The same for good; wait for the unmapping without the lock. */
	DMA_BUF_IO_TEST_REVOKE,
	/* The next @arg >> 32 attachments or mappings fail with (u32)@arg. */
	DMA_BUF_IO_TEST_FAIL_ATTACH,
	DMA_BUF_IO_TEST_FAIL_MAP,
	/* Mapping takes @arg ms. */
	DMA_BUF_IO_TEST_SLOW_MAP,
	/* Mapping does not return until it is told so by another @arg than 1. */
	DMA_BUF_IO_TEST_BLOCK_MAP,
	/*
	 * Add a fence, of the kernel (1), or of who writes (2), for which mapping
	 * waits, or of who reads (3); 0: signal it.
	 */
	DMA_BUF_IO_TEST_FENCE,
	/* Lock this dma-buf together with that of fd @arg, as GPUs do. */
	DMA_BUF_IO_TEST_LOCK_PAIR,
	/* Results: mappings there are, were ever made; bytes written too late. */
	DMA_BUF_IO_TEST_LIVE,
	DMA_BUF_IO_TEST_TOTAL,
	DMA_BUF_IO_TEST_SCRIBBLED,
};

struct dma_buf_io_test_control {
	__s32	fd;		/* of the dma-buf */
	__u32	op;
	__u64	arg;
	__u64	result;		/* out */
};

#define DMA_BUF_IO_TEST_CREATE \
	_IOWR('t', 0x40, struct dma_buf_io_test_create)
#define DMA_BUF_IO_TEST_CONTROL \
	_IOWR('t', 0x41, struct dma_buf_io_test_control)

#endif
