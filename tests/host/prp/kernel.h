/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Just enough of the kernel for drivers/nvme/host/dmabuf.c: what it allocates
 * and maps is counted, fails on demand, and can be read at its DMA address.
 */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef PAGE_SHIFT
#define PAGE_SHIFT		12
#endif
#define PAGE_SIZE		(1UL << PAGE_SHIFT)
#define NVME_CTRL_PAGE_SIZE	4096
#define SECTOR_SIZE		512
#define SZ_8M			(8U << 20)

#define unlikely(x)		(x)
#define container_of(p, t, m)	((t *)((char *)(p) - offsetof(t, m)))
#define container_of_const(p, t, m)	container_of(p, t, m)
#define cpu_to_le64(x)		(x)
#define le64_to_cpu(x)		(x)
#define cpu_to_le32(x)		(x)
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define roundup(n, d)		(DIV_ROUND_UP(n, d) * (d))
#define PAGE_ALIGN(n)		roundup(n, PAGE_SIZE)
#define min_t(t, a, b)		((t)(a) < (t)(b) ? (t)(a) : (t)(b))
#define __ffs64(x)		((unsigned int)__builtin_ctzll(x))
#define ERR_PTR(e)		((void *)(long)(e))
#define PTR_ERR(p)		((long)(p))
#define IS_ERR(p)		((unsigned long)(p) >= -4095UL)
#define cond_resched()

#define NVME_CMD_SGL_METABUF	(1 << 6)
#define NVME_SGL_FMT_DATA_DESC	0
#define GFP_KERNEL		0
#define GFP_KERNEL_ACCOUNT	0
#define GFP_ATOMIC		0
#define __GFP_NOWARN		0
#define __GFP_ZERO		0

typedef uint64_t __le64, dma_addr_t, u64;
typedef uint32_t __le32;
typedef uint8_t u8;

enum dma_data_direction { DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE };

struct device { bool coherent; };
struct scatterlist { dma_addr_t addr; unsigned int len; struct page *page; };
struct sg_table { struct scatterlist *sgl; unsigned int nents, orig_nents; };
struct dma_buf_io_map { struct sg_table *sgt; };
struct dma_buf_io_info { u64 chunk, driver_bytes; bool lists; };
struct dma_buf_io_dev { struct device *dev; };
struct nvme_sgl_desc { __le64 addr; __le32 length; u8 rsvd[3], type; };
union nvme_data_ptr { struct { __le64 prp1, prp2; }; struct nvme_sgl_desc sgl; };
struct nvme_common_command { u8 flags; union nvme_data_ptr dptr; };

#define sg_dma_address(sg)	((sg)->addr)
#define sg_dma_len(sg)		((sg)->len)

/* How often somebody looked at a segment */
static unsigned long segments;

#define for_each_sgtable_dma_sg(sgt, sg, i) \
	for (sg = (sgt)->sgl, i = 0; segments++, i < (sgt)->nents; sg++, i++)

/* What is allocated or mapped now, and how many times until that fails; never if negative. */
static long held, fails_in = -1;

static bool fails(void)
{
	return !fails_in || (fails_in > 0 && !--fails_in);
}

static void *allocate(size_t size)
{
	void *p = fails() ? NULL : aligned_alloc(PAGE_SIZE, PAGE_ALIGN(size + 1));

	if (p) {
		memset(p, 0, PAGE_ALIGN(size + 1));
		held++;
	}
	return p;
}

static void kvfree(const void *p)
{
	held -= !!p;
	free((void *)p);
}

#define vfree(p)			kvfree(p)
#define kvzalloc_obj(obj, gfp)		((typeof(&(obj)))allocate(sizeof(obj)))
#define kvmalloc_objs(obj, n, gfp)	((typeof(&(obj)))allocate((n) * sizeof(obj)))
#define __vmalloc(size, gfp)		allocate(size)
#define vmalloc_to_page(p)		((struct page *)(p))
#define flush_kernel_vmap_range(p, size)
#define dev_is_dma_coherent(dev)	((dev)->coherent)

/*
 * The device's address space: data below, lists above. After each page of lists
 * comes one with nothing in it.
 */
#define LISTS		(1ULL << 40)
#define POOL		(1ULL << 41)
#define LIST_PAGES	2000
#define POOL_PAGES	8

