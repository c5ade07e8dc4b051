// SPDX-License-Identifier: GPL-2.0
/*
 * Registered dma-bufs for NVMe over PCIe: making and freeing maps, and what few
 * requests need.
 */
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/highmem.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include "dmabuf.h"

/* User space chose the size, so its failing is no reason to warn. */
#define NVME_DMABUF_GFP	(GFP_KERNEL_ACCOUNT | __GFP_NOWARN)

/* PRP entries are whole pages. User space chose the memory, so do not warn. */
static bool nvme_dmabuf_sgt_fits(struct sg_table *sgt)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if ((sg_dma_address(sg) | sg_dma_len(sg)) &
		    (NVME_CTRL_PAGE_SIZE - 1))
			return false;
		cond_resched();
	}
	return true;
}

/*
 * The largest power of two such that, counted from the start of the buffer,
 * each piece of that size is contiguous.
 */
static unsigned int nvme_dmabuf_chunk_shift(struct sg_table *sgt)
{
	dma_addr_t next = sg_dma_address(sgt->sgl);
	u64 pos = 0, breaks = 0;
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (sg_dma_address(sg) != next)
			breaks |= pos;
		next = sg_dma_address(sg) + sg_dma_len(sg);
		pos += sg_dma_len(sg);
		cond_resched();
	}
	return breaks ? __ffs64(breaks) : NVME_DMABUF_ONE_CHUNK;
}

static int nvme_dmabuf_make_chunks(struct nvme_dmabuf_map *map,
				   struct sg_table *sgt, size_t size)
{
	u64 pos = 0, end = 0, chunk;
	struct scatterlist *sg;
	unsigned int i;

	map->chunk_shift = nvme_dmabuf_chunk_shift(sgt);
	chunk = 1ULL << map->chunk_shift;
	map->chunks = kvmalloc_objs(*map->chunks,
				    (((u64)size - 1) >> map->chunk_shift) + 1,
				    NVME_DMABUF_GFP);
	if (!map->chunks)
		return -ENOMEM;

	/* @pos runs over the starts of chunks, @end over those of segments */
	for_each_sgtable_dma_sg(sgt, sg, i) {
		u64 start = end;

		end += sg_dma_len(sg);
		for (; pos < end; pos += chunk)
			map->chunks[pos >> map->chunk_shift] =
				sg_dma_address(sg) - start;
		cond_resched();
	}
	return 0;
}

/* Enter the address of each of the buffer's pages. */
static void nvme_dmabuf_fill(__le64 *prps, struct sg_table *sgt)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		dma_addr_t addr = sg_dma_address(sg);
		dma_addr_t end = addr + sg_dma_len(sg);

		for (; addr != end; addr += NVME_CTRL_PAGE_SIZE)
			*prps++ = cpu_to_le64(addr);
		cond_resched();
	}
}

/* Let the controller read @map->prps, whose @size bytes are final. */
static int nvme_dmabuf_map_lists(struct nvme_dmabuf_map *map,
				 struct device *dev, size_t size)
{
	unsigned int nr_pages = size >> PAGE_SHIFT, i;
	struct scatterlist *sg;
	unsigned long list = 0;
	struct page **pages;
	int ret;

	pages = kvmalloc_objs(*pages, nr_pages, GFP_KERNEL | __GFP_NOWARN);
	if (!pages)
		return -ENOMEM;
	for (i = 0; i < nr_pages; i++) {
		pages[i] = vmalloc_to_page((void *)map->prps + i * PAGE_SIZE);
		cond_resched();
	}

	/* no larger segments: bounce buffers could not hold them */
	ret = sg_alloc_table_from_pages_segment(&map->pages, pages, nr_pages, 0,
						size, PAGE_SIZE,
						GFP_KERNEL_ACCOUNT);
	kvfree(pages);
	if (ret)
		return ret;

	flush_kernel_vmap_range(map->prps, size);
	ret = dma_map_sgtable(dev, &map->pages, DMA_TO_DEVICE, 0);
	if (ret) {
		sg_free_table(&map->pages);
		return ret;
	}

	for_each_sgtable_dma_sg(&map->pages, sg, i) {
		dma_addr_t addr = sg_dma_address(sg);
		dma_addr_t end = addr + sg_dma_len(sg);

		for (; addr != end; addr += NVME_CTRL_PAGE_SIZE)
			map->list_dma[list++] = addr;
		cond_resched();
	}
	return 0;
}

