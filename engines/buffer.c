// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/dma-buf.h>

#include "buffer.h"
#include "memory.h"

static size_t round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static size_t lcm(size_t a, size_t b)
{
	size_t x = a, y = b;

	while (y) {
		size_t rest = x % y;

		x = y;
		y = rest;
	}
	return a / x * b;
}

/* Addresses for the whole row, aligned for its pages. */
static int reserve(struct buffers *bs, size_t size, struct error *e)
{
	bs->reserved_size = size + bs->page;
	bs->reserved = mmap(NULL, bs->reserved_size, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bs->reserved == MAP_FAILED) {
		bs->reserved = NULL;
		return error_set(e, errno, "no address space for %zu bytes of buffers", size);
	}
	bs->addr = (void *)round_up((uintptr_t)bs->reserved, bs->page);
	return 0;
}

static void buffer_free(struct buffer *b)
{
	if (b->dmabuf >= 0)
		close(b->dmabuf);
	if (b->source && b->source->free)
		b->source->free(b);
	if (b->memory >= 0)
		close(b->memory);
	if (b->claim >= 0)
		close(b->claim);
}

void buffers_put(struct buffers *bs)
{
	for (unsigned int i = 0; i < bs->nr; i++)
		buffer_free(&bs->v[i]);
	if (bs->device)
		bs->source->close(bs->device);
	free(bs->v);
	if (bs->reserved)
		munmap(bs->reserved, bs->reserved_size);
	memset(bs, 0, sizeof(*bs));
}

int buffers_get(struct buffers *bs, const struct source_ops *source,
		const struct source_args *args, size_t unit,
		size_t size, size_t part, struct error *e)
{
	bool look = source->host && (args->page == SMALL_PAGE || args->thp);	/* huge pages have been set aside */
	size_t max = args->exported ? source->max_size() : SIZE_MAX, page = args->page, step;
	int ret;

	memset(bs, 0, sizeof(*bs));
	bs->source = source;
	bs->page = page;
	size = round_up(size, page);
	bs->part = size;
	if (size > (part && part < max ? part : max)) {
		step = lcm(unit, page);
		if (part && part < step)
			return error_set(e, EINVAL, "dmabuf_size=%zu cannot hold a block: those of %zu bytes and pages of %zu fit together every %zu bytes",
					 part, unit, page, step);
		bs->part = (part && part < max ? part : max) / step * step;
		if (!bs->part)
			return error_set(e, EINVAL, "blocks of %zu bytes and pages of %zu only fit together every %zu bytes, more than one %s may have (%zu): choose a block size that divides into pages",
					 unit, page, step, source->name, max);
	}

	ret = look ? memory_check(size, e) : 0;
	if (!ret)
		ret = reserve(bs, size, e);
	if (ret)
		goto err_put;
	bs->v = calloc((size + bs->part - 1) / bs->part, sizeof(*bs->v));
	if (!bs->v) {
		ret = error_set(e, ENOMEM, "no memory for the table of buffers");
		goto err_put;
	}
	if (source->open) {
		ret = source->open(&bs->device, args, e);
		if (ret)
			goto err_put;
	}
	for (size_t at = 0; at < size; at += bs->part) {
		struct buffer *b = &bs->v[bs->nr++];

		b->source = source;
		b->device = bs->device;
		b->addr = (char *)bs->addr + at;
		b->size = size - at < bs->part ? size - at : bs->part;
		b->memory = -1;
		b->dmabuf = -1;
		b->claim = -1;
		if (look && at / MEMORY_STEP != (at + b->size) / MEMORY_STEP)
			ret = memory_check(b->size, e);
		if (!ret)
			ret = source->alloc(b, args, e);
		if (ret)
			goto err_put;
	}
	return 0;

err_put:
	buffers_put(bs);
	return ret;
}

int buffers_export(struct buffers *bs, struct error *e)
{
	int ret = 0;

	for (unsigned int i = 0; i < bs->nr && !ret; i++) {
		struct buffer *b = &bs->v[i];

		if (bs->source->export)
			ret = bs->source->export(b, e);
		if (!ret && !b->exporter[0])
			buffer_ask_exporter(b, b->dmabuf);
	}
	return ret;
}

