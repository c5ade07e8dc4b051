/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to a device: its files in sysfs and debugfs, and I/O that goes
 * on while somebody writes to them.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "exporter.h"
#include "sys.h"

#ifndef DEPTH		/* for those who want another load */
#define DEPTH	32
#define CHUNK	(32 * 1024UL)
#endif
#define SIZE	(DEPTH * CHUNK)
#define SCRATCH	(T_DISK_SIZE / 2)	/* reads before, writes after */

/* The PCI device behind a disk, as its driver's bind file wants it. */
static inline void pci_name(const char *dev, char name[32])
{
	char link[PATH_MAX], path[PATH_MAX];

	snprintf(link, sizeof(link), "/sys/class/block/%s/device/device", disk_name(dev));
	if (!realpath(link, path))
		t_die("%s: %m: name an NVMe namespace, and boot with nvme_core.multipath=N", link);
	snprintf(name, 32, "%s", strrchr(path, '/') + 1);
}

/* The PCIe root port that the disk is alone behind, "" if it is not behind any. */
static inline void port_name(const char *dev, char name[32])
{
	char link[PATH_MAX], path[PATH_MAX];

	snprintf(link, sizeof(link), "/sys/class/block/%s/device/device/..", disk_name(dev));
	name[0] = 0;
	if (!strncmp(get("%s/class", link), "0x0604", 6) && realpath(link, path))
		snprintf(name, 32, "%s", strrchr(path, '/') + 1);
}

static inline void disk_serial(const char *dev, char serial[64])
{
	snprintf(serial, 64, "%s", get("/sys/class/block/%s/device/serial", disk_name(dev)));
	serial[strcspn(serial, " ")] = 0;
}

/* A node is there before its disk can be opened. */
static inline bool opens(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* The first namespace of the controller that has this serial number. */
static inline bool find_disk(const char *serial, char path[64])
{
	unsigned int i, n;

	for (i = 0; i < 16; i++) {
		if (strncmp(get("/sys/class/nvme/nvme%u/serial", i), serial, strlen(serial)) ||
		    strcmp(get("/sys/class/nvme/nvme%u/state", i), "live"))
			continue;
		for (n = 1; n < 16; n++) {
			snprintf(path, 64, "/dev/nvme%un%u", i, n);
			if (opens(path))
				return true;
		}
	}
	return false;
}

/* Finds a disk that comes back, which may be under another name: while old files are open it is. */
static inline enum t_result await_disk(const char *serial, char path[64])
{
	double end = now() + 60;

	for (; now() < end; usleep(20000))
		if (find_disk(serial, path))
			return T_PASS;
	t_diag("the disk %s did not come back", serial);
	return T_FAIL;
}

/* Of the kernel's fault attributes: which, how often, how many (-1: no limit). */
static inline int fault(const char *dir, const char *probability, const char *times)
{
	int ret = put(probability, "/sys/kernel/debug/%s/probability", dir);

	put(times, "/sys/kernel/debug/%s/times", dir);
	put("0", "/sys/kernel/debug/%s/verbose", dir);
	return ret;
}

/* Requests in flight, in batches, each byte of which is verified. */
struct load {
	struct t_disk *disk;
	struct t_buf *buf;
	int fd;
	enum t_mode mode;
	bool ends;		/* by an error, which is then no failure */
	atomic_uint rounds;	/* batches done */
	struct t_ring ring;
};

static inline struct t_io load_io(const struct load *load, unsigned int i, unsigned int round)
{
	bool write = i % 4 == 3;

	return (struct t_io){
		.fd = load->fd, .write = write, .addr = i * CHUNK, .len = CHUNK,
		.pos = write ? SCRATCH + i * CHUNK : (i * 7 + round * 13) % (SCRATCH / CHUNK) * CHUNK,
	};
}

/* All that was submitted completes, whatever happens; returns the first error. */
static inline int load_batch(struct load *load, unsigned int round)
{
	unsigned int i, left = 0;
	int error = 0;

	for (i = 0; i < DEPTH; i++, left++) {
		struct t_io io = load_io(load, i, round);

		if (io.write)
			memset(load->buf->map + io.addr, round + i, CHUNK);
		t_queue(&load->ring, &io, i);
	}
	t_submit(&load->ring);
	while (left) {
		int ret = t_reap(&load->ring, NULL);

		left--;
		if (ret != (int)CHUNK && !error)
			error = ret < 0 ? ret : -ENODATA;
	}
	return error;
}

static inline bool load_is_right(struct load *load, unsigned int round)
{
	unsigned int i;
	bool ok = true;

	for (i = 0; i < DEPTH && ok; i++) {
		struct t_io io = load_io(load, i, round);
		const void *want = io.write ? t_disk_read(load->disk, io.pos, CHUNK) : load->disk->image + io.pos;

		ok = t_same(io.write ? "written" : "read", load->buf->map + io.addr, want, CHUNK);
	}
	return ok;
}

/* What happens to the device meanwhile, in another thread. */
struct event {
	int (*happen)(unsigned int round);
	unsigned int rounds;
	struct load *load;
	atomic_bool done;
	int error;		/* of the first that failed */
	pthread_t thread;
};

static inline void *event_run(void *arg)
{
	struct event *event = arg;
	unsigned int i;

	for (i = 0; i < event->rounds && !event->error; i++) {
		unsigned int before = event->load->rounds;
		double end = now() + 10;

		event->error = event->happen(i);
		while (event->load->rounds == before && now() < end)
			usleep(1000);
	}
	event->done = true;
	return NULL;
}

/* I/O until all has happened, or it ends by the error that the caller gets in *error. */
static inline enum t_result load_during(struct load *load, struct event *event, int *error)
{
	enum t_result result = T_PASS;
	int ret = load_batch(load, 0);

	event->load = load;
	T_IS(ret, 0, "I/O before anything happens");
	if (pthread_create(&event->thread, NULL, event_run, event))
		t_die("no thread");
	while (!ret && result == T_PASS && (load->ends || !event->done)) {
		ret = load_batch(load, load->rounds);
		/* with the device going away the truth cannot be read back */
		if (!ret && !load->ends && !load_is_right(load, load->rounds))
			result = T_FAIL;
		load->rounds++;
	}
	pthread_join(event->thread, NULL);
	/* before what happened, which may have failed for want of I/O */
	T_CHECK(result == T_PASS, "wrong data in batch %u", load->rounds);
	if (error)
		*error = ret;
	else
		T_IS(ret, 0, "I/O");
	T_IS(event->error, 0, "what happens to the device");
	return T_PASS;
}

/* A buffer of the test exporter, which counts mappings and watches pages that it has left. */
static inline enum t_result watched_init_flags(struct t_buf *buf, unsigned int flags)
{
	T_TRY(need_exporter());
	*buf = (struct t_buf){ .fd = export_buf(SIZE, T_PAGE, flags | DMA_BUF_IO_TEST_MOVES), .memfd = -1, .size = SIZE };
	T_CHECK(buf->fd >= 0, "exporting: %s", t_number(buf->fd));
	buf->map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, buf->fd, 0);
	T_CHECK(buf->map != MAP_FAILED, "mmap: %m");
	return T_PASS;
}

