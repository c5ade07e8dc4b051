// SPDX-License-Identifier: GPL-2.0-or-later
/* memory.c on files that this one writes below the current directory, which is empty. */
#undef NDEBUG
#include <assert.h>
#include <stdarg.h>
#include <sys/stat.h>

#define ROOT "."
#include "memory.c"

__attribute__((format(printf, 2, 3)))
static void put(const char *path, const char *fmt, ...)
{
	char dir[128];
	va_list args;
	FILE *f;

	for (const char *end = path; (end = strchr(end + 1, '/'));) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(end - path), path);
		mkdir(dir, 0755);
	}
	f = fopen(path, "w");
	assert(f);
	va_start(args, fmt);
	vfprintf(f, fmt, args);
	va_end(args);
	fclose(f);
}

static void group(const char *name, const char *max, unsigned int now_mb, unsigned int clean_mb)
{
	char path[128];

	snprintf(path, sizeof(path), "./sys/fs/cgroup%s/memory.max", name);
	put(path, "%s\n", max);
	snprintf(path, sizeof(path), "./sys/fs/cgroup%s/memory.current", name);
	put(path, "%llu\n", (unsigned long long)now_mb << 20);
	snprintf(path, sizeof(path), "./sys/fs/cgroup%s/memory.stat", name);
	put(path, "anon 1\nworkingset_inactive_file 99999999999\ninactive_file %llu\nactive_file 0\n", (unsigned long long)clean_mb << 20);
}

static void group_v1(const char *name, unsigned long long limit, unsigned int now_mb, unsigned int clean_mb)
{
	char path[128];

	snprintf(path, sizeof(path), "./sys/fs/cgroup/memory%s/memory.limit_in_bytes", name);
	put(path, "%llu\n", limit);
	snprintf(path, sizeof(path), "./sys/fs/cgroup/memory%s/memory.usage_in_bytes", name);
	put(path, "%llu\n", (unsigned long long)now_mb << 20);
	snprintf(path, sizeof(path), "./sys/fs/cgroup/memory%s/memory.stat", name);
	put(path, "inactive_file 99999999999\ntotal_inactive_file 0\ntotal_active_file %llu\n", (unsigned long long)clean_mb << 20);
}

/* The most that is let through, in MiB. */
static size_t most(void)
{
	struct error e;
	size_t mb = 0;

	for (size_t step = 1 << 20; step; step >>= 1)
		if (!memory_check((mb + step) << 20, &e))
			mb += step;
	return mb;
}

int main(void)
{
	struct error e;

	assert(most() == (2 << 20) - 1);	/* nothing is known */
	put("./proc/meminfo", "MemTotal:        1638400 kB\nMemFree: 5 kB\nMemAvailable:    1024000 kB\n");
	assert(most() == 900);			/* 1000 of 1600 MiB, but for a sixteenth of these */
	put("./proc/self/cgroup", "4:memory:/v1\n0::/\n");
	assert(most() == 900);
	put("./proc/self/cgroup", "1:name=systemd:/\n0::/a/b/c\n");
	assert(most() == 900);			/* no such directory */
	group("/a/b/c", "max", 10, 0);
	group("/a", "max", 10, 0);
	assert(most() == 900);
	group("/a", "524288000", 100, 0);
	assert(most() == 400);			/* a group above it */
	group("/a", "524288000", 300, 250);
	assert(most() == 450);
	assert(memory_check(451 << 20, &e) == -ENOMEM && strstr(e.text, "into the 450 MiB that may be taken (memory.max"));
	group("/a/b/c", "104857600", 200, 0);
	assert(most() == 0);
	group("", "314572800", 0, 0);
	put("./proc/self/cgroup", "0::/\n");
	assert(most() == 300);			/* of a container, whose root is its group */
	put("./proc/self/cgroup", "0::/../a/b\n");
	assert(most() == 300);			/* no group of this namespace */

	/* version 1, alone or beside the other */
	group_v1("", 9223372036854771712ULL, 800, 0);
	group_v1("/v1/job", 209715200, 150, 20);
	group_v1("/v1", 9223372036854771712ULL, 700, 0);
	put("./proc/self/cgroup", "12:cpuset:/v1/job\n1:name=memory:/v1/job\n0::/a/b\n");
	assert(most() == 300);			/* not of the controller memory */
	put("./proc/self/cgroup", "12:cpuset:/\n4:memory:/v1/job\n0::/a/b\n");
	assert(most() == 70);
	assert(memory_check(71 << 20, &e) == -ENOMEM && strstr(e.text, "into the 70 MiB that may be taken (memory.limit_in_bytes"));
	put("./proc/self/cgroup", "4:hugetlb,memory:/v1/other:one\n");
	assert(most() == 900);			/* a colon is in the name, the directory is not there, and those above have no limit */
	group_v1("/v1", 524288000, 100, 0);
	assert(most() == 400);
	group_v1("", 104857600, 90, 0);
	assert(most() == 10);
	put("./proc/self/cgroup", "4:memory\n\n:\n");
	assert(most() == 900);

	put("./proc/self/cgroup", "0::/a/b/c\n");
	put("./proc/meminfo", "MemTotal:        1638400 kB\nMemAvailable:    99 kB\n");
	group("/a/b/c", "max", 200, 0);
	assert(most() == 0 && memory_check(1, &e) == -ENOMEM && strstr(e.text, "proc/meminfo"));
	return 0;
}
