// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A multipath head: a dma-buf is attached to the controller of each path, I/O
 * goes by whatever path the policy chooses, and over to another one when that
 * is lost in mid-I/O. DEV is the head of a namespace that two controllers share;
 * nobody else may use them. ROUNDS= is how often a path is lost in each test; EVENT=
 * is how it is lost, and then there are no other tests: "path removed".
 */
#define DEPTH	128
#define CHUNK	(16 * 1024UL)
#include "device.h"
#include "attachment.h"
#include "plug.h"

#include <glob.h>
#include <signal.h>
#include <sys/wait.h>
#include <linux/blkpg.h>

#define PATHS	2

static struct t_disk disk;
static int fd;
static char pci[PATHS][32];		/* the controllers */
static char port[PATHS][32];		/* what they are alone behind, if anything */
static char policy_before[32];

/* The first name that matches; "" if there is none. */
__attribute__((format(printf, 2, 3)))
static bool find(char name[64], const char *fmt, ...)
{
	char pattern[PATH_MAX];
	va_list args;
	glob_t found;

	va_start(args, fmt);
	vsnprintf(pattern, sizeof(pattern), fmt, args);
	va_end(args);
	name[0] = 0;
	if (!glob(pattern, 0, NULL, &found)) {
		snprintf(name, 64, "%s", disk_name(found.gl_pathv[0]));
		globfree(&found);
	}
	return name[0];
}

/* nvme4, which a controller that was lost comes back as another number of */
static const char *controller(unsigned int path)
{
	static char name[64];

	find(name, "/sys/bus/pci/devices/%s/nvme/nvme*", pci[path]);
	return name;
}

/* nvme3c4n1 */
static const char *leg(unsigned int path)
{
	static char name[64];

	find(name, "/sys/bus/pci/devices/%s/nvme/nvme*/nvme*c*n*", pci[path]);
	return name;
}

static bool is_live(unsigned int path)
{
	char link[PATH_MAX];

	snprintf(link, sizeof(link), "/sys/class/block/%s/multipath/%s", disk_name(t_dev), leg(path));
	return leg(path)[0] && !access(link, F_OK) && !strcmp(get("/sys/class/nvme/%s/state", controller(path)), "live");
}

static int await_paths(void)
{
	double end = now() + 60;
	unsigned int i;

	for (i = 0; i < PATHS; i++)
		for (; !is_live(i); usleep(10000))
			if (now() > end)
				return -ETIME;
	return 0;
}

static unsigned long commands(unsigned int path)
{
	unsigned long reads = 0, writes = 0;

	sscanf(get("/sys/class/block/%s/stat", leg(path)), "%lu %*u %*u %*u %lu", &reads, &writes);
	return reads + writes;
}

static int set_policy(const char *policy)
{
	return put(policy, "/sys/class/block/%s/device/iopolicy", disk_name(t_dev));
}

/* In seconds; 0: I/O without a path fails. */
static int set_patience(const char *seconds)
{
	return put(seconds, "/sys/class/block/%s/delayed_removal_secs", disk_name(t_dev));
}

static long attachments(void)
{
	struct t_leaks leaks;

	if (t_leaks_init(&leaks) != T_PASS)
		t_die("the attachments cannot be counted");
	return leaks.attachments;
}

static unsigned int in_flight(unsigned int path)
{
	unsigned int reads = 0, writes = 0;

	sscanf(get("/sys/class/block/%s/inflight", leg(path)), "%u %u", &reads, &writes);
	return reads + writes;
}

static int lose(unsigned int path)
{
	return put("1", "/sys/bus/pci/devices/%s/remove", pci[path]);
}

static int rescan(void)
{
	return put("1", "/sys/bus/pci/rescan");
}

/* Whether the port passes on what the driver reads and writes. */
static int reach(unsigned int path, bool on)
{
	char name[PATH_MAX];
	uint16_t command;
	int config, ret = 0;

	snprintf(name, sizeof(name), "/sys/bus/pci/devices/%s/config", port[path]);
	config = t_open(name, O_RDWR);
	if (pread(config, &command, 2, PCI_COMMAND) != 2)
		ret = -EIO;
	command = on ? command | PCI_COMMAND_MEMORY : command & ~PCI_COMMAND_MEMORY;
	if (pwrite(config, &command, 2, PCI_COMMAND) != 2)
		ret = -EIO;
	close(config);
	return ret;
}

static bool pulled;

/*
 * All that the path has is lost with it, once nothing else is on the way: what comes
 * while the driver takes a dead controller down ends with -EIO and is not failed
 * over, be it from a dma-buf or not (nvme_queue_rq(), 7.3). Nor has the controller
 * anything by then: QEMU 7.2 may crash when it is reset.
 */
static int pull(unsigned int path)
{
	int ret = reach(path, false);
	double quiet = now(), end = quiet + 20;

	pulled = true;
	while (!ret && now() - quiet < 0.1) {
		usleep(1000);
		if (!in_flight(path) || in_flight(!path))
			quiet = now();
		if (quiet > end)
			ret = -ETIME;
	}
	return plug(false, port[path], pci[path]) ?: lose(path) ?: ret;
}

