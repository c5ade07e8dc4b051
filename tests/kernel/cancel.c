// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests that are cancelled, and calls that are killed, while an exporter keeps
 * its lock or its mapping: they end at once, by -ECANCELED, and nobody else waits.
 */
#include "device.h"

#include <signal.h>
#include <sys/wait.h>

#define HOLD	3000U	/* ms that the exporter keeps its lock */
#define MANY	16384U	/* descriptors, as many as a table takes */
#define BUFS	64U
#define SMALL	(64 * 1024UL)
#define LATE	(1ULL << 32)	/* user_data of what is no read */

static struct t_disk disk;
static int fd;

/* Takes the mapping away and keeps the lock, in a thread of its own. */
struct holder {
	struct t_buf *buf;
	int error;
	atomic_bool done;
	pthread_t thread;
};

static void *hold(void *arg)
{
	struct holder *holder = arg;

	holder->error = control(holder->buf, DMA_BUF_IO_TEST_INVALIDATE, HOLD, NULL);
	holder->done = true;
	return NULL;
}

static void hold_begin(struct holder *holder, struct t_buf *buf)
{
	*holder = (struct holder){ .buf = buf };
	if (pthread_create(&holder->thread, NULL, hold, holder))
		t_die("no thread");
	while (ask(buf, DMA_BUF_IO_TEST_LIVE))
		usleep(1000);
}

static enum t_result hold_end(struct holder *holder)
{
	pthread_join(holder->thread, NULL);
	T_IS(holder->error, 0, "the exporter");
	return T_PASS;
}

static struct io_uring_sqe *queue_read(struct t_ring *ring, unsigned int i)
{
	const struct t_io io = { .fd = fd, .addr = i * CHUNK, .len = CHUNK, .pos = i * CHUNK };

	return t_queue(ring, &io, i);
}

/* Each read ends as cancelled or with its data; how many the former. */
static enum t_result reap_reads(struct t_ring *ring, const struct t_buf *buf, unsigned int *cancelled)
{
	unsigned int left = DEPTH;

	*cancelled = 0;
	while (left) {
		uint64_t which;
		int ret = t_reap(ring, &which);

		if (which >= LATE)
			continue;
		left--;
		if (ret == -ECANCELED) {
			(*cancelled)++;
			continue;
		}
		T_IS(ret, CHUNK, "read");
		T_CHECK(t_same("read", buf->map + which * CHUNK, disk.image + which * CHUNK, CHUNK), "wrong data");
	}
	return T_PASS;
}

/* Requests that met no mapping come to their task, which sends them to workers, which wait for the lock. */
static void settle(struct t_ring *ring)
{
	usleep(100000);
	io_uring_get_events(&ring->uring);
	usleep(100000);
}

static void cancel_all(struct t_ring *ring)
{
	struct io_uring_sync_cancel_reg reg = {
		.flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL, .timeout = { .tv_sec = 10 },
	};
	struct io_uring_sqe *sqe;

	/* a polled ring takes no such request */
	if (ring->mode == T_POLLED) {
		io_uring_register_sync_cancel(&ring->uring, &reg);
		return;
	}
	sqe = io_uring_get_sqe(&ring->uring);
	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
	sqe->user_data = LATE;
	t_submit(ring);
}

static void cancel_timed(struct t_ring *ring, unsigned int i)
{
	static struct __kernel_timespec soon = { .tv_nsec = 200000000 };
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	io_uring_prep_link_timeout(sqe, &soon, 0);
	sqe->user_data = LATE + i;
}

/* Some at least, and before the exporter lets go. */
static enum t_result some_cancelled(struct t_ring *ring, const struct t_buf *buf, struct holder *holder)
{
	unsigned int n;
	bool early;

	T_TRY(reap_reads(ring, buf, &n));
	early = !holder->done;
	T_TRY(hold_end(holder));
	t_diag("%u of %lu requests were cancelled", n, (unsigned long)DEPTH);
	T_CHECK(n, "none was cancelled");
	T_CHECK(early || n < DEPTH, "they ended when the exporter let go, not before");
	return T_PASS;
}

