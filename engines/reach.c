// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "reach.h"

#ifndef ROOT
#define ROOT ""		/* of sysfs, for tests */
#endif

#define EXTENDED	0x100		/* of configuration space; root alone reads it */
#define ACS		0x000d
#define ACS_CONTROL	6
#define ACS_REDIRECT	0x2c		/* of requests, of completions, egress control: as pci_bridge_has_acs_redir() */

static bool is_pci(const char *name)
{
	unsigned int domain, bus, device, function;
	char end;

	return sscanf(name, "%x:%x:%x.%x%c", &domain, &bus, &device, &function, &end) == 4;
}

bool reach_to_pci(char *path)
{
	char *slash;

	for (; (slash = strrchr(path, '/')) && slash != path; *slash = '\0')
		if (is_pci(slash + 1))
			return true;
	return false;
}

bool reach_find(const char *bdf, char *path, size_t size)
{
	static const char *const forms[] = { "%s/sys/bus/pci/devices/%s", "%s/sys/bus/pci/devices/0000:%s" };
	char link[PATH_MAX + 64], real[PATH_MAX];
	size_t i;

	for (i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		snprintf(link, sizeof(link), forms[i], ROOT, bdf);
		if (realpath(link, real) && strlen(real) < size) {
			strcpy(path, real);
			return true;
		}
	}
	return false;
}

bool reach_find_open(int fd, char *path, size_t size)
{
	char link[PATH_MAX + 64], real[PATH_MAX];
	struct stat st;

	if (fstat(fd, &st))
		return false;
	snprintf(link, sizeof(link), "%s/sys/dev/%s/%u:%u", ROOT, S_ISCHR(st.st_mode) ? "char" : "block", major(st.st_rdev), minor(st.st_rdev));
	if (!realpath(link, real) || !reach_to_pci(real) || strlen(real) >= size)
		return false;
	strcpy(path, real);
	return true;
}

bool reach_line(const char *dir, const char *name, char *text, size_t size)
{
	char path[PATH_MAX + 64];
	FILE *file;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "re");
	if (!file)
		return false;
	ok = fgets(text, size, file);
	fclose(file);
	if (ok)
		text[strcspn(text, "\n")] = '\0';
	return ok;
}

/* Whether a bridge sends requests from one port to another up instead. */
static bool redirects(const char *bridge)
{
	char path[PATH_MAX + 64];
	uint16_t control;
	uint32_t header;
	int fd, at = EXTENDED, left = 64;
	bool yes = false;

	snprintf(path, sizeof(path), "%s/config", bridge);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && at >= EXTENDED && left-- && pread(fd, &header, 4, at) == 4 && header && header != ~0u) {
		if ((header & 0xffff) == ACS) {
			yes = pread(fd, &control, 2, at + ACS_CONTROL) == 2 && control & ACS_REDIRECT;
			break;
		}
		at = header >> 20;
	}
	if (fd >= 0)
		close(fd);
	return yes;
}

/* The bridges above @path, up to and without @top, and not @path itself: whether one redirects. */
static bool redirected(const char *path, const char *top, char *where, size_t size)
{
	char at[PATH_MAX], *slash;

	snprintf(at, sizeof(at), "%s", path);
	while ((slash = strrchr(at, '/'))) {
		*slash = '\0';
		if (strlen(at) <= strlen(top))
			return false;
		if (redirects(at)) {
			snprintf(where, size, "%s", strrchr(at, '/') + 1);
			return true;
		}
	}
	return false;
}

enum reach reach_way(const char *device, const char *peer, char *where, size_t size)
{
	char top[PATH_MAX];
	size_t i, same = 0;

	*where = '\0';
	if (strlen(device) >= sizeof(top))
		return REACH_UNKNOWN;
	if (!strcmp(device, peer))
		return REACH_SELF;
	for (i = 0; device[i] && device[i] == peer[i]; i++)
		if (device[i] == '/')
			same = i;
	snprintf(top, sizeof(top), "%.*s", (int)same, device);
	if (!strrchr(top, '/'))
		return REACH_UNKNOWN;
	snprintf(where, size, "%s", strrchr(top, '/') + 1);
	if (!is_pci(where)) {
		if (!strncmp(where, "pci", 3))
			return REACH_HOST;
		return REACH_APART;
	}
	return redirected(device, top, where, size) || redirected(peer, top, where, size) ? REACH_ACS : REACH_SWITCH;
}

/* --- why not --- */

