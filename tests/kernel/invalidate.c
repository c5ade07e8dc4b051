// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An exporter that takes the mapping away while I/O runs. The data moves to
 * other pages each time, and the exporter watches those that it left: DMA that
 * comes too late is found, as is a mapping that outlives the invalidation.
 *
 * SCALE= (default 1) multiplies how much of it there is.
 */
#include "exporter.h"
#include "trace.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define SLOTS		2
#define BLOCK		65536UL
#define DEPTH		128U
#define MAX_DEPTH	512U
#define SIZE		(DEPTH * BLOCK)
#define SCRATCH		(64 * T_MIB)	/* of the disk, for what is written */

static struct t_disk disk;
static int fd;
static unsigned int scale = 1;

static void begin(struct t_buf *buf, size_t segment, unsigned int flags)
{
	int dmabuf = export_buf(SIZE, segment, flags | DMA_BUF_IO_TEST_MOVES);

	if (dmabuf < 0)
		t_die("no dma-buf from the exporter: %s", t_number(dmabuf));
	t_buf_adopt(buf, dmabuf, SIZE);
}

/* To be called when rings and slots are gone. */
static enum t_result unused(struct t_buf *buf)
{
	T_TRY(await_live(buf, 0));
	T_IS(ask(buf, DMA_BUF_IO_TEST_SCRIBBLED), 0, "bytes written too late");
	t_buf_exit(buf);
	return T_PASS;
}

/* A thread that takes the mapping away until it is told to stop. */
struct storm {
	struct t_buf *buf;
	unsigned int op;
	uint64_t arg;
	unsigned int pause_us;
	unsigned int wanted;	/* mappings to wait for, if not for ever */
	bool fences;		/* one with each mapping that it takes away */
	atomic_bool stop;
	atomic_int error;
	atomic_uint count;
	uint64_t longest;	/* ns */
	unsigned int both;	/* there were two mappings to take away */
	pthread_t thread;
};

static void *blow(void *arg)
{
	struct storm *storm = arg;
	unsigned int seed = 1, waited = 0;

	while (!storm->stop) {
		uint64_t mapped = ask(storm->buf, DMA_BUF_IO_TEST_LIVE), took = 0;
		int ret = 0;

		/* a fence that there is before would keep who maps, with the lock that we wait for */
		if (mapped < storm->wanted && (storm->fences || waited++ < 1000)) {
			usleep(1000);
			continue;
		}
		waited = 0;
		storm->both += mapped == 2;
		if (storm->fences)
			ret = control(storm->buf, DMA_BUF_IO_TEST_FENCE, 1, NULL);
		if (!ret)
			ret = control(storm->buf, storm->op, storm->arg, &took);
		if (ret)
			storm->error = ret;
		if (took > storm->longest)
			storm->longest = took;
		storm->count++;
		if (storm->pause_us)
			usleep(rand_r(&seed) % storm->pause_us);
		if (storm->fences)
			control(storm->buf, DMA_BUF_IO_TEST_FENCE, 0, NULL);
	}
	return NULL;
}

static void storm_begin(struct storm *storm)
{
	if (pthread_create(&storm->thread, NULL, blow, storm))
		t_die("no thread");
}

static enum t_result storm_end(struct storm *storm)
{
	storm->stop = true;
	pthread_join(storm->thread, NULL);
	T_IS(storm->error, 0, "the exporter, -EBUSY if the importer had not unmapped");
	return T_PASS;
}

/* One request of many, which owns a block of the buffer and one of the disk. */
struct op {
	struct t_io io;
	unsigned int number;
};

static void start(struct t_ring *ring, struct t_buf *buf, struct op *ops, unsigned int i)
{
	struct op *op = &ops[i];
	unsigned int n = op->number++;

	op->io = (struct t_io){ .fd = fd, .addr = i * BLOCK, .write = n % 2,
				.len = n % 5 ? 4096 : BLOCK };
	op->io.pos = op->io.write ? SCRATCH + i * BLOCK : (i * 7 + n * 13) % 256 * BLOCK;
	if (op->io.write)
		memset(buf->map + op->io.addr, n + i, op->io.len);
	t_queue(ring, &op->io, i);
}

