// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Slots of one table: dma-bufs of several kinds beside user memory, one dma-buf
 * in many slots, tags, and slots that change while their I/O runs.
 */
#include <glob.h>

#include "device.h"

static struct t_disk disk;
static int fd;
/* Mappings of a dma-buf that is registered for the disk: one for each path, if it is a head. */
static unsigned int maps = 1;

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
	/* all are one mapping: dma-debug would take more than eight of a page for a leak */
	enum { RINGS = 3, SLOTS = 10 };
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

/* How long the exporter waits, in seconds; and slots work after, all of them or some of many. */
static enum t_result invalidated(struct t_ring *ring, struct t_buf *buf, unsigned int slots, double *waited)
{
	unsigned int i;
	double start;

	T_IS(ask(buf, DMA_BUF_IO_TEST_LIVE), maps, "mappings");
	start = now();
	T_IS(control(buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	*waited = now() - start;
	T_IS(ask(buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings after the invalidation");
	for (i = 0; i < slots; i += slots > 1000 ? 61 : 1) {
		const struct t_io io = { .fd = fd, .slot = i, .len = 4096, .pos = i * 4096 % SCRATCH };

		T_IS(t_rw(ring, &io), 4096, "read");
		T_CHECK(t_same("read", buf->map, disk.image + io.pos, 4096), "slot %u", i);
	}
	T_IS(ask(buf, DMA_BUF_IO_TEST_LIVE), maps, "mappings after requests of many slots");
	return T_PASS;
}

/* In as few calls as will do; how long that takes. */
static enum t_result fill_slots(struct t_ring *ring, struct t_buf *buf, unsigned int from, unsigned int to, double *took)
{
	struct io_uring_regbuf_desc *descs = calloc(to - from, sizeof(*descs));
	double start;
	unsigned int i;

	for (i = 0; i < to - from; i++)
		descs[i] = (struct io_uring_regbuf_desc){ .type = IO_REGBUF_TYPE_DMABUF, .dmabuf_fd = buf->fd, .target_fd = fd };
	start = now();
	T_IS(t_update(ring, from, IORING_RSRC_UPDATE_EXTENDED, descs, to - from, NULL), to - from, "register");
	*took = now() - start;
	free(descs);
	return T_PASS;
}

/* What registrations are made of: slab, vmalloc, per-cpu counts, page tables. */
static long kernel_kib(void)
{
	static const char *const kinds[] = { "SUnreclaim", "VmallocUsed", "Percpu", "SecPageTables" };
	FILE *meminfo = fopen("/proc/meminfo", "r");
	char line[256], name[32];
	long kib = 0, n;
	size_t i;

	if (!meminfo)
		t_die("/proc/meminfo: %m");
	while (fgets(line, sizeof(line), meminfo))
		for (i = 0; i < T_COUNT(kinds); i++)
			if (sscanf(line, "%31[^:]: %ld", name, &n) == 2 && !strcmp(name, kinds[i]))
				kib += n;
	fclose(meminfo);
	return kib;
}

/*
 * Anybody may register a dma-buf as often as he likes: it is mapped once, and its
 * exporter waits once, for one slot as for all that a table can have.
 */
static enum t_result fills(enum t_mode mode, unsigned int slots)
{
	/* on kernels that note where each object comes from that is most of it */
	const long most = getenv("PATIENCE") ? 4096 : 512;
	double first, rest, one, all, least = 1e9;
	struct t_ring ring;
	struct t_buf buf;
	long kib;
	int i;

	T_TRY(watched_init(&buf));
	t_ring_init(&ring, mode, 8, slots);
	T_TRY(fill_slots(&ring, &buf, 0, 1, &first));
	for (i = 0; i < 5; i++) {
		T_TRY(invalidated(&ring, &buf, 1, &one));
		least = one < least ? one : least;
	}
	kib = kernel_kib();
	T_TRY(fill_slots(&ring, &buf, 1, slots, &rest));
	kib = kernel_kib() - kib;
	T_TRY(invalidated(&ring, &buf, slots, &all));
	t_diag("the first of %u slots takes %.2f ms, each other %.3f ms and %ld bytes", slots, first * 1e3,
	       rest * 1e3 / (slots - 1), kib * 1024 / (slots - 1));
	t_diag("an exporter waits %.0f ms for one slot, %.0f ms for all", least * 1e3, all * 1e3);
	/* what few slots take is lost in what else goes on */
	T_CHECK(slots < 1000 || kib * 1024 < most * slots, "%ld KiB for %u slots of one dma-buf", kib, slots);
	T_CHECK(all < 10 * least + bound(0.5), "it waits for one after the other");
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

static enum t_result many(enum t_mode mode)
{
	return fills(mode, 200);
}

/* For another file of the disk: the mapping is the same. */
static enum t_result files(enum t_mode mode)
{
	int other = t_open(t_dev, O_RDWR | O_DIRECT);
	struct t_io io = { .fd = other, .slot = 1, .len = 8192 };
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(watched_init(&buf));
	t_ring_init(&ring, mode, 8, 2);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_IS(t_register(&ring, 1, buf.fd, other, 0), 1, "register for another file");
	T_IS(ask(&buf, DMA_BUF_IO_TEST_TOTAL), maps, "mappings made");
	T_IS(t_clear(&ring, 0), 1, "clear the first");
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), maps, "mappings for the second");
	T_IS(t_rw(&ring, &io), 8192, "read");
	T_CHECK(t_same("read", buf.map, disk.image, 8192), "wrong data");
	T_IS(t_clear(&ring, 1), 1, "clear the second");
	/* the ring's last reference on the request, and so on the slot */
	io_uring_get_events(&ring.uring);
	T_TRY(await_live(&buf, 0));
	t_ring_exit(&ring);
	close(other);
	return watched_exit(&buf);
}

#define AT_ONCE	300	/* times */

/* A thread with a ring of its own that registers when the other does. */
struct registrar {
	const struct t_buf *buf;
	pthread_barrier_t *both;
	enum t_mode mode;
	int error;
	pthread_t thread;
};

static void *registers(void *arg)
{
	struct registrar *me = arg;
	struct t_ring ring;
	unsigned int i;

	t_ring_init(&ring, me->mode, 8, 1);
	for (i = 0; i < AT_ONCE; i++) {
		int ret;

		pthread_barrier_wait(me->both);
		ret = t_register(&ring, 0, me->buf->fd, fd, 0);
		/* now the mappings are counted */
		pthread_barrier_wait(me->both);
		pthread_barrier_wait(me->both);
		if (ret == 1)
			ret = t_clear(&ring, 0);
		if (ret != 1)
			me->error = ret ?: -ENODATA;
		pthread_barrier_wait(me->both);
	}
	t_ring_exit(&ring);
	return NULL;
}

/* Two that come first at the same time: still there is one mapping. */
static enum t_result at_once(enum t_mode mode)
{
	enum t_result gone = T_PASS;
	struct registrar others[2];
	pthread_barrier_t both;
	unsigned int i, most = 0;
	struct t_buf buf;

	T_TRY(watched_init(&buf));
	pthread_barrier_init(&both, NULL, T_COUNT(others) + 1);
	for (i = 0; i < T_COUNT(others); i++) {
		others[i] = (struct registrar){ .buf = &buf, .both = &both, .mode = mode };
		if (pthread_create(&others[i].thread, NULL, registers, &others[i]))
			t_die("no thread");
	}
	for (i = 0; i < AT_ONCE; i++) {
		unsigned int live;

		pthread_barrier_wait(&both);
		pthread_barrier_wait(&both);
		live = ask(&buf, DMA_BUF_IO_TEST_LIVE);
		most = live > most ? live : most;
		pthread_barrier_wait(&both);
		pthread_barrier_wait(&both);
		/* what goes may go later, beside what comes */
		if (gone == T_PASS)
			gone = await_live(&buf, 0);
	}
	for (i = 0; i < T_COUNT(others); i++)
		pthread_join(others[i].thread, NULL);
	pthread_barrier_destroy(&both);
	T_TRY(gone);
	for (i = 0; i < T_COUNT(others); i++)
		T_IS(others[i].error, 0, "register and clear");
	T_IS(most, maps, "mappings at any time");
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
	{ "one dma-buf in 200 slots", many, 0 },
	{ "one dma-buf for two files of a disk", files, 0 },
	{ "one dma-buf, registered by two at once", at_once, 0 },
};

int main(int argc, char **argv)
{
	unsigned int i, mode;
	char pattern[128];
	glob_t paths;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_COUNT(tests) * T_MODES - 1 + 1);
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	snprintf(pattern, sizeof(pattern), "/sys/class/block/%s/multipath/nvme*", basename(t_dev));
	if (!glob(pattern, 0, NULL, &paths)) {
		maps = paths.gl_pathc;
		globfree(&paths);
	}
	for (i = 0; i < T_COUNT(tests); i++)
		for (mode = 0; mode < T_MODES - tests[i].skip_async; mode++)
			t_report(t_need(mode) ?: tests[i].run(mode), "%s, %s", tests[i].name, t_mode_names[mode]);
	t_report(fills(T_PLAIN, 16384), "one dma-buf in 16384 slots");
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
