// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ordering with the work of a GPU, by the recipe of docs/gpu-ordering.md: a poll
 * of the dma-buf's fences, or of a sync_file, linked to the read or write. The
 * test exporter is the GPU: it has fences in the dma-buf, and the CPU changes the
 * memory before it signals them.
 */
#include <linux/dma-buf.h>
#include <poll.h>

#include "device.h"

#ifndef DMA_BUF_IOCTL_EXPORT_SYNC_FILE	/* since Linux 6.0 */
struct dma_buf_export_sync_file {
	__u32 flags;
	__s32 fd;
};
#define DMA_BUF_IOCTL_EXPORT_SYNC_FILE _IOWR(DMA_BUF_BASE, 2, struct dma_buf_export_sync_file)
#endif

enum usage { KERNEL = 1, WRITES = 2, READS = 3 };	/* who has the fence */
enum how { DMABUF, SYNC_FILE };

#define POLLED		1	/* user data */
#define DONE		2
#define TIMEOUT		3
#define A_WHILE_US	20000

static struct t_disk disk;
static struct t_ring ring;
static struct t_buf buf;
static int fd;

static enum t_result start(enum t_mode mode)
{
	T_TRY(watched_init(&buf));
	t_ring_init(&ring, mode, 8, 1);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	return T_PASS;
}

static enum t_result stop(void)
{
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

static enum t_result fence(enum usage usage)
{
	T_IS(control(&buf, DMA_BUF_IO_TEST_FENCE, usage, NULL), 0, "add a fence");
	return T_PASS;
}

static enum t_result signal_it(void)
{
	T_IS(control(&buf, DMA_BUF_IO_TEST_FENCE, 0, NULL), 0, "signal it");
	return T_PASS;
}

static struct t_io io(bool write)
{
	return (struct t_io){ .fd = fd, .write = write, .len = CHUNK, .pos = write ? SCRATCH : 0 };
}

/*
 * What is to be polled for before an I/O: a write to the disk reads the memory,
 * and has to wait for who writes there; a read from the disk writes it, and has to
 * wait for who reads there, too.
 */
static enum t_result linked(bool write, enum how how, bool timeout, int *sync_file)
{
	struct dma_buf_export_sync_file export = { .flags = write ? DMA_BUF_SYNC_READ : DMA_BUF_SYNC_WRITE };
	struct t_io what = io(write);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring.uring);
	static struct __kernel_timespec soon = { .tv_nsec = A_WHILE_US * 1000 };

	*sync_file = -1;
	if (how == SYNC_FILE) {
		T_CHECK(!ioctl(buf.fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export), "sync_file: %m");
		*sync_file = export.fd;
		io_uring_prep_poll_add(sqe, export.fd, POLLIN);
	} else {
		io_uring_prep_poll_add(sqe, buf.fd, write ? POLLIN : POLLOUT);
	}
	sqe->flags |= IOSQE_IO_LINK;
	sqe->user_data = POLLED;
	if (timeout) {
		sqe = io_uring_get_sqe(&ring.uring);
		io_uring_prep_link_timeout(sqe, &soon, 0);
		sqe->flags |= IOSQE_IO_LINK;
		sqe->user_data = TIMEOUT;
	}
	t_queue(&ring, &what, DONE);
	t_submit(&ring);
	return T_PASS;
}

static bool nothing_comes(void)
{
	struct __kernel_timespec wait = { .tv_nsec = A_WHILE_US * 1000 };
	struct io_uring_cqe *cqe;

	return io_uring_wait_cqe_timeout(&ring.uring, &cqe, &wait) == -ETIME;
}

/* The results of @nr completions, by user data. */
static enum t_result reap(int results[4], unsigned int nr)
{
	uint64_t data;
	int ret;

	while (nr--) {
		ret = t_reap(&ring, &data);
		T_CHECK(data && data < 4, "user data %llu", (unsigned long long)data);
		results[data] = ret;
	}
	return T_PASS;
}

/* What the GPU has written before it signals is what goes to the disk. */
static enum t_result write_after(enum t_mode mode, enum how how, enum usage usage)
{
	int results[4] = { 0 }, sync_file;

	T_TRY(start(mode));
	memset(buf.map, 0x11, CHUNK);
	T_TRY(fence(usage));
	T_TRY(linked(true, how, false, &sync_file));
	T_CHECK(nothing_comes(), "something completes before the fence is signalled");
	memset(buf.map, 0x22, CHUNK);
	T_TRY(signal_it());
	T_TRY(reap(results, 2));
	T_CHECK(results[POLLED] & POLLIN, "poll: 0x%x", results[POLLED]);
	T_IS(results[DONE], CHUNK, "write");
	T_CHECK(t_same("written", t_disk_read(&disk, SCRATCH, CHUNK), buf.map, CHUNK), "the disk has what was there before the GPU was done");
	close(sync_file);
	return stop();
}

/* The GPU reads: what comes from the disk does not come over it. */
static enum t_result read_after(enum t_mode mode, enum how how)
{
	int results[4] = { 0 }, sync_file;
	size_t i;