static enum t_result check(struct t_buf *buf, const struct op *op)
{
	const unsigned char *got = buf->map + op->io.addr;
	const unsigned char *want = t_disk_read(&disk, op->io.pos, op->io.len);

	T_CHECK(t_same(op->io.write ? "written" : "read", got, want, op->io.len), "wrong data");
	return T_PASS;
}

/* Keeps requests @first to @end going until @ios are done: each succeeds, and every byte is verified. */
static enum t_result some_traffic(struct t_ring *ring, struct t_buf *buf, unsigned int first, unsigned int end, unsigned int ios)
{
	struct op ops[DEPTH] = { };
	unsigned int i, done = 0, in_flight = 0;

	for (i = first; i < end; i++, in_flight++)
		start(ring, buf, ops, i);
	t_submit(ring);
	while (in_flight) {
		uint64_t which;
		int ret = t_reap(ring, &which);

		in_flight--;
		T_IS(ret, ops[which].io.len, "request");
		T_TRY(check(buf, &ops[which]));
		if (++done + in_flight >= ios)
			continue;
		start(ring, buf, ops, which);
		in_flight++;
		t_submit(ring);
	}
	return T_PASS;
}

static unsigned int at_once = DEPTH;	/* requests */

static enum t_result traffic(struct t_ring *ring, struct t_buf *buf, unsigned int ios)
{
	return some_traffic(ring, buf, 0, at_once, ios);
}

static unsigned int map_ms;	/* how long mapping takes */
static unsigned int pause_us = 3000;
static bool fences;

/* A request goes to a worker of io-wq, which makes the mapping and issues it again. */
#define ASIDE	"io_uring/io_uring_queue_async_work"

static enum t_result weather(enum t_mode mode, size_t segment, unsigned int op)
{
	struct t_buf buf, other;
	struct storm storm = { .buf = &buf, .op = op, .pause_us = pause_us, .wanted = fences, .fences = fences };
	unsigned int ios = 0;
	struct t_ring ring;
	long aside;

	T_TRY(need_exporter());
	T_TRY(t_need(mode));
	T_TRY(trace_begin(ASIDE, "0"));
	begin(&buf, segment, 0);
	begin(&other, segment, 0);
	storm.arg = op == DMA_BUF_IO_TEST_LOCK_PAIR ? other.fd : 0;
	T_IS(control(&buf, DMA_BUF_IO_TEST_SLOW_MAP, map_ms, NULL), 0, "slow mapping");
	t_ring_init(&ring, mode, DEPTH, SLOTS);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	storm_begin(&storm);
	do {
		T_TRY(traffic(&ring, &buf, at_once + at_once / 2 * scale));
		ios += at_once + at_once / 2 * scale;
	} while (storm.count < 20 * scale);
	T_TRY(storm_end(&storm));
	aside = trace_end(ASIDE);
	t_diag("%u invalidations, %llu mappings; %u requests succeeded, put aside for io-wq %ld times", storm.count,
	       (unsigned long long)ask(&buf, DMA_BUF_IO_TEST_TOTAL), ios, aside);
	T_CHECK(ask(&buf, DMA_BUF_IO_TEST_TOTAL) > 1, "nothing was ever mapped again");
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	T_TRY(unused(&other));
	return unused(&buf);
}

static enum t_result storm(void)
{
	return weather(T_PLAIN, 4096, DMA_BUF_IO_TEST_INVALIDATE);
}

/* Another registration of the dma-buf, of half of it as far as traffic goes, for another disk. */
static void __attribute__((noreturn)) second(struct t_buf *buf)
{
	struct t_ring ring;

	t_disk_exit(&disk);
	t_disk_init(&disk, t_dev2);
	fd = t_open(t_dev2, O_RDWR | O_DIRECT);
	t_ring_init(&ring, T_PLAIN, DEPTH, SLOTS);
	if (t_register(&ring, 0, buf->fd, fd, 0) != 1)
		t_die("no second registration");
	_exit(some_traffic(&ring, buf, DEPTH / 2, DEPTH, (getenv("PATIENCE") ? 1 : 8) * DEPTH * scale));
}

