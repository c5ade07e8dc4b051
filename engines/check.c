// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dmabuf-check: what this machine can do with registered dma-bufs, and the one
 * next step for each thing that is missing. Every finding is a row; it opens,
 * asks and closes, and changes nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/udmabuf.h>

#ifndef HAVE_REGBUF_DESC
#include <linux/io_uring/dmabuf.h>
#endif

#include "nvme.h"
#include "reach.h"
#include "ring.h"
#include "told.h"

enum verdict { GOOD, PLAIN, MISSING };	/* MISSING: not ready without it */

struct finding {
	const char *name;
	enum verdict verdict;
	char value[256];
	const char *next;	/* step, or NULL */
};

struct report {
	struct finding v[64];
	unsigned int nr;
};

__attribute__((format(printf, 5, 6)))
static void found(struct report *r, const char *name, enum verdict verdict, const char *next,
		  const char *fmt, ...)
{
	struct finding *f = &r->v[r->nr];
	va_list args;

	if (r->nr == sizeof(r->v) / sizeof(r->v[0]))
		return;
	r->nr++;
	*f = (struct finding){ .name = name, .verdict = verdict, .next = next };
	va_start(args, fmt);
	vsnprintf(f->value, sizeof(f->value), fmt, args);
	va_end(args);
}

/* The last part of what DIR/NAME links to, or false. */
static bool link_name(const char *dir, const char *name, char *text, size_t size)
{
	char path[PATH_MAX + 64], target[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!realpath(path, target))
		return false;
	snprintf(text, size, "%s", strrchr(target, '/') + 1);
	return true;
}

static void join(char *list, size_t size, const char *word)
{
	size_t len = strlen(list);

	snprintf(list + len, size - len, "%s%s", len ? " " : "", word);
}

/* --- the kernel --- */

static bool check_query(struct report *r)
{
	static const struct { unsigned int op; const char *name; } ops[] = {
		{ IORING_OP_READ_FIXED, "READ_FIXED" }, { IORING_OP_WRITE_FIXED, "WRITE_FIXED" }, { 60, "READV_FIXED" },
		{ 61, "WRITEV_FIXED" }, { IORING_OP_URING_CMD, "URING_CMD" },
	};
	struct io_uring_query_dmabuf q;
	char list[128] = "";
	unsigned int i;

	if (!ring_query_dmabuf(&q))
		return false;
	for (i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (q.opcodes[0] & 1ull << ops[i].op)
			join(list, sizeof(list), ops[i].name);
	found(r, "kernel", GOOD, NULL, "io_uring registers dma-bufs, for %s", list);
	return true;
}

static bool check_kernel(struct report *r, struct ring *ring)
{
	struct ring_options o = { .entries = 1, .sqpoll_cpu = -1 };
	int ret = ring_open(ring, &o);

	if (ret) {
		found(r, "kernel", MISSING, ret == -ENOMEM ? "raise the memlock limit (ulimit -l), or run as root" :
		      ret == -EMFILE || ret == -ENFILE ? "raise the limit on open files (ulimit -n)" :
		      "build the kernel with CONFIG_IO_URING and set /proc/sys/kernel/io_uring_disabled to 0",
		      "io_uring is not available: %s", strerror(-ret));
		return false;
	}
	if (check_query(r))
		return true;
	/* a kernel that cannot be asked says by which of two bad descriptors it refuses */
	ret = ring_probe_dmabuf(ring);
	switch (ret) {
	case 0:
		found(r, "kernel", GOOD, NULL, "io_uring registers dma-bufs");
		return true;
	case -EOPNOTSUPP:
		found(r, "kernel", MISSING, "build the kernel with CONFIG_DMA_SHARED_BUFFER",
		      "io_uring knows registered dma-bufs, but they are not built in");
		return false;
	case -EINVAL:
		found(r, "kernel", MISSING, "boot a kernel with the series of this project (make kernel)",
		      "io_uring of this kernel does not know registered dma-bufs");
		return false;
	}
	found(r, "kernel", MISSING, "raise the memlock limit (ulimit -l), or run as root",
	      "cannot tell: io_uring_register says %s", strerror(-ret));
	return false;
}

/* --- sources --- */

/* The names in @dir that begin with @prefix, as a list; how many. */
static unsigned int names(const char *dir, const char *prefix, char *list, size_t size)
{
	struct dirent *entry;
	unsigned int nr = 0;
	DIR *d = opendir(dir);

	*list = '\0';
	if (!d)
		return 0;
	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.' || strncmp(entry->d_name, prefix, strlen(prefix)) || entry->d_type == DT_DIR ||
		    !strcmp(entry->d_name, "vfio"))	/* of VFIO the groups, which is what the engine opens */
			continue;
		join(list, size, entry->d_name);
		nr++;
	}
	closedir(d);
	return nr;
}

