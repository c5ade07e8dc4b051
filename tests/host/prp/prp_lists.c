// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Plays the controller: for every first page and length of a request, reads the
 * PRP list that the driver's own code points it to, by the rules of the NVMe
 * specification (the last slot of a page is a pointer to the next one if
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
#define PAGES	20000UL		/* of the buffer */
#define STARTS	(NVME_DMABUF_PRPS_PER_LIST + 2)
#define LONGEST	8193U		/* entries: 32 MiB and unaligned */

static struct nvme_dmabuf_map map;

/* Addresses that tell what they are of: pages below, lists above. */
static dma_addr_t page_addr(unsigned long page)
{
	return (page + 1) * NVME_CTRL_PAGE_SIZE;
}

static dma_addr_t list_addr(unsigned long list)
{
	return (1ULL << 40) + list * NVME_CTRL_PAGE_SIZE;
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

/* Returns the number of list pages gone through, or -1. */
static int walk(unsigned long page, unsigned int nr)
{
	dma_addr_t at = nvme_dmabuf_list(&map, page, nr);
	unsigned int left;
	int hops = 0;

	for (left = nr; left; left--, page++, at += sizeof(__le64)) {
		unsigned long slot = (at - list_addr(0)) / sizeof(__le64);

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

int main(void)
{
	unsigned long lists, page, cases = 0, i;
	unsigned int nr;

	map.second = (PAGES + NVME_DMABUF_PRPS_PER_LIST - 1) / NVME_DMABUF_PRPS_PER_LIST;
	lists = map.second + (PAGES + NVME_DMABUF_PHASE + NVME_DMABUF_PRPS_PER_LIST - 1) /
		NVME_DMABUF_PRPS_PER_LIST;
	map.prps = calloc(lists * SLOTS, sizeof(*map.prps));
	map.list_dma = calloc(lists, sizeof(*map.list_dma));
	for (i = 0; i < lists; i++)
		map.list_dma[i] = list_addr(i);
	fill(0, map.second, 0);
	fill(map.second, lists - map.second, NVME_DMABUF_PHASE);

	for (page = 0; page < PAGES; page++) {
		if (nvme_dmabuf_page(&map, page) != page_addr(page)) {
			printf("page %lu is not found\n", page);
			return 1;
		}
	}
	for (page = 0; page < STARTS; page++) {
		for (nr = 2; nr <= LONGEST; nr++, cases++) {
			int hops;

			/* what differs repeats with the lists: long ones near their ends */
			if (nr == 2 * SLOTS)
				nr = LONGEST - SLOTS;
			hops = walk(page, nr);

			if (hops < 0 || (nr <= 256 && hops)) {
				printf("%u entries from page %lu: %s\n", nr, page,
				       hops < 0 ? "wrong memory" : "leaves its list page");
				return 1;
			}
		}
	}
	printf("%lu lists right, none of up to 256 entries leaves its page\n", cases);
	return 0;
}