/* One invalidation takes both mappings. */
static enum t_result twice(void)
{
	struct t_buf buf;
	struct storm storm = { .buf = &buf, .op = DMA_BUF_IO_TEST_INVALIDATE, .pause_us = 30000, .wanted = 2 };
	struct t_ring ring;
	int status;
	pid_t pid;

	if (!t_dev2)
		return t_skip("no second disk, whose mapping would be another one: name one in DEV2=");
	T_TRY(need_exporter());
	begin(&buf, 4096, 0);
	pid = fork();
	if (!pid)
		second(&buf);
	t_ring_init(&ring, T_PLAIN, DEPTH, SLOTS);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	storm_begin(&storm);
	do {
		T_TRY(some_traffic(&ring, &buf, 0, DEPTH / 2, DEPTH));
	} while (!waitpid(pid, &status, WNOHANG));
	T_TRY(storm_end(&storm));
	T_IS(status, 0, "the child's status");
	t_diag("%u invalidations, %u of two mappings", storm.count, storm.both);
	T_CHECK(storm.both, "there never were two mappings to take away");
	t_ring_exit(&ring);
	return unused(&buf);
}

static double processor_time(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);	/* of the kernel's threads for our rings, too */
	return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Mapping says "again" for ever: each request ends once, and nobody is busy any more. */
static enum t_result always_again(enum t_mode mode, int err)
{
	struct t_io io = { .fd = fd, .len = BLOCK };
	struct io_uring_cqe *cqe;
	unsigned int i;
	struct t_ring ring;
	struct t_buf buf;
	double used;

	T_TRY(need_exporter());
	T_TRY(t_need(mode));
	begin(&buf, 4096, 0);
	t_ring_init(&ring, mode, DEPTH, SLOTS);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(control(&buf, DMA_BUF_IO_TEST_FAIL_MAP, times(1U << 30, err), NULL), 0, "make it fail");
	for (i = 0; i < DEPTH; i++)
		t_queue(&ring, &io, i);
	t_submit(&ring);
	for (i = 0; i < DEPTH; i++)
		T_IS(t_reap(&ring, NULL), -EBUSY, "read");
	used = processor_time();
	sleep(1);
	used = processor_time() - used;
	T_CHECK(used < 0.5, "%.2f s of processor time in a second with nothing to do", used);
	T_IS(io_uring_peek_cqe(&ring.uring, &cqe), -EAGAIN, "one completion more");
	T_IS(control(&buf, DMA_BUF_IO_TEST_FAIL_MAP, 0, NULL), 0, "let it succeed");
	T_TRY(traffic(&ring, &buf, 2 * DEPTH));
	T_IS(ask(&buf, DMA_BUF_IO_TEST_TOTAL), 2, "mappings");
	t_ring_exit(&ring);
	return unused(&buf);
}

/* With a setting of the disk's queue for as long as the test runs. */
static enum t_result with(const char *attribute, int value, enum t_result (*test)(void))
{
	char path[128];
	enum t_result result;
	FILE *file;
	int before;

	snprintf(path, sizeof(path), "/sys/class/block/%s/queue/%s", basename(t_dev), attribute);
	file = fopen(path, "r+");
	if (!file || fscanf(file, "%d", &before) != 1)
		return t_skip("%s: %m", path);
	rewind(file);
	if (fprintf(file, "%d\n", value) < 0 || fflush(file)) {
		fclose(file);
		return t_skip("%s does not take %d: %m", path, value);
	}
	result = test();
	rewind(file);
	fprintf(file, "%d\n", before);
	fclose(file);
	return result;
}

/* Requests wait for tags. */
static enum t_result few_tags(void)
{
	return with("nr_requests", 4, storm);
}

static enum t_result split(void)
{
	return with("max_sectors_kb", 4, storm);
}

/*
 * 16 commands to a request, more than there are tags. Each mapping lasts for a few
 * commands, and all requests get on alike: with too many the first to be done is
 * done late.
 */
static enum t_result split_few_tags(void)
{
	enum t_result result;

