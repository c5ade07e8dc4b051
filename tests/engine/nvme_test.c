// SPDX-License-Identifier: GPL-2.0-or-later
/* nvme.c on a sysfs and a controller that this file plays, below the current directory, which is empty. */
#undef NDEBUG
#include <assert.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static int play(int fd, unsigned long request, ...);

#define ROOT "."
#define ioctl play
#include "nvme.c"
#undef ioctl

/* The controller: what it says of its namespace. */
static struct {
	int nsid, nsid_error, identify;	/* a status, or -1: errno is to be EACCES */
	unsigned char data[4096];
} c;

static int play(int fd, unsigned long request, ...)
{
	struct nvme_passthru_cmd *cmd;
	va_list args;

	if (request == NVME_IOCTL_ID) {
		errno = c.nsid_error;
		return c.nsid_error ? -1 : c.nsid;
	}
	va_start(args, request);
	cmd = va_arg(args, struct nvme_passthru_cmd *);
	va_end(args);
	assert(request == NVME_IOCTL_ADMIN_CMD && cmd->opcode == 0x06 && cmd->cdw10 == 0);
	assert((int)cmd->nsid == c.nsid && cmd->data_len == sizeof(c.data));
	memcpy((void *)(uintptr_t)cmd->addr, c.data, sizeof(c.data));
	errno = EACCES;
	return c.identify;
}

static void put(const char *path, const char *text)
{
	char dir[256];
	FILE *f;

	for (const char *end = path; (end = strchr(end + 1, '/'));) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(end - path), path);
		mkdir(dir, 0755);
	}
	f = fopen(path, "w");
	assert(f);
	fputs(text, f);
	fclose(f);
}

static void format(unsigned int which, unsigned int shift, unsigned int metadata, unsigned long long blocks)
{
	memset(&c, 0, sizeof(c));
	c.nsid = 2;
	for (int i = 0; i < 8; i++)
		c.data[i] = blocks >> (8 * i);
	c.data[25] = which > 15 ? 40 : 7;
	c.data[26] = (which & 0xf) | (which & 0x30) << 1 | 0x10;	/* one bit more, of metadata's place */
	c.data[128 + 4 * which] = metadata;
	c.data[128 + 4 * which + 1] = metadata >> 8;
	c.data[128 + 4 * which + 2] = shift;
}

