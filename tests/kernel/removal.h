/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk goes away with dma-bufs registered: the exporter gets its mapping back
 * at once, I/O gets -ENODEV, unregistering is clean, and a disk that comes back
 * is new.
 */
#ifndef REMOVAL_H
#define REMOVAL_H

#include "device.h"

static char pci[32];
static char serial[64];
static char path[64];		/* of the disk as it is called now */

struct way {
	const char *name;
	int (*away)(unsigned int round);
	int (*back)(void);
};

static const struct way *way;

static inline int bus_remove(unsigned int round)
{
	(void)round;
	return put("1", "/sys/bus/pci/devices/%s/remove", pci);
}

static inline int bus_rescan(void)
{
	return put("1", "/sys/bus/pci/rescan");
}

/* The dma-buf is as good as new on the device that came back. */
static inline enum t_result works_again(struct t_buf *buf)
{
	struct t_disk disk;
	struct load load = { .disk = &disk, .buf = buf };

	t_disk_init(&disk, path);
	load.fd = t_open(path, O_RDWR | O_DIRECT);
	t_ring_init(&load.ring, T_PLAIN, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf->fd, load.fd, 0), 1, "register anew");
	T_IS(load_batch(&load, 1), 0, "I/O to the disk that came back");
	T_CHECK(load_is_right(&load, 1), "wrong data");
	t_ring_exit(&load.ring);
	close(load.fd);
	t_disk_exit(&disk);
	return T_PASS;
}

/* With the device gone, then with it back under the same address. */
static inline enum t_result dead(struct load *load, const char *when)
{
	struct t_io io = { .fd = load->fd, .len = T_PAGE };
	struct t_ring other;

	for (io.write = false; ; io.write = true) {
		T_IS(t_rw(&load->ring, &io), -ENODEV, when);
		if (io.write)
			break;
	}
	t_ring_init(&other, T_PLAIN, 4, 1);
	T_IS(t_register(&other, 0, load->buf->fd, load->fd, 0), -ENODEV, "register for a file of the lost device");
	t_ring_exit(&other);
	/* and an exporter that invalidates finds nothing to do */
	T_IS(control(load->buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, when);
	return T_PASS;
}

enum last { CLEAR, EXIT, CLOSE };	/* what the registration goes by */

static inline enum t_result loses(enum t_mode mode, bool busy, enum last last)
{
	struct load load = { .mode = mode, .ends = true };
	struct event event = { .happen = way->away, .rounds = 1 };
	struct t_leaks leaks;
	struct t_disk disk;
	struct t_buf buf;
	double before = now();
	int error;

	T_TRY(t_need(mode));
	T_TRY(t_leaks_init(&leaks));
	T_TRY(watched_init(&buf));
	t_disk_init(&disk, path);
	load.disk = &disk;
	load.buf = &buf;
	load.fd = t_open(path, O_RDWR | O_DIRECT);
	t_ring_init(&load.ring, mode, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, load.fd, 0), 1, "register");
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), 1, "mappings before");
	before = now();
	if (busy) {
		T_TRY(load_during(&load, &event, &error));
		/* the latter from what the device had */
		T_CHECK(error == -ENODEV || error == -EIO, "in flight: %s", t_number(error));
	} else {
		T_IS(way->away(0), 0, "losing it");
	}
	T_CHECK(now() - before < 30, "it took %.1f s", now() - before);
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings after");
	T_TRY(dead(&load, "I/O without the device"));
	T_IS(way->back(), 0, "getting it back");
	T_TRY(await_disk(serial, path));
	T_TRY(dead(&load, "I/O with another in its place"));
	T_TRY(works_again(&buf));
	if (last == CLEAR)
		T_IS(t_clear(&load.ring, 0), 1, "unregister");
	if (last == CLOSE)
		close(load.fd);
	t_ring_exit(&load.ring);
	if (last != CLOSE)
		close(load.fd);
	t_disk_exit(&disk);
	T_TRY(watched_exit(&buf));
	return t_leaks_check(&leaks);
}

/* Without old files the number is free again. */
static inline enum t_result same_name(const char *dev)
{
	unsigned int tries;

	for (tries = 0; tries < 50; tries++) {
		T_IS(way->away(0), 0, "losing it");
		T_IS(way->back(), 0, "getting it back");
		T_TRY(await_disk(serial, path));
		if (!strcmp(path, dev))
			return T_PASS;
		usleep(100000);		/* rings give files back a little later */
	}
	t_diag("%s is %s now: a reference to the old device is left", dev, path);
	return T_FAIL;
}

/* The second disk, so that a failure leaves other tests one. */
static inline const char *use_second(void)
{
	const char *dev = t_dev2 ?: t_dev;

	t_dev = path;	/* what it is called now */
	snprintf(path, sizeof(path), "%s", dev);
	pci_name(dev, pci);
	disk_serial(dev, serial);
	return dev;
}

/* Of the disk named dev: what is lost, in every kind of ring, and how it is let go of. */
#define WAY_TESTS	(T_MODES + 4)

static inline void test_way(const struct way *which, const char *dev)
{
	enum t_mode mode;

	way = which;
	for (mode = 0; mode < T_MODES; mode++)
		t_report(loses(mode, true, mode % 3), "%s with I/O in flight, %s", way->name, t_mode_names[mode]);
	t_report(loses(T_PLAIN, false, CLEAR), "%s when idle, then unregister", way->name);
	t_report(loses(T_PLAIN, false, EXIT), "%s when idle, then ring exit", way->name);
	t_report(loses(T_DEFER, false, CLOSE), "%s when idle, then close and ring exit", way->name);
	t_report(same_name(dev), "%s: no reference to the old device is left", way->name);
}

#endif
