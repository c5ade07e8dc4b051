// SPDX-License-Identifier: GPL-2.0-or-later
#include "helpers.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/fs.h>
#include <linux/memfd.h>
#include <linux/udmabuf.h>

#define HUGE_PAGE	(2 * T_MIB)
#define UDMABUF_ITEMS	1024UL	/* the driver's default list_limit */
#define SLOW		10	/* seconds: a test that takes so long says so */

const char *t_dev, *t_dev2;
const char *const t_mode_names[T_MODES] = {
	"plain", "sqpoll", "defer_taskrun", "iopoll", "async",
};
const char *const t_kind_names[T_KINDS] = {
	"udmabuf", "scattered", "hugetlb", "heap", "user",
};

static unsigned int planned, done, failed, skipped;
static char skip_reason[256];
static time_t last;	/* when the test before ended */

/* KTAP */

void t_diag(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("# ");
	vprintf(fmt, args);
	printf("\n");
	va_end(args);
}

enum t_result t_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(skip_reason, sizeof(skip_reason), fmt, args);
	va_end(args);
	return T_SKIP;
}

void t_die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("Bail out! ");
	vprintf(fmt, args);
	printf("\n");
	va_end(args);
	fflush(stdout);
	_exit(1);
}

static const char *unsupported(void)
{
	struct t_ring ring;
	int ret;

	t_ring_init(&ring, T_PLAIN, 1, 1);
	ret = t_register(&ring, 0, -1, -1, 0);
	t_ring_exit(&ring);
	switch (ret) {
	case -EBADF:
		return NULL;
	case -EINVAL:
		return "this kernel cannot register dma-bufs with io_uring: boot one with the series of kernel/";
	case -EOPNOTSUPP:
		return "this kernel was built without dma-buf support: set CONFIG_DMA_SHARED_BUFFER";
	default:
		t_die("the probe, both descriptors -1, returned %s", t_number(ret));
	}
}

static const char *argument(const char *arg, const char *variable)
{
	if (!arg)
		arg = getenv(variable);
	return arg && *arg ? arg : NULL;
}

void t_start(const char *dev, const char *dev2, bool dmabuf, unsigned int tests)
{
	const char *reason;

	t_dev = argument(dev, "DEV");
	t_dev2 = argument(dev2, "DEV2");
	setvbuf(stdout, NULL, _IOLBF, 0);
	planned = tests;
	last = time(NULL);
	printf("KTAP version 1\n");
	if (!t_dev)
		t_die("no disk: name a scratch NVMe namespace as the first argument or in DEV=");
	reason = dmabuf ? unsupported() : NULL;
	if (reason) {
		printf("1..0 # SKIP %s\n", reason);
		exit(4);
	}
	printf("1..%u\n", tests);
}

void t_report(enum t_result result, const char *fmt, ...)
{
	va_list args;

	printf("%s %u - ", result == T_FAIL ? "not ok" : "ok", ++done);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	if (result == T_SKIP)
		printf(" # SKIP %s", skip_reason);
	printf("\n");
	if (time(NULL) - last >= SLOW)
		t_diag("that took %lld s", (long long)(time(NULL) - last));
	last = time(NULL);
	failed += result == T_FAIL;
	skipped += result == T_SKIP;
}

int t_finish(void)
{
	if (done != planned)
		t_die("planned %u tests and ran %u", planned, done);
	return failed ? 1 : skipped == planned ? 4 : 0;
}

const char *t_number(long value)
{
	static char text[4][32];
	static unsigned int next;
	char *out = text[next++ % T_COUNT(text)];
	const char *name = value < 0 ? strerrorname_np(-value) : NULL;

	if (name)
		snprintf(out, sizeof(text[0]), "-%s", name);
	else
		snprintf(out, sizeof(text[0]), "%ld", value);
	return out;
}

bool t_same(const char *what, const void *got, const void *want, size_t len)
{
	const unsigned char *a = got, *b = want;
	size_t first, bad = 0, i;

	if (!memcmp(a, b, len))
		return true;
	for (first = 0; a[first] == b[first]; first++)
		;
	for (i = first; i < len; i++)
		bad += a[i] != b[i];
	t_diag("%s: %zu of %zu bytes differ, the first at %zu: %02x, wanted %02x",
	       what, bad, len, first, a[first], b[first]);
	return false;
}

/* Rings */

enum t_result t_need(enum t_mode mode)
{
	char path[128], polls = '0';
	FILE *file;