static inline enum t_result watched_init(struct t_buf *buf)
{
	return watched_init_flags(buf, 0);
}

/* After the last registration is gone: nothing is left. */
static inline enum t_result watched_exit(struct t_buf *buf)
{
	T_TRY(await_live(buf, 0));
	T_IS(ask(buf, DMA_BUF_IO_TEST_SCRIBBLED), 0, "bytes written too late");
	munmap(buf->map, SIZE);
	close(buf->fd);
	return T_PASS;
}

/* Invalidates until told to stop; how long the exporter waited, in seconds. */
struct storm {
	struct t_buf *buf;
	unsigned int pause;	/* in microseconds; so many after each */
	atomic_bool stop;
	atomic_uint count;
	int error;
	double worst;
	float took[4096];	/* the last ones that met a mapping */
	unsigned int met;
	pthread_t thread;
};

static inline void *blow(void *arg)
{
	struct storm *storm = arg;

	while (!storm->stop && !storm->error) {
		const bool mapped = ask(storm->buf, DMA_BUF_IO_TEST_LIVE);
		double before = now(), took;

		storm->error = control(storm->buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL);
		took = now() - before;
		if (took > storm->worst)
			storm->worst = took;
		if (mapped)
			storm->took[storm->met++ % T_COUNT(storm->took)] = took;
		storm->count++;
		if (storm->pause)
			usleep(storm->pause);
	}
	return NULL;
}

static inline int shorter(const void *a, const void *b)
{
	const float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

static inline double storm_median(struct storm *storm)
{
	const size_t n = storm->met < T_COUNT(storm->took) ? storm->met : T_COUNT(storm->took);

	qsort(storm->took, n, sizeof(storm->took[0]), shorter);
	return n ? storm->took[n / 2] : 0;
}

struct storm_wait {
	double median, worst;	/* in seconds */
	unsigned int count;
};

/* Something happens to the device, and an exporter invalidates all the while. */
static inline enum t_result stormy_for(struct t_disk *disk, int fd, int (*happen)(unsigned int round),
				       enum t_mode mode, unsigned int rounds, struct storm_wait *wait)
{
	struct load load = { .disk = disk, .fd = fd, .mode = mode };
	struct event event = { .happen = happen, .rounds = rounds };
	struct storm storm = { .pause = 2000 };
	struct t_buf buf;

	T_TRY(t_need(mode));
	T_TRY(watched_init(&buf));
	load.buf = storm.buf = &buf;
	t_ring_init(&load.ring, mode, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, fd, 0), 1, "register");
	if (pthread_create(&storm.thread, NULL, blow, &storm))
		t_die("no thread");
	T_TRY(load_during(&load, &event, NULL));
	storm.stop = true;
	pthread_join(storm.thread, NULL);
	T_IS(storm.error, 0, "invalidate");
	t_diag("%u invalidations, the longest %.3f s, %llu mappings", storm.count, storm.worst,
	       (unsigned long long)ask(&buf, DMA_BUF_IO_TEST_TOTAL));
	T_CHECK(storm.worst < 20, "an invalidation took %.1f s", storm.worst);
	*wait = (struct storm_wait){ storm_median(&storm), storm.worst, storm.met };
	T_IS(t_clear(&load.ring, 0), 1, "unregister");
	t_ring_exit(&load.ring);
	return watched_exit(&buf);
}

static inline enum t_result stormy(struct t_disk *disk, int fd, int (*happen)(unsigned int round),
				   enum t_mode mode, unsigned int rounds)
{
	struct storm_wait wait;

	return stormy_for(disk, fd, happen, mode, rounds, &wait);
}

#endif
