// SPDX-License-Identifier: GPL-2.0
/*
 * Registered dma-bufs for NVMe: the chunks that are found in a layout, and what
 * commands point to, read as controllers do.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include "dmabuf.h"

#define SLOTS		NVME_DMABUF_PRPS_PER_PAGE
#define PAGE		((u64)NVME_CTRL_PAGE_SIZE)
#define PAGES		3000U	/* of the buffer, if large */
#define DESCRIPTORS	5	/* NVME_MAX_NR_DESCRIPTORS in pci.c */

struct context {
	struct device *dev;
	struct dma_pool *pool;
	struct dma_buf_io_dev io_dev;
	struct sg_table sgt;
	struct nvme_dmabuf_map *map;
	unsigned int shift;		/* of the layout, for the code to find */
	unsigned int pages;
	void *built[DESCRIPTORS];	/* a list that was built for a request */
	dma_addr_t built_dma[DESCRIPTORS];
	int nr_built;
};

/* Addresses that tell what they are of, with a gap after each chunk. */
static dma_addr_t page_addr(const struct context *c, u64 page)
{
	return (page + 1 + (page * PAGE >> c->shift) * 1000) * PAGE;
}

static dma_addr_t byte_addr(const struct context *c, u64 offset)
{
	return page_addr(c, offset / PAGE) + offset % PAGE;
}

/* One segment to a page, as what follows must not depend on segments. */
static int make_map(struct context *c, unsigned int shift, unsigned int pages,
		    bool sgl)
{
	struct dma_buf_io_map *base;
	struct scatterlist *sg;
	unsigned int i;
	int ret;

	c->shift = shift;
	c->pages = pages;
	ret = sg_alloc_table(&c->sgt, pages, GFP_KERNEL);
	if (ret)
		return ret;
	for_each_sgtable_dma_sg(&c->sgt, sg, i) {
		sg_dma_address(sg) = page_addr(c, i);
		sg_dma_len(sg) = PAGE;
	}

	base = nvme_dmabuf_map_sgt(c->dev, &c->sgt, pages * PAGE, sgl);
	if (IS_ERR(base)) {
		sg_free_table(&c->sgt);
		return PTR_ERR(base);
	}
	c->map = to_nvme_dmabuf_map(base);
	return 0;
}

static void free_map(struct context *c)
{
	nvme_dmabuf_unmap(&c->io_dev, &c->map->base);
	sg_free_table(&c->sgt);
	c->map = NULL;
}

/* What a controller reads at an address; 0 outside of all lists. */
static u64 device_reads(const struct context *c, dma_addr_t at)
{
	const struct nvme_dmabuf_map *map = c->map;
	size_t bytes = map->second + c->pages;
	size_t i, pages;
	int n;

	for (n = 0; n < c->nr_built; n++)
		if (at / PAGE == c->built_dma[n] / PAGE)
			return le64_to_cpu(((__le64 *)c->built[n])[at % PAGE / 8]);
	if (!map->list_dma)
		return 0;
	pages = DIV_ROUND_UP(bytes, SLOTS);
	for (i = 0; i < pages; i++)
		if (at / PAGE == map->list_dma[i] / PAGE)
			return le64_to_cpu(map->prps[i * SLOTS + at % PAGE / 8]);
	return 0;
}

/*
 * Controllers, each reading @nr entries for the pages from @page on. They return
 * what is wrong, or NULL.
 *
 * By the specification the last slot of a page is a pointer to the next one if
 * more than one entry remains.
 */
static const char *read_by_slot(const struct context *c, dma_addr_t at,
				u64 page, unsigned int nr)
{
	while (nr) {
		u64 entry = device_reads(c, at);

		if (at % PAGE / 8 == SLOTS - 1 && nr > 1) {
			if (entry % PAGE)
				return "by slot: the next list starts inside a page";
			at = entry;
			continue;
		}
		if (entry != page_addr(c, page))
			return "by slot: other memory";
		at += 8;
		page++;
		nr--;
	}
	return NULL;
}

