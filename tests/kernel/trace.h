/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How often something happens in the kernel, by its trace events; and what it logs. */
#ifndef TRACE_H
#define TRACE_H

#include "sys.h"

#define TRACING "/sys/kernel/tracing"

/* "nvme/nvme_setup_cmd" from now on; all of them if the filter is "0". */
static inline enum t_result trace_begin(const char *event, const char *filter)
{
	int file = open(TRACING "/trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (file < 0)
		return t_skip(TRACING ": %m (CONFIG_EVENT_TRACING)");
	close(file);
	T_IS(put(filter, TRACING "/events/%s/filter", event), 0, filter);
	T_IS(put("1", TRACING "/events/%s/enable", event), 0, event);
	return T_PASS;
}

/* How many there were, those that the buffer has lost included. */
static inline long trace_end(const char *event)
{
	long total = 0, n, cpu, cpus = sysconf(_SC_NPROCESSORS_CONF);
	char path[128], line[128];
	FILE *stats;

	put("0", TRACING "/events/%s/enable", event);
	put("0", TRACING "/events/%s/filter", event);
	for (cpu = 0; cpu < cpus; cpu++) {
		snprintf(path, sizeof(path), TRACING "/per_cpu/cpu%ld/stats", cpu);
		stats = fopen(path, "r");
		if (!stats)
			t_die("%s: %m", path);
		while (fgets(line, sizeof(line), stats))
			if (sscanf(line, "entries: %ld", &n) == 1 || sscanf(line, "overrun: %ld", &n) == 1)
				total += n;
		fclose(stats);
	}
	return total;
}

/* The kernel's log from now on. */
static inline int log_open(void)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (log < 0 || lseek(log, 0, SEEK_END) < 0)
		t_die("/dev/kmsg: %m");
	return log;
}

/* Closes it; how many lines there were that have all of these words. */
static inline unsigned int log_close(int log, const char *one, const char *two)
{
	char line[8192];
	unsigned int n = 0;
	ssize_t len;

	for (;;) {
		len = read(log, line, sizeof(line) - 1);
		if (len < 0 && errno == EPIPE)	/* some were lost */
			continue;
		if (len <= 0)
			break;
		line[len] = 0;
		n += strstr(line, one) && strstr(line, two);
	}
	close(log);
	return n;
}

#endif
