// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the bench runs before it measures: the same path as the job that
 * follows, every byte compared with a plain O_DIRECT read of the disk.
 *
 *	verify DEV [--registration none|user|dmabuf] [--source KIND]
 *		   [--bs BYTES] [--count N] [--sqpoll] [--read-only]
 */
#include "helpers.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>

enum registration { NONE, USER, DMABUF };
static const char *const registration_names[] = { "none", "user", "dmabuf" };

static struct t_disk disk;
static struct t_buf buf;
static struct t_ring ring;
static struct t_io io = { .slot = 0 };
static unsigned long bs = 4096, count = 256;

static int find(const char *name, const char *const *names, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (!strcmp(name, names[i]))
			return i;
	fprintf(stderr, "verify: %s is none of", name);
	for (i = 0; i < n; i++)
		fprintf(stderr, " %s", names[i]);
	fprintf(stderr, "\n");
	exit(1);
}

static unsigned long bytes(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 0);

	if (*end == 'k' || *end == 'K')
		n <<= 10, end++;
	else if (*end == 'm' || *end == 'M')
		n <<= 20, end++;
	if (*end || !n) {
		fprintf(stderr, "verify: %s is no size: write it as 4096, 4k or 1m\n", text);
		exit(1);
	}
	return n;
}

/* Each I/O lands on another piece of the buffer and of the disk. */
static enum t_result check(bool write)
{
	unsigned long slots = buf.size / bs, places = T_DISK_SIZE / bs, i;

	for (i = 0; i < count; i++) {
		size_t off = i * 7 % slots * bs;
		uint64_t pos = i * 13 % places * bs;

		T_TRY(write ? t_check_write(&ring, io, &disk, &buf, off, bs, pos) :
			      t_check_read(&ring, io, &disk, &buf, off, bs, pos));
	}
	return T_PASS;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "registration", required_argument, NULL, 'r' },
		{ "source", required_argument, NULL, 's' },
		{ "bs", required_argument, NULL, 'b' },
		{ "count", required_argument, NULL, 'c' },
		{ "sqpoll", no_argument, NULL, 'q' },
		{ "read-only", no_argument, NULL, 'o' },
		{ }
	};
	enum registration registration = DMABUF;
	enum t_kind kind = T_UDMABUF;
	enum t_mode mode = T_PLAIN;
	bool read_only = false;
	int option, ret = 1;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'r':
			registration = find(optarg, registration_names, 3);
			break;
		case 's':
			kind = find(optarg, t_kind_names, T_USER);
			break;
		case 'b':
			bs = bytes(optarg);
			break;
		case 'c':
			count = bytes(optarg);
			break;
		case 'q':
			mode = T_SQPOLL;
			break;
		case 'o':
			read_only = true;
			break;
		default:
			return 1;
		}
	}
	t_start(optind < argc ? argv[optind] : NULL, NULL,
		registration == DMABUF, read_only ? 1 : 2);
	if (read_only)
		t_disk_init_read_only(&disk, t_dev);
	else
		t_disk_init(&disk, t_dev);
	if (bs % disk.lba || bs > 8 * T_MIB)
		t_die("--bs=%lu: give a multiple of %u up to 8 MiB", bs, disk.lba);

	if (registration != DMABUF)
		kind = T_USER;
	if (t_buf_init(&buf, kind, bs <= 64 * 1024 ? 2 * T_MIB : 16 * T_MIB) != T_PASS)
		t_die("no memory of kind %s: check /dev/udmabuf, /dev/dma_heap, vm.nr_hugepages",
		      t_kind_names[kind]);
	io.fd = t_open(t_dev, (read_only ? O_RDONLY : O_RDWR) | O_DIRECT);
	t_ring_init(&ring, mode, 8, 1);
	if (registration == DMABUF)
		ret = t_register(&ring, 0, buf.fd, io.fd, 0);
	else if (registration == USER)
		ret = t_register_user(&ring, 0, buf.map, buf.size, 0);
	else
		io.slot = -1;
	if (ret != 1)
		t_die("registering %s: %s", registration_names[registration],
		      t_number(ret));

	t_report(check(false), "%lu reads of %lu bytes, registration %s",
		 count, bs, registration_names[registration]);
	if (!read_only)
		t_report(check(true), "%lu writes of %lu bytes, registration %s",
			 count, bs, registration_names[registration]);
	t_ring_exit(&ring);
	close(io.fd);
	t_buf_exit(&buf);
	t_disk_exit(&disk);
	return t_finish();
}
