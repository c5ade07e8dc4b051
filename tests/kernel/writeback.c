// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a request waits for before its data goes anywhere, with an exporter that
 * will not wait for it: writeback of the page cache, folios that others hold. And
 * what it does not wait for: pages that are in use for good.
 */
#include "memcg.h"

#include <sys/mount.h>

#define ROUNDS	12
#define READERS	4
#define READING	10		/* seconds */

static struct t_disk disk;
static int fd, cached;		/* the disk, and the same through the page cache */

/*
 * Dirty pages, of which the request itself does the writeback, have no buffer
 * heads. Those are allocated with GFP_NOFS, for which the memcg has no room.
 */
static enum t_result own_writeback(unsigned int write)
{
	struct t_io io = { .fd = fd, .write = write, .len = SIZE };
	struct t_ring ring;
	struct t_buf buf;
	unsigned int round;

	T_TRY(watched_init_flags(&buf, DMA_BUF_IO_TEST_SHRINKS));
	t_ring_init(&ring, T_ASYNC, 8, 1);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	for (round = 0; round < ROUNDS; round++) {
		const unsigned char *other = disk.image + T_DISK_SIZE - SIZE - round * SIZE;
		unsigned char *map;
		bool ok;

		io.pos = round * SIZE;
		T_TRY(read_cached(cached, T_DISK_SIZE + round * 8 * T_MIB, 8 * T_MIB));
		T_TRY(read_cached(cached, io.pos, SIZE));
		map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, cached, io.pos);
		T_CHECK(map != MAP_FAILED, "mmap: %m");
		memcpy(map, other, SIZE);
		if (write)
			memcpy(buf.map, other + SIZE / 2 - T_DISK_SIZE / 2, SIZE);
		T_IS(t_rw(&ring, &io), SIZE, write ? "write" : "read");
		if (write)
			ok = t_same("written", t_disk_read(&disk, io.pos, SIZE), buf.map, SIZE);
		else
			ok = t_same("read", buf.map, other, SIZE);
		munmap(map, SIZE);
		T_CHECK(ok, "wrong data in round %u", round);
	}
	t_diag("%d requests, %llu mappings", ROUNDS, (unsigned long long)ask(&buf, DMA_BUF_IO_TEST_TOTAL));
	T_CHECK(ask(&buf, DMA_BUF_IO_TEST_TOTAL) > ROUNDS / 2, "reclaim did not take the mapping");
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

struct reader {
	unsigned int number;
	atomic_bool *stop;
	enum t_result result;
	pthread_t thread;
};

/* Some read what is written, each starting elsewhere, the first what leaves the memcg no room for it. */
static void *read_on(void *arg)
{
	struct reader *reader = arg;
	unsigned int i;

	for (i = reader->number; !*reader->stop && reader->result == T_PASS; i++)
		reader->result = read_cached(cached, reader->number ? SCRATCH + i % 4 * SIZE / 4 : T_DISK_SIZE + i % 256 * SIZE / 4,
					     SIZE / 4);
	return NULL;
}

/* A write waits for folios that their readers have locked, who reclaim and evict the dma-buf. */
static enum t_result beside_readers(unsigned int unused)
{
	struct t_io io = { .fd = fd, .write = true, .len = SIZE, .pos = SCRATCH };
	struct reader readers[READERS];
	atomic_bool stop = false;
	double end = now() + READING;
	struct t_ring ring;
	struct t_buf buf;
	unsigned int round, i;

	(void)unused;
	T_TRY(watched_init_flags(&buf, DMA_BUF_IO_TEST_SHRINKS));
	t_ring_init(&ring, T_ASYNC, 8, 1);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	for (i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .number = i, .stop = &stop };
		if (pthread_create(&readers[i].thread, NULL, read_on, &readers[i]))
			t_die("no thread");
	}
	for (round = 0; now() < end; round++) {
		memcpy(buf.map, disk.image + round % 16 * SIZE, SIZE);
		T_IS(t_rw(&ring, &io), SIZE, "write");
		T_CHECK(t_same("written", t_disk_read(&disk, io.pos, SIZE), buf.map, SIZE), "wrong data in round %u", round);
	}
	stop = true;
	for (i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		T_IS(readers[i].result, T_PASS, "reader");
	}
	t_diag("%u requests, %llu mappings", round, (unsigned long long)ask(&buf, DMA_BUF_IO_TEST_TOTAL));
	T_CHECK(ask(&buf, DMA_BUF_IO_TEST_TOTAL) > 4, "reclaim did not take the mapping");
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	return watched_exit(&buf);
}

#define MOUNTED	"/tmp/mounted"

/* With a file system on it: the buffer of the superblock is in use for as long as it is mounted. */
static enum t_result over_superblock(enum t_mode mode)
{
	const int target = t_open(t_dev2, O_RDWR | O_DIRECT);
	struct t_io io = { .fd = target, .len = T_PAGE };
	unsigned char was[T_PAGE] __attribute__((aligned(4096)));
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(t_need(mode));
	T_TRY(watched_init(&buf));
	t_ring_init(&ring, mode, 8, 1);
	T_IS(t_register(&ring, 0, buf.fd, target, 0), 1, "register");
	T_IS(pread(target, was, sizeof(was), 0), sizeof(was), "plain read");
	T_IS(t_rw(&ring, &io), T_PAGE, "read of the superblock");
	T_CHECK(t_same("read", buf.map, was, sizeof(was)), "wrong data");
	io.write = true;
	T_IS(t_rw(&ring, &io), -EBUSY, "write over the superblock");
	/* among data, of which nobody has any page, the same file takes a write */
	io.pos = 204 * T_MIB;
	T_IS(t_rw(&ring, &io), T_PAGE, "write beside it");
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	close(target);
	return watched_exit(&buf);
}

static enum t_result in_use(enum t_mode mode)
{
	char command[64];
	enum t_result result;

	if (!t_dev2)
		return t_skip("no second disk for a file system: name one in DEV2=");
	snprintf(command, sizeof(command), "mke2fs -F %s >/dev/null 2>&1", t_dev2);
	if (system(command))
		return t_skip("mke2fs does not run here");
	mkdir(MOUNTED, 0700);
	if (mount(t_dev2, MOUNTED, "ext4", 0, NULL))
		return t_skip("mounting ext4: %m (CONFIG_EXT4_FS)");
	result = over_superblock(mode);
	T_IS(umount(MOUNTED), 0, "unmount");
	return result;
}

int main(int argc, char **argv)
{
	enum t_mode mode;

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, 3 + T_MODES);
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	cached = t_open(t_dev, O_RDWR);
	t_report(in_memcg(own_writeback, false), "a read writes dirty pages back, for which the dma-buf is evicted");
	t_report(in_memcg(own_writeback, true), "a write writes dirty pages back, for which the dma-buf is evicted");
	t_report(in_memcg(beside_readers, 0), "writes beside buffered readers that evict the dma-buf");
	for (mode = 0; mode < T_MODES; mode++)
		t_report(in_use(mode), "a write over a page of the page cache that is in use, %s", t_mode_names[mode]);
	t_disk_restore(&disk, 0, T_DISK_SIZE);
	close(cached);
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