/* By a request, or each by its own timeout. */
static enum t_result cancelled(enum t_mode mode, bool timed)
{
	unsigned int n, i;
	struct holder holder;
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(t_need(mode));
	T_TRY(watched_init(&buf));
	t_ring_init(&ring, mode, 2 * DEPTH, 1);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	hold_begin(&holder, &buf);
	for (i = 0; i < DEPTH; i++) {
		struct io_uring_sqe *sqe = queue_read(&ring, i);

		if (timed) {
			sqe->flags |= IOSQE_IO_LINK;
			cancel_timed(&ring, i);
		}
	}
	t_submit(&ring);
	settle(&ring);
	if (!timed)
		cancel_all(&ring);
	T_TRY(some_cancelled(&ring, &buf, &holder));
	/* the slot is as good as before */
	for (i = 0; i < DEPTH; i++)
		queue_read(&ring, i);
	t_submit(&ring);
	T_TRY(reap_reads(&ring, &buf, &n));
	T_IS(n, 0, "requests cancelled after all");
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

static enum t_result by_request(enum t_mode mode)
{
	return cancelled(mode, false);
}

static enum t_result by_timeout(enum t_mode mode)
{
	if (mode == T_ASYNC)
		return t_skip("a linked timeout starts when its request has been issued");
	return cancelled(mode, true);
}

static void *submit_and_leave(void *arg)
{
	struct t_ring *ring = arg;
	unsigned int i;

	for (i = 0; i < DEPTH; i++)
		queue_read(ring, i);
	t_submit(ring);
	usleep(200000);
	return NULL;
}

/* The thread that has submitted exits, and with it its workers. */
static enum t_result by_exit(enum t_mode mode)
{
	struct holder holder;
	struct t_ring ring;
	struct t_buf buf;
	pthread_t thread;

	if (mode == T_SQPOLL || mode == T_DEFER)
		return t_skip("requests belong to the ring's own task");
	T_TRY(t_need(mode));
	T_TRY(watched_init(&buf));
	t_ring_init(&ring, mode, DEPTH, 1);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	hold_begin(&holder, &buf);
	if (pthread_create(&thread, NULL, submit_and_leave, &ring))
		t_die("no thread");
	pthread_join(thread, NULL);
	T_TRY(some_cancelled(&ring, &buf, &holder));
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

/* Of so many dma-bufs over and over, in slots of their own. */
static int fill_table(struct t_ring *ring, unsigned int slots, const int *dmabufs, unsigned int nr)
{
	struct io_uring_regbuf_desc *descs = calloc(slots, sizeof(*descs));
	unsigned int i;
	int ret;

	for (i = 0; i < slots; i++)
		descs[i] = (struct io_uring_regbuf_desc){ .type = IO_REGBUF_TYPE_DMABUF, .dmabuf_fd = dmabufs[i % nr], .target_fd = fd };
	ret = t_update(ring, 0, IORING_RSRC_UPDATE_EXTENDED, descs, slots, NULL);
	free(descs);
	return ret;
}

/* One update of all slots there may be, with exporters that take their time, or all of it. */
static enum t_result killed(bool blocks)
{
	struct t_buf bufs[BUFS];
	int dmabufs[BUFS], status;
	struct t_leaks leaks;
	struct t_ring ring;
	double before;
	unsigned int i;
	pid_t pid;

