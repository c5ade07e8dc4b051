// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ring.c on a kernel that this file plays: rings in plain memory, requests that
 * complete as the test says. Built with the address and undefined behaviour
 * sanitizers by test_engine.py.
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "ring.h"

#define DEPTH	4

/* The kernel: what it was asked, and what it answers. */
static struct {
	unsigned int setups, flags[8], refuse_flags, submitted[64], nr_submitted, take_at_most;
	unsigned int enters, waits, wakeups;
	int enter_error, enter_errors, mmap_error;	/* one error more than enter_errors */
	unsigned int wide;		/* entries and completions are twice as far apart */
	int result[DEPTH];		/* of a unit's next completion */
	unsigned int again[DEPTH];	/* how often it is -EAGAIN before that */
	struct {
		unsigned int sq_head, sq_tail, sq_mask, cq_head, cq_tail, cq_mask, flags;
		unsigned int array[DEPTH];
		struct io_uring_sqe sqes[2 * DEPTH];
		struct io_uring_cqe cqes[2 * DEPTH];
	} *mem;
	struct io_uring_rsrc_update2 update;
	unsigned char desc[80];
} k;

/* A kernel before Linux 6.6, and one whose liburing must not ask for what came then. */
int io_uring_setup(unsigned int entries, struct io_uring_params *p)
{
	assert(k.setups < sizeof(k.flags) / sizeof(k.flags[0]));
	k.flags[k.setups++] = p->flags;
	assert(entries == DEPTH && p->cq_entries == DEPTH);
	return p->flags & k.refuse_flags ? -EINVAL : dup(0);
}

int io_uring_queue_mmap(int fd, struct io_uring_params *p, struct io_uring *ring)
{
	if (k.mmap_error)
		return k.mmap_error;
	k.mem = calloc(1, sizeof(*k.mem));
	k.mem->sq_mask = k.mem->cq_mask = DEPTH - 1;
	k.wide = (p->flags & IORING_SETUP_SQE128) && (p->flags & IORING_SETUP_CQE32);
	memset(ring, 0, sizeof(*ring));
	ring->sq = (struct io_uring_sq){
		.khead = &k.mem->sq_head, .ktail = &k.mem->sq_tail, .kring_mask = &k.mem->sq_mask,
		.kflags = &k.mem->flags, .array = k.mem->array, .sqes = k.mem->sqes,
	};
	ring->cq = (struct io_uring_cq){
		.khead = &k.mem->cq_head, .ktail = &k.mem->cq_tail, .kring_mask = &k.mem->cq_mask,
		.cqes = k.mem->cqes,
	};
	return 0;
}

void io_uring_queue_exit(struct io_uring *ring)
{
	assert(close(ring->ring_fd) == 0);
	free(k.mem);
	k.mem = NULL;
}

int io_uring_register_ring_fd(struct io_uring *ring) { return -EINVAL; }
int io_uring_unregister_buffers(struct io_uring *ring) { return 0; }
int io_uring_register_files(struct io_uring *ring, const int *fds, unsigned nr) { return 0; }
int io_uring_register_buffers(struct io_uring *ring, const struct iovec *v, unsigned nr) { return 0; }
int io_uring_register_buffers_sparse(struct io_uring *ring, unsigned nr) { return 0; }

int io_uring_register(unsigned int fd, unsigned int opcode, const void *arg, unsigned int nr)
{
	assert(opcode == 16 && nr == sizeof(k.update));
	memcpy(&k.update, arg, sizeof(k.update));
	memcpy(k.desc, (void *)(uintptr_t)k.update.data, sizeof(k.desc));
	return ((int *)k.desc)[6] == -1 ? -EBADF : 1;
}

static void complete(unsigned int unit)
{
	struct io_uring_cqe *cqe = &k.mem->cqes[(k.mem->cq_tail & k.mem->cq_mask) << k.wide];

	assert(k.mem->cq_tail - k.mem->cq_head < DEPTH);	/* else it would overflow */
	cqe->user_data = unit;
	cqe->res = k.again[unit] ? -EAGAIN : k.result[unit];
	k.again[unit] -= k.again[unit] != 0;
	k.mem->cq_tail++;
}

/* By its symbol: releases of liburing declare the fifth parameter differently. */
int enter2(unsigned int fd, unsigned int submit, unsigned int wait, unsigned int flags,
	   const void *arg, size_t size) __asm__("io_uring_enter2");

int enter2(unsigned int fd, unsigned int submit, unsigned int wait, unsigned int flags,
	   const void *arg, size_t size)
{
	unsigned int n;

	k.enters++;
	if (k.enter_error) {
		int ret = k.enter_error;

		if (!k.enter_errors || !k.enter_errors--)
			k.enter_error = 0;
		return ret;
	}
	k.waits += wait != 0;
	k.wakeups += !!(flags & IORING_ENTER_SQ_WAKEUP);
	assert(submit <= k.mem->sq_tail - k.mem->sq_head);
	if (k.take_at_most && submit > k.take_at_most)
		submit = k.take_at_most;
	for (n = 0; n < submit; n++) {
		unsigned int unit = k.mem->array[k.mem->sq_head++ & k.mem->sq_mask];

		k.submitted[k.nr_submitted++] = unit;
		complete(k.mem->sqes[unit << k.wide].user_data);
	}
	return n;
}

