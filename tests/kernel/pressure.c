// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory is short, and reclaim takes away the very dma-buf that is in use: for
 * the limit of a small memcg, which those who do the I/O are in themselves, and
 * for want of free pages, while the controller is reset.
 */
#include "device.h"

#include <dirent.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define ROOT	"/tmp/cgroup"
#define GROUP	ROOT "/pressure"
#define LIMIT	"4M"

static struct t_disk disk;
static int fd, cached;		/* the disk, and the same through the page cache */

/* The number after @key in a file of lines of a key and a number; -1: none. */
static long number(const char *path, const char *key)
{
	FILE *file = fopen(path, "r");
	char line[128], name[64];
	long value = -1, n;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63[^: ]%*[: ]%ld", name, &n) == 2 && !strcmp(name, key))
			value = n;
	if (file)
		fclose(file);
	return value;
}

/* Fills the page cache, which is what reclaim finds beside the dma-buf. */
static int fill_cache(unsigned int round)
{
	static __thread char chunk[64 * 1024];
	static atomic_long next = T_DISK_SIZE;
	off_t pos = atomic_fetch_add(&next, 2 * T_MIB);
	unsigned int i;

	(void)round;
	for (i = 0; i < 2 * T_MIB / sizeof(chunk); i++, pos += sizeof(chunk)) {
		ssize_t got = pread(cached, chunk, sizeof(chunk), pos);

		if (got < 0)
			return -errno;
		if (got < (ssize_t)sizeof(chunk))
			next = T_DISK_SIZE;
	}
	return 0;
}

static enum t_result evicted(enum t_mode mode)
{
	struct load load = { .disk = &disk, .fd = fd, .mode = mode };
	struct event event = { .happen = fill_cache, .rounds = 8 };
	struct t_buf buf;

	T_TRY(watched_init_flags(&buf, DMA_BUF_IO_TEST_SHRINKS));
	load.buf = &buf;
	t_ring_init(&load.ring, mode, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, fd, 0), 1, "register");
	T_TRY(load_during(&load, &event, NULL));
	t_diag("%u batches, %llu mappings, limit met %ld times", load.rounds,
	       (unsigned long long)ask(&buf, DMA_BUF_IO_TEST_TOTAL), number(GROUP "/memory.events", "max"));
	T_CHECK(ask(&buf, DMA_BUF_IO_TEST_TOTAL) > 4, "reclaim did not take the mapping");
	T_IS(t_clear(&load.ring, 0), 1, "unregister");
	t_ring_exit(&load.ring);
	return watched_exit(&buf);
}

/* All threads and workers of this process are in a memcg while it runs. */
static enum t_result small_memcg(enum t_mode mode)
{
	enum t_result result;

	T_TRY(t_need(mode));
	mkdir(ROOT, 0700);
	if (mount("none", ROOT, "cgroup2", 0, NULL) || put("+memory", ROOT "/cgroup.subtree_control"))
		return t_skip("memcg: %m (CONFIG_MEMCG, cgroup 2)");
	mkdir(GROUP, 0700);
	T_IS(put(LIMIT, GROUP "/memory.max"), 0, "limit");
	T_IS(put("0", GROUP "/cgroup.procs"), 0, "enter the memcg");
	result = evicted(mode);
	T_IS(put("0", ROOT "/cgroup.procs"), 0, "leave the memcg");
	T_IS(number(GROUP "/memory.events", "oom"), 0, "times out of memory");
	/* workers leave after their ring */
	while (rmdir(GROUP) && errno == EBUSY)
		usleep(10000);
	umount(ROOT);
	return result;
}

/* The machine's memory but for this much goes into huge pages, which nobody touches. */
#define FREE_KIB	(128 * 1024L)
#define RESETS		20

static atomic_bool stop;

static void *keep_filling(void *arg)
{
	(void)arg;
	while (!stop && !fill_cache(0))
		;
	return NULL;
}

static long meminfo(const char *key)
{
	return number("/proc/meminfo", key);
}

/* How often somebody had to reclaim before getting a page. */
static long stalls(void)
{
	static const char *const zones[] = { "dma", "dma32", "normal", "movable" };
	char key[32];
	long sum = 0;
	size_t i;

	for (i = 0; i < T_COUNT(zones); i++) {
		snprintf(key, sizeof(key), "allocstall_%s", zones[i]);
		sum += number("/proc/vmstat", key);
	}
	return sum;
}