	at_once = 16;
	result = with("nr_requests", 4, split);
	at_once = DEPTH;
	return result;
}

#define COMMAND	"nvme/nvme_setup_cmd"
#define PARTS	(BLOCK / 4096)

/* So many commands for the reads and writes of whole blocks, some of them in flight together. */
static enum t_result count_commands(struct t_ring *ring, struct t_buf *buf, unsigned int rounds, long *commands)
{
	char filter[64];
	unsigned int round, i;

	snprintf(filter, sizeof(filter), "disk == \"%s\"", disk_name(t_dev));
	T_TRY(trace_begin(COMMAND, filter));
	for (round = 0, *commands = 0; round < rounds; round++) {
		for (i = 0; i < 8; i++) {
			struct t_io io = { .fd = fd, .write = i % 2, .addr = i * BLOCK, .len = BLOCK,
					   .pos = i % 2 ? SCRATCH + i * BLOCK : (i + round) * BLOCK };

			memset(buf->map + io.addr, round * 8 + i, BLOCK);
			t_queue(ring, &io, i);
		}
		t_submit(ring);
		for (i = 0; i < 8; i++)
			T_IS(t_reap(ring, NULL), BLOCK, "request");
		/* checking reads the disk, too, by one command or more */
		*commands += trace_end(COMMAND);
		for (i = 0; i < 8; i++)
			T_CHECK(t_same("data", buf->map + i * BLOCK,
				       t_disk_read(&disk, i % 2 ? SCRATCH + i * BLOCK : (i + round) * BLOCK, BLOCK), BLOCK),
				"wrong data in round %u", round);
		T_TRY(trace_begin(COMMAND, filter));
	}
	trace_end(COMMAND);
	return T_PASS;
}

/* The mapping goes between commands of a request: all of them are issued again, so that parts are transferred twice. */
static enum t_result repeated(void)
{
	struct t_buf buf;
	struct storm storm = { .buf = &buf, .op = DMA_BUF_IO_TEST_INVALIDATE, .pause_us = pause_us, .wanted = 1 };
	const unsigned int rounds = (getenv("PATIENCE") ? 4 : 20) * scale, requests = 8 * rounds;
	long quiet, stormy;
	struct t_ring ring;

	T_TRY(need_exporter());
	begin(&buf, 4096, 0);
	t_ring_init(&ring, T_PLAIN, DEPTH, SLOTS);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_TRY(count_commands(&ring, &buf, rounds, &quiet));
	storm_begin(&storm);
	T_TRY(count_commands(&ring, &buf, rounds, &stormy));
	T_TRY(storm_end(&storm));
	t_diag("%u requests of %lu commands: %ld commands, with %u invalidations %ld", requests, PARTS, quiet, storm.count, stormy);
	T_IS(quiet, requests * PARTS, "commands with nobody invalidating");
	T_CHECK(stormy > quiet, "no invalidation met a request");
	t_ring_exit(&ring);
	return unused(&buf);
}

static enum t_result split_counted(void)
{
	return with("max_sectors_kb", 4, repeated);
}

/* What a child does with its I/O in flight, the mapping coming and going. */
static void end_in_flight(struct t_buf *buf, const char *end)
{
	struct op ops[DEPTH] = { };
	struct t_ring ring;
	unsigned int i;

	t_ring_init(&ring, T_PLAIN, DEPTH, SLOTS);
	if (t_register(&ring, 0, buf->fd, fd, 0) != 1)
		_exit(1);
	for (i = 0; i < DEPTH; i++)
		start(&ring, buf, ops, i);
	t_submit(&ring);
	if (!strcmp(end, "SIGKILL"))
		raise(SIGKILL);
	if (!strcmp(end, "unregister")) {
		if (t_clear(&ring, 0) != 1)
			_exit(2);
		for (i = 0; i < DEPTH; i++) {
			int ret = t_reap(&ring, NULL);

			if (ret != 4096 && ret != (int)BLOCK)
				_exit(3);
		}
	}
	t_ring_exit(&ring);
	_exit(0);
}

static enum t_result ended(const char *end)
{
	struct t_buf buf;
	struct storm storm = { .buf = &buf, .op = DMA_BUF_IO_TEST_INVALIDATE, .pause_us = 3000 };
	unsigned int i;

