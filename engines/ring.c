// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef HAVE_REGBUF_DESC	/* <linux/io_uring.h> of a later kernel has it */
#include <linux/io_uring/dmabuf.h>
#endif

#include "ring.h"

/* <linux/io_uring/query.h> of Linux 6.18, and what the series adds to it. */
#define REGISTER_QUERY	35
#define QUERY_DMABUF	4

struct query_hdr {
	__u64 next_entry;
	__u64 query_data;
	__u32 query_op;
	__u32 size;
	__s32 result;
	__u32 resv[3];
};

#define PATIENCE_NS	30000000000ULL	/* NVMe's own I/O timeout */
#define PAUSE_US	100
#define SPINS		1000

/*
 * Not io_uring_queue_init_params(): since 2.6 that asks for a ring without an
 * array of indices, and ours is the order in which units are submitted.
 */
static int setup(struct ring *r, const struct ring_options *o, unsigned int flags)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_CQSIZE | flags,
		.cq_entries = o->entries,
	};
	int fd, ret;

	if (o->commands)
		p.flags |= IORING_SETUP_SQE128 | IORING_SETUP_CQE32;
	if (o->iopoll)
		p.flags |= IORING_SETUP_IOPOLL;
	if (o->sqpoll)
		p.flags |= IORING_SETUP_SQPOLL;
	if (o->sqpoll && o->sqpoll_cpu >= 0) {
		p.flags |= IORING_SETUP_SQ_AFF;
		p.sq_thread_cpu = o->sqpoll_cpu;
	}
	fd = io_uring_setup(o->entries, &p);
	if (fd < 0)
		return fd;
	ret = io_uring_queue_mmap(fd, &p, &r->uring);
	if (ret) {
		close(fd);
		return ret;
	}
	/* what of this io_uring_queue_mmap() sets depends on the release */
	r->uring.flags = p.flags;
	r->uring.features = p.features;
	r->uring.ring_fd = fd;
	r->uring.enter_ring_fd = fd;
	return 0;
}

int ring_open(struct ring *r, const struct ring_options *o)
{
	/* the job's thread does everything, and collects when it wants to */
	static const unsigned int wishes[] = {	/* newest first: each kernel gets what it knows */
		IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER,
		IORING_SETUP_COOP_TASKRUN, IORING_SETUP_SUBMIT_ALL,
	};
	unsigned int flags = 0, i;
	int ret;

	memset(r, 0, sizeof(*r));
	r->uring.ring_fd = -1;
	r->sqpoll = o->sqpoll;
	r->reissue = o->reissue;
	r->patience_ns = PATIENCE_NS;
	r->stop = o->stop;
	r->again = calloc(o->entries, sizeof(*r->again));
	r->since = calloc(o->entries, sizeof(*r->since));
	if (!r->again || !r->since)
		return -ENOMEM;

	for (i = 0; i < sizeof(wishes) / sizeof(*wishes); i++)
		flags |= wishes[i];
	if (o->sqpoll)
		flags &= ~(IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN);
	ret = setup(r, o, flags);
	for (i = 0; ret == -EINVAL && flags; i++) {
		if (!(flags & wishes[i]))
			continue;
		flags &= ~wishes[i];
		ret = setup(r, o, flags);
	}
	if (ret) {
		r->uring.ring_fd = -1;
		return ret;
	}

	r->sqes = r->uring.sq.sqes;
	r->sq_array = r->uring.sq.array;
	r->sq_mask = *r->uring.sq.kring_mask;
	r->cqes = r->uring.cq.cqes;
	r->wide = o->commands;
	r->cq_mask = *r->uring.cq.kring_mask;
	r->enter_flags = IORING_ENTER_GETEVENTS;
	if (io_uring_register_ring_fd(&r->uring) == 1)
		r->enter_flags |= IORING_ENTER_REGISTERED_RING;
	return 0;
}

void ring_close(struct ring *r)
{
	if (r->sqes) {
		/* now, not when the kernel's worker gets round to it */
		io_uring_unregister_buffers(&r->uring);
		io_uring_queue_exit(&r->uring);
	}
	free(r->again);
	free(r->since);
	memset(r, 0, sizeof(*r));
}

int ring_register_files(struct ring *r, const int *fds, unsigned int nr)
{
	return io_uring_register_files(&r->uring, fds, nr);
}

int ring_register_users(struct ring *r, const struct iovec *v, unsigned int nr)
{
	return io_uring_register_buffers(&r->uring, v, nr);
}

int ring_register_table(struct ring *r, unsigned int nr)
{
	return io_uring_register_buffers_sparse(&r->uring, nr);
}

int ring_register_dmabuf(struct ring *r, unsigned int slot, int dmabuf, int file)
{
	struct io_uring_regbuf_desc desc = {
		.type = IO_REGBUF_TYPE_DMABUF,
		.dmabuf_fd = dmabuf,
		.target_fd = file,
	};
	struct io_uring_rsrc_update2 update = {
		.offset = slot,
		.data = (uintptr_t)&desc,
		.nr = 1,
	};
	int ret;

	/* the word behind ->offset: "resv" in old headers, "flags" in new ones */
	((__u32 *)&update)[1] = IORING_RSRC_UPDATE_EXTENDED;
	ret = io_uring_register(r->uring.ring_fd, IORING_REGISTER_BUFFERS_UPDATE,
				&update, sizeof(update));
	return ret < 0 ? ret : 0;
}

