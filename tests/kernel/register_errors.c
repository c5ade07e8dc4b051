// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every way to be refused by the extended form of IORING_REGISTER_BUFFERS_UPDATE,
 * with the errno that it is documented to give; and that a refusal changes nothing.
 */
#include "helpers.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SLOTS		4
#define KEPT		0	/* holds a dma-buf that no refusal may disturb */
#define VICTIM		1
#define DMABUF		.type = IO_REGBUF_TYPE_DMABUF
#define VALID		DMABUF, .dmabuf_fd = F_DMABUF, .target_fd = F_TARGET

/* Stand for descriptors that exist only at run time. */
enum { F_DMABUF = 1 << 24, F_TARGET, F_RING, F_MEMFD, F_PATH, F_BUFFERED,
       F_FILE, F_PIPE, F_ZERO, F_SOCKET, F_NULLB, F_END };

static int fds[F_END - F_DMABUF];
static struct t_disk disk;
static struct t_buf buf;
static struct t_ring ring;
static char user_page[4096] __attribute__((aligned(4096)));

#define USER_PAGE 0xfeed	/* stands for the address of user_page */

struct row {
	const char *name;
	struct io_uring_regbuf_desc desc;
	uint64_t tag;
	int want;
};

static const struct row rows[] = {
	{ "valid", { VALID }, 0, 1 },
	{ "valid, with a tag", { VALID }, 77, 1 },

	{ "desc.flags bit 0", { VALID, .flags = 1 }, 0, -EINVAL },
	{ "desc.flags bit 31", { VALID, .flags = 1U << 31 }, 0, -EINVAL },
	{ "desc.__resv[0]", { VALID, .__resv[0] = 1 }, 0, -EINVAL },
	{ "desc.__resv[1]", { VALID, .__resv[1] = 1 }, 0, -EINVAL },
	{ "desc.__resv[2]", { VALID, .__resv[2] = 1 }, 0, -EINVAL },
	{ "desc.__resv[3]", { VALID, .__resv[3] = 1 }, 0, -EINVAL },
	{ "desc.__resv[4]", { VALID, .__resv[4] = 1 }, 0, -EINVAL },
	{ "desc.__resv[5], top byte", { VALID, .__resv[5] = 1ULL << 63 }, 0, -EINVAL },
	{ "type 3", { .type = IO_REGBUF_TYPE_MAX }, 0, -EINVAL },
	{ "type 2^32-1", { .type = ~0U }, 0, -EINVAL },
	{ "dma-buf with a size", { VALID, .size = 4096 }, 0, -EINVAL },
	{ "dma-buf with an address", { VALID, .uaddr = 4096 }, 0, -EINVAL },

	{ "probe: both descriptors -1", { DMABUF, .dmabuf_fd = -1, .target_fd = -1 }, 0, -EBADF },
	{ "dma-buf descriptor -1", { DMABUF, .dmabuf_fd = -1, .target_fd = F_TARGET }, 0, -EBADF },
	{ "target descriptor -1", { DMABUF, .dmabuf_fd = F_DMABUF, .target_fd = -1 }, 0, -EBADF },
	{ "target is looked up first", { DMABUF, .dmabuf_fd = F_RING, .target_fd = -1 }, 0, -EBADF },
	{ "target opened O_PATH", { DMABUF, .dmabuf_fd = F_DMABUF, .target_fd = F_PATH }, 0, -EBADF },
	{ "ring as dma-buf", { DMABUF, .dmabuf_fd = F_RING, .target_fd = F_TARGET }, 0, -EINVAL },
	{ "memfd as dma-buf", { DMABUF, .dmabuf_fd = F_MEMFD, .target_fd = F_TARGET }, 0, -EINVAL },
	{ "disk as dma-buf", { DMABUF, .dmabuf_fd = F_TARGET, .target_fd = F_TARGET }, 0, -EINVAL },

	{ "buffered disk as target", { DMABUF, .dmabuf_fd = F_DMABUF, .target_fd = F_BUFFERED }, 0, -EINVAL },
	{ "regular file as target", { DMABUF, .dmabuf_fd = F_DMABUF, .target_fd = F_FILE }, 0, -EOPNOTSUPP },
	{ "pipe as target", { DMABUF, .dmabuf_fd = F_DMABUF, .target_fd = F_PIPE }, 0, -EOPNOTSUPP },
	{ "socket as target", { DMABUF, .dmabuf_fd = F_DMABUF, .target_fd = F_SOCKET }, 0, -EOPNOTSUPP },
	{ "/dev/zero as target", { DMABUF, .dmabuf_fd = F_DMABUF, .target_fd = F_ZERO }, 0, -EOPNOTSUPP },
	{ "ring as target", { DMABUF, .dmabuf_fd = F_DMABUF, .target_fd = F_RING }, 0, -EOPNOTSUPP },
	{ "dma-buf as target", { DMABUF, .dmabuf_fd = F_DMABUF, .target_fd = F_DMABUF }, 0, -EOPNOTSUPP },
	{ "null_blk as target", { DMABUF, .dmabuf_fd = F_DMABUF, .target_fd = F_NULLB }, 0, -EOPNOTSUPP },

	{ "user memory", { .type = IO_REGBUF_TYPE_UADDR, .uaddr = USER_PAGE, .size = 4096 }, 0, 1 },
	{ "user memory, with a tag", { .type = IO_REGBUF_TYPE_UADDR, .uaddr = USER_PAGE, .size = 4096 }, 78, 1 },
	{ "user memory with desc.flags", { .type = IO_REGBUF_TYPE_UADDR, .uaddr = USER_PAGE, .size = 4096, .flags = 1 }, 0, -EINVAL },
	{ "user memory with __resv", { .type = IO_REGBUF_TYPE_UADDR, .uaddr = USER_PAGE, .size = 4096, .__resv[3] = 1 }, 0, -EINVAL },
	{ "user memory with a dma-buf", { .type = IO_REGBUF_TYPE_UADDR, .uaddr = USER_PAGE, .size = 4096, .dmabuf_fd = 1 }, 0, -EINVAL },
	{ "user memory with a target", { .type = IO_REGBUF_TYPE_UADDR, .uaddr = USER_PAGE, .size = 4096, .target_fd = 1 }, 0, -EINVAL },
	{ "user memory with dma-buf -1", { .type = IO_REGBUF_TYPE_UADDR, .uaddr = USER_PAGE, .size = 4096, .dmabuf_fd = -1 }, 0, -EINVAL },
	{ "user memory that is not mapped", { .type = IO_REGBUF_TYPE_UADDR, .uaddr = 4096, .size = 4096 }, 0, -EFAULT },
	{ "user memory at NULL", { .type = IO_REGBUF_TYPE_UADDR, .size = 4096 }, 0, -EFAULT },

	{ "empty", { .type = IO_REGBUF_TYPE_EMPTY }, 0, 1 },
	{ "empty with an address", { .type = IO_REGBUF_TYPE_EMPTY, .uaddr = 1 }, 0, -EFAULT },
	{ "empty with a size", { .type = IO_REGBUF_TYPE_EMPTY, .size = 1 }, 0, -EFAULT },
	{ "empty with a tag", { .type = IO_REGBUF_TYPE_EMPTY }, 79, -EINVAL },
	{ "empty with a dma-buf", { .type = IO_REGBUF_TYPE_EMPTY, .dmabuf_fd = 1 }, 0, -EINVAL },
	{ "empty with a target", { .type = IO_REGBUF_TYPE_EMPTY, .target_fd = 1 }, 0, -EINVAL },
	{ "empty with desc.flags", { .type = IO_REGBUF_TYPE_EMPTY, .flags = 2 }, 0, -EINVAL },
	{ "empty with __resv", { .type = IO_REGBUF_TYPE_EMPTY, .__resv[5] = 1 }, 0, -EINVAL },
};

