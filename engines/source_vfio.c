// SPDX-License-Identifier: GPL-2.0-or-later
/* A BAR of a PCI device that is bound to vfio-pci: memory in a device. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/vfio.h>

#include "buffer.h"

/* Of Linux 6.19; older headers lack it. */
#define FEATURE_DMA_BUF	11

struct feature_dma_buf {
	uint32_t argsz;
	uint32_t flags;
	uint32_t region;
	uint32_t open_flags;
	uint32_t dma_buf_flags;
	uint32_t nr_ranges;
	uint64_t offset;
	uint64_t length;
};

static size_t vfio_max_size(void)
{
	return SIZE_MAX;	/* ->alloc knows */
}

/* Group and container stay as long as the device is open. */
static int open_device(const char *name, struct error *e)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char path[PATH_MAX], link[96];
	int container, group = -1, device = -1, err;
	ssize_t len;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", name);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		return error_set(e, errno, "no PCI device %s in an IOMMU group (%s): name one as lspci -D does, and boot with the IOMMU on", name, strerror(errno));
	path[len] = '\0';
	snprintf(link, sizeof(link), "/dev/vfio/%s", strrchr(path, '/') + 1);
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (container < 0)
		return error_set(e, errno, "cannot open /dev/vfio/vfio (%s): build the kernel with CONFIG_VFIO_PCI and CONFIG_VFIO_CONTAINER", strerror(errno));
	group = open(link, O_RDWR | O_CLOEXEC);
	if (group < 0)
		err = error_set(e, errno, "cannot open %s (%s): bind %s to vfio-pci, and let no other program or job have it", link, strerror(errno), name);
	else if (ioctl(group, VFIO_GROUP_GET_STATUS, &status) || !(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		err = error_set(e, EPERM, "the IOMMU group of %s has devices with other drivers: bind all of it to vfio-pci", name);
	else if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
		 ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err = error_set(e, errno, "no IOMMU for %s (%s): boot with the IOMMU on and build the kernel with CONFIG_VFIO_IOMMU_TYPE1", name, strerror(errno));
	else if ((device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name)) < 0)
		err = error_set(e, errno, "cannot open %s of %s: %s", name, link, strerror(errno));
	if (group >= 0)
		close(group);
	close(container);
	return device < 0 ? err : device;
}

static int vfio_alloc(struct buffer *b, const struct source_args *args, struct error *e)
{
	struct vfio_region_info region = { .argsz = sizeof(region), .index = args->vfio_region };
	struct feature_dma_buf feature = {
		.argsz = sizeof(feature),
		.flags = VFIO_DEVICE_FEATURE_GET | FEATURE_DMA_BUF,
		.region = args->vfio_region,
		.open_flags = O_RDWR | O_CLOEXEC,
		.nr_ranges = 1,
		.length = b->size,
	};
	const char *name = args->vfio_device;
	int ret;

	if (!name)
		return error_set(e, EINVAL, "source=vfio needs vfio_device=, the PCI address of a device bound to vfio-pci");
	ret = open_device(name, e);
	if (ret < 0)
		return ret;
	b->memory = ret;	/* the dma-buf is revoked when that is closed */
	snprintf(b->pci, sizeof(b->pci), "%s", name);
	if (ioctl(b->memory, VFIO_DEVICE_GET_REGION_INFO, &region))
		return error_set(e, errno, "%s has no region %u: %s", name, args->vfio_region, strerror(errno));
	if (region.size < b->size)
		return error_set(e, EINVAL, "region %u of %s has %llu bytes and the job needs %zu: lower iodepth or bs, or choose another vfio_region",
				 args->vfio_region, name, (unsigned long long)region.size, b->size);
	b->dmabuf = ioctl(b->memory, VFIO_DEVICE_FEATURE, &feature);
	if (b->dmabuf < 0)
		return error_set(e, errno, "region %u of %s cannot be exported (%s): it takes Linux 6.19 with CONFIG_PCI_P2PDMA and CONFIG_VFIO_PCI_DMABUF, and a memory BAR",
				 args->vfio_region, name, strerror(errno));
	b->region = region.offset;
	return buffer_shadow(b, e);	/* its dma-bufs have no mmap */
}

const struct source_ops source_vfio = {
	.name = "vfio",
	.single = true,
	.max_size = vfio_max_size,
	.alloc = vfio_alloc,
};
