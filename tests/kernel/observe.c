// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the kernel tells of registrations: in the ring's fdinfo, by trace events,
 * and when it is asked what it can do. Each number is made to change.
 */
#include "device.h"
#include "fdinfo.h"
#include "trace.h"

#include <sys/syscall.h>

static int fd;
static char pci[32];

static struct t_io block(void)
{
	return (struct t_io){ .fd = fd, .len = T_PAGE };
}

#define SAYS(got, want) do {							\
	const char *_got = (got), *_want = (want);				\
										\
	T_CHECK(!strcmp(_got, _want), "%s: got '%s', wanted '%s'", #got, _got, _want); \
} while (0)

/* Of the test exporter, no two of whose pieces lie side by side: lists for all of its pages, where no IOMMU makes it one range. */
static enum t_result pieces(const struct about_device *d)
{
	const long page = sysconf(_SC_PAGESIZE), size = SIZE;

	if (!strcmp(d->addresses, "iova")) {
		T_IS(d->chunk, size, "one range");
		return T_PASS;
	}
	T_IS(d->segments, size / page, "segments");
	T_IS(d->largest, page, "the longest run");
	T_IS(d->chunk, page, "chunk");
	T_IS(d->lists, 1, "lists");
	T_CHECK(d->driver_bytes > (size / page + size / (long)T_PAGE) * 8, "a table and lists of %ld pages in %ld bytes", size / page, d->driver_bytes);
	return T_PASS;
}

/* One device, whose mapping is of system memory. */
static enum t_result system_memory(const struct about *a, size_t size)
{
	T_IS(a->nr, 1, "devices");
	T_IS(a->size, size, "size");
	SAYS(a->file, t_dev);
	SAYS(a->v[0].device, pci);
	SAYS(a->v[0].memory, "system");
	SAYS(a->v[0].addresses, about_addresses(t_dev));
	SAYS(a->v[0].peer, "");
	return T_PASS;
}

/* The same number of @size bytes in any layout, of which an IOMMU may make one range. */
static enum t_result layout(enum t_kind kind)
{
	const bool translated = !strcmp(about_addresses(t_dev), "iova");
	const struct about_device *d;
	struct t_ring ring;
	struct about a;
	struct t_buf buf;

	T_TRY(t_buf_init(&buf, kind, SIZE));
	t_ring_init(&ring, T_PLAIN, 4, 2);
	T_CHECK(!about_slot(&ring, 1, &a), "a slot that is empty has a dma-buf");
	T_IS(t_register(&ring, 1, buf.fd, fd, 0), 1, "register");
	T_CHECK(about_slot(&ring, 1, &a), "nothing of the dma-buf in slot 1");
	d = &a.v[0];
	T_TRY(system_memory(&a, SIZE));
	SAYS(a.exporter, kind == T_HEAP ? "system" : "udmabuf");
	T_IS(d->mapped, 1, "mapped");
	T_IS(a.lost, 0, "lost");
	T_CHECK(d->segments > 0 && d->largest >= (long)T_PAGE && d->largest <= (long)SIZE, "%ld segments, the largest %ld", d->segments, d->largest);
	T_CHECK(d->chunk >= (long)T_PAGE && d->chunk <= (long)SIZE, "chunk %ld", d->chunk);
	if (translated || kind == T_HUGE) {
		T_IS(d->chunk, SIZE, "one range");
		T_IS(d->largest, SIZE, "the longest run");
	}
	T_CHECK(d->driver_bytes > 0, "driver_bytes %ld", d->driver_bytes);
	T_IS(t_clear(&ring, 1), 1, "clear");
	T_CHECK(!about_slot(&ring, 1, &a), "a slot that was cleared has a dma-buf");
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	return T_PASS;
}

static enum t_result scattered(void)
{
	return layout(T_SCATTERED);
}

static enum t_result huge(void)
{
	return layout(T_HUGE);
}

static enum t_result heap(void)
{
	return layout(T_HEAP);
}