/* A page of system memory as a dma-buf, or -errno. */
static int make_dmabuf(void)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = 4096 };
	int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int ret = -errno;

	if (device < 0)
		return ret;
	create.memfd = memfd_create("dmabuf-check", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	ret = -1;
	if ((int)create.memfd >= 0 && !ftruncate(create.memfd, create.size) &&
	    !fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		ret = ioctl(device, UDMABUF_CREATE, &create);
	if (ret < 0)
		ret = -errno;
	if ((int)create.memfd >= 0)
		close(create.memfd);
	close(device);
	return ret;
}

static const char *why_no_udmabuf(int err)
{
	switch (err) {
	case EACCES:
	case EPERM:
		return "run as root, or as one whom the mode of /dev/udmabuf, and the container, allow to open it";
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return "load udmabuf (modprobe udmabuf), or build the kernel with CONFIG_UDMABUF";
	}
	return "raise the limits of this process (ulimit -a), or read the kernel's log";
}

static int check_sources(struct report *r)
{
	static const struct {
		const char *name, *dir, *prefix;
		enum verdict there;	/* a VFIO device may or may not export its BARs */
		const char *next;
	} rows[] = {
		{ "dma-heap", "/dev/dma_heap", "", GOOD, "build the kernel with CONFIG_DMABUF_HEAPS and CONFIG_DMABUF_HEAPS_SYSTEM" },
		{ "drm", "/dev/dri", "card", GOOD, "load the driver of a GPU, or vgem (CONFIG_DRM_VGEM)" },
		{ "vfio", "/dev/vfio", "", PLAIN, "bind a PCI device to vfio-pci, in a kernel with CONFIG_VFIO_GROUP" },
	};
	int dmabuf = make_dmabuf();
	unsigned int i, nr, all = dmabuf >= 0;
	char list[200];

	if (dmabuf >= 0)
		found(r, "udmabuf", GOOD, NULL, "/dev/udmabuf makes dma-bufs of system memory");
	else
		found(r, "udmabuf", PLAIN, why_no_udmabuf(-dmabuf), "no: %s", strerror(-dmabuf));
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		nr = names(rows[i].dir, rows[i].prefix, list, sizeof(list));
		if (nr)
			found(r, rows[i].name, rows[i].there, NULL, "%s: %s", rows[i].dir, list);
		else
			found(r, rows[i].name, PLAIN, rows[i].next, "none in %s", rows[i].dir);
		all += rows[i].there == GOOD ? nr : 0;
	}
	if (!all)
		found(r, "sources", MISSING, why_no_udmabuf(-dmabuf),
		      "nothing on this machine makes dma-bufs");
	return dmabuf;
}

static void check_limits(struct report *r)
{
	const char *dir = "/sys/module/udmabuf/parameters";
	struct rlimit limit;
	char size[32], list[32];

	if (reach_line(dir, "size_limit_mb", size, sizeof(size)) &&
	    reach_line(dir, "list_limit", list, sizeof(list)))
		found(r, "udmabuf limits", PLAIN, NULL, "size_limit_mb=%s list_limit=%s", size, list);
	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return;
	if (limit.rlim_cur == RLIM_INFINITY)
		found(r, "memlock", PLAIN, NULL, "unlimited");
	else
		found(r, "memlock", PLAIN, NULL, "%llu KiB, for registration=user without CAP_IPC_LOCK",
		      (unsigned long long)limit.rlim_cur >> 10);
}

/* --- the device --- */

/* How a transfer between two PCI functions travels. */
static void check_topology(struct report *r, const char *device, const char *name, const char *exporter)
{
	char where[64];

	if (reach_is_asleep(exporter))
		found(r, "exporter", PLAIN, "wake it: echo on >/sys/bus/pci/devices/ADDRESS/power/control", "%s is asleep, and its driver may not reach its memory then", name);
	switch (reach_way(device, exporter, where, sizeof(where))) {
	case REACH_SELF:
		found(r, "topology", MISSING, "name the device whose memory it is to be",
		      "%s is the disk itself, not one that exports memory to it", name);
		break;
	case REACH_SWITCH:
		found(r, "topology", GOOD, NULL, "%s and the device are behind one bridge, %s", name, where);
		break;
	case REACH_ACS:
		found(r, "topology", PLAIN, "boot with pci=disable_acs_redir= and that bridge if the host bridge is not on the kernel's list for peer-to-peer",
		      "%s and the device are behind one bridge, but %s sends requests up to the host bridge (ACS)", name, where);
		break;
	case REACH_HOST:
		found(r, "topology", PLAIN, "put both behind one PCI switch if the host bridge is not on the kernel's list for peer-to-peer",
		      "%s and the device meet at the host bridge", name);
		break;
	default:
		found(r, "topology", PLAIN, "put both below one host bridge, better one PCI switch",
		      "%s and the device are below different host bridges", name);
	}
}

