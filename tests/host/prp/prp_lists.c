// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Plays the controller: has the driver's own code make maps and commands, reads
 * what they point to as controllers do, and compares with the buffer's pages.
 *
 * Includes the kernel's dmabuf.c as it is, against the stand-ins of kernel.h.
 */
#include <stdio.h>

#include "kernel.h"
#include "dmabuf.c"

#define SLOTS		512U
#define PAGE		((u64)NVME_CTRL_PAGE_SIZE)
#define PAGES		20000UL		/* of the buffer, if large */
#define MAX_LEN		SZ_8M
#define DESCRIPTORS	5		/* NVME_MAX_NR_DESCRIPTORS in pci.c */

static struct nvme_dmabuf_map *map;
static struct dma_buf_io_dev dev;
static struct device device = { .coherent = true };
static struct sg_table table;
static unsigned int shift;		/* of the layout, which the driver has to find */
static unsigned long pages;

/* Addresses that tell what they are of, with a gap after each chunk. */
static dma_addr_t page_addr(unsigned long page)
{
	return (page + 1 + (page * PAGE >> shift) * 1000) * PAGE;
}

static dma_addr_t byte_addr(u64 offset)
{
	return page_addr(offset / PAGE) + offset % PAGE;
}

/* Two segments to a chunk where there is room. */
static void make_table(unsigned int chunk_shift, unsigned long nr_pages, bool with_pages)
{
	unsigned long chunk, page;
	struct scatterlist *sg;

	shift = chunk_shift;
	pages = nr_pages;
	chunk = shift == NVME_DMABUF_ONE_CHUNK ? pages : 1UL << shift >> 12;
	sg = table.sgl = calloc(pages + 1, sizeof(*sg));
	for (page = 0; page < pages; page += sg++->len / PAGE) {
		unsigned long left = chunk - page % chunk;

		if (page % chunk == 0 && chunk > 1)
			left = chunk / 2;
		if (left > pages - page)
			left = pages - page;
		sg->addr = page_addr(page);
		sg->len = left * PAGE;
	}
	table.nents = sg - table.sgl;
	table.orig_nents = with_pages ? table.nents : 0;
}

static bool make_map(bool sgl)
{
	struct dma_buf_io_map *base;

	dev.dev = &device;
	base = nvme_dmabuf_map_sgt(&device, &table, pages * PAGE, sgl);
	if (IS_ERR(base))
		return false;
	map = to_nvme_dmabuf_map(base);
	return true;
}

/* Returns whether nothing is left of the map. */
static bool free_map(void)
{
	nvme_dmabuf_unmap(&dev, &map->base);
	free(table.sgl);
	if (held)
		printf("%ld allocations and mappings are left\n", held);
	return !held;
}

/*
 * Controllers, each reading @nr entries, 2 or more, for the pages from @page on.
 * They return what is wrong, or NULL.
 *
 * By the specification the last slot of a list page is a pointer to the next
 * one if more than one entry remains.
 */
static const char *read_by_slot(dma_addr_t at, unsigned long page, unsigned int nr)
{
	while (nr) {
		u64 entry = device_reads(at);

		if (at % PAGE / sizeof(entry) == SLOTS - 1 && nr > 1) {
			if (entry % PAGE)
				return "by slot: the next list does not start in slot 0";
			at = entry;
			continue;
		}
		if (entry != page_addr(page))
			return "by slot: wrong memory";
		at += sizeof(entry);
		page++;
		nr--;
	}
	return NULL;
}

/*
 * As bhyve does, MDTS of 2 MiB: maps the rest of the page that the list starts
 * in, and takes the 512th entry from there for the pointer to the next list.
 */
static const char *read_by_window(dma_addr_t list, unsigned long page, unsigned int nr)
{
	dma_addr_t at = list;

	while (nr) {
		u64 entry = device_reads(at);

		if (at / PAGE != list / PAGE)
			return "by window: reads past the page";
		if (at == list + (SLOTS - 1) * sizeof(entry) && nr > 1) {
			at = list = entry;
			continue;
		}
		if (entry != page_addr(page))
			return "by window: wrong memory";
		at += sizeof(entry);
		page++;
		nr--;
	}
	return NULL;
}

/*
 * As QEMU did before it knew that a list may start at any slot: copies up to 512
 * entries from there, the last of which is a pointer if more than one remains.
 */