static void open_fds(void)
{
	char file[] = "/tmp/dmabuf-test-XXXXXX";
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC))
		t_die("pipe: %m");
	fds[F_DMABUF - F_DMABUF] = buf.fd;
	fds[F_TARGET - F_DMABUF] = t_open(t_dev, O_RDWR | O_DIRECT);
	fds[F_RING - F_DMABUF] = ring.uring.ring_fd;
	fds[F_MEMFD - F_DMABUF] = buf.memfd;
	fds[F_PATH - F_DMABUF] = t_open(t_dev, O_PATH);
	fds[F_BUFFERED - F_DMABUF] = t_open(t_dev, O_RDWR);
	fds[F_FILE - F_DMABUF] = mkstemp(file);
	unlink(file);
	fds[F_PIPE - F_DMABUF] = pipes[0];
	fds[F_ZERO - F_DMABUF] = t_open("/dev/zero", O_RDWR);
	fds[F_SOCKET - F_DMABUF] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fds[F_NULLB - F_DMABUF] = open("/dev/nullb0", O_RDWR | O_DIRECT | O_CLOEXEC);
}

static int fd_of(int fd)
{
	return fd < F_DMABUF ? fd : fds[fd - F_DMABUF];
}

/* What was registered before the refusal is there after it. */
static enum t_result undisturbed(unsigned int slot)
{
	struct t_io io = { .fd = fds[F_TARGET - F_DMABUF], .slot = slot };

