/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Registered dma-bufs for NVMe over PCIe. What lies in one contiguous chunk is
 * base and offset: a pair of PRPs or an SGL data descriptor. For what does not
 * there are PRP lists, built once per map.
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

/* The chunk of a buffer that is contiguous as a whole: larger than any. */
#define NVME_DMABUF_ONE_CHUNK		63

/**
 * struct nvme_dmabuf_map - a dma-buf as the controller sees it
 * @chunks: address of each 2^@chunk_shift bytes of the buffer, which are
 *	contiguous; no smaller than %NVME_CTRL_PAGE_SIZE
 * @chunk_shift: the largest that the layout allows, %NVME_DMABUF_ONE_CHUNK if
 *	all of the buffer is contiguous
 * @use_sgl: the controller takes an SGL data descriptor for what lies in one
 *	chunk
 * @need_sync: the CPU and the device see different memory (bounce buffers,
 *	caches), so that requests must synchronize
 * @list_dma: address of each list for the controller; NULL if no request can
 *	need one
 * @second: number of list pages in the first set
 * @prps: two sets of list pages with an entry for each page of the buffer, the
 *	second starting at list @second; %NVME_CTRL_PAGE_SIZE each
 * @pages: backs @prps
 * @base: the common layer's part
 */
struct nvme_dmabuf_map {
	dma_addr_t		*chunks;
	u8			chunk_shift;
	bool			use_sgl;
	bool			need_sync;
	dma_addr_t		*list_dma;
	unsigned long		second;
	__le64			*prps;
	struct sg_table		pages;
	struct dma_buf_io_map	base;
};

#ifdef CONFIG_DMA_BUF_IO

struct dma_buf_io_map *nvme_dmabuf_map_sgt(struct device *dev,
					   struct sg_table *sgt, size_t size,
					   bool use_sgl);
void nvme_dmabuf_unmap(struct dma_buf_io_dev *dev, struct dma_buf_io_map *base);
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

/* The controller's address for byte @offset of the buffer */
static inline dma_addr_t nvme_dmabuf_addr(const struct nvme_dmabuf_map *map,
					  u64 offset)
{
	return map->chunks[offset >> map->chunk_shift] +
		(offset & ((1ULL << map->chunk_shift) - 1));
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

/* More than PRP1 and PRP2 can say: @len bytes from @offset */
static inline void nvme_dmabuf_map_long(const struct nvme_dmabuf_map *map,
					u64 offset, unsigned int len,
					struct nvme_common_command *cmd)
{
	dma_addr_t addr = nvme_dmabuf_addr(map, offset);
	unsigned int in_page = offset % NVME_CTRL_PAGE_SIZE;

	if (map->use_sgl && offset >> map->chunk_shift ==
			    (offset + len - 1) >> map->chunk_shift) {
		cmd->flags = NVME_CMD_SGL_METABUF;
		cmd->dptr.sgl = (struct nvme_sgl_desc) {
			.addr	= cpu_to_le64(addr),
			.length	= cpu_to_le32(len),
			.type	= NVME_SGL_FMT_DATA_DESC << 4,
		};
		return;
	}

	cmd->dptr.prp1 = cpu_to_le64(addr);
	cmd->dptr.prp2 =
		cpu_to_le64(nvme_dmabuf_list(map,
					     offset / NVME_CTRL_PAGE_SIZE + 1,
					     (in_page + len - 1) /
					     NVME_CTRL_PAGE_SIZE));
}

/*
 * Point @cmd to the data of @req; needs no memory and cannot fail. Returns how
 * many segments nvme_dmabuf_unmap_data() has to be called for: 0 or 1.
 */
static inline unsigned int nvme_dmabuf_map_data(struct request *req,
						struct device *dev,
						struct nvme_common_command *cmd)
{
	struct nvme_dmabuf_map *map = nvme_dmabuf_map(req);
	u64 offset = bio_dmabuf_offset(req->bio);
	unsigned int len = blk_rq_bytes(req);
	unsigned int first = NVME_CTRL_PAGE_SIZE -
			     offset % NVME_CTRL_PAGE_SIZE;

	if (len <= first) {
		cmd->dptr.prp1 = cpu_to_le64(nvme_dmabuf_addr(map, offset));
		cmd->dptr.prp2 = 0;
	} else if (len <= first + NVME_CTRL_PAGE_SIZE) {
		cmd->dptr.prp1 = cpu_to_le64(nvme_dmabuf_addr(map, offset));
		cmd->dptr.prp2 = cpu_to_le64(nvme_dmabuf_addr(map,
							      offset + first));
	} else {
		nvme_dmabuf_map_long(map, offset, len, cmd);
	}

	if (likely(!map->need_sync))
		return 0;
	__nvme_dmabuf_sync(map, dev, req, true);
	return 1;
}

static inline void nvme_dmabuf_unmap_data(struct request *req,
					  struct device *dev)
{
	__nvme_dmabuf_sync(nvme_dmabuf_map(req), dev, req, false);
}

#else

static inline bool nvme_rq_is_dmabuf(struct request *req)
{
	return false;
}

static inline unsigned int nvme_dmabuf_map_data(struct request *req,
						struct device *dev,
						struct nvme_common_command *cmd)
{
	return 0;
}

static inline void nvme_dmabuf_unmap_data(struct request *req,
					  struct device *dev)
{
}

#endif
#endif
