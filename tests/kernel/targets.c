// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Files that are no targets: those of file systems, and block devices of
 * drivers that stack on others or have no device. Each says -EOPNOTSUPP, and a
 * namespace below still takes registrations.
 */
#include "device.h"
#include "stack.h"

#include <sys/mount.h>
#include <sys/wait.h>
#include <linux/loop.h>

#define SECTORS	(64 * 1024UL)	/* 32 MiB of the disk */

static struct t_buf buf;
static struct t_ring ring;

static enum t_result refused(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);
	int ret;

	if (fd < 0)
		return t_skip("%s: %m", path);
	ret = t_register(&ring, 0, buf.fd, fd, 0);
	close(fd);
	T_IS(ret, -EOPNOTSUPP, path);
	return T_PASS;
}

static enum t_result tmpfs(void)
{
	enum t_result result = refused("/dev/shm/target", O_RDWR | O_CREAT);

	unlink("/dev/shm/target");
	return result;
}

/* A loop device over a sparse file; NULL if there can be none. */
static const char *loop_over(const char *file, size_t size, int *loop)
{
	static char path[32];
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), backing = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

	snprintf(path, sizeof(path), "/dev/loop%d", number);
	*loop = number < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
	if (*loop >= 0 && (ftruncate(backing, size) || ioctl(*loop, LOOP_SET_FD, backing))) {
		close(*loop);
		*loop = -1;
	}
	close(backing);
	close(control);
	return *loop < 0 ? NULL : path;
}

static enum t_result loop(void)
{
	int fd;
	const char *path = loop_over("/dev/shm/backing", 16 * T_MIB, &fd);
	enum t_result result;

	if (!path)
		return t_skip("no loop device: %m");
	result = refused(path, O_RDWR | O_DIRECT);
	ioctl(fd, LOOP_CLR_FD);
	close(fd);
	unlink("/dev/shm/backing");
	return result;
}

static enum t_result file_system(const char *type, const char *mkfs, size_t size)
{
	char command[64];
	int fd;
	const char *path = loop_over("/dev/shm/backing", size, &fd);
	enum t_result result = T_SKIP;

	if (!path)
		return t_skip("no loop device: %m");
	snprintf(command, sizeof(command), "%s %s >/dev/null 2>&1", mkfs, path);
	mkdir("/tmp/mounted", 0700);
	if (system(command))
		t_skip("%s does not run here", mkfs);
	else if (mount(path, "/tmp/mounted", type, 0, NULL))
		t_skip("mounting %s: %m (see kernel/configs/debug.config)", type);
	else
		result = refused("/tmp/mounted/target", O_RDWR | O_CREAT | O_DIRECT);
	umount("/tmp/mounted");
	ioctl(fd, LOOP_CLR_FD);
	close(fd);
	unlink("/dev/shm/backing");
	return result;
}

/* busybox makes an ext2, which the ext4 driver takes for a poor ext4. */
static enum t_result ext4(void)
{
	return file_system("ext4", "mke2fs -F", 16 * T_MIB);
}

static enum t_result xfs(void)
{
	return file_system("xfs", "mkfs.xfs", 320 * T_MIB);
}

static enum t_result btrfs(void)
{
	return file_system("btrfs", "mkfs.btrfs", 128 * T_MIB);
}

/* One that keeps requests to itself for a while; those that pass them on are in stacked. */
static enum t_result dm_delay(void)
{
	struct dm_line line = { .sectors = SECTORS, .type = "delay" };
	enum t_result result;
	char path[32];
	int ret;

	snprintf(line.args, sizeof(line.args), "%s 0 1", t_dev);
	ret = dm_create("target", &line, 1, path);
	if (ret)
		return t_skip("dm-delay: %s (CONFIG_DM_DELAY)", t_number(ret));
	result = refused(path, O_RDWR | O_DIRECT);
	T_IS(dm_remove("target"), 0, "remove");
	return result;
}

/* A mirror of one disk. */
static enum t_result md(void)
{
	enum t_result result;
	int fd = md_create(1, &t_dev, 1, 0);

	if (fd < 0)
		return t_skip("a RAID 1: %s (CONFIG_MD_RAID1)", t_number(fd));
	result = refused("/tmp/md0", O_RDWR | O_DIRECT);
	T_IS(md_stop(fd), 0, "stop the array");
	return result;
}

