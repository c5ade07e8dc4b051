// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * I/O through a registered dma-buf that must not succeed, or must succeed only
 * with the right bytes: wrong file, wrong range, wrong opcode, wrong mode.
 */
#include "exporter.h"

#include <stdio.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/nvme_ioctl.h>

#define SIZE	(256 * 1024UL)
#define SLOT	1
#define SLOTS	3

static struct t_disk disk;
static struct t_buf buf;
static struct t_ring ring;
static int fd;			/* the registered target */

static struct t_io at(uint64_t addr, uint32_t len, uint64_t pos)
{
	return (struct t_io){ .fd = fd, .slot = SLOT, .addr = addr, .len = len, .pos = pos };
}

static enum t_result both_ways(struct t_io io, int want, const char *what)
{
	for (io.write = false; ; io.write = true) {
		T_IS(t_rw(&ring, &io), want, what);
		if (io.write)
			break;
	}
	t_buf_begin(&buf);
	T_CHECK(t_same(what, buf.map, buf.poison, SIZE), "the buffer changed");
	t_buf_end(&buf);
	T_CHECK(t_same(what, t_disk_read(&disk, 0, T_MIB), disk.image, T_MIB), "the disk changed");
	return T_PASS;
}

static enum t_result works(void)
{
	struct t_io io = at(0, 0, 0);

	T_TRY(t_check_read(&ring, io, &disk, &buf, 4096, 12288, 8192));
	return t_check_write(&ring, io, &disk, &buf, 4096, 12288, 8192);
}

static enum t_result other_file(void)
{
	int again = t_open(t_dev, O_RDWR | O_DIRECT), pipes[2];
	struct t_io io = at(0, 4096, 0);

	T_CHECK(!pipe2(pipes, O_CLOEXEC), "pipe: %m");
	io.fd = again;
	T_TRY(both_ways(io, -EBADF, "second open of the same disk"));
	T_IS(io_uring_register_files(&ring.uring, &again, 1), 0, "register files");
	io.fixed_file = true;
	io.fd = 0;
	T_TRY(both_ways(io, -EBADF, "second open as registered file"));
	T_IS(io_uring_unregister_files(&ring.uring), 0, "unregister files");
	io.fixed_file = false;
	io.fd = pipes[0];
	T_IS(t_rw(&ring, &io), -EBADF, "read of a pipe");
	io.fd = t_open("/dev/zero", O_RDWR);
	T_TRY(both_ways(io, -EBADF, "/dev/zero"));
	close(io.fd);
	close(again);
	close(pipes[0]);
	close(pipes[1]);
	return works();
}

static enum t_result same_file(void)
{
	struct t_io io = at(0, 0, 0);
	int index;

	io.fd = dup(fd);
	T_CHECK(io.fd >= 0, "dup: %m");
	T_TRY(t_check_read(&ring, io, &disk, &buf, 0, 4096, 4096));
	T_TRY(t_check_write(&ring, io, &disk, &buf, 0, 4096, 4096));
	T_IS(io_uring_register_files(&ring.uring, &io.fd, 1), 0, "register files");
	index = io.fd;
	io.fd = 0;
	io.fixed_file = true;
	T_TRY(t_check_read(&ring, io, &disk, &buf, 0, 4096, 4096));
	T_TRY(t_check_write(&ring, io, &disk, &buf, 0, 4096, 4096));
	T_IS(io_uring_unregister_files(&ring.uring), 0, "unregister files");
	close(index);

	/* the same file comes out of a socket */
	io.fixed_file = false;
	io.fd = t_through_socket(fd);
	T_CHECK(io.fd >= 0, "SCM_RIGHTS: %s", t_number(io.fd));
	T_TRY(t_check_read(&ring, io, &disk, &buf, 0, 4096, 4096));
	T_TRY(t_check_write(&ring, io, &disk, &buf, 0, 4096, 4096));
	close(io.fd);
	return works();
}

static enum t_result out_of_range(void)
{
	const uint64_t addrs[] = {
		SIZE, SIZE - disk.lba + 1, 1ULL << 32, 1ULL << 63, -4096ULL,
		-(uint64_t)disk.lba, ~0ULL, (uintptr_t)buf.map,
	};
	size_t i;

