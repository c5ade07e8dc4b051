// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * iocost [OPTIONS] NULLDISK DATADISK: a stretch of I/O with nothing else in it.
 *
 * Verifies io_uring's path that it is going to use on DATADISK, byte by byte against
 * plain O_DIRECT I/O; then runs COUNT I/Os on NULLDISK, 128 deep in batches of
 * 32 (or --depth, in batches of a quarter of it), between two marks for
 * harness/qemu/profile.c. With --through passthru they are NVMe commands to the
 * disks' /dev/ngXnY. With --files MOUNTED they go to two files that it makes and writes
 * there, each in one extent; the disk below is then named twice. With --processors N as
 * many processes do that at once, each bound to a processor, with a ring of its own, out of
 * one memory. What returns -EAGAIN is counted and sent again. Nothing is in flight at
 * either mark. Prints one line of JSON, in it the guest's time between the marks: on the
 * instruction clock that is a count of its own.
 *
 * The memory is of one kind, whatever registers it: --memory scattered, 4 KiB pages of which
 * no two are neighbours, or 2m, huge pages. What /proc/self/pagemap says of it is printed.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <linux/aio_abi.h>
#include <linux/dma-buf.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/io_uring/dmabuf.h>
#include <linux/nvme_ioctl.h>
#include <linux/udmabuf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPTH	128
#define USER_SLOT	(1UL << 30)	/* the most that one iovec may register */
#define MAX_SLOTS	64
#define DISK_BYTES	(48UL << 30)	/* of NULLDISK: 64 GiB */
#define CHECKED_BYTES	(64UL << 20)	/* of DATADISK, and all of a file */
#define NR_CHECKS	16

enum registration { NONE, USER, DMABUF };
enum through { URING, AIO, BUFFERED, PASSTHRU };
enum place { RANDOM, FIRST, LAST };
enum kind { SCATTERED, HUGE };

static enum registration registration = DMABUF;
static enum through through = URING;
static enum place place = RANDOM;
static enum kind kind = SCATTERED;
static size_t bs = 4096, size = 64 << 20;
static uint64_t span = DISK_BYTES;
static const char *mounted;	/* files there instead of disks */
static unsigned long count = 10000, depth = MAX_DEPTH, processors, batch, nr_again;
static bool writes, iopoll;

static struct io_uring ring;
static unsigned char *memory;
static int buffered;	/* NULLDISK through the page cache */
static int dmabuf = -1, files[2];	/* NULLDISK, DATADISK: indices of registered files, slots of dma-bufs */
static int disk;	/* DATADISK, to verify with */
static unsigned int nsid[2], block_shift[2];	/* of those */

static int choose(const char *word, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (!strcmp(word, words[i]))
			return i;
	fprintf(stderr, "iocost: %s: choose one of", word);
	for (int i = 0; words[i]; i++)
		fprintf(stderr, " %s", words[i]);
	fputc('\n', stderr);
	exit(2);
}

static size_t bytes(const char *text)
{
	char *unit;
	size_t n = strtoul(text, &unit, 0);

	switch (*unit) {
	case 'g': n <<= 10; /* fall through */
	case 'm': n <<= 10; /* fall through */
	case 'k': n <<= 10; /* fall through */
	case 0: break;
	default: errx(2, "%s is no size: write it as 4096, 4k, 1m or 8g", text);
	}
	return n;
}