/* A namespace that is a file of 16 MiB, exported and imported over the loopback interface. */
static const char over_tcp[] =
	"exec 2>/dev/null; modprobe nvme-tcp; modprobe nvmet-tcp; mount -t configfs configfs /sys/kernel/config\n"
	"mkdir /sys/kernel/config/nvmet/subsystems/file && cd /sys/kernel/config/nvmet || exit\n"
	"truncate -s 16M /dev/shm/backing; mkdir subsystems/file/namespaces/1 ports/1\n"
	"echo 1 >subsystems/file/attr_allow_any_host; echo /dev/shm/backing >subsystems/file/namespaces/1/device_path\n"
	"echo 1 >subsystems/file/namespaces/1/buffered_io; echo 1 >subsystems/file/namespaces/1/enable\n"
	"echo tcp >ports/1/addr_trtype; echo ipv4 >ports/1/addr_adrfam; echo 127.0.0.1 >ports/1/addr_traddr\n"
	"echo 4420 >ports/1/addr_trsvcid; ln -s /sys/kernel/config/nvmet/subsystems/file ports/1/subsystems/file\n"
	"echo transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=file >/dev/nvme-fabrics";
static const char not_over_tcp[] =
	"exec 2>/dev/null; for c in /sys/class/nvme/*; do grep -q tcp $c/transport && echo 1 >$c/delete_controller; done\n"
	"cd /sys/kernel/config/nvmet && rm ports/1/subsystems/file && rmdir subsystems/file/namespaces/1 subsystems/file ports/1\n"
	"rm /dev/shm/backing";

static enum t_result nvme_tcp(void)
{
	enum t_result result = T_SKIP;
	double end = now() + 30;
	unsigned int i;
	char path[32];

	if (system(over_tcp)) {
		system(not_over_tcp);
		return t_skip("no NVMe over TCP to this machine itself (CONFIG_NVME_TCP, CONFIG_NVME_TARGET_TCP)");
	}
	t_skip("no disk came over TCP");
	for (i = 0; result == T_SKIP && now() < end; i = (i + 1) % 16) {
		snprintf(path, sizeof(path), "/dev/nvme%un1", i);
		if (!strcmp(get("/sys/class/nvme/nvme%u/transport", i), "tcp") && !access(path, F_OK))
			result = refused(path, O_RDWR | O_DIRECT);
	}
	system(not_over_tcp);
	return result == T_SKIP ? T_FAIL : result;
}

/* One is there on kernels that know such disks. */
static enum t_result zoned(void)
{
	char path[32];
	unsigned int i;

	for (i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "/dev/nvme%un1", i);
		if (!strcmp(get("/sys/class/block/nvme%un1/queue/zoned", i), "host-managed"))
			return refused(path, O_RDWR | O_DIRECT);
	}
	return t_skip("no zoned disk: boot the debug kernel (`make test-debug`)");
}

/* Last: the refusals left nothing behind, and were not for want of a good buffer. */
static enum t_result taken(void)
{
	int fd = t_open(t_dev, O_RDWR | O_DIRECT | O_EXCL);

	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_IS(t_clear(&ring, 0), 1, "clear");
	close(fd);
	return T_PASS;
}

static const struct {
	const char *name;
	enum t_result (*run)(void);
} tests[] = {
	{ "tmpfs", tmpfs },
	{ "ext4", ext4 },
	{ "xfs", xfs },
	{ "btrfs", btrfs },
	{ "loop", loop },
	{ "dm-delay", dm_delay },
	{ "RAID 1", md },
	{ "NVMe over TCP", nvme_tcp },
	{ "zoned NVMe", zoned },
	{ "the namespace itself is taken", taken },
};

int main(int argc, char **argv)
{
	size_t i;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_COUNT(tests));
	if (t_buf_init(&buf, T_UDMABUF, T_MIB) != T_PASS)
		t_die("/dev/udmabuf: %m (CONFIG_UDMABUF)");
	t_ring_init(&ring, T_PLAIN, 4, 1);
	for (i = 0; i < T_COUNT(tests); i++)
		t_report(tests[i].run(), "%s", tests[i].name);
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	return t_finish();
}