	return t_check_read(&ring, io, &disk, &buf, 4096, 8192, 12288);
}

static int update_row(const struct row *row)
{
	struct io_uring_regbuf_desc desc = row->desc;

	desc.dmabuf_fd = fd_of(desc.dmabuf_fd);
	desc.target_fd = fd_of(desc.target_fd);
	if (desc.uaddr == USER_PAGE)
		desc.uaddr = (uintptr_t)user_page;
	return t_update(&ring, VICTIM, IORING_RSRC_UPDATE_EXTENDED, &desc, 1,
			row->tag ? &row->tag : NULL);
}

static enum t_result run_row(const struct row *row)
{
	uint64_t tag;

	if (fd_of(row->desc.target_fd) < 0 && row->desc.target_fd == F_NULLB)
		return t_skip("/dev/nullb0: no such disk (CONFIG_BLK_DEV_NULL_BLK)");
	T_IS(t_register(&ring, VICTIM, buf.fd, fds[F_TARGET - F_DMABUF], 0), 1,
	     "register");
	T_IS(update_row(row), row->want, "update");
	if (row->want < 0)
		T_TRY(undisturbed(VICTIM));
	T_IS(t_clear(&ring, VICTIM), 1, "clear");
	if (row->want == 1 && row->tag) {
		T_IS(t_reap(&ring, &tag), 0, "result of the tag");
		T_IS(tag, row->tag, "tag");
	}
	return undisturbed(KEPT);
}

/* The update itself, not its descriptors. */
static enum t_result update_flags(void)
{
	struct io_uring_regbuf_desc desc = { .type = IO_REGBUF_TYPE_EMPTY };
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		if (1U << bit == IORING_RSRC_UPDATE_EXTENDED)
			continue;
		T_IS(t_update(&ring, VICTIM, 1U << bit, &desc, 1, NULL), -EINVAL, "flag alone");
		T_IS(t_update(&ring, VICTIM, 1U << bit | IORING_RSRC_UPDATE_EXTENDED, &desc, 1, NULL),
		     -EINVAL, "flag beside EXTENDED");
	}
	return undisturbed(KEPT);
}

static enum t_result update_shape(void)
{
	struct io_uring_regbuf_desc desc = { .type = IO_REGBUF_TYPE_EMPTY };
	struct {
		struct io_uring_rsrc_update2 update;
		uint64_t more;
	} arg = { .update = { .resv = IORING_RSRC_UPDATE_EXTENDED, .data = (uintptr_t)&desc, .nr = 1 } };
	int fd = ring.uring.ring_fd;