bool reach_is_asleep(const char *peer)
{
	char status[32], state[32];

	return (reach_line(peer, "power/runtime_status", status, sizeof(status)) && !strcmp(status, "suspended")) ||
	       (reach_line(peer, "power_state", state, sizeof(state)) && !strncmp(state, "D3", 2));
}

/* The largest BAR, in bytes. */
static uint64_t largest_bar(const char *peer)
{
	unsigned long long start, end, flags;
	char path[PATH_MAX + 64];
	uint64_t most = 0;
	FILE *file;
	int i;

	snprintf(path, sizeof(path), "%s/resource", peer);
	file = fopen(path, "re");
	for (i = 0; file && i < 6 && fscanf(file, "%llx %llx %llx", &start, &end, &flags) == 3; i++)
		if (end > start && end - start + 1 > most)
			most = end - start + 1;
	if (file)
		fclose(file);
	return most;
}

/* amdgpu says how much of its memory is behind the BAR. */
static bool is_hidden(const char *peer, uint64_t *visible, uint64_t *total)
{
	char text[32];

	if (!reach_line(peer, "mem_info_vram_total", text, sizeof(text)))
		return false;
	*total = strtoull(text, NULL, 10);
	if (!reach_line(peer, "mem_info_vis_vram_total", text, sizeof(text)))
		return false;
	*visible = strtoull(text, NULL, 10);
	return *visible < *total;
}

static const char *host_bridge(const char *path, char *ids, size_t size)
{
	char dir[PATH_MAX + 64], vendor[16] = "?", device[16] = "?";
	const char *pci = strstr(path, "/pci");
	unsigned int domain, bus;

	snprintf(ids, size, "unknown");
	if (!pci || sscanf(pci, "/pci%x:%x", &domain, &bus) != 2)
		return ids;
	/* the kernel goes by the function that has number 00.0 */
	snprintf(dir, sizeof(dir), "%s/sys/bus/pci/devices/%04x:%02x:00.0", ROOT, domain, bus);
	reach_line(dir, "vendor", vendor, sizeof(vendor));
	reach_line(dir, "device", device, sizeof(device));
	snprintf(ids, size, "%s:%s", vendor + 2 * !strncmp(vendor, "0x", 2), device + 2 * !strncmp(device, "0x", 2));
	return ids;
}

/* Those of AMD since Zen pass on what they are asked to, whatever their bridge. */
static bool any_bridge_will_do(void)
{
	char line[256], vendor[32] = "";
	unsigned int family = 0;
	FILE *file = fopen(ROOT "/proc/cpuinfo", "re");

	while (file && (!vendor[0] || !family) && fgets(line, sizeof(line), file)) {
		sscanf(line, "vendor_id : %31s", vendor);
		sscanf(line, "cpu family : %u", &family);
	}
	if (file)
		fclose(file);
	return !strcmp(vendor, "AuthenticAMD") && family >= 0x17;
}

bool reach_why_not(const char *device, const char *peer, size_t size, struct error *e)
{
	const char *a = strrchr(device, '/') + 1, *b = strrchr(peer, '/') + 1;
	uint64_t bar = largest_bar(peer), visible = 0, total = 0;
	enum reach way;
	char where[64], ids[40];

	if (reach_is_asleep(peer)) {
		error_set(e, 0, "%s is asleep: wake it (echo on >/sys/bus/pci/devices/%s/power/control)", b, b);
		return true;
	}
	if (is_hidden(peer, &visible, &total) ? size > visible : bar && size > bar) {
		error_set(e, 0, "%zu MiB are more than the %llu MiB of the largest BAR of %s: enable a resizable BAR in the firmware, or use less", size >> 20,
			  (unsigned long long)(total ? visible : bar) >> 20, b);
		return true;
	}
	way = reach_way(device, peer, where, sizeof(where));
	if (way == REACH_SELF) {
		error_set(e, 0, "%s is the disk itself: name another device", b);
		return true;
	}
	if (way == REACH_SWITCH || way == REACH_UNKNOWN || any_bridge_will_do())
		return false;
	host_bridge(device, ids, sizeof(ids));
	if (way == REACH_ACS)
		error_set(e, 0, "%s and %s are below one bridge, but %s sends requests up (ACS) to the host bridge, and that (%s) has to be on the kernel's list for peer-to-peer: boot with pci=disable_acs_redir=%s",
			  a, b, where, ids, where);
	else
		error_set(e, 0, "%s and %s %s, and that (%s) has to be on the kernel's list for peer-to-peer: put both below one PCIe switch", a, b,
			  way == REACH_HOST ? "meet at the host bridge" : "are below different host bridges", ids);
	return true;
}
