// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Slots of one table: dma-bufs of several kinds beside user memory, one dma-buf
 * in many slots, tags, and slots that change while their I/O runs.
 */
#include "device.h"

static struct t_disk disk;
static int fd;

/* Reads the disk from @pos on into every chunk of a slot's buffer. */
static void queue_reads(struct t_ring *ring, int slot, const struct t_buf *buf,
			uint64_t pos, uint64_t user_data)
{
	size_t off;

	for (off = 0; off < SIZE; off += CHUNK) {
		const struct t_io io = {
			.fd = fd, .slot = slot, .addr = buf->base + off,
			.len = CHUNK, .pos = pos + off,
		};

		t_queue(ring, &io, user_data + off / CHUNK);
	}
}

static enum t_result filled(struct t_buf *buf, uint64_t pos)
{
	bool ok;

	t_buf_begin(buf);
	ok = t_same("buffer", buf->map, disk.image + pos, SIZE);
	memcpy(buf->map, buf->poison, SIZE);
	t_buf_end(buf);
	return ok ? T_PASS : T_FAIL;
}

static enum t_result mixed(enum t_mode mode)
{
	const enum t_kind kinds[] = { T_USER, T_SCATTERED, T_USER, T_HEAP, T_UDMABUF, T_HUGE };
	const struct t_io io = { .fd = fd };
	struct t_buf bufs[T_COUNT(kinds)];
	struct t_ring ring;
	size_t i, round;

	t_ring_init(&ring, mode, 8, T_COUNT(kinds));
	for (i = 0; i < T_COUNT(kinds); i++) {
		T_TRY(t_buf_init(&bufs[i], kinds[i], SIZE));
		T_IS(kinds[i] == T_USER ? t_register_user(&ring, i, bufs[i].map, SIZE, 0) :
					  t_register(&ring, i, bufs[i].fd, fd, 0), 1, "register");
	}
	for (round = 0; round < 8; round++) {
		for (i = 0; i < T_COUNT(kinds); i++) {
			struct t_io slot = io;
			size_t off = round * 5 * T_PAGE, pos = (round * 7 + i) * T_PAGE;

			slot.slot = i;
			T_TRY(t_check_read(&ring, slot, &disk, &bufs[i], off, (round + 1) * T_PAGE, pos));
			T_TRY(t_check_write(&ring, slot, &disk, &bufs[i], off, (round + 1) * T_PAGE, pos));
		}
	}
	t_ring_exit(&ring);
	for (i = 0; i < T_COUNT(kinds); i++)
		t_buf_exit(&bufs[i]);
	return T_PASS;
}

static enum t_result shared(enum t_mode mode)
{
	/* dma-debug takes more than eight mappings of a page for a leak, and an exporter may have one, too */
	enum { RINGS = 3, SLOTS = 2 };
	struct t_ring rings[RINGS];
	struct t_buf buf;
	unsigned int r, s;

	T_TRY(t_buf_init(&buf, T_SCATTERED, SIZE));
	for (r = 0; r < RINGS; r++) {
		t_ring_init(&rings[r], mode, 8, SLOTS);
		for (s = 0; s < SLOTS; s++)
			T_IS(t_register(&rings[r], s, buf.fd, fd, 0), 1, "register");
	}
	for (r = 0; r < RINGS; r++) {
		for (s = 0; s < SLOTS; s++) {
			const struct t_io io = { .fd = fd, .slot = s };

			T_TRY(t_check_read(&rings[r], io, &disk, &buf, (r * SLOTS + s) * T_PAGE, 3 * T_PAGE, s * T_PAGE));
			T_TRY(t_check_write(&rings[r], io, &disk, &buf, (r * SLOTS + s) * T_PAGE, 3 * T_PAGE, s * T_PAGE));
			/* The others live on. */
			T_IS(t_clear(&rings[r], s), 1, "clear");
		}
		t_ring_exit(&rings[r]);
	}
	t_buf_exit(&buf);
	return T_PASS;
}