int ring_probe_table(struct ring *r, unsigned int nr)
{
	int ret = ring_register_table(r, nr);

	if (!ret)
		io_uring_unregister_buffers(&r->uring);
	return ret;
}

/*
 * A kernel that gives the number of the query to something else has another answer:
 * believe one that has the size and the types that were there from the start.
 */
bool ring_query_dmabuf(struct io_uring_query_dmabuf *q)
{
	const __u64 types = 1 << IO_REGBUF_TYPE_EMPTY | 1 << IO_REGBUF_TYPE_UADDR | 1 << IO_REGBUF_TYPE_DMABUF;
	struct query_hdr hdr = { .query_data = (uintptr_t)q, .query_op = QUERY_DMABUF, .size = sizeof(*q) };

	memset(q, 0, sizeof(*q));
	return !io_uring_register(-1, REGISTER_QUERY, &hdr, 0) && !hdr.result && hdr.size == sizeof(*q) &&
	       (q->buffer_types & types) == types && q->update_flags & IORING_RSRC_UPDATE_EXTENDED &&
	       q->desc_size == sizeof(struct io_uring_regbuf_desc);
}

int ring_probe_dmabuf(struct ring *r)
{
	int ret = ring_register_table(r, 1);

	if (ret)
		return ret;
	ret = ring_register_dmabuf(r, 0, -1, -1);
	io_uring_unregister_buffers(&r->uring);
	return ret == -EBADF ? 0 : ret;
}

static int enter(struct ring *r, unsigned int submit, unsigned int wait, unsigned int flags)
{
	return io_uring_enter2(r->uring.enter_ring_fd, submit, wait,
			       r->enter_flags | flags, NULL, 0);
}

static bool stopped(const struct ring *r)
{
	return r->stop && *r->stop;
}

/* Whether it is worth another try, after a pause that a signal may cut short. */
static bool pause_for_retry(const struct ring *r)
{
	if (stopped(r))
		return false;
	usleep(PAUSE_US);
	return true;
}

int ring_submit(struct ring *r)
{
	int ret = r->queued;

	if (!ret)
		return 0;
	io_uring_smp_store_release(r->uring.sq.ktail, r->sq_tail);
	if (r->sqpoll) {
		io_uring_smp_mb();	/* the thread must see the tail before we see it asleep */
		if (IO_URING_READ_ONCE(*r->uring.sq.kflags) & IORING_SQ_NEED_WAKEUP)
			enter(r, 0, 0, IORING_ENTER_SQ_WAKEUP);
	} else {
		do {
			ret = enter(r, r->queued, 0, 0);
		} while (ret == -EINTR || ((ret == -EAGAIN || ret == -EBUSY) && pause_for_retry(r)));
	}
	if (ret > 0)
		r->queued -= ret;
	return ret;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/*
 * Take the -EAGAIN among the new completions out of the window: the first of
 * the window moves into the gap, order means nothing. An I/O out of patience
 * stays in, and its owner gets the error.
 */
static void set_again_aside(struct ring *r, unsigned int tail)
{
	uint64_t now = now_ns(), patience = stopped(r) ? 0 : r->patience_ns;

	for (unsigned int i = r->cq_head; i != tail; i++) {
		struct io_uring_cqe *cqe = ring_at(r, i);
		unsigned int index = cqe->user_data;

		if (cqe->res != -EAGAIN || (r->since[index] && now - r->since[index] > patience)) {
			r->retrying -= r->since[index] != 0;
			r->since[index] = 0;
			continue;
		}
		if (r->since[index]) {
			r->stubborn = true;
		} else {
			r->since[index] = now;
			r->retrying++;
		}
		r->again[r->nr_again++] = index;
		*cqe = *ring_at(r, r->cq_first++);	/* what a wide one has more is not read */
	}
}

unsigned int ring_reap(struct ring *r, unsigned int max)
{
	unsigned int tail = io_uring_smp_load_acquire(r->uring.cq.ktail);
	unsigned int again = r->retrying;

	if (tail - r->cq_first > max)
		tail = r->cq_first + max;
	for (unsigned int i = r->cq_head; i != tail; i++)
		again |= ring_at(r, i)->res == -EAGAIN;
	if (again && r->reissue)
		set_again_aside(r, tail);
	r->cq_head = tail;
	io_uring_smp_store_release(r->uring.cq.khead, tail);
	return tail - r->cq_first;
}

int ring_reissue(struct ring *r)
{
	int ret = 0;

	/* at once the first time, at a walk while the map stays away */
	if (r->stubborn)
		usleep(PAUSE_US);
	r->stubborn = false;
	r->reissued += r->nr_again;
	while (r->nr_again)
		ring_push(r, r->again[--r->nr_again]);
	while (r->queued && ret >= 0)
		ret = ring_submit(r);
	return ret < 0 ? ret : 0;
}

/* A look at the queue is cheap; others that want this processor are let in now and then. */
static void spin(struct ring *r, unsigned int nr)
{
	unsigned int looks = 0;

	while (io_uring_smp_load_acquire(r->uring.cq.ktail) - r->cq_head < nr)
		if (++looks % SPINS == 0)
			sched_yield();
}

int ring_wait(struct ring *r, unsigned int got, unsigned int min)
{
	int ret;

	if (r->sqpoll) {
		spin(r, got < min);	/* whatever comes, it may have to be issued again */
		return 0;
	}
	ret = enter(r, 0, min - got, 0);
	return ret < 0 && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY ? ret : 0;
}