int buffer_map(struct buffer *b, int fd, off_t offset, struct error *e)
{
	if (mmap(b->addr, b->size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd, offset) != MAP_FAILED)
		return 0;
	if (errno == ENOMEM)	/* ours is short, not the exporter unable */
		return error_set(e, errno, "no memory to map a dma-buf of %zu bytes: use fewer and larger ones (dmabuf_size), or raise vm.max_map_count",
				 b->size);
	return buffer_shadow(b, e);
}

int buffer_shadow(struct buffer *b, struct error *e)
{
	if (mmap(b->addr, b->size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return error_set(e, errno, "no memory for %zu bytes in place of a dma-buf that the CPU cannot map: %s",
				 b->size, strerror(errno));
	b->shadow = true;
	return 0;
}

bool buffer_ask_exporter(struct buffer *b, int fd)
{
	char path[48], line[128];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, "exp_name: %31s", b->exporter) == 1;
	fclose(f);
	return found;
}

const char *buffer_place(const struct buffer *b)
{
	static const struct { const char *exporter, *place; } places[] = {
		{ "udmabuf", "system" },
		{ "system", "system" },			/* dma-heaps */
		{ "default_cma_region", "system" },
		{ "reserved", "system" },
		{ "vgem", "system" },			/* DRM drivers on shmem */
		{ "vkms", "system" },
		{ "virtio_gpu", "system" },
		{ "vfio_pci_core", "peer-to-peer" },
		{ "nv_dmabuf", "peer-to-peer" },
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (!strcmp(b->exporter, places[i].exporter))
			return places[i].place;
	return "unknown";
}

/* Whether @file has a line that begins with @key and has all of @words in it. */
static bool line_has(const char *file, const char *key, const char *const *words)
{
	FILE *f = fopen(file, "re");
	size_t size = 0;
	char *line = NULL;
	bool has = false;

	while (f && !has && getline(&line, &size, f) > 0) {
		has = !strncmp(line, key, strlen(key));
		for (const char *const *word = words; has && *word; word++)
			has = strstr(line, *word);
	}
	free(line);
	if (f)
		fclose(f);
	return has;
}

/* Of lines in cpuinfo that only PCs have. */
bool buffer_transfers_bounce(void)
{
	return line_has("/proc/cmdline", "", (const char *const []){ "swiotlb=", "force", NULL }) ||
	       line_has("/proc/cpuinfo", "flags", (const char *const []){ " tdx_guest", NULL }) ||
	       line_has("/proc/cpuinfo", "flags", (const char *const []){ " hypervisor", " sev", NULL });
}

/* On a PC every device snoops the caches. */
static bool devices_see_what_the_cpu_does(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return !buffer_transfers_bounce();
#else
	return false;
#endif
}

bool buffer_needs_no_brackets(const struct buffer *b)
{
	/* whose brackets do nothing but synchronize caches and bounce buffers */
	static const char *const exporters[] = { "udmabuf", "system", "default_cma_region", "reserved", "vgem" };

	for (size_t i = 0; i < sizeof(exporters) / sizeof(*exporters); i++)
		if (!strcmp(b->exporter, exporters[i]))
			return devices_see_what_the_cpu_does();
	return false;
}

static int cpu_sync(const struct buffer *b, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	while (ioctl(b->dmabuf, DMA_BUF_IOCTL_SYNC, &sync) < 0)
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	return 0;
}

static off_t place_in_memory(const struct buffer *b, const void *at)
{
	return b->region + ((const char *)at - (const char *)b->addr);
}

int buffer_cpu_begin(const struct buffer *b, void *at, size_t n)
{
	if (!b->shadow)
		return cpu_sync(b, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
	if (b->device)
		return b->source->copy(b, at, place_in_memory(b, at), n, false);
	return pread(b->memory, at, n, place_in_memory(b, at)) == (ssize_t)n ? 0 : -EIO;
}

int buffer_cpu_end(const struct buffer *b, const void *at, size_t n)
{
	if (!b->shadow)
		return cpu_sync(b, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	if (b->device)
		return b->source->copy(b, (void *)at, place_in_memory(b, at), n, true);
	return pwrite(b->memory, at, n, place_in_memory(b, at)) == (ssize_t)n ? 0 : -EIO;
}
