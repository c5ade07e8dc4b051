// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The controller is reset, by its driver or by PCI, or the queue reconfigured,
 * the machine suspended, a processor taken away: registrations live on, no I/O
 * is lost, each byte is right, and an exporter does not wait for ever.
 */
#include "device.h"

static struct t_disk disk;
static int fd;
static char pci[32];

static int reset(unsigned int round)
{
	(void)round;
	return put("1", "/sys/class/block/%s/device/reset_controller", disk_name(t_dev));
}

/* Nothing in flight: the map is kept, as it belongs to the device and not to its state. */
static enum t_result idle(void)
{
	struct load load = { .disk = &disk, .fd = fd };
	struct t_buf buf;
	unsigned int i;

	T_TRY(watched_init(&buf));
	load.buf = &buf;
	t_ring_init(&load.ring, T_PLAIN, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, fd, 0), 1, "register");
	for (i = 0; i < 5; i++) {
		T_IS(reset(i), 0, "reset");
		T_IS(load_batch(&load, i), 0, "I/O after it");
		T_CHECK(load_is_right(&load, i), "wrong data after reset %u", i);
	}
	T_IS(ask(&buf, DMA_BUF_IO_TEST_TOTAL), 1, "mappings made");
	T_IS(t_clear(&load.ring, 0), 1, "unregister");
	t_ring_exit(&load.ring);
	return watched_exit(&buf);
}

static enum t_result in_flight(enum t_mode mode)
{
	struct load load = { .disk = &disk, .fd = fd, .mode = mode };
	struct event resets = { .happen = reset, .rounds = 10 };
	struct t_buf buf;

	T_TRY(t_need(mode));
	T_TRY(watched_init(&buf));
	load.buf = &buf;
	t_ring_init(&load.ring, mode, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, fd, 0), 1, "register");
	T_TRY(load_during(&load, &resets, NULL));
	T_IS(t_clear(&load.ring, 0), 1, "unregister");
	t_ring_exit(&load.ring);
	return watched_exit(&buf);
}

#define TRIES	20
#define MANY	256	/* requests: submitting them takes long enough for a reset to begin meanwhile */

static void *reset_once(void *arg)
{
	*(atomic_int *)arg = reset(0);
	return NULL;
}

static bool is_live(void)
{
	return !strcmp(get("/sys/class/block/%s/device/state", disk_name(t_dev)), "live");
}

static enum t_result reap_many(struct t_ring *ring)
{
	unsigned int i;

	for (i = 0; i < MANY; i++)
		T_IS(t_reap(ring, NULL), T_PAGE, "read");
	return T_PASS;
}

/*
 * Registering does not wait for a reset, which may be waiting for requests that were
 * under way to the device when it began: nobody polls for them while their task
 * registers.
 */
static enum t_result registers(void)
{
	struct t_io io = { .fd = fd, .len = T_PAGE };
	unsigned int try, i, met = 0;
	double before, took, longest = 0;
	atomic_int error;
	struct t_ring ring;
	struct t_buf buf;
	pthread_t thread;

	T_TRY(t_need(T_POLLED));
	T_TRY(watched_init(&buf));
	t_ring_init(&ring, T_POLLED, MANY, 2);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	for (try = 0; try < TRIES; try++) {
		bool live = true;

		error = 1;
		if (pthread_create(&thread, NULL, reset_once, &error))
			t_die("no thread");
		while (live && error == 1) {
			for (i = 0; i < MANY; i++)
				t_queue(&ring, &io, i);
			t_submit(&ring);
			live = is_live();
			if (live)
				T_TRY(reap_many(&ring));
		}
		if (!live) {
			met++;
			before = now();
			T_IS(t_register(&ring, 1, buf.fd, fd, 0), 1, "register during the reset");
			took = now() - before;
			longest = took > longest ? took : longest;
			T_TRY(reap_many(&ring));
			T_IS(t_clear(&ring, 1), 1, "unregister");
		}
		pthread_join(thread, NULL);
		T_IS(error, 0, "reset");
		T_CHECK(longest < bound(2), "registering took %.1f s", longest);
		T_CHECK(t_same("read", buf.map, disk.image, T_PAGE), "wrong data");
	}
	t_diag("%u of %u resets met a registration, which took %.3f s at most", met, TRIES, longest);
	T_CHECK(met, "no reset met a registration");
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

/* Each freezes the queue, which waits for requests that wait for the exporter's lock. */
static int reconfigure(unsigned int round)
{
	static const char *const schedulers[] = { "none", "mq-deadline" }, *const depths[] = { "4", "63" };
	const char *name = disk_name(t_dev);
	int ret = put(schedulers[round % 2], "/sys/class/block/%s/queue/scheduler", name);

	if (ret == -EINVAL)	/* no scheduler in this kernel */
		ret = 0;
	return ret ?: put(depths[round % 2], "/sys/class/block/%s/queue/nr_requests", name);
}

static enum t_result settings(enum t_mode mode)
{
	char before[16];
	enum t_result result;

