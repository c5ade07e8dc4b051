/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One io_uring whose submission entries belong to the I/O units of a job: entry
 * i is unit i's for life. A unit in flight owns its entry and at most one
 * completion, so neither queue can run over, and an I/O that has to be issued
 * again needs nothing but its index.
 */
#ifndef ENGINE_RING_H
#define ENGINE_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <liburing.h>

/* Newer than the oldest liburing that there is. */
#define OP_READV_FIXED	60
#define OP_WRITEV_FIXED	61

struct ring {
	/* what queue and reap touch */
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned int wide;		/* 1: entries and completions have the size of two */
	unsigned int *sq_array;
	unsigned int sq_mask;
	unsigned int cq_mask;
	unsigned int sq_tail;
	unsigned int queued;		/* pushed, not yet taken by the kernel */
	unsigned int cq_first;		/* of the completions handed out by ring_reap() */
	unsigned int cq_head;		/* behind the last of them */
	unsigned int retrying;		/* units with since[] set */
	unsigned int nr_again;		/* units in again[] */

	unsigned int enter_flags;
	bool sqpoll;
	/* -EAGAIN from a correct request: the map was taken away, issue it again */
	bool reissue;
	bool stubborn;			/* again[] holds an I/O that has been there before */
	uint64_t patience_ns;		/* of one I/O, then it fails with -EAGAIN */
	const volatile bool *stop;	/* no patience any more */
	uint64_t reissued;
	unsigned int *again;
	uint64_t *since;		/* ns of a unit's first -EAGAIN, or 0 */

	struct io_uring uring;
};

#define RING_MAX_ENTRIES	32768u	/* the kernel's IORING_MAX_ENTRIES */

struct ring_options {
	unsigned int entries;
	bool commands;			/* entries that carry one of NVMe (Linux 5.19) */
	bool iopoll;
	bool sqpoll;
	int sqpoll_cpu;			/* -1: any */
	bool reissue;
	const volatile bool *stop;	/* the job is to end: nothing is tried again; or NULL */
};

/* 0 or -errno; ring_close() takes a zeroed ring too. Both by the same thread. */
int ring_open(struct ring *r, const struct ring_options *o);
void ring_close(struct ring *r);

/* 0 or -errno. Before dma-bufs, ring_register_table() makes @nr empty slots. */
int ring_register_files(struct ring *r, const int *fds, unsigned int nr);
int ring_register_users(struct ring *r, const struct iovec *v, unsigned int nr);
int ring_register_table(struct ring *r, unsigned int nr);
int ring_register_dmabuf(struct ring *r, unsigned int slot, int dmabuf, int file);

/*
 * Of a ring without buffers: whether it takes @nr of them, and whether their slots
 * can hold dma-bufs. 0, or -errno as the kernel put it.
 */
int ring_probe_table(struct ring *r, unsigned int nr);
int ring_probe_dmabuf(struct ring *r);

/* What io_uring says of dma-bufs when asked, without a ring; false: it does not know the question. */
struct io_uring_query_dmabuf;
bool ring_query_dmabuf(struct io_uring_query_dmabuf *q);

/* The entry of a unit. */
static inline struct io_uring_sqe *ring_sqe(const struct ring *r, unsigned int index)
{
	return &r->sqes[index << r->wide];
}

static inline struct io_uring_cqe *ring_at(const struct ring *r, unsigned int place)
{
	return &r->cqes[(place & r->cq_mask) << r->wide];
}

/* Add a unit whose entry is filled in. The kernel sees it at ring_submit(). */
static inline void ring_push(struct ring *r, unsigned int index)
{
	r->sq_array[r->sq_tail++ & r->sq_mask] = index;
	r->queued++;
}

/* Units the kernel took, in the order of ring_push(), or -errno. */
int ring_submit(struct ring *r);

/* Start to collect anew: what ring_reap() gave before has been read. */
static inline void ring_restart(struct ring *r)
{
	r->cq_first = r->cq_head;
}

/*
 * Collect what has completed and return how many are there since
 * ring_restart(), @max at most; read them with ring_cqe(). If ->nr_again is set
 * afterwards, submit what is queued and call ring_reissue().
 */
unsigned int ring_reap(struct ring *r, unsigned int max);
int ring_reissue(struct ring *r);

static inline const struct io_uring_cqe *ring_cqe(const struct ring *r, unsigned int n)
{
	return ring_at(r, r->cq_first + n);
}

/*
 * Wait until there are @min completions since ring_restart(), @got of which have
 * been collected: in the kernel, or, where a thread of the kernel's submits and a
 * processor is spent on that anyway, at the queue. 0, too early too, or -errno.
 */
int ring_wait(struct ring *r, unsigned int got, unsigned int min);

#endif
