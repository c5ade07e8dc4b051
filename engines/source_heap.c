// SPDX-License-Identifier: GPL-2.0-or-later
/* A dma-heap, by its name in /dev/dma_heap. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/dma-heap.h>

#include "buffer.h"

static size_t heap_max_size(void)
{
	return 1 << 30;
}

static int heap_alloc(struct buffer *b, const struct source_args *args, struct error *e)
{
	struct dma_heap_allocation_data data = {
		.len = b->size,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	char path[128];
	int heap, ret, err;

	snprintf(path, sizeof(path), "/dev/dma_heap/%s", args->heap);
	heap = open(path, O_RDONLY | O_CLOEXEC);
	if (heap < 0)
		return error_set(e, errno, "cannot open %s (%s): name a heap that is in /dev/dma_heap and that you may open, or build the kernel with CONFIG_DMABUF_HEAPS_SYSTEM or _CMA",
				 path, strerror(errno));
	ret = ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data);
	err = errno;
	close(heap);
	if (ret)
		return error_set(e, err, "the heap %s has no %zu bytes (%s): lower iodepth or bs, use dmabuf_size, or give a CMA heap more with cma= at boot",
				 args->heap, b->size, strerror(err));
	b->dmabuf = data.fd;
	return buffer_map(b, b->dmabuf, 0, e);
}

const struct source_ops source_heap = {
	.name = "heap",
	.host = true,
	.max_size = heap_max_size,
	.alloc = heap_alloc,
};