	snprintf(before, sizeof(before), "%s", get("/sys/class/block/%s/queue/nr_requests", disk_name(t_dev)));
	result = stormy(&disk, fd, reconfigure, mode, 20);
	/*
	 * Without its scheduler a queue claims its first depth again, but has the last
	 * one (7.3): writing that very number changes nothing.
	 */
	put("none", "/sys/class/block/%s/queue/scheduler", disk_name(t_dev));
	put("63", "/sys/class/block/%s/queue/nr_requests", disk_name(t_dev));
	put(before, "/sys/class/block/%s/queue/nr_requests", disk_name(t_dev));
	return result;
}

/* What PCI calls reset is a function-level reset, behind which the driver brings the controller up again. */
static int function_reset(unsigned int round)
{
	(void)round;
	return put("1", "/sys/bus/pci/devices/%s/reset", pci);
}

static enum t_result function_resets(enum t_mode mode)
{
	if (!strstr(get("/sys/bus/pci/devices/%s/reset_method", pci), "flr"))
		return t_skip("the controller has no function-level reset");
	return stormy(&disk, fd, function_reset, mode, 5);
}

/* All tasks are frozen, all devices suspended, and one second later resumed. */
static int suspend(unsigned int round)
{
	(void)round;
	return put("freeze", "/sys/power/state");
}

static enum t_result suspends(enum t_mode mode)
{
	enum t_result result;

	/* The virtio port that a guest reports through does not come back (QEMU 7.2, Linux 7.3). */
	if (!getenv("SUSPEND"))
		return t_skip("takes the guest's output with it: say SUSPEND=1, and >/dev/ttyS0");
	if (put("devices", "/sys/power/pm_test") || put("1", "/sys/module/suspend/parameters/pm_test_delay"))
		return t_skip("no /sys/power/pm_test (CONFIG_SUSPEND, CONFIG_PM_DEBUG)");
	result = stormy(&disk, fd, suspend, mode, 3);
	put("none", "/sys/power/pm_test");
	return result;
}

/* The queue of that processor is drained, references counted on it go elsewhere. */
static int unplug(unsigned int round)
{
	return put(round % 2 ? "1" : "0", "/sys/devices/system/cpu/cpu1/online");
}

static enum t_result hotplug(enum t_mode mode)
{
	enum t_result result;

	if (strcmp(get("/sys/devices/system/cpu/cpu1/online"), "1"))
		return t_skip("no second processor, or not CONFIG_HOTPLUG_CPU");
	result = stormy(&disk, fd, unplug, mode, 20);
	unplug(1);
	return result;
}

static const struct {
	const char *name;
	enum t_result (*test)(enum t_mode mode);
} stormy_events[] = {
	{ "function-level reset", function_resets },
	{ "suspend and resume", suspends },
	{ "a processor goes and comes", hotplug },
};

int main(int argc, char **argv)
{
	enum t_mode mode;
	unsigned int i;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, 1 + T_MODES + 5 + T_COUNT(stormy_events) * T_MODES);
	pci_name(t_dev, pci);
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	t_report(idle(), "reset with nothing in flight");
	for (mode = 0; mode < T_MODES; mode++)
		t_report(in_flight(mode), "reset with I/O in flight, %s", t_mode_names[mode]);
	t_report(registers(), "register on a polled ring during a reset");
	t_report(stormy(&disk, fd, reset, T_PLAIN, 10), "reset while the exporter invalidates");
	t_report(stormy(&disk, fd, reset, T_POLLED, 10), "reset while the exporter invalidates, iopoll");
	t_report(settings(T_PLAIN), "scheduler and depth change while the exporter invalidates");
	t_report(settings(T_ASYNC), "scheduler and depth change while the exporter invalidates, async");
	for (i = 0; i < T_COUNT(stormy_events); i++)
		for (mode = 0; mode < T_MODES; mode++)
			t_report(stormy_events[i].test(mode), "%s while the exporter invalidates, %s", stormy_events[i].name,
				 t_mode_names[mode]);
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
