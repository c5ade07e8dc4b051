// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The machine goes down, by the system call and nothing before it, while rings of
 * every mode read and write a dma-buf; after the disk has been shut down the
 * exporter wants its memory back. Whoever runs this sees whether it goes down.
 */
#include "device.h"

#include <sys/reboot.h>

static struct t_disk disk;

/* Until it fails, as it will when the disk goes. */
static void *keep_going(void *arg)
{
	struct load *load = arg;
	unsigned int round;

	/* here, as some rings are for one task */
	t_ring_init(&load->ring, load->mode, DEPTH, 1);
	if (t_register(&load->ring, 0, load->buf->fd, load->fd, 0) != 1)
		t_die("registering failed");
	for (round = 0; !load_batch(load, round); round++)
		load->rounds++;
	/* an error is an end, and a request that does not end is none */
	for (;;)
		pause();
	return NULL;
}

static enum t_result go_down(void)
{
	static struct load loads[T_MODES];
	static struct t_buf bufs[T_MODES];
	unsigned int mode, i, nr = 0;
	pthread_t thread;
	FILE *log;

	for (mode = 0; mode < T_MODES; mode++) {
		if (t_need(mode) != T_PASS)
			continue;
		T_TRY(watched_init(&bufs[nr]));
		loads[nr] = (struct load){ .disk = &disk, .buf = &bufs[nr], .mode = mode, .fd = t_open(t_dev, O_RDWR | O_DIRECT) };
		if (pthread_create(&thread, NULL, keep_going, &loads[nr]))
			t_die("no thread");
		nr++;
	}
	sleep(3);
	for (i = 0; i < nr; i++)
		T_CHECK(loads[i].rounds, "no I/O before the machine goes down, %s", t_mode_names[loads[i].mode]);
	/* the suite looks for these words, and for when they came */
	log = fopen("/dev/kmsg", "w");
	if (!log || fprintf(log, "tests/kernel: going down\n") < 0 || fclose(log))
		t_die("/dev/kmsg: %m");
	reboot(RB_AUTOBOOT);
	T_CHECK(false, "still here: %m");
}

int main(int argc, char **argv)
{
	t_start(argc > 1 ? argv[1] : NULL, NULL, true, 1);
	t_disk_init(&disk, t_dev);
	t_report(go_down(), "the machine goes down");
	t_disk_exit(&disk);
	return t_finish();
}
