// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Faults on demand: completions with an error, bios that fail, no memory at
 * each allocation of registering, mapping and submitting. Retried or reported,
 * and each time nothing is left behind: an exporter need not wait.
 */
#include "device.h"

#define ROUNDS	20

static struct t_disk disk;
static int fd;
static char nvme[64];		/* directory of the disk's own faults in debugfs */

static enum t_result need(const char *dir)
{
	if (fault(dir, "0", "0"))
		return t_skip("/sys/kernel/debug/%s is not there: boot the debug kernel (`make test-debug`)", dir);
	return T_PASS;
}

static enum t_result begin(struct load *load, struct t_buf *buf)
{
	T_TRY(watched_init(buf));
	*load = (struct load){ .disk = &disk, .fd = fd, .buf = buf };
	t_ring_init(&load->ring, T_PLAIN, 2 * DEPTH, 1);
	T_IS(t_register(&load->ring, 0, buf->fd, fd, 0), 1, "register");
	return T_PASS;
}

/* Without faults again: no reference is left for the exporter to wait for, and I/O is right. */
static enum t_result end(struct load *load)
{
	double before = now();

	T_IS(control(load->buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_CHECK(now() - before < 5, "the exporter waited %.1f s for what had failed", now() - before);
	T_IS(ask(load->buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings after invalidation");
	T_IS(load_batch(load, 1), 0, "I/O without faults");
	T_CHECK(load_is_right(load, 1), "wrong data");
	T_IS(t_clear(&load->ring, 0), 1, "unregister");
	t_ring_exit(&load->ring);
	return watched_exit(load->buf);
}

/* Each so many commands one completes with @status, which the driver may retry or not. */
static enum t_result commands(const char *status, bool retried)
{
	struct load load;
	struct t_buf buf;
	unsigned int i, errors = 0;

	T_TRY(need(nvme));
	T_TRY(begin(&load, &buf));
	put(status, "/sys/kernel/debug/%s/status", nvme);
	put(retried ? "N" : "Y", "/sys/kernel/debug/%s/dont_retry", nvme);
	put("7", "/sys/kernel/debug/%s/interval", nvme);
	T_IS(fault(nvme, "100", "-1"), 0, "switching faults on");
	for (i = 0; i < ROUNDS; i++)
		errors += load_batch(&load, i) != 0;
	fault(nvme, "0", "0");
	T_IS(errors, retried ? 0 : ROUNDS, "batches with an error");
	/* the last batch was retried until it was right */
	T_CHECK(!retried || load_is_right(&load, ROUNDS - 1), "wrong data after retries");
	return end(&load);
}

static enum t_result bios(void)
{
	const char *name = disk_name(t_dev);
	struct load load;
	struct t_buf buf;
	unsigned int i, errors = 0;

	T_TRY(need("fail_make_request"));
	T_TRY(begin(&load, &buf));
	T_IS(put("1", "/sys/class/block/%s/make-it-fail", name), 0, "make-it-fail");
	put("5", "/sys/kernel/debug/fail_make_request/interval");
	T_IS(fault("fail_make_request", "100", "-1"), 0, "switching faults on");
	for (i = 0; i < ROUNDS; i++)
		errors += load_batch(&load, i) == -EIO;
	fault("fail_make_request", "0", "0");
	put("0", "/sys/class/block/%s/make-it-fail", name);
	T_IS(errors, ROUNDS, "batches with -EIO");
	return end(&load);
}

static const char *const allocators[] = { "failslab", "fail_page_alloc" };

/* Allocations that may sleep and single pages fail, too; how often is said elsewhere. */
static enum t_result need_allocators(void)
{
	unsigned int i;

	for (i = 0; i < T_COUNT(allocators); i++) {
		T_TRY(need(allocators[i]));
		put("N", "/sys/kernel/debug/%s/ignore-gfp-wait", allocators[i]);
		put("0", "/sys/kernel/debug/%s/min-order", allocators[i]);
	}
	return T_PASS;
}

/* The nth allocation of this thread fails; whether it came to that. */
static bool nth_consumed(void)
{
	bool consumed = !strcmp(get("/proc/thread-self/fail-nth"), "0");

	put("0", "/proc/thread-self/fail-nth");
	return consumed;
}

static int fail_nth(unsigned int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	return put(text, "/proc/thread-self/fail-nth");
}

/* Registering with the first allocation failing, then the second, until it needs no more. */
static enum t_result registering(void)
{
	static unsigned char old[T_PAGE] __attribute__((aligned(T_PAGE)));
	const struct t_io io = { .fd = fd, .len = T_PAGE }, io_old = { .fd = fd, .len = T_PAGE, .addr = (uintptr_t)old };
	struct t_leaks leaks;
	struct t_ring ring;
	struct t_buf buf;
	unsigned int n, failed = 0;
	bool consumed = true;

	T_TRY(need_allocators());
	if (access("/proc/thread-self/fail-nth", W_OK))
		return t_skip("/proc/thread-self/fail-nth: %m (CONFIG_FAULT_INJECTION)");
	T_TRY(watched_init(&buf));
	T_TRY(t_leaks_init(&leaks));
	t_ring_init(&ring, T_PLAIN, 8, 1);
	for (n = 1; consumed; n++) {
		int ret;

		T_CHECK(n < 1000, "registering needs a thousand allocations");
		T_IS(t_register_user(&ring, 0, old, T_PAGE, 0), 1, "register user memory");
		/* one write and one system call, so that nothing else is counted but opening and closing the file */
		T_IS(fail_nth(n), 0, "fail-nth");
		ret = t_register(&ring, 0, buf.fd, fd, 0);
		consumed = nth_consumed();
		T_CHECK(ret == 1 || (consumed && (ret == -ENOMEM || ret == -EAGAIN)), "allocation %u: %s", n, t_number(ret));
		if (ret == 1) {
			T_IS(t_rw(&ring, &io), T_PAGE, "I/O");
			continue;
		}
		failed++;
		T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings left");
		T_TRY(t_leaks_check(&leaks));
		memset(old, n, T_PAGE);
		T_IS(t_rw(&ring, &io_old), T_PAGE, "I/O to what the slot had");
		T_CHECK(t_same("read", old, disk.image, T_PAGE), "wrong data");
	}
	t_diag("%u allocations, %u of which registering cannot do without", n - 2, failed);
	T_CHECK(failed >= 5, "only %u allocations failed: is this the debug kernel?", failed);
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

/* A request whose submission is the only thing that this thread does; its result, or submission's. */
static int submit_one(struct t_ring *ring, const struct t_io *io, unsigned int n)
{
	int ret;

	t_queue(ring, io, 0);
	if (n)
		fail_nth(n);
	ret = io_uring_submit(&ring->uring);
	if (ret < 0) {
		nth_consumed();
		/* what was not taken is still queued */
		t_submit(ring);
		t_reap(ring, NULL);
		return ret;
	}
	return 1;
}

/* A read with the first allocation of its submission failing, then the second. */
static enum t_result submitting(enum t_mode mode)
{
	struct t_io io = { .fd = fd, .len = T_PAGE };
	struct t_ring ring;
	struct t_buf buf;
	unsigned int n, failed = 0;
	bool consumed = true;

	T_TRY(need_allocators());
	T_TRY(watched_init(&buf));
	t_ring_init(&ring, mode, 8, 1);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	for (n = 1; consumed; n++) {
		int ret;

		T_CHECK(n < 1000, "a read needs a thousand allocations");
		ret = submit_one(&ring, &io, n);
		consumed = ret < 0 || nth_consumed();
		if (ret == 1)
			ret = t_reap(&ring, NULL);
		/* -EAGAIN from submitting: io_uring has taken nothing */
		T_CHECK(ret == T_PAGE || ret == -ENOMEM || (ret == -EAGAIN && consumed), "allocation %u: %s", n, t_number(ret));
		failed += ret < 0;
		/* a reference that was left would keep the exporter waiting for ever */
		T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
		T_IS(t_rw(&ring, &io), T_PAGE, "the next read");
	}
	t_diag("%u allocations, %u of which a read cannot do without", n - 2, failed);
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

/*
 * From now on only allocations of the ring's one worker may fail. It is there
 * before: io-wq cancels I/O for which it has no memory to make a first worker.
 */
static enum t_result only_worker_fails(struct t_ring *ring, const struct t_io *io)
{
	unsigned int workers[] = { 1, 1 }, i;

	for (i = 0; i < T_COUNT(allocators); i++) {
		put("Y", "/sys/kernel/debug/%s/task-filter", allocators[i]);
		put("1", "/sys/kernel/debug/%s/interval", allocators[i]);
	}
	T_IS(io_uring_register_iowq_max_workers(&ring->uring, workers), 0, "one worker");
	/* the worker is born with it */
	T_IS(put("1", "/proc/self/make-it-fail"), 0, "make-it-fail");
	T_IS(t_rw(ring, io), io->len, "I/O that makes a worker");
	T_IS(put("0", "/proc/self/make-it-fail"), 0, "make-it-fail");
	return T_PASS;
}

static void all_fail(void)
{
	unsigned int i;

	for (i = 0; i < T_COUNT(allocators); i++)
		put("N", "/sys/kernel/debug/%s/task-filter", allocators[i]);
}

/* The map is made by a worker. */
static enum t_result mapping(void)
{
	struct t_io io = { .fd = fd, .len = T_PAGE };
	struct t_ring ring;
	struct t_buf buf;
	unsigned int round, failed = 0, done = 0;

	T_TRY(need_allocators());
	T_TRY(watched_init(&buf));
	t_ring_init(&ring, T_ASYNC, 8, 1);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_TRY(only_worker_fails(&ring, &io));
	for (round = 0; round < 300; round++) {
		int ret;

		T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
		fault(allocators[round % 2], "15", "-1");
		t_queue(&ring, &io, 0);
		t_submit(&ring);
		ret = t_reap(&ring, NULL);
		fault(allocators[round % 2], "0", "0");
		T_CHECK(ret == T_PAGE || ret == -ENOMEM, "read: %s", t_number(ret));
		if (ret == T_PAGE)
			done++;
		else
			failed++;
		T_CHECK(ask(&buf, DMA_BUF_IO_TEST_LIVE) <= 1, "mappings left");
	}
	all_fail();
	t_diag("of %u reads %u were done, %u got -ENOMEM from mapping", round, done, failed);
	T_CHECK(done && failed, "faults did not reach the worker");
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(t_rw(&ring, &io), T_PAGE, "I/O without faults");
	T_CHECK(t_same("read", buf.map, disk.image, T_PAGE), "wrong data");
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

/* A request beyond the queue's limit is split, by a worker, whose bios come from a reserve and whose lists can wait. */
static enum t_result splitting(void)
{
	unsigned long limit = strtoul(get("/sys/class/block/%s/queue/max_hw_dmabuf_sectors_kb", disk_name(t_dev)), NULL, 10) * 1024;
	struct t_io io = { .fd = fd, .len = 2 * limit };
	unsigned int round, failures = 0;
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(need_allocators());
	T_CHECK(limit && 2 * limit <= T_DISK_SIZE, "a limit of %lu bytes", limit);
	T_TRY(t_buf_init(&buf, T_SCATTERED, 2 * limit));
	t_ring_init(&ring, T_ASYNC, 8, 1);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_TRY(only_worker_fails(&ring, &io));
	for (round = 0; round < 100; round++) {
		/* How many allocations a read takes depends on the kernel. */
		static const char *const percent[] = { "30", "10", "3", "1" };

		fault("failslab", percent[round % T_COUNT(percent)], "1000");
		t_queue(&ring, &io, 0);
		t_submit(&ring);
		T_IS(t_reap(&ring, NULL), io.len, "read");
		failures += 1000 - atoi(get("/sys/kernel/debug/failslab/times"));
		fault("failslab", "0", "0");
	}
	all_fail();
	t_diag("%u reads were done, with %u allocations that failed", round, failures);
	T_CHECK(failures, "faults did not reach the worker");
	T_CHECK(t_same("read", buf.map, disk.image, io.len), "wrong data");
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	return T_PASS;
}

int main(int argc, char **argv)
{
	t_start(argc > 1 ? argv[1] : NULL, NULL, true, 9);
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	snprintf(nvme, sizeof(nvme), "%s/fault_inject", disk_name(t_dev));
	t_report(commands("0x6", true), "commands fail and are retried");
	t_report(commands("0x6", false), "commands fail for good");
	t_report(commands("0x281", false), "unrecovered read errors");
	t_report(bios(), "bios fail");
	t_report(registering(), "no memory at each allocation of registering");
	t_report(submitting(T_PLAIN), "no memory at each allocation of submitting");
	t_report(submitting(T_ASYNC), "no memory at each allocation of submitting, async");
	t_report(mapping(), "no memory in the worker that maps");
	t_report(splitting(), "no memory in the worker that splits");
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
