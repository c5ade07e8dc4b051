// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/nvme_ioctl.h>

#include "nvme.h"

#ifndef ROOT
#define ROOT ""
#endif

#define IDENTIFY	0x06	/* admin command; cdw10 0: a namespace */
#define MAX_BLOCKS	65536	/* a command counts them in 16 bits */

bool nvme_generic_place(dev_t dev, char *path, size_t size)
{
	char link[64], real[PATH_MAX];

	snprintf(link, sizeof(link), ROOT "/sys/dev/char/%u:%u", major(dev), minor(dev));
	return realpath(link, real) && (size_t)snprintf(path, size, "%s", real) < size;
}

bool nvme_is_generic(dev_t dev)
{
	char link[80], class[PATH_MAX];
	ssize_t len;

	snprintf(link, sizeof(link), ROOT "/sys/dev/char/%u:%u/subsystem", major(dev), minor(dev));
	len = readlink(link, class, sizeof(class) - 1);
	if (len < 0)
		return false;
	class[len] = '\0';
	return strrchr(class, '/') && !strcmp(strrchr(class, '/'), "/nvme-generic");
}

/* The number in a file of sysfs, or 0. */
static unsigned long long number(const char *dir, const char *name, const char *file)
{
	unsigned long long n = 0;
	char path[PATH_MAX + 320];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/%s", dir, name, file);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

/* It stands beside the character device; what they are called need not be alike. */
bool nvme_find_block(const char *place, unsigned int nsid, char *name, size_t size)
{
	char dir[PATH_MAX + 4];
	struct dirent *entry;
	bool found = false;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/..", place);
	d = opendir(dir);
	if (!d)
		return false;
	while (!found && (entry = readdir(d)))
		found = !strncmp(entry->d_name, "nvme", 4) && number(dir, entry->d_name, "nsid") == nsid &&
			(size_t)snprintf(name, size, "%s", entry->d_name) < size;
	closedir(d);
	return found;
}

static void find_limits(struct nvme_ns *ns, const char *place)
{
	char dir[PATH_MAX + 4];
	size_t most = (size_t)MAX_BLOCKS << ns->shift;

	ns->head = strstr(place, "/nvme-subsystem/");
	if (!nvme_find_block(place, ns->nsid, ns->block, sizeof(ns->block))) {
		ns->block[0] = '\0';
		return;
	}
	snprintf(dir, sizeof(dir), "%s/..", place);
	ns->max = number(dir, ns->block, "queue/max_hw_sectors_kb") << 10;
	ns->max_dmabuf = number(dir, ns->block, "queue/max_hw_dmabuf_sectors_kb") << 10;
	if (ns->max > most)
		ns->max = most;
	if (ns->max_dmabuf > most)
		ns->max_dmabuf = most;
}

static int identify(int fd, unsigned int nsid, unsigned char *data, size_t size)
{
	struct nvme_passthru_cmd cmd = {
		.opcode = IDENTIFY,
		.nsid = nsid,
		.addr = (uintptr_t)data,
		.data_len = size,
	};

	return ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd);
}

/* A format of the 64 in the structure that identify gives: four bytes from 128 on. */
static const unsigned char *format_in_use(const unsigned char *data)
{
	unsigned int which = data[26] & 0xf;

	if (data[25] > 15)	/* there are more formats than that bits hold */
		which |= data[26] >> 1 & 0x30;
	return data + 128 + 4 * which;
}