	for (i = 0; i < T_COUNT(addrs); i++) {
		T_TRY(both_ways(at(addrs[i], disk.lba, 0), -EFAULT, "offset past the end"));
		T_TRY(both_ways(at(addrs[i], 65536, 0), -EFAULT, "offset past the end"));
	}
	T_TRY(both_ways(at(0, SIZE + disk.lba, 0), -EFAULT, "one block too long"));
	T_TRY(both_ways(at(disk.lba, SIZE, 0), -EFAULT, "across the end"));
	T_TRY(both_ways(at(0, 0x7ffff000, 0), -EFAULT, "longest read"));
	T_TRY(both_ways(at(0, 0x7ffff001, 0), -EFAULT, "longer than MAX_RW_COUNT"));
	T_TRY(both_ways(at(0, ~0U, 0), -EFAULT, "2^32 - 1 bytes"));
	T_TRY(both_ways(at(-4096ULL, 8192, 0), -EFAULT, "offset + length wraps"));
	return works();
}

static enum t_result zero_length(void)
{
	T_TRY(both_ways(at(0, 0, 0), 0, "nothing, at the start"));
	T_TRY(both_ways(at(4096, 0, 4096), 0, "nothing, inside"));
	T_TRY(both_ways(at(SIZE, 0, 0), 0, "nothing, at the end"));
	T_TRY(both_ways(at(SIZE + 1, 0, 0), -EFAULT, "nothing, past the end"));
	return works();
}

static enum t_result unaligned(void)
{
	T_TRY(both_ways(at(1, 4096, 0), -EINVAL, "offset 1"));
	T_TRY(both_ways(at(4095, 4096, 0), -EINVAL, "offset 4095"));
	T_TRY(both_ways(at(0, 1, 0), -EINVAL, "length 1"));
	T_TRY(both_ways(at(0, 4095, 0), -EINVAL, "length 4095"));
	T_TRY(both_ways(at(0, disk.lba + 4, 0), -EINVAL, "a block and a word"));
	T_TRY(both_ways(at(0, 4096, 1), -EINVAL, "position 1"));
	T_TRY(both_ways(at(0, 4096, disk.lba / 2), -EINVAL, "position in a block"));
	return works();
}

/* A word boundary is enough for NVMe: refused, or right in every byte. */
static enum t_result word_aligned(void)
{
	struct t_io io = at(4, 8192, 4096);

	if (t_rw(&ring, &io) == -EINVAL)
		return t_skip("this disk takes no buffers at word boundaries");
	t_buf_begin(&buf);
	memcpy(buf.map, buf.poison, SIZE);
	t_buf_end(&buf);
	io.addr = 0;
	T_TRY(t_check_read(&ring, io, &disk, &buf, 4, 8192, 4096));
	T_TRY(t_check_read(&ring, io, &disk, &buf, 4092, 65536, 4096));
	T_TRY(t_check_write(&ring, io, &disk, &buf, 4, 8192, 4096));
	return t_check_write(&ring, io, &disk, &buf, 4092, 65536, 4096);
}

static enum t_result past_the_disk(void)
{
	off_t end = lseek(disk.fd, 0, SEEK_END);
	struct t_io io = at(8192, 65536, end - 4096);

	T_IS(t_rw(&ring, &io), 4096, "read across the end of the disk");
	t_buf_begin(&buf);
	T_CHECK(t_same("read", buf.map + 8192, t_disk_read(&disk, end - 4096, 4096), 4096) &&
		t_same("after the range", buf.map + 12288, buf.poison + 12288, SIZE - 12288),
		"wrong data");
	memcpy(buf.map, buf.poison, SIZE);
	t_buf_end(&buf);
	io = at(0, 4096, end);
	T_IS(t_rw(&ring, &io), 0, "read at the end of the disk");
	io.write = true;
	T_IS(t_rw(&ring, &io), -ENOSPC, "write at the end of the disk");
	return both_ways(at(0, 4096, 1ULL << 63), -EINVAL, "negative position");
}

static enum t_result empty_slot(void)
{
	struct t_io io = at(0, 4096, 0);

	io.slot = 0;
	T_TRY(both_ways(io, -EFAULT, "empty slot"));
	io.slot = SLOTS;
	T_TRY(both_ways(io, -EFAULT, "slot past the table"));
	return works();
}

