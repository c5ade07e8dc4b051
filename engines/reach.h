/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why the kernel does not let one PCI device get at the memory of another. It says
 * -EINVAL, whatever the reason; sysfs knows what there is between the two.
 */
#ifndef ENGINE_REACH_H
#define ENGINE_REACH_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

enum reach {
	REACH_SWITCH,	/* the bridge below which both are passes requests on: by bus addresses */
	REACH_ACS,	/* it would, but one on the way sends them up to the host bridge */
	REACH_HOST,	/* they meet at the host bridge */
	REACH_APART,	/* they are below different host bridges */
	REACH_SELF,	/* it is the same device */
	REACH_UNKNOWN,	/* sysfs does not have them */
};

/*
 * The way from @device to @peer, paths of PCI functions in sysfs as realpath() has
 * them. In @where, the bridge that they have in common, or the first that redirects.
 */
enum reach reach_way(const char *device, const char *peer, char *where, size_t size);

/* The first line of DIR/NAME in @text, or false. */
bool reach_line(const char *dir, const char *name, char *text, size_t size);
/* Cut a path in sysfs back to the nearest PCI function; false: there is none. */
bool reach_to_pci(char *path);
/* The path of the function named @bdf, with or without domain; of that behind the device of an open file. */
bool reach_find(const char *bdf, char *path, size_t size);
bool reach_find_open(int fd, char *path, size_t size);

/* Whether power management has it sleep. */
bool reach_is_asleep(const char *peer);

/*
 * What of it keeps @device from @size bytes of @peer, as part of a sentence with the
 * remedy; false: nothing that sysfs knows of.
 */
bool reach_why_not(const char *device, const char *peer, size_t size, struct error *e);

#endif
