// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A namespace is detached from its controller, which stays: I/O to it gets
 * -ENODEV, the exporter its mapping, unless its neighbour uses that, too, who does
 * not notice, even by the same registration. DEV and DEV2 are namespaces of one
 * controller; it is DEV2 that goes.
 */
#include "attachment.h"
#include "stack.h"

static char controller[64];	/* nvme3 */
static unsigned int nsid;

static int detach(unsigned int round)
{
	(void)round;
	return attachment(controller, nsid, 1);
}

static enum t_result await(bool there)
{
	double end = now() + 30;

	while (!access(t_dev2, F_OK) != there) {
		T_CHECK(now() < end, "%s is %s", t_dev2, there ? "not there" : "still there");
		usleep(10000);
	}
	return T_PASS;
}

/* I/O to @path with a buffer of its own, right in every byte. */
static enum t_result good(const char *path)
{
	struct load load = { .disk = NULL };
	struct t_disk disk;
	struct t_buf buf;

	T_TRY(watched_init(&buf));
	t_disk_init(&disk, path);
	load.disk = &disk;
	load.buf = &buf;
	load.fd = t_open(path, O_RDWR | O_DIRECT);
	t_ring_init(&load.ring, T_PLAIN, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, load.fd, 0), 1, "register");
	T_IS(load_batch(&load, 1), 0, "I/O");
	T_CHECK(load_is_right(&load, 1), "wrong data");
	t_ring_exit(&load.ring);
	close(load.fd);
	t_disk_exit(&disk);
	return watched_exit(&buf);
}

/* I/O by a registration whose namespace is gone. */
static enum t_result gone(struct load *load)
{
	struct t_io io = { .fd = load->fd, .len = T_PAGE };

	T_IS(t_rw(&load->ring, &io), -ENODEV, "read");
	io.write = true;
	T_IS(t_rw(&load->ring, &io), -ENODEV, "write");
	T_IS(t_register(&load->ring, 0, load->buf->fd, load->fd, 0), -ENODEV, "register anew");
	return T_PASS;
}

/* The controller's other namespace, with a registration of the same dma-buf. */
static enum t_result neighbour_works(struct load *load)
{
	T_IS(load_batch(load, 2), 0, "the neighbour's I/O");
	T_CHECK(load_is_right(load, 2), "wrong data");
	T_IS(ask(load->buf, DMA_BUF_IO_TEST_LIVE), 1, "mappings that the neighbour uses");
	return T_PASS;
}

static enum t_result detached(bool busy, bool shared)
{
	struct load load = { .ends = true }, next = { .disk = NULL };
	struct event event = { .happen = detach, .rounds = 1 };
	struct t_leaks leaks;
	struct t_disk disk, first;
	struct t_buf buf;
	int error = 0;

	T_TRY(t_leaks_init(&leaks));
	T_TRY(watched_init(&buf));
	t_disk_init(&disk, t_dev2);
	load.disk = &disk;
	load.buf = &buf;
	load.fd = t_open(t_dev2, O_RDWR | O_DIRECT);
	t_ring_init(&load.ring, T_PLAIN, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, load.fd, 0), 1, "register");
	if (shared) {
		t_disk_init(&first, t_dev);
		next.disk = &first;
		next.buf = &buf;
		next.fd = t_open(t_dev, O_RDWR | O_DIRECT);
		t_ring_init(&next.ring, T_PLAIN, DEPTH, 1);
		T_IS(t_register(&next.ring, 0, buf.fd, next.fd, 0), 1, "register for the neighbour");
		T_IS(ask(&buf, DMA_BUF_IO_TEST_TOTAL), 1, "mappings made");
	}
	if (busy) {
		T_TRY(load_during(&load, &event, &error));
		/* the last: the controller said so (QEMU: invalid field) before the kernel knew */
		T_CHECK(error == -ENODEV || error == -EIO || error == -EOPNOTSUPP, "in flight: %s", t_number(error));
	} else {
		T_IS(detach(0), 0, "detach");
	}
	T_TRY(await(false));
	/* nobody need ask for it, but the neighbour keeps it */
	if (!shared)
		T_TRY(await_live(&buf, 0));
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), shared, "mappings with the namespace gone");
	if (shared)
		T_TRY(neighbour_works(&next));
	T_TRY(gone(&load));
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings after invalidation");
	T_TRY(gone(&load));
	if (shared) {
		T_TRY(neighbour_works(&next));
		t_ring_exit(&next.ring);
		close(next.fd);
		t_disk_exit(&first);
	}
	T_TRY(good(t_dev));
	T_IS(t_clear(&load.ring, 0), 1, "unregister");
	t_ring_exit(&load.ring);
	close(load.fd);
	t_disk_exit(&disk);
	T_TRY(watched_exit(&buf));
	T_TRY(t_leaks_check(&leaks));
	T_IS(attachment(controller, nsid, 0), 0, "attach");
	T_TRY(await(true));
	return good(t_dev2);
}