static int put_in(unsigned int path)
{
	pulled = false;
	return reach(path, true) ?: plug_in(port[path], pci[path]) ?: await_paths();
}

static int surprise(unsigned int round)
{
	const unsigned int path = !port[0][0];

	return round % 2 ? put_in(path) : pull(path);
}

/* However they were lost. */
static int regain(void)
{
	return pulled ? put_in(!port[0][0]) : rescan() ?: await_paths();
}

/* Returns when the path has requests, if it gets any. */
static void meet(unsigned int path)
{
	double end = now() + 1;

	while (!in_flight(path) && now() < end)
		usleep(1000);
}

/* What is done to a path, in even rounds, and undone, in odd ones; to both in turn. */
#define TURN(round)	((round) / 2 % PATHS)

static int removal(unsigned int round)
{
	if (round % 2)
		return regain();
	meet(TURN(round));
	return lose(TURN(round));
}

static int unbinding(unsigned int round)
{
	const char *controller = pci[TURN(round)];

	if (round % 2)
		return put(controller, "/sys/bus/pci/drivers/nvme/bind") ?: await_paths();
	meet(TURN(round));
	return put(controller, "/sys/bus/pci/drivers/nvme/unbind");
}

static int reset(unsigned int round)
{
	meet(round % PATHS);
	return put("1", "/sys/class/nvme/%s/reset_controller", controller(round % PATHS)) ?: await_paths();
}

static int nothing(unsigned int round)
{
	(void)round;
	usleep(200000);
	return 0;
}

static unsigned int rounds(unsigned int few)
{
	const char *many = getenv("ROUNDS");

	return many ? 2 * strtoul(many, NULL, 10) : few;
}

/* A watched buffer, registered for the head in slot 0 of a ring; and what there was before. */
struct set {
	struct load load;
	struct t_buf buf;
	struct t_leaks leaks;
};

/* What a test that failed has left, which would lose attachments during the next. */
static struct {
	struct t_ring ring;
	int dmabuf;
	bool there;
} left;

static void drop_left(void)
{
	if (!left.there)
		return;
	t_ring_exit(&left.ring);
	close(left.dmabuf);
	left.there = false;
}

static enum t_result set_up(struct set *set, enum t_mode mode, int target)
{
	drop_left();
	*set = (struct set){ .load = { .disk = &disk, .fd = target, .mode = mode, .buf = &set->buf } };
	T_TRY(t_need(mode));
	T_IS(regain(), 0, "both paths");
	T_TRY(t_leaks_init(&set->leaks));
	T_TRY(watched_init(&set->buf));
	t_ring_init(&set->load.ring, mode, DEPTH + 1, 2);
	left.ring = set->load.ring;
	left.dmabuf = set->buf.fd;
	left.there = true;
	return T_PASS;
}

static enum t_result set_up_registered(struct set *set, enum t_mode mode)
{
	T_TRY(set_up(set, mode, fd));
	T_IS(t_register(&set->load.ring, 0, set->buf.fd, fd, 0), 1, "register");
	return T_PASS;
}

static enum t_result tear_down(struct set *set)
{
	t_ring_exit(&set->load.ring);
	left.there = false;
	T_TRY(watched_exit(&set->buf));
	return t_leaks_check(&set->leaks);
}

static enum t_result is_attached(const struct set *set, unsigned int paths)
{
	T_IS(attachments() - set->leaks.attachments, paths, "attachments");
	T_IS(ask(&set->buf, DMA_BUF_IO_TEST_LIVE), paths, "mappings");
	return T_PASS;
}

/* Right in every byte; adds to what each path has carried. */
static enum t_result good_batches(struct set *set, unsigned int n, unsigned long carried[PATHS])
{
	unsigned long first[PATHS];
	unsigned int round, i;

	for (round = 1; round <= n; round++) {
		for (i = 0; i < PATHS; i++)
			first[i] = commands(i);
		T_IS(load_batch(&set->load, round), 0, "I/O");
		for (i = 0; i < PATHS; i++)
			carried[i] += commands(i) - first[i];
		T_CHECK(load_is_right(&set->load, round), "wrong data in batch %u", round);
	}
	return T_PASS;
}

/* Attached to each path, data right, and the policy obeyed. */
static enum t_result carries(const char *policy, enum t_mode mode)
{
	unsigned long carried[PATHS] = { 0 };
	struct set set;