static int nvme_dmabuf_make_lists(struct nvme_dmabuf_map *map,
				  struct device *dev, struct sg_table *sgt,
				  size_t size)
{
	const unsigned int per_page = NVME_DMABUF_PRPS_PER_PAGE;
	size_t nr_prps = size / NVME_CTRL_PAGE_SIZE, bytes;

	/* entries that fit in one page never cross its end: one set is enough */
	if (nr_prps > per_page)
		map->second = roundup(nr_prps, per_page) + per_page / 2;
	bytes = PAGE_ALIGN((map->second + nr_prps) * sizeof(*map->prps));
	/* sg_table counts pages in 32 bits; reached at a buffer of petabytes */
	if (bytes >> PAGE_SHIFT > INT_MAX)
		return -ENOMEM;

	map->prps = __vmalloc(bytes, NVME_DMABUF_GFP | __GFP_ZERO);
	map->list_dma = kvmalloc_objs(*map->list_dma,
				      bytes / NVME_CTRL_PAGE_SIZE,
				      NVME_DMABUF_GFP);
	if (!map->prps || !map->list_dma)
		return -ENOMEM;

	nvme_dmabuf_fill(map->prps, sgt);
	if (map->second)
		nvme_dmabuf_fill(map->prps + map->second, sgt);
	return nvme_dmabuf_map_lists(map, dev, bytes);
}

static void nvme_dmabuf_free(struct nvme_dmabuf_map *map)
{
	kvfree(map->list_dma);
	vfree(map->prps);
	kvfree(map->chunks);
	kvfree(map);
}

/**
 * nvme_dmabuf_map_sgt - make a map for an exporter's mapping
 * @dev: the controller's device
 * @sgt: the mapping; its DMA segments add up to @size, and none is a bounce
 *	buffer, nor a bus address where @dev needs caches to be maintained
 * @size: of the dma-buf in bytes, not 0
 * @sgl: the controller takes SGLs. Only a guess at what requests will find:
 *	lists that are not needed with SGLs are left out.
 *
 * Context: may sleep; the reservation lock of the dma-buf is held.
 * Return: the map, to be undone by nvme_dmabuf_unmap(), or an ERR_PTR: -EINVAL
 * for segments that PRPs cannot describe, -ENOMEM.
 */
struct dma_buf_io_map *nvme_dmabuf_map_sgt(struct device *dev,
					   struct sg_table *sgt, size_t size,
					   bool sgl)
{
	struct nvme_dmabuf_map *map;
	int ret;

	if (!nvme_dmabuf_sgt_fits(sgt))
		return ERR_PTR(-EINVAL);

	map = kvzalloc_obj(*map, NVME_DMABUF_GFP);
	if (!map)
		return ERR_PTR(-ENOMEM);
	/* memory without pages is not cached, see dma_buf_phys_vec_to_sgt() */
	map->need_sync = !dev_is_dma_coherent(dev) && sgt->orig_nents;

	ret = nvme_dmabuf_make_chunks(map, sgt, size);
	if (ret)
		goto err_free;
	if (!sgl || map->chunk_shift != NVME_DMABUF_ONE_CHUNK) {
		ret = nvme_dmabuf_make_lists(map, dev, sgt, size);
		if (ret)
			goto err_free;
	}
	return &map->base;

err_free:
	nvme_dmabuf_free(map);
	return ERR_PTR(ret);
}

/**
 * nvme_dmabuf_unmap - undo nvme_dmabuf_map_sgt()
 * @dev: embedded in the controller's structure
 * @base: the map; freed
 */
void nvme_dmabuf_unmap(struct dma_buf_io_dev *dev, struct dma_buf_io_map *base)
{
	struct nvme_dmabuf_map *map = to_nvme_dmabuf_map(base);

	if (map->prps) {
		dma_unmap_sgtable(dev->dev, &map->pages, DMA_TO_DEVICE, 0);
		sg_free_table(&map->pages);
	}
	nvme_dmabuf_free(map);
}

/**
 * nvme_dmabuf_describe - tell what a map is like
 * @base: the map
 * @size: of the dma-buf in bytes
 * @info: gets it
 */
void nvme_dmabuf_describe(const struct dma_buf_io_map *base, size_t size,
			  struct dma_buf_io_info *info)
{
	const struct nvme_dmabuf_map *map =
		container_of_const(base, struct nvme_dmabuf_map, base);
	size_t pages = map->pages.orig_nents;

