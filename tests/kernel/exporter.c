// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an exporter may return: memory in any layout, mappings that do not fit,
 * errors. Nothing is leaked, and the next try finds nothing of the last.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "exporter.h"
#include "trace.h"


/* The kernel's own error, for "the end will come later". */
#define EIOCBQUEUED 529
/* What of the device tree's an arm64 guest's devices are below. */
#define PCIE "/proc/device-tree/pcie@10000000"

#define SIZE	(4 * T_MIB)

static struct t_disk disk;
static struct t_ring ring;
static int fd;

static void begin(struct t_buf *buf, size_t segment, unsigned int flags)
{
	int dmabuf = export_buf(SIZE, segment, flags);

	if (dmabuf < 0)
		t_die("no dma-buf from the exporter: %s", t_number(dmabuf));
	/* what is no whole page cannot be mapped */
	t_buf_adopt(buf, dmabuf, flags & DMA_BUF_IO_TEST_PARTIAL ? SIZE - sysconf(_SC_PAGESIZE) : SIZE);
}

/* Nothing is mapped any more, and as often as wanted something was. */
static enum t_result unused(struct t_buf *buf, unsigned int total)
{
	T_IS(ask(buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings left");
	T_IS(ask(buf, DMA_BUF_IO_TEST_TOTAL), total, "mappings made");
	T_IS(ask(buf, DMA_BUF_IO_TEST_SCRIBBLED), 0, "bytes written too late");
	t_buf_exit(buf);
	return T_PASS;
}

static enum t_result layout(size_t segment)
{
	static const size_t sizes[] = { 512, 4096, 12288, 65536 + 512, 1048576, 2097152 };
	struct t_io io = { .fd = fd };
	struct t_buf buf;
	unsigned int i, at;

	T_TRY(need_exporter());
	if (segment < (size_t)sysconf(_SC_PAGESIZE))
		return t_skip("pages of this kernel have %ld bytes", sysconf(_SC_PAGESIZE));
	begin(&buf, segment, 0);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	for (i = 0; i < T_COUNT(sizes); i++) {
		for (at = 0; at < 8; at++) {
			size_t off = at * 557056 + at * 512;	/* inside and across segments of all sizes */

			if (off + sizes[i] > SIZE)
				off = SIZE - sizes[i];
			T_TRY(t_check_read(&ring, io, &disk, &buf, off, sizes[i], at * 8192));
			T_TRY(t_check_write(&ring, io, &disk, &buf, off, sizes[i], at * 8192));
		}
	}
	T_IS(t_clear(&ring, 0), 1, "unregister");
	return unused(&buf, 1);
}

static enum t_result refused(unsigned int flags)
{
	struct t_buf buf;

	T_TRY(need_exporter());
	begin(&buf, 65536, flags);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), -EINVAL, "register");
	return unused(&buf, 1);
}

/* An error is passed on as it is, and what comes after it is as if nothing had been. */
static enum t_result fails(unsigned int op, int err, int wanted)
{
	struct t_io io = { .fd = fd };
	struct t_buf buf;

	T_TRY(need_exporter());
	begin(&buf, 65536, 0);
	T_IS(control(&buf, op, times(1, err), NULL), 0, "make it fail");
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), wanted, "register");
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings after a failure");
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register again");
	T_TRY(t_check_read(&ring, io, &disk, &buf, 4096, 8192, 0));
	T_IS(t_clear(&ring, 0), 1, "unregister");
	return unused(&buf, 1);
}

/*
 * The map that a request makes: the request gets the error, the next one data; but
 * no error that would say that the request was not done yet.
 */
static enum t_result remap_fails(enum t_mode mode, int err, int wanted)
{
	struct t_io io = { .fd = fd, .len = 8192 };
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(need_exporter());
	T_TRY(t_need(mode));
	begin(&buf, 65536, 0);
	t_ring_init(&ring, mode, 8, 1);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(control(&buf, DMA_BUF_IO_TEST_FAIL_MAP, times(1, err), NULL), 0, "make it fail");
	t_queue(&ring, &io, 0);
	t_submit(&ring);
	T_IS(t_reap(&ring, NULL), wanted, "read");
	T_TRY(t_check_read(&ring, io, &disk, &buf, 4096, 8192, 0));
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	/* a worker lets go of its request, and so of the slot, after the completion */
	T_TRY(await_live(&buf, 0));
	return unused(&buf, 2);
}

/* Does the CPU not see what the device writes, nor the device what the CPU does? */
static bool apart(void)
{
	return !access(PCIE, F_OK) && access(PCIE "/dma-coherent", F_OK);
}

