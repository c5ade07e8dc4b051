/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Registered dma-bufs for NVMe over PCIe: PRP lists prebuilt once per map.
 */
#ifndef _NVME_DMABUF_H
#define _NVME_DMABUF_H

#include <linux/blk-mq.h>
#include <linux/dma-buf-io.h>
#include <linux/nvme.h>
#include "nvme.h"

/*
 * A PRP list page ends in a pointer to the next one, so that a list may start
 * anywhere in the buffer and go on to its end.
 */
#define NVME_DMABUF_PRPS_PER_LIST	(NVME_CTRL_PAGE_SIZE / sizeof(__le64) - 1)

/*
 * How far the second set of lists is out of phase with the first, in entries:
 * half a list.
 */
#define NVME_DMABUF_PHASE		(NVME_DMABUF_PRPS_PER_LIST / 2)

/**
 * struct nvme_dmabuf_map - a dma-buf as the controller sees it
 * @prps: two sets of list pages with an entry for each page of the buffer, the
 *	second starting at list @second; %NVME_CTRL_PAGE_SIZE each
 * @list_dma: address of each list for the controller
 * @second: number of list pages in the first set
 * @need_sync: the CPU and the device see different memory (bounce buffers,
 *	caches), so that requests must synchronize
 * @pages: backs @prps
 * @base: the common layer's part
 */
struct nvme_dmabuf_map {
	__le64			*prps;
	dma_addr_t		*list_dma;
	unsigned long		second;
	bool			need_sync;
	struct sg_table		pages;
	struct dma_buf_io_map	base;
};

#ifdef CONFIG_DMA_BUF_IO

extern const struct dma_buf_io_dev_ops nvme_dmabuf_ops;

void __nvme_dmabuf_sync(struct nvme_dmabuf_map *map, struct device *dev,
			struct request *req, bool for_device);

static inline bool nvme_rq_is_dmabuf(struct request *req)
{
	return op_is_dmabuf(req->cmd_flags);
}

static inline struct nvme_dmabuf_map *nvme_dmabuf_map(struct request *req)
{
	return container_of(bio_dmabuf_map(req->bio), struct nvme_dmabuf_map,
			    base);
}

/* Entry of the first set for page @page of the buffer */
static inline dma_addr_t nvme_dmabuf_page(const struct nvme_dmabuf_map *map,
					  unsigned long page)
{
	return le64_to_cpu(map->prps[page + page / NVME_DMABUF_PRPS_PER_LIST]);
}

/*
 * Address of a PRP list with @nr entries, 2 or more, that starts with page
 * @page.
 *
 * Where the entries end in the last slot of a list page, the controller takes
 * that slot for data, but it holds the pointer to the next list. The sets being
 * out of phase, this cannot be so in both. Other than that prefer the set in
 * which no list page is left on the way: it saves the controller a read, and up
 * to 256 entries, 1 MiB, there is one.
 */
static inline dma_addr_t nvme_dmabuf_list(const struct nvme_dmabuf_map *map,
					  unsigned long page, unsigned int nr)
{
	const unsigned int per_list = NVME_DMABUF_PRPS_PER_LIST;
	unsigned long list = page / per_list;
	unsigned int slot = page % per_list;

	if (slot + nr > per_list) {
		unsigned int slot2 = slot + NVME_DMABUF_PHASE;
		unsigned long list2 = map->second + list;

		if (slot2 >= per_list) {
			slot2 -= per_list;
			list2++;
		}
		if ((slot2 + nr) % per_list != 1) {
			list = list2;
			slot = slot2;
		}
	}
	return map->list_dma[list] + slot * sizeof(__le64);
}

/* Point @dptr to the data of @req by PRPs; needs no memory and cannot fail */
static inline void nvme_dmabuf_map_data(struct request *req,
					struct device *dev,
					union nvme_data_ptr *dptr)
{
	struct nvme_dmabuf_map *map = nvme_dmabuf_map(req);
	u64 offset = bio_dmabuf_offset(req->bio);
	unsigned long page = offset / NVME_CTRL_PAGE_SIZE;
	unsigned int in_page = offset % NVME_CTRL_PAGE_SIZE;
	unsigned int last = (in_page + blk_rq_bytes(req) - 1) /
			    NVME_CTRL_PAGE_SIZE;
	dma_addr_t prp2 = 0;

	if (last > 1)
		prp2 = nvme_dmabuf_list(map, page + 1, last);
	else if (last)
		prp2 = nvme_dmabuf_page(map, page + 1);

	dptr->prp1 = cpu_to_le64(nvme_dmabuf_page(map, page) + in_page);
	dptr->prp2 = cpu_to_le64(prp2);

	if (unlikely(map->need_sync))
		__nvme_dmabuf_sync(map, dev, req, true);
}

static inline void nvme_dmabuf_unmap_data(struct request *req,
					  struct device *dev)
{
	struct nvme_dmabuf_map *map = nvme_dmabuf_map(req);

	if (unlikely(map->need_sync))
		__nvme_dmabuf_sync(map, dev, req, false);
}

#else

static inline bool nvme_rq_is_dmabuf(struct request *req)
{
	return false;
}

static inline void nvme_dmabuf_map_data(struct request *req,
					struct device *dev,
					union nvme_data_ptr *dptr)
{
}

static inline void nvme_dmabuf_unmap_data(struct request *req,
					  struct device *dev)
{
}

#endif
#endif
