// SPDX-License-Identifier: GPL-2.0
/*
 * Reads of a disk into a registered dma-buf, and what must be refused.
 *
 *	DISK=/dev/nvme0n1 ./dma_buf_io		or the disk as argument
 *
 * Nothing is written to the disk.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>

#include "../../../../include/io_uring/mini_liburing.h"
#include "../../kselftest.h"

#define SIZE	(1024 * 1024)
#define SLOT	1
#define SLOTS	2

static const char *disk;
static struct io_uring ring;
static int file, dmabuf;
static unsigned char *memory, *truth;

static int update(unsigned int type, int dmabuf_fd, int target_fd,
		  unsigned int flags)
{
	struct io_uring_regbuf_desc desc = {
		.type		= type,
		.flags		= flags,
		.dmabuf_fd	= dmabuf_fd,
		.target_fd	= target_fd,
	};
	struct io_uring_rsrc_update2 up = {
		.offset	= SLOT,
		.flags	= IORING_RSRC_UPDATE_EXTENDED,
		.data	= (uintptr_t)&desc,
		.nr	= 1,
	};
	int ret;

	ret = syscall(__NR_io_uring_register, ring.ring_fd,
		      IORING_REGISTER_BUFFERS_UPDATE, &up, sizeof(up));
	return ret < 0 ? -errno : ret;
}

static int register_dmabuf(int dmabuf_fd, int target_fd)
{
	return update(IO_REGBUF_TYPE_DMABUF, dmabuf_fd, target_fd, 0);
}

static int make_table(void)
{
	struct io_uring_rsrc_register table = {
		.nr	= SLOTS,
		.flags	= IORING_RSRC_REGISTER_SPARSE,
	};

	return syscall(__NR_io_uring_register, ring.ring_fd,
		       IORING_REGISTER_BUFFERS2, &table, sizeof(table));
}

/* One request; what it completes with. */
static int request(int fd, uint64_t offset, unsigned int len, uint64_t pos)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	struct io_uring_cqe *cqe;
	int ret;

	if (!sqe)
		ksft_exit_fail_msg("no entry of the ring is free\n");
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_READ_FIXED;
	sqe->fd = fd;
	sqe->addr = offset;
	sqe->len = len;
	sqe->off = pos;
	sqe->buf_index = SLOT;
	if (io_uring_submit(&ring) != 1 || io_uring_wait_cqe(&ring, &cqe))
		ksft_exit_fail_perror("io_uring");
	ret = cqe->res;
	io_uring_cqe_seen(&ring);
	return ret;
}

static void sync_memory(uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags | DMA_BUF_SYNC_RW };

	if (ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync))
		ksft_exit_fail_perror("DMA_BUF_IOCTL_SYNC");
}

/* The range has the disk's bytes, and around it nothing has changed. */
static bool reads(unsigned int offset, unsigned int len, uint64_t pos)
{
	bool same = true;
	unsigned int i;
	int ret;

	sync_memory(DMA_BUF_SYNC_START);
	memset(memory, 0xa5, SIZE);
	sync_memory(DMA_BUF_SYNC_END);
	if (pread(file, truth, len, pos) != len)
		ksft_exit_fail_perror("pread");
	ret = request(file, offset, len, pos);
	if (ret != (int)len) {
		ksft_print_msg("%u bytes from %llu: %d\n", len,
			       (unsigned long long)pos, ret);
		return false;
	}
	sync_memory(DMA_BUF_SYNC_START);
	for (i = 0; i < SIZE && same; i++)
		same = memory[i] == (i >= offset && i < offset + len ?
				     truth[i - offset] : 0xa5);
	sync_memory(DMA_BUF_SYNC_END);
	if (!same)
		ksft_print_msg("byte %u differs\n", i - 1);
	return same;
}

static bool is(int got, int want)
{
	if (got != want)
		ksft_print_msg("got %d, wanted %d\n", got, want);
	return got == want;
}