static void parse(int argc, char **argv)
{
	static const char *const registrations[] = { "none", "user", "dmabuf", NULL }, *const places[] = { "random", "first", "last", NULL },
			*const throughs[] = { "uring", "aio", "buffered", "passthru", NULL }, *const kinds[] = { "scattered", "2m", NULL };
	static const struct option options[] = {
		{ "registration", 1, NULL, 'r' }, { "bs", 1, NULL, 'b' }, { "count", 1, NULL, 'n' }, { "size", 1, NULL, 's' },
		{ "place", 1, NULL, 'p' }, { "write", 0, NULL, 'w' }, { "memory", 1, NULL, 'm' }, { "iopoll", 0, NULL, 'i' },
		{ "depth", 1, NULL, 'd' },
		{ "through", 1, NULL, 't' }, { "files", 1, NULL, 'f' }, { "processors", 1, NULL, 'c' }, { }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'r': registration = choose(optarg, registrations); break;
		case 't': through = choose(optarg, throughs); break;
		case 'p': place = choose(optarg, places); break;
		case 'b': bs = bytes(optarg); break;
		case 's': size = bytes(optarg); break;
		case 'n': count = strtoul(optarg, NULL, 0); break;
		case 'w': writes = true; break;
		case 'm': kind = choose(optarg, kinds); break;
		case 'i': iopoll = true; break;
		case 'c': processors = strtoul(optarg, NULL, 0); break;
		case 'd': depth = strtoul(optarg, NULL, 0); break;
		case 'f': mounted = optarg; span = CHECKED_BYTES; break;
		default: exit(2);
		}
	}
	if ((through == AIO || through == BUFFERED) && (registration != NONE || writes))
		errx(2, "--through aio and buffered are for reads with --registration none");
	if (mounted && through == PASSTHRU)
		errx(2, "there are no passthrough commands to files");
	if (!depth || depth > MAX_DEPTH)
		errx(2, "--depth is 1 to %d", MAX_DEPTH);
	if (processors > (unsigned long)sysconf(_SC_NPROCESSORS_ONLN))
		errx(2, "--processors is 1 to %ld", sysconf(_SC_NPROCESSORS_ONLN));
	batch = depth < 4 ? 1 : depth / 4;
	if (optind != argc - 2 || !bs || bs > size || bs > CHECKED_BYTES || size % 4096)
		errx(2, "usage: iocost [OPTIONS] NULLDISK DATADISK, with a block no larger than the buffer");
}

static unsigned long meminfo(const char *key)
{
	char name[64];
	unsigned long kib, found = 0;
	FILE *file = fopen("/proc/meminfo", "r");

	while (file && fscanf(file, "%63s %lu%*[^\n]", name, &kib) == 2)
		if (!strcmp(name, key))
			found = kib;
	if (file)
		fclose(file);
	return found << 10;
}

/* Requests that the disk has completed, by number. */
static unsigned long requests(const char *disk)
{
	char path[256], *copy = strdup(disk);
	unsigned long reads, write_requests;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/block/%s/stat", basename(copy));
	file = fopen(path, "r");
	if (!file || fscanf(file, "%lu %*u %*u %*u %lu", &reads, &write_requests) != 2)
		err(1, "%s", path);
	fclose(file);
	free(copy);
	return reads + write_requests;
}

/*
 * Gets all pages now, so that registering does not have to. In order, the
 * kernel hands out neighbours, more or less; by leaps, never.
 */
static void touch(void)
{
	size_t pages = size / 4096, leap = kind == SCATTERED ? 7919 : 1;

	for (size_t i = 0; i < pages; i++)
		*(volatile unsigned char *)(memory + i * leap % pages * 4096) = 0;
}

/* In how many runs of neighbours the pages lie, as the kernel says. */
static size_t count_runs(void)
{
	size_t pages = size / 4096, runs = 0;
	uint64_t entry, frame, last = 0;
	FILE *pagemap = fopen("/proc/self/pagemap", "r");

	if (!pagemap || fseek(pagemap, (uintptr_t)memory / 4096 * sizeof(entry), SEEK_SET))
		err(1, "/proc/self/pagemap");
	for (size_t i = 0; i < pages; i++, last = frame) {
		if (fread(&entry, sizeof(entry), 1, pagemap) != 1)
			err(1, "/proc/self/pagemap");
		frame = entry & ((1ULL << 55) - 1);
		if (!(entry >> 63) || !frame)
			errx(1, "/proc/self/pagemap does not say where page %zu is", i);
		runs += !i || frame != last + 1;
	}
	fclose(pagemap);
	return runs;
}

