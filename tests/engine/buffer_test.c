// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * buffer.c on a source that this file plays: how memory is shared out, and that
 * a failure anywhere gives everything back.
 */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "buffer.h"

#define PAGE	4096
#define HUGE	(2u << 20)

static size_t limit;
static int before, fail_at;

static size_t fake_max_size(void) { return limit; }

static int fake_alloc(struct buffer *b, const struct source_args *args, struct error *e)
{
	if (fail_at && --fail_at == 0)
		return error_set(e, ENOMEM, "none left of %zu", b->size);
	b->memory = open("/dev/null", O_RDWR);
	return 0;
}

static int fake_export(struct buffer *b, struct error *e)
{
	if (fail_at && --fail_at == 0)
		return error_set(e, EPERM, "no");
	b->dmabuf = open("/dev/null", O_RDWR);
	return 0;
}

/* Descriptors that are open. */
static int live(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - before;
}

static const struct source_ops fake = {
	.name = "fake", .max_size = fake_max_size, .alloc = fake_alloc, .export = fake_export,
};

static const struct source_args small = { .page = PAGE, .exported = true }, huge = { .page = HUGE, .exported = true };

static void check(size_t page, size_t unit, size_t units, size_t part, unsigned int buffers)
{
	struct buffers bs;
	struct error e;
	size_t total = 0;

	assert(buffers_get(&bs, &fake, &(struct source_args){ .page = page, .exported = true }, unit, unit * units, part, &e) == 0);
	assert(bs.nr == buffers && live() == (int)buffers);
	assert((size_t)bs.addr % page == 0);
	for (unsigned int i = 0; i < bs.nr; i++) {
		assert(bs.v[i].addr == (char *)bs.addr + total && bs.v[i].size % page == 0);
		assert(bs.v[i].size <= (part && part < limit ? part : limit));
		total += bs.v[i].size;
	}
	assert(total >= unit * units);
	for (size_t i = 0; i < units; i++) {	/* no block lies in two buffers */
		char *block = (char *)bs.addr + i * unit;
		struct buffer *b = buffers_find(&bs, block);

		assert(block >= (char *)b->addr && block + unit <= (char *)b->addr + b->size);
	}
	assert(buffers_export(&bs, &e) == 0);
	buffers_put(&bs);
	assert(live() == 0);
	buffers_put(&bs);
}

/* What cannot be mapped gets host memory, copied through a descriptor if there is one. */
static void check_shadow(void)
{
	char page[PAGE] = "device";
	struct buffer b = { .size = PAGE, .dmabuf = -1, .memory = memfd_create("m", 0), .region = PAGE };
	struct error e;

	b.addr = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert(b.addr != MAP_FAILED && ftruncate(b.memory, 2 * PAGE) == 0);
	assert(buffer_map(&b, b.memory, PAGE, &e) == 0 && !b.shadow && buffer_accessible(&b));
	strcpy(b.addr, "mapped");
	assert(pread(b.memory, page, 6, PAGE) == 6 && !strcmp(page, "mapped"));

	int null = open("/dev/null", O_RDWR);
	assert(buffer_map(&b, null, 0, &e) == 0 && b.shadow && buffer_accessible(&b));
	close(null);
	assert(!*(char *)b.addr);
	assert(buffer_cpu_begin(&b, b.addr, 3) == 0 && !strcmp(b.addr, "map"));
	strcpy((char *)b.addr + 8, "host");
	assert(buffer_cpu_end(&b, (char *)b.addr + 8, 4) == 0);
	assert(pread(b.memory, page, 12, PAGE) == 12 && !memcmp(page, "mapped\0\0host", 12));
	assert(buffer_cpu_begin(&b, b.addr, 0) == 0 && buffer_cpu_end(&b, b.addr, 0) == 0);
	b.region = 2 * PAGE;			/* behind its end */
	assert(buffer_cpu_begin(&b, b.addr, 1) == -EIO);
	close(b.memory);
	b.memory = -1;
	assert(!buffer_accessible(&b) && buffer_cpu_end(&b, b.addr, 1) == -EIO);
	munmap(b.addr, PAGE);
}

int main(void)
{
	struct buffers bs;
	struct error e;
	struct buffer b = { .memory = -1 };

	before = live();
	limit = 64 << 20;
	check(PAGE, 4096, 128, 0, 1);
	check(PAGE, 512, 3, 0, 1);
	check(PAGE, 1 << 20, 64, 0, 1);
	check(PAGE, 1 << 20, 65, 0, 2);		/* over the source's limit */
	check(PAGE, 1 << 20, 256, 0, 4);
	check(PAGE, 4096, 128, 4096, 128);	/* one each */
	check(PAGE, 4096, 128, 100000, 6);
	check(PAGE, 12288, 100, 100000, 13);	/* 8 to a buffer */
	check(PAGE, 512, 64, PAGE, 8);		/* eight to a page */
	check(HUGE, 4096, 128, 0, 1);
	check(HUGE, 1 << 20, 64, 0, 1);
	check(HUGE, 1 << 20, 64, HUGE, 32);
	check(HUGE, 3 << 20, 40, 0, 2);

	/* a bound that no buffer can keep */
	assert(buffers_get(&bs, &fake, &small, 512, 64 * 512, 1, &e) == -EINVAL && strstr(e.text, "dmabuf_size=1 "));
	assert(buffers_get(&bs, &fake, &small, 12288, 24576, 8192, &e) == -EINVAL);
	assert(buffers_get(&bs, &fake, &huge, 4096, 4 << 20, 4096, &e) == -EINVAL && live() == 0);

	limit = 1 << 20;			/* huge pages do not fit into that */
	assert(buffers_get(&bs, &fake, &huge, 4096, HUGE, 0, &e) == -EINVAL && live() == 0);
	assert(buffers_get(&bs, &fake, &small, (2 << 20) + 512, 4 << 20, 0, &e) == -EINVAL);

	/* which is the exporter's business alone */
	assert(buffers_get(&bs, &fake, &(struct source_args){ .page = PAGE }, (2 << 20) + 512, 4 << 20, 0, &e) == 0 && bs.nr == 1);
	buffers_put(&bs);

	limit = 64 << 20;
	for (int n = 1; n <= 4; n++) {
		fail_at = n;
		assert(buffers_get(&bs, &fake, &small, 4096, 4 * 4096, 4096, &e) == -ENOMEM);
		assert(live() == 0 && bs.nr == 0);
	}
	assert(buffers_get(&bs, &fake, &small, 4096, 4 * 4096, 4096, &e) == 0);
	fail_at = 3;
	assert(buffers_export(&bs, &e) == -EPERM && bs.v[1].dmabuf >= 0 && bs.v[2].dmabuf == -1);
	buffers_put(&bs);
	assert(live() == 0);

	limit = 1 << 30;			/* more than one dma-buf may have */
	check(PAGE, 1 << 20, 3000, 0, 3);

	check_shadow();
	assert(live() == 0);
	assert(!buffer_ask_exporter(&b, 0) && !b.exporter[0]);	/* no dma-buf */
	assert(!strcmp(buffer_place(&b), "unknown"));
	strcpy(b.exporter, "vfio_pci_core");
	assert(!strcmp(buffer_place(&b), "peer-to-peer"));
	assert(!buffer_needs_no_brackets(&b));	/* of others nothing is known; guest.sh and bounce.sh have the known ones */
	strcpy(b.exporter, "i915");
	assert(!buffer_needs_no_brackets(&b));
	return 0;
}
