// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A real exporter that revokes: memory of a PCI device that VFIO hands out.
 * When the device is reset, its memory is switched off or its descriptor is
 * closed, VFIO waits until every importer has unmapped, without which no call
 * here returns. Requests meanwhile end with all their bytes or with -ENODEV.
 */
#include "device.h"
#include "fdinfo.h"
#include "vfio.h"

#define BAR	2
#define EVENTS	20

static struct t_disk disk;
static struct t_leaks leaks;
static struct t_ring ring;
static int disk_fd, dmabuf, device;
static char pci[32];
static unsigned char *memory;		/* of the device, as the CPU sees it while that is on */
static uint64_t config;			/* where it is in the descriptor */
static pthread_mutex_t quiet = PTHREAD_MUTEX_INITIALIZER;	/* nothing happens */
static unsigned int happened;
static atomic_bool done;
static int error;			/* of what happened */

static enum t_result find(void)
{
	return vfio_find("0x1af4", "0x1110", pci) ? T_PASS : t_skip("no ivshmem device: `make test` boots one");
}

/* The kernel says whose memory it is, and that it is reached by way of the host bridge. */
static enum t_result seen(void)
{
	struct about a;

	T_CHECK(about_slot(&ring, 0, &a) && a.nr == 1, "fdinfo has no device of slot 0");
	T_CHECK(!strcmp(a.v[0].memory, "peer") && !strcmp(a.v[0].peer, pci) && !strcmp(a.v[0].addresses, about_addresses(t_dev)),
		"memory=%s peer=%s addresses=%s, wanted that of %s by %s", a.v[0].memory, a.v[0].peer, a.v[0].addresses, pci, about_addresses(t_dev));
	return T_PASS;
}

/* Opens the device, exports SIZE bytes of its memory and registers them in slot 0. */
static enum t_result start(enum t_mode mode)
{
	struct vfio_memory m;

	T_TRY(vfio_export(pci, BAR, SIZE, &m));
	device = m.device;
	dmabuf = m.dmabuf;
	memory = m.memory;
	config = m.config;
	t_ring_init(&ring, mode, DEPTH, 1);
	T_IS(t_register(&ring, 0, dmabuf, disk_fd, 0), 1, "register");
	return seen();
}

static enum t_result stop(void)
{
	T_IS(t_clear(&ring, 0), 1, "clear");
	t_ring_exit(&ring);
	close(dmabuf);
	if (memory) {
		munmap(memory, SIZE);
		close(device);
	}
	return t_leaks_check(&leaks);
}

static struct t_io part(unsigned int i, unsigned int round, bool write)
{
	return (struct t_io){
		.fd = disk_fd, .write = write, .addr = i * CHUNK, .len = CHUNK,
		.pos = write ? SCRATCH + i * CHUNK : (i * 7 + round * 13) % (SCRATCH / CHUNK) * CHUNK,
	};
}

/* All parts at once; how many had no memory to go to. */
static enum t_result batch(unsigned int round, bool write, unsigned int *lost)
{
	unsigned int i;

	for (i = 0; i < DEPTH; i++) {
		const struct t_io io = part(i, round, write);

		t_queue(&ring, &io, i);
	}
	t_submit(&ring);
	for (i = *lost = 0; i < DEPTH; i++) {
		int ret = t_reap(&ring, NULL);

		T_CHECK(ret == (int)CHUNK || ret == -ENODEV, "I/O: %s", t_number(ret));
		*lost += ret < 0;
	}
	return T_PASS;
}

static enum t_result right(unsigned int round)
{
	unsigned int i;

	for (i = 0; i < DEPTH; i++)
		T_CHECK(t_same("read", memory + i * CHUNK, disk.image + part(i, round, false).pos, CHUNK), "part %u", i);
	return T_PASS;
}

static enum t_result all_is_well(unsigned int round)
{
	unsigned int i, lost;

	T_TRY(batch(round, false, &lost));
	T_IS(lost, 0, "reads that failed");
	T_TRY(right(round));
	for (i = 0; i < SIZE; i++)
		memory[i] = i * 31 + i / CHUNK + round;
	T_TRY(batch(round, true, &lost));
	T_IS(lost, 0, "writes that failed");
	T_CHECK(t_same("written", t_disk_read(&disk, SCRATCH, SIZE), memory, SIZE), "wrong data");
	return T_PASS;
}

