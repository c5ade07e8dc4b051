// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Plays the controller: for every start and length of a request, follows what
 * the driver's own code puts into the command, by the rules of the NVMe
 * specification (the last slot of a list page is a pointer to the next one if
 * entries remain, else an entry), and compares with the buffer's pages.
 *
 * Compiles the kernel's dmabuf.h as it is, against the stand-ins in this folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "dmabuf.h"

#define SLOTS	512
#define PAGE	((u64)NVME_CTRL_PAGE_SIZE)
#define PAGES	20000UL		/* of the buffer */
#define STARTS	(NVME_DMABUF_PRPS_PER_LIST + 2)
#define LONGEST	8193U		/* entries: 32 MiB and unaligned */

static struct nvme_dmabuf_map map;

/* Only called where ->need_sync is set. */
void __nvme_dmabuf_sync(struct nvme_dmabuf_map *map, struct device *dev, struct request *req, bool for_device)
{
	abort();
}

/* Addresses that tell what they are of: pages below, lists above. */
static dma_addr_t page_addr(unsigned long page)
{
	unsigned long chunk = page * PAGE >> map.chunk_shift;

	return (page + 1 + chunk * 1000) * PAGE;	/* a gap after each chunk */
}

static dma_addr_t list_addr(unsigned long list)
{
	return (1ULL << 40) + list * PAGE;
}

static void fill(unsigned long first_list, unsigned long lists, unsigned long phase)
{
	unsigned long page, list;

	for (page = 0; page < PAGES; page++) {
		unsigned long at = page + phase;

		map.prps[(first_list + at / NVME_DMABUF_PRPS_PER_LIST) * SLOTS +
			 at % NVME_DMABUF_PRPS_PER_LIST] = page_addr(page);
	}
	for (list = 0; list + 1 < lists; list++)
		map.prps[(first_list + list) * SLOTS + SLOTS - 1] = list_addr(first_list + list + 1);
}

static void make_map(unsigned int shift, bool use_sgl)
{
	unsigned long lists, i;

	map.chunk_shift = shift;
	map.use_sgl = use_sgl;
	map.chunks = calloc(((PAGES * PAGE - 1) >> shift) + 1, sizeof(*map.chunks));
	for (i = 0; i < PAGES; i++)
		if (!(i * PAGE & ((1ULL << shift) - 1)))
			map.chunks[i * PAGE >> shift] = page_addr(i);

	map.second = (PAGES + NVME_DMABUF_PRPS_PER_LIST - 1) / NVME_DMABUF_PRPS_PER_LIST;
	lists = map.second + (PAGES + NVME_DMABUF_PHASE + NVME_DMABUF_PRPS_PER_LIST - 1) /
		NVME_DMABUF_PRPS_PER_LIST;
	map.prps = calloc(lists * SLOTS, sizeof(*map.prps));
	map.list_dma = calloc(lists, sizeof(*map.list_dma));
	for (i = 0; i < lists; i++)
		map.list_dma[i] = list_addr(i);
	fill(0, map.second, 0);
	fill(map.second, lists - map.second, NVME_DMABUF_PHASE);
}

static void free_map(void)
{
	free(map.chunks);
	free(map.prps);
	free(map.list_dma);
}

/* Read @nr entries, for the pages from @page on; returns the number of list pages gone through, or -1. */
static int walk(dma_addr_t at, unsigned long page, unsigned int nr)
{
	unsigned int left;
	int hops = 0;

	for (left = nr; left; left--, page++, at += sizeof(__le64)) {
		unsigned long slot = (at - list_addr(0)) / sizeof(__le64);

		if (at < list_addr(0))
			return -1;
		if (slot % SLOTS == SLOTS - 1 && left > 1) {
			at = map.prps[slot];
			if (at < list_addr(0))
				return -1;
			slot = (at - list_addr(0)) / sizeof(__le64);
			hops++;
		}
		if (map.prps[slot] != page_addr(page))
			return -1;
	}
	return hops;
}