	T_TRY(start(mode));
	memset(buf.map, 0x33, CHUNK);
	T_TRY(fence(READS));
	T_TRY(linked(false, how, false, &sync_file));
	T_CHECK(nothing_comes(), "something completes while the GPU reads");
	for (i = 0; i < CHUNK; i++)
		T_CHECK(buf.map[i] == 0x33, "byte %zu has changed while the GPU reads", i);
	T_TRY(signal_it());
	T_TRY(reap(results, 2));
	T_CHECK(results[POLLED] & (how == DMABUF ? POLLOUT : POLLIN), "poll: 0x%x", results[POLLED]);
	T_IS(results[DONE], CHUNK, "read");
	T_CHECK(t_same("read", buf.map, disk.image, CHUNK), "wrong data");
	close(sync_file);
	return stop();
}

/* Both read the memory: neither waits. */
static enum t_result readers_together(enum t_mode mode, enum how how)
{
	int results[4] = { 0 }, sync_file;

	T_TRY(start(mode));
	memset(buf.map, 0x44, CHUNK);
	T_TRY(fence(READS));
	T_TRY(linked(true, how, false, &sync_file));
	T_TRY(reap(results, 2));
	T_IS(results[DONE], CHUNK, "write");
	T_TRY(signal_it());
	close(sync_file);
	return stop();
}

/* A GPU that hangs: the chain ends, and the I/O is not done. */
static enum t_result gives_up(enum t_mode mode, enum how how)
{
	int results[4] = { 0 }, sync_file;

	T_TRY(start(mode));
	memset(buf.map, 0x55, CHUNK);
	t_disk_restore(&disk, SCRATCH, CHUNK);
	T_TRY(fence(WRITES));
	T_TRY(linked(true, how, true, &sync_file));
	T_TRY(reap(results, 3));
	T_IS(results[POLLED], -ECANCELED, "poll");
	T_IS(results[TIMEOUT], -ETIME, "timeout");
	T_IS(results[DONE], -ECANCELED, "write");
	T_CHECK(t_same("not written", t_disk_read(&disk, SCRATCH, CHUNK), disk.image + SCRATCH, CHUNK), "the write was done");
	T_TRY(signal_it());
	close(sync_file);
	return stop();
}

/* Nobody waits for a fence who does not ask: all that is said of requests that have a mapping. */
static enum t_result unasked(enum t_mode mode)
{
	enum usage usage;

	T_TRY(start(mode));
	for (usage = KERNEL; usage <= READS; usage++) {
		struct t_io what = io(true);

		T_TRY(fence(usage));
		T_IS(t_rw(&ring, &what), CHUNK, "write");
		what = io(false);
		T_IS(t_rw(&ring, &what), CHUNK, "read");
		T_TRY(signal_it());
	}
	return stop();
}

/* But who makes a mapping waits for who writes, though not for who reads. */
static enum t_result mapped_anew(enum t_mode mode)
{
	struct t_io what = io(true);
	enum usage usage;

	T_TRY(start(mode));
	for (usage = KERNEL; usage <= READS; usage++) {
		T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
		T_TRY(fence(usage));
		t_queue(&ring, &what, DONE);
		t_submit(&ring);
		if (usage != READS)
			T_CHECK(nothing_comes(), "a mapping was made before who writes was done");
		if (usage != READS)
			T_TRY(signal_it());
		T_IS(t_reap(&ring, NULL), CHUNK, "write");
		if (usage == READS)
			T_TRY(signal_it());
	}
	return stop();
}

#define MODES	3	/* T_POLLED rings take no polls, and T_ASYNC is about something else */

int main(int argc, char **argv)
{
	static const char *const ways[] = { [DMABUF] = "the dma-buf", [SYNC_FILE] = "a sync_file" };
	enum t_mode mode;
	enum how how;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, MODES * (2 * 5 + 2));
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	for (mode = T_PLAIN; mode <= T_DEFER; mode++) {
		for (how = DMABUF; how <= SYNC_FILE; how++) {
			t_report(write_after(mode, how, WRITES), "%s, %s: a write after the GPU's", t_mode_names[mode], ways[how]);
			t_report(write_after(mode, how, KERNEL), "%s, %s: a write after a move", t_mode_names[mode], ways[how]);
			t_report(read_after(mode, how), "%s, %s: a read after the GPU's", t_mode_names[mode], ways[how]);
			t_report(readers_together(mode, how), "%s, %s: a write while the GPU reads", t_mode_names[mode], ways[how]);
			t_report(gives_up(mode, how), "%s, %s: the GPU hangs", t_mode_names[mode], ways[how]);
		}
		t_report(unasked(mode), "%s: nobody waits unasked", t_mode_names[mode]);
		t_report(mapped_anew(mode), "%s: a mapping waits for who writes", t_mode_names[mode]);
	}
	close(fd);
	t_disk_restore(&disk, SCRATCH, CHUNK);
	t_disk_exit(&disk);
	return t_finish();
}