static int reset(void)
{
	return ioctl(device, VFIO_DEVICE_RESET) ? -errno : 0;
}

static int switch_memory(void)
{
	uint16_t command;
	int on;

	for (on = 0; on < 2; on++) {
		if (pread(device, &command, 2, config + PCI_COMMAND) != 2)
			return -errno;
		command = on ? command | PCI_COMMAND_MEMORY : command & ~PCI_COMMAND_MEMORY;
		if (pwrite(device, &command, 2, config + PCI_COMMAND) != 2)
			return -errno;
		usleep(rand() % 5000);
	}
	return 0;
}

static void *happen(void *arg)
{
	int (*what)(void) = arg;
	int i;

	for (i = 0; i < EVENTS && !error; i++) {
		usleep(rand() % 20000);
		pthread_mutex_lock(&quiet);
		error = what();
		happened++;
		pthread_mutex_unlock(&quiet);
	}
	done = true;
	return NULL;
}

static enum t_result meanwhile(enum t_mode mode, int (*what)(void))
{
	unsigned int round, lost, all = 0, verified = 0, before = 0;
	enum t_result result = T_PASS;
	pthread_t thread;

	T_TRY(start(mode));
	T_TRY(all_is_well(0));
	done = false;
	error = 0;
	if (pthread_create(&thread, NULL, happen, what))
		t_die("no thread");
	for (round = 1; !done && result == T_PASS; round++) {
		result = batch(round, false, &lost);
		all += lost;
		if (result != T_PASS || pthread_mutex_trylock(&quiet))
			continue;
		if (!lost && happened == before) {
			verified++;
			result = right(round);
		}
		before = happened;
		pthread_mutex_unlock(&quiet);
	}
	pthread_join(thread, NULL);
	T_IS(error, 0, what == reset ? "reset" : "switching memory off and on");
	T_TRY(result);
	T_CHECK(all, "no request met what happened");
	T_TRY(all_is_well(round));
	T_TRY(stop());
	t_diag("%u batches of %u, %u verified meanwhile, %u requests without memory", round, DEPTH, verified, all);
	return T_PASS;
}

static enum t_result resets(enum t_mode mode)
{
	return meanwhile(mode, reset);
}

static enum t_result switches(enum t_mode mode)
{
	return meanwhile(mode, switch_memory);
}

static void *close_soon(void *arg)
{
	(void)arg;
	usleep(10000);
	munmap(memory, SIZE);	/* which keeps the descriptor's file */
	close(device);
	done = true;
	return NULL;
}

static enum t_result closed(enum t_mode mode)
{
	const struct t_io io = { .fd = disk_fd, .len = T_PAGE };
	unsigned int round, lost = 0;
	enum t_result result = T_PASS;
	pthread_t thread;

	T_TRY(start(mode));
	T_TRY(all_is_well(0));
	done = false;
	if (pthread_create(&thread, NULL, close_soon, NULL))
		t_die("no thread");
	for (round = 0; (!done || !round) && result == T_PASS; round++)
		result = batch(round, false, &lost);
	pthread_join(thread, NULL);
	T_TRY(result);
	T_IS(t_rw(&ring, &io), -ENODEV, "a read when the memory is gone");
	T_IS(t_register(&ring, 0, dmabuf, disk_fd, 0), -ENODEV, "register what is gone");
	memory = NULL;
	return stop();
}

static const struct {
	const char *name;
	enum t_result (*run)(enum t_mode mode);
} tests[] = {
	{ "the device is reset", resets },
	{ "its memory is switched off and on", switches },
	{ "its descriptor is closed", closed },
};

int main(int argc, char **argv)
{
	unsigned int i, mode;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_COUNT(tests) * T_MODES);
	t_disk_init(&disk, t_dev);
	disk_fd = t_open(t_dev, O_RDWR | O_DIRECT);
	if (t_leaks_init(&leaks) != T_PASS)
		t_die("/sys/kernel/debug/dma_buf/bufinfo: %m (mount debugfs)");
	for (i = 0; i < T_COUNT(tests); i++)
		for (mode = 0; mode < T_MODES; mode++)
			t_report(find() ?: t_need(mode) ?: tests[i].run(mode), "%s, %s", tests[i].name, t_mode_names[mode]);
	close(disk_fd);
	t_disk_restore(&disk, SCRATCH, SIZE);
	t_disk_exit(&disk);
	return t_finish();
}