static void allocate(void)
{
	struct udmabuf_create create = { .size = size };
	int udmabuf;

	create.memfd = memfd_create("iocost", MFD_ALLOW_SEALING | (kind == HUGE ? MFD_HUGETLB : 0));
	if ((int)create.memfd < 0 || ftruncate(create.memfd, size) || fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		err(1, "memory of %zu bytes", size);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, create.memfd, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap of %zu bytes", size);
	touch();
	if (registration != DMABUF)
		return;
	udmabuf = open("/dev/udmabuf", O_RDWR);
	dmabuf = udmabuf < 0 ? -1 : ioctl(udmabuf, UDMABUF_CREATE, &create);
	if (dmabuf < 0)
		err(1, "udmabuf of %zu bytes", size);
}

static void register_user(void)
{
	struct iovec iov[MAX_SLOTS];
	size_t at, n = 0;
	int ret;

	for (at = 0; at < size && n < MAX_SLOTS; at += USER_SLOT, n++)
		iov[n] = (struct iovec){ memory + at, size - at < USER_SLOT ? size - at : USER_SLOT };
	ret = io_uring_register_buffers(&ring, iov, n);
	if (ret)
		errx(1, "registering user memory: %s", strerror(-ret));
}

static void register_dmabuf(unsigned int slot)
{
	struct io_uring_regbuf_desc desc = {
		.type = IO_REGBUF_TYPE_DMABUF, .dmabuf_fd = dmabuf, .target_fd = files[slot],
	};
	struct io_uring_rsrc_update2 update = {
		.offset = slot, .resv = IORING_RSRC_UPDATE_EXTENDED, .data = (uintptr_t)&desc, .nr = 1,
	};

	if (syscall(__NR_io_uring_register, ring.ring_fd, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update)) != 1)
		err(1, "registering the dma-buf");
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* The character device of a disk's namespace, for commands: /dev/ng0n1 of /dev/nvme0n1. */
static int open_commands(int i, const char *name)
{
	char path[64];
	int bytes, id;

	if (strncmp(name, "/dev/nvme", 9))
		errx(2, "%s: passthrough is for /dev/nvmeXnY", name);
	if (ioctl(files[i], BLKSSZGET, &bytes))
		err(1, "%s: block size", name);
	block_shift[i] = __builtin_ctz(bytes);
	id = ioctl(files[i], NVME_IOCTL_ID);
	if (id < 0)
		err(1, "%s: namespace", name);
	nsid[i] = id;
	snprintf(path, sizeof(path), "/dev/ng%s", name + 9);
	id = open(path, O_RDWR);
	if (id < 0)
		err(1, "%s", path);
	return id;
}

/* A file that has been written and lies in one piece: a block of it is one command. */
static void make_file(const char *path)
{
	const size_t piece = 4 << 20;
	struct fiemap map = { .fm_length = CHECKED_BYTES, .fm_flags = FIEMAP_FLAG_SYNC };
	unsigned char *zeroes = aligned_alloc(4096, piece);
	int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);

	if (!zeroes || file < 0 || fallocate(file, 0, 0, CHECKED_BYTES))
		err(1, "%s", path);
	memset(zeroes, 0, piece);
	for (size_t pos = 0; pos < CHECKED_BYTES; pos += piece)
		if (pwrite(file, zeroes, piece, pos) != (ssize_t)piece)
			err(1, "%s", path);
	if (fsync(file) || ioctl(file, FS_IOC_FIEMAP, &map))
		err(1, "%s", path);
	if (map.fm_mapped_extents != 1)
		errx(1, "%s lies in %u pieces", path, map.fm_mapped_extents);
	free(zeroes);
	close(file);
}

