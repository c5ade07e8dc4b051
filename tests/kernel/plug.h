/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A controller behind a PCIe root port is lost without warning, and is there again. */
#ifndef PLUG_H
#define PLUG_H

#include "device.h"

#include <linux/pci_regs.h>

/*
 * A bus in reset makes what is on it deaf and lets it forget all. A bus without a
 * number has nobody on it: reads of configurations give all ones.
 */
static inline int plug(bool in, const char *port, const char *pci)
{
	static uint16_t buses;		/* secondary and subordinate, as they were */
	const uint16_t none = 0;
	uint16_t control, vendor;
	char name[PATH_MAX];
	int config, function;

	snprintf(name, sizeof(name), "/sys/bus/pci/devices/%s/config", port);
	config = t_open(name, O_RDWR);
	if (!in && pread(config, &buses, 2, PCI_SECONDARY_BUS) != 2)
		return -EIO;
	if (pread(config, &control, 2, PCI_BRIDGE_CONTROL) != 2)
		return -EIO;
	control = in ? control & ~PCI_BRIDGE_CTL_BUS_RESET : control | PCI_BRIDGE_CTL_BUS_RESET;
	if (pwrite(config, &control, 2, PCI_BRIDGE_CONTROL) != 2 ||
	    pwrite(config, in ? &buses : &none, 2, PCI_SECONDARY_BUS) != 2)
		return -EIO;
	close(config);
	if (in)
		return 0;
	snprintf(name, sizeof(name), "/sys/bus/pci/devices/%s/config", pci);
	function = t_open(name, O_RDONLY);
	if (pread(function, &vendor, 2, PCI_VENDOR_ID) != 2 || vendor != 0xffff)
		return -EBUSY;
	close(function);
	return 0;
}

static inline int plug_in(const char *port, const char *pci)
{
	int ret = plug(true, port, pci);

	usleep(100000);	/* what a device may take after a reset */
	/* Without a driver at first: QEMU's IOMMU forgets a device only if it has a number when it is removed. */
	ret = ret ?: put("0", "/sys/bus/pci/drivers_autoprobe") ?: put("1", "/sys/bus/pci/rescan") ?:
		put("1", "/sys/bus/pci/devices/%s/remove", pci);
	return put("1", "/sys/bus/pci/drivers_autoprobe") ?: ret ?: put("1", "/sys/bus/pci/rescan");
}

#endif