	arg.update.resv2 = 1;
	T_IS(t_io_uring_register(fd, IORING_REGISTER_BUFFERS_UPDATE, &arg, sizeof(arg.update)), -EINVAL, "resv2");
	arg.update.resv2 = 0;
	T_IS(t_io_uring_register(fd, IORING_REGISTER_BUFFERS_UPDATE, &arg, sizeof(arg.update) - 8), -EINVAL, "short");
	T_IS(t_io_uring_register(fd, IORING_REGISTER_BUFFERS_UPDATE, &arg, sizeof(arg)), -EINVAL, "long");
	T_IS(t_io_uring_register(fd, IORING_REGISTER_BUFFERS_UPDATE, (void *)8, sizeof(arg.update)), -EFAULT, "not mapped");
	T_IS(t_update(&ring, VICTIM, IORING_RSRC_UPDATE_EXTENDED, &desc, 0, NULL), -EINVAL, "nr 0");
	return undisturbed(KEPT);
}

static enum t_result update_range(void)
{
	struct io_uring_regbuf_desc descs[2] = { };
	struct t_ring bare;

	T_IS(t_update(&ring, SLOTS, IORING_RSRC_UPDATE_EXTENDED, descs, 1, NULL), -EINVAL, "first slot past the table");
	T_IS(t_update(&ring, SLOTS - 1, IORING_RSRC_UPDATE_EXTENDED, descs, 2, NULL), -EINVAL, "across its end");
	T_IS(t_update(&ring, ~0U, IORING_RSRC_UPDATE_EXTENDED, descs, 1, NULL), -EOVERFLOW, "offset + nr wraps");
	T_IS(t_update(&ring, 1, IORING_RSRC_UPDATE_EXTENDED, descs, ~0U, NULL), -EOVERFLOW, "nr + offset wraps");
	t_ring_init(&bare, T_PLAIN, 1, 0);
	T_IS(t_update(&bare, 0, IORING_RSRC_UPDATE_EXTENDED, descs, 1, NULL), -ENXIO, "ring without a table");
	t_ring_exit(&bare);
	return undisturbed(KEPT);
}

/* The last bytes before a page that faults. */
static void *edge(size_t len)
{
	const size_t size = sysconf(_SC_PAGESIZE);
	static char *page;

	if (!page) {
		page = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (page == MAP_FAILED || mprotect(page + size, size, PROT_NONE))
			t_die("two pages: %m");
	}
	return page + size - len;
}

static enum t_result faults(void)
{
	const struct io_uring_regbuf_desc valid = {
		DMABUF, .dmabuf_fd = buf.fd, .target_fd = fds[F_TARGET - F_DMABUF],
	};
	struct io_uring_regbuf_desc descs[2] = { valid, valid };
	uint64_t tag;
	size_t cut;

