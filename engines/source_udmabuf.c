// SPDX-License-Identifier: GPL-2.0-or-later
/* System memory: a memfd, of small or huge pages, that /dev/udmabuf exports. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <linux/memfd.h>
#include <linux/udmabuf.h>

#include "buffer.h"
#include "memory.h"

#define TRIES		64	/* to get pages of which no two are neighbours */
#define FEW_TRIES	4	/* where more would take too much memory meanwhile */
#define TRIES_SIZE	((size_t)64 << 20)
#define SIZE_LIMIT	"/sys/module/udmabuf/parameters/size_limit_mb"

static size_t udmabuf_max_size(void)
{
	FILE *f = fopen(SIZE_LIMIT, "r");
	int mb = 64;		/* the default of old kernels */

	if (f) {
		if (fscanf(f, "%d", &mb) != 1 || mb < 0)
			mb = 64;
		fclose(f);
	}
	return (size_t)mb << 20;
}

static int no_memory(const struct buffer *b, size_t page, int err, struct error *e)
{
	if (page == SMALL_PAGE)
		return error_set(e, err, "no memory for a buffer of %zu bytes: %s",
				 b->size, strerror(err));
	return error_set(e, err, "no %zu huge pages of %zu MiB for a buffer (%s): raise /proc/sys/vm/nr_hugepages (and build the kernel with CONFIG_HUGETLBFS)",
			 b->size / page, page >> 20, strerror(err));
}

static size_t step_at(const struct buffer *b, size_t at)
{
	return b->size - at < MEMORY_STEP ? b->size - at : MEMORY_STEP;
}

/* Have the kernel join the pages before they are there, and see that it did. */
static int join_pages(const struct buffer *b, size_t page, struct error *e)
{
	unsigned long kb, joined = 0;
	char line[256], start[32];
	bool ours = false;
	size_t at;
	int err = 0;
	FILE *f;

	if (madvise(b->addr, b->size, MADV_HUGEPAGE))
		err = errno;
	for (at = 0; at < b->size && !err; at += MEMORY_STEP) {
		if (at && memory_check(step_at(b, at), e))
			return -ENOMEM;
		if (madvise((char *)b->addr + at, step_at(b, at), MADV_POPULATE_WRITE))
			err = errno;
	}
	if (err)
		return error_set(e, err, "no transparent huge pages (%s): build the kernel (5.14 or later) with CONFIG_TRANSPARENT_HUGEPAGE",
				 strerror(err));
	snprintf(start, sizeof(start), "%lx-", (unsigned long)b->addr);
	f = fopen("/proc/self/smaps", "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (strchr(line, '-') && strspn(line, "0123456789abcdef") == strcspn(line, "-"))
			ours = !strncmp(line, start, strlen(start));
		else if (ours && sscanf(line, "ShmemPmdMapped: %lu", &kb) == 1)
			joined = kb << 10;
	}
	if (f)
		fclose(f);
	if (joined < b->size)
		return error_set(e, ENOMEM, "only %lu of %zu bytes are in transparent huge pages of %zu KiB: write advise into /sys/kernel/mm/transparent_hugepage/shmem_enabled, and have that much memory in one piece",
				 joined, b->size, page >> 10);
	return 0;
}

/* The kernel hands out neighbours in a row, so with every second page first, none are. */
static int get_scattered(const struct buffer *b, size_t from, size_t size)
{
	size_t at, odd;

	for (odd = 0; odd < 2; odd++)
		for (at = odd * SMALL_PAGE; at < size; at += 2 * SMALL_PAGE)
			if (fallocate(b->memory, 0, from + at, SMALL_PAGE))
				return -1;
	return 0;
}

/* Not just reserved: a page that is missing later would be a SIGBUS. */
static int get_pages(const struct buffer *b, size_t page, bool scattered, struct error *e)
{
	size_t at;
	int ret;

	for (at = 0; at < b->size; at += MEMORY_STEP) {
		ret = at && page == SMALL_PAGE ? memory_check(step_at(b, at), e) : 0;
		if (ret)
			return ret;
		ret = scattered ? get_scattered(b, at, step_at(b, at)) : fallocate(b->memory, 0, at, step_at(b, at));
		if (ret)
			return no_memory(b, page, errno, e);
	}
	return 0;
}