/* As bhyve does: the 512th entry from where the list starts is the pointer. */
static const char *read_by_window(const struct context *c, dma_addr_t list,
				  u64 page, unsigned int nr)
{
	dma_addr_t at = list;

	while (nr) {
		u64 entry = device_reads(c, at);

		if (at / PAGE != list / PAGE)
			return "by window: reads past the page";
		if (at == list + (SLOTS - 1) * 8 && nr > 1) {
			at = entry;
			list = entry;
			continue;
		}
		if (entry != page_addr(c, page))
			return "by window: other memory";
		at += 8;
		page++;
		nr--;
	}
	return NULL;
}

/* As QEMU did: copies up to 512 entries, the last of which is the pointer. */
static const char *read_by_copy(const struct context *c, dma_addr_t at,
				u64 page, unsigned int nr)
{
	while (nr) {
		unsigned int n = min_t(unsigned int, nr, SLOTS), i;
		dma_addr_t list = at;

		for (i = 0; i < n && !(i == SLOTS - 1 && nr > 1); i++, nr--)
			if (device_reads(c, list + i * 8) !=
			    page_addr(c, page++))
				return "by copy: other memory";
		if (nr)
			at = device_reads(c, list + (SLOTS - 1) * 8);
	}
	return NULL;
}

static const char *read_list(const struct context *c, dma_addr_t at, u64 page,
			     unsigned int nr)
{
	return read_by_slot(c, at, page, nr) ?:
	       read_by_window(c, at, page, nr) ?:
	       read_by_copy(c, at, page, nr);
}

static const char *check_built(struct context *c, u64 offset, unsigned int len)
{
	u64 page = offset / PAGE, last = (offset + len - 1) / PAGE;
	struct nvme_common_command cmd = { };
	const char *wrong = NULL;
	int i;

	c->nr_built = nvme_dmabuf_build_list(c->map, offset, len, c->pool,
					     c->built, &cmd);
	if (c->nr_built < 1 || c->nr_built > DESCRIPTORS) {
		c->nr_built = 0;
		return "the number of descriptors";
	}
	c->built_dma[0] = le64_to_cpu(cmd.dptr.prp2);
	for (i = 1; i < c->nr_built; i++)
		c->built_dma[i] =
			le64_to_cpu(((__le64 *)c->built[i - 1])[SLOTS - 1]);

	if (le64_to_cpu(cmd.dptr.prp1) != byte_addr(c, offset))
		wrong = "PRP1";
	else if (c->built_dma[0] % PAGE)
		wrong = "a list that was built starts inside a page";
	else
		wrong = read_list(c, c->built_dma[0], page + 1, last - page);
	for (i = 0; i < c->nr_built; i++)
		dma_pool_free(c->pool, c->built[i], c->built_dma[i]);
	c->nr_built = 0;
	return wrong;
}

static const char *check_sgl(const struct context *c, u64 offset,
			     unsigned int len,
			     const struct nvme_common_command *cmd)
{
	if (offset >> c->shift != (offset + len - 1) >> c->shift)
		return "an SGL spans a gap";
	if (le64_to_cpu(cmd->dptr.sgl.addr) != byte_addr(c, offset) ||
	    le32_to_cpu(cmd->dptr.sgl.length) != len)
		return "an SGL is for other memory";
	return NULL;
}

