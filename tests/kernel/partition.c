// SPDX-License-Identifier: GPL-2.0-or-later
/* A partition is a target like any other, at its own place on the disk. */
#include "helpers.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <linux/blkpg.h>

#define NUMBER	7		/* far from what a table may hold */
#define START	(T_MIB + T_PAGE)

static int partition(int op)
{
	struct blkpg_partition part = {
		.start = START,
		.length = T_DISK_SIZE,
		.pno = NUMBER,
	};
	struct blkpg_ioctl_arg arg = {
		.op = op,
		.datalen = sizeof(part),
		.data = &part,
	};
	int fd = t_open(t_dev, O_RDWR);
	int ret = ioctl(fd, BLKPG, &arg) ? -errno : 0;

	close(fd);
	return ret;
}

static enum t_result on_partition(struct t_disk *part, int whole, bool write)
{
	const size_t offsets[] = { 0, part->lba, 13 * T_PAGE };
	const size_t sizes[] = { part->lba, T_PAGE, 33 * T_PAGE, T_MIB };
	int fd = t_open(part->path, O_RDWR | O_DIRECT);
	struct t_io io = { .fd = fd };
	struct t_ring ring;
	struct t_buf buf;
	size_t o, s;

	T_TRY(t_buf_init(&buf, T_SCATTERED, 2 * T_MIB));
	t_ring_init(&ring, T_PLAIN, 8, 1);
	T_IS(t_register(&ring, 0, buf.fd, io.fd, 0), 1, "register");
	for (s = 0; s < T_COUNT(sizes); s++) {
		for (o = 0; o < T_COUNT(offsets); o++) {
			/* The last blocks of the partition too. */
			uint64_t pos = o == 1 ? T_DISK_SIZE - sizes[s] :
				       o * 3 * T_PAGE;

			T_TRY(write ? t_check_write(&ring, io, part, &buf, offsets[o], sizes[s], pos) :
				      t_check_read(&ring, io, part, &buf, offsets[o], sizes[s], pos));
		}
	}
	/* It is bound to the partition, not to the disk that holds it. */
	io.fd = whole;
	io.len = part->lba;
	T_IS(t_rw(&ring, &io), -EBADF, "I/O to the whole disk");
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	close(fd);
	return T_PASS;
}

int main(int argc, char **argv)
{
	enum t_result created = T_PASS;
	struct t_disk part;
	char path[256];
	int write, ret, whole, tries = 0;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, 2);
	snprintf(path, sizeof(path), "%sp%d", t_dev, NUMBER);
	partition(BLKPG_DEL_PARTITION);
	ret = partition(BLKPG_ADD_PARTITION);
	if (ret)
		created = t_skip("%s takes no partition of %lu bytes: %s", t_dev,
				 T_DISK_SIZE, t_number(ret));
	else
		t_disk_init(&part, path);
	whole = t_open(t_dev, O_RDWR | O_DIRECT);
	for (write = 0; write < 2; write++)
		t_report(created == T_PASS ? on_partition(&part, whole, write) : created,
			 "%s", write ? "write" : "read");
	close(whole);
	if (created == T_PASS) {
		t_disk_exit(&part);
		/* The rings give their files back a little later. */
		for (ret = -EBUSY; ret == -EBUSY && tries < 1000; tries++) {
			usleep(10000);
			ret = partition(BLKPG_DEL_PARTITION);
		}
		if (ret)
			t_die("%s cannot be removed: %s", path, t_number(ret));
	}
	return t_finish();
}
