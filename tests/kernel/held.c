// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What holds requests back before the device has them holds up no exporter: a
 * frozen queue, a cgroup's io.max or io.cost, a scheduler. How long it waits is
 * printed.
 */
#include "device.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/ioprio.h>
#include <linux/nvme_ioctl.h>

#define FORMAT	0x80		/* admin command that formats a namespace */
#define SLOW	"slow"		/* serial number of the disk whose Format takes seconds */
#define CGROUP	"/tmp/held"
#define SAMPLES	40U

/* Shared with the child that does the I/O. */
static struct shared {
	atomic_ulong done;
	atomic_int error;
} *shared;

/* DEPTH reads on the way at any time, as far as they are let. */
static void __attribute__((noreturn)) keep_reading(const struct t_buf *buf, const char *path)
{
	const int fd = t_open(path, O_RDWR | O_DIRECT);
	const struct t_io io = { .fd = fd, .len = T_PAGE };
	struct t_ring ring;
	unsigned int i;

	t_ring_init(&ring, T_PLAIN, DEPTH, 1);
	if (t_register(&ring, 0, buf->fd, fd, 0) != 1)
		_exit(1);
	for (i = 0; i < DEPTH; i++)
		t_queue(&ring, &io, 0);
	for (;;) {
		struct io_uring_cqe *cqe;
		int ret;

		io_uring_submit_and_wait(&ring.uring, 1);
		if (io_uring_peek_cqe(&ring.uring, &cqe))
			continue;
		ret = cqe->res;
		io_uring_cqe_seen(&ring.uring, cqe);
		if (ret == (int)T_PAGE)
			shared->done++;
		else
			shared->error = ret;
		t_queue(&ring, &io, 0);
	}
}

/* What is done with the reader, which waits for a byte before it starts. */
static pid_t reader_begin(const struct t_buf *buf, const char *path, int *go)
{
	int pipes[2];
	char byte;
	pid_t pid;

	shared->done = 0;
	shared->error = 0;
	if (pipe2(pipes, O_CLOEXEC))
		t_die("pipe: %m");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (read(pipes[0], &byte, 1) != 1)
			_exit(1);
		keep_reading(buf, path);
	}
	close(pipes[0]);
	*go = pipes[1];
	return pid;
}

static enum t_result reader_go(int go)
{
	T_IS(write(go, "", 1), 1, "tell the reader");
	close(go);
	return T_PASS;
}

static enum t_result reader_end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	T_IS(waitpid(pid, &status, 0), pid, "wait");
	T_CHECK(WIFSIGNALED(status), "the reader failed: status %d", status);
	T_IS(shared->error, 0, "requests");
	return T_PASS;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Exporter's waits, each for a mapping that a registration has just made. */
struct waits {
	uint64_t took[SAMPLES];
	unsigned int n;
};

static enum t_result sample(struct waits *waits, struct t_ring *ring, const struct t_buf *buf, int fd)
{
	T_IS(t_register(ring, 0, buf->fd, fd, 0), 1, "register");
	T_IS(ask(buf, DMA_BUF_IO_TEST_LIVE), 1, "mappings");
	T_IS(control(buf, DMA_BUF_IO_TEST_INVALIDATE, 0, &waits->took[waits->n++]), 0, "invalidate");
	T_IS(t_clear(ring, 0), 1, "clear");
	return T_PASS;
}

static enum t_result tell(const char *name, struct waits *waits, unsigned long done, double within)
{
	unsigned int n = waits->n;

	T_CHECK(n, "no invalidation while requests were held back");
	qsort(waits->took, n, sizeof(waits->took[0]), by_value);
	t_diag("%-24s median %.2f ms, worst %.2f ms of %u; %lu requests went on meanwhile", name, waits->took[n / 2] / 1e6,
	       waits->took[n - 1] / 1e6, n, done);
	T_CHECK(waits->took[n - 1] < bound(within) * 1e9, "the exporter waited for what was held back");
	return T_PASS;
}

struct format {
	const char *path;
	int error;
	atomic_bool done;
	pthread_t thread;
};

/* Freezes the queues of all namespaces for as long as it takes the device. */
static void *format(void *arg)
{
	struct format *format = arg;
	struct nvme_admin_cmd cmd = { .opcode = FORMAT, .timeout_ms = 120000 };
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "%.*s", (int)(strrchr(format->path, 'n') - format->path), format->path);
	fd = t_open(path, O_RDWR);
	cmd.nsid = atoi(get("/sys/class/block/%s/nsid", disk_name(format->path)));
	format->error = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd);
	if (format->error < 0)
		format->error = -errno;
	close(fd);
	format->done = true;
	return NULL;
}

