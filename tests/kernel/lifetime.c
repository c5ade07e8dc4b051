// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whatever is closed, unregistered or killed first: I/O that was promised works,
 * and in the end nothing is left of any dma-buf or attachment.
 */
#include "helpers.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#define SIZE	(4 * T_MIB)
#define DEPTH	32
#define CHUNK	(SIZE / DEPTH)
#define CYCLES	10000U	/* as many as there is time for; CYCLES= of them however long it takes */
#define SECONDS	60

static struct t_disk disk;

/* Everything that a registration was made of, any of it to go first. */
enum part { SLOT, DMABUF_FD, TARGET_FD, MEMFD, RING, PARTS };

struct set {
	struct t_ring ring;
	struct t_buf buf;
	int target;
};

static enum t_result build(struct set *set, size_t size, enum t_mode mode)
{
	T_TRY(t_buf_init(&set->buf, T_SCATTERED, size));
	set->target = t_open(t_dev, O_RDWR | O_DIRECT);
	t_ring_init(&set->ring, mode, DEPTH, 1);
	T_IS(t_register(&set->ring, 0, set->buf.fd, set->target, 0), 1, "register");
	/* I/O by index does not need the descriptor. */
	T_IS(io_uring_register_files(&set->ring.uring, &set->target, 1), 0, "register files");
	return T_PASS;
}

static void drop(struct set *set, enum part part)
{
	switch (part) {
	case SLOT:
		if (t_clear(&set->ring, 0) != 1)
			t_die("clearing a slot failed");
		break;
	case DMABUF_FD:
		close(set->buf.fd);
		set->buf.fd = -1;
		break;
	case TARGET_FD:
		close(set->target);
		set->target = -1;
		break;
	case MEMFD:
		close(set->buf.memfd);
		set->buf.memfd = -1;
		break;
	default:
		t_ring_exit(&set->ring);
	}
}

static void tear_down(struct set *set)
{
	close(set->target);
	t_buf_exit(&set->buf);
}

static void queue_reads(struct set *set)
{
	unsigned int i;

	for (i = 0; i < DEPTH; i++) {
		const struct t_io io = {
			.fixed_file = true, .addr = i * CHUNK, .len = CHUNK, .pos = i * CHUNK,
		};

		t_queue(&set->ring, &io, i);
	}
	t_submit(&set->ring);
}

/* The kernel has all of them; only workers have yet to look at the slot. */
static void read_in_flight(struct set *set)
{
	queue_reads(set);
	while (io_uring_sq_ready(&set->ring.uring))
		usleep(100);
}

/* All is over when nothing but our mapping holds the dma-buf: each page was read, or was not. */
static enum t_result settled(const struct set *set, const struct t_leaks *leaks)
{
	struct t_leaks mapped = *leaks;
	size_t off;

	mapped.buffers++;
	T_TRY(t_leaks_check(&mapped));
	for (off = 0; off < SIZE; off += T_PAGE)
		T_CHECK(!memcmp(set->buf.map + off, disk.image + off, T_PAGE) ||
			!memcmp(set->buf.map + off, set->buf.poison + off, T_PAGE),
			"the page at %zu is neither read nor untouched", off);
	return T_PASS;
}

/*
 * All 120 orders, with I/O between the steps for as long as it can work; or @busy,
 * with I/O that was submitted before the first, and reaped in every second order.
 */
static enum t_result order(unsigned int number, bool busy, const struct t_leaks *leaks)
{
	const struct t_io io = { .fixed_file = true };
	const bool reap = number % 2;
	bool there[PARTS] = { true, true, true, true, true }, whole[DEPTH] = { false };
	unsigned int step, left, pick, part, i;
	struct set set;

	/* each mode has each part go first */
	T_TRY(build(&set, SIZE, (number + number / PARTS) % T_MODES));
	if (busy)
		read_in_flight(&set);
	for (step = 0; step < PARTS; step++) {
		if (!busy && there[RING] && there[SLOT]) {
			T_TRY(t_check_read(&set.ring, io, &disk, &set.buf, 512, 12288, step * 4096));
			T_TRY(t_check_write(&set.ring, io, &disk, &set.buf, 512, 12288, step * 4096));
		}
		left = PARTS - step;
		pick = number % left;
		number /= left;
		for (part = 0; !there[part] || pick--; part++)
			;
		there[part] = false;
		for (i = 0; i < DEPTH && busy && reap && part == RING; i++) {
			uint64_t which;
			int ret = t_reap(&set.ring, &which);

			/* a worker may come to the slot when it is empty */
			if (ret == -EFAULT && set.ring.mode == T_ASYNC && !there[SLOT])
				continue;
			T_IS(ret, CHUNK, "read");
			whole[which] = true;
		}
		if (part != SLOT || there[RING])
			drop(&set, part);
	}
	if (busy)
		T_TRY(settled(&set, leaks));
	for (i = 0; i < DEPTH; i++)
		T_CHECK(!whole[i] || t_same("read", set.buf.map + i * CHUNK, disk.image + i * CHUNK, CHUNK), "wrong data");
	tear_down(&set);
	return T_PASS;
}