/* How many bytes the kernel's trace says were synchronized so. */
static long traced(const char *event)
{
	FILE *trace = fopen(TRACING "/trace", "r");
	long total = 0, size;
	char line[512];

	if (!trace)
		t_die(TRACING "/trace: %m");
	while (fgets(line, sizeof(line), trace)) {
		const char *at = strstr(line, event);

		if (at && (at = strstr(at, "size=")) && sscanf(at, "size=%ld", &size) == 1)
			total += size;
	}
	fclose(trace);
	return total;
}

/* The bytes of a request, and no others, change hands before it and after. */
static enum t_result synchronized(unsigned int write)
{
	static const char *const events[] = { "dma_sync_single_for_device", "dma_sync_single_for_cpu" };
	struct t_io io = { .fd = fd, .addr = 512, .len = 8192, .write = write };
	const long wanted = apart() ? 8192 : 0;
	struct t_buf buf;
	unsigned int i;
	int empty;

	T_TRY(need_exporter());
	empty = open(TRACING "/trace", O_WRONLY | O_TRUNC);
	if (empty < 0)
		return t_skip(TRACING ": %m (CONFIG_EVENT_TRACING)");
	close(empty);
	begin(&buf, 65536, 0);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	for (i = 0; i < T_COUNT(events); i++)
		T_IS(put("1", TRACING "/events/dma/%s/enable", events[i]), 0, events[i]);
	T_IS(t_rw(&ring, &io), 8192, "request");
	for (i = 0; i < T_COUNT(events); i++)
		T_IS(put("0", TRACING "/events/dma/%s/enable", events[i]), 0, events[i]);
	for (i = 0; i < T_COUNT(events); i++)
		T_IS(traced(events[i]), wanted, events[i]);
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_disk_restore(&disk, 0, 8192);
	return unused(&buf, 1);
}

/*
 * Seen of a GPU's driver: physical addresses, though the IOMMU translates. The
 * device would write nowhere, and say that it has. Where nothing translates these
 * are the right ones.
 */
static enum t_result untranslated(void)
{
	const char *type = get("/sys/class/block/%s/device/device/iommu_group/type", disk_name(t_dev));
	bool translates = !strncmp(type, "DMA", 3);
	struct t_io io = { .fd = fd };
	struct t_buf buf;
	int log;

	T_TRY(need_exporter());
	begin(&buf, 65536, DMA_BUF_IO_TEST_RAW);
	log = log_open();
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), translates ? -EINVAL : 1, "register");
	T_IS(log_close(log, "dma_buf_io_test", "exporter"), translates, "lines of the log that name the exporter");
	if (!translates) {
		T_TRY(t_check_read(&ring, io, &disk, &buf, 4096, 65536, 0));
		T_IS(t_clear(&ring, 0), 1, "unregister");
	}
	return unused(&buf, 1);
}

struct registrant {
	struct t_buf *buf;
	enum t_result result;
	atomic_bool done;
	pthread_t thread;
};

static void *register_once(void *arg)
{
	struct registrant *self = arg;
	struct t_ring own;
	int ret;

	t_ring_init(&own, T_PLAIN, 8, 1);
	ret = t_register(&own, 0, self->buf->fd, fd, 0);
	if (ret != 1)
		t_diag("register: %s", t_number(ret));
	else
		ret = t_clear(&own, 0);
	self->result = ret == 1 ? T_PASS : T_FAIL;
	self->done = true;
	t_ring_exit(&own);
	return NULL;
}

/*
 * Who registers what an exporter does not let go of, twice, so that the second
 * time waits in attaching, waits alone: others use the device.
 */
static enum t_result others(void)
{
	struct registrant who[3];
	struct t_buf slow, fast;
	bool alone;
	int i;

	T_TRY(need_exporter());
	begin(&slow, 65536, 0);
	begin(&fast, 65536, 0);
	T_IS(control(&slow, DMA_BUF_IO_TEST_BLOCK_MAP, 1, NULL), 0, "block mapping");
	for (i = 0; i < 3; i++) {
		who[i] = (struct registrant){ .buf = i < 2 ? &slow : &fast };
		if (pthread_create(&who[i].thread, NULL, register_once, &who[i]))
			t_die("no thread");
		usleep(200000);
	}
	for (i = 0; i < 1000 && !who[2].done; i++)
		usleep(10000);
	alone = who[2].done && !who[0].done && !who[1].done;
	T_IS(control(&slow, DMA_BUF_IO_TEST_BLOCK_MAP, 0, NULL), 0, "let go");
	for (i = 0; i < 3; i++) {
		pthread_join(who[i].thread, NULL);
		T_IS(who[i].result, T_PASS, "registering");
	}
	T_CHECK(alone, "who registers another dma-buf waits for this one's exporter");
	T_TRY(await_live(&slow, 0));
	T_CHECK(ask(&slow, DMA_BUF_IO_TEST_TOTAL) <= 2, "more mappings than registrations");
	t_buf_exit(&slow);
	return unused(&fast, 1);
}