static bool check_exporter(struct report *r, const char *device, const char *bdf)
{
	char path[PATH_MAX];

	if (!reach_find(bdf, path, sizeof(path)))
		return false;
	check_topology(r, device, bdf, path);
	return true;
}

/* Each DRM card with a PCI function behind it is an exporter that users will try. */
static void check_cards(struct report *r, const char *device)
{
	char list[200], path[PATH_MAX], real[PATH_MAX], *card, *save;

	names("/sys/class/drm", "renderD", list, sizeof(list));
	for (card = strtok_r(list, " ", &save); card; card = strtok_r(NULL, " ", &save)) {
		snprintf(path, sizeof(path), "/sys/class/drm/%s/device", card);
		if (realpath(path, real) && reach_to_pci(real))
			check_topology(r, device, card, real);
	}
}

static void check_iommu(struct report *r, const char *pci)
{
	char group[32], type[32], dir[PATH_MAX + 16];

	snprintf(dir, sizeof(dir), "%s/iommu_group", pci);
	if (!link_name(pci, "iommu_group", group, sizeof(group))) {
		found(r, "iommu", PLAIN, NULL, "none for this device: it sees physical addresses");
		return;
	}
	if (!reach_line(dir, "type", type, sizeof(type)))
		snprintf(type, sizeof(type), "unknown");
	found(r, "iommu", PLAIN, NULL, "group %s, %s", group,
	      !strcmp(type, "DMA") ? "strict translation" :
	      !strcmp(type, "DMA-FQ") ? "lazy translation" :
	      !strcmp(type, "identity") ? "passthrough" : type);
}

/* Of @sys, a block device in sysfs, or a partition. */
static void check_queue(struct report *r, const char *sys)
{
	static const char *const files[] = {
		"logical_block_size", "max_hw_sectors_kb", "max_sectors_kb", "max_hw_dmabuf_sectors_kb", "max_segments", "io_poll",
	};
	char dir[PATH_MAX + 16], list[256] = "", value[32], word[64];
	unsigned int i;

	snprintf(dir, sizeof(dir), "%s/queue", sys);
	if (access(dir, F_OK))
		snprintf(dir, sizeof(dir), "%s/../queue", sys);	/* a partition */
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (!reach_line(dir, files[i], value, sizeof(value)))
			continue;
		snprintf(word, sizeof(word), "%s=%s", files[i], value);
		join(list, sizeof(list), word);
	}
	found(r, "queue", PLAIN, NULL, "%s", list);
}

/* What the kernel tells of the registration, if it does. */
static void check_mapping(struct report *r, struct ring *ring)
{
	struct told t;

	told_ask(ring->uring.ring_fd, 1, &t);
	if (!t.nr)
		return;
	found(r, "mapping", PLAIN, NULL, "memory=%s addresses=%s%s%s, as the kernel tells in the ring's fdinfo", t.memory, t.addresses,
	      t.peer[0] ? " peer=" : "", t.peer);
}

/* The one certain answer: register a dma-buf with the file. */
static void check_registration(struct report *r, struct ring *ring, int dmabuf, int file, bool head, bool generic, bool regular)
{
	const char *next = "use a PCI NVMe namespace, or a linear or striped volume or RAID 0 over some, on a machine that does not bounce its transfers (swiotlb=force, memory encryption)";
	const char *what = regular ? "the file" : "the device";
	int ret;

	if (regular)
		next = "boot a kernel with the series of this project, and use a file of XFS or ext4 on a PCI NVMe namespace";
	else if (head)
		next = "boot a kernel with the series of this project, or with nvme_core.multipath=N, and use paths on PCI";
	else if (generic)
		next = "boot a kernel with the series of this project, and use a PCI NVMe namespace";

	if (dmabuf < 0) {
		found(r, "registration", PLAIN, NULL, "not tried: that needs udmabuf");
		return;
	}
	ret = ring_register_table(ring, 1);
	if (!ret)
		ret = ring_register_dmabuf(ring, 0, dmabuf, file);
	if (!ret) {
		found(r, "registration", GOOD, NULL, "%s takes a dma-buf%s", what, generic ? " for its commands" : "");
		check_mapping(r, ring);
	} else {
		found(r, "registration", MISSING, ret == -EOPNOTSUPP ? next : "read the kernel's log",
		      "%s refuses a dma-buf: %s", what, strerror(-ret));
	}
}

