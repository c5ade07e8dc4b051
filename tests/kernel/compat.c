// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A ring of a 32-bit program: its iovecs have 8 bytes, its descriptors the 80
 * of everybody. The calls go in by int $0x80, from a 64-bit program whose
 * pointers are below 4 GiB, so that no 32-bit library is needed.
 */
#include "helpers.h"

#include <fcntl.h>
#include <sys/mman.h>

#define SLOTS	4
/* The numbers of these calls are the same everywhere. */
#define SETUP	425
#define ENTER	426
#define REGISTER 427

struct iovec32 {
	uint32_t base, len;
};

/* All that the calls point to, below 4 GiB; the page after it faults. */
static struct low {
	struct io_uring_params params;
	struct io_uring_rsrc_register table;
	struct io_uring_rsrc_update2 update;
	struct iovec32 iovs[3];
	struct io_uring_regbuf_desc descs[3];
	uint64_t tags[3];
	unsigned char user[3][T_PAGE] __attribute__((aligned(4096)));
	unsigned char last[T_PAGE];
} *low;

static struct t_disk disk;
static struct t_buf buf;
static struct t_ring ring;
static int fd;
static bool dmabufs;

static long int80(long nr, long a, long b, long c, long d, long e)
{
	long ret;

	asm volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
		     : "memory", "r8", "r9", "r10", "r11");
	return (int)ret;
}

static uint32_t at(const void *pointer)
{
	return (uintptr_t)pointer;
}

static long update(unsigned int slot, unsigned int flags, const void *data, unsigned int nr, const void *tags)
{
	low->update = (struct io_uring_rsrc_update2){
		.offset = slot, .resv = flags, .data = at(data), .tags = at(tags), .nr = nr,
	};
	return int80(REGISTER, ring.uring.ring_fd, IORING_REGISTER_BUFFERS_UPDATE, at(&low->update), sizeof(low->update), 0);
}

/* As 32-bit programs submit, too. */
static int rw(const struct t_io *io)
{
	struct io_uring_sq *sq = &ring.uring.sq;
	unsigned int i = sq->sqe_tail & *sq->kring_mask;

	t_queue(&ring, io, 0);
	sq->array[i] = i;
	__atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
	sq->sqe_head = sq->sqe_tail;
	if (int80(ENTER, ring.uring.ring_fd, 1, 1, IORING_ENTER_GETEVENTS, 0) != 1)
		return -EIO;
	return t_reap(&ring, NULL);
}

static enum t_result user_works(unsigned int slot, unsigned int page, unsigned int len)
{
	const struct t_io io = { .fd = fd, .slot = slot, .addr = at(low->user[page]), .len = len, .pos = slot * 8192 };

	memset(low->user, 0, sizeof(low->user));
	T_IS(rw(&io), len, "read");
	T_CHECK(t_same("read", low->user[page], disk.image + io.pos, len), "wrong data");
	return T_PASS;
}

static enum t_result dmabuf_works(unsigned int slot)
{
	const struct t_io io = { .fd = fd, .slot = slot, .addr = 12288, .len = 8192, .pos = 4096 };
	bool ok;

	T_IS(rw(&io), io.len, "read");
	t_buf_begin(&buf);
	ok = t_same("read", buf.map + io.addr, disk.image + io.pos, io.len) &&
	     t_buf_intact(&buf, 0, io.addr) && t_buf_intact(&buf, io.addr + io.len, buf.size);
	memcpy(buf.map, buf.poison, buf.size);
	t_buf_end(&buf);
	return ok ? T_PASS : T_FAIL;
}

static enum t_result refused(unsigned int slot, int want)
{
	const struct t_io io = { .fd = fd, .slot = slot, .len = 512 };

	T_IS(rw(&io), want, "I/O");
	return T_PASS;
}

/* A ring, and its table from an array of three iovecs. */
static enum t_result setup(void)
{
	unsigned int i;

	for (i = 0; i < 3; i++)
		low->iovs[i] = (struct iovec32){ at(low->user[i]), 1024 << i };
	low->table = (struct io_uring_rsrc_register){ .nr = 3, .data = at(low->iovs) };
	T_IS(int80(REGISTER, ring.uring.ring_fd, IORING_REGISTER_BUFFERS2, at(&low->table), sizeof(low->table), 0), 0, "BUFFERS2");
	for (i = 0; i < 3; i++)
		T_TRY(user_works(i, i, 1024 << i));
	T_IS(int80(REGISTER, ring.uring.ring_fd, IORING_UNREGISTER_BUFFERS, 0, 0, 0), 0, "unregister");
	low->table = (struct io_uring_rsrc_register){ .nr = SLOTS, .flags = IORING_RSRC_REGISTER_SPARSE };
	T_IS(int80(REGISTER, ring.uring.ring_fd, IORING_REGISTER_BUFFERS2, at(&low->table), sizeof(low->table), 0), 0, "sparse");
	return refused(0, -EFAULT);
}

