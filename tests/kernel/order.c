// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests that wait for others: linked, hard-linked, drained; and what may
 * happen to the file's O_DIRECT between submission and issue.
 */
#include "exporter.h"

#define SIZE	(2 * T_MIB)
#define CHAIN	32		/* requests */
#define BLOCK	32768UL

static struct t_disk disk;
static int fd;

/* A ring with the buffer in slot 0, mapped or, for the first request to map, not. */
static enum t_result begin(struct t_ring *ring, enum t_mode mode, struct t_buf *buf, bool mapped)
{
	int dmabuf;

	T_TRY(need_exporter());
	T_TRY(t_need(mode));
	dmabuf = export_buf(SIZE, 4096, 0);
	T_CHECK(dmabuf >= 0, "exporting: %s", t_number(dmabuf));
	t_buf_adopt(buf, dmabuf, SIZE);
	t_ring_init(ring, mode, CHAIN, 1);
	T_IS(t_register(ring, 0, buf->fd, fd, 0), 1, "register");
	if (!mapped)
		T_IS(control(buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	return T_PASS;
}

/* No request has kept a reference, or this would wait for it. */
static enum t_result end(struct t_ring *ring, struct t_buf *buf)
{
	T_IS(control(buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(ask(buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings left");
	T_IS(t_clear(ring, 0), 1, "unregister");
	t_ring_exit(ring);
	t_buf_exit(buf);
	t_disk_restore(&disk, 0, (CHAIN + 1) * BLOCK);
	return T_PASS;
}

/*
 * Step by step, the first block of the buffer goes to the disk, from there to
 * the next block of the buffer, and so on: right only if each request waits.
 */
static void step(struct t_ring *ring, unsigned int i, unsigned int flags)
{
	const struct t_io io = {
		.fd = fd, .write = i % 2 == 0, .addr = (i + 1) / 2 * BLOCK, .len = BLOCK, .pos = i / 2 * BLOCK,
	};

	t_queue(ring, &io, i)->flags |= flags;
}

static enum t_result linked(enum t_mode mode, bool mapped, unsigned int flag)
{
	struct t_ring ring;
	struct t_buf buf;
	unsigned int i;
	uint64_t data;
	bool ok = true;

	T_TRY(begin(&ring, mode, &buf, mapped));
	for (i = 0; i < CHAIN; i++)
		step(&ring, i, i < CHAIN - 1 ? flag : 0);
	t_submit(&ring);
	for (i = 0; i < CHAIN; i++) {
		T_IS(t_reap(&ring, &data), BLOCK, "request");
		T_IS(data, i, "which completes");
	}
	t_buf_begin(&buf);
	for (i = 1; i <= CHAIN / 2; i++)
		ok = ok && t_same("block of the chain", buf.map + i * BLOCK, buf.poison, BLOCK);
	t_buf_end(&buf);
	T_CHECK(ok, "wrong data");
	return end(&ring, &buf);
}

/* The third of a chain fails: a link ends there, a hard link does not. */
static enum t_result broken(enum t_mode mode, unsigned int flag)
{
	unsigned int i;
	struct t_ring ring;
	struct t_buf buf;
	uint64_t data;
	int want;

	T_TRY(begin(&ring, mode, &buf, true));
	for (i = 0; i < 8; i++) {
		const struct t_io io = { .fd = fd, .addr = i == 2 ? SIZE : i * BLOCK, .len = BLOCK };

		t_queue(&ring, &io, i)->flags |= i < 7 ? flag : 0;
	}
	t_submit(&ring);
	for (i = 0; i < 8; i++) {
		int ret = t_reap(&ring, &data);

		want = data < 2 ? (int)BLOCK : data == 2 ? -EFAULT : flag == IOSQE_IO_LINK ? -ECANCELED : (int)BLOCK;
		T_IS(ret, want, "request");
	}
	return end(&ring, &buf);
}

/* Many writes, then a drained read of all that they write, then a read behind it. */
static enum t_result drained(enum t_mode mode, bool mapped)
{
	const struct t_io all = { .fd = fd, .addr = SIZE / 2, .len = (CHAIN - 2) * BLOCK };
	struct t_ring ring;
	struct t_buf buf;
	unsigned int i;
	uint64_t data;
	bool ok;

	T_TRY(begin(&ring, mode, &buf, mapped));
	for (i = 0; i < CHAIN - 2; i++) {
		const struct t_io io = { .fd = fd, .write = true, .addr = i * BLOCK, .len = BLOCK, .pos = i * BLOCK };

		t_queue(&ring, &io, i);
	}
	t_queue(&ring, &all, CHAIN - 2)->flags |= IOSQE_IO_DRAIN;
	t_queue(&ring, &(const struct t_io){ .fd = fd, .len = BLOCK, .pos = 8 * T_MIB }, CHAIN - 1);
	t_submit(&ring);
	for (i = 0; i < CHAIN; i++) {
		int ret = t_reap(&ring, &data);

		T_IS(ret, data == CHAIN - 2 ? all.len : BLOCK, "request");
		if (i >= CHAIN - 2)
			T_IS(data, i, "which completes");
	}
	t_buf_begin(&buf);
	ok = t_same("the drained read", buf.map + all.addr, buf.poison, all.len) &&
	     t_same("the read behind", buf.map, disk.image + 8 * T_MIB, BLOCK);
	t_buf_end(&buf);
	T_CHECK(ok, "wrong data");
	return end(&ring, &buf);
}

static void direct(bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT))
		t_die("F_SETFL: %m");
}

/*
 * What counts is O_DIRECT at the time of issue. That is after the change for a
 * request that is linked to the read of a pipe and waits for it, and before it for
 * one that waits in io-wq for a mapping. With DEFER_TASKRUN nobody has sent it there
 * yet: it is issued again when its task comes.
 */
static enum t_result direct_changes(enum t_mode mode, bool link, bool cleared)
{
	struct t_io io = { .fd = fd, .len = 8192, .pos = 4096 };
	bool works = link ? !cleared : cleared && mode != T_DEFER;
	char byte[8];
	int pipes[2], ret;
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(begin(&ring, mode, &buf, link));
	T_CHECK(!pipe2(pipes, O_CLOEXEC), "pipe: %m");
	direct(cleared);
	if (link) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring.uring);

		io_uring_prep_read(sqe, pipes[0], byte, 1, -1);
		sqe->flags |= IOSQE_IO_LINK;
	} else {
		T_IS(control(&buf, DMA_BUF_IO_TEST_FENCE, 1, NULL), 0, "add a fence");
	}
	t_queue(&ring, &io, 0);
	t_submit(&ring);
	usleep(200000);
	direct(!cleared);
	if (link)
		T_IS(write(pipes[1], "x", 1), 1, "write to the pipe");
	else
		T_IS(control(&buf, DMA_BUF_IO_TEST_FENCE, 0, NULL), 0, "signal it");
	if (link)
		T_IS(t_reap(&ring, NULL), 1, "read of the pipe");
	ret = t_reap(&ring, NULL);
	direct(true);
	T_IS(ret, works ? 8192 : -EINVAL, "request");
	t_buf_begin(&buf);
	T_CHECK(t_same("the buffer", buf.map, works ? disk.image + 4096 : buf.poison, 8192), "wrong data");
	t_buf_end(&buf);
	close(pipes[0]);
	close(pipes[1]);
	return end(&ring, &buf);
}

int main(int argc, char **argv)
{
	unsigned int mode;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_MODES * 7 + (T_MODES - 1) * 4);
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	for (mode = 0; mode < T_MODES; mode++) {
		const char *name = t_mode_names[mode];

		t_report(linked(mode, true, IOSQE_IO_LINK), "a chain of links, %s", name);
		t_report(linked(mode, false, IOSQE_IO_LINK), "a chain whose first request maps, %s", name);
		t_report(linked(mode, true, IOSQE_IO_HARDLINK), "a chain of hard links, %s", name);
		t_report(broken(mode, IOSQE_IO_LINK), "a link that fails, %s", name);
		t_report(broken(mode, IOSQE_IO_HARDLINK), "a hard link that fails, %s", name);
		t_report(drained(mode, true), "drained, %s", name);
		t_report(drained(mode, false), "drained behind requests that map, %s", name);
		if (mode == T_POLLED)	/* such rings read no pipes */
			continue;
		t_report(direct_changes(mode, true, true), "O_DIRECT cleared before a linked request is issued, %s", name);
		t_report(direct_changes(mode, true, false), "O_DIRECT set before a linked request is issued, %s", name);
		t_report(direct_changes(mode, false, true), "O_DIRECT cleared while a request waits for its mapping, %s", name);
		t_report(direct_changes(mode, false, false), "O_DIRECT set while a request waits for its mapping, %s", name);
	}
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