static void set_up(char **disks)
{
	struct io_uring_params params = { .flags = iopoll ? IORING_SETUP_IOPOLL : 0 };
	int ret;

	for (int i = 0; i < 2; i++) {
		const char *name = disks[i];
		char path[256];

		if (mounted) {
			snprintf(path, sizeof(path), "%s/%d", mounted, i);
			make_file(path);
			name = path;
		}
		disk = files[i] = open(name, O_RDWR | O_DIRECT);
		if (files[i] < 0)
			err(1, "%s", name);
		if (through == PASSTHRU)
			files[i] = open_commands(i, disks[i]);
	}
	if (through == PASSTHRU)
		params.flags |= IORING_SETUP_SQE128 | IORING_SETUP_CQE32;
	buffered = open(disks[0], O_RDONLY);
	ret = io_uring_queue_init_params(MAX_DEPTH, &ring, &params);
	if (!ret)
		ret = io_uring_register_files(&ring, files, 2);
	if (!ret && registration == DMABUF)
		ret = io_uring_register_buffers_sparse(&ring, 2);
	if (ret)
		errx(1, "io_uring: %s", strerror(-ret));
}

static void prepare_command(unsigned int file, bool write, size_t offset, uint64_t pos, uint64_t number)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	struct nvme_uring_cmd *cmd;
	uint64_t block = pos >> block_shift[file];

	if (!sqe)
		errx(1, "the ring is full");
	cmd = (struct nvme_uring_cmd *)sqe->cmd;
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->fd = file;
	sqe->user_data = number;
	sqe->buf_index = registration == DMABUF ? file : registration == USER ? offset / USER_SLOT : 0;
	sqe->cmd_op = NVME_URING_CMD_IO;
	sqe->uring_cmd_flags = registration == NONE ? 0 : IORING_URING_CMD_FIXED;
	cmd->opcode = write ? 1 : 2;
	cmd->nsid = nsid[file];
	cmd->addr = registration == DMABUF ? offset : (uintptr_t)memory + offset;
	cmd->data_len = bs;
	cmd->cdw10 = block;
	cmd->cdw11 = block >> 32;
	cmd->cdw12 = (bs >> block_shift[file]) - 1;
}

static void prepare_rw(unsigned int file, bool write, size_t offset, uint64_t pos, uint64_t number)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	int op = registration == NONE ? (write ? IORING_OP_WRITE : IORING_OP_READ) :
					(write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED);

	io_uring_prep_rw(op, sqe, file, registration == DMABUF ? (void *)offset : memory + offset, bs, pos);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->user_data = number;
	sqe->buf_index = registration == DMABUF ? file : registration == USER ? offset / USER_SLOT : 0;
}

/* The i-th place in the buffer, a block; no two in a row are neighbours. */
static size_t offset_of(uint32_t i)
{
	size_t blocks = size / bs;

	switch (place) {
	case FIRST: return 0;
	case LAST: return (blocks - 1) * bs;
	default: return (i * 2654435761u >> 8) % blocks * bs;
	}
}

static void cpu_access(unsigned long end)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_RW | end };

	if (dmabuf >= 0 && ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync))
		err(1, "DMA_BUF_IOCTL_SYNC");
}

static void one(bool write, size_t offset, uint64_t pos)
{
	struct io_uring_cqe *cqe;
	int ret;

	if (through == PASSTHRU)
		prepare_command(1, write, offset, pos, 0);
	else
		prepare_rw(1, write, offset, pos, 0);
	io_uring_submit(&ring);
	while ((ret = io_uring_wait_cqe(&ring, &cqe)) == -EINTR || ret == -EAGAIN)
		;
	if (ret || cqe->res != (through == PASSTHRU ? 0 : (int)bs))
		errx(1, "verifying: I/O at %zu returned %d", offset, ret ?: cqe->res);
	io_uring_cqe_seen(&ring, cqe);
}

static void same(const void *got, const void *want, const char *what, size_t offset)
{
	if (memcmp(got, want, bs))
		errx(1, "verifying: the %s at %zu of the buffer moved other bytes", what, offset);
}

