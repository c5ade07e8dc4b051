// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A buffer of a DRM device, exported as PRIME: a dumb buffer on a card node; on
 * the render node of virtio-gpu, which has none, a resource of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <virtgpu_drm.h>
#include <xf86drm.h>

#include "buffer.h"
#include "reach.h"

#define ROW		4096			/* bytes: a picture 1024 wide, 4 bytes a pixel */
#define PIXEL		4
#define TARGET_2D	2			/* virglrenderer's numbers */
#define FORMAT_BGRA	1

static size_t drm_max_size(void)
{
	return 128 << 20;
}

/* Both give a handle and where the node maps it, or -1 and errno. */
static int get_dumb(int node, size_t size, uint32_t *handle, uint64_t *offset)
{
	struct drm_mode_create_dumb create = {
		.width = ROW / PIXEL, .height = size / ROW, .bpp = 8 * PIXEL,
	};
	struct drm_mode_map_dumb map = { 0 };

	if (drmIoctl(node, DRM_IOCTL_MODE_CREATE_DUMB, &create))
		return -1;
	*handle = map.handle = create.handle;
	if (drmIoctl(node, DRM_IOCTL_MODE_MAP_DUMB, &map))
		return -1;
	*offset = map.offset;
	return 0;
}

static int get_virtio(int node, size_t size, uint32_t *handle, uint64_t *offset)
{
	struct drm_virtgpu_resource_create create = {
		.target = TARGET_2D, .format = FORMAT_BGRA, .width = ROW / PIXEL,
		.height = size / ROW, .depth = 1, .array_size = 1, .size = size, .stride = ROW,
	};
	struct drm_virtgpu_map map = { 0 };

	if (drmIoctl(node, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE, &create))
		return -1;
	*handle = map.handle = create.bo_handle;
	if (drmIoctl(node, DRM_IOCTL_VIRTGPU_MAP, &map))
		return -1;
	*offset = map.offset;
	return 0;
}

/* The dma-buf and the mapping hold the buffer, so the node need not stay open. */
static int drm_alloc_from(int node, struct buffer *b, const char *path, struct error *e)
{
	/* not drmGetVersion(), which does not survive a lack of memory */
	struct drm_version version = { .name = b->exporter, .name_len = sizeof(b->exporter) - 1 };
	bool render = drmGetNodeTypeFromFd(node) == DRM_NODE_RENDER;
	uint32_t handle;
	uint64_t offset;
	int ret;

	if (drmIoctl(node, DRM_IOCTL_VERSION, &version))
		return error_set(e, ENOTTY, "%s is no DRM node: name one in /dev/dri", path);

	if (render && !strcmp(b->exporter, "virtio_gpu"))
		ret = get_virtio(node, b->size, &handle, &offset);
	else
		ret = get_dumb(node, b->size, &handle, &offset);
	if (ret)
		return error_set(e, errno, "%s (%s) gives no buffer of %zu bytes (%s): %s", path, b->exporter, b->size,
				 strerror(errno), render ? "this driver has buffers for the card node only, name /dev/dri/cardN" :
				 "use a driver with dumb buffers, such as CONFIG_DRM_VGEM, or smaller ones with dmabuf_size");
	if (drmPrimeHandleToFD(node, handle, DRM_CLOEXEC | DRM_RDWR, &b->dmabuf)) {
		b->dmabuf = -1;
		return error_set(e, errno, "%s (%s) does not export buffers as dma-bufs (%s): use a driver with PRIME",
				 path, b->exporter, strerror(errno));
	}
	return buffer_map(b, node, offset, e);
}

static int drm_alloc(struct buffer *b, const struct source_args *args, struct error *e)
{
	int node = open(args->drm_node, O_RDWR | O_CLOEXEC), ret;
	char pci[PATH_MAX];

	if (node < 0)
		return error_set(e, errno, "cannot open the DRM node %s (%s): name one in /dev/dri with drm_node=, or build the kernel with CONFIG_DRM_VGEM",
				 args->drm_node, strerror(errno));
	if (reach_find_open(node, pci, sizeof(pci)))
		snprintf(b->pci, sizeof(b->pci), "%.31s", strrchr(pci, '/') + 1);
	ret = drm_alloc_from(node, b, args->drm_node, e);
	close(node);
	return ret;
}

const struct source_ops source_drm = {
	.name = "drm",
	.host = true,	/* that of most drivers */
	.max_size = drm_max_size,
	.alloc = drm_alloc,
};
