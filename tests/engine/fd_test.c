// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * source_fd.c on memfds in place of dma-bufs: which part of a dma-buf a job gets,
 * and that no two get the same.
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buffer.h"

#define PAGE	4096
#define SIZE	(16 * PAGE)

static const volatile bool stop;
static bool is_dmabuf = true;

bool buffer_ask_exporter(struct buffer *b, int fd) { return is_dmabuf; }
int buffer_map(struct buffer *b, int fd, off_t offset, struct error *e) { assert(offset == b->offset); return 0; }

static int get(struct buffer *b, int fd, size_t size, off_t offset, unsigned int clone)
{
	struct source_args args = { .fd = fd, .offset = offset, .clone = clone, .stop = &stop };
	struct error e = { "" };
	int ret;

	*b = (struct buffer){ .size = size, .memory = -1, .dmabuf = -1, .claim = -1 };
	ret = source_fd.alloc(b, &args, &e);
	assert(!ret == !e.text[0]);
	return ret;
}

static void put(struct buffer *b)
{
	close(b->dmabuf);
	if (b->claim >= 0)
		close(b->claim);
}

/* What a job in a process of its own gets for that part. */
static int other(int fd, size_t size, off_t offset, unsigned int clone)
{
	struct buffer b;
	int status;

	if (fork() == 0)
		_exit(-get(&b, fd, size, offset, clone));
	wait(&status);
	assert(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

int main(void)
{
	int fd = memfd_create("a", 0), fd2 = memfd_create("b", 0), again = dup(fd);
	struct buffer a, b, c;

	assert(ftruncate(fd, SIZE) == 0 && ftruncate(fd2, SIZE) == 0);
	assert(get(&a, fd, 4 * PAGE, 0, 0) == 0 && a.offset == 0);
	/* this process or another, that descriptor or a duplicate, all or a page of it */
	assert(get(&b, fd, 4 * PAGE, 0, 0) == -EBUSY);
	put(&b);
	assert(get(&b, again, PAGE, 3 * PAGE, 0) == -EBUSY);
	put(&b);
	assert(other(fd, 4 * PAGE, 0, 0) == -EBUSY && other(fd, SIZE, 0, 0) == -EBUSY && other(again, PAGE, 3 * PAGE, 0) == -EBUSY);
	/* beside it, and in another one */
	assert(other(fd, 4 * PAGE, 4 * PAGE, 0) == 0 && other(fd, 4 * PAGE, 0, 1) == 0 && other(fd2, 4 * PAGE, 0, 0) == 0);
	assert(get(&b, fd, 4 * PAGE, 4 * PAGE, 0) == 0 && b.offset == 4 * PAGE);
	assert(get(&c, fd, 4 * PAGE, 0, 2) == 0 && c.offset == 8 * PAGE);	/* the third of numjobs=3 */
	put(&c);
	put(&b);
	put(&a);
	assert(other(fd, SIZE, 0, 0) == 0);	/* given back, and by those that are gone */
	/* the end of it */
	assert(get(&a, fd, PAGE, SIZE - PAGE, 0) == 0);
	put(&a);
	assert(get(&a, fd, PAGE, SIZE, 0) == -EINVAL);
	put(&a);
	assert(get(&a, fd, 2 * PAGE, SIZE - PAGE, 0) == -EINVAL);
	put(&a);
	assert(get(&a, fd, 4 * PAGE, 0, 4) == -EINVAL);
	put(&a);
	is_dmabuf = false;
	assert(get(&a, fd, PAGE, 0, 0) == -EINVAL);
	put(&a);
	assert(get(&a, 99, PAGE, 0, 0) == -EBADF && a.dmabuf == -1);
	return 0;
}