	T_IS(set_policy(policy), 0, policy);
	T_TRY(set_up_registered(&set, mode));
	T_TRY(is_attached(&set, PATHS));
	T_TRY(good_batches(&set, 4, carried));
	T_IS(ask(&set.buf, DMA_BUF_IO_TEST_TOTAL), PATHS, "mappings ever made");
	T_CHECK(carried[0] + carried[1] >= 4 * DEPTH, "%lu and %lu commands", carried[0], carried[1]);
	if (!strcmp(policy, "numa"))
		T_CHECK(!carried[0] || !carried[1], "%lu and %lu commands", carried[0], carried[1]);
	else
		T_CHECK(carried[0] && carried[1], "%lu and %lu commands", carried[0], carried[1]);
	T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
	return tear_down(&set);
}

static enum t_result need_port(int (*happen)(unsigned int round))
{
	return happen == surprise && !port[0][0] && !port[1][0] ? t_skip("no path is behind a PCIe port") : T_PASS;
}

static unsigned long longest(const char *name)
{
	return strtoul(get("/sys/class/block/%s/queue/max_hw_dmabuf_sectors_kb", name), NULL, 10);
}

/* Commands are as long as each controller takes them, and requests longer. */
static enum t_result limits(void)
{
	const unsigned long first = longest(leg(0)), second = longest(leg(1));
	struct t_io io = { .fd = fd };
	struct t_leaks leaks;
	struct t_ring ring;
	struct t_buf buf;
	unsigned int i;

	T_TRY(t_leaks_init(&leaks));
	T_CHECK(first && second, "%lu and %lu KiB", first, second);
	T_IS(longest(disk_name(t_dev)), first < second ? first : second, "KiB of a command to the head");
	t_diag("%lu and %lu KiB", first, second);
	T_TRY(t_buf_init(&buf, T_SCATTERED, 4 * T_MIB));
	t_ring_init(&ring, T_PLAIN, 4, 1);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	for (i = 0; i < 2 * PATHS; i++) {
		const size_t len = 2 * T_MIB + 3 * disk.lba;

		T_TRY(t_check_read(&ring, io, &disk, &buf, i * T_PAGE + disk.lba, len, i * T_MIB));
		T_TRY(t_check_write(&ring, io, &disk, &buf, i * T_PAGE + disk.lba, len, i * T_MIB));
	}
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	return t_leaks_check(&leaks);
}

/* Lost in mid-I/O: nobody sees an error or a wrong byte. */
static enum t_result fails_over(int (*happen)(unsigned int round), enum t_mode mode, unsigned int n)
{
	struct event event = { .happen = happen, .rounds = n };
	double before = now();
	struct set set;

	T_TRY(need_port(happen));
	T_TRY(set_up_registered(&set, mode));
	T_TRY(load_during(&set.load, &event, NULL));
	t_diag("%u batches of %d in %.1f s", set.load.rounds, DEPTH, now() - before);
	T_TRY(good_batches(&set, 2, (unsigned long [PATHS]){ 0 }));
	/* other policies may have no use for the path that came back */
	if (!strcmp(get("/sys/class/block/%s/device/iopolicy", disk_name(t_dev)), "round-robin"))
		T_TRY(is_attached(&set, PATHS));
	T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
	return tear_down(&set);
}

/*
 * An exporter that invalidates all the while, with reads and writes that lose no byte,
 * waits no longer than when nothing happens: on the whole, and at the worst, but for
 * what one processor more or less is worth.
 */
static enum t_result waits(int (*happen)(unsigned int round), enum t_mode mode, unsigned int n)
{
	const double noise = getenv("PATIENCE") ? 10 : 2;
	struct storm_wait calm, event;
	struct t_leaks leaks;

	T_TRY(need_port(happen));
	T_TRY(t_leaks_init(&leaks));
	T_IS(regain(), 0, "both paths");
	T_TRY(stormy_for(&disk, fd, nothing, mode, n, &calm));
	T_TRY(stormy_for(&disk, fd, happen, mode, n, &event));
	t_diag("the exporter waited: median %.1f ms, worst %.1f ms of %u; median %.1f ms, worst %.1f ms of %u when nothing happens; depth %d, %u rounds",
	       event.median * 1e3, event.worst * 1e3, event.count, calm.median * 1e3, calm.worst * 1e3, calm.count, DEPTH, n / 2);
	T_CHECK(event.worst < calm.worst + noise, "the exporter waited %.3f s", event.worst);
	T_CHECK(event.median < 2 * calm.median + noise / 40, "the exporter mostly waited %.3f s", event.median);
	return t_leaks_check(&leaks);
}

/* A path that appears later is attached by I/O, and nothing else; it goes with its attachment. */
static enum t_result later(enum t_mode mode)
{
	unsigned long carried[PATHS] = { 0 };
	struct set set;