static void *list_pages[LIST_PAGES];
static unsigned int nr_list_pages;
static void *pool_pages[POOL_PAGES];

/* The page of @pages, which are of @size bytes and start at address @base, that @addr is in */
static char *page_at(void **pages, unsigned int nr, dma_addr_t base, size_t size, dma_addr_t addr)
{
	u64 page = (addr - base) / size;

	return addr >= base && page < 2 * nr && page % 2 == 0 ? pages[page / 2] : NULL;
}

/* What a device reads from @addr, 0 where there is nothing */
static u64 device_reads(dma_addr_t addr)
{
	char *page = page_at(list_pages, nr_list_pages, LISTS, PAGE_SIZE, addr);

	if (page)
		return *(u64 *)(page + addr % PAGE_SIZE);
	page = page_at(pool_pages, POOL_PAGES, POOL, NVME_CTRL_PAGE_SIZE, addr);
	return page ? *(u64 *)(page + addr % NVME_CTRL_PAGE_SIZE) : 0;
}

static int sg_alloc_table_from_pages_segment(struct sg_table *sgt, struct page **pages, unsigned int nr,
					     unsigned int offset, unsigned long size, unsigned int segment, int gfp)
{
	unsigned int i;

	if (offset || segment != PAGE_SIZE || size != nr * PAGE_SIZE)
		abort();
	sgt->sgl = allocate(nr * sizeof(*sgt->sgl));
	if (!sgt->sgl)
		return -ENOMEM;
	sgt->orig_nents = nr;
	for (i = 0; i < nr; i++)
		sgt->sgl[i].page = pages[i];
	return 0;
}

#define sg_free_table(sgt)	kvfree((sgt)->sgl)

static int dma_map_sgtable(struct device *dev, struct sg_table *sgt, enum dma_data_direction dir, unsigned long attrs)
{
	unsigned int i;

	if (nr_list_pages || sgt->orig_nents > LIST_PAGES)
		abort();
	if (fails())
		return -ENOMEM;
	held++;
	nr_list_pages = sgt->nents = sgt->orig_nents;
	for (i = 0; i < sgt->nents; i++) {
		list_pages[i] = sgt->sgl[i].page;
		sgt->sgl[i].addr = LISTS + 2 * i * PAGE_SIZE;
		sgt->sgl[i].len = PAGE_SIZE;
	}
	return 0;
}

static void dma_unmap_sgtable(struct device *dev, struct sg_table *sgt, enum dma_data_direction dir, unsigned long attrs)
{
	held--;
	nr_list_pages = 0;
}

struct dma_pool;

static void *dma_pool_alloc(struct dma_pool *pool, int gfp, dma_addr_t *dma)
{
	unsigned int i;

	if (fails())
		return NULL;
	for (i = 0; pool_pages[i]; i++)
		if (i == POOL_PAGES - 1)
			abort();
	/* what was there before is left over */
	pool_pages[i] = malloc(NVME_CTRL_PAGE_SIZE);
	memset(pool_pages[i], 0xff, NVME_CTRL_PAGE_SIZE);
	*dma = POOL + 2 * i * NVME_CTRL_PAGE_SIZE;
	held++;
	return pool_pages[i];
}

static void dma_pool_free(struct dma_pool *pool, void *page, dma_addr_t dma)
{
	unsigned int i = (dma - POOL) / NVME_CTRL_PAGE_SIZE / 2;

	if (dma < POOL || i >= POOL_PAGES || pool_pages[i] != page)
		abort();
	pool_pages[i] = NULL;
	free(page);
	held--;
}

/* What was synchronized: calls, and where the next has to start; -1 after a wrong one. */
static unsigned long synced;
static dma_addr_t (*sync_address)(u64 offset);
static u64 sync_offset;
static int sync_for;

static void sync_range(dma_addr_t addr, size_t len, int for_device)
{
	bool right = sync_offset != -1ULL && addr == sync_address(sync_offset) && len && for_device == sync_for &&
		     addr / NVME_CTRL_PAGE_SIZE == (addr + len - 1) / NVME_CTRL_PAGE_SIZE;

	sync_offset = right ? sync_offset + len : -1;
	synced++;
}

#define dma_sync_single_for_device(dev, addr, len, dir)	sync_range(addr, len, 1)
#define dma_sync_single_for_cpu(dev, addr, len, dir)	sync_range(addr, len, 0)