	T_IS(t_register(&ring, VICTIM, buf.fd, valid.target_fd, 0), 1, "register");
	T_IS(t_register(&ring, VICTIM + 1, buf.fd, valid.target_fd, 0), 1, "register");
	T_IS(t_update(&ring, VICTIM, IORING_RSRC_UPDATE_EXTENDED, NULL, 1, NULL), -EFAULT, "no descriptors");
	T_IS(t_update(&ring, VICTIM, IORING_RSRC_UPDATE_EXTENDED, (void *)-4096L, 1, NULL), -EFAULT, "kernel address");
	for (cut = 8; cut < sizeof(valid); cut += 8) {
		memcpy(edge(cut), &valid, cut);
		T_IS(t_update(&ring, VICTIM, IORING_RSRC_UPDATE_EXTENDED, edge(cut), 1, NULL), -EFAULT, "descriptor over a page edge");
	}
	memcpy(edge(sizeof(valid)), &valid, sizeof(valid));
	T_IS(t_update(&ring, VICTIM, IORING_RSRC_UPDATE_EXTENDED, edge(sizeof(valid)), 1, NULL), 1, "descriptor up to the edge");
	T_IS(t_update(&ring, VICTIM, IORING_RSRC_UPDATE_EXTENDED, edge(sizeof(valid)), 2, NULL), 1, "second descriptor past it");
	T_TRY(undisturbed(VICTIM + 1));
	T_IS(t_update(&ring, VICTIM, IORING_RSRC_UPDATE_EXTENDED, descs, 1, (void *)8), -EFAULT, "tags not mapped");
	T_IS(t_update(&ring, VICTIM, IORING_RSRC_UPDATE_EXTENDED, descs, 1, edge(4)), -EFAULT, "tag over a page edge");
	*(uint64_t *)edge(8) = 91;
	T_IS(t_update(&ring, VICTIM, IORING_RSRC_UPDATE_EXTENDED, descs, 2, edge(8)), 1, "second tag past it");
	T_TRY(undisturbed(VICTIM));
	T_TRY(undisturbed(VICTIM + 1));
	T_IS(t_clear(&ring, VICTIM), 1, "clear");
	T_IS(t_clear(&ring, VICTIM + 1), 1, "clear");
	T_IS(t_reap(&ring, &tag), 0, "result of the tag");
	T_IS(tag, 91, "tag");
	return T_PASS;
}

/* Entries before the failing one are done, it and those after it are not. */
static enum t_result partial(void)
{
	struct io_uring_regbuf_desc descs[3] = {
		{ .type = IO_REGBUF_TYPE_EMPTY },
		{ DMABUF, .dmabuf_fd = -1, .target_fd = fds[F_TARGET - F_DMABUF] },
		{ .type = IO_REGBUF_TYPE_EMPTY },
	};
	struct t_io io = { .fd = fds[F_TARGET - F_DMABUF], .slot = VICTIM, .len = 4096 };
	int i;

	for (i = 0; i < 3; i++)
		T_IS(t_register(&ring, VICTIM + i, buf.fd, io.fd, 0), 1, "register");
	T_IS(t_update(&ring, VICTIM, IORING_RSRC_UPDATE_EXTENDED, descs, 3, NULL), 1, "update of three");
	T_IS(t_rw(&ring, &io), -EFAULT, "I/O to the slot before");
	T_TRY(undisturbed(VICTIM + 1));
	T_TRY(undisturbed(VICTIM + 2));
	descs[1].type = IO_REGBUF_TYPE_MAX;
	T_IS(t_update(&ring, VICTIM + 1, IORING_RSRC_UPDATE_EXTENDED, descs + 1, 2, NULL), -EINVAL, "first of two fails");
	T_TRY(undisturbed(VICTIM + 1));
	for (i = 1; i < 3; i++)
		T_IS(t_clear(&ring, VICTIM + i), 1, "clear");
	return undisturbed(KEPT);
}

/* The word that carries the flag is reserved in every sister call. */
static enum t_result files_update(void)
{
	int fd = fds[F_TARGET - F_DMABUF], cleared = -1;
	struct io_uring_rsrc_update2 update = { .data = (uintptr_t)&fd, .nr = 1 };
	struct io_uring_rsrc_update legacy = { .data = (uintptr_t)&fd };
	struct io_uring_sqe *sqe;
	int ring_fd = ring.uring.ring_fd;
	unsigned int bit;

