// SPDX-License-Identifier: GPL-2.0-or-later
/* reach.c on a sysfs that this file makes below the current directory, which is empty. */
#undef NDEBUG
#include <assert.h>

#define ROOT "."
#include "reach.c"

#define DEVICES	"./sys/devices/pci0000:00"

static void put(const char *path, const void *text, size_t size)
{
	char dir[PATH_MAX];
	FILE *f;

	for (const char *end = path; (end = strchr(end + 1, '/'));) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(end - path), path);
		mkdir(dir, 0755);
	}
	f = fopen(path, "w");
	assert(f && fwrite(text, 1, size, f) == size);
	fclose(f);
}

static void say(const char *path, const char *text)
{
	put(path, text, strlen(text));
}

/* A bridge's configuration space, with another extended capability before ACS. */
static void bridge(const char *dir, unsigned int control)
{
	unsigned char config[4096] = { 0 };
	char path[PATH_MAX];

	memcpy(config + 0x100, (uint32_t []){ 0x14010001 }, 4);	/* AER; the next one is at 0x140 */
	memcpy(config + 0x140, (uint32_t []){ 0x0001000d }, 4);
	memcpy(config + 0x146, (uint16_t []){ control }, 2);
	snprintf(path, sizeof(path), "%s/config", dir);
	put(path, config, sizeof(config));
}

static const char *at(const char *path)
{
	static char real[4][PATH_MAX];
	static unsigned int n;

	assert(realpath(path, real[++n % 4]));
	return real[n % 4];
}

static struct error e;
static char where[64];

static enum reach way(const char *a, const char *b)
{
	return reach_way(at(a), at(b), where, sizeof(where));
}

static bool why(const char *a, const char *b, size_t size, const char *says)
{
	e.text[0] = '\0';
	return reach_why_not(at(a), at(b), size, &e) && strstr(e.text, says);
}

static void make(void)
{
	/* a switch with a disk and a GPU below; a disk at the root; a GPU below another host bridge */
	say(DEVICES "/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0/vendor", "0x1b36\n");
	say(DEVICES "/0000:00:01.0/0000:01:00.0/0000:02:01.0/0000:04:00.0/vendor", "0x10de\n");
	say(DEVICES "/0000:00:01.0/0000:01:00.0/0000:02:01.0/0000:04:00.0/resource",
	    "0x0000000000001000 0x0000000000001fff 0x0000000000040200\n0x0000004000000000 0x000000400fffffff 0x000000000014220c\n");
	bridge(DEVICES "/0000:00:01.0", 0x1d);		/* above both: of no importance */
	bridge(DEVICES "/0000:00:01.0/0000:01:00.0", 0x1d);
	bridge(DEVICES "/0000:00:01.0/0000:01:00.0/0000:02:00.0", 0x01);	/* source validation */
	bridge(DEVICES "/0000:00:01.0/0000:01:00.0/0000:02:01.0", 0);
	say(DEVICES "/0000:00:05.0/vendor", "0x1b36\n");
	say("./sys/devices/pci0000:80/0000:80:01.0/vendor", "0x1002\n");
	say("./sys/bus/pci/devices/0000:00:00.0/vendor", "0x8086\n");
	say("./sys/bus/pci/devices/0000:00:00.0/device", "0x29c0\n");
	assert(!symlink("../../../devices/pci0000:00/0000:00:05.0", "./sys/bus/pci/devices/0000:00:05.0"));
	say("./proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t: 1\n");
}

#define DISK	DEVICES "/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0"
#define PORT	DEVICES "/0000:00:01.0/0000:01:00.0/0000:02:01.0"
#define GPU	PORT "/0000:04:00.0"
#define ALONE	DEVICES "/0000:00:05.0"
#define OTHER	"./sys/devices/pci0000:80/0000:80:01.0"

int main(void)
{
	char path[PATH_MAX];

	make();
	assert(way(DISK, GPU) == REACH_SWITCH && !strcmp(where, "0000:01:00.0"));
	assert(way(DISK, DISK) == REACH_SELF);
	assert(way(DISK, ALONE) == REACH_HOST && way(ALONE, GPU) == REACH_HOST);
	assert(way(DISK, OTHER) == REACH_APART);
	bridge(PORT, 0x04);
	assert(way(DISK, GPU) == REACH_ACS && !strcmp(where, "0000:02:01.0") && way(GPU, DISK) == REACH_ACS);
	bridge(PORT, 0x20);
	assert(way(DISK, GPU) == REACH_ACS);

	/* what is said of each, on a machine whose bridge has to be on the list */
	assert(why(DISK, GPU, 1 << 20, "0000:02:01.0 sends requests up (ACS) to the host bridge, and that (8086:29c0)"));
	assert(strstr(e.text, "disable_acs_redir=0000:02:01.0"));
	bridge(PORT, 0);
	assert(!why(DISK, GPU, 1 << 20, ""));
	assert(why(DISK, GPU, 512 << 20, "512 MiB are more than the 256 MiB of the largest BAR of 0000:04:00.0"));
	assert(why(DISK, ALONE, 1 << 20, "0000:03:00.0 and 0000:00:05.0 meet at the host bridge, and that (8086:29c0)"));
	assert(why(DISK, OTHER, 1 << 20, "are below different host bridges"));
	assert(why(DISK, DISK, 1 << 20, "is the disk itself"));
	/* AMD's since Zen pass on all */
	say("./proc/cpuinfo", "vendor_id\t: AuthenticAMD\ncpu family\t: 23\n");
	assert(!why(DISK, ALONE, 1 << 20, "") && why(DISK, DISK, 0, "itself"));
	say("./proc/cpuinfo", "vendor_id\t: AuthenticAMD\ncpu family\t: 21\n");
	assert(why(DISK, ALONE, 1 << 20, "host bridge"));
	assert(!remove("./proc/cpuinfo") && why(DISK, ALONE, 1 << 20, "host bridge"));
	/* amdgpu's own word counts */
	say(GPU "/mem_info_vram_total", "17163091968\n");
	say(GPU "/mem_info_vis_vram_total", "268435456\n");
	assert(why(DISK, GPU, 300 << 20, "300 MiB are more than the 256 MiB") && !why(DISK, GPU, 200 << 20, ""));
	say(GPU "/mem_info_vis_vram_total", "17163091968\n");
	/* asleep comes first */
	say(GPU "/power/runtime_status", "active\n");
	say(GPU "/power_state", "D0\n");
	assert(!why(DISK, GPU, 1 << 20, ""));
	say(GPU "/power_state", "D3cold\n");
	assert(why(DISK, GPU, 1 << 20, "0000:04:00.0 is asleep"));
	say(GPU "/power_state", "unknown\n");
	say(GPU "/power/runtime_status", "suspended\n");
	assert(why(DISK, GPU, 1 << 20, "0000:04:00.0 is asleep"));

	assert(reach_find("0000:00:05.0", path, sizeof(path)) && !strcmp(path, at(ALONE)));
	assert(reach_find("00:05.0", path, sizeof(path)) && !strcmp(path, at(ALONE)));
	assert(!reach_find("0000:7f:00.0", path, sizeof(path)) && !reach_find("", path, 4));
	snprintf(path, sizeof(path), "%s/nvme/nvme0/nvme0n1", at(DISK));
	assert(reach_to_pci(path) && !strcmp(path, at(DISK)));
	snprintf(path, sizeof(path), "/sys/devices/virtual/block/loop0");
	assert(!reach_to_pci(path));
	return 0;
}