	T_TRY(need_exporter());
	begin(&buf, 4096, 0);
	storm_begin(&storm);
	for (i = 0; i < 4 * scale; i++) {
		int status;
		pid_t pid = fork();

		if (!pid)
			end_in_flight(&buf, end);
		T_IS(waitpid(pid, &status, 0), pid, "wait");
		T_IS(status, strcmp(end, "SIGKILL") ? 0 : SIGKILL, "the child's status");
	}
	T_TRY(storm_end(&storm));
	return unused(&buf);
}

/* One worker for all requests that have to make the mapping. */
static enum t_result one_worker(void)
{
	unsigned int workers[2] = { 1, 1 }, i;
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(need_exporter());
	begin(&buf, 4096, 0);
	t_ring_init(&ring, T_PLAIN, DEPTH, SLOTS);
	T_IS(io_uring_register_iowq_max_workers(&ring.uring, workers), 0, "one worker");
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	for (i = 0; i < 5 * scale; i++) {
		T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
		T_TRY(traffic(&ring, &buf, DEPTH));
	}
	t_ring_exit(&ring);
	return unused(&buf);
}

/*
 * Every worker that there may be sleeps for the mapping, and so does the exporter,
 * which wants to take it away again: others go on, and all ends with the fence.
 */
static enum t_result parked(void)
{
	unsigned int workers[2] = { 4, 4 }, i;
	struct storm storm = { .op = DMA_BUF_IO_TEST_INVALIDATE, .pause_us = 3000 };
	struct t_io io = { .fd = fd, .len = BLOCK };
	struct io_uring_cqe *cqe;
	struct t_ring ring, free;
	struct t_buf buf, other;

	T_TRY(need_exporter());
	begin(&buf, 4096, 0);
	begin(&other, 4096, 0);
	t_ring_init(&ring, T_ASYNC, DEPTH, SLOTS);
	t_ring_init(&free, T_PLAIN, DEPTH, SLOTS);
	T_IS(io_uring_register_iowq_max_workers(&ring.uring, workers), 0, "four workers");
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_IS(t_register(&free, 0, other.fd, fd, 0), 1, "register");
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(control(&buf, DMA_BUF_IO_TEST_FENCE, 1, NULL), 0, "add a fence");
	for (i = 0; i < DEPTH; i++) {
		io.addr = io.pos = i * BLOCK;
		t_queue(&ring, &io, i);
	}
	t_submit(&ring);
	usleep(100000);
	storm.buf = &buf;
	storm_begin(&storm);
	T_TRY(traffic(&free, &other, 2 * DEPTH));
	T_IS(io_uring_peek_cqe(&ring.uring, &cqe), -EAGAIN, "before the fence");
	T_IS(storm.count, 0, "invalidations before the fence");
	T_IS(control(&buf, DMA_BUF_IO_TEST_FENCE, 0, NULL), 0, "signal it");
	for (i = 0; i < DEPTH; i++) {
		uint64_t which;

		T_IS(t_reap(&ring, &which), BLOCK, "read");
		T_CHECK(t_same("read", buf.map + which * BLOCK, disk.image + which * BLOCK, BLOCK), "wrong data");
	}
	T_TRY(storm_end(&storm));
	T_CHECK(storm.count, "nothing was ever invalidated");
	t_ring_exit(&ring);
	t_ring_exit(&free);
	T_TRY(unused(&other));
	return unused(&buf);
}

/* The lock is kept for a second after: neither submitting nor the exporter's call waits for that. */
static enum t_result held(void)
{
	struct t_buf buf;
	struct storm storm = { .buf = &buf, .op = DMA_BUF_IO_TEST_INVALIDATE, .arg = 1000 };
	struct t_io io = { .fd = fd, .len = 4096 };
	struct t_ring ring;
	double before;