/*
 * What a character device is for, its blocks, and the block device of the same
 * namespace in place of it in @sys. false: nothing is, and it has been said.
 */
static bool check_commands(struct report *r, const char *name, char *sys, size_t size)
{
	struct nvme_ns ns;
	struct error e;
	char *last;

	if (nvme_ask(name, &ns, &e)) {
		found(r, "commands", MISSING, "use another namespace, or the block device", "%s", e.text);
		return false;
	}
	found(r, "commands", GOOD, NULL, "%s takes NVMe commands for namespace %u, blocks of %u bytes", name, ns.nsid, 1 << ns.shift);
	last = strrchr(sys, '/') + 1;
	snprintf(last, size - (last - sys), "%s", ns.block);
	return ns.block[0];
}

static void check_head(struct report *r, const char *name, bool generic)
{
	found(r, "multipath", PLAIN, NULL, "%s %s: it takes dma-bufs by its paths on PCI", name,
	      generic ? "is the character device of an NVMe multipath head" : "is an NVMe multipath head");
}

/* Of @sys, a block device that consists of others. */
static bool check_stack(struct report *r, const char *name, const char *sys)
{
	char dir[PATH_MAX + 16], list[200];

	snprintf(dir, sizeof(dir), "%s/slaves", sys);
	names(dir, "", list, sizeof(list));
	if (list[0])
		found(r, "stack", PLAIN, NULL, "%s consists of %s, each of which has to take dma-bufs", name, list);
	return list[0];
}

