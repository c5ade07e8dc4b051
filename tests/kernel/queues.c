// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Deep queues, several at a time: threads with a ring each, over dma-bufs of
 * their own or a shared one, and two disks behind different controllers.
 */
#include "helpers.h"

#include <fcntl.h>
#include <pthread.h>

#define THREADS	4
#define DEPTH	64
#define CHUNK	(32 * 1024UL)
#define SIZE	(DEPTH * CHUNK)
#define ROUNDS	12
#define SHARE	(T_DISK_SIZE / THREADS)	/* of the disk, to each thread */

static struct t_disk disks[2];

struct job {
	unsigned int number;
	enum t_mode mode;
	struct t_disk *disk;
	struct t_buf *buf;
	size_t off;		/* of this job's DEPTH chunks in ->buf */
	bool write;
	enum t_result result;
};

/*
 * The position of a chunk on the disk. Within a round no two chunks of any job
 * meet: 37 is prime to the number of places.
 */
static uint64_t place(const struct job *job, unsigned int round, unsigned int chunk)
{
	const unsigned int places = SHARE / CHUNK;

	return job->number * SHARE + (round * 11 + chunk * 37) % places * CHUNK;
}

/* 4 KiB up to a whole chunk. */
static uint32_t length(unsigned int round, unsigned int chunk)
{
	return ((round + chunk * 3) % (CHUNK / T_PAGE) + 1) * T_PAGE;
}

static void queue(struct t_ring *ring, const struct job *job, int fd,
		  unsigned int round, unsigned int chunk)
{
	const struct t_io io = {
		.fd = fd, .write = job->write, .slot = 0,
		.addr = job->off + chunk * CHUNK,
		.len = length(round, chunk), .pos = place(job, round, chunk),
	};

	t_queue(ring, &io, chunk);
}

/* Every byte of the chunks, and of the rest of each chunk. */
static bool round_is_right(const struct job *job, unsigned int round)
{
	unsigned int chunk;
	bool ok = true;

	for (chunk = 0; chunk < DEPTH && ok; chunk++) {
		size_t off = job->off + chunk * CHUNK, len = length(round, chunk);
		uint64_t pos = place(job, round, chunk);
		const unsigned char *poison = job->buf->poison + off;
		unsigned char *map = job->buf->map + off;

		if (job->write) {
			static __thread unsigned char now[CHUNK] __attribute__((aligned(4096)));

			ok = pread(job->disk->fd, now, CHUNK, pos) == (ssize_t)CHUNK &&
			     t_same("written", now, poison, len) &&
			     t_same("after it", now + len, job->disk->image + pos + len, CHUNK - len) &&
			     t_same("the buffer itself", map, poison, CHUNK) &&
			     pwrite(job->disk->fd, job->disk->image + pos, CHUNK, pos) == (ssize_t)CHUNK;
		} else {
			ok = t_same("read", map, job->disk->image + pos, len) &&
			     t_same("after it", map + len, poison + len, CHUNK - len);
			memcpy(map, poison, CHUNK);
		}
	}
	return ok;
}

static enum t_result run_job(const struct job *job)
{
	unsigned int round, chunk, got;
	struct t_ring ring;
	uint64_t data;
	bool ok;
	int fd, ret;

	fd = t_open(job->disk->path, O_RDWR | O_DIRECT);
	t_ring_init(&ring, job->mode, DEPTH, 1);
	T_IS(t_register(&ring, 0, job->buf->fd, fd, 0), 1, "register");
	for (round = 0; round < ROUNDS; round++) {
		for (chunk = 0; chunk < DEPTH; chunk++)
			queue(&ring, job, fd, round, chunk);
		t_submit(&ring);
		for (got = 0; got < DEPTH; got++) {
			ret = t_reap(&ring, &data);
			T_IS(ret, length(round, data), job->write ? "write" : "read");
		}
		t_buf_begin(job->buf);
		ok = round_is_right(job, round);
		t_buf_end(job->buf);
		T_CHECK(ok, "job %u, round %u", job->number, round);
	}
	t_ring_exit(&ring);
	close(fd);
	return T_PASS;
}

static void *thread(void *arg)
{
	struct job *job = arg;

	job->result = run_job(job);
	return NULL;
}

static enum t_result run_jobs(struct job *jobs, unsigned int n)
{
	enum t_result result = T_PASS;
	pthread_t threads[THREADS];
	unsigned int i;

