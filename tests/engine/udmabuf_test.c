// SPDX-License-Identifier: GPL-2.0-or-later
/* source_udmabuf.c with page frames that this file makes up: pages=scattered is held to what it promises. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <sys/types.h>

static ssize_t made_up(int fd, void *entries, size_t size, off_t at);
#define pread made_up
#include "source_udmabuf.c"

#define PAGES	1024	/* of which one in a hundred and one more may have a neighbour */
#define PRESENT	(1ULL << 63)

static uint64_t first;
static int bad = -1;	/* so many times; -1: always */
static size_t neighbours;
static int step;

/* /proc/self/pagemap: the first pages lie side by side, the others far from each other. */
static ssize_t made_up(int fd, void *entries, size_t size, off_t at)
{
	static size_t page;
	uint64_t *entry = entries;

	for (size_t i = 0; i < size / sizeof(*entry); i++, page = (page + 1) % PAGES) {
		bad -= bad > 0 && page == PAGES - 1;
		entry[i] = !first ? PRESENT : PRESENT | (bad && page <= neighbours ? first + page * step : first + page * 16 + PAGES);
	}
	return size;
}

static int get(struct error *e)
{
	struct buffer b = { .size = PAGES * SMALL_PAGE, .memory = -1, .dmabuf = -1, .claim = -1 };
	struct source_args args = { .page = SMALL_PAGE, .scattered = true };
	int ret;

	b.addr = mmap(NULL, b.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert(b.addr != MAP_FAILED);
	ret = source_udmabuf.alloc(&b, &args, e);
	munmap(b.addr, b.size);
	close(b.memory);
	return ret;
}

int main(void)
{
	struct error e;

	assert(get(&e) == 0);	/* frames are shown to root only */
	first = 1 << 20;
	for (step = -1; step <= 1; step += 2) {
		neighbours = 0;
		assert(get(&e) == 0);
		neighbours = PAGES / 100 + 1;
		assert(get(&e) == 0);
		neighbours++;
		assert(get(&e) == -ENOMEM && strstr(e.text, "12 of 1024 pages lie beside the one before"));
		bad = TRIES_SIZE / (PAGES * SMALL_PAGE);	/* the last one is good */
		assert(get(&e) == 0);
		bad = TRIES_SIZE / (PAGES * SMALL_PAGE) + 1;
		assert(get(&e) == -ENOMEM);
		bad = -1;
	}
	return 0;
}