	if (mode != T_POLLED)
		return T_PASS;
	snprintf(path, sizeof(path), "/sys/class/block/%s/queue/io_poll", basename(t_dev));
	file = fopen(path, "r");
	if (file) {
		polls = fgetc(file);
		fclose(file);
	}
	if (polls != '1')
		return t_skip("%s has no poll queues: boot with nvme.poll_queues=1", t_dev);
	return T_PASS;
}

void t_ring_init(struct t_ring *ring, enum t_mode mode, unsigned int depth,
		 unsigned int slots)
{
	struct io_uring_params params = { 0 };
	int ret;

	if (mode == T_SQPOLL) {
		params.flags = IORING_SETUP_SQPOLL;
		params.sq_thread_idle = 20;
	} else if (mode == T_DEFER) {
		params.flags = IORING_SETUP_SINGLE_ISSUER |
			       IORING_SETUP_DEFER_TASKRUN;
	} else if (mode == T_POLLED) {
		params.flags = IORING_SETUP_IOPOLL;
	}
	ring->mode = mode;
	ret = io_uring_queue_init_params(depth, &ring->uring, &params);
	if (ret)
		t_die("io_uring_setup, %s ring: %s", t_mode_names[mode],
		      t_number(ret));
	if (!slots)
		return;
	ret = io_uring_register_buffers_sparse(&ring->uring, slots);
	if (ret)
		t_die("sparse table of %u buffers: %s", slots, t_number(ret));
}

void t_ring_exit(struct t_ring *ring)
{
	io_uring_queue_exit(&ring->uring);
}

struct io_uring_sqe *t_queue(struct t_ring *ring, const struct t_io *io,
			     uint64_t user_data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
	int op;

	if (!sqe)
		t_die("the submission queue is full");
	if (io->slot < 0)
		op = io->write ? IORING_OP_WRITE : IORING_OP_READ;
	else
		op = io->write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
	io_uring_prep_rw(op, sqe, io->fd, NULL, io->len, io->pos);
	sqe->addr = io->addr;
	if (io->slot >= 0)
		sqe->buf_index = io->slot;
	if (io->fixed_file)
		sqe->flags |= IOSQE_FIXED_FILE;
	if (ring->mode == T_ASYNC)
		sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = user_data;
	return sqe;
}

void t_submit(struct t_ring *ring)
{
	int ret = io_uring_submit(&ring->uring);

	if (ret < 0)
		t_die("io_uring_enter: %s", t_number(ret));
}

int t_reap(struct t_ring *ring, uint64_t *user_data)
{
	const char *slow = getenv("PATIENCE");	/* seconds, on kernels that take their time */
	struct __kernel_timespec patience = { .tv_sec = slow ? atoi(slow) : 30 };
	time_t end = time(NULL) + patience.tv_sec;
	struct io_uring_cqe *cqe;
	int ret;

	/* a polled ring gives up early when the processor is wanted elsewhere */
	do {
		ret = io_uring_wait_cqe_timeout(&ring->uring, &cqe, &patience);
	} while (ret == -EINTR ||
		 (ret == -ETIME && ring->mode == T_POLLED && time(NULL) < end));
	if (ret)
		t_die("no completion in %lld seconds: %s",
		      (long long)patience.tv_sec, t_number(ret));
	if (user_data)
		*user_data = cqe->user_data;
	ret = cqe->res;
	io_uring_cqe_seen(&ring->uring, cqe);
	return ret;
}

int t_rw(struct t_ring *ring, const struct t_io *io)
{
	t_queue(ring, io, 0);
	t_submit(ring);
	return t_reap(ring, NULL);
}

/* Registrations */

int t_io_uring_register(int fd, unsigned int opcode, void *arg, unsigned int nr)
{
	int ret = syscall(__NR_io_uring_register, fd, opcode, arg, nr);

	return ret < 0 ? -errno : ret;
}

int t_update(struct t_ring *ring, unsigned int slot, unsigned int flags,
	     const void *descs, unsigned int nr, const uint64_t *tags)
{
	struct io_uring_rsrc_update2 update = {
		.offset = slot,
		.resv = flags,
		.data = (uintptr_t)descs,
		.tags = (uintptr_t)tags,
		.nr = nr,
	};

	return t_io_uring_register(ring->uring.ring_fd,
				   IORING_REGISTER_BUFFERS_UPDATE, &update,
				   sizeof(update));
}

int t_register(struct t_ring *ring, unsigned int slot, int dmabuf_fd,
	       int target_fd, uint64_t tag)
{
	struct io_uring_regbuf_desc desc = {
		.type = IO_REGBUF_TYPE_DMABUF,
		.dmabuf_fd = dmabuf_fd,
		.target_fd = target_fd,
	};

	return t_update(ring, slot, IORING_RSRC_UPDATE_EXTENDED, &desc, 1,
			tag ? &tag : NULL);
}