static enum t_result one_direction(int flags, bool write)
{
	struct t_io io = at(0, 4096, 0);

	io.slot = 2;
	io.fd = t_open(t_dev, flags | O_DIRECT);
	T_IS(t_register(&ring, 2, buf.fd, io.fd, 0), 1, "register");
	io.write = !write;
	T_IS(t_rw(&ring, &io), -EBADF, "direction that the file was not opened for");
	T_TRY(write ? t_check_write(&ring, io, &disk, &buf, 0, 4096, 0) :
		      t_check_read(&ring, io, &disk, &buf, 0, 4096, 0));
	T_IS(t_clear(&ring, 2), 1, "clear");
	close(io.fd);
	return works();
}

static enum t_result read_only(void)
{
	return one_direction(O_RDONLY, false);
}

static enum t_result write_only(void)
{
	return one_direction(O_WRONLY, true);
}

/* Refused, or right: never a success that moved nothing. */
static enum t_result direct_cleared(void)
{
	int flags = fcntl(fd, F_GETFL);
	struct t_io io = at(0, 8192, 4096);
	enum t_result result = T_PASS;
	int ret;

	T_CHECK(!fcntl(fd, F_SETFL, flags & ~O_DIRECT), "F_SETFL: %m");
	for (ring.mode = T_PLAIN; ; ring.mode = T_ASYNC) {
		ret = t_rw(&ring, &io);
		t_buf_begin(&buf);
		if (ret >= 0 && (ret != 8192 || !t_same("read", buf.map, disk.image + 4096, 8192)))
			result = T_FAIL;
		memcpy(buf.map, buf.poison, SIZE);
		t_buf_end(&buf);
		io.write = true;
		ret = t_rw(&ring, &io);
		fsync(fd);
		if (ret >= 0 && (ret != 8192 || !t_same("written", t_disk_read(&disk, 4096, 8192), buf.poison, 8192)))
			result = T_FAIL;
		t_disk_restore(&disk, 4096, 8192);
		io.write = false;
		if (ring.mode == T_ASYNC)
			break;
	}
	ring.mode = T_PLAIN;
	T_CHECK(!fcntl(fd, F_SETFL, flags), "F_SETFL: %m");
	T_CHECK(result == T_PASS, "buffered I/O reported success and moved nothing");
	return works();
}

static int vectored_io(unsigned int op, unsigned int slot, char *base, unsigned int n)
{
	struct iovec iovs[2] = { { base, 4096 }, { base + 8192, 4096 } };
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring.uring);

	io_uring_prep_rw(op, sqe, fd, iovs, n, 0);
	sqe->buf_index = slot;
	t_submit(&ring);
	return t_reap(&ring, NULL);
}

/* User memory and a dma-buf in one table; more of it in vectored. */
static enum t_result vectored(void)
{
	static char user[16384] __attribute__((aligned(4096)));
	unsigned int n;

	T_IS(t_register_user(&ring, 0, user, sizeof(user), 0), 1, "register user memory");
	for (n = 1; n <= 2; n++) {
		memset(user, 0, sizeof(user));
		T_IS(vectored_io(T_OP_READV_FIXED, 0, user, n), n * 4096, "READV_FIXED, user memory");
		T_CHECK(t_same("read", user, disk.image, 4096), "wrong data");
		T_CHECK(n < 2 || t_same("read", user + 8192, disk.image + 4096, 4096), "wrong data");
		memset(user, n, 4096);
		memset(user + 8192, n + 2, 4096);
		T_IS(vectored_io(T_OP_WRITEV_FIXED, 0, user, n), n * 4096, "WRITEV_FIXED, user memory");
		T_CHECK(t_same("written", t_disk_read(&disk, 0, 4096), user, 4096), "wrong data");
		T_CHECK(n < 2 || t_same("written", t_disk_read(&disk, 4096, 4096), user + 8192, 4096), "wrong data");
		t_disk_restore(&disk, 0, 8192);
		/* an address that is right for the other slot */
		T_IS(vectored_io(T_OP_READV_FIXED, SLOT, user, n), -EFAULT, "READV_FIXED, dma-buf, an address");
		T_IS(vectored_io(T_OP_WRITEV_FIXED, SLOT, user, n), -EFAULT, "WRITEV_FIXED, dma-buf, an address");
	}
	T_IS(t_clear(&ring, 0), 1, "clear");
	T_TRY(both_ways(at(0, 0, 0), 0, "nothing moved"));
	return works();
}

