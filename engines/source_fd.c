// SPDX-License-Identifier: GPL-2.0-or-later
/* A dma-buf that another program made: an inherited descriptor, or one sent over a socket. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "buffer.h"

static size_t fd_max_size(void)
{
	return SIZE_MAX;	/* ->alloc knows */
}

#define PATIENCE_MS	10000
#define SLICE_MS	100	/* between two looks at args->stop */
#define FDS		8	/* there is room for in a message; one is right */

struct wait {
	const volatile bool *stop;
	int left_ms;
};

/* Whether to go on, a slice of time later or at an event. Else errno. */
static bool wait_on(struct wait *w, int s, short events)
{
	struct pollfd p = { .fd = s, .events = events };
	int ret;

	for (; w->left_ms > 0; w->left_ms -= SLICE_MS) {
		if (*w->stop) {
			errno = ECANCELED;
			return false;
		}
		ret = poll(&p, events != 0, SLICE_MS);
		if (ret > 0 || (!ret && !events)) {
			w->left_ms -= events ? 0 : SLICE_MS;
			return true;
		}
		if (ret < 0 && errno != EINTR)
			return false;
	}
	errno = ETIMEDOUT;
	return false;
}

/* 0 or -1. A listener whose queue is full says EAGAIN. */
static int connect_to(int s, const struct sockaddr_un *to, struct wait *w)
{
	while (connect(s, (const struct sockaddr *)to, sizeof(*to)))
		if ((errno != EAGAIN && errno != EINTR) || !wait_on(w, -1, 0))
			return -1;
	return 0;
}

/* One message with one descriptor, or -1. */
static int receive(int from, struct wait *w)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(FDS * sizeof(int))];
	} control;
	char byte;
	struct iovec data = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &data, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	unsigned int nr = 0, i;
	struct cmsghdr *c;
	int fds[FDS];

	do {
		if (!wait_on(w, from, POLLIN))
			return -1;
	} while (recvmsg(from, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR));
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), nr * sizeof(int));
	}
	if (nr == 1 && !(msg.msg_flags & MSG_CTRUNC))
		return fds[0];
	for (i = 0; i < nr; i++)
		close(fds[i]);
	errno = nr ? E2BIG : ENOMSG;
	return -1;
}

static int receive_from(const struct source_args *args, struct error *e)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct wait w = { args->stop, PATIENCE_MS };
	const char *path = args->socket;
	int fd = -1, err, s;

	if (strlen(path) >= sizeof(to.sun_path))
		return error_set(e, ENAMETOOLONG, "the path of dmabuf_socket is longer than the %zu bytes of a socket's", sizeof(to.sun_path) - 1);
	strcpy(to.sun_path, path);
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0 || connect_to(s, &to, &w))
		error_set(e, err = errno, "cannot connect to %s (%s): start the program that listens there and sends a dma-buf",
			  path, strerror(errno));
	else if ((fd = receive(s, &w)) < 0)
		error_set(e, err = errno, "%s sent not one descriptor (%s): within %u seconds it has to send one dma-buf with SCM_RIGHTS and a byte of data",
			  path, strerror(errno), PATIENCE_MS / 1000);
	if (s >= 0)
		close(s);
	return fd < 0 ? -err : fd;
}

/*
 * No other job may have these bytes: each would write the other's data. Not the
 * dma-buf but /dev/null is locked, as everybody can open that anew, in a place
 * that stands for them; the lock goes with its descriptor, even in a crash.
 */
static int claim(struct buffer *b, struct error *e)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = b->size };
	struct stat st;

	if (fstat(b->dmabuf, &st))
		return error_set(e, errno, "cannot look at the dma-buf handed over: %s", strerror(errno));
	lock.l_start = (off_t)(st.st_ino & 0x7fffff) << 40 | b->offset;
	b->claim = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (b->claim < 0)
		return error_set(e, errno, "cannot open /dev/null: %s", strerror(errno));
	if (!fcntl(b->claim, F_OFD_SETLK, &lock))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return error_set(e, EBUSY, "another job has these bytes of the dma-buf, and each would overwrite what the other moves: give each %zu bytes of its own with dmabuf_offset=, or a dma-buf of its own with dmabuf_socket=",
				 b->size);
	return error_set(e, errno, "cannot lock a part of the dma-buf: %s", strerror(errno));
}

static int get_descriptor(const struct source_args *args, struct error *e)
{
	int fd;

	if (args->socket)
		return receive_from(args, e);
	fd = fcntl(args->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return error_set(e, errno, "there is no descriptor %d (%s): let fio inherit a dma-buf and name its number with dmabuf_fd=, or use dmabuf_socket=",
				 args->fd, strerror(errno));
	return fd;
}

static int fd_alloc(struct buffer *b, const struct source_args *args, struct error *e)
{
	int fd = get_descriptor(args, e), ret;
	off_t size;

	if (fd < 0)
		return fd;
	b->dmabuf = fd;
	b->offset = args->offset + (off_t)(args->clone * b->size);
	if (!buffer_ask_exporter(b, fd))
		return error_set(e, EINVAL, "the descriptor handed over is no dma-buf: export one with udmabuf, a dma-heap, DRM or VFIO");
	size = lseek(fd, 0, SEEK_END);
	if (size < 0 || size < b->offset || (size_t)(size - b->offset) < b->size)
		return error_set(e, EINVAL, "the dma-buf handed over has %lld bytes and the job needs %zu from %lld on: lower iodepth, bs or dmabuf_offset, or hand over a larger one",
				 (long long)size, b->size, (long long)b->offset);
	ret = claim(b, e);
	return ret ? ret : buffer_map(b, fd, b->offset, e);
}

const struct source_ops source_fd = {
	.name = "fd",
	.single = true,
	.max_size = fd_max_size,
	.alloc = fd_alloc,
};