static bool commands;	/* rings are to be for these */

static void start(struct ring *r, bool reissue)
{
	struct ring_options o = { .entries = DEPTH, .sqpoll_cpu = -1, .reissue = reissue, .commands = commands };

	memset(&k, 0, sizeof(k));
	assert(ring_open(r, &o) == 0);
	assert(k.wide == commands && ring_sqe(r, 1) == &k.mem->sqes[commands ? 2 : 1]);
	for (unsigned int i = 0; i < DEPTH; i++) {
		ring_sqe(r, i)->user_data = i;
		k.result[i] = 100 + i;
	}
}

/* Which units are in the window, as a mask; each with the result it should have. */
static unsigned int window(struct ring *r, unsigned int n)
{
	unsigned int seen = 0;

	for (unsigned int i = 0; i < n; i++) {
		const struct io_uring_cqe *cqe = ring_cqe(r, i);

		assert(cqe->res == k.result[cqe->user_data]);
		seen |= 1 << cqe->user_data;
	}
	return seen;
}

static void push_all(struct ring *r)
{
	for (unsigned int i = 0; i < DEPTH; i++)
		ring_push(r, i);
}

static void test_order_and_wrap(void)
{
	struct ring r;

	start(&r, true);
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < 3; i++)
			ring_push(&r, (round + i) % DEPTH);
		assert(k.nr_submitted == 3 * round);	/* not before it is told to */
		assert(ring_submit(&r) == 3 && r.queued == 0);
		assert(k.submitted[3 * round + 2] == (round + 2) % DEPTH);
		ring_restart(&r);
		assert(ring_reap(&r, 2) == 2);		/* not more than was asked */
		assert(ring_reap(&r, 3) == 3);
		assert(window(&r, 3) == (0xf & ~(1u << (round + 3) % DEPTH)));
	}
	assert(ring_submit(&r) == 0);
	ring_close(&r);
}

static void test_partial_and_interrupted_submit(void)
{
	struct ring r;

	start(&r, true);
	push_all(&r);
	k.take_at_most = 3;
	k.enter_error = -EINTR;
	assert(ring_submit(&r) == 3 && r.queued == 1);
	k.enter_error = -EAGAIN;
	assert(ring_submit(&r) == 1 && r.queued == 0);
	k.enter_error = -EBADF;
	ring_restart(&r);
	assert(ring_reap(&r, DEPTH) == DEPTH && window(&r, DEPTH) == 0xf);
	ring_push(&r, 0);
	assert(ring_submit(&r) == -EBADF);
	k.enter_error = -EINTR;
	assert(ring_wait(&r, 0, 1) == 0);
	k.enter_error = -EBADF;
	assert(ring_wait(&r, 0, 1) == -EBADF);
	ring_close(&r);
}

static void on_alarm(int number)
{
}

/* A kernel short of memory is asked again, whatever signals come, until the job is to end. */
static void test_signals_and_the_end(void)
{
	struct itimerval often = { { 0, 70 }, { 0, 70 } }, never = { { 0 } };
	volatile bool stop = false;
	struct ring r;

	start(&r, true);
	r.stop = &stop;
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &often, NULL);
	k.enter_error = -EAGAIN;
	k.enter_errors = 200;
	ring_push(&r, 0);
	assert(ring_submit(&r) == 1 && k.enter_errors == 0);
	setitimer(ITIMER_REAL, &never, NULL);
	k.enter_error = -EBUSY;
	k.enter_errors = 1000000;
	stop = true;
	ring_push(&r, 1);
	assert(ring_submit(&r) == -EBUSY && k.enter_errors > 999990);
	k.enter_error = k.enter_errors = 0;
	/* and a map that stays away */
	k.again[1] = 1000000;
	assert(ring_submit(&r) == 1);
	ring_restart(&r);
	while (ring_reap(&r, DEPTH) < 2)
		assert(ring_reissue(&r) == 0);
	assert(r.reissued < 10);
	ring_close(&r);
}

/* Every unit sees every number of refusals in every combination. */
static void test_again(void)
{
	for (unsigned int pattern = 0; pattern < 81; pattern++) {
		unsigned int p = pattern, expected = 0, n;
		struct ring r;

		start(&r, true);
		for (unsigned int i = 0; i < DEPTH; i++, p /= 3)
			expected += k.again[i] = p % 3;
		push_all(&r);
		assert(ring_submit(&r) == DEPTH);
		ring_restart(&r);
		for (n = ring_reap(&r, DEPTH); r.nr_again; n = ring_reap(&r, DEPTH))
			assert(ring_reissue(&r) == 0);
		assert(n == DEPTH && window(&r, n) == 0xf);
		assert(r.reissued == expected && r.retrying == 0);
		assert(k.nr_submitted == DEPTH + expected);
		ring_close(&r);
	}
}