static enum t_result frozen(void)
{
	struct format formatting = { .done = false };
	struct waits waits = { .n = 0 };
	unsigned long before, during;
	char path[64];
	struct t_ring ring;
	struct t_buf buf;
	double start;
	int fd, go;
	pid_t pid;

	if (!find_disk(SLOW, path))
		return t_skip("no disk whose Format takes long: `make test` boots one with serial number " SLOW);
	T_TRY(watched_init(&buf));
	fd = t_open(path, O_RDWR | O_DIRECT);
	t_ring_init(&ring, T_PLAIN, 4, 1);
	pid = reader_begin(&buf, path, &go);
	T_TRY(reader_go(go));
	sleep(1);
	formatting.path = path;
	start = now();
	if (pthread_create(&formatting.thread, NULL, format, &formatting))
		t_die("no thread");
	usleep(500000);		/* the queue is frozen, and drained, by now */
	before = shared->done;
	while (waits.n < SAMPLES && !formatting.done) {
		T_TRY(sample(&waits, &ring, &buf, fd));
		usleep(20000);
	}
	during = shared->done - before;
	T_CHECK(!formatting.done, "formatting took %.1f s, too short to tell", now() - start);
	pthread_join(formatting.thread, NULL);
	T_IS(formatting.error, 0, "Format NVM");
	T_IS(during, 0, "requests done while the queue was frozen");
	before = shared->done;
	sleep(1);
	T_CHECK(shared->done > before, "no request went on after it");
	T_TRY(reader_end(pid));
	T_TRY(tell("frozen, by a Format:", &waits, during, 2));
	t_ring_exit(&ring);
	close(fd);
	return watched_exit(&buf);
}

/*
 * With I/O the cgroup gets what io.max needs. Otherwise io.max makes it, and that
 * allocates under blkcg_mutex (blkg_conf_prep(), 7.3.4), to lockdep's displeasure.
 */
static enum t_result reads_in_cgroup(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct t_buf buf;

		if (put("0", CGROUP "/slow/cgroup.procs") || t_buf_init(&buf, T_USER, T_MIB) != T_PASS)
			_exit(1);
		_exit(pread(t_open(t_dev, O_RDONLY | O_DIRECT), buf.map, T_PAGE, 0) != (ssize_t)T_PAGE);
	}
	T_IS(waitpid(pid, &status, 0), pid, "wait");
	T_IS(status, 0, "a read in the cgroup");
	return T_PASS;
}

/* What lets a cgroup's reads go on at ten a second, and what ends that: files and what is written there after the disk's number. */
static const struct throttle {
	const char *name, *boot, *config;
	struct {
		const char *file, *text;
	} begin[2], end[1];
} io_max = {
	"io.max", "the debug kernel", "CONFIG_BLK_DEV_THROTTLING",
	{ { "slow/io.max", "riops=10" } }, { { "slow/io.max", "riops=max" } },
}, io_cost = {
	/* io.max keeps bios, this keeps who submits them */
	"io.cost", "the kernel with KCSAN", "CONFIG_BLK_CGROUP_IOCOST",
	{ { "io.cost.model", "ctrl=user model=linear rbps=1000000000 rseqiops=10 rrandiops=10 wbps=1000000000 wseqiops=10 wrandiops=10" },
	  { "io.cost.qos", "enable=1 ctrl=user min=100.00 max=100.00" } },
	{ { "io.cost.qos", "enable=0" } },
};

static int throttle(const char *file, const char *text)
{
	char line[160];
	struct stat st;

	if (stat(t_dev, &st))
		return -errno;
	snprintf(line, sizeof(line), "%u:%u %s", major(st.st_rdev), minor(st.st_rdev), text);
	return put(line, CGROUP "/%s", file);
}

static enum t_result throttled(const struct throttle *by)
{
	struct waits waits = { .n = 0 };
	unsigned long before, during;
	char name[64], text[16];
	struct t_ring ring;
	struct t_buf buf;
	double start;
	unsigned int i;
	int fd, go;
	pid_t pid;