	T_TRY(need_exporter());
	T_TRY(t_leaks_init(&leaks));
	for (i = 0; i < BUFS; i++) {
		dmabufs[i] = export_buf(SMALL, T_PAGE, 0);
		T_CHECK(dmabufs[i] >= 0, "exporting: %s", t_number(dmabufs[i]));
		bufs[i] = (struct t_buf){ .fd = dmabufs[i] };
		T_IS(control(&bufs[i], blocks ? DMA_BUF_IO_TEST_BLOCK_MAP : DMA_BUF_IO_TEST_SLOW_MAP, blocks ? 1 : 500, NULL), 0,
		     "slow mapping");
	}
	pid = fork();
	if (!pid) {
		t_ring_init(&ring, T_PLAIN, 4, MANY);
		fill_table(&ring, MANY, dmabufs, BUFS);
		_exit(1);
	}
	sleep(2);
	T_IS(waitpid(pid, &status, WNOHANG), 0, "the update is under way");
	before = now();
	kill(pid, SIGKILL);
	T_IS(waitpid(pid, &status, 0), pid, "wait");
	T_CHECK(now() - before < bound(2), "the update went on for %.1f s", now() - before);
	T_CHECK(WIFSIGNALED(status), "the child was not killed: status %d", status);
	for (i = 0; i < BUFS; i++) {
		T_IS(control(&bufs[i], DMA_BUF_IO_TEST_BLOCK_MAP, 0, NULL), 0, "let go");
		T_TRY(await_live(&bufs[i], 0));
		close(dmabufs[i]);
	}
	return t_leaks_check(&leaks);
}

/* As many as are let go of sooner than the exporter lets go of its lock, on kernels that take their time, too. */
static unsigned int many(void)
{
	return getenv("PATIENCE") ? MANY / 16 : MANY;
}

/* What a child does that has registered the dma-buf whose lock is kept. */
static void __attribute__((noreturn)) let_go(const struct t_buf *buf, int ready, int go, bool exits)
{
	const unsigned int slots = many();
	struct t_ring ring;
	double before;
	char byte;

	t_ring_init(&ring, T_PLAIN, 4, slots);
	if (fill_table(&ring, slots, &buf->fd, 1) != (int)slots || write(ready, "", 1) != 1 || read(go, &byte, 1) != 1)
		_exit(1);
	before = now();
	if (exits)
		t_ring_exit(&ring);
	else if (io_uring_unregister_buffers(&ring.uring))
		_exit(2);
	_exit(now() - before < bound(1) ? 0 : 3);
}

/* Whoever unregisters, or exits, does not wait for the exporter's lock; soon after all is undone. */
static enum t_result unlocked(bool exits)
{
	int ready[2], go[2], status;
	struct t_leaks leaks;
	struct holder holder;
	struct t_buf buf;
	double before;
	char byte;
	pid_t pid;

	T_TRY(need_exporter());
	T_TRY(t_leaks_init(&leaks));
	T_TRY(watched_init(&buf));
	T_CHECK(!pipe2(ready, O_CLOEXEC) && !pipe2(go, O_CLOEXEC), "pipe: %m");
	pid = fork();
	if (!pid)
		let_go(&buf, ready[1], go[0], exits);
	T_IS(read(ready[0], &byte, 1), 1, "the child registers");
	hold_begin(&holder, &buf);
	before = now();
	T_IS(write(go[1], "", 1), 1, "tell it");
	T_IS(waitpid(pid, &status, 0), pid, "wait");
	T_CHECK(now() - before < bound(2), "it took the child %.1f s to end", now() - before);
	T_CHECK(!holder.done, "the exporter's lock was not kept for long enough to tell");
	T_TRY(hold_end(&holder));
	T_IS(status, 0, "the child's status, 3 if it waited");
	close(ready[0]);
	close(ready[1]);
	close(go[0]);
	close(go[1]);
	T_TRY(watched_exit(&buf));
	return t_leaks_check(&leaks);
}

static const struct {
	const char *name;
	enum t_result (*run)(enum t_mode mode);
	bool polled;
} tests[] = {
	{ "cancelled while the exporter keeps its lock", by_request, true },
	{ "a timeout while the exporter keeps its lock", by_timeout, false },
	{ "the submitting thread exits while the exporter keeps its lock", by_exit, true },
};

int main(int argc, char **argv)
{
	unsigned int i, mode;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_COUNT(tests) * T_MODES - 1 + 4);
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	for (i = 0; i < T_COUNT(tests); i++)
		for (mode = 0; mode < T_MODES; mode++)
			if (mode != T_POLLED || tests[i].polled)
				t_report(tests[i].run(mode), "%s, %s", tests[i].name, t_mode_names[mode]);
	t_report(killed(false), "an update of %u slots is killed, exporters are slow", MANY);
	t_report(killed(true), "an update of %u slots is killed, an exporter blocks", MANY);
	t_report(unlocked(false), "unregistering %u slots while the exporter keeps its lock", many());
	t_report(unlocked(true), "exit of a ring with %u slots while the exporter keeps its lock", many());
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