/* The result of a SEND_ZC; its notification is waited for. */
static int send_zc(int sock, uint64_t addr, unsigned int slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring.uring);
	struct io_uring_cqe *cqe;
	int ret = 0;
	bool more;

	io_uring_prep_send_zc_fixed(sqe, sock, (void *)(uintptr_t)addr, 4096, 0, 0, slot);
	t_submit(&ring);
	do {
		if (io_uring_wait_cqe(&ring.uring, &cqe))
			t_die("no completion of SEND_ZC");
		if (!(cqe->flags & IORING_CQE_F_NOTIF))
			ret = cqe->res;
		more = cqe->flags & IORING_CQE_F_MORE;
		io_uring_cqe_seen(&ring.uring, cqe);
	} while (more);
	return ret;
}

static enum t_result zerocopy_send(void)
{
	static char user[4096] __attribute__((aligned(4096)));
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = 9, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;

	T_CHECK(sock >= 0, "UDP socket: %m");
	ioctl(sock, SIOCSIFFLAGS, &lo);
	if (connect(sock, (struct sockaddr *)&to, sizeof(to)))
		return t_skip("the loopback network is down: %m");
	T_IS(t_register_user(&ring, 0, user, sizeof(user), 0), 1, "register user memory");
	ret = send_zc(sock, (uintptr_t)user, 0);
	T_CHECK(ret == 4096, "SEND_ZC of user memory: %s", t_number(ret));
	ret = send_zc(sock, 0, SLOT);
	T_IS(t_clear(&ring, 0), 1, "clear");
	close(sock);
	T_IS(ret, -EFAULT, "SEND_ZC");
	return works();
}

static int passthrough_read(struct t_ring *big, int ng, unsigned int slot, void *addr)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&big->uring);
	struct nvme_uring_cmd *cmd = (void *)sqe->cmd;

	/* The rest of it is zero in a fresh ring. */
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = ng;
	sqe->cmd_op = NVME_URING_CMD_IO;
	sqe->uring_cmd_flags = 1;	/* IORING_URING_CMD_FIXED */
	sqe->buf_index = slot;
	cmd->opcode = 2;		/* read */
	cmd->nsid = ioctl(ng, NVME_IOCTL_ID);
	cmd->addr = (uintptr_t)addr;
	cmd->data_len = 4096;
	cmd->cdw12 = 4096 / disk.lba - 1;
	t_submit(big);
	return t_reap(big, NULL);
}

/* What works for user memory in the same table is refused for a dma-buf that is for the block device. */
static enum t_result passthrough(void)
{
	static char user[4096] __attribute__((aligned(4096)));
	struct io_uring_params params = { .flags = IORING_SETUP_SQE128 | IORING_SETUP_CQE32 };
	struct t_ring big = { };
	char path[64];
	int ng;

	snprintf(path, sizeof(path), "/dev/ng%s", strncmp(t_dev, "/dev/nvme", 9) ? "?" : t_dev + 9);
	ng = open(path, O_RDWR | O_CLOEXEC);
	if (ng < 0)
		return t_skip("%s: %m", path);
	T_IS(io_uring_queue_init_params(4, &big.uring, &params), 0, "ring");
	T_IS(io_uring_register_buffers_sparse(&big.uring, 2), 0, "sparse table");
	T_IS(t_register_user(&big, 0, user, sizeof(user), 0), 1, "register user memory");
	T_IS(t_register(&big, SLOT, buf.fd, fd, 0), 1, "register");
	T_IS(passthrough_read(&big, ng, 0, user), 0, "NVMe passthrough read, user memory");
	T_CHECK(t_same("read", user, disk.image, 4096), "wrong data");
	T_IS(passthrough_read(&big, ng, SLOT, NULL), -EBADF, "NVMe passthrough read");
	t_ring_exit(&big);
	close(ng);
	T_TRY(both_ways(at(0, 0, 0), 0, "nothing moved"));
	return works();
}