static const char *read_by_copy(dma_addr_t at, unsigned long page, unsigned int nr)
{
	u64 entries[SLOTS];

	while (nr) {
		unsigned int n = nr < SLOTS ? nr : SLOTS, i;

		for (i = 0; i < n; i++)
			entries[i] = device_reads(at + i * sizeof(*entries));
		for (i = 0; i < n && !(i == SLOTS - 1 && nr > 1); i++, nr--)
			if (entries[i] != page_addr(page++))
				return "by copy: wrong memory";
		if (nr)
			at = entries[SLOTS - 1];
	}
	return NULL;
}

static const char *read_list(dma_addr_t at, unsigned long page, unsigned int nr)
{
	const char *wrong = read_by_slot(at, page, nr);

	if (!wrong)
		wrong = read_by_window(at, page, nr);
	return wrong ? wrong : read_by_copy(at, page, nr);
}

/* As nvme_free_descriptors() in pci.c does. */
static void driver_frees(void **descriptors, int nr, dma_addr_t dma)
{
	int i;

	for (i = 0; i < nr; i++) {
		__le64 *list = descriptors[i];
		dma_addr_t next = list[SLOTS - 1];

		dma_pool_free(NULL, list, dma);
		dma = next;
	}
}

/* What kinds of data pointers were seen */
static unsigned long pairs, in_place[2], built, sgls;
static int most_descriptors;

static const char *check_sgl(u64 offset, unsigned int len, const struct nvme_sgl_desc *sgl)
{
	unsigned long page;

	sgls++;
	if (sgl->type || sgl->rsvd[0] || sgl->rsvd[1] || sgl->rsvd[2])
		return "not a data descriptor";
	if (sgl->addr != byte_addr(offset) || sgl->length != len)
		return "the descriptor is for other memory";
	for (page = offset / PAGE; page < (offset + len - 1) / PAGE; page++)
		if (page_addr(page + 1) != page_addr(page) + PAGE)
			return "the descriptor spans a gap";
	return NULL;
}

static const char *check_built(u64 offset, unsigned int len, struct nvme_common_command *cmd)
{
	unsigned long page = offset / PAGE, last = (offset + len - 1) / PAGE;
	void *descriptors[DESCRIPTORS + 1] = { 0 };
	long before = held;
	const char *wrong;
	int nr;

	nr = nvme_dmabuf_build_list(map, offset, len, NULL, descriptors, cmd);
	built++;
	if (nr < 1 || nr > DESCRIPTORS || descriptors[nr] || held != before + nr)
		return "the wrong number of descriptors";
	if (nr > most_descriptors)
		most_descriptors = nr;
	wrong = cmd->dptr.prp2 % PAGE ? "a list that was built starts inside a page" :
		read_list(cmd->dptr.prp2, page + 1, last - page);
	driver_frees(descriptors, nr, cmd->dptr.prp2);
	return !wrong && held != before ? "the driver's freeing leaves pages" : wrong;
}

/* Which set of lists serves @nr entries from @page on: 0, 1, or -1 for none */
static int set_for(unsigned long page, unsigned int nr)
{
	if (page % SLOTS + nr <= SLOTS)
		return 0;
	return (page + SLOTS / 2) % SLOTS + nr <= SLOTS ? 1 : -1;
}

/* A list that is not built; where it is and its ends, which is enough with the lists themselves compared. */
static const char *check_in_place(unsigned long page, unsigned int nr, int set, dma_addr_t list)
{
	in_place[set]++;
	if (list / PAGE != (list + nr * sizeof(u64) - 1) / PAGE)
		return "a list leaves its page";
	if (device_reads(list) != page_addr(page) ||
	    device_reads(list + (nr - 1) * sizeof(u64)) != page_addr(page + nr - 1))
		return "a list is for other memory";
	return NULL;
}

/* Returns what is wrong with the command for @len bytes from @offset, or NULL. */
static const char *serve(u64 offset, unsigned int len, bool sgl, bool quick)
{
	struct nvme_common_command cmd = { .dptr = { .prp1 = -1, .prp2 = -1 } };
	unsigned long page = offset / PAGE, last = (offset + len - 1) / PAGE;
	bool one_chunk = offset >> shift == (offset + len - 1) >> shift;
	int set = map->list_dma ? set_for(page + 1, last - page) : -1;
	const char *wrong;

	if (nvme_dmabuf_set_pair(map, offset, len, &cmd)) {
		pairs++;
		if (last > page + 1)
			return "a pair of PRPs is not enough";
		if (cmd.dptr.prp2 != (last > page ? page_addr(last) : 0))
			return "PRP2 is for other memory";
	} else if (last <= page + 1) {
		return "a pair of PRPs is enough";
	} else if (nvme_dmabuf_set_long(map, offset, len, sgl, &cmd)) {
		if (cmd.flags & NVME_CMD_SGL_METABUF)
			return sgl ? check_sgl(offset, len, &cmd.dptr.sgl) : "an SGL for a controller that takes none";
		if (set < 0)
			return "no list is in one page";
		wrong = check_in_place(page + 1, last - page, set, cmd.dptr.prp2);
		if (!wrong && !quick)
			wrong = read_list(cmd.dptr.prp2, page + 1, last - page);
		if (wrong)
			return wrong;
	} else if (set >= 0 || (sgl && one_chunk)) {
		return "no need to build a list";
	} else if (!quick) {
		wrong = check_built(offset, len, &cmd);
		if (wrong)
			return wrong;
	} else {
		return NULL;
	}
	if (cmd.flags)
		return "flags without an SGL";
	return cmd.dptr.prp1 != byte_addr(offset) ? "PRP1 is for other memory" : NULL;
}

