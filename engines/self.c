// SPDX-License-Identifier: GPL-2.0-or-later
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "self.h"

/* The first bytes of a build id, if @note is one. */
static bool print_build(const ElfW(Nhdr) *note, char *text, size_t size)
{
	const unsigned char *id = (const unsigned char *)(note + 1) + ((note->n_namesz + 3) & ~3u);
	size_t i;

	if (note->n_type != NT_GNU_BUILD_ID || note->n_namesz != 4 || memcmp(note + 1, "GNU", 4))
		return false;
	for (i = 0; i < note->n_descsz && 2 * i + 2 < size; i++)
		sprintf(text + 2 * i, "%02x", id[i]);
	return true;
}

struct search {
	struct self *found;
	uintptr_t base;
};

static int look(struct dl_phdr_info *info, size_t size, void *data)
{
	struct search *search = data;
	struct self *s = search->found;

	if (info->dlpi_addr != search->base)
		return 0;
	for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t at = info->dlpi_addr + p->p_vaddr, end = at + p->p_memsz;

		while (p->p_type == PT_NOTE && at + sizeof(ElfW(Nhdr)) <= end) {
			const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)at;

			if (print_build(note, s->build, sizeof(s->build)))
				return 1;
			at += sizeof(*note) + ((note->n_namesz + 3) & ~3u) + ((note->n_descsz + 3) & ~3u);
		}
	}
	return 1;
}

void self_find(struct self *s)
{
	struct search search = { .found = s };
	Dl_info ours;

	*s = (struct self){ .path = "unknown", .build = "unknown" };
	/* not from the callback: the loader's locks are held there, in another order than in dlopen() */
	if (!dladdr((void *)(uintptr_t)self_find, &ours))
		return;
	s->path = ours.dli_fname;
	search.base = (uintptr_t)ours.dli_fbase;
	dl_iterate_phdr(look, &search);
}

bool self_is_another(const struct self *s, const char *path)
{
	struct stat named, loaded;

	return !stat(path, &named) && !stat(s->path, &loaded) &&
	       (named.st_dev != loaded.st_dev || named.st_ino != loaded.st_ino);
}