/* Under the name that it has for a namespace of a controller, and of a head. */
static dev_t plug(const char *place, const char *class)
{
	struct stat st;
	char path[256], real[PATH_MAX];

	put("dev/generic", "");		/* only its number matters, and that is a file's: 0:0 */
	assert(!stat("dev/generic", &st));
	mkdir("sys", 0755);
	mkdir("sys/dev", 0755);
	mkdir("sys/dev/char", 0755);
	snprintf(path, sizeof(path), "%s/uevent", place);
	put(path, "");
	snprintf(path, sizeof(path), "%s/subsystem", place);
	unlink(path);
	assert(!symlink(class, path));
	assert(realpath(place, real));
	snprintf(path, sizeof(path), "sys/dev/char/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	unlink(path);
	assert(!symlink(real, path));
	return st.st_rdev;
}

static void test_which_is_one(void)
{
	dev_t dev = plug("sys/devices/pci/nvme/nvme0/ng0n2", "../../../../../class/nvme-generic");

	assert(nvme_is_generic(dev));
	plug("sys/devices/pci/nvme/nvme0/ng0n2", "../../../../../class/nvme");
	assert(!nvme_is_generic(dev));
	plug("sys/devices/pci/nvme/nvme0/ng0n2", "../../../../../class/not-nvme-generic");
	assert(!nvme_is_generic(dev));
	assert(!nvme_is_generic(makedev(4000, 1)));
}

static void test_what_it_says(void)
{
	struct nvme_ns ns;
	struct error e;

	plug("sys/devices/pci/nvme/nvme0/ng0n2", "../class/nvme-generic");
	/* the twin has the number of the subsystem in its name, and another namespace is beside it */
	put("sys/devices/pci/nvme/nvme0/nvme7n1/nsid", "1\n");
	put("sys/devices/pci/nvme/nvme0/nvme7n1/queue/max_hw_sectors_kb", "1024\n");
	put("sys/devices/pci/nvme/nvme0/nvme7n2/nsid", "2\n");
	put("sys/devices/pci/nvme/nvme0/nvme7n2/queue/max_hw_sectors_kb", "128\n");
	format(3, 12, 0, 0x0000010203040506);
	assert(nvme_ask("dev/generic", &ns, &e) == 0);
	assert(ns.nsid == 2 && ns.shift == 12 && ns.bytes == 0x10203040506ull << 12);
	assert(!strcmp(ns.block, "nvme7n2") && ns.max == 128 << 10 && !ns.max_dmabuf && !ns.head);
	/* the formats from 16 on; and a kernel with the feature. No command has more than 65536 blocks. */
	put("sys/devices/pci/nvme/nvme0/nvme7n2/queue/max_hw_dmabuf_sectors_kb", "2147483647\n");
	format(0x25, 9, 0, 64);
	assert(nvme_ask("dev/generic", &ns, &e) == 0 && ns.shift == 9 && ns.bytes == 32768);
	assert(ns.max == 128 << 10 && ns.max_dmabuf == 65536 * 512);
	/* a namespace whose block device is not there */
	format(0, 9, 0, 64);
	c.nsid = 3;
	assert(nvme_ask("dev/generic", &ns, &e) == 0 && !ns.block[0] && !ns.max && !ns.max_dmabuf);
	/* a head */
	plug("sys/devices/virtual/nvme-subsystem/nvme-subsys0/ng0n2", "../class/nvme-generic");
	put("sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n2/nsid", "2\n");
	format(0, 9, 0, 64);
	assert(nvme_ask("dev/generic", &ns, &e) == 0 && ns.head && !strcmp(ns.block, "nvme0n2"));
}

static void test_what_cannot_be(void)
{
	struct nvme_ns ns;
	struct error e;

#define REFUSED(err, words) assert(nvme_ask("dev/generic", &ns, &e) == -(err) && strstr(e.text, words))
	assert(nvme_ask("dev/nothing", &ns, &e) == -ENOENT && strstr(e.text, "cannot open dev/nothing"));
	format(1, 12, 8, 64);
	REFUSED(EOPNOTSUPP, "8 bytes of metadata");
	format(1, 12, 0x140, 64);
	REFUSED(EOPNOTSUPP, "320 bytes of metadata");
	format(1, 12, 0, 0);
	REFUSED(EINVAL, "0 blocks of 2^12 bytes");
	format(1, 0, 0, 64);
	REFUSED(EINVAL, "64 blocks of 2^0 bytes");
	format(1, 12, 0, UINT64_MAX);
	REFUSED(EINVAL, "blocks of 2^12");
	format(1, 12, 0, 64);
	c.nsid_error = ENOTTY;
	REFUSED(ENOTTY, "does not say which namespace");
	format(1, 12, 0, 64);
	c.identify = 0x400b;
	REFUSED(EOPNOTSUPP, "NVMe status 0x400b, invalid namespace or format");
	c.identify = -1;
	REFUSED(EACCES, "run as root");
}

/* With the bits that say whether and when it may be tried again. */
static void test_status(void)
{
	assert(nvme_errno(0x4080) == EREMOTEIO && !strcmp(nvme_status_name(0x4080), "LBA out of range"));
	assert(nvme_errno(0x5281) == ENODATA && !strcmp(nvme_status_name(0x0281), "unrecovered read error"));
	assert(nvme_errno(0x002) == EOPNOTSUPP && nvme_errno(0x081) == ENOSPC && nvme_errno(0x370) == ENOLINK);
	assert(nvme_errno(0x07f) == EIO && strstr(nvme_status_name(0x07f), "generic"));
	assert(nvme_errno(0x7c0) == EIO && strstr(nvme_status_name(0x7c0), "vendor"));
	assert(strstr(nvme_status_name(0x2f0), "medium"));
}

int main(void)
{
	int first = dup(0);

	close(first);
	test_which_is_one();
	test_what_it_says();
	test_what_cannot_be();
	test_status();
	assert(dup(0) == first);		/* no descriptor is left */
	return 0;
}
