// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * meter OUT.json {cost|events} COMMAND...: what running a command took, as JSON.
 *
 * cost: on the instruction clock, the time that one processor was not idle.
 *   A process of the idle class fills the gaps with a loop of known length, so
 *   the processor never halts; busy time is all time less what the loop had.
 *   Interrupts count as busy wherever they arrive.  The loop's own price, which
 *   includes the timer tick it suffers, is measured first.
 * events: how often tracepoints were hit, exactly, without recording them.
 */
#define _GNU_SOURCE
#include <err.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_CPUS 64
#define CALIBRATION_NS 200000000

static const struct event {
	const char *name, *tracepoint, *filter;
} events[] = {
	{ "map", "iommu/map", NULL },
	{ "unmap", "iommu/unmap", NULL },
	/* IOTLB descriptor types (2, 3, 6) have bit 1; wait, context and interrupt ones do not. */
	{ "flush", "intel_iommu/qi_submit", "qw0 & 2" },
	{ "command", "nvme/nvme_setup_cmd", NULL },
};
#define NR_EVENTS (sizeof(events) / sizeof(events[0]))

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* -1: this kernel or this machine has no such tracepoint. */
static int tracepoint_id(const char *tracepoint)
{
	char path[256];
	FILE *file;
	int id = -1;

	snprintf(path, sizeof(path), "/sys/kernel/tracing/events/%s/id", tracepoint);
	file = fopen(path, "r");
	if (!file)
		return -1;
	if (fscanf(file, "%d", &id) != 1)
		id = -1;
	fclose(file);
	return id;
}

static int count_on(int cpu, int id, const char *filter)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr), .config = id,
	};
	int fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		err(240, "perf_event_open");
	if (filter && ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter))
		err(240, "tracepoint filter '%s'", filter);
	return fd;
}

/* Run the command to its end; returns its exit status as a shell would. */
static int run(char **argv, struct rusage *usage)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		err(240, "fork");
	if (!pid) {
		execvp(argv[0], argv);
		err(127, "%s", argv[0]);
	}
	if (wait4(pid, &status, 0, usage) < 0)
		err(240, "wait4");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int count_events(FILE *out, char **argv)
{
	int fds[NR_EVENTS][MAX_CPUS], cpus = sysconf(_SC_NPROCESSORS_ONLN), status;
	struct rusage usage;

	if (cpus > MAX_CPUS)
		errx(240, "more than %d processors", MAX_CPUS);
	for (size_t i = 0; i < NR_EVENTS; i++) {
		int id = tracepoint_id(events[i].tracepoint);

		for (int cpu = 0; cpu < cpus; cpu++)
			fds[i][cpu] = id < 0 ? -1 : count_on(cpu, id, events[i].filter);
	}
	status = run(argv, &usage);
	for (size_t i = 0; i < NR_EVENTS; i++) {
		uint64_t total = 0, one;

		fprintf(out, "%s\"%s\": ", i ? ", " : "{", events[i].name);
		if (fds[i][0] < 0) {
			fprintf(out, "null");
			continue;
		}
		for (int cpu = 0; cpu < cpus; cpu++) {
			if (read(fds[i][cpu], &one, sizeof(one)) != sizeof(one))
				err(240, "reading %s", events[i].tracepoint);
			total += one;
		}
		fprintf(out, "%llu", (unsigned long long)total);
	}
	fprintf(out, "}\n");
	return status;
}

static pid_t fill_gaps(volatile uint64_t *loops)
{
	struct sched_param none = { 0 };
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		err(240, "fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || sched_setscheduler(0, SCHED_IDLE, &none))
		_exit(1);
	/* Two instructions a turn and no register: whatever interrupts it, the count stands. */
	asm volatile("1: incq (%0); jmp 1b" :: "r"(loops) : "memory");
	__builtin_unreachable();
}

static int measure_cost(FILE *out, char **argv)
{
	volatile uint64_t *loops = mmap(NULL, sizeof(*loops), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct timespec calibration = { .tv_nsec = CALIBRATION_NS };
	uint64_t start, loops_start, idle_ns, idle_loops, wall, turns;
	struct rusage usage;
	pid_t filler;
	int status;

	if (loops == MAP_FAILED)
		err(240, "mmap");
	if (sysconf(_SC_NPROCESSORS_ONLN) != 1)
		errx(240, "cost is measured on one processor: boot with ICOUNT=1");
	filler = fill_gaps(loops);
	while (!*loops)
		sched_yield();

	start = now_ns();
	loops_start = *loops;
	nanosleep(&calibration, NULL);
	idle_ns = now_ns() - start;
	idle_loops = *loops - loops_start;

	start = now_ns();
	loops_start = *loops;
	status = run(argv, &usage);
	wall = now_ns() - start;
	turns = *loops - loops_start;
	kill(filler, SIGKILL);

	fprintf(out, "{\"wall_ns\": %llu, \"loops\": %llu, \"loop_ns\": %.6f, "
		"\"user_us\": %lld, \"system_us\": %lld}\n",
		(unsigned long long)wall, (unsigned long long)turns, (double)idle_ns / idle_loops,
		usage.ru_utime.tv_sec * 1000000ll + usage.ru_utime.tv_usec,
		usage.ru_stime.tv_sec * 1000000ll + usage.ru_stime.tv_usec);
	return status;
}

int main(int argc, char **argv)
{
	int status;
	FILE *out;

	if (argc < 4 || (strcmp(argv[2], "cost") && strcmp(argv[2], "events")))
		errx(240, "usage: meter OUT.json {cost|events} COMMAND...");
	out = fopen(argv[1], "w");
	if (!out)
		err(240, "%s", argv[1]);
	status = strcmp(argv[2], "cost") ? count_events(out, argv + 3) : measure_cost(out, argv + 3);
	if (fclose(out))
		err(240, "%s", argv[1]);
	return status;
}