/* Pages that lie beside the one before, where frame numbers can be seen: by root. */
static size_t count_neighbours(const struct buffer *b)
{
	size_t pages = b->size / SMALL_PAGE, neighbours = 0, at = 0, i;
	uint64_t entries[512], frame, last = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t got;

	while (fd >= 0 && at < pages) {
		got = pread(fd, entries, (pages - at < 512 ? pages - at : 512) * sizeof(*entries),
			    ((uintptr_t)b->addr / SMALL_PAGE + at) * sizeof(*entries));
		if (got < (ssize_t)sizeof(*entries))
			break;
		for (i = 0; i < got / sizeof(*entries); i++, at++) {
			frame = entries[i] & ((1ULL << 55) - 1);
			neighbours += last && frame && (frame == last + 1 || last == frame + 1);
			last = frame;
		}
	}
	if (fd >= 0)
		close(fd);
	return neighbours;
}

/* A memfd with all its pages, mapped. */
static int get_memory(struct buffer *b, const struct source_args *args, struct error *e)
{
	size_t page = args->page;
	unsigned int huge = page == SMALL_PAGE || args->thp ? 0 :
		MFD_HUGETLB | (unsigned int)__builtin_ctzl(page) << MFD_HUGE_SHIFT;
	struct rlimit limit;
	void *addr;
	int ret = 0;

	if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur < b->size)	/* else SIGXFSZ */
		return error_set(e, EFBIG, "the limit on the size of files is %llu bytes, and the memory is a file of %zu: raise it (ulimit -f), or use a smaller dmabuf_size",
				 (unsigned long long)limit.rlim_cur, b->size);
	b->memory = memfd_create("dmabuf-engine", MFD_CLOEXEC | MFD_ALLOW_SEALING | huge);
	if (b->memory < 0 || ftruncate(b->memory, b->size))
		return no_memory(b, page, errno, e);
	if (!args->thp)
		ret = get_pages(b, page, args->scattered, e);
	if (ret)
		return ret;
	addr = mmap(b->addr, b->size, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED | (args->thp ? 0 : MAP_POPULATE), b->memory, 0);
	if (addr == MAP_FAILED)
		return no_memory(b, page, errno, e);
	return args->thp ? join_pages(b, page, e) : 0;
}

/*
 * Pages that were freed lately come again first, in an order of their own. What was
 * tried in vain is held until the end, so that the next try gets others.
 */
static int udmabuf_alloc(struct buffer *b, const struct source_args *args, struct error *e)
{
	size_t pages = b->size / SMALL_PAGE, neighbours;
	int held[TRIES], tries = 0, ret;

	ret = get_memory(b, args, e);
	while (!ret && args->scattered && (neighbours = count_neighbours(b)) > pages / 100 + 1) {
		if (tries == TRIES || (tries >= FEW_TRIES && tries * b->size >= TRIES_SIZE)) {
			ret = error_set(e, ENOMEM, "%zu of %zu pages lie beside the one before, and pages=scattered promises that none do: try again, or use pages=4k",
					neighbours, pages);
			break;
		}
		held[tries++] = b->memory;
		ret = get_memory(b, args, e);
	}
	while (tries)
		close(held[--tries]);
	return ret;
}

static int udmabuf_export(struct buffer *b, struct error *e)
{
	struct udmabuf_create create = {
		.memfd = b->memory,
		.flags = UDMABUF_FLAGS_CLOEXEC,
		.size = b->size,
	};
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int err;

	if (dev < 0)
		return error_set(e, errno, "cannot open /dev/udmabuf (%s): build the kernel with CONFIG_UDMABUF and run as a user who may open it",
				 strerror(errno));
	/* udmabuf wants memory that cannot shrink under it */
	if (fcntl(b->memory, F_ADD_SEALS, F_SEAL_SHRINK) == 0)
		b->dmabuf = ioctl(dev, UDMABUF_CREATE, &create);
	err = errno;
	close(dev);
	if (b->dmabuf < 0)
		return error_set(e, err, err == EIO ?
				 "udmabuf cannot map %zu bytes (%s): if the machine bounces its transfers (swiotlb=force), no dma-buf is taken, so use registration=user" :
				 "udmabuf refused %zu bytes (%s): compare with " SIZE_LIMIT,
				 b->size, strerror(err));
	return 0;
}

const struct source_ops source_udmabuf = {
	.name = "udmabuf",
	.pinnable = true,
	.host = true,
	.max_size = udmabuf_max_size,
	.alloc = udmabuf_alloc,
	.export = udmabuf_export,
};