static void *hold_lock(void *arg)
{
	control(arg, DMA_BUF_IO_TEST_INVALIDATE, 1000, NULL);
	return NULL;
}

/* While a registration waits for the lock, a request of the ring completes: that is no signal. */
static enum t_result no_signal(void)
{
	struct __kernel_timespec soon = { .tv_nsec = 300000000 };
	pthread_t thread;
	struct t_buf buf;
	double before;
	int fd_of_buf;

	T_TRY(need_exporter());
	fd_of_buf = export_buf(T_MIB, 4096, 0);
	T_CHECK(fd_of_buf >= 0, "exporting: %s", t_number(fd_of_buf));
	t_buf_adopt(&buf, fd_of_buf, T_MIB);
	T_CHECK(!pthread_create(&thread, NULL, hold_lock, &buf), "no thread");
	usleep(100000);
	io_uring_prep_timeout(io_uring_get_sqe(&ring.uring), &soon, 0, 0);
	before = now();
	t_submit(&ring);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_CHECK(now() - before > 0.5, "it did not wait for the lock");
	pthread_join(thread, NULL);
	T_IS(t_reap(&ring, NULL), -ETIME, "timeout");
	T_IS(t_clear(&ring, 0), 1, "unregister");
	T_TRY(await_live(&buf, 0));
	t_buf_exit(&buf);
	return T_PASS;
}

int main(int argc, char **argv)
{
	static const size_t segments[] = { 4096, 8192, 65536, 2097152, SIZE };
	static const struct {
		int err;
		int request;	/* what a request gets when mapping for it fails so */
	} errors[] = {
		{ ENOMEM, -ENOMEM }, { ENODEV, -ENODEV }, { EBUSY, -EBUSY },
		/* nobody asked for NOWAIT, and the request is not to be sent again */
		{ EAGAIN, -EBUSY }, { ESTALE, -EBUSY },
		/* though nothing has interrupted it */
		{ EINTR, -EBUSY },
		{ EIOCBQUEUED, -EIO },
	};
	static const enum t_mode modes[] = { T_PLAIN, T_POLLED, T_ASYNC };
	unsigned int i, m;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_COUNT(segments) + 5 + (2 + T_COUNT(modes)) * T_COUNT(errors) + 2 + 1 + 1 + 1);
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	t_ring_init(&ring, T_PLAIN, 8, 1);
	for (i = 0; i < T_COUNT(segments); i++)
		t_report(layout(segments[i]), "segments of %zu bytes", segments[i]);
	t_report(refused(DMA_BUF_IO_TEST_SHORT), "refused: a mapping that is too short");
	t_report(refused(DMA_BUF_IO_TEST_LONG), "refused: a mapping that is too long");
	t_report(refused(DMA_BUF_IO_TEST_UNALIGNED), "refused: segments inside pages");
	t_report(refused(DMA_BUF_IO_TEST_ODD), "refused: a segment that ends inside a page");
	t_report(refused(DMA_BUF_IO_TEST_PARTIAL), "refused: a dma-buf that ends inside a page");
	for (i = 0; i < T_COUNT(errors); i++) {
		const char *name = errors[i].err == EIOCBQUEUED ? "EIOCBQUEUED" : strerrorname_np(errors[i].err);
		int registering = errors[i].err == EIOCBQUEUED ? -EIO : -errors[i].err;

		t_report(fails(DMA_BUF_IO_TEST_FAIL_ATTACH, errors[i].err, registering), "attaching fails with %s", name);
		t_report(fails(DMA_BUF_IO_TEST_FAIL_MAP, errors[i].err, registering), "mapping fails with %s", name);
		for (m = 0; m < T_COUNT(modes); m++)
			t_report(remap_fails(modes[m], errors[i].err, errors[i].request), "mapping for a request fails with %s, %s", name,
				 t_mode_names[modes[m]]);
	}
	t_report(synchronized(false), "a read is synchronized where CPU and device are apart, and nowhere else");
	t_report(synchronized(true), "so is a write");
	t_report(untranslated(), "addresses that the device's IOMMU does not translate");
	t_report(others(), "an exporter that keeps its lock keeps only who registers its dma-buf");
	t_report(no_signal(), "a request that completes while a registration waits does not interrupt it");
	t_ring_exit(&ring);
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