static void export_memory(void)
{
	int device = open("/dev/udmabuf", O_RDWR), memfd;
	struct udmabuf_create create = { .size = SIZE };

	if (device < 0)
		ksft_exit_skip("/dev/udmabuf: %s\n", strerror(errno));
	memfd = memfd_create("dma_buf_io", MFD_ALLOW_SEALING);
	if (memfd < 0 || ftruncate(memfd, SIZE) ||
	    fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		ksft_exit_fail_perror("memfd");
	create.memfd = memfd;
	dmabuf = ioctl(device, UDMABUF_CREATE, &create);
	if (dmabuf < 0)
		ksft_exit_fail_perror("UDMABUF_CREATE");
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	truth = aligned_alloc(4096, SIZE);
	if (memory == MAP_FAILED || !truth)
		ksft_exit_fail_perror("memory");
	close(memfd);
	close(device);
}

static void test_refused(void)
{
	int buffered = open(disk, O_RDONLY), zero = open("/dev/zero", O_RDWR);

	ksft_test_result(is(register_dmabuf(-1, file), -EBADF), "no dma-buf\n");
	ksft_test_result(is(register_dmabuf(dmabuf, -1), -EBADF), "no file\n");
	ksft_test_result(is(register_dmabuf(file, file), -EINVAL),
			 "a file that is no dma-buf\n");
	ksft_test_result(is(register_dmabuf(dmabuf, buffered), -EINVAL),
			 "a disk without O_DIRECT\n");
	ksft_test_result(is(register_dmabuf(dmabuf, zero), -EOPNOTSUPP),
			 "a file that takes none\n");
	ksft_test_result(is(update(IO_REGBUF_TYPE_DMABUF, dmabuf, file, 1),
			    -EINVAL), "a reserved flag\n");
	ksft_test_result(is(update(IO_REGBUF_TYPE_MAX, 0, 0, 0), -EINVAL),
			 "an unknown type\n");
	close(zero);
	close(buffered);
}

static void test_reads(void)
{
	ksft_test_result(reads(0, 4096, 0), "a page\n");
	ksft_test_result(reads(4096, 8192, 4096), "two pages\n");
	ksft_test_result(reads(12288, 65536, 8192), "a list of pages\n");
	ksft_test_result(reads(0, SIZE, 0), "the whole buffer\n");
	ksft_test_result(reads(SIZE - 4096, 4096, 0), "its last page\n");
}

static void test_requests(void)
{
	int again = open(disk, O_RDONLY | O_DIRECT), same = dup(file);

	ksft_test_result(is(request(again, 0, 4096, 0), -EBADF),
			 "another open file of the disk\n");
	ksft_test_result(is(request(same, 0, 4096, 0), 4096),
			 "a duplicate of the descriptor\n");
	ksft_test_result(is(request(file, SIZE, 4096, 0), -EFAULT),
			 "behind the buffer\n");
	ksft_test_result(is(request(file, 4096, SIZE, 0), -EFAULT),
			 "across its end\n");
	ksft_test_result(is(request(file, -4096ULL, 8192, 0), -EFAULT),
			 "an offset that wraps\n");
	ksft_test_result(is(request(file, 0, 4095, 0), -EINVAL),
			 "no whole blocks\n");
	ksft_test_result(is(request(file, 0, 0, 0), 0), "no bytes\n");
	close(same);
	close(again);
}

int main(int argc, char **argv)
{
	int ret;

	ksft_print_header();
	disk = argc > 1 ? argv[1] : getenv("DISK");
	if (!disk)
		ksft_exit_skip("name a disk: DISK=/dev/nvme0n1\n");
	file = open(disk, O_RDONLY | O_DIRECT);
	if (file < 0)
		ksft_exit_skip("%s: %s\n", disk, strerror(errno));
	export_memory();
	if (io_uring_queue_init(4, &ring, 0) || make_table())
		ksft_exit_skip("io_uring: %s\n", strerror(errno));

	ret = register_dmabuf(-1, -1);
	if (ret != -EBADF)
		ksft_exit_skip("this kernel registers no dma-bufs: %s\n",
			       strerror(-ret));
	ret = register_dmabuf(dmabuf, file);
	if (ret == -EOPNOTSUPP)
		ksft_exit_skip("%s takes no dma-bufs\n", disk);
	if (ret != 1)
		ksft_exit_fail_msg("registering: %s\n", strerror(-ret));

	ksft_set_plan(21);
	test_refused();
	/* what was refused has left the slot alone */
	test_reads();
	test_requests();
	ksft_test_result(is(update(IO_REGBUF_TYPE_EMPTY, 0, 0, 0), 1),
			 "clear the slot\n");
	ksft_test_result(is(request(file, 0, 4096, 0), -EFAULT),
			 "a slot that is empty\n");
	io_uring_queue_exit(&ring);
	ksft_finished();
}