/* Replacing, clearing and table removal each post the tag, once. */
static enum t_result tags(enum t_mode mode)
{
	struct io_uring_cqe *cqe;
	struct t_ring ring;
	struct t_buf buf;
	uint64_t tag;

	T_TRY(t_buf_init(&buf, T_UDMABUF, SIZE));
	t_ring_init(&ring, mode, 8, 4);
	T_IS(t_register(&ring, 0, buf.fd, fd, 101), 1, "register");
	T_IS(t_register(&ring, 1, buf.fd, fd, 102), 1, "register");
	T_IS(t_register(&ring, 2, buf.fd, fd, 0), 1, "register without a tag");
	T_IS(io_uring_peek_cqe(&ring.uring, &cqe), -EAGAIN, "no tag while all live");
	T_IS(t_register(&ring, 0, buf.fd, fd, 103), 1, "replace");
	T_IS(t_reap(&ring, &tag), 0, "result of a tag");
	T_IS(tag, 101, "tag of what was replaced");
	T_IS(t_clear(&ring, 0), 1, "clear");
	T_IS(t_reap(&ring, &tag), 0, "result of a tag");
	T_IS(tag, 103, "tag of what was cleared");
	T_IS(t_clear(&ring, 2), 1, "clear");
	T_IS(io_uring_unregister_buffers(&ring.uring), 0, "remove the table");
	T_IS(t_reap(&ring, &tag), 0, "result of a tag");
	T_IS(tag, 102, "tag of what the table held");
	T_IS(io_uring_peek_cqe(&ring.uring, &cqe), -EAGAIN, "no other tag");
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	return T_PASS;
}

/*
 * What was queued before goes to the old buffer, what follows to the new one;
 * the old one's tag comes after the last I/O to it.
 */
static enum t_result replaced(enum t_mode mode)
{
	struct t_buf bufs[2];
	struct t_ring ring;
	unsigned int round, first, late, i;
	uint64_t data;
	int ret;

	for (i = 0; i < 2; i++)
		T_TRY(t_buf_init(&bufs[i], T_SCATTERED, SIZE));
	t_ring_init(&ring, mode, 2 * DEPTH, 1);
	for (round = 0; round < 20; round++) {
		/* A first I/O: maps are there, nothing ends in -EAGAIN. */
		for (i = 0; i < 2; i++) {
			const struct t_io io = { .fd = fd, .len = 4096 };

			T_IS(t_register(&ring, 0, bufs[1 - i].fd, fd, 0), 1, "register");
			T_IS(t_rw(&ring, &io), 4096, "read");
		}
		T_IS(t_register(&ring, 0, bufs[0].fd, fd, 999), 1, "register");
		queue_reads(&ring, 0, &bufs[0], 0, 1000);
		t_submit(&ring);
		/* The SQPOLL thread looks a slot up when it takes the request. */
		while (io_uring_sq_ready(&ring.uring))
			usleep(100);
		T_IS(t_register(&ring, 0, bufs[1].fd, fd, 0), 1, "replace");
		queue_reads(&ring, 0, &bufs[1], 4 * T_MIB, 2000);
		t_submit(&ring);
		for (first = late = 0; first + late < 2 * DEPTH + 1;) {
			ret = t_reap(&ring, &data);
			if (data == 999) {
				T_IS(ret, 0, "result of the tag");
				T_IS(first, DEPTH, "I/O done when the tag came");
				late++;
				continue;
			}
			T_IS(ret, CHUNK, data < 2000 ? "read to the old buffer" : "read to the new buffer");
			if (data < 2000)
				first++;
			else
				late++;
		}
		T_TRY(filled(&bufs[0], 0));
		T_TRY(filled(&bufs[1], 4 * T_MIB));
	}
	t_ring_exit(&ring);
	for (i = 0; i < 2; i++)
		t_buf_exit(&bufs[i]);
	return T_PASS;
}