	T_TRY(set_up(&set, mode, fd));
	T_IS(lose(1), 0, "losing a path");
	T_IS(t_register(&set.load.ring, 0, set.buf.fd, fd, 0), 1, "register");
	T_TRY(is_attached(&set, 1));
	T_TRY(good_batches(&set, 2, carried));
	T_IS(regain(), 0, "getting it back");
	T_TRY(is_attached(&set, 1));
	memset(carried, 0, sizeof(carried));
	T_TRY(good_batches(&set, 4, carried));
	T_TRY(is_attached(&set, PATHS));
	T_CHECK(carried[0] && carried[1], "%lu and %lu commands", carried[0], carried[1]);
	T_IS(lose(0), 0, "losing the other path");
	T_TRY(is_attached(&set, 1));
	T_TRY(good_batches(&set, 2, carried));
	T_IS(regain(), 0, "getting it back");
	T_TRY(good_batches(&set, 4, carried));
	T_TRY(is_attached(&set, PATHS));
	T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
	return tear_down(&set);
}

/*
 * The namespace is detached from a controller that stays, and attached again. With
 * nothing in flight, as QEMU's controllers say of others' namespaces that a field is
 * invalid, which is no reason to try another path.
 */
static enum t_result detached(unsigned int path)
{
	unsigned long carried[PATHS] = { 0 };
	double end = now() + 30;
	struct set set;

	T_TRY(set_up_registered(&set, T_PLAIN));
	T_IS(attachment(controller(path), 1, 1), 0, "detach");
	while (leg(path)[0] && now() < end)
		usleep(10000);
	T_TRY(is_attached(&set, 1));
	T_TRY(good_batches(&set, 2, carried));
	T_IS(attachment(controller(path), 1, 0), 0, "attach");
	T_IS(await_paths(), 0, "both paths");
	memset(carried, 0, sizeof(carried));
	T_TRY(good_batches(&set, 4, carried));
	T_CHECK(carried[0] && carried[1], "%lu and %lu commands", carried[0], carried[1]);
	T_TRY(is_attached(&set, PATHS));
	T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
	return tear_down(&set);
}

static int lose_all(unsigned int round)
{
	(void)round;
	return lose(0) ?: lose(1);
}

static int gap(unsigned int round)
{
	int ret;

	meet(0);
	ret = lose_all(round);
	usleep(500000);
	return ret ?: regain();
}

/* Everything that was submitted waits; -errno of what does not. */
static int none_done(struct t_ring *ring)
{
	struct io_uring_cqe *cqe;

	usleep(500000);
	if (ring->mode == T_DEFER)
		io_uring_get_events(&ring->uring);
	return io_uring_peek_cqe(&ring->uring, &cqe) ? 0 : cqe->res < 0 ? cqe->res : -EEXIST;
}

static void submit_reads(struct set *set, unsigned int n, int slot)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct t_io io = load_io(&set->load, i, 1);

		io.write = false;
		io.slot = slot;
		io.addr += slot < 0 ? (uintptr_t)disk.bounce : 0;
		t_queue(&set->load.ring, &io, i);
	}
	t_submit(&set->load.ring);
}

static int reap_reads(struct set *set, unsigned int n)
{
	int error = 0;

	while (n--) {
		int ret = t_reap(&set->load.ring, NULL);

		if (ret != (int)CHUNK && !error)
			error = ret < 0 ? ret : -EIO;
	}
	return error;
}

/* Without a path requests wait as others do, for as long as the head may, and hold nothing. */
static enum t_result outlives(enum t_mode mode)
{
	struct set set;
	uint64_t ns = 0;
	int ret;

	T_TRY(set_up_registered(&set, mode));
	T_IS(set_patience("60"), 0, "delayed_removal_secs");
	T_IS(lose_all(0), 0, "losing both paths");
	T_TRY(is_attached(&set, 0));
	submit_reads(&set, 1, -1);
	ret = none_done(&set.load.ring);
	T_IS(ret, 0, "an ordinary request without a path");
	submit_reads(&set, DEPTH, 0);
	ret = none_done(&set.load.ring);
	T_IS(ret, 0, "requests without a path");
	T_IS(control(&set.buf, DMA_BUF_IO_TEST_INVALIDATE, 0, &ns), 0, "invalidate");
	T_CHECK(ns < 1000000000, "the exporter waited %llu ms", (unsigned long long)ns / 1000000);
	T_IS(t_register(&set.load.ring, 1, set.buf.fd, fd, 0), 1, "register without a path");
	T_IS(regain(), 0, "getting both back");
	T_IS(reap_reads(&set, DEPTH + 1), 0, "requests that waited");
	T_TRY(good_batches(&set, 2, (unsigned long [PATHS]){ 0 }));
	T_TRY(is_attached(&set, PATHS));
	T_IS(set_patience("0"), 0, "delayed_removal_secs");
	T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
	T_IS(t_clear(&set.load.ring, 1), 1, "unregister the other");
	return tear_down(&set);
}

static enum t_result gaps(enum t_mode mode)
{
	enum t_result result;

	T_IS(set_patience("60"), 0, "delayed_removal_secs");
	result = fails_over(gap, mode, 2);
	T_IS(set_patience("0"), 0, "delayed_removal_secs");
	return result;
}

/* All maps are taken at once, and made again by I/O. */
static enum t_result storms(enum t_mode mode)
{
	struct set set;
	unsigned int i;

