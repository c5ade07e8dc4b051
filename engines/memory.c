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

static bool read_of_group(const char *group, const char *file, const char *key, uint64_t *number)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), CGROUPS "%s/%s", group, file);
	return read_number(path, key, number);
}

/* What a control group lets its members still have; false: it has no limit. */
static bool left_in_group(const char *group, uint64_t *left)
{
	uint64_t max, now, clean[2] = { 0 };

	if (!read_of_group(group, "memory.max", "", &max) || !read_of_group(group, "memory.current", "", &now))
		return false;
	/* the page cache gives way */
	read_of_group(group, "memory.stat", "inactive_file ", &clean[0]);
	read_of_group(group, "memory.stat", "active_file ", &clean[1]);
	now = now > clean[0] + clean[1] ? now - clean[0] - clean[1] : 0;
	*left = max > now ? max - now : 0;
	return true;
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
	char line[PATH_MAX] = "", *group, *slash;
	FILE *f;

	if (left_in_machine(&left)) {
		least = left;
		*says = MEMINFO;
	}
	f = fopen(ROOT "/proc/self/cgroup", "re");
	while (f && fgets(line, sizeof(line), f) && strncmp(line, "0::/", 4))
		line[0] = '\0';
	if (f)
		fclose(f);
	line[strcspn(line, "\n")] = '\0';
	/* its own group and all above it, but the root, which has no limit */
	for (group = line[0] ? line + 3 : line; (slash = strrchr(group, '/')) && slash[1]; *slash = '\0') {
		if (left_in_group(group, &left) && left < least) {
			least = left;
			*says = "memory.max of the control group";
		}
		if (slash == group)
			break;
	}
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