static bool try(u64 offset, unsigned int len, bool sgl, bool quick)
{
	const char *wrong = serve(offset, len, sgl, quick);

	if (wrong)
		printf("%u bytes from %llu of %lu pages, chunks of 2^%u, %s: %s\n", len, (unsigned long long)offset, pages,
		       shift, sgl ? "SGL" : "PRP", wrong);
	return !wrong;
}

/* Near the ends of the pages of either set */
static bool near(unsigned int slot)
{
	return slot % (SLOTS / 2) < 4 || slot % (SLOTS / 2) > SLOTS / 2 - 4;
}

/* Every length in pages from every start in a list page: whether a list is built; those near ends are read. */
static bool try_lists(void)
{
	unsigned int start, nr;

	for (start = 0; start < 2 * SLOTS; start++)
		for (nr = 1; nr <= MAX_LEN / PAGE; nr++)
			if (!try(start * PAGE, nr * PAGE, false, !near(start) || !near(nr)))
				return false;
	return true;
}

/* Any offset and length, both sides of what matters. */
static bool try_bounds(bool sgl)
{
	u64 size = pages * PAGE, offset;
	unsigned int len;

	for (offset = 0; offset < 600 * PAGE && offset < size; offset += 35 * SECTOR_SIZE)
		for (len = SECTOR_SIZE; len < 600 * PAGE && len <= size - offset; len += len < 16384 ? 512 : 31 * 512)
			if (!try(offset, len, sgl, false))
				return false;
	/* the longest from anywhere in a list page and in a page */
	for (offset = 0; offset + MAX_LEN <= size && offset < SLOTS * PAGE; offset += 21 * SECTOR_SIZE)
		if (!try(offset, MAX_LEN, sgl, false))
			return false;
	/* to the end of the buffer */
	for (len = SECTOR_SIZE; len <= size && len <= MAX_LEN; len += 63 * SECTOR_SIZE)
		if (!try(size - len, len, sgl, false))
			return false;
	return try(0, size < MAX_LEN ? size : MAX_LEN, sgl, false);
}

/* Aligned requests of up to 2 MiB, which is what there is most of, have no list built. */
static bool try_common(void)
{
	unsigned long before = built;
	u64 offset;
	unsigned int len;

	for (len = 4096; len <= 2 << 20; len *= 2)
		for (offset = 0; offset < 16 << 20; offset += len)
			if (!try(offset, len, false, false))
				return false;
	if (built != before)
		printf("lists were built for aligned requests\n");
	return built == before;
}

static bool try_layouts(void)
{
	static const unsigned int shifts[] = { 12, 13, 16, 21, NVME_DMABUF_ONE_CHUNK };
	unsigned int i, made_with, sgl;

	for (i = 0; i < sizeof(shifts) / sizeof(shifts[0]); i++) {
		for (made_with = 0; made_with < 2; made_with++) {
			make_table(shifts[i], PAGES, true);
			if (!make_map(made_with))
				return false;
			if (map->chunk_shift != shift) {
				printf("chunks of 2^%u were taken for 2^%u\n", shift, map->chunk_shift);
				return false;
			}
			/* what the controller takes may change while there is a map */
			for (sgl = 0; sgl < 2; sgl++)
				if (!try_bounds(sgl))
					return false;
			if (map->list_dma && !try_common())
				return false;
			if (!i && !made_with && !try_lists())
				return false;
			if (!free_map())
				return false;
		}
	}
	return true;
}

static bool try_small_buffers(void)
{
	static const unsigned long sizes[] = { 1, 2, 3, 255, 256, 257, 258, 511, 512, 513, 514, 768, 769, 1024, 1025 };
	unsigned int i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		u64 offset;

		make_table(12, sizes[i], true);
		if (!make_map(true) || !try_bounds(true))
			return false;
		for (offset = 0; offset < pages * PAGE; offset += PAGE)
			if (!try(offset, pages * PAGE - offset, false, false) || !try(0, offset + PAGE, false, false))
				return false;
		if (!free_map())
			return false;
	}
	return true;
}

