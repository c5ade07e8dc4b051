/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which file this code was loaded from, and which build of it. */
#ifndef ENGINE_SELF_H
#define ENGINE_SELF_H

#include <stdbool.h>

struct self {
	const char *path;	/* as the loader has it */
	char build[17];		/* the start of the linker's build id: `readelf -n` shows it of a file */
};

void self_find(struct self *s);

/* Whether @path is another file than the one loaded. */
bool self_is_another(const struct self *s, const char *path);

#endif