#define GOING	T_MIB	/* of the namespace that goes, at the start of a linear device; then the neighbour's */

/* DEPTH reads of the neighbour's part, right in every byte. */
static enum t_result read_rest(struct load *load, unsigned int round)
{
	unsigned int i;

	for (i = 0; i < DEPTH; i++) {
		struct t_io io = { .fd = load->fd, .addr = i * CHUNK, .len = CHUNK,
				   .pos = GOING + (i * 7 + round * 13) % (SCRATCH / CHUNK) * CHUNK };

		t_queue(&load->ring, &io, i);
	}
	t_submit(&load->ring);
	for (i = 0; i < DEPTH; i++)
		T_IS(t_reap(&load->ring, NULL), (int)CHUNK, "read");
	for (i = 0; i < DEPTH; i++)
		T_CHECK(t_same("read", load->buf->map + i * CHUNK,
			       load->disk->image + GOING + (i * 7 + round * 13) % (SCRATCH / CHUNK) * CHUNK, CHUNK), "wrong data");
	return T_PASS;
}

static enum t_result stacked(bool storms)
{
	struct dm_line lines[] = { { .sectors = GOING / 512, .type = "linear" }, { .sectors = T_DISK_SIZE / 512, .type = "linear" } };
	struct load load = { .disk = NULL };
	struct event event = { .happen = detach, .rounds = 1, .load = &load };
	struct storm storm = { .pause = 2000 };
	enum t_result result = T_PASS;
	unsigned int after = 0;
	struct t_leaks leaks;
	struct t_disk disk;
	struct t_buf buf;
	char path[32];
	int ret;

	snprintf(lines[0].args, sizeof(lines[0].args), "%s 0", t_dev2);
	snprintf(lines[1].args, sizeof(lines[1].args), "%s 0", t_dev);
	T_TRY(t_leaks_init(&leaks));
	T_TRY(watched_init(&buf));
	ret = dm_create("both", lines, 2, path);
	if (ret == -ENOENT || ret == -ENXIO)
		return t_skip("%s (CONFIG_BLK_DEV_DM)", t_number(ret));
	T_IS(ret, 0, "a linear device of both");
	t_disk_init(&disk, path);
	load.disk = &disk;
	load.buf = storm.buf = &buf;
	load.fd = t_open(path, O_RDWR | O_DIRECT);
	t_ring_init(&load.ring, T_PLAIN, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, load.fd, 0), 1, "register");
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), 1, "mappings of one controller");
	T_TRY(read_rest(&load, 0));
	if (storms && pthread_create(&storm.thread, NULL, blow, &storm))
		t_die("no thread");
	if (pthread_create(&event.thread, NULL, event_run, &event))
		t_die("no thread");
	while (result == T_PASS && after < 50) {
		after += event.done;
		load.rounds++;
		result = read_rest(&load, load.rounds);
	}
	pthread_join(event.thread, NULL);
	if (storms) {
		storm.stop = true;
		pthread_join(storm.thread, NULL);
		T_IS(storm.error, 0, "invalidate");
	}
	T_IS(event.error, 0, "detach");
	T_CHECK(result == T_PASS, "the neighbour noticed, in batch %u", load.rounds);
	T_TRY(await(false));
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_TRY(read_rest(&load, 1));
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), 1, "mappings of the neighbour");
	T_IS(t_clear(&load.ring, 0), 1, "unregister");
	t_ring_exit(&load.ring);
	close(load.fd);
	t_disk_exit(&disk);
	T_IS(dm_remove("both"), 0, "remove the linear device");
	T_TRY(watched_exit(&buf));
	T_TRY(t_leaks_check(&leaks));
	T_IS(attachment(controller, nsid, 0), 0, "attach");
	T_TRY(await(true));
	return good(t_dev2);
}

int main(int argc, char **argv)
{
	char link[PATH_MAX], path[PATH_MAX];

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, 7);
	if (!t_dev2)
		t_die("no second namespace: name one as the second argument or in DEV2=");
	snprintf(link, sizeof(link), "/sys/class/block/%s/device", disk_name(t_dev2));
	snprintf(controller, sizeof(controller), "%s", disk_name(realpath(link, path) ?: "/?"));
	nsid = atoi(get("/sys/class/block/%s/nsid", disk_name(t_dev2)));
	t_report(good(t_dev2), "both namespaces of one controller");
	t_report(detached(false, false), "detached when idle");
	t_report(detached(true, false), "detached with I/O in flight");
	t_report(detached(false, true), "detached when idle, its neighbour uses the same mapping");
	t_report(detached(true, true), "detached with I/O in flight, its neighbour uses the same mapping");
	t_report(stacked(false), "detached with I/O in flight to its neighbour, by one registration for both");
	t_report(stacked(true), "the same in a storm of invalidations");
	return t_finish();
}
