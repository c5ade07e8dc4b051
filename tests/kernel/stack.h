/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block devices that consist of others: device mapper's and md's, by their own calls. */
#ifndef STACK_H
#define STACK_H

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <linux/dm-ioctl.h>
#include <linux/major.h>
#include <linux/raid/md_p.h>
#include <linux/raid/md_u.h>

#include "sys.h"

/* A line of a table: in sectors of 512 bytes, as dmsetup has it, without the start. */
struct dm_line {
	uint64_t sectors;
	const char *type;
	char args[128];
};

static inline int dm_call(unsigned long command, const char *name, uint32_t flags, const struct dm_line *lines, unsigned int n,
			  char path[32])
{
	static union {
		struct dm_ioctl arg;
		char bytes[4096];
	} u;
	int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC), ret;
	char *at = u.bytes + sizeof(u.arg);
	uint64_t start = 0;
	unsigned int i;

	if (control < 0)
		return -errno;
	memset(&u, 0, sizeof(u));
	u.arg.version[0] = DM_VERSION_MAJOR;
	u.arg.data_size = sizeof(u);
	u.arg.data_start = sizeof(u.arg);
	u.arg.flags = flags;
	u.arg.target_count = n;
	snprintf(u.arg.name, sizeof(u.arg.name), "%s", name);
	for (i = 0; i < n; i++) {
		struct dm_target_spec *spec = (void *)at;

		*spec = (struct dm_target_spec){ .sector_start = start, .length = lines[i].sectors,
						 .next = sizeof(*spec) + sizeof(lines[i].args) };
		snprintf(spec->target_type, sizeof(spec->target_type), "%s", lines[i].type);
		memcpy(spec + 1, lines[i].args, sizeof(lines[i].args));
		start += lines[i].sectors;
		at += spec->next;
	}
	ret = ioctl(control, command, &u.arg) ? -errno : 0;
	close(control);
	if (path)
		snprintf(path, 32, "/dev/dm-%u", minor(u.arg.dev));
	return ret;
}

/* Puts another table in place of the one that there is. */
static inline int dm_load(const char *name, const struct dm_line *lines, unsigned int n)
{
	int ret = dm_call(DM_TABLE_LOAD, name, 0, lines, n, NULL);

	/* resuming suspends first if there is a new table */
	return ret ?: dm_call(DM_DEV_SUSPEND, name, 0, NULL, 0, NULL);
}

static inline int dm_remove(const char *name)
{
	int ret, i;

	/* others may be looking at a new device */
	for (i = 0; i < 100; i++) {
		ret = dm_call(DM_DEV_REMOVE, name, 0, NULL, 0, NULL);
		if (ret != -EBUSY)
			break;
		usleep(50000);
	}
	return ret;
}

/* 0 with the device's @path, or -errno. */
static inline int dm_create(const char *name, const struct dm_line *lines, unsigned int n, char path[32])
{
	int ret = dm_call(DM_DEV_CREATE, name, 0, NULL, 0, path);

	if (ret)
		return ret;
	ret = dm_load(name, lines, n);
	if (ret)
		dm_remove(name);
	return ret;
}

static inline int md_try_create(int level, const char *const *disks, unsigned int n, unsigned int chunk)
{
	mdu_array_info_t array = { .major_version = 0, .minor_version = 90, .level = level, .raid_disks = n, .nr_disks = n,
				   .not_persistent = 1, .chunk_size = chunk };
	unsigned int i;
	int fd, ret = 0;

	mknod("/tmp/md0", S_IFBLK | 0600, makedev(MD_MAJOR, 0));
	fd = open("/tmp/md0", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, SET_ARRAY_INFO, &array))
		ret = -errno;
	for (i = 0; i < n && !ret; i++) {
		mdu_disk_info_t disk = { .number = i, .raid_disk = i, .state = (1 << MD_DISK_SYNC) | (1 << MD_DISK_ACTIVE) };
		struct stat st;

		if (stat(disks[i], &st))
			return -errno;
		disk.major = major(st.st_rdev);
		disk.minor = minor(st.st_rdev);
		ret = ioctl(fd, ADD_NEW_DISK, &disk) ? -errno : 0;
	}
	if (!ret && ioctl(fd, RUN_ARRAY, NULL))
		ret = -errno;
	if (!ret)
		return fd;
	ioctl(fd, STOP_ARRAY, NULL);
	close(fd);
	return ret;
}

/* Starts /tmp/md0 of @n disks, without superblocks; its descriptor or -errno. */
static inline int md_create(int level, const char *const *disks, unsigned int n, unsigned int chunk)
{
	int fd, i;

	/* the one before it, of this number, is on its way out */
	for (i = 0; i < 100; i++) {
		fd = md_try_create(level, disks, n, chunk);
		if (fd != -EBUSY && fd != -ENODEV)
			break;
		usleep(50000);
	}
	return fd;
}

/* Rings let go of the file behind the caller's back. */
static inline int md_stop(int fd)
{
	int ret, i;

	for (i = 0; i < 100; i++) {
		ret = ioctl(fd, STOP_ARRAY, NULL) ? -errno : 0;
		if (ret != -EBUSY)
			break;
		usleep(50000);
	}
	close(fd);
	unlink("/tmp/md0");
	return ret;
}

#endif
