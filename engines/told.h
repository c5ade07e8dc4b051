/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel tells of the dma-bufs that are registered with a ring, in
 * /proc/self/fdinfo: whose memory they turned out to be, and how often they were
 * mapped. Kernels that say nothing of it are no error.
 */
#ifndef ENGINE_TOLD_H
#define ENGINE_TOLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct told {
	unsigned int nr;	/* slots with a dma-buf and a device, 0: nothing is told */
	char memory[16];	/* "system", "peer" (another PCI device's), "other"; "mixed": not of all the same */
	char addresses[16];	/* "iova", "physical", "bus" (straight from device to device), "mixed" */
	char peer[32];		/* that PCI device, or empty */
	uint64_t chunk;		/* bytes; no piece of this size has a gap: the smallest of all */
	uint64_t rebuilt;	/* mappings that were made after the first ones */
};

/*
 * Slots 0 to @per_file - 1 are for the first file, the next as many for the second:
 * a device behind several files has one mapping of a dma-buf for all of them.
 */
void told_ask(int ring, unsigned int per_file, struct told *t);
/* Whether all was told, or there is nothing to tell: the ring may have been busy. */
bool told_read(FILE *fdinfo, unsigned int per_file, struct told *t);

#endif
