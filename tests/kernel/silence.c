// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A device that does not answer. Its completions are dropped, so that requests
 * time out, are aborted, and time out again, until the controller is reset; or
 * that fails, too, and the device is given up. An exporter that invalidates
 * meanwhile waits for just that long, which the log tells once; whoever unregisters
 * its dma-buf for another device does not wait.
 */
#include "device.h"
#include "trace.h"

#define TIMEOUT	2	/* seconds, of a request */

static struct t_disk disk;
static const char *other;	/* a disk that answers, NULL if there is none */
static char pci[32];
static char controller[64];	/* directory of its faults in debugfs */

static int io_timeout(const char *ms)
{
	return put(ms, "/sys/class/block/%s/queue/io_timeout", disk_name(t_dev));
}

struct exporter_wait {
	struct t_buf *buf;
	unsigned int op;
	int error;
	double took;
	pthread_t thread;
};

static void *take_away(void *arg)
{
	struct exporter_wait *wait = arg;
	double before = now();

	wait->error = control(wait->buf, wait->op, 0, NULL);
	wait->took = now() - before;
	return NULL;
}

static int silent(bool on)
{
	put(on ? "1" : "0", "/sys/class/block/%s/io-timeout-fail", disk_name(t_dev));
	return fault("fail_io_timeout", on ? "100" : "0", on ? "-1" : "0");
}

/* A reset needs answers to admin commands, which these are not. */
static int deaf(bool on)
{
	put("Y", "/sys/kernel/debug/%s/dont_retry", controller);
	put("0x6", "/sys/kernel/debug/%s/status", controller);
	return fault(controller, on ? "100" : "0", on ? "-1" : "0");
}

static enum t_result need(void)
{
	if (access("/sys/kernel/debug/fail_io_timeout", F_OK))
		return t_skip("/sys/kernel/debug/fail_io_timeout: %m: boot the debug kernel (`make test-debug`)");
	return T_PASS;
}

/* As the driver starts with, for requests and for how long it waits before it complains. */
static int default_timeout(const char *seconds)
{
	return put(seconds, "/sys/module/nvme_core/parameters/io_timeout");
}

/* The driver is bound anew, which takes the parameter, and revives a device that was given up. */
static enum t_result rebind(void)
{
	double end = now() + 60;

	t_disk_exit(&disk);
	T_IS(put(pci, "/sys/bus/pci/drivers/nvme/unbind"), 0, "unbind");
	T_IS(put(pci, "/sys/bus/pci/drivers/nvme/bind"), 0, "bind");
	while (!opens(t_dev)) {
		T_CHECK(now() < end, "%s did not come back", t_dev);
		usleep(20000);
	}
	t_disk_init(&disk, t_dev);
	return T_PASS;
}

/* Twice as long as this is what an exporter may have to wait without anybody being told. */
static enum t_result impatient(void)
{
	T_TRY(need());
	T_IS(default_timeout("1"), 0, "nvme_core.io_timeout");
	return rebind();
}

/* Another device's registration of the dma-buf whose lock the waiting exporter holds. */
struct bystander {
	struct t_ring ring;
	int fd;
};

static enum t_result stand_by(struct bystander *bystander, const struct t_buf *buf)
{
	if (!other)
		return T_PASS;
	bystander->fd = t_open(other, O_RDWR | O_DIRECT);
	t_ring_init(&bystander->ring, T_PLAIN, 4, 2);
	T_IS(t_register(&bystander->ring, 0, buf->fd, bystander->fd, 0), 1, "register for another device");
	return T_PASS;
}

/* Does not wait for who waits. */
static enum t_result go_away(struct bystander *bystander)
{
	double before = now();

	if (!other)
		return T_PASS;
	T_IS(t_clear(&bystander->ring, 0), 1, "unregister for another device");
	t_ring_exit(&bystander->ring);
	close(bystander->fd);
	T_CHECK(now() - before < 1, "unregistering for another device took %.1f s", now() - before);
	return T_PASS;
}

static enum t_result unanswered(enum t_mode mode, unsigned int op, bool dead)
{
	struct load load = { .disk = &disk, .mode = mode };
	struct exporter_wait wait = { .op = op };
	struct bystander bystander;
	unsigned int i, good = 0;
	struct t_buf buf;
	int log;

