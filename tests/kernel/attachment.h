/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Namespaces come and go while their controllers stay. */
#ifndef ATTACHMENT_H
#define ATTACHMENT_H

#include "device.h"

#include <sys/ioctl.h>
#include <linux/nvme_ioctl.h>

#define ATTACHMENT	0x15	/* admin command; 0 attaches, 1 detaches */

/* Attaches a namespace to a controller such as nvme3, or detaches it: 0, a status, or -errno. */
static inline int attachment(const char *controller, unsigned int nsid, unsigned int detach)
{
	static uint16_t list[2048] __attribute__((aligned(4096)));
	char path[96];
	struct nvme_admin_cmd cmd = {
		.opcode = ATTACHMENT, .nsid = nsid, .cdw10 = detach, .addr = (uintptr_t)list, .data_len = sizeof(list),
	};
	int fd, ret;

	list[0] = 1;
	list[1] = atoi(get("/sys/class/nvme/%s/cntlid", controller));
	snprintf(path, sizeof(path), "/dev/%s", controller);
	fd = t_open(path, O_RDWR);
	ret = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd);
	close(fd);
	if (ret)
		return ret < 0 ? -errno : ret;
	/* QEMU tells by an event; not to depend on it: */
	return put("1", "/sys/class/nvme/%s/rescan_controller", controller);
}

#endif
