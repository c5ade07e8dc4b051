// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * READ_FIXED and WRITE_FIXED move exactly the bytes asked for: each direction
 * alone, over a grid of offsets and sizes, for every kind of memory and ring,
 * and around the edges of the lists of pages that a controller is given.
 */
#include "helpers.h"

#include <fcntl.h>

#define SLOTS	8
#define SLOT	5

static const struct {
	const char *name;
	enum t_kind kind;
	size_t size;
} memories[] = {
	{ "udmabuf",		T_UDMABUF,	4 * T_MIB },
	{ "scattered 4 KiB",	T_SCATTERED,	4 * T_MIB },
	{ "scattered 16 KiB",	T_SCATTERED,	16 * T_MIB },
	{ "hugetlb",		T_HUGE,		16 * T_MIB },
	{ "heap",		T_HEAP,		16 * T_MIB },
};

static struct t_disk disk;
static size_t stride = 1;	/* of the requests below each stride-th is made */

static enum t_result grid(struct t_ring *ring, struct t_buf *buf, int fd,
			  bool write)
{
	const size_t lba = disk.lba;
	const size_t sizes[] = {
		lba, 2 * lba, 3 * lba, 7 * lba, 8 * lba,
		T_PAGE, 2 * T_PAGE, 3 * T_PAGE, 33 * T_PAGE, 512 * T_PAGE,
		513 * T_PAGE, T_MIB, T_MIB + T_PAGE, 2 * T_MIB, 8 * T_MIB,
		buf->size,
	};
	const size_t blocks[] = { 0, 1, 2, 7, 511, 512, 513, SIZE_MAX };
	const struct t_io io = { .fd = fd, .slot = SLOT };
	size_t s, b, step = 0;
	bool ok;

	for (s = 0; s < T_COUNT(sizes); s++) {
		for (b = 0; b < T_COUNT(blocks); b++) {
			size_t len = sizes[s], off = blocks[b] * lba, pos;

			if (len > buf->size)
				continue;
			if (blocks[b] == SIZE_MAX)
				off = buf->size - len;
			if (off > buf->size - len)
				continue;
			/* Somewhere else on the disk each time. */
			pos = ++step * 297 * lba;
			if (step % stride)
				continue;
			pos %= T_DISK_SIZE - len + lba;
			T_TRY(write ?
			      t_check_write(ring, io, &disk, buf, off, len, pos) :
			      t_check_read(ring, io, &disk, buf, off, len, pos));
		}
		t_buf_begin(buf);
		ok = t_buf_intact(buf, 0, buf->size);
		t_buf_end(buf);
		T_CHECK(ok, "after the requests of %zu bytes", sizes[s]);
	}
	T_CHECK(t_same("the disk in the end", t_disk_read(&disk, 0, T_DISK_SIZE),
		       disk.image, T_DISK_SIZE), "a write went astray");
	return T_PASS;
}

/*
 * A PRP list page has 512 entries, of which the last may be a chain pointer.
 * Let requests start and end on either side of every place where a prebuilt
 * list, half a list out of phase or not, could go wrong.
 */
static enum t_result edges(struct t_ring *ring, struct t_buf *buf, int fd,
			   bool write)
{
	const size_t pages[] = { 1, 2, 3, 255, 256, 257, 510, 511, 512 };
	const size_t places[] = { 256, 511, 512, 767, 1022, 1278, 2044 };
	const struct t_io io = { .fd = fd, .slot = SLOT };
	size_t n, p, near, end, step = 0;

	for (n = 0; n < T_COUNT(pages); n++) {
		for (p = 0; p < T_COUNT(places); p++) {
			for (near = 0; near < 10; near++) {
				size_t first = places[p] + near / 2 - 2;
				/* Half of them begin within a page, if blocks do. */
				size_t skew = (n + p + near) % 2 * disk.lba;
				size_t len = pages[n] * T_PAGE, pos;

				end = near % 2;
				if (end && first < pages[n])
					continue;
				if (end)
					first -= pages[n];
				if (first * T_PAGE + skew + len > buf->size || ++step % stride)
					continue;
				pos = (n * 70 + p * 10 + near) * 33 * T_PAGE % (T_DISK_SIZE - len);
				T_TRY(write ?
				      t_check_write(ring, io, &disk, buf, first * T_PAGE + skew, len, pos) :
				      t_check_read(ring, io, &disk, buf, first * T_PAGE + skew, len, pos));
			}
		}
	}
	return T_PASS;
}

typedef enum t_result (*pattern)(struct t_ring *ring, struct t_buf *buf, int fd, bool write);

static enum t_result run(pattern pattern, unsigned int memory,
			 enum t_mode mode, bool write)
{
	struct t_ring ring;
	struct t_buf buf;
	enum t_result result;
	int fd;

	T_TRY(t_need(mode));
	T_TRY(t_buf_init(&buf, memories[memory].kind, memories[memory].size));
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	t_ring_init(&ring, mode, 8, SLOTS);
	T_IS(t_register(&ring, SLOT, buf.fd, fd, 0), 1, "register");
	result = pattern(&ring, &buf, fd, write);
	t_ring_exit(&ring);
	close(fd);
	t_buf_exit(&buf);
	return result;
}

int main(int argc, char **argv)
{
	unsigned int memory, mode, write;

	/* On a kernel that checks itself half an hour would not do for all. */
	if (getenv("PATIENCE"))
		stride = 7;
	t_start(argc > 1 ? argv[1] : NULL, NULL, true,
		T_COUNT(memories) * (T_MODES + 1) * 2);
	t_disk_init(&disk, t_dev);
	for (memory = 0; memory < T_COUNT(memories); memory++) {
		for (write = 0; write < 2; write++) {
			const char *verb = write ? "write" : "read";

			for (mode = 0; mode < T_MODES; mode++)
				t_report(run(grid, memory, mode, write), "%s, %s, %s",
					 verb, memories[memory].name, t_mode_names[mode]);
			t_report(run(edges, memory, T_PLAIN, write), "%s, %s, edges of lists",
				 verb, memories[memory].name);
		}
	}
	t_disk_exit(&disk);
	return t_finish();
}
