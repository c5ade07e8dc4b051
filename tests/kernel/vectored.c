// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * READV_FIXED and WRITEV_FIXED over a registered dma-buf: ranges in any order, as
 * many as there may be, each checked before any is used; and what an exporter that
 * takes the mapping away makes of them.
 */
#include "exporter.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <linux/fs.h>

#define SIZE	(8 * T_MIB)
#define SCRATCH	(64 * T_MIB)	/* of the disk */
#define MOST	1024U		/* UIO_MAXIOV */

static struct t_disk disk;
static int fd;

/* The result of one request; the ranges are gone as soon as it is submitted. */
static int vector(struct t_ring *ring, bool write, const struct iovec *from, unsigned int n, uint64_t pos, int flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
	static struct iovec iovs[MOST];

	memcpy(iovs, from, (n < MOST ? n : MOST) * sizeof(*iovs));
	io_uring_prep_rw(write ? T_OP_WRITEV_FIXED : T_OP_READV_FIXED, sqe, fd, iovs, n, pos);
	sqe->buf_index = 0;
	sqe->rw_flags = flags;
	if (ring->mode == T_ASYNC)
		sqe->flags |= IOSQE_ASYNC;
	t_submit(ring);
	if (ring->mode != T_SQPOLL)
		memset(iovs, 0xff, sizeof(iovs));
	return t_reap(ring, NULL);
}

static struct iovec range(uint64_t offset, size_t len)
{
	return (struct iovec){ (void *)(uintptr_t)offset, len };
}

static size_t total(const struct iovec *iovs, unsigned int n)
{
	size_t sum = 0;

	while (n--)
		sum += iovs[n].iov_len;
	return sum;
}

/* Whether all ranges hold what one run of bytes does, and nothing else of the buffer changed. */
static bool holds(struct t_buf *buf, const struct iovec *iovs, unsigned int n, const unsigned char *want)
{
	unsigned char *copy = malloc(SIZE);
	unsigned int i;
	bool same;

	memcpy(copy, buf->poison, SIZE);
	for (i = 0; i < n; i++) {
		memcpy(copy + (uintptr_t)iovs[i].iov_base, want, iovs[i].iov_len);
		want += iovs[i].iov_len;
	}
	t_buf_begin(buf);
	same = t_same("the buffer", buf->map, copy, SIZE);
	memcpy(buf->map, buf->poison, SIZE);
	t_buf_end(buf);
	free(copy);
	return same;
}

static enum t_result both_ways(struct t_ring *ring, struct t_buf *buf, const struct iovec *iovs, unsigned int n, uint64_t pos)
{
	size_t sum = total(iovs, n), done = 0;
	unsigned char *written = malloc(sum);
	unsigned int i;
	bool same;

	T_IS(vector(ring, false, iovs, n, pos, 0), sum, "read");
	T_CHECK(holds(buf, iovs, n, disk.image + pos), "wrong data read");

	T_IS(vector(ring, true, iovs, n, pos, 0), sum, "write");
	for (i = 0; i < n; i++) {
		memcpy(written + done, buf->poison + (uintptr_t)iovs[i].iov_base, iovs[i].iov_len);
		done += iovs[i].iov_len;
	}
	same = t_same("written", t_disk_read(&disk, pos, sum), written, sum);
	free(written);
	T_CHECK(same, "wrong data written");
	t_disk_restore(&disk, pos, sum);
	T_CHECK(t_same("the disk", t_disk_read(&disk, 0, T_DISK_SIZE), disk.image, T_DISK_SIZE), "more was written");
	return T_PASS;
}

static enum t_result begin(struct t_ring *ring, enum t_mode mode, struct t_buf *buf, unsigned int flags)
{
	int dmabuf;

	T_TRY(need_exporter());
	T_TRY(t_need(mode));
	dmabuf = export_buf(SIZE, 4096, flags);
	T_CHECK(dmabuf >= 0, "exporting: %s", t_number(dmabuf));
	t_buf_adopt(buf, dmabuf, SIZE);
	t_ring_init(ring, mode, 64, 1);
	T_IS(t_register(ring, 0, buf->fd, fd, 0), 1, "register");
	return T_PASS;
}