	T_IS(io_uring_register_files_sparse(&ring.uring, 2), 0, "sparse files");
	for (bit = 0; bit < 32; bit++) {
		update.resv = legacy.resv = 1U << bit;
		T_IS(t_io_uring_register(ring_fd, IORING_REGISTER_FILES_UPDATE2, &update, sizeof(update)), -EINVAL, "FILES_UPDATE2 with a flag");
		T_IS(t_io_uring_register(ring_fd, IORING_REGISTER_FILES_UPDATE, &legacy, 1), -EINVAL, "FILES_UPDATE with a flag");
	}
	update.resv = legacy.resv = 0;
	T_IS(t_io_uring_register(ring_fd, IORING_REGISTER_FILES_UPDATE2, &update, sizeof(update)), 1, "FILES_UPDATE2");
	T_IS(t_io_uring_register(ring_fd, IORING_REGISTER_FILES_UPDATE, &legacy, 1), 1, "FILES_UPDATE");
	sqe = io_uring_get_sqe(&ring.uring);
	io_uring_prep_files_update(sqe, &cleared, 1, 0);
	t_submit(&ring);
	T_IS(t_reap(&ring, NULL), 1, "IORING_OP_FILES_UPDATE");
	T_IS(io_uring_unregister_files(&ring.uring), 0, "unregister files");
	return undisturbed(KEPT);
}

static enum t_result sister_calls(void)
{
	struct io_uring_regbuf_desc desc = { .type = IO_REGBUF_TYPE_EMPTY };
	struct io_uring_rsrc_register reg = {
		.nr = 1, .flags = IORING_RSRC_UPDATE_EXTENDED, .data = (uintptr_t)&desc,
	};
	struct t_ring bare;

	t_ring_init(&bare, T_PLAIN, 1, 0);
	T_IS(t_io_uring_register(bare.uring.ring_fd, IORING_REGISTER_BUFFERS2, &reg, sizeof(reg)), -EINVAL, "BUFFERS2 with EXTENDED");
	t_ring_exit(&bare);
	return T_PASS;
}

static enum t_result legacy_update(void)
{
	struct iovec iovs[2] = { { user_page, 4096 }, { user_page, 2048 } };
	struct t_io io = { .fd = fds[F_TARGET - F_DMABUF], .slot = VICTIM, .addr = (uintptr_t)user_page, .len = 4096 };
	uint64_t tags[2] = { 81, 82 }, tag;
	struct iovec none = { NULL, 0 };

	T_IS(t_update(&ring, VICTIM, 0, iovs, 2, tags), 2, "two iovecs");
	T_IS(t_rw(&ring, &io), 4096, "read");
	T_CHECK(t_same("legacy read", user_page, disk.image, 4096), "wrong data");
	T_IS(t_update(&ring, VICTIM, 0, &none, 1, tags), -EINVAL, "empty iovec with a tag");
	T_IS(t_update(&ring, VICTIM, 0, &none, 1, NULL), 1, "empty iovec clears");
	T_IS(t_reap(&ring, &tag), 0, "result of the tag");
	T_IS(tag, 81, "tag");
	T_IS(t_rw(&ring, &io), -EFAULT, "I/O to the cleared slot");
	T_IS(t_clear(&ring, VICTIM + 1), 1, "the extended form clears an iovec's slot");
	T_IS(t_reap(&ring, &tag), 0, "result of the tag");
	T_IS(tag, 82, "tag");
	return undisturbed(KEPT);
}

/* The extended form registers user memory that works. */
static enum t_result extended_user(void)
{
	struct io_uring_regbuf_desc desc = {
		.type = IO_REGBUF_TYPE_UADDR, .uaddr = (uintptr_t)user_page, .size = 4096,
	};
	struct t_io io = { .fd = fds[F_BUFFERED - F_DMABUF], .slot = VICTIM, .addr = desc.uaddr, .len = 4096 };

	memset(user_page, 0, sizeof(user_page));
	T_IS(t_update(&ring, VICTIM, IORING_RSRC_UPDATE_EXTENDED, &desc, 1, NULL), 1, "update");
	T_IS(t_rw(&ring, &io), 4096, "read");
	T_CHECK(t_same("read", user_page, disk.image, 4096), "wrong data");
	T_IS(t_clear(&ring, VICTIM), 1, "clear");
	return T_PASS;
}

/* A ring that holds itself by a socket would never be freed; what it holds does pass. */
static enum t_result passed_on(void)
{
	int target, dmabuf;