	T_TRY(need_exporter());
	begin(&buf, 4096, 0);
	t_ring_init(&ring, T_PLAIN, 8, SLOTS);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	storm_begin(&storm);
	while (ask(&buf, DMA_BUF_IO_TEST_LIVE))
		usleep(1000);
	storm.stop = true;
	before = now();
	t_queue(&ring, &io, 0);
	t_submit(&ring);
	T_CHECK(now() - before < 0.5, "submitting took %.3f s", now() - before);
	T_IS(t_reap(&ring, NULL), 4096, "read");
	T_TRY(storm_end(&storm));
	T_CHECK(storm.longest < bound(0.5) * 1e9, "the exporter waited %.3f s", storm.longest / 1e9);
	T_CHECK(t_same("read", buf.map, disk.image, 4096), "wrong data");
	t_ring_exit(&ring);
	return unused(&buf);
}

/* A mapping that does not return keeps one worker; all else goes on, and ends. */
static enum t_result blocked(const char *end)
{
	struct t_io io = { .fd = fd, .len = 4096 };
	struct t_buf buf;
	struct t_ring ring;
	int status;
	pid_t pid;

	T_TRY(need_exporter());
	begin(&buf, 4096, 0);
	pid = fork();
	if (!pid) {
		t_ring_init(&ring, T_PLAIN, 8, SLOTS);
		if (t_register(&ring, 0, buf.fd, fd, 0) != 1 || control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL) ||
		    control(&buf, DMA_BUF_IO_TEST_BLOCK_MAP, 1, NULL))
			_exit(1);
		t_queue(&ring, &io, 0);
		t_submit(&ring);
		usleep(100000);
		if (!strcmp(end, "unregister"))
			_exit(t_clear(&ring, 0) == 1 ? 0 : 2);
		if (!strcmp(end, "ring exit"))
			t_ring_exit(&ring);
		else
			raise(SIGKILL);
		_exit(0);
	}
	T_IS(waitpid(pid, &status, 0), pid, "wait");
	T_IS(status, strcmp(end, "SIGKILL") ? 0 : SIGKILL, "the child's status");
	T_IS(control(&buf, DMA_BUF_IO_TEST_BLOCK_MAP, 0, NULL), 0, "let go");
	return unused(&buf);
}

/* The request waits for the exporter's fence, not longer and not shorter. */
static enum t_result fenced(void)
{
	struct t_io io = { .fd = fd, .len = 4096 };
	struct io_uring_cqe *cqe;
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(need_exporter());
	begin(&buf, 4096, 0);
	t_ring_init(&ring, T_PLAIN, 8, SLOTS);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(control(&buf, DMA_BUF_IO_TEST_FENCE, 1, NULL), 0, "add a fence");
	t_queue(&ring, &io, 0);
	t_submit(&ring);
	usleep(300000);
	T_IS(io_uring_peek_cqe(&ring.uring, &cqe), -EAGAIN, "before the fence");
	T_IS(control(&buf, DMA_BUF_IO_TEST_FENCE, 0, NULL), 0, "signal it");
	T_IS(t_reap(&ring, NULL), 4096, "read");
	T_CHECK(t_same("read", buf.map, disk.image, 4096), "wrong data");
	t_ring_exit(&ring);
	return unused(&buf);
}

/* Submitted, and then nobody comes to the kernel on the ring's behalf: the exporter must not need them. */
static enum t_result nobody_comes(enum t_mode mode, unsigned int op)
{
	struct t_io io = { .fd = fd, .len = BLOCK };
	struct t_ring ring;
	struct t_buf buf;
	double before;
	unsigned int i;

	T_TRY(need_exporter());
	T_TRY(t_need(mode));
	begin(&buf, 4096, 0);
	t_ring_init(&ring, mode, DEPTH, SLOTS);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	for (i = 0; i < DEPTH; i++) {
		io.addr = io.pos = i * BLOCK;
		t_queue(&ring, &io, i);
	}
	t_submit(&ring);
	before = now();
	T_IS(control(&buf, op, 0, NULL), 0, "the exporter");
	T_CHECK(now() - before < 10, "the exporter waited %.3f s", now() - before);
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings left");
	for (i = 0; i < DEPTH; i++) {
		uint64_t which;
		int ret = t_reap(&ring, &which);

		if (ret == -ENODEV && op == DMA_BUF_IO_TEST_REVOKE)
			continue;
		T_IS(ret, BLOCK, "read");
		T_CHECK(t_same("read", buf.map + which * BLOCK, disk.image + which * BLOCK, BLOCK), "wrong data");
	}
	io.addr = io.pos = 0;
	T_IS(t_rw(&ring, &io), op == DMA_BUF_IO_TEST_REVOKE ? -ENODEV : (int)BLOCK, "the next read");
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	return unused(&buf);
}