static enum t_result end(struct t_ring *ring, struct t_buf *buf)
{
	T_IS(control(buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(t_clear(ring, 0), 1, "unregister");
	T_TRY(await_live(buf, 0));
	t_ring_exit(ring);
	t_buf_exit(buf);
	return T_PASS;
}

/* From the last range of the buffer to the first, of different lengths, @n of them. */
static void backwards(struct iovec *iovs, unsigned int n, size_t unit)
{
	size_t each = SIZE / n;
	unsigned int i;

	for (i = 0; i < n; i++)
		iovs[i] = range((n - 1 - i) * each, unit * (1 + i % (each / unit > 3 ? 3 : each / unit)));
}

static enum t_result data(enum t_mode mode)
{
	struct iovec iovs[MOST];
	struct t_ring ring;
	struct t_buf buf;
	unsigned int n;

	T_TRY(begin(&ring, mode, &buf, 0));
	for (n = 1; n <= MOST; n *= 32) {
		backwards(iovs, n, disk.lba > 4096 ? disk.lba : 4096);
		T_TRY(both_ways(&ring, &buf, iovs, n, 0));
		T_TRY(both_ways(&ring, &buf, iovs, n, T_MIB + disk.lba));
	}
	/* the mapping is made by who comes first */
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	backwards(iovs, 16, disk.lba);
	T_TRY(both_ways(&ring, &buf, iovs, 16, disk.lba));
	/* ranges of several commands each, in which one lies inside the other for a write */
	iovs[0] = range(5 * T_MIB, 3 * T_MIB);
	iovs[1] = range(0, 2 * T_MIB);
	iovs[2] = range(3 * T_MIB, disk.lba);
	T_TRY(both_ways(&ring, &buf, iovs, 3, 3 * T_MIB));
	T_IS(vector(&ring, false, iovs, 0, 0, 0), 0, "no ranges");
	return end(&ring, &buf);
}

/* What is refused is so before anything moves, wherever in the vector it is. */
static enum t_result refused(enum t_mode mode)
{
	const struct {
		struct iovec iov;
		int err;
		const char *what;
	} bad[] = {
		{ range(0, 0), -EFAULT, "an empty range" },
		{ range(SIZE, disk.lba), -EFAULT, "behind the end" },
		{ range(SIZE - disk.lba, 2 * disk.lba), -EFAULT, "across the end" },
		{ range(-4096UL, 8192), -EFAULT, "wraps around" },
		{ range(1UL << 63, disk.lba), -EFAULT, "far away" },
		{ range(0, 1UL << 40), -EFAULT, "a terabyte" },
		{ range(0, 1UL << 63), -EINVAL, "a negative length" },
		{ range(0, disk.lba / 2), -EINVAL, "half a block" },
		{ range(1, disk.lba), -EINVAL, "an odd offset" },
	};
	const struct iovec good = range(0, disk.lba);
	struct iovec iovs[MOST + 1];
	unsigned int i, at, way;
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(begin(&ring, mode, &buf, 0));
	for (way = 0; way < 2; way++) {
		for (i = 0; i < T_COUNT(bad); i++) {
			for (at = 0; at < 3; at++) {
				iovs[0] = iovs[1] = iovs[2] = good;
				iovs[at] = bad[i].iov;
				T_IS(vector(&ring, way, iovs, 3, 0, 0), bad[i].err, bad[i].what);
			}
		}
		for (i = 0; i <= MOST; i++)
			iovs[i] = range(0, 4 * T_MIB);
		T_IS(vector(&ring, way, iovs, 512, 0, 0), -EINVAL, "2 GiB in all");
		T_IS(vector(&ring, way, iovs, MOST, 0, 0), -EINVAL, "4 GiB in all");
		T_IS(vector(&ring, way, iovs, MOST + 1, 0, 0), -EINVAL, "too many ranges");
		iovs[0] = good;
		T_IS(vector(&ring, way, iovs, 1, disk.lba / 2, 0), -EINVAL, "an odd place of the disk");
	}
	T_CHECK(holds(&buf, NULL, 0, NULL), "the buffer changed");
	T_CHECK(t_same("the disk", t_disk_read(&disk, 0, T_DISK_SIZE), disk.image, T_DISK_SIZE), "the disk changed");
	T_TRY(both_ways(&ring, &buf, &good, 1, 0));
	return end(&ring, &buf);
}

/* As preadv() and pwritev() do it. */
static enum t_result last_blocks(enum t_mode mode)
{
	unsigned char *memory = aligned_alloc(4096, SIZE);
	struct iovec iovs[4], ours[4];
	unsigned int i, way, missing;
	struct t_ring ring;
	struct t_buf buf;
	uint64_t size;

	T_TRY(begin(&ring, mode, &buf, 0));
	T_CHECK(!ioctl(fd, BLKGETSIZE64, &size), "BLKGETSIZE64: %m");
	memset(memory, 0, SIZE);
	for (i = 0; i < 4; i++) {
		ours[i] = range(i * T_MIB, 2 * disk.lba);
		iovs[i] = (struct iovec){ memory + i * T_MIB, 2 * disk.lba };
	}
	for (way = 0; way < 2; way++) {
		for (missing = 0; missing <= 8; missing++) {
			uint64_t pos = size - (8 - missing) * (uint64_t)disk.lba;
			long want = way ? pwritev(fd, iovs, 4, pos) : preadv(fd, iovs, 4, pos);

			if (want < 0)
				want = -errno;
			T_IS(vector(&ring, way, ours, 4, pos, 0), want, way ? "write" : "read");
		}
	}
	free(memory);
	return end(&ring, &buf);
}

static enum t_result other_file(enum t_mode mode)
{
	const struct iovec iov = range(0, disk.lba);
	int again = t_open(t_dev, O_RDWR | O_DIRECT), ours = fd, ret;
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(begin(&ring, mode, &buf, 0));
	fd = again;
	ret = vector(&ring, false, &iov, 1, 0, 0);
	fd = ours;
	close(again);
	T_IS(ret, -EBADF, "another open of the disk");
	return end(&ring, &buf);
}

/* Who does not want to wait does not; others get what the exporter says, or their data. */
static enum t_result unmapped(enum t_mode mode)
{
	struct iovec iovs[16];
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(begin(&ring, mode, &buf, 0));
	backwards(iovs, 16, disk.lba);
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	if (mode != T_ASYNC)	/* which is not for those who do not wait */
		T_IS(vector(&ring, false, iovs, 16, 0, RWF_NOWAIT), -EAGAIN, "RWF_NOWAIT");
	T_IS(control(&buf, DMA_BUF_IO_TEST_FAIL_MAP, times(1, ENOSPC), NULL), 0, "make mapping fail");
	T_IS(vector(&ring, true, iovs, 16, 0, 0), -ENOSPC, "what the exporter says");
	T_CHECK(holds(&buf, NULL, 0, NULL), "the buffer changed");
	T_CHECK(t_same("the disk", t_disk_read(&disk, 0, T_MIB), disk.image, T_MIB), "the disk changed");
	T_TRY(both_ways(&ring, &buf, iovs, 16, 0));
	return end(&ring, &buf);
}

struct storm {
	struct t_buf *buf;
	atomic_bool stop;
	atomic_int error;
	atomic_uint count;
};

static void *blow(void *arg)
{
	struct storm *storm = arg;
	unsigned int seed = 1;

	while (!storm->stop) {
		int ret = control(storm->buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL);

		if (ret)
			storm->error = ret;
		storm->count++;
		usleep(rand_r(&seed) % 10000);
	}
	return NULL;
}

/* The memory moves all the time: every request succeeds, and every byte is right. */
static enum t_result storms(enum t_mode mode)
{
	struct storm storm = { };
	struct iovec iovs[64];
	pthread_t thread;
	struct t_ring ring;
	struct t_buf buf;
	unsigned int i;

	T_TRY(begin(&ring, mode, &buf, DMA_BUF_IO_TEST_MOVES));
	storm.buf = &buf;
	T_CHECK(!pthread_create(&thread, NULL, blow, &storm), "no thread");
	for (i = 0; i < 4 || storm.count < 10; i++) {
		unsigned int n = i % 3 ? 16 : 64;
		size_t sum;

		backwards(iovs, n, i % 2 ? disk.lba : 32768);
		sum = total(iovs, n);
		memset(buf.map, i, SIZE);
		T_IS(vector(&ring, true, iovs, n, SCRATCH, 0), sum, "write");
		memset(buf.map, ~i, SIZE);
		T_IS(vector(&ring, false, iovs, n, SCRATCH, 0), sum, "read");
		for (unsigned int r = 0; r < n; r++) {
			unsigned char *at = buf.map + (uintptr_t)iovs[r].iov_base;

			T_CHECK(*at == (unsigned char)i && !memcmp(at, at + 1, iovs[r].iov_len - 1),
				"wrong data in range %u of %u", r, n);
		}
	}
	storm.stop = true;
	pthread_join(thread, NULL);
	T_IS(storm.error, 0, "the exporter");
	T_IS(ask(&buf, DMA_BUF_IO_TEST_SCRIBBLED), 0, "bytes written too late");
	t_diag("%u requests, %u invalidations, %llu mappings", 2 * i, storm.count,
	       (unsigned long long)ask(&buf, DMA_BUF_IO_TEST_TOTAL));
	return end(&ring, &buf);
}

/* Many at once, all of them without a mapping at first. */
static enum t_result many(enum t_mode mode)
{
	static struct iovec iovs[64][8];
	struct t_ring ring;
	struct t_buf buf;
	unsigned int i, r;

	T_TRY(begin(&ring, mode, &buf, 0));
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	for (i = 0; i < 64; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring.uring);

		for (r = 0; r < 8; r++)
			iovs[i][r] = range((8 * i + 7 - r) * 16384, 16384);
		io_uring_prep_rw(T_OP_READV_FIXED, sqe, fd, iovs[i], 8, i * 8 * 16384);
		if (mode == T_ASYNC)
			sqe->flags |= IOSQE_ASYNC;
	}
	t_submit(&ring);
	for (i = 0; i < 64; i++)
		T_IS(t_reap(&ring, NULL), 8 * 16384, "read");
	T_CHECK(holds(&buf, iovs[0], 64 * 8, disk.image), "wrong data");
	return end(&ring, &buf);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		enum t_result (*test)(enum t_mode mode);
	} tests[] = {
		{ "1 to 1,024 ranges, every byte compared", data },
		{ "what is refused is so before anything moves", refused },
		{ "at the end of the disk as preadv() and pwritev()", last_blocks },
		{ "another file", other_file },
		{ "without a mapping", unmapped },
		{ "64 at once", many },
		{ "a storm of invalidations", storms },
	};
	unsigned int mode, i;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_MODES * T_COUNT(tests));
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	for (mode = 0; mode < T_MODES; mode++)
		for (i = 0; i < T_COUNT(tests); i++)
			t_report(tests[i].test(mode), "%s, %s", tests[i].name, t_mode_names[mode]);
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