/* A file of its own in a directory, for as long as it is open; else what is there. */
static int open_target(const char *name, const struct stat *st, bool generic)
{
	if (S_ISDIR(st->st_mode))
		return open(name, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	return open(name, O_RDONLY | (generic ? 0 : O_DIRECT) | O_CLOEXEC);
}

static void check_device(struct report *r, const char *name, const char *exporter,
			 struct ring *ring, bool kernel, int dmabuf)
{
	char link[64], sys[PATH_MAX], pci[PATH_MAX], driver[64];
	struct stat st = { 0 };
	bool head, generic = !stat(name, &st) && S_ISCHR(st.st_mode) && nvme_is_generic(st.st_rdev);
	bool regular = S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
	int file = open_target(name, &st, generic);

	if (file < 0) {
		found(r, "device", MISSING, errno == EACCES || errno == EPERM ? "run as root, and in a container that may open it" : "name a block device that is there, /dev/ngXnY, or a file or directory whose file system has O_DIRECT",
		      "cannot open %s: %s", name, strerror(errno));
		return;
	}
	if (!generic && (fstat(file, &st) || !(S_ISBLK(st.st_mode) || regular))) {
		found(r, "device", MISSING, "name a block device, such as /dev/nvme0n1, /dev/ng0n1, or a file", "%s is neither a block device nor a file and takes no NVMe commands", name);
		goto out;
	}
	/* of a file, the disk that its file system is on */
	if (regular)
		st.st_rdev = st.st_dev;
	snprintf(link, sizeof(link), "/sys/dev/%s/%u:%u", generic ? "char" : "block", major(st.st_rdev), minor(st.st_rdev));
	if (!realpath(link, sys)) {
		found(r, "device", MISSING, "mount sysfs on /sys", "cannot find %s in sysfs", name);
		goto out;
	}
	head = strstr(sys, "/nvme-subsystem/");
	if (head)
		check_head(r, name, generic);
	snprintf(pci, sizeof(pci), "%s", sys);
	if (!reach_to_pci(pci)) {
		if (!head && !check_stack(r, name, sys))
			found(r, "device", MISSING, "use a PCI NVMe device", "%s is not on PCI", name);
	} else {
		if (!link_name(pci, "driver", driver, sizeof(driver)))
			snprintf(driver, sizeof(driver), "none");
		found(r, "device", strcmp(driver, "nvme") ? MISSING : GOOD,
		      strcmp(driver, "nvme") ? "use a device of the nvme driver" : NULL,
		      "%s at %s, driver %s", name, strrchr(pci, '/') + 1, driver);
		check_iommu(r, pci);
		if (!exporter)
			check_cards(r, pci);
		else if (!check_exporter(r, pci, exporter))
			found(r, "topology", MISSING, "name a PCI address as lspci prints it", "there is no PCI device %s", exporter);
	}
	if (!generic || check_commands(r, name, sys, sizeof(sys)))
		check_queue(r, sys);
	if (kernel)
		check_registration(r, ring, dmabuf, file, head, generic, regular);
out:
	close(file);
}

/* --- output --- */

/* Bytes of the character that @text begins with, 0 if that is no UTF-8. */
static size_t utf8(const char *text)
{
	const unsigned char *t = (const unsigned char *)text;
	size_t n = t[0] < 0x80 ? 1 : t[0] < 0xc2 ? 0 : t[0] < 0xe0 ? 2 : t[0] < 0xf0 ? 3 : t[0] < 0xf5 ? 4 : 0, i;

	for (i = 1; i < n; i++)
		if ((t[i] & 0xc0) != 0x80)
			return 0;
	/* longer than need be, a surrogate, or beyond the last character */
	if ((t[0] == 0xe0 && t[1] < 0xa0) || (t[0] == 0xed && t[1] >= 0xa0) ||
	    (t[0] == 0xf0 && t[1] < 0x90) || (t[0] == 0xf4 && t[1] >= 0x90))
		return 0;
	return n;
}

static void print_string(const char *key, const char *text, const char *end)
{
	size_t n;

	printf("\"%s\": ", key);
	if (!text) {
		printf("null%s", end);
		return;
	}
	putchar('"');
	for (; *text; text += n ? n : 1) {
		n = utf8(text);
		if (!n)
			fputs("\\ufffd", stdout);
		else if ((unsigned char)*text < ' ')
			printf("\\u%04x", *text);
		else if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else
			printf("%.*s", (int)n, text);
	}
	printf("\"%s", end);
}

static void print_json(const struct report *r, bool ready)
{
	static const char *const verdicts[] = { "good", "info", "missing" };
	unsigned int i;

	printf("{\"ready\": %s, \"findings\": [\n", ready ? "true" : "false");
	for (i = 0; i < r->nr; i++) {
		printf("  {");
		print_string("name", r->v[i].name, ", ");
		print_string("verdict", verdicts[r->v[i].verdict], ", ");
		print_string("value", r->v[i].value, ", ");
		print_string("next", r->v[i].next, i + 1 < r->nr ? "},\n" : "}\n");
	}
	printf("]}\n");
}

static void print_text(const struct report *r, bool ready)
{
	static const char marks[] = { '+', ' ', '-' };
	unsigned int i;

	for (i = 0; i < r->nr; i++) {
		printf("%c %-15s %s\n", marks[r->v[i].verdict], r->v[i].name, r->v[i].value);
		if (r->v[i].next)
			printf("  %-15s next: %s\n", "", r->v[i].next);
	}
	puts(ready ? "ready" : "not ready: see the lines that begin with -");
}

static int usage(FILE *out, int status)
{
	fputs("usage: dmabuf-check [--json] [--exporter=PCI-ADDRESS] [DEVICE]\n"
	      "Tell what this machine can do with registered dma-bufs, and with DEVICE: a block device, /dev/ngXnY, a file, or\n"
	      "a directory, for files in it.\n"
	      "  --json                  for programs\n"
	      "  --exporter=PCI-ADDRESS  the device whose memory it is to be: how far is it from DEVICE?\n"
	      "Status: 0 ready, 1 something is missing, 2 wrong usage.\n", out);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "exporter", required_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL },
	};
	const char *exporter = NULL;
	struct report report = { 0 };
	struct ring ring;
	bool json = false, kernel, ready = true;
	int option, dmabuf;
	unsigned int i;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (option) {
		case 'j':
			json = true;
			break;
		case 'e':
			exporter = optarg;
			break;
		case 'h':
			return usage(stdout, 0);
		default:
			return usage(stderr, 2);
		}
	}
	if (argc - optind > 1 || (exporter && optind == argc))
		return usage(stderr, 2);

	kernel = check_kernel(&report, &ring);
	dmabuf = check_sources(&report);
	check_limits(&report);
	if (optind < argc)
		check_device(&report, argv[optind], exporter, &ring, kernel, dmabuf);
	ring_close(&ring);
	if (dmabuf >= 0)
		close(dmabuf);

	for (i = 0; i < report.nr; i++)
		ready &= report.v[i].verdict != MISSING;
	json ? print_json(&report, ready) : print_text(&report, ready);
	return !ready;
}