/* Without poll queues refused as ordinary memory is; other programs test what a disk with some does. */
static enum t_result polled(void)
{
	bool has_queues = t_need(T_POLLED) == T_PASS;
	struct t_ring poll;
	struct t_io io = at(0, 8192, 4096);
	int ret;

	t_ring_init(&poll, T_POLLED, 4, SLOTS);
	T_IS(t_register(&poll, SLOT, buf.fd, fd, 0), 1, "register");
	ret = t_rw(&poll, &io);
	t_buf_begin(&buf);
	memcpy(buf.map, buf.poison, 8192);
	t_buf_end(&buf);
	T_IS(ret, has_queues ? 8192 : -EOPNOTSUPP, "polled read");
	t_ring_exit(&poll);
	return works();
}

static int clone_to(struct t_ring *to, unsigned int flags, unsigned int src,
		    unsigned int dst, unsigned int nr)
{
	struct {
		uint32_t src_fd, flags, src_off, dst_off, nr, pad[3];
	} arg = { ring.uring.ring_fd, flags, src, dst, nr, { 0 } };

	return t_io_uring_register(to->uring.ring_fd, T_REGISTER_CLONE, &arg, 1);
}

/* What the other ring has by cloning is the same registration: the same file, the same mapping. */
static enum t_result reads_as(struct t_ring *other, unsigned int slot, int want)
{
	struct t_io io = at(4096, 8192, 12288);
	int ret;

	io.slot = slot;
	ret = t_rw(other, &io);
	t_buf_begin(&buf);
	T_CHECK(ret != 8192 || t_same("read through the clone", buf.map + 4096, disk.image + 12288, 8192), "wrong data");
	memcpy(buf.map, buf.poison, SIZE);
	t_buf_end(&buf);
	T_IS(ret, want, "read through the clone");
	return T_PASS;
}

/* A table shares its dma-bufs with another ring, whole or in part; each ring lets go of its own. */
static enum t_result cloning(void)
{
	static char user[4096] __attribute__((aligned(4096)));
	struct t_io io = at((uintptr_t)user, 4096, 0);
	struct t_leaks leaks;
	struct t_ring other;

	T_IS(t_register_user(&ring, 0, user, sizeof(user), 0), 1, "register user memory");
	T_TRY(t_leaks_init(&leaks));
	t_ring_init(&other, T_PLAIN, 4, 0);
	T_IS(clone_to(&other, 0, 0, 0, 0), 0, "whole table");
	T_TRY(t_leaks_check(&leaks));
	T_TRY(reads_as(&other, SLOT, 8192));
	io.slot = 0;
	T_IS(t_rw(&other, &io), 4096, "user memory beside it");
	T_CHECK(t_same("read", user, disk.image, 4096), "wrong data");
	io = at(0, 4096, 0);
	io.fd = t_open(t_dev, O_RDWR | O_DIRECT);
	T_IS(t_rw(&other, &io), -EBADF, "another file through the clone");
	close(io.fd);
	T_IS(t_clear(&other, SLOT), 1, "clear the clone");
	T_TRY(works());
	T_IS(clone_to(&other, T_CLONE_REPLACE, SLOT, 0, 1), 0, "the dma-buf alone, over another slot");
	T_TRY(reads_as(&other, 0, 8192));
	T_TRY(reads_as(&other, SLOT, -EFAULT));
	T_IS(clone_to(&ring, T_CLONE_REPLACE, SLOT, 2, 1), 0, "within the ring");
	T_TRY(reads_as(&ring, 2, 8192));

	/* the clones outlive the slot that they were made from */
	T_IS(t_clear(&ring, SLOT), 1, "clear the original");
	T_TRY(reads_as(&ring, SLOT, -EFAULT));
	T_TRY(reads_as(&ring, 2, 8192));
	T_TRY(reads_as(&other, 0, 8192));
	T_TRY(t_leaks_check(&leaks));
	T_IS(t_clear(&ring, 2), 1, "clear");
	T_TRY(reads_as(&other, 0, 8192));
	t_ring_exit(&other);
	leaks.attachments--;
	T_TRY(t_leaks_check(&leaks));
	T_IS(t_clear(&ring, 0), 1, "clear");
	T_IS(t_register(&ring, SLOT, buf.fd, fd, 0), 1, "register anew");
	return works();
}