/* Two slots have one mapping, and one request pays for both. */
static enum t_result counted(void)
{
	struct t_io io = block();
	struct about a[2];
	struct t_ring ring;
	struct t_buf buf;
	unsigned int i, round;

	T_TRY(watched_init(&buf));
	t_ring_init(&ring, T_PLAIN, 4, 3);
	for (i = 0; i < 2; i++)
		T_IS(t_register(&ring, i, buf.fd, fd, 0), 1, "register");
	for (round = 0; round < 3; round++) {
		io.slot = round & 1;
		T_IS(t_rw(&ring, &io), T_PAGE, "read");
		for (i = 0; i < 2; i++) {
			T_CHECK(about_slot(&ring, i, &a[i]), "nothing of slot %u", i);
			T_TRY(system_memory(&a[i], SIZE));
			SAYS(a[i].exporter, "dma_buf_io_test");
			T_TRY(pieces(&a[i].v[0]));
			T_IS(a[i].v[0].maps, round + 1, "maps");
			T_IS(a[i].v[0].invalidations, round, "invalidations");
			T_IS(a[i].v[0].mapped, 1, "mapped");
		}
		T_IS(a[0].lost, round / 2, "requests of slot 0 that were put aside");
		T_IS(a[1].lost, (round + 1) / 2, "requests of slot 1 that were put aside");
		T_IS(a[0].inode, a[1].inode, "inode");
		T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
		T_CHECK(about_slot(&ring, 0, &a[0]), "nothing of slot 0");
		T_IS(a[0].v[0].mapped, 0, "mapped after an invalidation");
		T_IS(a[0].v[0].invalidations, round + 1, "invalidations");
		SAYS(a[0].v[0].memory, "system");
	}
	/* with nothing to take away, nothing is counted */
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_CHECK(about_slot(&ring, 0, &a[0]), "nothing of slot 0");
	T_IS(a[0].v[0].invalidations, round, "invalidations of no mapping");
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

/* The lines of others are as they were, and a slot is not mistaken for another. */
static enum t_result user_memory(void)
{
	char want[64], *text;
	struct t_ring ring;
	struct about a;
	struct t_buf buf;

	T_TRY(t_buf_init(&buf, T_USER, SIZE));
	t_ring_init(&ring, T_PLAIN, 4, 12);
	T_IS(t_register_user(&ring, 1, buf.map, SIZE, 0), 1, "register");
	T_CHECK(!about_slot(&ring, 1, &a) && !about_slot(&ring, 11, &a), "user memory is taken for a dma-buf");
	text = about_ring(&ring);
	snprintf(want, sizeof(want), "\n    1: 0x%llx/%zu\n    2: <none>\n", (unsigned long long)buf.base, SIZE);
	T_CHECK(strstr(text, want), "no '%s' in\n%s", want, text);
	free(text);
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	return T_PASS;
}

static void *hold(void *arg)
{
	control(arg, DMA_BUF_IO_TEST_INVALIDATE, bound(2) * 1000, NULL);
	return NULL;
}

/* With the lock held by an exporter, and by a worker whose exporter does not answer. */
static enum t_result waits_for_none(void)
{
	struct t_io io = block();
	struct t_ring ring;
	pthread_t thread;
	struct t_buf buf;
	struct about a;
	double start;

	T_TRY(watched_init(&buf));
	t_ring_init(&ring, T_PLAIN, 4, 1);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	start = now();
	if (pthread_create(&thread, NULL, hold, &buf))
		t_die("no thread");
	do {
		T_CHECK(about_slot(&ring, 0, &a), "nothing of slot 0");
	} while (a.v[0].mapped && now() < start + bound(1));
	T_IS(a.v[0].mapped, 0, "mapped while the exporter has the lock");
	T_CHECK(now() - start < bound(1.9), "fdinfo waited for who has the reservation lock: %.1f s", now() - start);
	pthread_join(thread, NULL);

