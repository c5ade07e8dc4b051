// SPDX-License-Identifier: GPL-2.0-or-later
/* A dma-buf that another program made: an inherited descriptor, or one sent over a socket. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "buffer.h"

static size_t fd_max_size(void)
{
	return SIZE_MAX;	/* ->alloc knows */
}

/* One message with one descriptor, -1: there was none. */
static int receive(int from)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec data = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &data, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	int fd = -1;

	if (recvmsg(from, &msg, MSG_CMSG_CLOEXEC) < 0)
		return -1;
	c = CMSG_FIRSTHDR(&msg);
	errno = ENOMSG;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static int receive_from(const char *path, struct error *e)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = -1, err, s;

	if (strlen(path) >= sizeof(to.sun_path))
		return error_set(e, ENAMETOOLONG, "the path of dmabuf_socket is longer than the %zu bytes of a socket's", sizeof(to.sun_path) - 1);
	strcpy(to.sun_path, path);
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof(to)))
		error_set(e, err = errno, "cannot connect to %s (%s): start the program that listens there and sends a dma-buf",
			  path, strerror(errno));
	else if ((fd = receive(s)) < 0)
		error_set(e, err = errno, "%s sent no descriptor (%s): it has to send one dma-buf with SCM_RIGHTS and a byte of data",
			  path, strerror(errno));
	if (s >= 0)
		close(s);
	return fd < 0 ? -err : fd;
}

static int fd_alloc(struct buffer *b, const struct source_args *args, struct error *e)
{
	off_t size;
	int fd;

	if (args->socket) {
		fd = receive_from(args->socket, e);
		if (fd < 0)
			return fd;
	} else {
		fd = fcntl(args->fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return error_set(e, errno, "there is no descriptor %d (%s): let fio inherit a dma-buf and name its number with dmabuf_fd=, or use dmabuf_socket=",
					 args->fd, strerror(errno));
	}
	b->dmabuf = fd;
	if (!buffer_ask_exporter(b, fd))
		return error_set(e, EINVAL, "the descriptor handed over is no dma-buf: export one with udmabuf, a dma-heap, DRM or VFIO");
	size = lseek(fd, 0, SEEK_END);
	if (size < 0 || (size_t)size < b->size)
		return error_set(e, EINVAL, "the dma-buf handed over has %lld bytes and the job needs %zu: lower iodepth or bs, or hand over a larger one",
				 (long long)size, b->size);
	return buffer_map(b, fd, 0, e);
}

const struct source_ops source_fd = {
	.name = "fd",
	.single = true,
	.max_size = fd_max_size,
	.alloc = fd_alloc,
};