/* What is wrong with the command for @len bytes from @offset, or NULL. */
static const char *serve(struct context *c, u64 offset, unsigned int len,
			 bool sgl)
{
	u64 page = offset / PAGE, last = (offset + len - 1) / PAGE;
	struct nvme_common_command cmd = { };

	if (nvme_dmabuf_set_pair(c->map, offset, len, &cmd)) {
		if (last > page + 1)
			return "two PRPs are not enough";
		if (le64_to_cpu(cmd.dptr.prp2) !=
		    (last > page ? page_addr(c, last) : 0))
			return "PRP2";
	} else if (last <= page + 1) {
		return "two PRPs are enough";
	} else if (nvme_dmabuf_set_long(c->map, offset, len, sgl, &cmd)) {
		dma_addr_t list = le64_to_cpu(cmd.dptr.prp2);

		if (cmd.flags & NVME_CMD_SGL_METABUF)
			return sgl ? check_sgl(c, offset, len, &cmd) :
				     "an SGL for a controller that takes none";
		if (list / PAGE != (list + (last - page) * 8 - 1) / PAGE)
			return "a list leaves its page";
		if (read_list(c, list, page + 1, last - page))
			return read_list(c, list, page + 1, last - page);
	} else {
		return check_built(c, offset, len);
	}
	return le64_to_cpu(cmd.dptr.prp1) == byte_addr(c, offset) ? NULL : "PRP1";
}

static void expect_served(struct kunit *test, u64 offset, unsigned int len,
			  bool sgl)
{
	struct context *c = test->priv;
	const char *wrong = serve(c, offset, len, sgl);

	if (wrong)
		KUNIT_FAIL(test, "%u bytes from %llu of %u pages, chunks of 2^%u, %s: %s",
			   len, offset, c->pages, c->shift, sgl ? "SGL" : "PRP",
			   wrong);
	cond_resched();
}

static const unsigned int edges[] = {
	1, 2, 3, 255, 256, 257, 258, 259, 510, 511, 512, 513, 1023, 1024, 1025,
	2047, 2048,
};

static void test_chunks(struct kunit *test)
{
	static const unsigned int shifts[] = {
		12, 13, 16, 21, NVME_DMABUF_ONE_CHUNK,
	};
	struct context *c = test->priv;
	unsigned int i;
	u64 page;

	for (i = 0; i < ARRAY_SIZE(shifts); i++) {
		/* the last gap is at a multiple of more than a chunk */
		unsigned int pages = shifts[i] == NVME_DMABUF_ONE_CHUNK ?
				     PAGES : (4 << (shifts[i] - 12)) + 1;

		KUNIT_ASSERT_EQ(test, make_map(c, shifts[i], pages, false), 0);
		KUNIT_EXPECT_EQ(test, c->map->chunk_shift, shifts[i]);
		for (page = 0; page < pages; page++)
			if (nvme_dmabuf_addr(c->map, page * PAGE + 8) !=
			    byte_addr(c, page * PAGE + 8))
				break;
		KUNIT_EXPECT_EQ(test, page, pages);
		free_map(c);
	}
}

/* Every start and length near the ends of the pages of either set of lists. */
static void test_lists(struct kunit *test)
{
	struct context *c = test->priv;
	unsigned int start, i;

	KUNIT_ASSERT_EQ(test, make_map(c, 12, PAGES, false), 0);
	for (start = 0; start < 2 * SLOTS; start++) {
		if (start % 256 > 2 && start % 256 < 253)
			continue;
		for (i = 0; i < ARRAY_SIZE(edges); i++) {
			if (start + edges[i] >= PAGES)
				continue;
			expect_served(test, start * PAGE, edges[i] * PAGE, false);
			expect_served(test, start * PAGE + 512,
				      edges[i] * PAGE, false);
		}
	}
	free_map(c);
}

static void test_offsets(struct kunit *test)
{
	static const unsigned int shifts[] = { 12, 14, NVME_DMABUF_ONE_CHUNK };
	struct context *c = test->priv;
	unsigned int len, i, sgl;
	u64 offset;

	for (i = 0; i < ARRAY_SIZE(shifts); i++) {
		KUNIT_ASSERT_EQ(test, make_map(c, shifts[i], PAGES, false), 0);
		for (sgl = 0; sgl < 2; sgl++)
			for (offset = 0; offset < 4 * PAGE; offset += 512)
				for (len = 512; len <= 5 * PAGE; len += 512)
					expect_served(test, offset, len, sgl);
		free_map(c);
	}
}