	info->chunk = map->chunk_shift == NVME_DMABUF_ONE_CHUNK ? size :
		      1ULL << map->chunk_shift;
	info->lists = map->prps;
	info->driver_bytes = sizeof(*map) +
		((((u64)size - 1) >> map->chunk_shift) + 1) * sizeof(*map->chunks);
	if (map->prps)
		info->driver_bytes += pages * (PAGE_SIZE +
			sizeof(struct scatterlist) +
			PAGE_SIZE / NVME_CTRL_PAGE_SIZE * sizeof(*map->list_dma));
}

/* Free @nr pages of a list, the first at @dma. */
static void nvme_dmabuf_free_list(struct dma_pool *pool, void **descriptors,
				  int nr, dma_addr_t dma)
{
	int i;

	for (i = 0; i < nr; i++) {
		__le64 *list = descriptors[i];
		__le64 next = list[NVME_DMABUF_PRPS_PER_PAGE - 1];

		dma_pool_free(pool, list, dma);
		dma = le64_to_cpu(next);
	}
}

/**
 * nvme_dmabuf_build_list - build a PRP list for a request
 * @map: the map
 * @offset: in the buffer
 * @len: in bytes; more than PRP1 and PRP2 can say, as nvme_dmabuf_set_pair()
 *	has found
 * @pool: of pages of %NVME_CTRL_PAGE_SIZE
 * @descriptors: gets the pages, as many as the driver uses for @len bytes of
 *	ordinary memory
 * @cmd: its data pointer is set
 *
 * The list starts at the start of a page, and each page that is not the last
 * ends in a pointer to the next one. Every controller reads such lists, and the
 * driver frees them as it does its own.
 *
 * Context: any.
 * Return: the number of pages, or -ENOMEM.
 */
int nvme_dmabuf_build_list(const struct nvme_dmabuf_map *map, u64 offset,
			   unsigned int len, struct dma_pool *pool,
			   void **descriptors, struct nvme_common_command *cmd)
{
	const unsigned int per_page = NVME_DMABUF_PRPS_PER_PAGE;
	unsigned int first = NVME_CTRL_PAGE_SIZE -
			     offset % NVME_CTRL_PAGE_SIZE;
	unsigned int left = DIV_ROUND_UP(len - first, NVME_CTRL_PAGE_SIZE), i;
	__le64 *link = &cmd->dptr.prp2, *list;
	u64 pos = offset + first;
	int nr = 0;

	cmd->dptr.prp1 = cpu_to_le64(nvme_dmabuf_addr(map, offset));
	while (left) {
		unsigned int here = left > per_page ? per_page - 1 : left;
		dma_addr_t dma;

		list = dma_pool_alloc(pool, GFP_ATOMIC, &dma);
		if (!list) {
			nvme_dmabuf_free_list(pool, descriptors, nr,
					      le64_to_cpu(cmd->dptr.prp2));
			return -ENOMEM;
		}
		descriptors[nr++] = list;
		*link = cpu_to_le64(dma);
		link = &list[per_page - 1];

		for (i = 0; i < here; i++, pos += NVME_CTRL_PAGE_SIZE)
			list[i] = cpu_to_le64(nvme_dmabuf_addr(map, pos));
		left -= here;
	}
	return nr;
}

/**
 * __nvme_dmabuf_sync - hand part of a buffer to the device or back to the CPU
 * @map: the map, which needs that
 * @dev: the controller's device
 * @offset: in the buffer
 * @len: in bytes
 * @dir: of the transfer
 * @for_device: before the device gets at the memory, rather than after
 *
 * Only what a request transfers: other requests and the CPU may be at work on
 * the rest of the buffer, which dropping a cache line would undo.
 *
 * By page, because what is one range of DMA addresses need not be one of
 * physical addresses.
 *
 * Context: any.
 */
void __nvme_dmabuf_sync(const struct nvme_dmabuf_map *map, struct device *dev,
			u64 offset, unsigned int len,
			enum dma_data_direction dir, bool for_device)
{
	while (len) {
		dma_addr_t addr = nvme_dmabuf_addr(map, offset);
		unsigned int here = min_t(unsigned int, len,
					  NVME_CTRL_PAGE_SIZE -
					  addr % NVME_CTRL_PAGE_SIZE);

		if (for_device)
			dma_sync_single_for_device(dev, addr, here, dir);
		else
			dma_sync_single_for_cpu(dev, addr, here, dir);
		offset += here;
		len -= here;
	}
}