int t_register_user(struct t_ring *ring, unsigned int slot, void *addr,
		    size_t size, uint64_t tag)
{
	struct iovec iov = { addr, size };

	return t_update(ring, slot, 0, &iov, 1, tag ? &tag : NULL);
}

int t_clear(struct t_ring *ring, unsigned int slot)
{
	struct io_uring_regbuf_desc desc = { .type = IO_REGBUF_TYPE_EMPTY };

	return t_update(ring, slot, IORING_RSRC_UPDATE_EXTENDED, &desc, 1, NULL);
}

/* Memory */

/* Every word differs from its neighbours, and from every word of another seed. */
static void fill(unsigned char *to, size_t len, uint64_t seed)
{
	uint64_t word, i;

	for (i = 0; i < len; i += sizeof(word)) {
		word = (seed + i) * 0x9e3779b97f4a7c15ULL;
		word ^= word >> 29;
		memcpy(to + i, &word, sizeof(word));
	}
}

static void *pages(size_t len)
{
	void *mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		t_die("%zu bytes of memory: %m", len);
	return mem;
}

static int allocate(int fd, size_t size)
{
	int ret;

	/* A ring that goes away interrupts, too. */
	do {
		ret = fallocate(fd, 0, 0, size);
	} while (ret && errno == EINTR);
	return ret;
}

/* Adds so many bytes to the pool of 2 MiB pages, as far as there is memory. */
static void grow_huge_pool(size_t size)
{
	FILE *pool = fopen("/proc/sys/vm/nr_hugepages", "r+");
	unsigned long pages;

	if (pool && fscanf(pool, "%lu", &pages) == 1) {
		rewind(pool);
		fprintf(pool, "%lu\n", pages + size / HUGE_PAGE);
	}
	if (pool)
		fclose(pool);
}

static int huge_memfd(size_t size)
{
	int fd = memfd_create("dmabuf-test", MFD_ALLOW_SEALING | MFD_HUGETLB |
			      MFD_HUGE_2MB);

	if (fd < 0 || !allocate(fd, size))
		return fd;
	grow_huge_pool(size);
	if (!allocate(fd, size))
		return fd;
	close(fd);
	return -1;
}

/*
 * A scattered buffer takes every second piece of its memfd, last piece first,
 * so that pieces which follow each other never are neighbours in memory.
 */
static int udmabuf(int memfd, size_t size, size_t piece, bool scattered)
{
	size_t count = size / piece, i;
	struct udmabuf_create_list *list;
	int dev, fd;

	dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -1;
	list = calloc(1, sizeof(*list) + count * sizeof(list->list[0]));
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	list->count = count;
	for (i = 0; i < count; i++) {
		list->list[i].memfd = memfd;
		list->list[i].offset = (scattered ? 2 * (count - 1 - i) : i) * piece;
		list->list[i].size = piece;
	}
	fd = ioctl(dev, UDMABUF_CREATE_LIST, list);
	free(list);
	close(dev);
	return fd;
}

static int heap(size_t size)
{
	struct dma_heap_allocation_data data = {
		.len = size,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	int dev = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC);
	int ret;

	if (dev < 0)
		return -1;
	ret = ioctl(dev, DMA_HEAP_IOCTL_ALLOC, &data);
	close(dev);
	return ret ? -1 : (int)data.fd;
}

static void poison(struct t_buf *buf)
{
	if (buf->fd >= 0) {
		buf->map = mmap(NULL, buf->size, PROT_READ | PROT_WRITE,
				MAP_SHARED, buf->fd, 0);
		if (buf->map == MAP_FAILED)
			t_die("mmap of a dma-buf: %m");
	}
	buf->poison = pages(buf->size);
	fill(buf->poison, buf->size, 0xdeadULL << 40);
	t_buf_begin(buf);
	memcpy(buf->map, buf->poison, buf->size);
	t_buf_end(buf);
}

enum t_result t_buf_init(struct t_buf *buf, enum t_kind kind, size_t size)
{
	size_t piece = size;