static void test_small_buffers(struct kunit *test)
{
	struct context *c = test->priv;
	unsigned int i, sgl;
	u64 page;

	for (i = 0; i < ARRAY_SIZE(edges); i++) {
		for (sgl = 0; sgl < 2; sgl++) {
			KUNIT_ASSERT_EQ(test, make_map(c, 12, edges[i], sgl), 0);
			expect_served(test, 0, edges[i] * PAGE, sgl);
			for (page = 0; page < edges[i]; page += 1 + page / 4)
				expect_served(test, page * PAGE,
					      (edges[i] - page) * PAGE, sgl);
			free_map(c);
		}
	}
}

static void test_misfits(struct kunit *test)
{
	struct context *c = test->priv;
	struct scatterlist *sg;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_EQ(test, make_map(c, 12, 3, false), 0);
		sg = sg_next(c->sgt.sgl);
		if (i)
			sg_dma_address(sg) += 512;
		else
			sg_dma_len(sg) += 512;
		KUNIT_EXPECT_PTR_EQ(test, (void *)ERR_PTR(-EINVAL),
				    (void *)nvme_dmabuf_map_sgt(c->dev, &c->sgt,
								3 * PAGE, false));
		free_map(c);
	}
}

/*
 * A list that starts inside its page and goes on in another is right by the
 * specification. If the other two models read it they would be of no use.
 */
static void test_models(struct kunit *test)
{
	struct context *c = test->priv;
	unsigned int i;
	dma_addr_t at;
	__le64 *list;

	KUNIT_ASSERT_EQ(test, make_map(c, 12, 2, false), 0);
	for (i = 0; i < 2; i++) {
		c->built[i] = dma_pool_zalloc(c->pool, GFP_KERNEL,
					      &c->built_dma[i]);
		KUNIT_ASSERT_NOT_NULL(test, c->built[i]);
		c->nr_built++;
	}
	list = c->built[0];
	for (i = 0; i < 9; i++)
		list[SLOTS - 10 + i] = cpu_to_le64(page_addr(c, i));
	list[SLOTS - 1] = cpu_to_le64(c->built_dma[1]);
	list = c->built[1];
	for (i = 0; i < SLOTS; i++)
		list[i] = cpu_to_le64(page_addr(c, 9 + i));

	at = c->built_dma[0] + (SLOTS - 10) * 8;
	KUNIT_EXPECT_NULL(test, read_by_slot(c, at, 0, 300));
	KUNIT_EXPECT_NOT_NULL(test, read_by_window(c, at, 0, 300));
	KUNIT_EXPECT_NOT_NULL(test, read_by_copy(c, at, 0, 300));

	for (i = 0; i < 2; i++)
		dma_pool_free(c->pool, c->built[i], c->built_dma[i]);
	c->nr_built = 0;
	free_map(c);
}

static int init(struct kunit *test)
{
	struct context *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);

	if (!c)
		return -ENOMEM;
	c->dev = kunit_device_register(test, "nvme-dmabuf");
	if (IS_ERR(c->dev))
		return PTR_ERR(c->dev);
	if (dma_set_mask_and_coherent(c->dev, DMA_BIT_MASK(64)))
		return -EIO;
	c->io_dev.dev = c->dev;
	c->pool = dma_pool_create("nvme-dmabuf", c->dev, PAGE, PAGE, 0);
	if (!c->pool)
		return -ENOMEM;
	test->priv = c;
	return 0;
}

static void cleanup(struct kunit *test)
{
	struct context *c = test->priv;

	if (c)
		dma_pool_destroy(c->pool);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_models),
	KUNIT_CASE(test_misfits),
	KUNIT_CASE(test_chunks),
	KUNIT_CASE(test_offsets),
	KUNIT_CASE_SLOW(test_small_buffers),
	KUNIT_CASE_SLOW(test_lists),
	{ }
};

static struct kunit_suite suite = {
	.name		= "nvme-dmabuf",
	.init		= init,
	.exit		= cleanup,
	.test_cases	= cases,
};

kunit_test_suite(suite);