/* What kinds of data pointers were seen */
static unsigned long pairs, lists, descriptors;

/* Returns what is wrong with the command for @len bytes from @offset, or NULL. */
static const char *serve(u64 offset, unsigned int len)
{
	struct bio bio = { .map = &map.base, .offset = offset };
	struct request req = { .bio = &bio, .bytes = len, .cmd_flags = 1 };
	struct nvme_common_command cmd = { .dptr = { .prp1 = -1, .prp2 = -1 } };
	unsigned long page = offset / PAGE, last = (offset + len - 1) / PAGE;
	dma_addr_t start = page_addr(page) + offset % PAGE;
	int hops;

	nvme_dmabuf_map_data(&req, NULL, &cmd);
	if (cmd.flags & NVME_CMD_SGL_METABUF) {
		descriptors++;
		if (!map.use_sgl)
			return "an SGL for a controller that takes none";
		if (cmd.dptr.sgl.type || cmd.dptr.sgl.rsvd[0] || cmd.dptr.sgl.rsvd[1] || cmd.dptr.sgl.rsvd[2])
			return "not a data descriptor";
		if (cmd.dptr.sgl.addr != start || cmd.dptr.sgl.length != len)
			return "the descriptor is for other memory";
		for (; page < last; page++)
			if (page_addr(page + 1) != page_addr(page) + PAGE)
				return "the descriptor spans a gap";
		return NULL;
	}
	if (cmd.dptr.prp1 != start)
		return "PRP1 is for other memory";
	if (last <= page + 1) {
		pairs++;
		if (cmd.dptr.prp2 != (last > page ? page_addr(last) : 0))
			return "PRP2 is for other memory";
		return NULL;
	}
	lists++;
	hops = walk(cmd.dptr.prp2, page + 1, last - page);
	if (hops < 0)
		return "wrong memory";
	return last - page <= 256 && hops ? "leaves its list page" : NULL;
}

static bool try(u64 offset, unsigned int len)
{
	const char *wrong = serve(offset, len);

	if (wrong)
		printf("%u bytes from %llu, chunks of 2^%u, %s: %s\n", len, (unsigned long long)offset,
		       map.chunk_shift, map.use_sgl ? "SGL" : "PRP", wrong);
	return !wrong;
}

/* Each length in pages from each start in a list page. */
static bool try_lists(void)
{
	unsigned long page;
	unsigned int nr;

	for (page = 0; page < STARTS; page++) {
		for (nr = 1; nr <= LONGEST; nr++) {
			/* what differs repeats with the lists: long ones near their ends */
			if (nr == 2 * SLOTS)
				nr = LONGEST - SLOTS;
			if (!try(page * PAGE, nr * PAGE))
				return false;
		}
	}
	return true;
}

/* Both sides of page and chunk boundaries. */
static bool try_bounds(void)
{
	u64 offset;
	unsigned int len;

	for (offset = 0; offset < 600 * PAGE; offset += 3584)
		for (len = 512; len < 600 * PAGE; len += len < 16384 ? 512 : 31 * 512)
			if (!try(offset, len))
				return false;
	return try(PAGES * PAGE - 512, 512) && try((PAGES - 600) * PAGE, 600 * PAGE);
}

int main(void)
{
	static const unsigned int shifts[] = { 12, 13, 16, 21, NVME_DMABUF_ONE_CHUNK };
	unsigned int i, use_sgl;

	for (i = 0; i < sizeof(shifts) / sizeof(shifts[0]); i++) {
		for (use_sgl = 0; use_sgl < 2; use_sgl++) {
			make_map(shifts[i], use_sgl);
			if (!try_bounds())
				return 1;
			free_map();
		}
	}
	make_map(12, false);
	if (!try_lists())
		return 1;
	free_map();
	printf("right: %lu PRP pairs, %lu lists, %lu descriptors\n", pairs, lists, descriptors);
	return !(pairs && lists && descriptors);
}
