/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For examples/ on a machine whose kernel has none of it: io_uring and udmabuf as they
 * would answer. FAILS= has the errno of each completion in turn, REFUSED= that of
 * registering, with good descriptors and bad ones, and RING= that of making a ring.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/dma-buf.h>
#include <linux/io_uring/dmabuf.h>
#include <linux/udmabuf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct io_uring_sqe fake_sqe;
static struct io_uring_cqe fake_cqe;
static int fake_memory, fake_slots, fake_target = -1, fake_syncs;

static int fake_open(const char *path, int flags)
{
	return open(strcmp(path, "/dev/udmabuf") ? path : "/dev/null", flags & ~O_DIRECT);
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
	struct udmabuf_create *create = argument;

	if (request == UDMABUF_CREATE) {
		if (create->offset || create->size % 4096 || !(fcntl(create->memfd, F_GET_SEALS) & F_SEAL_SHRINK))
			abort();
		return fake_memory = create->memfd;
	}
	if (request != DMA_BUF_IOCTL_SYNC || fd != fake_memory ||
	    ((struct dma_buf_sync *)argument)->flags != (DMA_BUF_SYNC_READ | (fake_syncs++ ? DMA_BUF_SYNC_END : DMA_BUF_SYNC_START)))
		abort();
	return 0;
}

static int fake_init(unsigned int entries, struct io_uring *ring, unsigned int flags)
{
	(void)flags;
	ring->ring_fd = 99;
	return getenv("RING") ? -atoi(getenv("RING")) : entries ? 0 : -EINVAL;
}

static int fake_sparse(struct io_uring *ring, unsigned int nr)
{
	(void)ring;
	return fake_slots = nr, 0;
}

static long fake_syscall(long number, int ring, unsigned int opcode, void *argument, size_t size)
{
	struct io_uring_rsrc_update2 *update = argument;
	struct io_uring_regbuf_desc *desc = (void *)(unsigned long)update->data;
	bool probe = desc->dmabuf_fd == -1 && desc->target_fd == -1;
	struct io_uring_regbuf_desc want = { .type = IO_REGBUF_TYPE_DMABUF, .dmabuf_fd = probe ? -1 : fake_memory, .target_fd = desc->target_fd };

	if (number != __NR_io_uring_register || ring != 99 || opcode != IORING_REGISTER_BUFFERS_UPDATE || size != sizeof(*update) ||
	    update->resv != IORING_RSRC_UPDATE_EXTENDED || update->nr != 1 || (int)update->offset >= fake_slots || memcmp(desc, &want, sizeof(want)))
		abort();
	if (getenv("REFUSED")) {
		errno = atoi(getenv("REFUSED"));
		return -1;
	}
	if (probe) {
		errno = EBADF;
		return -1;
	}
	fake_target = desc->target_fd;
	return 1;
}

static int fake_submit(struct io_uring *ring, unsigned int nr)
{
	static char *fails;

	(void)ring;
	if (!fails)
		fails = getenv("FAILS");
	if (nr != 1 || fake_sqe.opcode != IORING_OP_READ_FIXED || fake_sqe.fd != fake_target || fake_sqe.addr || fake_sqe.buf_index)
		abort();
	if (fails && *fails) {
		fake_cqe.res = -strtol(fails, &fails, 10);
	} else {
		void *memory = mmap(NULL, fake_sqe.len, PROT_WRITE, MAP_SHARED, fake_memory, 0);

		fake_cqe.res = pread(fake_sqe.fd, memory, fake_sqe.len, fake_sqe.off);
	}
	memset(&fake_sqe, 0, sizeof(fake_sqe));
	return 1;
}

static int fake_wait(struct io_uring *ring, struct io_uring_cqe **cqe)
{
	(void)ring;
	return *cqe = &fake_cqe, 0;
}

#define open fake_open
#define ioctl fake_ioctl
#define syscall fake_syscall
#define io_uring_queue_init fake_init
#define io_uring_register_buffers_sparse fake_sparse
#define io_uring_queue_exit(ring) ((void)(ring))
#define io_uring_get_sqe(ring) ((void)(ring), &fake_sqe)
#define io_uring_submit_and_wait fake_submit
#define io_uring_wait_cqe fake_wait
#define io_uring_cqe_seen(ring, cqe) ((void)(ring), (void)(cqe))