	T_IS(t_through_socket(ring.uring.ring_fd), -EINVAL, "a ring with a dma-buf, by SCM_RIGHTS");
	target = t_through_socket(fds[F_TARGET - F_DMABUF]);
	dmabuf = t_through_socket(buf.fd);
	T_CHECK(target >= 0 && dmabuf >= 0, "SCM_RIGHTS: %s, %s", t_number(target), t_number(dmabuf));
	T_IS(t_register(&ring, VICTIM, dmabuf, target, 0), 1, "register what came through a socket");
	close(target);
	close(dmabuf);
	T_TRY(undisturbed(VICTIM));
	T_IS(t_clear(&ring, VICTIM), 1, "clear");
	return undisturbed(KEPT);
}

static long pinned(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[256];
	long kib = -1;

	while (status && fgets(line, sizeof(line), status))
		sscanf(line, "VmPin: %ld", &kib);
	if (status)
		fclose(status);
	return kib;
}

/* Returns the number of the step that failed. */
static int unlocked(void)
{
	const struct rlimit none = { 0, 0 };
	const long page = sysconf(_SC_PAGESIZE) / 1024;
	struct t_ring own;
	long before;

	if (setresuid(65534, 65534, 65534))
		return 1;
	t_ring_init(&own, T_PLAIN, 4, 3);
	before = pinned();
	if (t_register_user(&own, 0, user_page, sizeof(user_page), 0) != 1 || pinned() != before + page)
		return 2;
	if (t_register(&own, 1, buf.fd, fds[F_TARGET - F_DMABUF], 0) != 1 || pinned() != before + page)
		return 3;
	if (setrlimit(RLIMIT_MEMLOCK, &none) || t_register_user(&own, 2, user_page, sizeof(user_page), 0) != -ENOMEM)
		return 4;
	if (t_register(&own, 2, buf.fd, fds[F_TARGET - F_DMABUF], 0) != 1)
		return 5;
	if (t_clear(&own, 1) != 1 || t_clear(&own, 2) != 1 || pinned() != before + page)
		return 6;
	if (t_clear(&own, 0) != 1 || pinned() != before)
		return 7;
	return 0;
}

/* Of user memory what is registered counts as locked, for who may not lock without limit; of a dma-buf nothing does. */
static enum t_result memlock(void)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(unlocked());
	T_IS(waitpid(pid, &status, 0), pid, "wait");
	T_IS(status, 0, "status of the child");
	return undisturbed(KEPT);
}

static const struct {
	const char *name;
	enum t_result (*run)(void);
} tests[] = {
	{ "every flag bit of the update", update_flags },
	{ "size, nr and reserved word of the update", update_shape },
	{ "slots outside the table", update_range },
	{ "pointers that fault", faults },
	{ "a failing entry in the middle", partial },
	{ "files updates take no flags", files_update },
	{ "sister calls take no EXTENDED", sister_calls },
	{ "the iovec form is as it was", legacy_update },
	{ "the extended form takes user memory", extended_user },
	{ "through a socket", passed_on },
	{ "no memory is locked", memlock },
};

int main(int argc, char **argv)
{
	size_t i;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true,
		T_COUNT(rows) + T_COUNT(tests));
	t_disk_init(&disk, t_dev);
	if (t_buf_init(&buf, T_UDMABUF, 64 * 1024) != T_PASS)
		t_die("/dev/udmabuf: %m (CONFIG_UDMABUF)");
	t_ring_init(&ring, T_PLAIN, 8, SLOTS);
	open_fds();
	if (t_register(&ring, KEPT, buf.fd, fds[F_TARGET - F_DMABUF], 0) != 1)
		t_die("a valid dma-buf was refused");

	for (i = 0; i < T_COUNT(rows); i++)
		t_report(run_row(&rows[i]), "%s: %s", rows[i].name, t_number(rows[i].want));
	for (i = 0; i < T_COUNT(tests); i++)
		t_report(tests[i].run(), "%s", tests[i].name);
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	t_disk_exit(&disk);
	return t_finish();
}