static int ask(int fd, const char *path, struct nvme_ns *ns, struct error *e)
{
	unsigned char data[4096] __attribute__((aligned(4096))) = { 0 };
	const unsigned char *format;
	unsigned int metadata;
	uint64_t blocks = 0;
	int ret;

	ret = ioctl(fd, NVME_IOCTL_ID);
	if (ret <= 0)
		return error_set(e, ret ? errno : ENXIO, "%s does not say which namespace it is (%s): name an NVMe generic character device, /dev/ngXnY",
				 path, strerror(ret ? errno : ENXIO));
	ns->nsid = ret;
	ret = identify(fd, ns->nsid, data, sizeof(data));
	if (ret > 0)
		return error_set(e, nvme_errno(ret), "%s does not identify namespace %u: NVMe status 0x%x, %s", path, ns->nsid, ret, nvme_status_name(ret));
	if (ret)
		return error_set(e, errno, "%s does not identify namespace %u (%s): run as root", path, ns->nsid, strerror(errno));
	format = format_in_use(data);
	metadata = format[0] | format[1] << 8;
	ns->shift = format[2];
	for (int i = 7; i >= 0; i--)
		blocks = blocks << 8 | data[i];
	if (metadata)
		return error_set(e, EOPNOTSUPP, "the blocks of %s have %u bytes of metadata, which commands here do not carry: format it without, or use another namespace",
				 path, metadata);
	if (ns->shift < 9 || ns->shift > 16 || !blocks || blocks > UINT64_MAX >> ns->shift)
		return error_set(e, EINVAL, "%s says that it has %llu blocks of 2^%u bytes: is it an NVMe namespace for reads and writes?", path,
				 (unsigned long long)blocks, ns->shift);
	ns->bytes = blocks << ns->shift;
	return 0;
}

int nvme_ask(const char *path, struct nvme_ns *ns, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;
	char place[PATH_MAX];
	struct stat st;

	memset(ns, 0, sizeof(*ns));
	if (fd < 0)
		return error_set(e, errno, "cannot open %s: %s", path, strerror(errno));
	ret = ask(fd, path, ns, e);
	if (!ret && !fstat(fd, &st) && nvme_generic_place(st.st_rdev, place, sizeof(place)))
		find_limits(ns, place);
	close(fd);
	return ret;
}

/*
 * Status code type and status code; what is above says whether it may be tried
 * again. The errno is that of the kernel's block layer.
 */
static const struct { unsigned int status; int error; const char *name; } statuses[] = {
	{ 0x001, EOPNOTSUPP, "invalid opcode" },
	{ 0x002, EOPNOTSUPP, "invalid field in command" },
	{ 0x004, EIO, "data transfer error" },
	{ 0x006, EIO, "internal error" },
	{ 0x007, EIO, "command aborted by request" },
	{ 0x00b, EOPNOTSUPP, "invalid namespace or format" },
	{ 0x020, EIO, "namespace is write protected" },
	{ 0x021, EREMOTEIO, "command interrupted" },
	{ 0x080, EREMOTEIO, "LBA out of range" },
	{ 0x081, ENOSPC, "capacity exceeded" },
	{ 0x082, EREMOTEIO, "namespace not ready" },
	{ 0x083, EBADE, "reservation conflict" },
	{ 0x084, EIO, "format in progress" },
	{ 0x180, EOPNOTSUPP, "conflicting attributes" },
	{ 0x181, EILSEQ, "invalid protection information" },
	{ 0x182, ENODATA, "attempted write to read only range" },
	{ 0x1b8, EIO, "zone boundary error" },
	{ 0x1b9, EIO, "zone is full" },
	{ 0x1ba, EIO, "zone is read only" },
	{ 0x1bb, EIO, "zone is offline" },
	{ 0x1bc, EIO, "zone invalid write" },
	{ 0x1bd, EOVERFLOW, "too many active zones" },
	{ 0x1be, ETOOMANYREFS, "too many open zones" },
	{ 0x280, ENODATA, "write fault" },
	{ 0x281, ENODATA, "unrecovered read error" },
	{ 0x282, EILSEQ, "guard check error" },
	{ 0x283, EILSEQ, "application tag check error" },
	{ 0x284, EILSEQ, "reference tag check error" },
	{ 0x285, ENODATA, "compare failure" },
	{ 0x286, ENODATA, "access denied" },
	{ 0x287, ENODATA, "deallocated or unwritten block" },
	{ 0x370, ENOLINK, "host pathing error" },
	{ 0x371, EIO, "command aborted by host" },
};

int nvme_errno(unsigned int status)
{
	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
		if (statuses[i].status == (status & 0x7ff))
			return statuses[i].error;
	return EIO;
}

const char *nvme_status_name(unsigned int status)
{
	static const char *const types[] = {
		"a generic one", "one specific to the command", "an error of medium or data", "an error of the path",
	};

	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
		if (statuses[i].status == (status & 0x7ff))
			return statuses[i].name;
	return (status >> 8 & 7) < 4 ? types[status >> 8 & 7] : "one specific to the vendor";
}