static enum t_result orders(bool busy)
{
	struct t_leaks leaks;
	unsigned int number;

	T_TRY(t_leaks_init(&leaks));
	for (number = 0; number < 120; number++)
		T_TRY(order(number, busy, &leaks));
	return t_leaks_check(&leaks);
}

static enum t_result orders_idle(void)
{
	return orders(false);
}

static enum t_result orders_in_flight(void)
{
	return orders(true);
}

/* All descriptors gone right after registration, before the first I/O. */
static enum t_result closed_at_once(void)
{
	const struct t_io io = { .fixed_file = true };
	struct t_leaks leaks;
	struct set set;
	unsigned int mode;

	T_TRY(t_leaks_init(&leaks));
	for (mode = 0; mode < T_MODES; mode++) {
		T_TRY(build(&set, SIZE, mode));
		drop(&set, DMABUF_FD);
		drop(&set, TARGET_FD);
		drop(&set, MEMFD);
		T_TRY(t_check_read(&set.ring, io, &disk, &set.buf, 4096, T_MIB, 8192));
		T_TRY(t_check_write(&set.ring, io, &disk, &set.buf, 4096, T_MIB, 8192));
		drop(&set, RING);
		tear_down(&set);
	}
	return t_leaks_check(&leaks);
}

/* The slot goes while its I/O runs: all of it completes, with the right data. */
static enum t_result unregister_in_flight(void)
{
	struct t_leaks leaks;
	struct set set;
	unsigned int round, i;

	T_TRY(t_leaks_init(&leaks));
	for (round = 0; round < 30; round++) {
		T_TRY(build(&set, SIZE, round % (T_MODES - 1)));
		read_in_flight(&set);
		if (round & 1)
			drop(&set, SLOT);
		else
			T_IS(io_uring_unregister_buffers(&set.ring.uring), 0, "unregister the table");
		for (i = 0; i < DEPTH; i++)
			T_IS(t_reap(&set.ring, NULL), CHUNK, "read");
		t_buf_begin(&set.buf);
		T_CHECK(t_same("read", set.buf.map, disk.image, SIZE), "round %u", round);
		t_buf_end(&set.buf);
		drop(&set, RING);
		tear_down(&set);
	}
	return t_leaks_check(&leaks);
}

/* The ring goes while its I/O runs. */
static enum t_result exit_in_flight(void)
{
	struct t_leaks leaks;
	struct set set;
	unsigned int round;

	T_TRY(t_leaks_init(&leaks));
	for (round = 0; round < 30; round++) {
		T_TRY(build(&set, SIZE, round % T_MODES));
		queue_reads(&set);
		drop(&set, RING);
		drop(&set, DMABUF_FD);
		drop(&set, TARGET_FD);
		T_TRY(settled(&set, &leaks));
		tear_down(&set);
	}
	return t_leaks_check(&leaks);
}

static void __attribute__((noreturn)) child(enum t_mode mode, int ready)
{
	struct set set;
	unsigned int i;
	bool told = false;

	if (build(&set, SIZE, mode) != T_PASS)
		_exit(1);
	for (;;) {
		queue_reads(&set);
		if (!told)
			told = write(ready, "", 1) == 1;
		for (i = 0; i < DEPTH; i++)
			if (t_reap(&set.ring, NULL) < 0)
				_exit(1);
	}
}

static enum t_result killed(void)
{
	struct t_leaks leaks;
	unsigned int round;
	int pipes[2], status;
	pid_t pid;
	char byte;

	T_TRY(t_leaks_init(&leaks));
	for (round = 0; round < 24; round++) {
		T_CHECK(!pipe2(pipes, O_CLOEXEC), "pipe: %m");
		fflush(stdout);
		pid = fork();
		T_CHECK(pid >= 0, "fork: %m");
		if (!pid)
			child(round % T_MODES, pipes[1]);
		close(pipes[1]);
		T_CHECK(read(pipes[0], &byte, 1) == 1, "the child failed before its first I/O");
		usleep(round * 700);
		kill(pid, SIGKILL);
		T_CHECK(waitpid(pid, &status, 0) == pid, "waitpid: %m");
		T_CHECK(WIFSIGNALED(status), "the child failed: status %d", status);
		close(pipes[0]);
	}
	return t_leaks_check(&leaks);
}

/*
 * What was freed is there for a while: until RCU lets go, and on kernels with
 * KASAN in its quarantine, with kmemleak's record, until the cache is shrunk.
 */
static void settle(void)
{
	glob_t caches;
	size_t i;
	int file;

	sleep(1);
	if (glob("/sys/kernel/slab/*/shrink", 0, NULL, &caches))
		t_die("/sys/kernel/slab: set CONFIG_SLUB_DEBUG");
	for (i = 0; i < caches.gl_pathc; i++) {
		file = open(caches.gl_pathv[i], O_WRONLY);
		if (file < 0 || write(file, "1", 1) != 1)
			t_die("%s: %m", caches.gl_pathv[i]);
		close(file);
	}
	globfree(&caches);
}

