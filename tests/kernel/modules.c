// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A registration keeps the modules of its driver and of its exporter, when all
 * descriptors are closed and when the device is gone. Once it has ended they can
 * go at once, and a driver that comes back works.
 */
#include <sys/syscall.h>

#include "device.h"

#define ROUNDS	5

static char pci[32];
static char serial[64];
static char path[64];		/* of the disk as it is called now */

static int unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

/* Rings give files back a little after they are closed. */
static int unload_soon(const char *module)
{
	double end = now() + 30;
	int ret;

	while ((ret = unload(module)) == -EWOULDBLOCK && now() < end)
		;
	return ret;
}

static enum t_result need_module(const char *module)
{
	return get("/sys/module/%s/initstate", module)[0] ? T_PASS :
	       t_skip("%s is built in (see kernel/configs/debug.config)", module);
}

/* The slot is all that is left of the dma-buf and the file. */
static enum t_result fill_slot(struct t_ring *ring)
{
	struct t_disk disk;
	struct t_buf buf;
	struct load load = { .disk = &disk, .buf = &buf };

	T_TRY(watched_init(&buf));
	t_disk_init(&disk, path);
	load.fd = t_open(path, O_RDWR | O_DIRECT);
	t_ring_init(&load.ring, T_PLAIN, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, load.fd, 0), 1, "register");
	T_IS(load_batch(&load, 1), 0, "I/O");
	T_CHECK(load_is_right(&load, 1), "wrong data");
	close(load.fd);
	t_disk_exit(&disk);
	munmap(buf.map, SIZE);
	close(buf.fd);
	*ring = load.ring;
	return T_PASS;
}

/* With the device unbound, too, if @gone. */
static enum t_result stays(const char *module, bool gone)
{
	char reload[64];
	struct t_leaks leaks;
	struct t_ring ring;
	unsigned int i;

	T_TRY(need_module(module));
	T_TRY(t_leaks_init(&leaks));
	snprintf(reload, sizeof(reload), "modprobe %s", module);
	for (i = 0; i < ROUNDS; i++) {
		T_TRY(fill_slot(&ring));
		close(exporter);
		exporter = -1;
		if (gone)
			T_IS(put(pci, "/sys/bus/pci/drivers/nvme/unbind"), 0, "unbind");
		T_IS(unload(module), -EWOULDBLOCK, "unload what a registration needs");
		t_ring_exit(&ring);
		T_IS(unload_soon(module), 0, "unload it afterwards");
		T_IS(system(reload), 0, reload);
		T_TRY(await_disk(serial, path));
		T_TRY(t_leaks_check(&leaks));
	}
	return T_PASS;
}

int main(int argc, char **argv)
{
	const char *dev;

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, 3);
	dev = t_dev2 ?: t_dev;
	t_dev = path;
	snprintf(path, sizeof(path), "%s", dev);
	pci_name(dev, pci);
	disk_serial(dev, serial);
	t_report(stays("nvme", false), "the driver's module, all descriptors closed");
	t_report(stays("nvme", true), "the driver's module, the device gone");
	t_report(stays("dma_buf_io_test", false), "the exporter's module");
	return t_finish();
}