static int drop(const char *what)
{
	int file = open("/proc/sys/vm/drop_caches", O_WRONLY);
	int ret = file >= 0 && write(file, what, 1) == 1 ? 0 : -errno;

	close(file);
	return ret;
}

/* 2: slab, that is to say shrinkers; 4: do not tell the log about it each time. */
static void *drop_caches(void *arg)
{
	struct storm *storm = arg;

	storm->error = drop("4");
	while (!storm->stop && !storm->error) {
		storm->error = drop("2");
		storm->count++;
		usleep(3000);
	}
	return NULL;
}

/* Memory pressure evicts the very buffer that is in use. */
static enum t_result shrunk(enum t_mode mode)
{
	struct storm storm = { .buf = NULL };
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(need_exporter());
	T_TRY(t_need(mode));
	begin(&buf, 4096, DMA_BUF_IO_TEST_SHRINKS);
	t_ring_init(&ring, mode, DEPTH, SLOTS);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	if (pthread_create(&storm.thread, NULL, drop_caches, &storm))
		t_die("no thread");
	do {
		T_TRY(traffic(&ring, &buf, DEPTH + 64 * scale));
	} while (storm.count < 20 * scale);
	T_TRY(storm_end(&storm));
	t_diag("%u rounds of shrinkers, %llu mappings", storm.count,
	       (unsigned long long)ask(&buf, DMA_BUF_IO_TEST_TOTAL));
	T_CHECK(ask(&buf, DMA_BUF_IO_TEST_TOTAL) > 1, "the shrinker never took the mapping");
	t_ring_exit(&ring);
	return unused(&buf);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* So many reads on the way at any time, of one page each, all to the same. */
static void *keep_busy(void *arg)
{
	struct storm *storm = arg;
	const struct t_io io = { .fd = fd, .len = T_PAGE };
	struct t_ring ring;
	unsigned int i;

	t_ring_init(&ring, T_PLAIN, MAX_DEPTH, SLOTS);
	if (t_register(&ring, 0, storm->buf->fd, fd, 0) != 1)
		storm->error = -EIO;
	for (i = 0; i < storm->arg; i++)
		t_queue(&ring, &io, 0);
	while (i && !storm->error) {
		int ret;

		t_submit(&ring);
		ret = t_reap(&ring, NULL);
		if (ret != T_PAGE)
			storm->error = ret;
		if (storm->stop)
			i--;
		else
			t_queue(&ring, &io, 0);
	}
	t_ring_exit(&ring);
	return NULL;
}

/* What an exporter waits with so many requests on the way: the emulated machine's time, most of it RCU's. */
static enum t_result latency(unsigned int depth)
{
	unsigned int n = 200 * scale, unmapped = 0, i;
	uint64_t *took = calloc(n, sizeof(*took));
	struct storm load = { .arg = depth };
	struct t_buf buf;

	T_TRY(need_exporter());
	begin(&buf, 4096, 0);
	load.buf = &buf;
	if (pthread_create(&load.thread, NULL, keep_busy, &load))
		t_die("no thread");
	for (i = 0; i < n; i++) {
		double end = now() + 10;

		while (!ask(&buf, DMA_BUF_IO_TEST_LIVE) && now() < end)
			usleep(1000);
		usleep(5000);	/* let the queue fill */
		/* it stays mapped: nobody else takes it away */
		unmapped += !ask(&buf, DMA_BUF_IO_TEST_LIVE);
		T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, &took[i]), 0, "invalidate");
	}
	load.stop = true;
	pthread_join(load.thread, NULL);
	T_IS(load.error, 0, "the load");
	T_IS(unmapped, 0, "invalidations of what was not mapped");
	qsort(took, n, sizeof(*took), by_value);
	t_diag("depth %u: median %.2f ms, 99th percentile %.2f ms, worst %.2f ms of %u", depth,
	       took[n / 2] / 1e6, took[n * 99 / 100 - 1] / 1e6, took[n - 1] / 1e6, n);
	T_CHECK(took[n - 1] < bound(10) * 1e9, "the worst is out of bounds");
	free(took);
	return unused(&buf);
}

