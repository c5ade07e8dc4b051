/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of sysfs and the like, and the time. */
#ifndef SYS_H
#define SYS_H

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "helpers.h"

static inline double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* In seconds; kernels that take their time may take ten times as long. */
static inline double bound(double seconds)
{
	return getenv("PATIENCE") ? 10 * seconds : seconds;
}

/* Writes the text to the file of that name; 0 or -errno. */
__attribute__((format(printf, 2, 3)))
static inline int put(const char *text, const char *fmt, ...)
{
	char path[PATH_MAX];
	va_list args;
	int fd, ret;

	va_start(args, fmt);
	vsnprintf(path, sizeof(path), fmt, args);
	va_end(args);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* The first line of a file, "" if there is none. */
__attribute__((format(printf, 1, 2)))
static inline const char *get(const char *fmt, ...)
{
	static char line[256];
	char path[PATH_MAX];
	va_list args;
	FILE *file;

	va_start(args, fmt);
	vsnprintf(path, sizeof(path), fmt, args);
	va_end(args);
	file = fopen(path, "r");
	if (!file || !fgets(line, sizeof(line), file))
		line[0] = 0;
	if (file)
		fclose(file);
	line[strcspn(line, "\n")] = 0;
	return line;
}

/* nvme1n1 */
static inline const char *disk_name(const char *dev)
{
	return strrchr(dev, '/') + 1;
}

#endif
