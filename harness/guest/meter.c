// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * meter OUT.json DISK[:DISK...] {cost|events} COMMAND...: what the I/O of a command takes.
 *
 * The command pauses now and then (fio's thinktime) with nothing in flight.
 * What is reported is the difference between the first pause and the second,
 * so that neither its start nor its registrations are in it, nor its end.
 *
 * cost: on the instruction clock, the time that one processor was not idle.
 *   A process of the idle class fills the gaps with a loop of known length, so
 *   the processor never halts; busy time is all time less what the loop had,
 *   less our own.  Interrupts count as busy wherever they arrive.  What a turn
 *   of the loop takes, with the timer tick it suffers, the first pause shows.
 * memory: at the second pause, of how many pages the buffers are, and how many
 *   runs of neighbours in physical memory these make; of the first process that
 *   has any.
 * events: how often tracepoints were hit, counted without recording, on the
 *   processors that we may run on; and the instructions that a processor with
 *   such a counter executed on them.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLE_NS 20000000
#define MISSED 241	/* exit status: no two pauses long enough were seen */

#define BUFFERS "/memfd:dmabuf-engine"	/* what the engine calls its memory */
#define FRAME ((1ull << 55) - 1)		/* of an entry of /proc/PID/pagemap */

#define MAX_CPUS 1024
#define MAX_DISKS 16

static const struct event {
	const char *name, *tracepoint, *filter;
} events[] = {
	{ "map", "iommu/map", NULL },
	{ "unmap", "iommu/unmap", NULL },
	/* IOTLB descriptor types (2, 3, 6) have bit 1; wait, context and interrupt ones do not. */
	{ "flush", "intel_iommu/qi_submit", "qw0 & 2" },
	{ "command", "nvme/nvme_setup_cmd", NULL },
	{ "instructions", NULL, NULL },
};
#define NR_EVENTS (sizeof(events) / sizeof(events[0]))

static int counters[NR_EVENTS][MAX_CPUS], nr_counters; /* -1: not counted */
static volatile uint64_t *loops;
static char stat_paths[MAX_DISKS][256];
static int nr_disks;

struct snapshot {
	uint64_t requests, wall_ns, own_ns, loops, events[NR_EVENTS];
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* Requests that the disks have completed; *busy says whether they have more. */
static uint64_t requests(int *busy)
{
	unsigned long long reads, writes, in_flight;
	uint64_t total = 0;

	*busy = 0;
	for (int i = 0; i < nr_disks; i++) {
		FILE *file = fopen(stat_paths[i], "r");

		if (!file || fscanf(file, "%llu %*u %*u %*u %llu %*u %*u %*u %llu", &reads, &writes, &in_flight) != 3)
			err(240, "%s", stat_paths[i]);
		fclose(file);
		*busy |= in_flight != 0;
		total += reads + writes;
	}
	return total;
}

static void name_disks(char *disks)
{
	for (char *disk = strtok(disks, ":"); disk; disk = strtok(NULL, ":")) {
		if (nr_disks == MAX_DISKS)
			errx(240, "at most %d disks", MAX_DISKS);
		snprintf(stat_paths[nr_disks++], sizeof(stat_paths[0]), "/sys/block/%s/stat", basename(disk));
	}
}

static uint64_t counted(size_t event)
{
	uint64_t total = 0, value;

	for (int i = 0; i < nr_counters; i++) {
		if (read(counters[event][i], &value, sizeof(value)) != sizeof(value))
			err(240, "reading %s", events[event].name);
		total += value;
	}
	return total;
}

static struct snapshot take(uint64_t requests)
{
	struct snapshot now = { .requests = requests, .loops = *loops };

	for (size_t i = 0; i < NR_EVENTS; i++)
		if (nr_counters && counters[i][0] >= 0)
			now.events[i] = counted(i);
	now.own_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	now.wall_ns = clock_ns(CLOCK_MONOTONIC);
	return now;
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

/* -1: there is no such event here. */
static int count(const struct event *event, int cpu)
{
	int id = event->tracepoint ? tracepoint_id(event->tracepoint) : PERF_COUNT_HW_INSTRUCTIONS;
	struct perf_event_attr attr = {
		.type = event->tracepoint ? PERF_TYPE_TRACEPOINT : PERF_TYPE_HARDWARE, .size = sizeof(attr), .config = id,
	};
	int fd = id < 0 ? -1 : syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0 && id >= 0 && event->tracepoint)
		err(240, "perf_event_open");
	if (event->filter && fd >= 0 && ioctl(fd, PERF_EVENT_IOC_SET_FILTER, event->filter))
		err(240, "tracepoint filter '%s'", event->filter);
	return fd;
}

static void count_all(void)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		err(240, "sched_getaffinity");
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed)) {
			for (size_t i = 0; i < NR_EVENTS; i++)
				counters[i][nr_counters] = count(&events[i], cpu);
			nr_counters++;
		}
}

static pid_t fill_gaps(void)
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

struct memory {
	uint64_t pages, runs;
};