static void test_again_runs_out_of_patience(void)
{
	struct ring r;

	start(&r, true);
	r.patience_ns = 1000000;
	k.again[2] = 1000;
	push_all(&r);
	ring_submit(&r);
	ring_restart(&r);
	while (ring_reap(&r, DEPTH) < DEPTH)
		assert(r.nr_again == 1 && ring_reissue(&r) == 0);
	k.result[2] = -EAGAIN;
	assert(window(&r, DEPTH) == 0xf && r.retrying == 0 && r.since[2] == 0);
	assert(r.reissued > 1 && r.reissued < 12);	/* a pause lies between two tries */
	ring_close(&r);
}

static void test_again_is_the_users_with_nowait(void)
{
	struct ring r;

	start(&r, false);
	k.again[1] = 1;
	push_all(&r);
	ring_submit(&r);
	ring_restart(&r);
	assert(ring_reap(&r, DEPTH) == DEPTH && r.nr_again == 0);
	assert(ring_cqe(&r, 1)->res == -EAGAIN);
	ring_close(&r);
}

static void test_setup(void)
{
	struct ring_options o = { .entries = DEPTH, .sqpoll_cpu = -1 };
	struct ring r = { 0 };

	ring_close(&r);				/* never opened */
	memset(&k, 0, sizeof(k));
	/* older and older kernels lose the newest flag, and keep the others */
	k.refuse_flags = IORING_SETUP_DEFER_TASKRUN;
	assert(ring_open(&r, &o) == 0 && k.setups == 2);
	assert(k.flags[1] == (k.flags[0] & ~IORING_SETUP_DEFER_TASKRUN));
	assert(k.flags[1] & IORING_SETUP_COOP_TASKRUN);
	ring_close(&r);
	ring_close(&r);
	memset(&k, 0, sizeof(k));
	k.refuse_flags = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN;
	assert(ring_open(&r, &o) == 0 && k.setups == 4);
	assert(k.flags[3] == (IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL));
	ring_close(&r);
	memset(&k, 0, sizeof(k));
	k.refuse_flags = ~0;
	assert(ring_open(&r, &o) == -EINVAL && k.setups == 5);
	ring_close(&r);				/* half open */
	memset(&k, 0, sizeof(k));
	k.mmap_error = -ENOMEM;
	assert(ring_open(&r, &o) == -ENOMEM);	/* and its descriptor is closed: see main() */
	ring_close(&r);
}

static void test_sqpoll_wakes_only_a_sleeping_thread(void)
{
	struct ring_options o = { .entries = DEPTH, .sqpoll = true, .sqpoll_cpu = 1 };
	struct ring r;

	memset(&k, 0, sizeof(k));
	assert(ring_open(&r, &o) == 0);
	ring_push(&r, 0);
	assert(ring_submit(&r) == 1 && k.wakeups == 0 && k.mem->sq_tail == 1);
	k.mem->flags = IORING_SQ_NEED_WAKEUP;
	ring_push(&r, 1);
	assert(ring_submit(&r) == 1 && k.wakeups == 1 && r.queued == 0);
	/* and completions are waited for without the kernel */
	complete(1);
	ring_restart(&r);
	assert(ring_wait(&r, 0, 2) == 0 && ring_reap(&r, DEPTH) == 1);
	assert(ring_wait(&r, 1, 1) == 0 && ring_wait(&r, 0, 0) == 0 && k.waits == 0 && k.enters == 1);
	ring_close(&r);
}

/* The binary interface, word by word. */
static void test_dmabuf_descriptor(void)
{
	struct ring r;
	int words[20] = { 2 };

	start(&r, true);
	words[6] = 33;
	words[7] = 44;
	assert(ring_register_dmabuf(&r, 7, 33, 44) == 0);
	assert(memcmp(k.desc, words, sizeof(words)) == 0);
	assert(k.update.offset == 7 && ((unsigned int *)&k.update)[1] == 2);
	assert(k.update.nr == 1 && k.update.tags == 0 && k.update.resv2 == 0);
	assert(ring_probe_dmabuf(&r) == 0);
	ring_close(&r);
}

int main(void)
{
	int first = dup(0);

	close(first);
	test_setup();
	for (int i = 0; i < 2; i++) {
		commands = i;
		test_order_and_wrap();
		test_partial_and_interrupted_submit();
		test_signals_and_the_end();
		test_again();
		test_again_runs_out_of_patience();
		test_again_is_the_users_with_nowait();
	}
	test_sqpoll_wakes_only_a_sleeping_thread();
	test_dmabuf_descriptor();
	assert(dup(0) == first);		/* no descriptor is left */
	return 0;
}