	T_TRY(set_up_registered(&set, mode));
	for (i = 1; i < 10; i++) {
		T_IS(control(&set.buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
		T_IS(ask(&set.buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings after it");
		T_TRY(good_batches(&set, 1, (unsigned long [PATHS]){ 0 }));
		T_TRY(is_attached(&set, PATHS));
		T_IS(ask(&set.buf, DMA_BUF_IO_TEST_TOTAL), (i + 1) * PATHS, "mappings ever made");
	}
	T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
	T_TRY(tear_down(&set));
	T_TRY(stormy(&disk, fd, nothing, mode, 5));
	return t_leaks_check(&set.leaks);
}

/*
 * What a device can say at one of the steps. Without a way to the memory there is
 * no point in asking again; what has been attached is, whenever maps are made.
 */
#define PASSES	1500000		/* after so many us it is asked again */

struct refusal {
	const char *name;
	unsigned int op;
	int error;
	unsigned int times;	/* that registering meets it */
	bool for_good;
};

static const struct refusal refusals[] = {
	{ "attached", DMA_BUF_IO_TEST_FAIL_ATTACH, EOPNOTSUPP, 1, true },
	{ "mapped", DMA_BUF_IO_TEST_FAIL_MAP, EOPNOTSUPP, 1, false },
	{ "attached for the moment", DMA_BUF_IO_TEST_FAIL_ATTACH, ENXIO, 2, false },
	{ "mapped for the moment", DMA_BUF_IO_TEST_FAIL_MAP, ENXIO, 1, false },
};

/* Registers with one path that refuses, and another that does not. */
static enum t_result refuse(struct set *set, unsigned int path, const struct refusal *refusal)
{
	T_IS(lose(path), 0, "losing a path");
	T_IS(t_register(&set->load.ring, 1, set->buf.fd, fd, 0), 1, "register for the other");
	T_IS(regain(), 0, "getting it back");
	T_IS(control(&set->buf, refusal->op, times(refusal->times, refusal->error), NULL), 0, "FAIL");
	T_IS(t_register(&set->load.ring, 0, set->buf.fd, fd, 0), 1, "register");
	T_IS(ask(&set->buf, DMA_BUF_IO_TEST_LIVE), 1, "mappings");
	T_IS(t_clear(&set->load.ring, 1), 1, "unregister for the other");
	return T_PASS;
}

/* A path that cannot have the memory is not chosen, and the other is, down or up. */
static enum t_result refused(unsigned int path, const struct refusal *refusal)
{
	unsigned long carried[PATHS] = { 0 };
	struct set set;

	T_TRY(set_up(&set, T_PLAIN, fd));
	T_TRY(refuse(&set, path, refusal));
	T_TRY(good_batches(&set, 3, carried));
	/* the path that is left is away for a moment: requests wait for it */
	T_IS(reset(!path), 0, "reset");
	usleep(PASSES);
	if (refusal->error == EOPNOTSUPP && !refusal->for_good)
		T_IS(control(&set.buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_TRY(good_batches(&set, 3, carried));
	if (refusal->for_good) {
		T_IS(carried[path], 0, "commands to a device that refused");
		T_IS(ask(&set.buf, DMA_BUF_IO_TEST_LIVE), 1, "mappings");
		/* a new device has not */
		T_IS(lose(path), 0, "losing the path");
		T_IS(regain(), 0, "getting it back");
		T_TRY(good_batches(&set, 3, carried));
	}
	T_TRY(is_attached(&set, PATHS));
	T_CHECK(carried[path], "no command to a device that does not refuse");
	T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
	return tear_down(&set);
}

/* Requests meanwhile neither fail nor go where they must not. */
static enum t_result refused_and_reset(unsigned int path, const struct refusal *refusal)
{
	struct event event = { .happen = reset, .rounds = 6 };
	struct set set;

	T_TRY(set_up(&set, T_PLAIN, fd));
	T_TRY(refuse(&set, path, refusal));
	T_TRY(load_during(&set.load, &event, NULL));
	usleep(PASSES);
	T_TRY(good_batches(&set, 2, (unsigned long [PATHS]){ 0 }));
	if (refusal->for_good)
		T_IS(ask(&set.buf, DMA_BUF_IO_TEST_LIVE), 1, "mappings");
	T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
	return tear_down(&set);
}

static enum t_result all_refuse(const struct refusal *refusal)
{
	struct set set;

	T_TRY(set_up(&set, T_PLAIN, fd));
	T_IS(control(&set.buf, refusal->op, times(PATHS * refusal->times, refusal->error), NULL), 0, "FAIL");
	T_IS(t_register(&set.load.ring, 0, set.buf.fd, fd, 0), -refusal->error, "register");
	T_IS(ask(&set.buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings");
	/* for good is for as long as the registration */
	T_IS(control(&set.buf, refusal->op, 0, NULL), 0, "FAIL");
	T_IS(t_register(&set.load.ring, 0, set.buf.fd, fd, 0), 1, "register again");
	T_TRY(is_attached(&set, PATHS));
	T_TRY(good_batches(&set, 1, (unsigned long [PATHS]){ 0 }));
	return tear_down(&set);
}

/* The only path that has not refused is lost: I/O fails and does not hang, or tries again. */
static enum t_result none_left(const struct refusal *refusal)
{
	unsigned long carried[PATHS] = { 0 };
	struct set set;

	T_TRY(set_up(&set, T_PLAIN, fd));
	T_TRY(refuse(&set, 1, refusal));
	T_IS(lose(0), 0, "losing the path");
	submit_reads(&set, DEPTH, 0);
	T_IS(reap_reads(&set, DEPTH), refusal->error == EOPNOTSUPP ? -EOPNOTSUPP : 0, "I/O");
	T_IS(regain(), 0, "getting it back");
	T_TRY(good_batches(&set, 2, carried));
	if (refusal->for_good)
		T_IS(carried[1], 0, "commands to a device that refused");
	T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
	return tear_down(&set);
}

static void *event_once(void *arg)
{
	struct event *event = arg;

	event->error = event->happen(0);
	return NULL;
}

/* The slot is cleared with requests in flight, and parked, while a path goes. */
static enum t_result cleared(int (*happen)(unsigned int round), enum t_mode mode)
{
	struct event event = { .happen = happen };
	unsigned int i;
	struct set set;

	for (i = 0; i < 3; i++) {
		T_TRY(set_up_registered(&set, mode));
		if (pthread_create(&event.thread, NULL, event_once, &event))
			t_die("no thread");
		usleep(i * 10000);
		submit_reads(&set, DEPTH, 0);
		/* SQPOLL's thread looks the slot up, and so do workers */
		while (io_uring_sq_ready(&set.load.ring.uring))
			usleep(100);
		if (mode != T_ASYNC)
			T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
		T_IS(reap_reads(&set, DEPTH), 0, "I/O");
		pthread_join(event.thread, NULL);
		T_IS(event.error, 0, "what happens");
		T_IS(regain(), 0, "both paths");
		T_TRY(tear_down(&set));
	}
	return T_PASS;
}

static void load_for_ever(enum t_mode mode)
{
	struct load load = { .disk = &disk, .fd = fd, .mode = mode };
	unsigned int round;
	struct t_buf buf;

	if (watched_init(&buf) != T_PASS)
		_exit(1);
	load.buf = &buf;
	t_ring_init(&load.ring, mode, DEPTH, 1);
	if (t_register(&load.ring, 0, buf.fd, fd, 0) != 1)
		_exit(1);
	for (round = 0; !load_batch(&load, round); round++)
		;
	_exit(1);
}

static enum t_result killed(int (*happen)(unsigned int round), enum t_mode mode)
{
	struct t_leaks leaks;
	unsigned int i;
	int status;

	T_TRY(t_need(mode));
	for (i = 0; i < 4; i++) {
		pid_t child;

		T_IS(regain(), 0, "both paths");
		T_TRY(t_leaks_init(&leaks));
		child = fork();
		if (!child)
			load_for_ever(mode);
		usleep(300000);
		/* killed after the path is lost, or on the way */
		if (i % 2)
			T_IS(happen(i / 2 * 2), 0, "what happens");
		kill(child, SIGKILL);
		if (i % 2 == 0)
			T_IS(happen(i / 2 * 2), 0, "what happens");
		T_IS(waitpid(child, &status, 0), child, "wait");
		T_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "it ended by itself: %#x", status);
		T_IS(regain(), 0, "both paths");
		T_TRY(t_leaks_check(&leaks));
	}
	return T_PASS;
}

/* As on every disk. */
static int partition(int op)
{
	struct blkpg_partition part = { .start = T_MIB + T_PAGE, .length = T_DISK_SIZE, .pno = 7 };
	struct blkpg_ioctl_arg arg = { .op = op, .datalen = sizeof(part), .data = &part };

	return ioctl(fd, BLKPG, &arg) ? -errno : 0;
}

static enum t_result on_partition(void)
{
	struct event event = { .happen = removal, .rounds = 4 };
	struct t_disk part;
	struct set set;
	char path[64];
	int ret, tries;

	snprintf(path, sizeof(path), "%sp7", t_dev);
	T_IS(partition(BLKPG_ADD_PARTITION), 0, "adding a partition");
	t_disk_exit(&disk);	/* which is exclusive */
	t_disk_init(&part, path);
	T_TRY(set_up(&set, T_PLAIN, t_open(path, O_RDWR | O_DIRECT)));
	set.load.disk = &part;
	T_IS(t_register(&set.load.ring, 0, set.buf.fd, set.load.fd, 0), 1, "register");
	T_TRY(is_attached(&set, PATHS));
	T_TRY(load_during(&set.load, &event, NULL));
	T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
	close(set.load.fd);
	t_disk_exit(&part);
	T_TRY(tear_down(&set));
	/* rings give their files back a little later */
	for (tries = 0; (ret = partition(BLKPG_DEL_PARTITION)) == -EBUSY && tries < 1000; tries++)
		usleep(10000);
	T_IS(ret, 0, "deleting the partition");
	t_disk_init(&disk, t_dev);
	return T_PASS;
}

/* Two files have one context for each path; a slot belongs to one of them. */
static enum t_result second_open(void)
{
	struct t_io io = { .len = T_PAGE };
	struct set set;

	T_TRY(set_up_registered(&set, T_PLAIN));
	io.fd = t_open(t_dev, O_RDWR | O_DIRECT);
	T_IS(t_rw(&set.load.ring, &io), -EBADF, "I/O through another file");
	T_IS(t_register(&set.load.ring, 1, set.buf.fd, io.fd, 0), 1, "register for it");
	T_TRY(is_attached(&set, PATHS));
	T_IS(t_clear(&set.load.ring, 0), 1, "unregister the first");
	T_TRY(is_attached(&set, PATHS));
	io.slot = 1;
	T_IS(t_rw(&set.load.ring, &io), T_PAGE, "I/O by the second");
	T_IS(t_clear(&set.load.ring, 1), 1, "unregister the second");
	close(io.fd);
	return tear_down(&set);
}

/* Commands go by one path, and may go by any; passthru tries them. */
static enum t_result generic(void)
{
	struct set set;
	char path[64];
	int ng;

	T_TRY(set_up(&set, T_PLAIN, fd));
	snprintf(path, sizeof(path), "/dev/ng%s", disk_name(t_dev) + strlen("nvme"));
	ng = t_open(path, O_RDWR);
	T_IS(t_register(&set.load.ring, 0, set.buf.fd, ng, 0), 1, "register");
	close(ng);
	T_TRY(is_attached(&set, PATHS));
	T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
	return tear_down(&set);
}

/*
 * The last path is lost for good, with slots registered: I/O fails, as ordinary
 * I/O does, and all that is left can be let go of. Last, as files of the old head
 * are good for nothing then.
 */
static enum t_result dies(enum t_mode mode, bool busy)
{
	struct event event = { .happen = lose_all, .rounds = 1 };
	int ordinary, ret = 0;
	struct set set;

	T_TRY(set_up_registered(&set, mode));
	set.load.ends = true;
	if (busy) {
		T_TRY(load_during(&set.load, &event, &ret));
		T_CHECK(ret == -EIO || ret == -ENODEV || ret == -ENOSPC, "in flight: %s", t_number(ret));
	} else {
		T_IS(lose_all(0), 0, "losing both paths");
	}
	T_TRY(is_attached(&set, 0));
	submit_reads(&set, 1, -1);
	ordinary = reap_reads(&set, 1);
	submit_reads(&set, DEPTH, 0);
	ret = reap_reads(&set, DEPTH);
	/* as on a disk without paths: removal.h */
	T_CHECK(ordinary < 0, "ordinary I/O without a device: %s", t_number(ordinary));
	T_IS(ret, -ENODEV, "I/O without a device");
	T_IS(control(&set.buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(t_register(&set.load.ring, 1, set.buf.fd, fd, 0), -ENODEV, "register");
	t_diag("ordinary I/O: %s", t_number(ordinary));
	if (!busy)
		T_IS(t_clear(&set.load.ring, 0), 1, "unregister");
	return tear_down(&set);
}

/* The head that is there now, which has another number if files of the old one are left. */
static bool find_head(void)
{
	static char path[64];
	unsigned int subsystem, number;

	if (sscanf(leg(0), "nvme%uc%*un%u", &subsystem, &number) != 2)
		return false;
	snprintf(path, sizeof(path), "/dev/nvme%un%u", subsystem, number);
	t_dev = path;
	return opens(path) && !await_paths();
}

static void open_all(void)
{
	double end = now() + 60;

	if (rescan())
		t_die("no PCI rescan: %m");
	while (!find_head()) {
		usleep(20000);
		if (now() > end)
			t_die("the head did not come back");
	}
	/* that is set anew, too */
	if (set_policy("round-robin"))
		t_die("no iopolicy: %m");
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
}

static enum t_result dies_and_comes_back(enum t_mode mode, bool busy)
{
	enum t_result result = dies(mode, busy);
	struct set set;

	/* whatever failed, or the head that comes back has another name */
	drop_left();
	close(fd);
	t_disk_exit(&disk);
	open_all();
	T_TRY(result);
	T_TRY(set_up_registered(&set, T_PLAIN));
	T_TRY(good_batches(&set, 1, (unsigned long [PATHS]){ 0 }));
	return tear_down(&set);
}

static void find_paths(void)
{
	char pattern[PATH_MAX];
	unsigned int i;
	glob_t found;

	snprintf(pattern, sizeof(pattern), "/sys/class/block/%s/multipath/nvme*", disk_name(t_dev));
	if (glob(pattern, 0, NULL, &found) || found.gl_pathc != PATHS)
		t_die("%s is not the head of %u paths: boot with nvme_core.multipath=Y and two controllers", t_dev, PATHS);
	for (i = 0; i < PATHS; i++) {
		pci_name(found.gl_pathv[i], pci[i]);
		port_name(found.gl_pathv[i], port[i]);
	}
	globfree(&found);
}

static const char *const policies[] = { "numa", "queue-depth", "round-robin" };

static const struct {
	const char *name;
	int (*happen)(unsigned int round);
} events[] = {
	{ "path removed", removal },
	{ "path reset", reset },
	{ "driver unbound", unbinding },
	{ "surprise removal", surprise },
};

#define TESTS	(T_COUNT(policies) * T_MODES + 1 + 3 * T_MODES + 2 + 3 + T_COUNT(events) * (T_MODES + 1) + T_COUNT(policies) - 1 + \
		 T_COUNT(refusals) * (2 * PATHS + 2) + 2 * T_MODES + 3 + T_MODES + 1)

static void run_event(unsigned int e)
{
	enum t_mode mode;

	for (mode = 0; mode < T_MODES; mode++)
		t_report(fails_over(events[e].happen, mode, rounds(4)), "%s with I/O in flight, %s", events[e].name, t_mode_names[mode]);
	t_report(waits(events[e].happen, T_PLAIN, rounds(8)), "%s while the exporter invalidates", events[e].name);
}

static int run_one_event(const char *name)
{
	unsigned int e;

	for (e = 0; e < T_COUNT(events) && strcmp(events[e].name, name); e++)
		;
	if (e == T_COUNT(events))
		t_die("EVENT=%s is none", name);
	set_policy("round-robin");
	run_event(e);
	close(fd);
	t_disk_exit(&disk);
	set_policy(policy_before);
	return t_finish();
}

int main(int argc, char **argv)
{
	const char *only = getenv("EVENT");
	const struct refusal *r;
	unsigned int p, e;
	enum t_mode mode;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, only ? T_MODES + 1 : TESTS);
	find_paths();
	snprintf(policy_before, sizeof(policy_before), "%s", get("/sys/class/block/%s/device/iopolicy", disk_name(t_dev)));
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	if (only)
		return run_one_event(only);

	for (p = 0; p < T_COUNT(policies); p++)
		for (mode = 0; mode < T_MODES; mode++)
			t_report(carries(policies[p], mode), "attached to each path, %s, %s", policies[p], t_mode_names[mode]);
	/* round-robin from here on */
	t_report(limits(), "limits are those of both controllers");
	for (mode = 0; mode < T_MODES; mode++) {
		t_report(later(mode), "a path that comes later is attached by I/O, %s", t_mode_names[mode]);
		t_report(storms(mode), "all mappings are taken and made again, %s", t_mode_names[mode]);
		t_report(outlives(mode), "requests wait without a path, %s", t_mode_names[mode]);
	}
	t_report(detached(0), "the namespace is detached from the first controller");
	t_report(detached(1), "the namespace is detached from the second controller");
	t_report(gaps(T_PLAIN), "no path for a moment with I/O in flight");
	t_report(gaps(T_POLLED), "no path for a moment with I/O in flight, iopoll");
	t_report(gaps(T_ASYNC), "no path for a moment with I/O in flight, async");
	for (e = 0; e < T_COUNT(events); e++)
		run_event(e);
	for (p = 0; p < T_COUNT(policies) - 1; p++) {
		set_policy(policies[p]);
		t_report(fails_over(removal, T_PLAIN, rounds(4)), "path removed with I/O in flight, %s", policies[p]);
	}
	set_policy("round-robin");
	for (r = refusals; r < refusals + T_COUNT(refusals); r++) {
		for (p = 0; p < PATHS; p++) {
			t_report(refused(p, r), "path %u cannot be %s", p, r->name);
			t_report(refused_and_reset(p, r), "path %u cannot be %s, and the other is reset", p, r->name);
		}
		t_report(all_refuse(r), "no path can be %s", r->name);
		t_report(none_left(r), "only a path that cannot be %s is left", r->name);
	}
	for (mode = 0; mode < T_MODES; mode++) {
		t_report(cleared(removal, mode), "unregister while a path is lost, %s", t_mode_names[mode]);
		t_report(killed(removal, mode), "SIGKILL while a path is lost, %s", t_mode_names[mode]);
	}
	t_report(on_partition(), "a partition of the head");
	t_report(second_open(), "two files of the head");
	t_report(generic(), "the generic device of the head has the paths of the head");
	for (mode = 0; mode < T_MODES; mode++)
		t_report(dies_and_comes_back(mode, true), "the last path is lost with I/O in flight, %s", t_mode_names[mode]);
	t_report(dies_and_comes_back(T_PLAIN, false), "the last path is lost when idle");
	close(fd);
	t_disk_exit(&disk);
	set_policy(policy_before);
	return t_finish();
}