static enum t_result iovecs(void)
{
	struct iovec32 *edge = (void *)(low->last + T_PAGE - sizeof(*edge));
	uint64_t tag, sum = 0;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		low->iovs[i] = (struct iovec32){ at(low->user[2 - i]), 512 << i };
		low->tags[i] = 70 + i;
	}
	T_IS(update(1, 0, low->iovs, 3, low->tags), 3, "three iovecs");
	for (i = 0; i < 3; i++)
		T_TRY(user_works(1 + i, 2 - i, 512 << i));
	low->iovs[0] = low->iovs[1] = (struct iovec32){ 0, 0 };
	T_IS(update(1, 0, low->iovs, 2, NULL), 2, "empty iovecs");
	*edge = (struct iovec32){ 0, 0 };
	T_IS(update(3, 0, edge, 1, NULL), 1, "up to the page edge");
	T_IS(update(3, 0, edge, 2, NULL), -EINVAL, "past the table");
	T_IS(update(2, 0, edge, 2, NULL), 1, "the second past the page edge");
	T_IS(update(2, 0, edge + 1, 1, NULL), -EFAULT, "past the page edge");
	for (i = 0; i < 3; i++) {
		T_IS(t_reap(&ring, &tag), 0, "result of a tag");
		sum += tag;
	}
	T_IS(sum, 70 + 71 + 72, "tags");
	for (i = 0; i < 3; i++)
		T_TRY(refused(1 + i, -EFAULT));
	return T_PASS;
}

static enum t_result descriptors(void)
{
	struct io_uring_regbuf_desc *edge = (void *)(low->last + T_PAGE - sizeof(*edge));
	uint64_t tag;

	if (!dmabufs)
		return t_skip("this kernel registers no dma-bufs");
	low->descs[0] = (struct io_uring_regbuf_desc){ .type = IO_REGBUF_TYPE_DMABUF, .dmabuf_fd = buf.fd, .target_fd = fd };
	low->descs[1] = (struct io_uring_regbuf_desc){ .type = IO_REGBUF_TYPE_UADDR, .uaddr = at(low->user[1]), .size = T_PAGE };
	low->descs[2] = low->descs[0];
	low->tags[0] = 0;
	low->tags[1] = 0;
	low->tags[2] = 90;
	T_IS(update(1, IORING_RSRC_UPDATE_EXTENDED, low->descs, 3, low->tags), 3, "three descriptors");
	T_TRY(dmabuf_works(1));
	T_TRY(user_works(2, 1, T_PAGE));
	T_TRY(dmabuf_works(3));
	*edge = low->descs[0];
	T_IS(update(2, IORING_RSRC_UPDATE_EXTENDED, edge, 1, NULL), 1, "up to the page edge");
	T_TRY(dmabuf_works(2));
	T_IS(update(2, IORING_RSRC_UPDATE_EXTENDED, edge, 2, NULL), 1, "the second past the page edge");
	T_IS(update(2, IORING_RSRC_UPDATE_EXTENDED, (char *)edge + 8, 1, NULL), -EFAULT, "across the page edge");
	low->descs[0] = low->descs[1] = (struct io_uring_regbuf_desc){ .type = IO_REGBUF_TYPE_EMPTY };
	T_IS(update(1, IORING_RSRC_UPDATE_EXTENDED, low->descs, 2, NULL), 2, "clear two");
	T_TRY(refused(1, -EFAULT));
	T_TRY(refused(2, -EFAULT));
	/* an iovec in the place of a dma-buf */
	low->iovs[0] = (struct iovec32){ at(low->user[0]), T_PAGE };
	T_IS(update(3, 0, low->iovs, 1, NULL), 1, "iovec over a dma-buf");
	T_IS(t_reap(&ring, &tag), 0, "result of the tag");
	T_IS(tag, 90, "tag");
	return user_works(3, 0, T_PAGE);
}

static enum t_result flags(void)
{
	unsigned int bit;

	low->descs[0] = (struct io_uring_regbuf_desc){ .type = IO_REGBUF_TYPE_EMPTY };
	for (bit = 0; bit < 32; bit++)
		if (!dmabufs || 1U << bit != IORING_RSRC_UPDATE_EXTENDED)
			T_IS(update(0, 1U << bit, low->descs, 1, NULL), -EINVAL, "flag");
	return T_PASS;
}

int main(int argc, char **argv)
{
	int ret;

	t_start(argc > 1 ? argv[1] : NULL, NULL, false, 4);
	t_disk_init(&disk, t_dev);
	if (t_buf_init(&buf, T_UDMABUF, 64 * 1024) != T_PASS)
		t_die("/dev/udmabuf: %m (CONFIG_UDMABUF)");
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	low = mmap(NULL, sizeof(*low) + T_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED || mprotect(low + 1, T_PAGE, PROT_NONE))
		t_die("memory below 4 GiB: %m");
	t_ring_init(&ring, T_PLAIN, 2, 1);
	dmabufs = t_clear(&ring, 0) == 1;
	t_ring_exit(&ring);

	ret = int80(SETUP, 8, at(&low->params), 0, 0, 0);
	if (ret < 0)
		t_die("io_uring_setup by int $0x80: %s (CONFIG_IA32_EMULATION)", t_number(ret));
	if (io_uring_queue_mmap(ret, &low->params, &ring.uring))
		t_die("mapping the ring: %m");
	ring.uring.features = low->params.features;
	t_report(setup(), "a table of 8-byte iovecs");
	t_report(iovecs(), "an update of 8-byte iovecs");
	t_report(descriptors(), "an update of descriptors");
	t_report(flags(), "every other flag");
	t_ring_exit(&ring);
	close(fd);
	t_buf_exit(&buf);
	t_disk_exit(&disk);
	return t_finish();
}
