/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Just enough of the kernel for drivers/nvme/host/dmabuf.h. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_DMA_BUF_IO	1
#define NVME_CTRL_PAGE_SIZE	4096
#define likely(x)		(x)
#define unlikely(x)		(x)
#define cpu_to_le64(x)		(x)
#define le64_to_cpu(x)		(x)
#define op_is_dmabuf(x)		((x) != 0)
#define container_of(p, t, m)	((t *)((char *)(p) - offsetof(t, m)))

#define cpu_to_le32(x)		(x)
#define NVME_CMD_SGL_METABUF	(1 << 6)
#define NVME_SGL_FMT_DATA_DESC	0

typedef uint64_t __le64, dma_addr_t, u64;
typedef uint32_t __le32;
typedef uint8_t u8;

struct device;
struct sg_table { void *sgl; };
struct dma_buf_io_map { void *sgt; };
struct dma_buf_io_dev;
struct bio { struct dma_buf_io_map *map; u64 offset; };
struct request { struct bio *bio; unsigned int bytes; unsigned int cmd_flags; };
struct nvme_sgl_desc { __le64 addr; __le32 length; u8 rsvd[3], type; };
union nvme_data_ptr { struct { __le64 prp1, prp2; }; struct nvme_sgl_desc sgl; };
struct nvme_common_command { u8 flags; union nvme_data_ptr dptr; };

#define bio_dmabuf_map(bio)	((bio)->map)
#define bio_dmabuf_offset(bio)	((bio)->offset)
#define blk_rq_bytes(req)	((req)->bytes)