/* A dma-buf gives way to user memory and back. */
static enum t_result kinds_change(enum t_mode mode)
{
	const struct t_io io = { .fd = fd };
	struct t_buf dmabuf, user;
	struct t_ring ring;
	int i;

	T_TRY(t_buf_init(&dmabuf, T_SCATTERED, SIZE));
	T_TRY(t_buf_init(&user, T_USER, SIZE));
	t_ring_init(&ring, mode, 8, 1);
	for (i = 0; i < 50; i++) {
		T_IS(t_register(&ring, 0, dmabuf.fd, fd, 0), 1, "register the dma-buf");
		T_TRY(t_check_read(&ring, io, &disk, &dmabuf, i * 512, 8192, i * 4096));
		T_IS(t_register_user(&ring, 0, user.map, SIZE, 0), 1, "register user memory");
		T_TRY(t_check_read(&ring, io, &disk, &user, i * 512, 8192, i * 4096));
	}
	t_ring_exit(&ring);
	t_buf_exit(&dmabuf);
	t_buf_exit(&user);
	return T_PASS;
}

/* How long the exporter waits for so many registrations of one dma-buf, in seconds. */
static enum t_result wait_for(struct t_ring *ring, struct t_buf *buf, unsigned int slots, double *waited)
{
	unsigned int i, round;
	double start;

	for (i = 0; i < slots; i++)
		T_IS(t_register(ring, i, buf->fd, fd, 0), 1, "register");
	T_TRY(await_live(buf, slots));
	start = now();
	T_IS(control(buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	*waited = now() - start;
	T_IS(ask(buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings after the invalidation");
	for (i = 0; i < slots; i++) {
		const struct t_io io = { .fd = fd, .slot = i, .len = 4096, .pos = i * 4096 };

		for (round = 0; round < 2; round++)
			T_IS(t_rw(ring, &io), 4096, "read");
		T_CHECK(t_same("read", buf->map, disk.image + io.pos, 4096), "slot %u", i);
		T_IS(t_clear(ring, i), 1, "clear");
	}
	return T_PASS;
}

/* Anybody may register a dma-buf as often as he likes, and must not keep its exporter for as long. */
static enum t_result many(enum t_mode mode)
{
	/* dma-debug's limit, see above */
	const unsigned int slots = access("/sys/kernel/debug/dma-api", F_OK) ? 200 : 5;
	double one, all, least = 1e9;
	struct t_ring ring;
	struct t_buf buf;
	int i;

	T_TRY(watched_init(&buf));
	t_ring_init(&ring, mode, 8, slots);
	for (i = 0; i < 5; i++) {
		T_TRY(wait_for(&ring, &buf, 1, &one));
		least = one < least ? one : least;
	}
	T_TRY(wait_for(&ring, &buf, slots, &all));
	t_diag("an exporter waits %.0f ms for one registration, %.0f ms for %u", least * 1e3, all * 1e3, slots);
	T_CHECK(all < least * slots / 2 + 1, "it waits for one after the other");
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

static const struct {
	const char *name;
	enum t_result (*run)(enum t_mode mode);
	/* 1: not with io-wq, which looks a slot up when it gets to the request */
	unsigned int skip_async;
} tests[] = {
	{ "user memory and dma-bufs in one table", mixed, 0 },
	{ "one dma-buf in many slots and rings", shared, 0 },
	{ "tags", tags, 0 },
	{ "a slot replaced while its I/O runs", replaced, 1 },
	{ "a slot that changes its kind", kinds_change, 0 },
	{ "one dma-buf in many slots is invalidated at once", many, 0 },
};

int main(int argc, char **argv)
{
	unsigned int i, mode;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_COUNT(tests) * T_MODES - 1);
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	for (i = 0; i < T_COUNT(tests); i++)
		for (mode = 0; mode < T_MODES - tests[i].skip_async; mode++)
			t_report(t_need(mode) ?: tests[i].run(mode), "%s, %s", tests[i].name, t_mode_names[mode]);
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