	T_IS(control(&buf, DMA_BUF_IO_TEST_BLOCK_MAP, 1, NULL), 0, "block mappings");
	t_queue(&ring, &io, 0);
	t_submit(&ring);
	start = now();
	do {
		T_CHECK(about_slot(&ring, 0, &a), "nothing of slot 0");
	} while (!a.lost && now() < start + bound(10));
	T_IS(a.lost, 1, "requests that were put aside");
	T_IS(a.v[0].mapped, 0, "mapped while mapping blocks");
	T_IS(a.v[0].maps, 1, "maps that were made");
	T_IS(control(&buf, DMA_BUF_IO_TEST_BLOCK_MAP, 0, NULL), 0, "let mappings go on");
	T_IS(t_reap(&ring, NULL), T_PAGE, "read");
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

struct reader {
	struct t_ring *ring;
	atomic_bool stop;
	unsigned int times;
	pthread_t thread;
};

static void *look(void *arg)
{
	struct reader *reader = arg;
	struct about a;

	for (; !reader->stop; reader->times++) {
		about_slot(reader->ring, 0, &a);
		usleep(500);
	}
	return NULL;
}

/* Whoever reads meets no half of anything: for kernels that check themselves. */
static enum t_result in_a_storm(void)
{
	struct t_io io = block();
	struct storm storm = { 0 };
	struct reader reader = { 0 };
	struct t_ring ring;
	struct t_buf buf;
	double end = now() + bound(1);
	unsigned int rounds;

	T_TRY(watched_init(&buf));
	t_ring_init(&ring, T_PLAIN, 4, 2);
	storm.buf = &buf;
	reader.ring = &ring;
	if (pthread_create(&storm.thread, NULL, blow, &storm) || pthread_create(&reader.thread, NULL, look, &reader))
		t_die("no threads");
	for (rounds = 0; now() < end; rounds++) {
		T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
		T_IS(t_rw(&ring, &io), T_PAGE, "read");
		T_IS(t_clear(&ring, 0), 1, "clear");
	}
	storm.stop = reader.stop = true;
	pthread_join(storm.thread, NULL);
	pthread_join(reader.thread, NULL);
	T_IS(storm.error, 0, "invalidating");
	T_CHECK(rounds && reader.times && storm.count, "nothing happened");
	t_diag("%u registrations, %u looks, %u invalidations", rounds, reader.times, storm.count);
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

/* --- trace events --- */

/* How many lines have both; *last is the last of them. */
static unsigned int lines(const char *text, const char *one, const char *two, const char **last)
{
	unsigned int n = 0;
	const char *at, *next;

	for (at = text; (at = strstr(at, one)); at = next) {
		const char *found = strstr(at, two);

		next = at + strcspn(at, "\n");
		if (found && found < next) {
			*last = at;
			n++;
		}
	}
	return n;
}

/* All there is in the trace, once so many mappings have gone; the caller frees it. */
static char *traced(const char *of, unsigned int unmaps)
{
	char *text = malloc(1 << 20);
	const char *line;
	double end = now() + bound(10);
	FILE *file;

	do {
		file = fopen(TRACING "/trace", "r");
		if (!text || !file)
			t_die(TRACING "/trace: %m");
		text[fread(text, 1, (1 << 20) - 1, file)] = 0;
		fclose(file);
	} while (lines(text, "dma_buf_io_unmap: ", of, &line) < unmaps && now() < end && !usleep(10000));
	put("0", TRACING "/events/dma_buf_io/enable");
	return text;
}

static enum t_result traces(void)
{
	struct t_io io = block();
	const char *line = "";
	struct t_ring ring;
	struct t_buf buf;
	struct about a;
	char inode[32], *text;

	T_TRY(watched_init(&buf));
	T_TRY(trace_begin("dma_buf_io", "0"));
	t_ring_init(&ring, T_PLAIN, 4, 1);
	T_IS(control(&buf, DMA_BUF_IO_TEST_FAIL_MAP, times(1, ENOSPC), NULL), 0, "let a mapping fail");
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), -ENOSPC, "register");
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(control(&buf, DMA_BUF_IO_TEST_SLOW_MAP, 50, NULL), 0, "make mapping slow");
	T_IS(t_rw(&ring, &io), T_PAGE, "read");
	T_CHECK(about_slot(&ring, 0, &a), "nothing of slot 0");
	T_IS(t_clear(&ring, 0), 1, "clear");
	t_ring_exit(&ring);
	/* a mapping is counted as gone before its event is written, by whoever had the request's last reference */
	snprintf(inode, sizeof(inode), "inode=%ld ", a.inode);
	text = traced(inode, 2);

