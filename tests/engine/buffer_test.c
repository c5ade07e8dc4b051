// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * buffer.c on a source that this file plays: how memory is shared out, and that
 * a failure anywhere gives everything back.
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "buffer.h"

#define PAGE	4096
#define HUGE	(2u << 20)

static size_t limit;
static int live, fail_at;

static size_t fake_max_size(void) { return limit; }

static int fake_alloc(struct buffer *b, size_t page, struct error *e)
{
	if (fail_at && --fail_at == 0)
		return error_set(e, ENOMEM, "none left of %zu", b->size);
	b->memory = 0;
	live++;
	return 0;
}

static int fake_export(struct buffer *b, struct error *e)
{
	if (fail_at && --fail_at == 0)
		return error_set(e, EPERM, "no");
	b->dmabuf = 0;
	return 0;
}

static void fake_free(struct buffer *b)
{
	live -= b->memory == 0;
}

static const struct source_ops fake = {
	"fake", fake_max_size, fake_alloc, fake_export, fake_free,
};

static void check(size_t page, size_t unit, size_t units, size_t part, unsigned int buffers)
{
	struct buffers bs;
	struct error e;
	size_t total = 0;

	assert(buffers_get(&bs, &fake, page, unit, unit * units, part, &e) == 0);
	assert(bs.nr == buffers && live == (int)buffers);
	assert((size_t)bs.addr % page == 0);
	for (unsigned int i = 0; i < bs.nr; i++) {
		assert(bs.v[i].addr == (char *)bs.addr + total && bs.v[i].size % page == 0);
		assert(bs.v[i].size <= (part && part > page ? part + unit : limit));
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
	assert(live == 0);
	buffers_put(&bs);
}

int main(void)
{
	struct buffers bs;
	struct error e;

	limit = 64 << 20;
	check(PAGE, 4096, 128, 0, 1);
	check(PAGE, 512, 3, 0, 1);
	check(PAGE, 1 << 20, 64, 0, 1);
	check(PAGE, 1 << 20, 65, 0, 2);		/* over the source's limit */
	check(PAGE, 1 << 20, 256, 0, 4);
	check(PAGE, 4096, 128, 4096, 128);	/* one each */
	check(PAGE, 4096, 128, 100000, 6);
	check(PAGE, 12288, 100, 100000, 13);	/* 8 to a buffer */
	check(PAGE, 512, 64, 1, 8);		/* eight to a page */
	check(HUGE, 4096, 128, 0, 1);
	check(HUGE, 1 << 20, 64, 0, 1);
	check(HUGE, 1 << 20, 64, 4096, 32);
	check(HUGE, 3 << 20, 40, 0, 2);

	limit = 1 << 20;			/* huge pages do not fit into that */
	assert(buffers_get(&bs, &fake, HUGE, 4096, HUGE, 0, &e) == -EINVAL && live == 0);
	assert(buffers_get(&bs, &fake, PAGE, (2 << 20) + 512, 4 << 20, 0, &e) == -EINVAL);

	limit = 64 << 20;
	for (int n = 1; n <= 4; n++) {
		fail_at = n;
		assert(buffers_get(&bs, &fake, PAGE, 4096, 4 * 4096, 4096, &e) == -ENOMEM);
		assert(live == 0 && bs.nr == 0);
	}
	assert(buffers_get(&bs, &fake, PAGE, 4096, 4 * 4096, 4096, &e) == 0);
	fail_at = 3;
	assert(buffers_export(&bs, &e) == -EPERM && bs.v[1].dmabuf == 0 && bs.v[2].dmabuf == -1);
	buffers_put(&bs);
	assert(live == 0);
	return 0;
}