static int set_vm(const char *name, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	return put(text, "/proc/sys/vm/%s", name);
}

/* Who frees pages ahead of need, so that others seldom have to: only when nobody else wants to run. */
static void slow_kswapd(int policy)
{
	const struct sched_param param = { 0 };
	char comm[32];
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		snprintf(comm, sizeof(comm), "%s", get("/proc/%s/comm", entry->d_name));
		if (!strncmp(comm, "kswapd", 6))
			sched_setscheduler(atoi(entry->d_name), policy, &param);
	}
	closedir(proc);
}

static enum t_result short_of_memory(enum t_result (*test)(void))
{
	long min_free = atol(get("/proc/sys/vm/min_free_kbytes")), huge = atol(get("/proc/sys/vm/nr_hugepages"));
	long before, left, kib, n = 0;
	enum t_result result = T_FAIL;
	pthread_t threads[4];
	unsigned int i;

	if (!t_dev2)
		return t_skip("no second disk: name one as the second argument or in DEV2=");
	close(cached);
	cached = t_open(t_dev2, O_RDONLY);	/* which goes on while the other is reset */
	T_IS(set_vm("drop_caches", 3), 0, "drop_caches");
	/* until there are no more in a row */
	for (i = 0; i < 5 && meminfo("MemFree") > 2 * FREE_KIB; i++)
		T_IS(set_vm("nr_hugepages", atol(get("/proc/sys/vm/nr_hugepages")) + (meminfo("MemFree") - FREE_KIB) / 2048),
		     0, "nr_hugepages");
	slow_kswapd(SCHED_IDLE);
	stop = false;
	for (i = 0; i < T_COUNT(threads); i++)
		if (pthread_create(&threads[i], NULL, keep_filling, NULL))
			t_die("no thread");
	/* most of it may be free in a zone, and of what is to be kept this has its share only */
	left = meminfo("MemFree");
	for (kib = left / 2; kib < 8 * left && n < 10; kib += left / 32) {
		n = stalls();
		T_IS(set_vm("min_free_kbytes", kib), 0, "min_free_kbytes");
		usleep(200000);
		n = stalls() - n;
	}
	before = stalls();
	result = test();
	n = stalls() - before;
	t_diag("%ld KiB free with %ld to be kept, %ld direct reclaims", meminfo("MemFree"), kib, n);
	stop = true;
	for (i = 0; i < T_COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	slow_kswapd(SCHED_OTHER);
	set_vm("min_free_kbytes", min_free);
	set_vm("nr_hugepages", huge);
	T_CHECK(n >= 10, "memory was not short");
	return result;
}

static int reset(unsigned int round)
{
	(void)round;
	return put("1", "/sys/class/block/%s/device/reset_controller", disk_name(t_dev));
}

/* Requests wait for the reset, reclaim for the requests: the reset must not wait for reclaim. */
static enum t_result resets(void)
{
	struct load load = { .disk = &disk, .fd = fd };
	struct event event = { .happen = reset, .rounds = RESETS };
	struct t_buf buf;

	T_TRY(watched_init_flags(&buf, DMA_BUF_IO_TEST_SHRINKS));
	load.buf = &buf;
	t_ring_init(&load.ring, T_PLAIN, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, fd, 0), 1, "register");
	T_TRY(load_during(&load, &event, NULL));
	t_diag("%u batches, %llu mappings", load.rounds, (unsigned long long)ask(&buf, DMA_BUF_IO_TEST_TOTAL));
	T_IS(t_clear(&load.ring, 0), 1, "unregister");
	t_ring_exit(&load.ring);
	return watched_exit(&buf);
}

int main(int argc, char **argv)
{
	enum t_mode mode;

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, T_MODES + 1);
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	cached = t_open(t_dev, O_RDONLY);
	for (mode = 0; mode < T_MODES; mode++)
		t_report(small_memcg(mode), "I/O in a small memcg that evicts the dma-buf, %s", t_mode_names[mode]);
	t_report(short_of_memory(resets), "reset while memory is short and the dma-buf evicted");
	close(cached);
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