/* An exporter waits for the requests of all rings that share a registration. */
static enum t_result cloned_invalidated(void)
{
	const size_t len = 32768;
	struct t_ring rings[T_MODES];
	struct t_buf moving;
	unsigned int mode, nr = 0, i, round;
	int own = t_open(t_dev, O_RDWR | O_DIRECT);

	T_TRY(need_exporter());
	t_buf_adopt(&moving, export_buf(SIZE, T_PAGE, DMA_BUF_IO_TEST_MOVES), SIZE);
	for (mode = 0; mode < T_MODES; mode++) {
		struct {
			uint32_t src_fd, flags, src_off, dst_off, nr, pad[3];
		} arg = { rings[0].uring.ring_fd, T_CLONE_REPLACE, 0, 0, 1, { 0 } };

		if (t_need(mode) != T_PASS)
			continue;
		t_ring_init(&rings[nr], mode, 8, 1);
		if (nr)
			T_IS(t_io_uring_register(rings[nr].uring.ring_fd, T_REGISTER_CLONE, &arg, 1), 0, "clone");
		else
			T_IS(t_register(&rings[nr], 0, moving.fd, own, 0), 1, "register");
		nr++;
	}
	for (round = 0; round < 50; round++) {
		for (i = 0; i < nr; i++) {
			const struct t_io io = { .fd = own, .len = len, .addr = i * len, .pos = (round + i) * len };

			t_queue(&rings[i], &io, 0);
			t_submit(&rings[i]);
		}
		T_IS(control(&moving, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
		for (i = 0; i < nr; i++) {
			T_IS(t_reap(&rings[i], NULL), len, "read");
			T_CHECK(t_same("read", moving.map + i * len, disk.image + (round + i) * len, len), "wrong data");
		}
	}
	/* none if all were done before the last invalidation */
	T_CHECK(ask(&moving, DMA_BUF_IO_TEST_LIVE) <= 1, "the clones have mappings of their own");
	T_CHECK(ask(&moving, DMA_BUF_IO_TEST_TOTAL) > 1, "nothing was ever mapped again");
	for (i = 0; i < nr; i++)
		t_ring_exit(&rings[i]);
	T_TRY(await_live(&moving, 0));
	T_IS(ask(&moving, DMA_BUF_IO_TEST_SCRIBBLED), 0, "bytes written too late");
	close(own);
	t_buf_exit(&moving);
	return T_PASS;
}

static const struct {
	const char *name;
	enum t_result (*run)(void);
} tests[] = {
	{ "a good request", works },
	{ "another file than the registered one", other_file },
	{ "another descriptor of the registered file", same_file },
	{ "outside the buffer", out_of_range },
	{ "no bytes", zero_length },
	{ "unaligned offset, length, position", unaligned },
	{ "offset at a word boundary", word_aligned },
	{ "past the end of the disk", past_the_disk },
	{ "a slot that holds nothing", empty_slot },
	{ "target opened for reading only", read_only },
	{ "target opened for writing only", write_only },
	{ "O_DIRECT cleared after registration", direct_cleared },
	{ "READV_FIXED and WRITEV_FIXED", vectored },
	{ "zero-copy send", zerocopy_send },
	{ "NVMe passthrough", passthrough },
	{ "polled ring", polled },
	{ "cloning the table", cloning },
	{ "clones while the exporter invalidates", cloned_invalidated },
};

int main(int argc, char **argv)
{
	size_t i;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_COUNT(tests));
	t_disk_init(&disk, t_dev);
	if (t_buf_init(&buf, T_UDMABUF, SIZE) != T_PASS)
		t_die("/dev/udmabuf: %m (CONFIG_UDMABUF)");
	t_ring_init(&ring, T_PLAIN, 8, SLOTS);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	if (t_register(&ring, SLOT, buf.fd, fd, 0) != 1)
		t_die("a valid dma-buf was refused");
	for (i = 0; i < T_COUNT(tests); i++)
		t_report(tests[i].run(), "%s", tests[i].name);
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	t_disk_exit(&disk);
	return t_finish();
}