/* Both directions, against pwrite() and pread(). */
static void verify(void)
{
	unsigned char *bounce = aligned_alloc(4096, (bs + 4095) / 4096 * 4096), *want = malloc(bs);

	if (!bounce || !want)
		err(1, "memory");
	for (uint32_t i = 0; i < NR_CHECKS; i++) {
		size_t offset = offset_of(i);
		uint64_t pos = i * bs % CHECKED_BYTES;

		for (size_t byte = 0; byte < bs; byte++)
			want[byte] = (byte >> 9) * 7 + byte * 13 + i * 31;
		memcpy(bounce, want, bs);
		if (pwrite(disk, bounce, bs, pos) != (ssize_t)bs)
			err(1, "pwrite");
		cpu_access(DMA_BUF_SYNC_START);
		memset(memory + offset, 0xa5, bs);
		cpu_access(DMA_BUF_SYNC_END);
		one(false, offset, pos);
		cpu_access(DMA_BUF_SYNC_START);
		same(memory + offset, want, "read", offset);
		for (size_t byte = 0; byte < bs; byte++)
			memory[offset + byte] = ~want[byte];
		cpu_access(DMA_BUF_SYNC_END);
		one(true, offset, pos);
		if (pread(disk, bounce, bs, pos) != (ssize_t)bs)
			err(1, "pread");
		same(bounce, memory + offset, "write", offset);
	}
	free(bounce);
	free(want);
}

typedef void prepare_fn(unsigned int file, bool write, size_t offset, uint64_t pos, uint64_t number);

/* The i-th I/O of a stretch. */
static inline void prepare_nth(prepare_fn prepare, unsigned long i)
{
	prepare(0, writes, offset_of(i), (i * 2654435761u) % (span / bs) * bs, i);
}

/* Whether it is done; if it is to be tried again, that is prepared. */
static inline bool completed(prepare_fn prepare, int full, const struct io_uring_cqe *cqe)
{
	if (cqe->res == full)
		return true;
	if (cqe->res != -EAGAIN)
		errx(1, "an I/O returned %d", cqe->res);
	nr_again++;
	prepare_nth(prepare, cqe->user_data);
	return false;
}

/* As programs without io_uring do. */
static void stretch_aio(unsigned long ios)
{
	struct iocb iocbs[MAX_DEPTH], *list[MAX_DEPTH];
	struct io_event events[MAX_DEPTH];
	static aio_context_t context;
	unsigned long done = 0;

	if (!context && syscall(__NR_io_setup, MAX_DEPTH, &context))
		err(1, "io_setup");
	while (done < ios) {
		long n = ios - done < depth ? ios - done : depth, got = 0;

		for (long i = 0; i < n; i++) {
			iocbs[i] = (struct iocb){
				.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = files[0], .aio_nbytes = bs,
				.aio_buf = (uintptr_t)memory + offset_of(done + i),
				.aio_offset = ((done + i) * 2654435761u) % (span / bs) * bs,
			};
			list[i] = &iocbs[i];
		}
		if (syscall(__NR_io_submit, context, n, list) != n)
			err(1, "io_submit");
		while (got < n)
			got += syscall(__NR_io_getevents, context, n - got, n - got, events + got, NULL);
		for (long i = 0; i < n; i++)
			if (events[i].res != (long long)bs)
				errx(1, "an I/O returned %lld", (long long)events[i].res);
		done += n;
	}
}

/* From start to end through the page cache, going on where the last one ended. */
static void stretch_buffered(unsigned long ios)
{
	static uint64_t pos;

	for (unsigned long i = 0; i < ios; i++, pos += bs)
		if (pread(buffered, memory + offset_of(i), bs, pos) != (ssize_t)bs)
			err(1, "pread");
}

/* Inline, so that neither kind of I/O pays for there being another; @full: of cqe->res, when it is done. */
static inline __attribute__((always_inline)) void stretch_uring(unsigned long ios, prepare_fn prepare, int full)
{
	unsigned long sent = 0, done = 0;
	struct io_uring_cqe *cqes[MAX_DEPTH];

	while (done < ios) {
		while (sent < ios && sent - done <= depth - batch) {
			for (unsigned int i = 0; i < batch && sent < ios; i++, sent++)
				prepare_nth(prepare, sent);
			io_uring_submit(&ring);
		}
		io_uring_wait_cqe_nr(&ring, cqes, ios - done < batch ? ios - done : batch);
		unsigned int n = io_uring_peek_batch_cqe(&ring, cqes, MAX_DEPTH);

		for (unsigned int i = 0; i < n; i++)
			done += completed(prepare, full, cqes[i]);
		io_uring_cq_advance(&ring, n);
		if (nr_again)
			io_uring_submit(&ring);
	}
}

