/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File systems of the tests' own on the scratch disks, and files whose content is known. */
#ifndef FILES_H
#define FILES_H

#include "device.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <linux/falloc.h>
#include <linux/fs.h>

#define MOUNTED	"/tmp/files"

struct file_system {
	const char *type, *name, *mkfs, *options;
};

/* Passes if it is there and mounted. */
static inline enum t_result mount_fs(const struct file_system *fs, bool make)
{
	char command[256], options[128];

	mkdir("/tmp", 0700);
	mkdir(MOUNTED, 0700);
	snprintf(command, sizeof(command), fs->mkfs, t_dev, t_dev2);
	strncat(command, " >/tmp/mkfs.log 2>&1", sizeof(command) - strlen(command) - 1);
	if (make && system(command))
		return t_skip("no %s here (%s)", fs->mkfs, get("/tmp/mkfs.log"));
	snprintf(options, sizeof(options), fs->options, t_dev2);
	if (mount(t_dev, MOUNTED, fs->type, 0, options))
		return t_skip("mounting %s: %m (CONFIG_XFS_FS, CONFIG_EXT4_FS)", fs->name);
	return T_PASS;
}

/* What is on the disks, which must not change meanwhile, agrees with itself. */
static inline enum t_result check_fs(const struct file_system *fs, const char *dev, const char *dev2)
{
	const bool realtime = !strncmp(fs->options, "rtdev", 5);
	char command[256];
	int status, lines;
	FILE *log;

	if (!strcmp(fs->type, "xfs"))
		snprintf(command, sizeof(command), "xfs_repair -n %s %s %s", realtime ? "-r" : "", realtime ? dev2 : "", dev);
	else
		snprintf(command, sizeof(command), "e2fsck -fn %s", dev);
	strncat(command, " >/tmp/fsck.log 2>&1", sizeof(command) - strlen(command) - 1);
	status = system(command);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return t_skip("no %.*s here", (int)strcspn(command, " "), command);
	if (!status)
		return T_PASS;
	log = fopen("/tmp/fsck.log", "r");
	for (lines = 0; lines < 30 && log && fgets(command, sizeof(command), log); lines++)
		t_diag("%.*s", (int)strcspn(command, "\n"), command);
	if (log)
		fclose(log);
	t_diag("status %#x of fsck", status);
	return T_FAIL;
}

/* Who closes a file last, a ring perhaps, may be about to. */
static inline int unmount_fs(void)
{
	double end = now() + bound(10);
	int ret;

	do {
		ret = umount(MOUNTED) ? -errno : 0;
		if (ret == -EBUSY)
			usleep(10000);
	} while (ret == -EBUSY && now() < end);
	return ret;
}

/* An open file twice: O_DIRECT, and through the page cache. */
struct file {
	char path[64];
	int fd, cached;
};

#define MOST_FILES	1024
static bool of_files[MOST_FILES];	/* descriptors */

static inline void file_open(struct file *file, const char *name, int flags)
{
	snprintf(file->path, sizeof(file->path), MOUNTED "/%s", name);
	file->fd = open(file->path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC | flags, 0600);
	file->cached = open(file->path, O_RDWR | O_CLOEXEC);
	if (file->fd < 0 || file->cached < 0)
		t_die("%s: %m", file->path);
	of_files[file->fd] = of_files[file->cached] = true;
}

static inline void file_close(struct file *file)
{
	close(file->fd);
	close(file->cached);
	of_files[file->fd] = of_files[file->cached] = false;
}

/* What a test has left open that failed, so that the next one can unmount. */
static inline void files_close_all(void)
{
	int fd;

	for (fd = 0; fd < MOST_FILES; fd++) {
		if (of_files[fd])
			close(fd);
		of_files[fd] = false;
	}
}

static inline void file_remove(struct file *file)
{
	file_close(file);
	unlink(file->path);
}

/* What byte @pos of a file holds after it was written with @which. */
static inline void pattern(unsigned char *to, size_t len, uint64_t pos, unsigned int which)
{
	uint64_t word, i;

	for (i = 0; i < len; i += sizeof(word)) {
		word = ((uint64_t)which << 40 ^ (pos + i)) * 0x9e3779b97f4a7c15ULL;
		word ^= word >> 31;
		memcpy(to + i, &word, len - i < sizeof(word) ? len - i : sizeof(word));
	}
}

static inline off_t file_size(const struct file *file)
{
	struct stat st;

	if (fstat(file->fd, &st))
		t_die("%s: %m", file->path);
	return st.st_size;
}

#endif