	T_IS(lines(text, "dma_buf_io_register: ", inode, &line), 2, "registrations");
	T_CHECK(strstr(line, "exporter=dma_buf_io_test") && strstr(line, "ret=0"), "%.200s", line);
	T_IS(lines(text, "dma_buf_io_register: ", "ret=-28", &line), 1, "registrations that failed");
	T_IS(lines(text, "dma_buf_io_map: ", "ret=-28", &line), 1, "mappings that failed");
	T_IS(lines(text, "dma_buf_io_map: ", inode, &line), 3, "mappings");
	T_CHECK(about_number(line, "took_ns") >= 50000000 && about_number(line, "took_ns") < 60000000000, "a mapping of 50 ms: %.200s", line);
	T_IS(about_number(line, "map"), 2, "number of the second map");
	T_CHECK(strstr(line, "memory=system"), "%.200s", line);
	T_IS(lines(text, "dma_buf_io_invalidate: ", inode, &line), 1, "invalidations");
	T_CHECK(about_number(line, "drained_ns") > 0, "%.200s", line);
	T_IS(lines(text, "dma_buf_io_unmap: ", inode, &line), 2, "mappings that went");
	T_IS(lines(text, "dma_buf_io_unregister: ", inode, &line), 2, "registrations that went");
	T_IS(lines(text, "dma_buf_io_unregister: ", "lost=1", &line), 1, "with a request that was put aside");
	T_IS(lines(text, "dma_buf_io_revoke: ", inode, &line), 0, "revocations");
	free(text);
	return watched_exit(&buf);
}

/* Of the second disk, whose driver lets go of it and takes it back. */
static enum t_result revoked(void)
{
	char serial[64], name[32], path[64], *text;
	const char *line;
	struct t_ring ring;
	struct t_buf buf;
	struct about a;
	int other;

	if (!t_dev2)
		return t_skip("needs a second disk, to take away");
	T_TRY(watched_init(&buf));
	pci_name(t_dev2, name);
	disk_serial(t_dev2, serial);
	other = t_open(t_dev2, O_RDWR | O_DIRECT);
	t_ring_init(&ring, T_PLAIN, 4, 1);
	T_IS(t_register(&ring, 0, buf.fd, other, 0), 1, "register");
	T_TRY(trace_begin("dma_buf_io", "0"));
	T_IS(put(name, "/sys/bus/pci/drivers/nvme/unbind"), 0, "unbind");
	text = traced(name, 1);
	T_CHECK(about_slot(&ring, 0, &a), "nothing of slot 0");
	T_IS(a.nr, 0, "devices that are left");
	T_IS(a.size, SIZE, "size");
	/* or the disk that comes back gets another name */
	T_IS(t_clear(&ring, 0), 1, "clear");
	close(other);
	t_ring_exit(&ring);
	T_IS(put(name, "/sys/bus/pci/drivers/nvme/bind"), 0, "bind");
	T_TRY(await_disk(serial, path));
	SAYS(path, t_dev2);
	T_IS(lines(text, "dma_buf_io_revoke: ", name, &line), 1, "revocations");
	T_IS(lines(text, "dma_buf_io_unmap: ", name, &line), 1, "mappings that went");
	free(text);
	return watched_exit(&buf);
}

/* --- the query --- */

#define REGISTER_QUERY	35
#define QUERY_DMABUF	4
#define QUERY_NONE	1000

struct query_hdr {
	uint64_t next_entry, query_data;
	uint32_t query_op, size;
	int32_t result;
	uint32_t resv[3];
};

static int query(struct query_hdr *hdr, uint32_t op, void *data, uint32_t size)
{
	*hdr = (struct query_hdr){ .query_data = (uintptr_t)data, .query_op = op, .size = size };
	return syscall(__NR_io_uring_register, -1, REGISTER_QUERY, hdr, 0) ? -errno : 0;
}

static enum t_result queried(void)
{
	struct io_uring_query_dmabuf q = { 0 }, part = { 0 };
	struct { struct io_uring_query_dmabuf q; uint64_t more; } large;
	struct query_hdr hdr;