/* No memory for one thing after the other. */
static bool try_failing(void)
{
	struct nvme_common_command cmd;
	void *descriptors[DESCRIPTORS];
	long times, before;
	int ret;

	make_table(12, PAGES, true);
	for (times = 1; fails_in = times, !make_map(false); times++) {
		if (held) {
			printf("%ld allocations and mappings are left after failing\n", held);
			return false;
		}
	}
	if (times < 6) {
		printf("a map was made although memory ran out\n");
		return false;
	}

	before = held;
	for (times = 1; times <= DESCRIPTORS; times++) {
		fails_in = times;
		ret = nvme_dmabuf_build_list(map, PAGE, MAX_LEN + PAGE, NULL, descriptors, &cmd);
		if (ret != -ENOMEM || held != before) {
			printf("building a list without memory: %d, %ld pages left\n", ret, held - before);
			return false;
		}
	}
	fails_in = -1;
	return free_map();
}

static bool try_sync_range(u64 offset, unsigned int len, bool for_device, bool needed)
{
	sync_address = byte_addr;
	sync_offset = offset;
	sync_for = for_device;
	synced = segments = 0;
	nvme_dmabuf_sync(map, &device, offset, len, DMA_FROM_DEVICE, for_device);
	if (segments)
		printf("synchronizing looks at segments\n");
	else if (!needed && synced)
		printf("synchronizes without need\n");
	else if (needed && sync_offset != offset + len)
		printf("%u bytes from %llu: synchronizes something else\n", len, (unsigned long long)offset);
	else
		return true;
	return false;
}

static bool try_sync(void)
{
	unsigned int coherent, with_pages, len;
	u64 offset;

	for (coherent = 0; coherent < 2; coherent++) {
		for (with_pages = 0; with_pages < 2; with_pages++) {
			device.coherent = coherent;
			make_table(13, 3000, with_pages);
			if (!make_map(false))
				return false;
			for (offset = 0; offset < 20 * PAGE; offset += SECTOR_SIZE)
				for (len = SECTOR_SIZE; len < 20 * PAGE; len += SECTOR_SIZE)
					if (!try_sync_range(offset, len, len & 512, !coherent && with_pages))
						return false;
			if (!try_sync_range(0, MAX_LEN, true, !coherent && with_pages) || !free_map())
				return false;
		}
	}
	return true;
}

/* Segments that PRPs cannot describe */
static bool try_misfits(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		make_table(12, 3, true);
		if (i)
			table.sgl[1].addr += SECTOR_SIZE;
		else
			table.sgl[1].len += SECTOR_SIZE;
		if (make_map(true)) {
			printf("a map of unaligned segments\n");
			return false;
		}
		free(table.sgl);
	}
	return !held;
}

/*
 * A list that starts inside its page and goes on in another is right by the
 * specification. If the other two models read it, they would be of no use.
 */
static bool models_differ(void)
{
	static u64 lists[2][PAGE_SIZE / sizeof(u64)];
	dma_addr_t list = LISTS + (SLOTS - 10) * sizeof(u64);
	unsigned int i;

	shift = 12;
	for (i = 0; i < 9; i++)
		lists[0][SLOTS - 10 + i] = page_addr(i);
	lists[0][SLOTS - 1] = LISTS + 2 * PAGE_SIZE;
	for (i = 0; i < SLOTS; i++)
		lists[1][i] = page_addr(9 + i);
	list_pages[0] = lists[0];
	list_pages[1] = lists[1];
	nr_list_pages = 2;
	if (read_by_slot(list, 0, 300) || !read_by_window(list, 0, 300) || !read_by_copy(list, 0, 300)) {
		printf("the models of controllers do not differ\n");
		return false;
	}
	nr_list_pages = 0;
	return true;
}

int main(void)
{
	if (!models_differ() || !try_misfits() || !try_failing() || !try_sync() || !try_small_buffers() || !try_layouts())
		return 1;
	if (most_descriptors != DESCRIPTORS) {
		printf("%d descriptors are enough\n", most_descriptors);
		return 1;
	}
	printf("right: %lu PRP pairs, %lu and %lu lists in place, %lu built, %lu SGLs\n", pairs, in_place[0], in_place[1],
	       built, sgls);
	return !(pairs && in_place[0] && in_place[1] && built && sgls);
}
