// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * give SIZE[r|m] WHERE PROGRAM...: hand dma-bufs of SIZE bytes to a program, as
 * descriptor WHERE, or if that is a path, over a UNIX socket there, one to each
 * that connects as long as the program runs. With r, they come from the system
 * heap and are open for reading only, so that a CPU cannot map them to write. With m,
 * their exporter is the kernel's for tests, and moves the data every few milliseconds:
 * each time all mappings are undone.
 */
#include <ctype.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#include <linux/dma-buf-io-test.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

static bool readonly, moves;

static int make_readonly(size_t size)
{
	struct dma_heap_allocation_data data = { .len = size, .fd_flags = O_RDONLY };
	int heap = open("/dev/dma_heap/system", O_RDONLY);

	if (heap < 0 || ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data))
		err(2, "/dev/dma_heap/system");
	close(heap);
	return data.fd;
}

static int make_udmabuf(size_t size)
{
	struct udmabuf_create create = { .memfd = memfd_create("give", MFD_ALLOW_SEALING), .size = size };
	int dev = open("/dev/udmabuf", O_RDWR), fd;

	if (dev < 0 || ftruncate(create.memfd, size) || fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		err(2, "udmabuf");
	fd = ioctl(dev, UDMABUF_CREATE, &create);
	if (fd < 0)
		err(2, "UDMABUF_CREATE");
	close(create.memfd);
	close(dev);
	return fd;
}

/* A process of its own moves it, until this one ends. */
static int make_moving(size_t size)
{
	struct dma_buf_io_test_create create = { .size = size, .segment = 4096, .flags = DMA_BUF_IO_TEST_MOVES };
	struct dma_buf_io_test_control move = { .op = DMA_BUF_IO_TEST_INVALIDATE };
	int dev = open("/dev/dma-buf-io-test", O_RDWR);

	if (dev < 0 || ioctl(dev, DMA_BUF_IO_TEST_CREATE, &create))
		err(2, "/dev/dma-buf-io-test");
	move.fd = create.fd;
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		for (;;) {
			usleep(2000);
			if (ioctl(dev, DMA_BUF_IO_TEST_CONTROL, &move))
				err(2, "moving");
		}
	}
	close(dev);
	return create.fd;
}

static int make(size_t size)
{
	return readonly ? make_readonly(size) : moves ? make_moving(size) : make_udmabuf(size);
}

static void serve(int s, size_t size)
{
	for (;;) {
		union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control = { 0 };
		struct iovec data = { "", 1 };
		struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1,
				      .msg_control = &control, .msg_controllen = sizeof(control) };
		int to = accept(s, NULL, NULL), fd = make(size);

		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
		if (to < 0 || sendmsg(to, &msg, 0) < 0)
			err(2, "send");
		close(fd);
		close(to);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	size_t size;
	char *end;
	int s;

	if (argc < 4)
		errx(2, "usage: give SIZE WHERE PROGRAM...");
	size = strtoul(argv[1], &end, 0);
	readonly = *end == 'r';
	moves = *end == 'm';
	if (isdigit((unsigned char)argv[2][0])) {
		int fd = make(size), to = atoi(argv[2]);

		if (fd != to && (dup2(fd, to) < 0 || close(fd)))
			err(2, "dup2");
	} else {
		snprintf(at.sun_path, sizeof(at.sun_path), "%s", argv[2]);
		unlink(at.sun_path);
		s = socket(AF_UNIX, SOCK_STREAM, 0);
		if (s < 0 || bind(s, (struct sockaddr *)&at, sizeof(at)) || listen(s, 16))
			err(2, "%s", at.sun_path);
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			serve(s, size);
		}
		close(s);
	}
	execvp(argv[3], argv + 3);
	err(2, "%s", argv[3]);
}