/* What registrations are made of: slab, vmalloc, per-cpu counts, page tables; and the objects in slabs. */
struct used {
	long kib, objects;
	unsigned int nr;
	struct cache {
		char name[64];
		long objects;
	} caches[512];
};

static void kernel_uses(struct used *used)
{
	static const char *const kinds[] = { "SUnreclaim", "VmallocUsed", "Percpu", "SecPageTables" };
	FILE *meminfo, *slabinfo;
	char line[256], name[32];
	struct cache *cache;
	long n;
	size_t i;

	settle();
	used->kib = used->objects = used->nr = 0;
	meminfo = fopen("/proc/meminfo", "r");
	slabinfo = fopen("/proc/slabinfo", "r");
	if (!meminfo || !slabinfo)
		t_die("/proc/meminfo, /proc/slabinfo: %m");
	while (fgets(line, sizeof(line), meminfo))
		for (i = 0; i < T_COUNT(kinds); i++)
			if (sscanf(line, "%31[^:]: %ld", name, &n) == 2 && !strcmp(name, kinds[i]))
				used->kib += n;
	while (used->nr < T_COUNT(used->caches) && fgets(line, sizeof(line), slabinfo)) {
		cache = &used->caches[used->nr];
		/* areas that are free are kept for the next, until there are many; what they had is in VmallocUsed */
		if (sscanf(line, "%63s %ld", cache->name, &cache->objects) == 2 && strcmp(cache->name, "vmap_area")) {
			used->objects += cache->objects;
			used->nr++;
		}
	}
	fclose(meminfo);
	fclose(slabinfo);
}

/* The cache that has grown most. */
static const struct cache *grown(const struct used *before, const struct used *after, long *by)
{
	const struct cache *most = &after->caches[0];
	unsigned int i, j;

	*by = 0;
	for (i = 0; i < after->nr; i++)
		for (j = 0; j < before->nr; j++)
			if (!strcmp(after->caches[i].name, before->caches[j].name) && after->caches[i].objects - before->caches[j].objects > *by) {
				most = &after->caches[i];
				*by = most->objects - before->caches[j].objects;
			}
	return most;
}

/* Kernel memory stays where it was: an object lost in every second cycle would show, however small. */
static enum t_result cycles(void)
{
	const struct t_io io = { .fixed_file = true, .len = T_PAGE };
	static struct used before, after;
	const struct cache *most;
	struct t_leaks leaks;
	long by;
	const char *more = getenv("CYCLES");
	unsigned int n = more && atoi(more) > 0 ? (unsigned int)atoi(more) : CYCLES, warm = n / 10, i;
	time_t end = time(NULL) + SECONDS;
	struct set set;

	T_TRY(t_leaks_init(&leaks));
	T_TRY(build(&set, 64 * 1024, T_PLAIN));
	for (i = 0; i < n; i++) {
		if (i == warm)
			kernel_uses(&before);
		if (!more && i > 2 * warm && time(NULL) >= end)
			break;
		T_IS(t_register(&set.ring, 0, set.buf.fd, set.target, 0), 1, "replace");
		if (i % 8 == 0)
			T_IS(t_rw(&set.ring, &io), T_PAGE, "read");
		T_IS(t_clear(&set.ring, 0), 1, "clear");
	}
	n = i;
	/* what RCU and workers free later is not lost */
	end = time(NULL) + 10;
	while (kernel_uses(&after), after.objects - before.objects >= (long)(n - warm) / 4 && time(NULL) < end)
		;
	drop(&set, RING);
	tear_down(&set);
	T_TRY(t_leaks_check(&leaks));
	most = grown(&before, &after, &by);
	t_diag("%u registrations: kernel memory was %ld KiB in %ld objects, is %ld KiB in %ld; %s has %ld more of %ld", n,
	       before.kib, before.objects, after.kib, after.objects, most->name, by, most->objects);
	T_CHECK(after.kib - before.kib < 2048, "kernel memory has grown");
	T_CHECK(after.objects - before.objects < (long)(n - warm) / 2, "objects have become more");
	return T_PASS;
}

static const struct {
	const char *name;
	enum t_result (*run)(void);
} tests[] = {
	{ "all descriptors closed after registration", closed_at_once },
	{ "every order of clear, close and ring exit", orders_idle },
	{ "every order of clear, close and ring exit with I/O in flight", orders_in_flight },
	{ "unregister with I/O in flight", unregister_in_flight },
	{ "ring exit with I/O in flight", exit_in_flight },
	{ "SIGKILL with I/O in flight", killed },
	{ "registrations without number", cycles },
};

int main(int argc, char **argv)
{
	size_t i;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_COUNT(tests));
	t_disk_init(&disk, t_dev);
	for (i = 0; i < T_COUNT(tests); i++)
		t_report(tests[i].run(), "%s", tests[i].name);
	t_disk_exit(&disk);
	return t_finish();
}
