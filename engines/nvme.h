/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Namespaces by their character devices, /dev/ngXnY, which take commands. */
#ifndef ENGINE_NVME_H
#define ENGINE_NVME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"

enum { NVME_FLUSH = 0x00, NVME_WRITE = 0x01, NVME_READ = 0x02 };
#define NVME_FUA	(1u << 30)	/* of cdw12: not until it is on the medium */

struct nvme_ns {
	unsigned int nsid;
	unsigned int shift;	/* of a block's size */
	uint64_t bytes;
	bool head;		/* of multipath */
	char block[32];		/* its block device, below /dev; empty: none found */
	size_t max;		/* bytes that one command moves, 0: not known */
	size_t max_dmabuf;	/* the same, of a registered dma-buf; 0: the kernel has no such limit */
};

/* Whether a character device is one of these; sysfs knows. */
bool nvme_is_generic(dev_t dev);

/* Where sysfs has it, and the block device of the same namespace: false, none found. */
bool nvme_generic_place(dev_t dev, char *path, size_t size);
bool nvme_find_block(const char *place, unsigned int nsid, char *name, size_t size);

/* Learn what there is to know of the one at @path, or why commands cannot be used on it. */
int nvme_ask(const char *path, struct nvme_ns *ns, struct error *e);

/* What the block device would have said of a command that ended with @status, and how the specification calls that. */
int nvme_errno(unsigned int status);
const char *nvme_status_name(unsigned int status);

#endif
