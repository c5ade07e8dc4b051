/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Registered dma-bufs for NVMe over PCIe. What lies in one contiguous chunk is
 * base and offset: a pair of PRPs or an SGL data descriptor. For what does not
 * there are PRP lists, built once per map. The few requests whose entries lie
 * in no single page of these have a list built for them.
 */
#ifndef _NVME_DMABUF_H
#define _NVME_DMABUF_H

#include <linux/blk-mq.h>
#include <linux/dma-buf-io.h>
#include <linux/dma-direction.h>
#include <linux/nvme.h>
#include "nvme.h"

struct dma_pool;

#define NVME_DMABUF_PRPS_PER_PAGE	(NVME_CTRL_PAGE_SIZE / sizeof(__le64))

/* The chunk of a buffer that is contiguous as a whole: larger than any. */
#define NVME_DMABUF_ONE_CHUNK		63

/**
 * struct nvme_dmabuf_map - a dma-buf as the controller sees it
 * @chunks: for each 2^@chunk_shift bytes of the buffer, which are contiguous,
 *	what makes an address of an offset into the buffer when added to it
 * @list_dma: address of each page of @prps for the controller; NULL if there
 *	are no lists
 * @second: slot of the second set of lists in which the buffer starts; 0 if one
 *	set is enough
 * @chunk_shift: the largest that the layout allows, %NVME_DMABUF_ONE_CHUNK if
 *	all of the buffer is contiguous; a chunk is no smaller than
 *	%NVME_CTRL_PAGE_SIZE
 * @need_sync: caches stand between CPU and device, so that requests must
 *	synchronize
 * @base: the common layer's part
 * @prps: up to two sets of lists with a slot for each page of the buffer: slot
 *	n and slot @second + n are for page n
 * @pages: backs @prps
 *
 * What requests look at comes first.
 */
struct nvme_dmabuf_map {
	dma_addr_t		*chunks;
	dma_addr_t		*list_dma;
	unsigned long		second;
	u8			chunk_shift;
	bool			need_sync;
	struct dma_buf_io_map	base;
	__le64			*prps;
	struct sg_table		pages;
};

struct dma_buf_io_map *nvme_dmabuf_map_sgt(struct device *dev,
					   struct sg_table *sgt, size_t size,
					   bool sgl);
void nvme_dmabuf_unmap(struct dma_buf_io_dev *dev, struct dma_buf_io_map *base);
void nvme_dmabuf_describe(const struct dma_buf_io_map *base, size_t size,
			  struct dma_buf_io_info *info);
int nvme_dmabuf_build_list(const struct nvme_dmabuf_map *map, u64 offset,
			   unsigned int len, struct dma_pool *pool,
			   void **descriptors, struct nvme_common_command *cmd);
void __nvme_dmabuf_sync(const struct nvme_dmabuf_map *map, struct device *dev,
			u64 offset, unsigned int len,
			enum dma_data_direction dir, bool for_device);

static inline struct nvme_dmabuf_map *
to_nvme_dmabuf_map(struct dma_buf_io_map *base)
{
	return container_of(base, struct nvme_dmabuf_map, base);
}

/* The controller's address for byte @offset of the buffer */
static inline dma_addr_t nvme_dmabuf_addr(const struct nvme_dmabuf_map *map,
					  u64 offset)
{
	return map->chunks[offset >> map->chunk_shift] + offset;
}

/*
 * Point @cmd to @len bytes from @offset, if that does not take more than PRP1
 * and PRP2.
 */
static inline bool nvme_dmabuf_set_pair(const struct nvme_dmabuf_map *map,
					u64 offset, unsigned int len,
					struct nvme_common_command *cmd)
{
	unsigned int end = offset % NVME_CTRL_PAGE_SIZE + len;

	if (end > 2 * NVME_CTRL_PAGE_SIZE)
		return false;
	cmd->dptr.prp1 = cpu_to_le64(nvme_dmabuf_addr(map, offset));
	cmd->dptr.prp2 = end <= NVME_CTRL_PAGE_SIZE ? 0 :
		cpu_to_le64(nvme_dmabuf_addr(map, (offset |
				(NVME_CTRL_PAGE_SIZE - 1)) + 1));
	return true;
}

/*
 * Point @cmd, whose flags are clear, to @len bytes from @offset, which are more
 * than nvme_dmabuf_set_pair() takes; @sgl says that the controller takes SGLs
 * now. Returns false where there is need of nvme_dmabuf_build_list().
 *
 * No list leaves its page. None holds a pointer to a next page. By the
 * specification that is in the last slot of the page; some controllers look for it
 * 511 entries behind the start of the list. The two sets are half a page out of phase, so that
 * up to 257 entries, 1 MiB at any offset, always lie in one page of either.
 */
static inline bool nvme_dmabuf_set_long(const struct nvme_dmabuf_map *map,
					u64 offset, unsigned int len, bool sgl,
					struct nvme_common_command *cmd)
{
	const unsigned int per_page = NVME_DMABUF_PRPS_PER_PAGE;
	unsigned long slot = offset / NVME_CTRL_PAGE_SIZE + 1;
	unsigned int nr = (offset % NVME_CTRL_PAGE_SIZE + len - 1) /
			  NVME_CTRL_PAGE_SIZE;

	if (sgl && offset >> map->chunk_shift ==
		   (offset + len - 1) >> map->chunk_shift) {
		cmd->flags = NVME_CMD_SGL_METABUF;
		cmd->dptr.sgl = (struct nvme_sgl_desc) {
			.addr	= cpu_to_le64(nvme_dmabuf_addr(map, offset)),
			.length	= cpu_to_le32(len),
			.type	= NVME_SGL_FMT_DATA_DESC << 4,
		};
		return true;
	}

	if (!map->list_dma)
		return false;
	if (slot % per_page + nr > per_page) {
		slot += map->second;
		if (slot % per_page + nr > per_page)
			return false;
	}
	cmd->dptr.prp1 = cpu_to_le64(nvme_dmabuf_addr(map, offset));
	cmd->dptr.prp2 = cpu_to_le64(map->list_dma[slot / per_page] +
				     slot % per_page * sizeof(__le64));
	return true;
}

/* Hand @len bytes from @offset to the device or back to the CPU. */
static inline void nvme_dmabuf_sync(const struct nvme_dmabuf_map *map,
				    struct device *dev, u64 offset,
				    unsigned int len,
				    enum dma_data_direction dir,
				    bool for_device)
{
	if (unlikely(map->need_sync))
		__nvme_dmabuf_sync(map, dev, offset, len, dir, for_device);
}

#endif