	/* ioc_qos_write() freezes before it takes rq_qos_mutex, under which blk_throtl_init() allocates (7.3.4): lockdep tells, once */
	if (by == &io_cost && !access("/proc/lockdep_stats", F_OK))
		return t_skip("io.cost and io.max are not for one kernel with lockdep: boot that with KCSAN (`make test-debug BOOTS=kcsan-strict`)");
	T_TRY(watched_init(&buf));
	mkdir(CGROUP, 0700);
	if (mount("none", CGROUP, "cgroup2", 0, NULL) || put("+io", CGROUP "/cgroup.subtree_control") || mkdir(CGROUP "/slow", 0700) ||
	    (snprintf(name, sizeof(name), CGROUP "/%s", by->begin[0].file), access(name, F_OK))) {
		rmdir(CGROUP "/slow");
		umount(CGROUP);
		return t_skip("no %s here: boot %s (%s)", by->name, by->boot, by->config);
	}
	T_TRY(reads_in_cgroup());
	for (i = 0; i < T_COUNT(by->begin) && by->begin[i].file; i++)
		T_IS(throttle(by->begin[i].file, by->begin[i].text), 0, by->begin[i].file);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	t_ring_init(&ring, T_PLAIN, 4, 1);
	pid = reader_begin(&buf, t_dev, &go);
	snprintf(text, sizeof(text), "%d", pid);
	T_IS(put(text, CGROUP "/slow/cgroup.procs"), 0, "move the reader");
	T_TRY(reader_go(go));
	sleep(2);
	start = now();
	before = shared->done;
	while (waits.n < SAMPLES) {
		T_TRY(sample(&waits, &ring, &buf, fd));
		usleep(100000);
	}
	during = shared->done - before;
	start = now() - start;
	T_IS(throttle(by->end[0].file, by->end[0].text), 0, by->end[0].file);
	sleep(1);
	T_TRY(reader_end(pid));
	/* so that those on the way at any time wait for three seconds and more */
	T_CHECK(during < 20 * start + DEPTH, "%s was not at work: %lu requests in %.1f s", by->name, during, start);
	snprintf(name, sizeof(name), "%s, 10 a second:", by->name);
	T_TRY(tell(name, &waits, during, 2));
	t_ring_exit(&ring);
	close(fd);
	T_IS(rmdir(CGROUP "/slow"), 0, "remove the cgroup");
	T_IS(umount(CGROUP), 0, "unmount");
	return watched_exit(&buf);
}

/* Ordinary reads: for as long as there are any the idle class waits. */
static void __attribute__((noreturn)) compete(const char *path)
{
	const int fd = t_open(path, O_RDONLY | O_DIRECT);
	struct t_buf buf;

	if (t_buf_init(&buf, T_USER, T_MIB) != T_PASS)
		_exit(1);
	for (;;)
		if (pread(fd, buf.map, T_MIB, 0) != (ssize_t)T_MIB)
			_exit(1);
}

static enum t_result idle_class(void)
{
	const char *name = disk_name(t_dev);
	struct waits waits = { .n = 0 };
	unsigned long before, during;
	struct t_ring ring;
	struct t_buf buf;
	pid_t pid, rival;
	int fd, go;

	if (put("bfq", "/sys/class/block/%s/queue/scheduler", name))
		return t_skip("no BFQ here: boot the debug kernel (CONFIG_IOSCHED_BFQ)");
	T_TRY(watched_init(&buf));
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	t_ring_init(&ring, T_PLAIN, 4, 1);
	pid = reader_begin(&buf, t_dev, &go);
	T_IS(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)), 0, "ioprio_set");
	rival = fork();
	if (!rival)
		compete(t_dev);
	T_TRY(reader_go(go));
	sleep(2);
	before = shared->done;
	while (waits.n < SAMPLES) {
		T_TRY(sample(&waits, &ring, &buf, fd));
		usleep(50000);
	}
	during = shared->done - before;
	kill(rival, SIGKILL);
	waitpid(rival, NULL, 0);
	T_TRY(reader_end(pid));
	T_IS(put("none", "/sys/class/block/%s/queue/scheduler", name), 0, "scheduler");
	T_TRY(tell("idle class, BFQ:", &waits, during, 2));
	t_ring_exit(&ring);
	close(fd);
	return watched_exit(&buf);
}

int main(int argc, char **argv)
{
	t_start(argc > 1 ? argv[1] : NULL, NULL, true, 4);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		t_die("shared memory: %m");
	t_report(frozen(), "a queue frozen by a Format holds up no exporter");
	t_report(throttled(&io_max), "io.max holds up no exporter");
	t_report(throttled(&io_cost), "io.cost holds up no exporter");
	t_report(idle_class(), "a scheduler's idle class holds up no exporter");
	return t_finish();
}
