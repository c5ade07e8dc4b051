// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Large numbers: a dma-buf of more than 4 GiB, requests as long as Linux takes, and
 * commands; and what the controller is told of memory when that is changed.
 */
#include "device.h"
#include "trace.h"

#include <linux/udmabuf.h>

#define GIB	(1ULL << 30)
#define ITEM	(60 * T_MIB)	/* of which neither 2 GiB nor 4 GiB is a multiple */
#define ITEMS	70U
#define BIG	(ITEMS * ITEM)

static struct t_disk disk;
static struct t_ring ring;
static int fd;

/* The same 60 MiB of memory over and over: byte n of the dma-buf is byte n % ITEM of *map. */
static int big_buf(unsigned char **map)
{
	int memfd = memfd_create("dmabuf-test", MFD_ALLOW_SEALING), dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), dmabuf;
	struct udmabuf_create_list *list = calloc(1, sizeof(*list) + ITEMS * sizeof(list->list[0]));
	unsigned int i;

	if (memfd < 0 || dev < 0 || ftruncate(memfd, ITEM) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		t_die("a memfd, /dev/udmabuf: %m");
	put("8192", "/sys/module/udmabuf/parameters/size_limit_mb");
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	list->count = ITEMS;
	for (i = 0; i < ITEMS; i++)
		list->list[i] = (struct udmabuf_create_item){ .memfd = memfd, .size = ITEM };
	dmabuf = ioctl(dev, UDMABUF_CREATE_LIST, list);
	*map = mmap(NULL, ITEM, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (dmabuf < 0 || *map == MAP_FAILED)
		t_die("a udmabuf of %lu bytes: %m", BIG);
	free(list);
	close(memfd);
	close(dev);
	return dmabuf;
}

/* Requests that end at @place, cross it, and start there. */
static enum t_result around(unsigned char *map, uint64_t place)
{
	static const size_t lengths[] = { 512, 8192, 65536, T_MIB + 4096 };
	static const long offsets[] = { -T_MIB - 8192, -65536, -8192, -512, 0, 4096 };
	unsigned int i, j;

	for (i = 0; i < T_COUNT(lengths); i++) {
		for (j = 0; j < T_COUNT(offsets); j++) {
			struct t_io io = { .fd = fd, .addr = place + offsets[j], .len = lengths[i], .pos = j * 8192 };
			unsigned char *at = map + io.addr % ITEM;
			bool ok;

			memset(at - 4096, 0xa5, io.len + 8192);
			T_IS(t_rw(&ring, &io), io.len, "read");
			ok = t_same("read", at, disk.image + io.pos, io.len) && at[-1] == 0xa5 && at[io.len] == 0xa5;
			memset(at, i * 16 + j + 1, io.len);
			io.write = true;
			T_IS(t_rw(&ring, &io), io.len, "write");
			ok = ok && t_same("written", t_disk_read(&disk, io.pos, io.len), at, io.len);
			t_disk_restore(&disk, io.pos, io.len);
			T_CHECK(ok, "%zu bytes at %llu", lengths[i], (unsigned long long)io.addr);
		}
	}
	return T_PASS;
}

static enum t_result big(void)
{
	struct t_io io = { .fd = fd, .len = 65536 };
	off_t end = lseek(disk.fd, 0, SEEK_END);
	unsigned char *map;
	int dmabuf = big_buf(&map);

	T_IS(t_register(&ring, 0, dmabuf, fd, 0), 1, "register");
	T_TRY(around(map, 2 * GIB));
	T_TRY(around(map, 4 * GIB));
	T_TRY(around(map, BIG - 2 * T_MIB));
	io.addr = BIG - 512;
	T_IS(t_rw(&ring, &io), -EFAULT, "past the end");
	io.addr = 0;
	for (io.len = 0x7ffff001; io.len; io.len = io.len == 0x7ffff001 ? 1U << 31 : io.len == 1U << 31 ? ~0U : 0)
		T_IS(t_rw(&ring, &io), -EFAULT, "more than MAX_RW_COUNT");
	/* short at the end of the disk, or it would be the whole of it */
	io = (struct t_io){ .fd = fd, .addr = GIB, .len = 0x7ffff000, .pos = end - 65536 };
	memset(map + io.addr % ITEM, 0xa5, 65536 + 4096);
	T_IS(t_rw(&ring, &io), 65536, "MAX_RW_COUNT");
	T_CHECK(t_same("read", map + io.addr % ITEM, t_disk_read(&disk, io.pos, 65536), 65536) &&
		map[io.addr % ITEM + 65536] == 0xa5, "wrong data");
	T_IS(t_clear(&ring, 0), 1, "unregister");
	munmap(map, ITEM);
	close(dmabuf);
	return T_PASS;
}

#define COMMAND		"nvme/nvme_setup_cmd"
#define LONGEST		8192		/* KiB, of a command */
#define WIDE		"slow"		/* serial number of the disk that takes commands of any length */

/* No disk says more, whatever its controller does. */
static enum t_result limited(void)
{
	unsigned int i, disks = 0;

	for (i = 0; i < 16; i++) {
		const char *text = get("/sys/class/block/nvme%un1/queue/max_hw_dmabuf_sectors_kb", i);

		if (!*text)
			continue;
		disks++;
		T_CHECK(atoi(text) > 0 && atoi(text) <= LONGEST, "nvme%un1 takes commands of %s KiB", i, text);
	}
	T_CHECK(disks, "no disk says how long a command may be");
	return T_PASS;
}

static enum t_result longest_command(void)
{
	const unsigned int parts = 3;
	char path[64], filter[64];
	struct t_io io = { .len = parts * LONGEST * 1024 };
	unsigned int i;
	struct t_buf buf;
	long commands;

	if (!find_disk(WIDE, path))
		return t_skip("no controller that takes commands of any length: `make test` boots one with serial number " WIDE);
	T_IS(atoi(get("/sys/class/block/%s/queue/max_hw_dmabuf_sectors_kb", disk_name(path))), LONGEST, "KiB");
	T_TRY(t_buf_init(&buf, T_HEAP, io.len));
	io.fd = t_open(path, O_RDWR | O_DIRECT);
	T_IS(t_register(&ring, 0, buf.fd, io.fd, 0), 1, "register");
	snprintf(filter, sizeof(filter), "disk == \"%s\"", disk_name(path));
	for (i = 0; i < 2; i++) {
		/* this disk is of nothing but zeros */
		T_TRY(trace_begin(COMMAND, filter));
		T_IS(t_rw(&ring, &io), io.len, "read");
		commands = trace_end(COMMAND);
		T_IS(commands, parts, "commands");
		t_buf_begin(&buf);
		T_CHECK(!buf.map[0] && !memcmp(buf.map, buf.map + 1, io.len - 1), "wrong data");
		memset(buf.map, 0xa5, io.len);
		t_buf_end(&buf);
	}
	T_IS(t_clear(&ring, 0), 1, "unregister");
	close(io.fd);
	t_buf_exit(&buf);
	return T_PASS;
}

#define THRESHOLD	"/sys/module/nvme/parameters/sgl_threshold"

static const char *const thresholds[] = { "0", "1", "32768" };

static int set_threshold(unsigned int round)
{
	return put(thresholds[round % T_COUNT(thresholds)], THRESHOLD);
}

/* A mapping that was made with one threshold is used with all of them. */
static enum t_result threshold_changes(size_t segment)
{
	struct load load = { .disk = &disk, .fd = fd };
	struct event changes = { .happen = set_threshold, .rounds = 12 };
	char before[32];
	unsigned int i, j;
	struct t_buf buf;

	snprintf(before, sizeof(before), "%s", get(THRESHOLD));
	if (!*before)
		return t_skip(THRESHOLD ": %m");
	T_TRY(need_exporter());
	for (i = 0; i < T_COUNT(thresholds); i++) {
		T_IS(set_threshold(i), 0, "threshold");
		t_buf_adopt(&buf, export_buf(SIZE, segment, DMA_BUF_IO_TEST_MOVES), SIZE);
		load.buf = &buf;
		t_ring_init(&load.ring, T_PLAIN, DEPTH, 1);
		T_IS(t_register(&load.ring, 0, buf.fd, fd, 0), 1, "register");
		changes.done = false;
		T_TRY(load_during(&load, &changes, NULL));
		/* as long as the buffer, at each threshold */
		for (j = 0; j < T_COUNT(thresholds); j++) {
			struct t_io io = { .fd = fd, .len = SIZE, .pos = j * SIZE };

			T_IS(set_threshold(j), 0, "threshold");
			memset(buf.map, 0xa5, SIZE);
			T_IS(t_rw(&load.ring, &io), SIZE, "read");
			T_CHECK(t_same("read", buf.map, disk.image + io.pos, SIZE), "wrong data");
		}
		T_IS(ask(&buf, DMA_BUF_IO_TEST_TOTAL), 1, "mappings made");
		T_IS(t_clear(&load.ring, 0), 1, "unregister");
		t_ring_exit(&load.ring);
		T_TRY(await_live(&buf, 0));
		T_IS(ask(&buf, DMA_BUF_IO_TEST_SCRIBBLED), 0, "bytes written too late");
		t_buf_exit(&buf);
		t_disk_restore(&disk, 0, T_DISK_SIZE);
	}
	T_IS(put(before, THRESHOLD), 0, "threshold");
	return T_PASS;
}

int main(int argc, char **argv)
{
	t_start(argc > 1 ? argv[1] : NULL, NULL, true, 5);
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	t_ring_init(&ring, T_PLAIN, 4, 1);
	t_report(big(), "a dma-buf of %lu MiB", BIG / T_MIB);
	t_report(limited(), "no command is longer than %u KiB", LONGEST);
	t_report(longest_command(), "a controller that takes any length gets %u KiB", LONGEST);
	t_report(threshold_changes(T_PAGE), "sgl_threshold changes under I/O");
	t_report(threshold_changes(SIZE), "sgl_threshold changes under I/O, one segment");
	t_ring_exit(&ring);
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