	for (i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, thread, &jobs[i]))
			t_die("pthread_create: %m");
	for (i = 0; i < n; i++) {
		pthread_join(threads[i], NULL);
		if (jobs[i].result != T_PASS)
			result = T_FAIL;
	}
	return result;
}

/* One dma-buf each, or one for all. */
static enum t_result threads(enum t_mode mode, bool write, bool one_buffer)
{
	struct t_buf bufs[THREADS];
	struct job jobs[THREADS];
	enum t_result result;
	unsigned int i, n = one_buffer ? 1 : THREADS;

	for (i = 0; i < n; i++)
		T_TRY(t_buf_init(&bufs[i], i & 1 ? T_UDMABUF : T_SCATTERED,
				 one_buffer ? THREADS * SIZE : SIZE));
	for (i = 0; i < THREADS; i++)
		jobs[i] = (struct job){
			.number = i, .mode = mode, .disk = &disks[0], .write = write,
			.buf = &bufs[one_buffer ? 0 : i], .off = one_buffer ? i * SIZE : 0,
		};
	result = run_jobs(jobs, THREADS);
	for (i = 0; i < n; i++)
		t_buf_exit(&bufs[i]);
	return result;
}

/* Half of one dma-buf works for each disk, at the same time. */
static enum t_result two_disks(enum t_mode mode, bool write)
{
	struct job jobs[2];
	struct t_buf buf;
	enum t_result result;
	unsigned int i;

	if (!t_dev2)
		return t_skip("no second disk: name one as the second argument or in DEV2=");
	T_TRY(t_buf_init(&buf, T_SCATTERED, 2 * SIZE));
	for (i = 0; i < 2; i++)
		jobs[i] = (struct job){
			.number = i, .mode = mode, .disk = &disks[i], .write = write,
			.buf = &buf, .off = i * SIZE,
		};
	result = run_jobs(jobs, 2);
	t_buf_exit(&buf);
	return result;
}

/* From one disk into the dma-buf, from there to the other. */
static enum t_result copy(void)
{
	struct t_ring ring;
	struct t_buf buf;
	struct t_io io[2];
	uint64_t pos;
	int i;

	if (!t_dev2)
		return t_skip("no second disk: name one as the second argument or in DEV2=");
	T_TRY(t_buf_init(&buf, T_SCATTERED, T_MIB));
	t_ring_init(&ring, T_PLAIN, 8, 2);
	for (i = 0; i < 2; i++) {
		io[i] = (struct t_io){
			.fd = t_open(disks[i].path, O_RDWR | O_DIRECT),
			.write = i, .slot = i, .len = T_MIB,
		};
		T_IS(t_register(&ring, i, buf.fd, io[i].fd, 0), 1, "register");
	}
	for (pos = 0; pos < 4 * T_MIB; pos += T_MIB) {
		io[0].pos = pos;
		io[1].pos = 8 * T_MIB + pos;
		T_IS(t_rw(&ring, &io[0]), T_MIB, "read");
		T_IS(t_rw(&ring, &io[1]), T_MIB, "write");
		T_CHECK(t_same("copy", t_disk_read(&disks[1], io[1].pos, T_MIB),
			       disks[0].image + pos, T_MIB), "wrong data");
		t_disk_restore(&disks[1], io[1].pos, T_MIB);
	}
	/* Each slot is bound to its own disk. */
	io[0].slot = 1;
	T_IS(t_rw(&ring, &io[0]), -EBADF, "the other disk's slot");
	t_ring_exit(&ring);
	close(io[0].fd);
	close(io[1].fd);
	t_buf_exit(&buf);
	return T_PASS;
}

int main(int argc, char **argv)
{
	unsigned int mode, write, one;

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true,
		T_MODES * 2 * 3 + 1);
	t_disk_init(&disks[0], t_dev);
	if (t_dev2)
		t_disk_init(&disks[1], t_dev2);
	for (mode = 0; mode < T_MODES; mode++) {
		for (write = 0; write < 2; write++) {
			for (one = 0; one < 2; one++)
				t_report(t_need(mode) ?: threads(mode, write, one), "%u threads, %s, %s, %s", THREADS,
					 one ? "one dma-buf" : "one dma-buf each",
					 write ? "write" : "read", t_mode_names[mode]);
			t_report(t_need(mode) ?: two_disks(mode, write), "two disks, one dma-buf, %s, %s",
				 write ? "write" : "read", t_mode_names[mode]);
		}
	}
	t_report(copy(), "disk to disk through one dma-buf");
	t_disk_exit(&disks[0]);
	if (t_dev2)
		t_disk_exit(&disks[1]);
	return t_finish();
}