int main(int argc, char **argv)
{
	static const char *const ends[] = { "unregister", "ring exit", "SIGKILL" };
	static const unsigned int depths[] = { 1, 32, 128, MAX_DEPTH };
	const char *more = getenv("SCALE");
	unsigned int mode, i;

	if (more && atoi(more) > 0)
		scale = atoi(more);
	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, T_MODES + 5 + 3 + 2 * T_MODES + 2 + 3 + 2 * T_COUNT(ends) + 1 + 4 + 2 + T_COUNT(depths));
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	for (mode = 0; mode < T_MODES; mode++)
		t_report(weather(mode, 4096, DMA_BUF_IO_TEST_INVALIDATE), "a storm of invalidations, %s", t_mode_names[mode]);
	t_report(weather(T_PLAIN, 2 * T_MIB, DMA_BUF_IO_TEST_INVALIDATE), "a storm of invalidations, large segments");
	t_report(few_tags(), "a storm while requests wait for tags");
	t_report(split_few_tags(), "a storm between the commands of a request");
	t_report(split_counted(), "a storm between the commands of a request, which are counted");
	map_ms = 5;
	t_report(storm(), "a storm while maps are being made");
	map_ms = 0;
	/* each invalidation moves the buffer, with the lock, which is left to others for a moment */
	pause_us = 0;
	at_once = 32;
	t_report(storm(), "a storm without a pause");
	at_once = DEPTH;
	pause_us = 3000;
	fences = true;
	t_report(storm(), "a storm, each invalidation with a fence");
	fences = false;
	t_report(twice(), "a storm while a dma-buf is registered twice");
	for (mode = 0; mode < T_MODES; mode++)
		t_report(always_again(mode, EAGAIN), "mapping always fails with EAGAIN, %s", t_mode_names[mode]);
	for (mode = 0; mode < T_MODES; mode++)
		t_report(always_again(mode, EINTR), "mapping always fails with EINTR, %s", t_mode_names[mode]);
	for (i = 0; i < T_COUNT(ends); i++)
		t_report(ended(ends[i]), "%s with I/O in flight in a storm", ends[i]);
	t_report(weather(T_PLAIN, 4096, DMA_BUF_IO_TEST_LOCK_PAIR), "invalidated by who holds two locks");
	t_report(weather(T_DEFER, 4096, DMA_BUF_IO_TEST_LOCK_PAIR), "the same, defer_taskrun");
	t_report(one_worker(), "one worker makes the mapping for all");
	t_report(parked(), "all workers wait for the mapping, and the exporter for them");
	t_report(held(), "the lock is held long after");
	for (i = 0; i < T_COUNT(ends); i++)
		t_report(blocked(ends[i]), "%s while mapping blocks", ends[i]);
	t_report(fenced(), "mapping waits for the exporter's fence");
	t_report(nobody_comes(T_DEFER, DMA_BUF_IO_TEST_INVALIDATE), "invalidated while the task stays away");
	t_report(nobody_comes(T_DEFER, DMA_BUF_IO_TEST_REVOKE), "revoked while the task stays away");
	t_report(nobody_comes(T_POLLED, DMA_BUF_IO_TEST_INVALIDATE), "invalidated while nobody polls");
	t_report(nobody_comes(T_POLLED, DMA_BUF_IO_TEST_REVOKE), "revoked while nobody polls");
	t_report(shrunk(T_PLAIN), "shrinkers evict what is in use");
	t_report(shrunk(T_ASYNC), "shrinkers evict what is in use, async");
	for (i = 0; i < T_COUNT(depths); i++)
		t_report(latency(depths[i]), "invalidation latency at depth %u", depths[i]);
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