static void stretch(unsigned long ios)
{
	switch (through) {
	case URING: return stretch_uring(ios, prepare_rw, bs);
	case PASSTHRU: return stretch_uring(ios, prepare_command, 0);
	case AIO: return stretch_aio(ios);
	case BUFFERED: return stretch_buffered(ios);
	}
}

static void child_ended(int signal)
{
	int status;

	(void)signal;
	while (waitpid(-1, &status, WNOHANG) > 0)
		if (status)
			_exit(1);
}

static unsigned long self;	/* which of the processes, and where; 0 measures */
static struct {
	pthread_barrier_t all;
	_Atomic unsigned long nr_again;	/* of the others */
} *meeting;	/* NULL: there is one */

static void meet(void)
{
	if (meeting)
		pthread_barrier_wait(&meeting->all);
}

static void start_others(void)
{
	pthread_barrierattr_t attr;

	meeting = mmap(NULL, sizeof(*meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (meeting == MAP_FAILED || pthread_barrierattr_init(&attr) || pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) ||
	    pthread_barrier_init(&meeting->all, &attr, processors))
		errx(1, "no barrier");
	signal(SIGCHLD, child_ended);
	while (++self < processors) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			signal(SIGCHLD, SIG_DFL);
			return;
		}
	}
	self = 0;
}

static void stay(void)
{
	cpu_set_t there;

	CPU_ZERO(&there);
	CPU_SET(self, &there);
	if (sched_setaffinity(0, sizeof(there), &there))
		err(1, "processor %lu", self);
}

int main(int argc, char **argv)
{
	unsigned long before, commands, available, ios, runs;
	uint64_t start, took, window;

	parse(argc, argv);
	ios = count * (processors ?: 1);
	allocate();
	runs = count_runs();
	if (processors > 1)
		start_others();
	if (processors)
		stay();
	set_up(argv + optind);
	available = meminfo("MemAvailable:");
	start = now_ns();
	if (registration == USER)
		register_user();
	else if (registration == DMABUF)
		register_dmabuf(0);
	took = now_ns() - start;
	available -= meminfo("MemAvailable:");
	if (registration == DMABUF)
		register_dmabuf(1);
	/* all read into the same memory */
	if (!self)
		verify();
	meet();
	stretch(4 * MAX_DEPTH);
	if (mounted && syncfs(disk))	/* what the file system has still to say */
		err(1, "%s", mounted);

	nr_again = 0;
	meet();
	if (self) {
		meet();
		stretch(count);
		meeting->nr_again += nr_again;
		meet();
		return 0;
	}
	before = requests(argv[optind]);
	window = now_ns();
	asm volatile(".byte 0x0f, 0x1f, 0x80, 0x01, 0x4d, 0x42, 0x7a" ::: "memory");
	meet();
	stretch(count);
	meet();
	asm volatile(".byte 0x0f, 0x1f, 0x80, 0x02, 0x4d, 0x42, 0x7a" ::: "memory");
	window = now_ns() - window;
	nr_again += meeting ? meeting->nr_again : 0;
	/* of the disk's own statistics, which leave passthrough out: there each is one command */
	commands = through == PASSTHRU ? ios : requests(argv[optind]) - before;

	printf("{\"ios\": %lu, \"commands\": %lu, \"eagain\": %lu, \"window_ns\": %lu, \"verified\": %u, \"register_ns\": %lu, "
	       "\"register_bytes\": %ld, \"pages\": %zu, \"runs\": %lu}\n",
	       ios, commands, nr_again, window, NR_CHECKS, took, (long)available, size / 4096, runs);
	/* a ring that is left to exit() keeps the memory for a while after */
	if (registration != NONE && io_uring_unregister_buffers(&ring))
		errx(1, "unregistering");
	return 0;
}