/* Frames of a mapping: a run ends where the next page is not the next in memory. */
static void look_at(int pagemap, uint64_t from, uint64_t to, struct memory *memory)
{
	const uint64_t page = sysconf(_SC_PAGESIZE);
	uint64_t entry, last = 0;

	for (uint64_t at = from; at < to; at += page) {
		if (pread(pagemap, &entry, sizeof(entry), at / page * sizeof(entry)) != sizeof(entry))
			err(240, "pagemap");
		if (!(entry & FRAME))
			continue;	/* not there, or not for us to see */
		memory->pages++;
		memory->runs += (entry & FRAME) != last + 1;
		last = entry & FRAME;
	}
}

/* The buffers of one process; none: it has none. */
static struct memory memory_of(const char *process)
{
	struct memory memory = { 0 };
	unsigned long long from, to;
	char path[300], line[512];
	FILE *maps;
	int pagemap;

	snprintf(path, sizeof(path), "/proc/%s/maps", process);
	maps = fopen(path, "r");
	snprintf(path, sizeof(path), "/proc/%s/pagemap", process);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	while (maps && pagemap >= 0 && fgets(line, sizeof(line), maps))
		if (strstr(line, BUFFERS) && sscanf(line, "%llx-%llx", &from, &to) == 2)
			look_at(pagemap, from, to, &memory);
	if (pagemap >= 0)
		close(pagemap);
	if (maps)
		fclose(maps);
	return memory;
}

static struct memory look(void)
{
	struct memory memory = { 0 };
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && !memory.pages && (entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0]))
			memory = memory_of(entry->d_name);
	if (proc)
		closedir(proc);
	return memory;
}

/* The first pause, from its start to its end, and the start of the second. */
struct pauses {
	struct snapshot first, end, second;
	struct memory memory;
};

/* Returns the command's exit status as a shell would. */
static int watch(pid_t pid, struct pauses *seen)
{
	const struct timespec wait = { .tv_nsec = SAMPLE_NS };
	int busy, status;
	uint64_t start = requests(&busy), before = start, now;

	while (!waitpid(pid, &status, WNOHANG)) {
		nanosleep(&wait, NULL);
		now = requests(&busy);
		if (!busy && now == before && now != start) {
			if (!seen->first.wall_ns)
				seen->first = take(now);
			else if (now == seen->first.requests)
				seen->end = take(now);
			else if (!seen->second.wall_ns) {
				seen->second = take(now);
				seen->memory = look();
			}
		}
		before = now;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void report(FILE *out, const struct pauses *seen, uint64_t total)
{
	const struct snapshot *from = &seen->first, *end = &seen->end, *to = &seen->second;
	uint64_t turns = end->loops - from->loops;
	double turn_ns = turns ? (double)(end->wall_ns - end->own_ns - from->wall_ns + from->own_ns) / turns : 0;

	fprintf(out, "{\"total_requests\": %lu, \"requests\": %lu, \"wall_ns\": %lu, \"own_ns\": %lu, "
		"\"turns\": %lu, \"turn_ns\": %.6f, \"pages\": %lu, \"runs\": %lu", total, to->requests - from->requests, to->wall_ns - from->wall_ns,
		to->own_ns - from->own_ns, to->loops - from->loops, turn_ns, seen->memory.pages, seen->memory.runs);
	for (size_t i = 0; i < NR_EVENTS; i++) {
		if (nr_counters && counters[i][0] >= 0)
			fprintf(out, ", \"%s\": %lu", events[i].name, to->events[i] - from->events[i]);
		else
			fprintf(out, ", \"%s\": null", events[i].name);
	}
	fprintf(out, "}\n");
}

int main(int argc, char **argv)
{
	struct pauses seen = { 0 };
	int status, busy;
	pid_t filler = 0, pid;
	uint64_t before;
	FILE *out;

	if (argc < 5 || (strcmp(argv[3], "cost") && strcmp(argv[3], "events")))
		errx(240, "usage: meter OUT.json DISK {cost|events} COMMAND...");
	if (!strcmp(argv[3], "cost") && sysconf(_SC_NPROCESSORS_ONLN) != 1)
		errx(240, "the cost of one processor can be measured: boot with ICOUNT=1 or SMP=1");
	name_disks(argv[2]);
	loops = mmap(NULL, sizeof(*loops), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (loops == MAP_FAILED)
		err(240, "mmap");
	out = fopen(argv[1], "w");
	if (!out)
		err(240, "%s", argv[1]);
	before = requests(&busy);
	if (!strcmp(argv[3], "events")) {
		count_all();
	} else {
		filler = fill_gaps();
		while (!*loops)
			sched_yield();
	}

	pid = fork();
	if (pid < 0)
		err(240, "fork");
	if (!pid) {
		execvp(argv[4], argv + 4);
		err(127, "%s", argv[4]);
	}
	status = watch(pid, &seen);
	if (!status && (!seen.end.wall_ns || !seen.second.wall_ns))
		errx(MISSED, "%s did not pause twice for %d ms and more, but %s", argv[4], 3 * SAMPLE_NS / 1000000,
		     seen.end.wall_ns ? "once" : "never");
	if (filler)
		kill(filler, SIGKILL);
	report(out, &seen, requests(&busy) - before);
	if (fclose(out))
		err(240, "%s", argv[1]);
	return status;
}
