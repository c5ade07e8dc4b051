/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory of a PCI device that VFIO hands out as a dma-buf. */
#ifndef TEST_VFIO_H
#define TEST_VFIO_H

#include <dirent.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "sys.h"

/* Of Linux 6.19; older headers lack it. */
#define FEATURE_DMA_BUF	11

struct feature_dma_buf {
	uint32_t argsz, flags, region, open_flags, dma_buf_flags, nr_ranges;
	uint64_t offset, length;
};

struct vfio_memory {
	int device, dmabuf;
	unsigned char *memory;	/* as the CPU sees it while it is on */
	uint64_t config;	/* where configuration space is in the descriptor */
};

/* The device of these IDs, as sysfs has them, with vfio-pci for its driver; false: there is none. */
static inline bool vfio_find(const char *vendor, const char *id, char pci[32])
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *entry;

	pci[0] = 0;
	while (dir && (entry = readdir(dir))) {
		if (strcmp(get("/sys/bus/pci/devices/%s/vendor", entry->d_name), vendor) ||
		    strcmp(get("/sys/bus/pci/devices/%s/device", entry->d_name), id))
			continue;
		snprintf(pci, 32, "%.31s", entry->d_name);
		put("vfio-pci", "/sys/bus/pci/devices/%s/driver_override", pci);
		put(pci, "/sys/bus/pci/drivers_probe");
	}
	if (dir)
		closedir(dir);
	return pci[0];
}

/* Opens the device, and exports the first bytes of a BAR. */
static inline enum t_result vfio_export(const char *pci, unsigned int index, size_t size, struct vfio_memory *m)
{
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = index };
	struct vfio_region_info space = { .argsz = sizeof(space), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	struct feature_dma_buf feature = {
		.argsz = sizeof(feature), .flags = VFIO_DEVICE_FEATURE_GET | FEATURE_DMA_BUF,
		.region = index, .open_flags = O_RDWR | O_CLOEXEC, .nr_ranges = 1, .length = size,
	};
	char link[PATH_MAX], path[PATH_MAX];
	int container = t_open("/dev/vfio/vfio", O_RDWR), group;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", pci);
	T_CHECK(realpath(link, path), "%s: %m", link);
	snprintf(link, sizeof(link), "/dev/vfio/%.32s", strrchr(path, '/') + 1);
	group = t_open(link, O_RDWR);
	T_CHECK(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "%s: container: %m", link);
	T_CHECK(!ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "IOMMU: %m");
	m->device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, pci);
	T_CHECK(m->device >= 0, "%s: %m", pci);
	close(group);
	close(container);
	T_CHECK(!ioctl(m->device, VFIO_DEVICE_GET_REGION_INFO, &bar) && bar.size >= size, "BAR %u: %m", index);
	T_CHECK(!ioctl(m->device, VFIO_DEVICE_GET_REGION_INFO, &space), "configuration space: %m");
	m->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->device, bar.offset);
	T_CHECK(m->memory != MAP_FAILED, "BAR %u: mmap: %m", index);
	m->config = space.offset;
	m->dmabuf = ioctl(m->device, VFIO_DEVICE_FEATURE, &feature);
	T_CHECK(m->dmabuf >= 0, "exporting BAR %u: %m", index);
	return T_PASS;
}

#endif