	T_TRY(need());
	T_TRY(t_need(mode));
	T_TRY(watched_init(&buf));
	load.buf = wait.buf = &buf;
	load.fd = t_open(t_dev, O_RDWR | O_DIRECT);
	t_ring_init(&load.ring, mode, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, load.fd, 0), 1, "register");
	T_IS(load_batch(&load, 0), 0, "I/O");
	T_TRY(stand_by(&bystander, &buf));
	log = log_open();
	T_IS(io_timeout(dead ? "2001" : "2000"), 0, "io_timeout");
	T_IS(silent(true), 0, "dropping completions");
	if (dead)
		T_IS(deaf(true), 0, "failing admin commands");
	for (i = 0; i < DEPTH; i++) {
		struct t_io io = load_io(&load, i, 1);

		io.write = false;
		t_queue(&load.ring, &io, i);
	}
	t_submit(&load.ring);
	usleep(200000);		/* all are with the device, which has done them */
	if (pthread_create(&wait.thread, NULL, take_away, &wait))
		t_die("no thread");
	usleep(200000);
	T_TRY(go_away(&bystander));
	if (!dead) {
		/* from the reset on the device answers */
		sleep(TIMEOUT + TIMEOUT / 2);
		silent(false);
	}
	pthread_join(wait.thread, NULL);
	T_IS(log_close(log, "exporter dma_buf_io_test has waited", pci), 1, "times that the log tells of a wait");
	silent(false);
	for (i = 0; i < DEPTH; i++) {
		int ret = t_reap(&load.ring, NULL);

		/* what the reset has cancelled needs the mapping again */
		T_CHECK(ret == (int)CHUNK || (ret == -ENODEV && op == DMA_BUF_IO_TEST_REVOKE) || (dead && ret < 0 && ret != -EAGAIN),
			"request: %s", t_number(ret));
		good += ret == (int)CHUNK;
	}
	t_diag("with an I/O timeout of %d s the exporter waited %.1f s; %u of %lu requests succeeded", TIMEOUT, wait.took, good,
	       (unsigned long)DEPTH);
	T_IS(wait.error, 0, "the exporter");
	T_CHECK(wait.took > TIMEOUT - 1, "the exporter did not wait for the device");
	T_CHECK(wait.took < 3 * TIMEOUT + 15, "the exporter waited %.1f s", wait.took);
	/* a new one, which requests that were issued again have made */
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), good && op == DMA_BUF_IO_TEST_INVALIDATE, "mappings left");
	if (!dead && op == DMA_BUF_IO_TEST_INVALIDATE) {
		T_IS(load_batch(&load, 2), 0, "I/O after the reset");
		T_CHECK(load_is_right(&load, 2), "wrong data");
	}
	if (dead)
		T_CHECK(load_batch(&load, 2) < 0, "I/O to a device that was given up succeeded");
	T_IS(t_clear(&load.ring, 0), 1, "unregister");
	t_ring_exit(&load.ring);
	close(load.fd);
	io_timeout("30000");
	return watched_exit(&buf);
}

/* A device that was given up comes back by binding its driver anew. */
static enum t_result revived(void)
{
	T_TRY(need());
	deaf(false);
	T_IS(default_timeout("30"), 0, "nvme_core.io_timeout");
	return rebind();
}

int main(int argc, char **argv)
{
	char link[PATH_MAX], path[PATH_MAX];
	enum t_result given_up;

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, 7);
	/* The second disk, so that a failure leaves other tests one. */
	if (t_dev2) {
		other = t_dev;
		t_dev = t_dev2;
	}
	pci_name(t_dev, pci);
	snprintf(link, sizeof(link), "/sys/class/block/%s/device", disk_name(t_dev));
	snprintf(controller, sizeof(controller), "%s/fault_inject", disk_name(realpath(link, path) ?: "/?"));
	t_disk_init(&disk, t_dev);
	t_report(impatient(), "bound anew, to be told of waits soon");
	t_report(unanswered(T_PLAIN, DMA_BUF_IO_TEST_INVALIDATE, false), "timeout, abort, reset; the exporter waits");
	t_report(unanswered(T_DEFER, DMA_BUF_IO_TEST_INVALIDATE, false), "timeout, abort, reset; the exporter waits, defer_taskrun");
	t_report(unanswered(T_POLLED, DMA_BUF_IO_TEST_INVALIDATE, false), "timeout, abort, reset; the exporter waits, iopoll");
	t_report(unanswered(T_PLAIN, DMA_BUF_IO_TEST_REVOKE, false), "timeout, abort, reset; the exporter revokes");
	given_up = unanswered(T_PLAIN, DMA_BUF_IO_TEST_INVALIDATE, true);
	t_report(given_up, "the device never answers again and is given up; the exporter waits");
	t_report(given_up == T_SKIP ? T_SKIP : revived(), "bound anew it works");
	t_disk_exit(&disk);
	return t_finish();
}