	*buf = (struct t_buf){ .fd = -1, .memfd = -1, .size = size };
	switch (kind) {
	case T_USER:
		buf->map = pages(size);
		buf->base = (uintptr_t)buf->map;
		break;
	case T_HEAP:
		buf->fd = heap(size);
		if (buf->fd < 0)
			return t_skip("/dev/dma_heap/system: %m (CONFIG_DMABUF_HEAPS_SYSTEM)");
		break;
	case T_HUGE:
		buf->memfd = huge_memfd(size);
		if (buf->memfd < 0)
			return t_skip("no %zu bytes of 2 MiB pages: raise vm.nr_hugepages", size);
		break;
	default:
		buf->memfd = memfd_create("dmabuf-test", MFD_ALLOW_SEALING);
		if (buf->memfd < 0 || ftruncate(buf->memfd, 2 * size))
			t_die("memfd of %zu bytes: %m", 2 * size);
	}
	if (kind == T_SCATTERED) {
		const size_t page = sysconf(_SC_PAGESIZE);

		piece = (size / UDMABUF_ITEMS + page - 1) / page * page;
		if (piece < page)
			piece = page;
	}
	if (buf->memfd >= 0) {
		if (fcntl(buf->memfd, F_ADD_SEALS, F_SEAL_SHRINK))
			t_die("F_SEAL_SHRINK: %m");
		buf->fd = udmabuf(buf->memfd, size, piece, kind == T_SCATTERED);
		if (buf->fd < 0) {
			close(buf->memfd);
			return t_skip("/dev/udmabuf, %zu bytes: %m (CONFIG_UDMABUF, udmabuf.size_limit_mb)", size);
		}
	}
	poison(buf);
	return T_PASS;
}

void t_buf_adopt(struct t_buf *buf, int fd, size_t size)
{
	*buf = (struct t_buf){ .fd = fd, .memfd = -1, .size = size };
	poison(buf);
}

void t_buf_exit(struct t_buf *buf)
{
	munmap(buf->map, buf->size);
	munmap(buf->poison, buf->size);
	if (buf->fd >= 0)
		close(buf->fd);
	if (buf->memfd >= 0)
		close(buf->memfd);
}

static void sync_cpu(struct t_buf *buf, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags | DMA_BUF_SYNC_RW };

	if (buf->fd < 0)
		return;
	while (ioctl(buf->fd, DMA_BUF_IOCTL_SYNC, &sync))
		if (errno != EINTR && errno != EAGAIN)
			t_die("DMA_BUF_IOCTL_SYNC: %m");
}

void t_buf_begin(struct t_buf *buf)
{
	sync_cpu(buf, DMA_BUF_SYNC_START);
}

void t_buf_end(struct t_buf *buf)
{
	sync_cpu(buf, DMA_BUF_SYNC_END);
}

bool t_buf_intact(struct t_buf *buf, size_t from, size_t to)
{
	if (from > buf->size)	/* wrapped below zero */
		from = 0;
	if (to > buf->size)
		to = buf->size;
	return from >= to || t_same("the buffer", buf->map + from,
				    buf->poison + from, to - from);
}

static bool read_leaks(struct t_leaks *leaks)
{
	FILE *info = fopen("/sys/kernel/debug/dma_buf/bufinfo", "r");
	char line[512];
	long number;

	if (!info)
		return false;
	*leaks = (struct t_leaks){ 0 };
	while (fgets(line, sizeof(line), info)) {
		if (sscanf(line, "Total %ld devices", &number) == 1 &&
		    strstr(line, "attached"))
			leaks->attachments += number;
		else if (sscanf(line, "Total %ld objects", &number) == 1)
			leaks->buffers = number;
	}
	fclose(info);
	return true;
}

enum t_result t_leaks_init(struct t_leaks *leaks)
{
	if (!read_leaks(leaks))
		return t_skip("/sys/kernel/debug/dma_buf/bufinfo: %m (mount debugfs)");
	return T_PASS;
}

enum t_result t_leaks_check(const struct t_leaks *before)
{
	struct t_leaks now = { 0 };
	int tries;

	/* Rings and files are torn down behind the caller's back. */
	for (tries = 0; tries < 1000; tries++) {
		if (!read_leaks(&now))
			t_die("/sys/kernel/debug/dma_buf/bufinfo went away: %m");
		if (now.buffers == before->buffers &&
		    now.attachments == before->attachments)
			return T_PASS;
		usleep(10000);
	}
	t_diag("leak: %ld dma-bufs with %ld attachments, before %ld with %ld",
	       now.buffers, now.attachments, before->buffers,
	       before->attachments);
	return T_FAIL;
}

/* The disk */

int t_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		t_die("%s: %m", path);
	return fd;
}

