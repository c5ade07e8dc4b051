// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Namespaces with metadata, DEV without protection information and DEV2 with.
 * No CPU can see what is in a dma-buf, so that it is refused; and a namespace
 * formatted so when it was registered already fails or is right, at once.
 */
#include "device.h"

#include <sys/ioctl.h>
#include <linux/fs.h>
#include <linux/nvme_ioctl.h>

#define FORMAT	0x80	/* admin command */

/* QEMU's formats of 512-byte blocks. */
enum { PLAIN, METADATA };

static struct t_buf buf;
static struct t_ring ring;

static enum t_result refused(const char *dev, bool pi)
{
	const char *name = disk_name(dev);
	struct t_disk disk;
	int fd;

	T_IS(atoi(get("/sys/class/block/%s/metadata_bytes", name)), 8, "bytes of metadata of a block");
	T_CHECK(strcmp(get("/sys/class/block/%s/integrity/format", name), pi ? "T10-DIF-TYPE1-CRC" : "nop") == 0,
		"%s: the format is %s", dev, get("/sys/class/block/%s/integrity/format", name));
	/* others get their data */
	t_disk_init(&disk, dev);
	t_disk_exit(&disk);
	fd = t_open(dev, O_RDWR | O_DIRECT);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), -EOPNOTSUPP, "register");
	close(fd);
	return T_PASS;
}

/* Waits until the driver has seen it. */
static int format(const char *dev, unsigned int lbaf, bool pi)
{
	const char *name = disk_name(dev);
	int wanted = lbaf == METADATA ? 8 : 0, fd, ret, nsid;
	struct nvme_admin_cmd cmd = { .opcode = FORMAT, .cdw10 = lbaf | pi << 5, .timeout_ms = 60000 };
	char controller[PATH_MAX], link[PATH_MAX];
	double end = now() + 30;

	snprintf(link, sizeof(link), "/sys/class/block/%s/device", name);
	if (!realpath(link, controller))
		return -errno;
	nsid = atoi(get("/sys/class/block/%s/nsid", name));
	cmd.nsid = nsid;
	snprintf(link, sizeof(link), "/dev/%.32s", disk_name(controller));
	fd = t_open(link, O_RDWR);
	ret = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd);
	close(fd);
	if (ret)
		return ret < 0 ? -errno : ret;
	while (atoi(get("/sys/class/block/%s/metadata_bytes", name)) != wanted)
		if (usleep(10000), now() > end)
			return -ETIMEDOUT;
	return 0;
}

static enum t_result formatted(const char *dev, bool pi)
{
	struct t_io io = { .len = 65536, .pos = 8192 };
	struct t_disk disk;

	T_IS(format(dev, PLAIN, false), 0, "format without metadata");
	t_disk_init(&disk, dev);
	io.fd = t_open(dev, O_RDWR | O_DIRECT);
	T_IS(t_register(&ring, 0, buf.fd, io.fd, 0), 1, "register");
	T_TRY(t_check_read(&ring, io, &disk, &buf, 4096, 65536, 8192));
	T_TRY(t_check_write(&ring, io, &disk, &buf, 4096, 65536, 8192));

	T_IS(format(dev, METADATA, pi), 0, "format with metadata");
	t_disk_restore(&disk, 0, T_DISK_SIZE);
	if (pi) {
		/* the controller makes it, and takes it away */
		T_TRY(t_check_read(&ring, io, &disk, &buf, 4096, 65536, 8192));
		T_TRY(t_check_write(&ring, io, &disk, &buf, 4096, 65536, 8192));
	} else {
		T_IS(t_rw(&ring, &io), -EOPNOTSUPP, "read");
		io.write = true;
		T_IS(t_rw(&ring, &io), -EOPNOTSUPP, "write");
		io.write = false;
		T_CHECK(t_same("the buffer", buf.map, buf.poison, buf.size), "it changed");
		T_CHECK(t_same("the disk", t_disk_read(&disk, 0, T_DISK_SIZE), disk.image, T_DISK_SIZE), "it changed");
	}
	T_IS(t_register(&ring, 1, buf.fd, io.fd, 0), -EOPNOTSUPP, "register");

	T_IS(format(dev, PLAIN, false), 0, "format without metadata");
	t_disk_restore(&disk, 0, T_DISK_SIZE);
	T_TRY(t_check_read(&ring, io, &disk, &buf, 4096, 65536, 8192));
	T_IS(t_register(&ring, 1, buf.fd, io.fd, 0), 1, "register");
	T_IS(t_clear(&ring, 0), 1, "unregister");
	T_IS(t_clear(&ring, 1), 1, "unregister");
	close(io.fd);
	t_disk_exit(&disk);
	return T_PASS;
}

int main(int argc, char **argv)
{
	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, 4);
	if (!t_dev2)
		t_die("no second namespace: name one as the second argument or in DEV2=");
	if (t_buf_init(&buf, T_UDMABUF, 256 * 1024) != T_PASS)
		t_die("/dev/udmabuf: %m (CONFIG_UDMABUF)");
	t_ring_init(&ring, T_PLAIN, 4, 2);
	t_report(refused(t_dev, false), "refused: metadata");
	t_report(refused(t_dev2, true), "refused: protection information");
	t_report(formatted(t_dev, false), "formatted with metadata when registered");
	t_report(formatted(t_dev2, true), "formatted with protection information when registered");
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	return t_finish();
}
