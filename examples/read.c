// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * read DEVICE: the first MiB of a block device, through a registered dma-buf, to standard output.
 *	cc -o read examples/read.c -luring && ./read /dev/nvme0n1 | sha256sum
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "dmabuf_register.h"

enum { SIZE = 1 << 20, SLOT = 0 /* of the ring's table of buffers */ };

/* A memfd's memory. A dma-buf of a GPU or of a heap serves as well: only this function is another then. */
static int export_memory(void)
{
	int memory = memfd_create("read", MFD_ALLOW_SEALING), udmabuf = open("/dev/udmabuf", O_RDWR);
	struct udmabuf_create create = { .memfd = memory, .size = SIZE };

	if (udmabuf < 0 || ftruncate(memory, SIZE) || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK))
		err(1, "/dev/udmabuf (the kernel needs CONFIG_UDMABUF)");
	return ioctl(udmabuf, UDMABUF_CREATE, &create);
}

static int read_once(struct io_uring *ring, int file)
{
	struct io_uring_cqe *cqe;
	int ret;

	io_uring_prep_read_fixed(io_uring_get_sqe(ring), file, NULL /* an offset in the dma-buf: 0 */, SIZE, 0, SLOT);
	ret = io_uring_submit_and_wait(ring, 1);
	if (ret < 0 || io_uring_wait_cqe(ring, &cqe))
		errx(1, "io_uring_submit_and_wait: %s", strerror(-ret));
	ret = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return ret;
}

int main(int argc, char **argv)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_READ | DMA_BUF_SYNC_START };
	int file, dmabuf, ret;
	struct io_uring ring;
	void *memory;

	if (argc != 2)
		errx(2, "usage: read DEVICE");
	file = open(argv[1], O_RDONLY | O_DIRECT);
	if (file < 0)
		err(1, "%s", argv[1]);
	dmabuf = export_memory();
	memory = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, dmabuf, 0);
	if (dmabuf < 0 || memory == MAP_FAILED)
		err(1, "a dma-buf of %d bytes", SIZE);
	ret = io_uring_queue_init(8, &ring, 0) ?: io_uring_register_buffers_sparse(&ring, 1);
	if (ret)
		errx(1, "a ring with one slot: %s", strerror(-ret));
	ret = io_uring_register_dmabuf(&ring, SLOT, dmabuf, file, 0);
	if (ret)
		errx(1, "registering the dma-buf: %s", io_uring_dmabuf_strerror(ret));

	do	/* -EAGAIN: the mapping was taken away meanwhile, and not every kernel waits for another. Issue it again. */
		ret = read_once(&ring, file);
	while (ret == -EAGAIN);
	if (ret != SIZE)
		errx(1, "read %d of %d bytes: %s", ret < 0 ? 0 : ret, SIZE, ret < 0 ? strerror(-ret) : "the device ends there");

	/* The CPU reads what the device wrote between a start and an end. */
	if (ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync) || write(STDOUT_FILENO, memory, SIZE) != SIZE)
		err(1, "writing it out");
	sync.flags ^= DMA_BUF_SYNC_START ^ DMA_BUF_SYNC_END;
	return ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync) ? 1 : 0;
}