int t_through_socket(int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int sockets[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		return -errno;
	control.header = (struct cmsghdr){ CMSG_LEN(sizeof(fd)), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	ret = sendmsg(sockets[0], &msg, 0) < 0 || recvmsg(sockets[1], &msg, 0) < 0 ? -errno : 0;
	if (!ret)
		memcpy(&ret, CMSG_DATA(&control.header), sizeof(ret));
	close(sockets[0]);
	close(sockets[1]);
	return ret;
}

static void disk_open(struct t_disk *disk, const char *path, int access)
{
	uint64_t size;

	disk->path = path;
	/* Exclusive, so that a disk in use is refused. */
	disk->fd = t_open(path, access | O_DIRECT | O_EXCL);
	if (ioctl(disk->fd, BLKSSZGET, &disk->lba) ||
	    ioctl(disk->fd, BLKGETSIZE64, &size))
		t_die("%s is not a block device: name a scratch NVMe namespace", path);
	if (size < T_DISK_SIZE)
		t_die("%s has %llu bytes: the tests need %lu", path,
		      (unsigned long long)size, T_DISK_SIZE);
	disk->image = pages(T_DISK_SIZE);
	disk->bounce = pages(T_DISK_SIZE);
}

void t_disk_init_read_only(struct t_disk *disk, const char *path)
{
	disk_open(disk, path, O_RDONLY);
}

void t_disk_init(struct t_disk *disk, const char *path)
{
	disk_open(disk, path, O_RDWR);
	fill(disk->image, T_DISK_SIZE, 0x5eedULL << 40);
	t_disk_restore(disk, 0, T_DISK_SIZE);
	if (!t_same("the disk after filling it", t_disk_read(disk, 0, T_DISK_SIZE),
		    disk->image, T_DISK_SIZE))
		t_die("%s does not keep data: name a disk with real storage", path);
}

void t_disk_exit(struct t_disk *disk)
{
	munmap(disk->image, T_DISK_SIZE);
	munmap(disk->bounce, T_DISK_SIZE);
	close(disk->fd);
}

const unsigned char *t_disk_read(struct t_disk *disk, uint64_t pos, size_t len)
{
	if (pread(disk->fd, disk->bounce, len, pos) != (ssize_t)len)
		t_die("plain read of %zu bytes at %llu: %m", len,
		      (unsigned long long)pos);
	return disk->bounce;
}

void t_disk_restore(struct t_disk *disk, uint64_t pos, size_t len)
{
	if (pwrite(disk->fd, disk->image + pos, len, pos) != (ssize_t)len)
		t_die("plain write of %zu bytes at %llu: %m", len,
		      (unsigned long long)pos);
}

enum t_result t_check_read(struct t_ring *ring, struct t_io io,
			   struct t_disk *disk, struct t_buf *buf,
			   size_t off, size_t len, uint64_t pos)
{
	int ret;
	bool ok;

	io.write = false;
	io.addr = buf->base + off;
	io.len = len;
	io.pos = pos;
	ret = t_rw(ring, &io);

	t_buf_begin(buf);
	ok = ret == (int)len &&
	     t_same("read", buf->map + off, t_disk_read(disk, pos, len), len) &&
	     t_buf_intact(buf, off - T_NEAR, off) &&
	     t_buf_intact(buf, off + len, off + len + T_NEAR);
	memcpy(buf->map + off, buf->poison + off, len);
	t_buf_end(buf);
	T_CHECK(ok, "read of %zu bytes at %llu to offset %zu: %s", len,
		(unsigned long long)pos, off, t_number(ret));
	return T_PASS;
}

enum t_result t_check_write(struct t_ring *ring, struct t_io io,
			    struct t_disk *disk, struct t_buf *buf,
			    size_t off, size_t len, uint64_t pos)
{
	size_t from = pos < T_PAGE ? 0 : pos - T_PAGE;
	size_t to = pos + len + T_PAGE;
	const unsigned char *now;
	int ret;
	bool ok;

	if (to > T_DISK_SIZE)
		to = T_DISK_SIZE;
	io.write = true;
	io.addr = buf->base + off;
	io.len = len;
	io.pos = pos;
	ret = t_rw(ring, &io);

	now = t_disk_read(disk, from, to - from);
	t_buf_begin(buf);
	ok = ret == (int)len &&
	     t_same("written", now + (pos - from), buf->poison + off, len) &&
	     t_same("before the range", now, disk->image + from, pos - from) &&
	     t_same("after the range", now + (pos + len - from),
		    disk->image + pos + len, to - pos - len) &&
	     t_buf_intact(buf, off - T_NEAR, off + len + T_NEAR);
	t_buf_end(buf);
	t_disk_restore(disk, from, to - from);
	T_CHECK(ok, "write of %zu bytes at %llu from offset %zu: %s", len,
		(unsigned long long)pos, off, t_number(ret));
	return T_PASS;
}
