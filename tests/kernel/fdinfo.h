/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel tells of a slot with a dma-buf, in the fdinfo of its ring. */
#ifndef FDINFO_H
#define FDINFO_H

#include "sys.h"

struct about_device {
	char device[32], memory[16], addresses[16], peer[32];
	long mapped, maps, invalidations, segments, largest, chunk, lists, driver_bytes;
};

struct about {
	char exporter[32], file[64];
	long inode, lost, size;
	unsigned int nr;
	struct about_device v[4];
};

/* The text after " name=" in a line, up to a blank; false if there is none. */
static inline bool about_word(const char *line, const char *name, char *text, size_t size)
{
	const char *end = line + strcspn(line, "\n"), *at = line;
	size_t len = strlen(name), n;

	while ((at = strstr(at, name)) && at < end) {
		if (at > line && at[-1] == ' ' && at[len] == '=') {
			at += len + 1;
			n = strcspn(at, " \n");
			snprintf(text, size, "%.*s", (int)n, at);
			return true;
		}
		at += len;
	}
	text[0] = 0;
	return false;
}

/* -1 if there is none. */
static inline long about_number(const char *line, const char *name)
{
	char text[32];

	return about_word(line, name, text, sizeof(text)) ? atol(text) : -1;
}

static inline void about_device(const char *line, struct about_device *d)
{
	about_word(line, "device", d->device, sizeof(d->device));
	about_word(line, "memory", d->memory, sizeof(d->memory));
	about_word(line, "addresses", d->addresses, sizeof(d->addresses));
	about_word(line, "peer", d->peer, sizeof(d->peer));
	d->mapped = about_number(line, "mapped");
	d->maps = about_number(line, "maps");
	d->invalidations = about_number(line, "invalidations");
	d->segments = about_number(line, "segments");
	d->largest = about_number(line, "largest");
	d->chunk = about_number(line, "chunk");
	d->lists = about_number(line, "lists");
	d->driver_bytes = about_number(line, "driver_bytes");
}

/* All of fdinfo; the ring may be busy, which is over soon. The caller frees it. */
static inline char *about_ring(const struct t_ring *ring)
{
	double end = now() + 10;
	char path[64], *text = malloc(1 << 20);
	size_t len;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ring->uring.ring_fd);
	while (text && now() < end) {
		file = fopen(path, "r");
		if (!file)
			break;
		len = fread(text, 1, (1 << 20) - 1, file);
		fclose(file);
		text[len] = 0;
		if (strstr(text, "\nPollList:"))
			return text;
	}
	t_die("%s says nothing of buffers", path);
}

/* The line of a slot, in what about_ring() gave. */
static inline const char *about_line(const char *text, unsigned int slot)
{
	const char *line = strstr(text, "\nUserBufs:");
	char start[32];

	snprintf(start, sizeof(start), "\n%5u: ", slot);
	return line ? strstr(line + 1, start) : NULL;
}

/* False if there is no dma-buf in the slot. */
static inline bool about_slot(const struct t_ring *ring, unsigned int slot, struct about *a)
{
	char *text = about_ring(ring);
	const char *line = about_line(text, slot);
	bool is = false;

	*a = (struct about){ .size = -1 };
	if (line && sscanf(line, " %*u: 0x0/%ld dmabuf", &a->size) == 1 && strstr(line, " dmabuf ") < strchr(line + 1, '\n')) {
		is = true;
		line++;
		about_word(line, "exporter", a->exporter, sizeof(a->exporter));
		about_word(line, "file", a->file, sizeof(a->file));
		a->inode = about_number(line, "inode");
		a->lost = about_number(line, "lost");
		while (a->nr < T_COUNT(a->v) && (line = strchr(line, '\n')) && !strncmp(line + 1, "       device=", 14))
			about_device(++line, &a->v[a->nr++]);
	}
	free(text);
	return is;
}

/* What an ordinary mapping for a disk's controller consists of: "iova" or "physical". */
static inline const char *about_addresses(const char *dev)
{
	const char *type = get("/sys/class/block/%s/device/device/iommu_group/type", strrchr(dev, '/') + 1);

	return !strncmp(type, "DMA", 3) ? "iova" : "physical";
}

#endif
