// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "told.h"

#define TRIES		100
#define PAUSE_US	1000
#define DEVICES		32

/* The devices of each file, by the first file that has them. */
struct devices {
	unsigned int nr;
	struct { char name[32]; unsigned int file; } v[DEVICES];
};

/* The text after " @name=" in @line. */
static bool word(const char *line, const char *name, char *text, size_t size)
{
	size_t len = strlen(name);
	const char *at = line;

	for (; (at = strstr(at, name)); at += len) {
		if (at == line || at[-1] != ' ' || at[len] != '=')
			continue;
		snprintf(text, size, "%.*s", (int)strcspn(at + len + 1, " \n"), at + len + 1);
		return true;
	}
	return false;
}

static uint64_t number(const char *line, const char *name)
{
	char text[32];

	return word(line, name, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

/* Keep what all have in common. */
static void merge(const char *line, const char *name, char *text, size_t size)
{
	char new[16];

	if (!word(line, name, new, sizeof(new)))
		return;
	snprintf(text, size, "%s", !text[0] || !strcmp(text, new) ? new : "mixed");
}

/* Whether @device is behind no file before @file. */
static bool first_of(struct devices *devices, const char *device, unsigned int file)
{
	unsigned int i;

	for (i = 0; i < devices->nr; i++)
		if (!strcmp(devices->v[i].name, device))
			return devices->v[i].file == file;
	if (i < DEVICES) {
		snprintf(devices->v[i].name, sizeof(devices->v[i].name), "%s", device);
		devices->v[i].file = file;
		devices->nr++;
	}
	return true;
}

static void read_device(const char *line, struct devices *devices, unsigned int file, struct told *t)
{
	uint64_t maps = number(line, "maps"), chunk = number(line, "chunk");
	char device[32] = "";

	if (!maps)	/* refused, or not mapped yet */
		return;
	word(line, "device", device, sizeof(device));
	merge(line, "memory", t->memory, sizeof(t->memory));
	merge(line, "addresses", t->addresses, sizeof(t->addresses));
	if (!t->peer[0])
		word(line, "peer", t->peer, sizeof(t->peer));
	if (!t->chunk || chunk < t->chunk)
		t->chunk = chunk;
	if (first_of(devices, device, file))
		t->rebuilt += maps - 1;
	t->nr++;
}

bool told_read(FILE *fdinfo, unsigned int per_file, struct told *t)
{
	struct devices devices = { 0 };
	bool buffers = false, dmabuf = false;
	unsigned int slot = 0;
	char *line = NULL;
	size_t size = 0;

	memset(t, 0, sizeof(*t));
	while (getline(&line, &size, fdinfo) > 0) {
		if (!strncmp(line, "UserBufs:", 9)) {
			buffers = true;
		} else if (!buffers) {
			continue;
		} else if (line[0] != ' ') {	/* what comes next */
			break;
		} else if (dmabuf && !strncmp(line, "       device=", 14)) {
			read_device(line, &devices, slot / per_file, t);
		} else {
			dmabuf = sscanf(line, " %u: ", &slot) == 1 && strstr(line, " dmabuf ");
		}
	}
	free(line);
	return buffers;
}

void told_ask(int ring, unsigned int per_file, struct told *t)
{
	unsigned int i;
	bool done = false;
	char path[64];
	FILE *file;

	memset(t, 0, sizeof(*t));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ring);
	for (i = 0; i < TRIES && !done; i++) {
		if (i)
			usleep(PAUSE_US);
		file = fopen(path, "re");
		if (!file)
			return;
		done = told_read(file, per_file, t);
		fclose(file);
	}
}
