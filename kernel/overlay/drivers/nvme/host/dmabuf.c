// SPDX-License-Identifier: GPL-2.0
/*
 * Registered dma-bufs for NVMe over PCIe: making and freeing maps.
 */
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
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

	for_each_sgtable_dma_sg(sgt, sg, i)
		if ((sg_dma_address(sg) | sg_dma_len(sg)) &
		    (NVME_CTRL_PAGE_SIZE - 1))
			return false;
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
				sg_dma_address(sg) + (pos - start);
		cond_resched();
	}
	return 0;
}

/* Enter the buffer's pages into a set of lists, the first at slot @phase. */
static void nvme_dmabuf_fill(__le64 *prps, struct sg_table *sgt,
			     unsigned int phase)
{
	unsigned int slot = phase, i;
	struct scatterlist *sg;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		dma_addr_t addr = sg_dma_address(sg);
		dma_addr_t end = addr + sg_dma_len(sg);

		for (; addr != end; addr += NVME_CTRL_PAGE_SIZE) {
			*prps++ = cpu_to_le64(addr);
			if (++slot == NVME_DMABUF_PRPS_PER_LIST) {
				prps++;
				slot = 0;
			}
		}
		cond_resched();
	}
}

/* Let each of @nr lists end in a pointer to the next. */
static void nvme_dmabuf_chain(__le64 *prps, const dma_addr_t *list_dma,
			      unsigned long nr)
{
	unsigned long i;

	for (i = 1; i < nr; i++) {
		prps += NVME_DMABUF_PRPS_PER_LIST;
		*prps++ = cpu_to_le64(list_dma[i]);
	}
}

/*
 * Back @map->prps, which has @size bytes, with memory that the controller can
 * read. It is filled before it is mapped for the controller, but for the chain
 * pointers, which name the mapping itself.
 */
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
	for (i = 0; i < nr_pages; i++)
		pages[i] = vmalloc_to_page((void *)map->prps + i * PAGE_SIZE);

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
	}
	return 0;
}

static int nvme_dmabuf_make_lists(struct nvme_dmabuf_map *map,
				  struct device *dev, struct sg_table *sgt,
				  size_t size)
{
	size_t nr_prps = size / NVME_CTRL_PAGE_SIZE;
	size_t second, nr_lists, bytes;
	__le64 *prps2;
	int ret;

	second = DIV_ROUND_UP(nr_prps, NVME_DMABUF_PRPS_PER_LIST);
	nr_lists = second + DIV_ROUND_UP(nr_prps + NVME_DMABUF_PHASE,
					 NVME_DMABUF_PRPS_PER_LIST);
	bytes = PAGE_ALIGN(nr_lists * NVME_CTRL_PAGE_SIZE);
	/* sg_table counts pages in 32 bits; reached at a buffer of petabytes */
	if (bytes >> PAGE_SHIFT > INT_MAX)
		return -ENOMEM;

	map->second = second;
	map->prps = __vmalloc(bytes, NVME_DMABUF_GFP | __GFP_ZERO);
	map->list_dma = kvmalloc_objs(*map->list_dma,
				      bytes / NVME_CTRL_PAGE_SIZE,
				      NVME_DMABUF_GFP);
	if (!map->prps || !map->list_dma)
		return -ENOMEM;

	prps2 = map->prps + second * (NVME_DMABUF_PRPS_PER_LIST + 1);
	nvme_dmabuf_fill(map->prps, sgt, 0);
	nvme_dmabuf_fill(prps2 + NVME_DMABUF_PHASE, sgt, NVME_DMABUF_PHASE);

	ret = nvme_dmabuf_map_lists(map, dev, bytes);
	if (ret)
		return ret;
	nvme_dmabuf_chain(map->prps, map->list_dma, second);
	nvme_dmabuf_chain(prps2, map->list_dma + second, nr_lists - second);
	flush_kernel_vmap_range(map->prps, bytes);
	dma_sync_sgtable_for_device(dev, &map->pages, DMA_TO_DEVICE);
	return 0;
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
 * @sgt: the mapping; its DMA segments add up to @size
 * @size: of the dma-buf in bytes, not 0
 * @use_sgl: the controller takes SGLs
 *
 * Context: may sleep.
 * Return: the map, to be undone by nvme_dmabuf_unmap(), or an ERR_PTR: -EINVAL
 * for segments that PRPs cannot describe, -ENOMEM.
 */
struct dma_buf_io_map *nvme_dmabuf_map_sgt(struct device *dev,
					   struct sg_table *sgt, size_t size,
					   bool use_sgl)
{
	struct nvme_dmabuf_map *map;
	int ret;

	if (!nvme_dmabuf_sgt_fits(sgt))
		return ERR_PTR(-EINVAL);

	map = kvzalloc_flex(*map, base.bvecs, dma_buf_io_nr_bvecs(size),
			    NVME_DMABUF_GFP);
	if (!map)
		return ERR_PTR(-ENOMEM);
	map->use_sgl = use_sgl;

	ret = nvme_dmabuf_make_chunks(map, sgt, size);
	if (ret)
		goto err_free;
	if (!use_sgl || map->chunk_shift != NVME_DMABUF_ONE_CHUNK) {
		ret = nvme_dmabuf_make_lists(map, dev, sgt, size);
		if (ret)
			goto err_free;
	}

	/* asked after mapping: a first bounce buffer changes the answer */
	map->need_sync = dma_dev_need_sync(dev);
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
	struct nvme_dmabuf_map *map =
		container_of(base, struct nvme_dmabuf_map, base);

	if (map->prps) {
		dma_unmap_sgtable(dev->dev, &map->pages, DMA_TO_DEVICE, 0);
		sg_free_table(&map->pages);
	}
	nvme_dmabuf_free(map);
}

static void nvme_dmabuf_sync_page(struct device *dev, dma_addr_t addr,
				  size_t len, enum dma_data_direction dir,
				  bool for_device)
{
	if (!dma_need_sync(dev, addr))
		return;
	if (for_device)
		dma_sync_single_for_device(dev, addr, len, dir);
	else
		dma_sync_single_for_cpu(dev, addr, len, dir);
}

/*
 * Hand the bytes of @req to the device or back to the CPU. Only these: other
 * requests and the CPU may be at work on the rest of the buffer, which copying
 * from or to a bounce buffer, or dropping a cache line, would undo.
 *
 * By page, because what is one range of DMA addresses need not be one of
 * physical addresses.
 */
void __nvme_dmabuf_sync(struct nvme_dmabuf_map *map, struct device *dev,
			struct request *req, bool for_device)
{
	u64 start = bio_dmabuf_offset(req->bio), pos = 0;
	u64 end = start + blk_rq_bytes(req);
	struct scatterlist *sg;
	unsigned int i;
	size_t len;

	for_each_sgtable_dma_sg(map->base.sgt, sg, i) {
		u64 seg_end = min(pos + sg_dma_len(sg), end);

		for (; start < seg_end; start += len) {
			dma_addr_t addr = sg_dma_address(sg) + (start - pos);

			len = min_t(u64, seg_end - start, NVME_CTRL_PAGE_SIZE -
				    addr % NVME_CTRL_PAGE_SIZE);
			if (!sg_dma_is_bus_address(sg))
				nvme_dmabuf_sync_page(dev, addr, len,
						      rq_dma_dir(req),
						      for_device);
		}
		pos += sg_dma_len(sg);
		if (pos >= end)
			break;
	}
}
