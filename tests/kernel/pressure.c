// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory is short, and reclaim takes away the very dma-buf that is in use: for
 * the limit of a small memcg, which those who do the I/O are in themselves.
 */
#include "memcg.h"

static struct t_disk disk;
static int fd, cached;		/* the disk, and the same through the page cache */

/* The number after @key in a file of lines of a key and a number; -1: none. */
static long number(const char *path, const char *key)
{
	FILE *file = fopen(path, "r");
	char line[128], name[64];
	long value = -1, n;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63[^: ]%*[: ]%ld", name, &n) == 2 && !strcmp(name, key))
			value = n;
	if (file)
		fclose(file);
	return value;
}

/* Fills the page cache, which is what reclaim finds beside the dma-buf. */
static int fill_cache(unsigned int round)
{
	static __thread char chunk[64 * 1024];
	static atomic_long next = T_DISK_SIZE;
	const size_t len = MEMCG_LIMIT / 2;
	off_t pos = atomic_fetch_add(&next, len);
	unsigned int i;

	(void)round;
	for (i = 0; i < len / sizeof(chunk); i++, pos += sizeof(chunk)) {
		ssize_t got = pread(cached, chunk, sizeof(chunk), pos);

		if (got < 0)
			return -errno;
		if (got < (ssize_t)sizeof(chunk))
			next = T_DISK_SIZE;
	}
	return 0;
}

static enum t_result evicted(unsigned int mode)
{
	struct load load = { .disk = &disk, .fd = fd, .mode = mode };
	struct event event = { .happen = fill_cache, .rounds = 8 };
	struct t_buf buf;

	T_TRY(watched_init_flags(&buf, DMA_BUF_IO_TEST_SHRINKS));
	load.buf = &buf;
	t_ring_init(&load.ring, mode, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, fd, 0), 1, "register");
	T_TRY(load_during(&load, &event, NULL));
	t_diag("%u batches, %llu mappings, limit met %ld times", load.rounds,
	       (unsigned long long)ask(&buf, DMA_BUF_IO_TEST_TOTAL), number(MEMCG "/memory.events", "max"));
	T_CHECK(ask(&buf, DMA_BUF_IO_TEST_TOTAL) > 4, "reclaim did not take the mapping");
	T_IS(number(MEMCG "/memory.events", "oom"), 0, "times out of memory");
	T_IS(t_clear(&load.ring, 0), 1, "unregister");
	t_ring_exit(&load.ring);
	return watched_exit(&buf);
}

int main(int argc, char **argv)
{
	enum t_mode mode;

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, T_MODES);
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	cached = t_open(t_dev, O_RDONLY);
	for (mode = 0; mode < T_MODES; mode++)
		t_report(t_need(mode) ?: in_memcg(evicted, mode), "I/O in a small memcg that evicts the dma-buf, %s", t_mode_names[mode]);
	close(cached);
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