	T_IS(query(&hdr, QUERY_DMABUF, &q, sizeof(q)), 0, "query");
	T_IS(hdr.result, 0, "result");
	T_IS(hdr.size, sizeof(q), "size");
	T_IS(q.buffer_types, 1 << IO_REGBUF_TYPE_EMPTY | 1 << IO_REGBUF_TYPE_UADDR | 1 << IO_REGBUF_TYPE_DMABUF, "types");
	T_CHECK(q.opcodes[0] & 1ull << IORING_OP_READ_FIXED && q.opcodes[0] & 1ull << IORING_OP_WRITE_FIXED &&
		q.opcodes[0] & 1ull << T_OP_READV_FIXED && q.opcodes[0] & 1ull << T_OP_WRITEV_FIXED &&
		q.opcodes[0] & 1ull << IORING_OP_URING_CMD, "opcodes 0x%llx", (unsigned long long)q.opcodes[0]);
	T_CHECK(!(q.opcodes[0] & (1ull << IORING_OP_READ | 1ull << IORING_OP_WRITE | 1)) && !q.opcodes[1], "opcodes 0x%llx 0x%llx",
		(unsigned long long)q.opcodes[0], (unsigned long long)q.opcodes[1]);
	T_IS(q.update_flags, IORING_RSRC_UPDATE_EXTENDED, "flags of updates");
	T_IS(q.desc_flags, 0, "flags of descriptors");
	T_IS(q.desc_size, sizeof(struct io_uring_regbuf_desc), "size of a descriptor");
	T_IS(q.__resv, 0, "reserved");

	/* who knows less gets less, who knows more gets zeroes */
	T_IS(query(&hdr, QUERY_DMABUF, &part, sizeof(part.buffer_types)), 0, "query for a part");
	T_IS(hdr.result, 0, "result");
	T_CHECK(hdr.size == sizeof(part.buffer_types) && part.buffer_types == q.buffer_types && !part.opcodes[0], "part of the answer");
	memset(&large, 0xff, sizeof(large));
	T_IS(query(&hdr, QUERY_DMABUF, &large, sizeof(large)), 0, "query for more");
	T_CHECK(!hdr.result && hdr.size == sizeof(q) && !memcmp(&large.q, &q, sizeof(q)) && !large.more, "more than the answer");

	T_IS(query(&hdr, QUERY_NONE, &q, sizeof(q)), 0, "query for what there is not");
	T_IS(hdr.result, -EOPNOTSUPP, "its result");
	T_IS(query(&hdr, QUERY_DMABUF, NULL, sizeof(q)), -EFAULT, "query without memory");
	return T_PASS;
}

static const struct {
	const char *name;
	enum t_result (*run)(void);
} tests[] = {
	{ "fdinfo: scattered pages", scattered },
	{ "fdinfo: huge pages", huge },
	{ "fdinfo: the system heap", heap },
	{ "fdinfo: user memory is as it was", user_memory },
	{ "fdinfo: what is counted", counted },
	{ "fdinfo waits for no exporter", waits_for_none },
	{ "fdinfo in a storm", in_a_storm },
	{ "trace events", traces },
	{ "trace events, fdinfo: revoked", revoked },
	{ "the query", queried },
};

int main(int argc, char **argv)
{
	unsigned int i;

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, T_COUNT(tests));
	pci_name(t_dev, pci);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	for (i = 0; i < T_COUNT(tests); i++)
		t_report(tests[i].run(), "%s", tests[i].name);
	close(fd);
	return t_finish();
}
