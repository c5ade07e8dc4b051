// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "memory.h"

#ifndef ROOT
#define ROOT	""	/* a test has files of its own */
#endif
#define CGROUPS	ROOT "/sys/fs/cgroup"
#define MEMINFO	ROOT "/proc/meminfo"
#define SPARE	16	/* one part of so many is left to others */

/* The number behind @key at the start of a line of @path, "" for the only one; false: none. */
static bool read_number(const char *path, const char *key, uint64_t *number)
{
	FILE *f = fopen(path, "re");
	unsigned long long value;
	char line[256];
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = !strncmp(line, key, strlen(key)) && sscanf(line + strlen(key), "%llu", &value) == 1;
	fclose(f);
	if (found)
		*number = value;
	return found;
}

/* Where one version of control groups has what it knows. */
struct hierarchy {
	const char *mounted, *max, *now, *clean[2];	/* clean: page cache, which gives way */
	const char *says;
};

static const struct hierarchy v2 = {
	CGROUPS, "memory.max", "memory.current", { "inactive_file ", "active_file " }, "memory.max of the control group",
};
static const struct hierarchy v1 = {
	CGROUPS "/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", { "total_inactive_file ", "total_active_file " },
	"memory.limit_in_bytes of the control group",
};

static bool read_of_group(const struct hierarchy *h, const char *group, const char *file, const char *key, uint64_t *number)
{
	char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s%s/%s", h->mounted, group, file);
	return read_number(path, key, number);
}

/* What a control group lets its members still have; false: it has no limit. */
static bool left_in_group(const struct hierarchy *h, const char *group, uint64_t *left)
{
	uint64_t max, now, clean[2] = { 0 };

	if (!read_of_group(h, group, h->max, "", &max) || !read_of_group(h, group, h->now, "", &now))
		return false;
	for (int i = 0; i < 2; i++)
		read_of_group(h, group, "memory.stat", h->clean[i], &clean[i]);
	now = now > clean[0] + clean[1] ? now - clean[0] - clean[1] : 0;
	*left = max > now ? max - now : 0;
	return true;
}

/*
 * Of the hierarchy that a line of /proc/self/cgroup is about, if it limits memory,
 * and where in it we are. "4:cpu,memory:/a" is of version 1, "0::/a" of 2.
 */
static const struct hierarchy *hierarchy_of(char *line, char **group)
{
	char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL, *word;

	if (!path)
		return NULL;
	*path++ = '\0';
	path[strcspn(path, "\n")] = '\0';
	*group = path;
	if (!strcmp(line, "0:"))
		return &v2;
	while ((word = strsep(&controllers, ":,")))
		if (!strcmp(word, "memory"))
			return &v1;
	return NULL;
}

/* The least of what our group and all above it have. The root is one of them: in a container it has the container's limit. */
static void least_of_groups(const struct hierarchy *h, char *group, uint64_t *least, const char **says)
{
	uint64_t left;

	for (char *end = group + strlen(group); end; end = strrchr(group, '/')) {
		*end = '\0';
		if (left_in_group(h, group, &left) && left < *least) {
			*least = left;
			*says = h->says;
		}
	}
}

/* In the machine, but for what is spared; false: unknown. */
static bool left_in_machine(uint64_t *left)
{
	unsigned long long kb, total = 0, avail = 0;
	FILE *f = fopen(MEMINFO, "re");
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemTotal: %llu", &kb) == 1)
			total = kb;
		else if (sscanf(line, "MemAvailable: %llu", &kb) == 1)
			avail = kb;
	}
	if (f)
		fclose(f);
	*left = avail > total / SPARE ? (avail - total / SPARE) << 10 : 0;
	return total;
}

/* Bytes that may be taken, and the file that says so. */
static uint64_t available(const char **says)
{
	uint64_t least = UINT64_MAX, left;
	const struct hierarchy *h;
	char line[PATH_MAX], *group;
	FILE *f;

	if (left_in_machine(&left)) {
		least = left;
		*says = MEMINFO;
	}
	f = fopen(ROOT "/proc/self/cgroup", "re");
	while (f && fgets(line, sizeof(line), f)) {
		h = hierarchy_of(line, &group);
		if (h)
			least_of_groups(h, group, &least, says);
	}
	if (f)
		fclose(f);
	return least;
}

int memory_check(size_t bytes, struct error *e)
{
	const char *says = NULL;
	uint64_t left = available(&says);

	if (bytes <= left)
		return 0;
	return error_set(e, ENOMEM, "%zu MiB of buffers do not fit into the %llu MiB that may be taken (%s): lower iodepth, bs or numjobs",
			 bytes >> 20, (unsigned long long)left >> 20, says);
}
