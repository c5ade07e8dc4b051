// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dma-bufs registered for files of XFS, on its data and its realtime device, and of
 * ext4. What a request has done is seen by plain O_DIRECT and through the page cache.
 * FS= names one of them: xfs, "xfs, realtime", ext4.
 */
#include "files.h"

#include <linux/fscrypt.h>
#include <linux/fsverity.h>
#include <linux/dqblk_xfs.h>
#include <sys/quota.h>
#include <sys/swap.h>

#define SIZE_BUF	(4 * T_MIB)
#define BLOCK		T_PAGE		/* of the file systems */

static const struct file_system *fs;
static struct t_ring ring;		/* with buf in slot 0, for the file that was registered last */
static struct t_buf buf;
static unsigned char *direct, *cached, *want, *zeros;
static unsigned int seed;

static int use(const struct file *file)
{
	return t_register(&ring, 0, buf.fd, file->fd, 0);
}

static struct t_io io_at(const struct file *file, bool write, size_t off, size_t len, uint64_t pos)
{
	return (struct t_io){ .fd = file->fd, .write = write, .addr = off, .len = len, .pos = pos };
}

static int rw_flags(const struct file *file, bool write, size_t off, size_t len, uint64_t pos, int flags)
{
	struct t_io io = io_at(file, write, off, len, pos);

	t_queue(&ring, &io, 0)->rw_flags = flags;
	t_submit(&ring);
	return t_reap(&ring, NULL);
}

static int rw(const struct file *file, bool write, size_t off, size_t len, uint64_t pos)
{
	return rw_flags(file, write, off, len, pos, 0);
}

static void poison(void)
{
	t_buf_begin(&buf);
	memcpy(buf.map, buf.poison, buf.size);
	t_buf_end(&buf);
}

/* Both views of the file. */
static enum t_result holds(const struct file *file, uint64_t pos, const void *bytes, size_t len)
{
	const size_t start = pos / BLOCK * BLOCK, end = (pos + len + BLOCK - 1) / BLOCK * BLOCK;

	T_CHECK(pread(file->fd, direct, end - start, start) >= (ssize_t)(pos + len - start), "plain read of %s: %m", file->path);
	T_CHECK(t_same("plain O_DIRECT", direct + pos - start, bytes, len), "%s at %llu", file->path, (unsigned long long)pos);
	T_CHECK(pread(file->cached, cached, len, pos) == (ssize_t)len, "buffered read of %s: %m", file->path);
	T_CHECK(t_same("the page cache", cached, bytes, len), "%s at %llu", file->path, (unsigned long long)pos);
	return T_PASS;
}

/* Reads through the dma-buf: the bytes, and no others. */
static enum t_result reads(const struct file *file, size_t off, size_t len, uint64_t pos, const void *bytes, size_t got)
{
	const size_t past = (got + 511) / 512 * 512;	/* a disk reads whole blocks */
	bool ok;

	T_IS(rw(file, false, off, len, pos), got, "read");
	t_buf_begin(&buf);
	ok = t_same("read", buf.map + off, bytes, got) && t_buf_intact(&buf, off - T_NEAR, off) &&
	     t_buf_intact(&buf, off + past, off + past + T_NEAR);
	memcpy(buf.map + off, buf.poison + off, past);
	t_buf_end(&buf);
	T_CHECK(ok, "%zu bytes at %llu of %s, into %zu", len, (unsigned long long)pos, file->path, off);
	return T_PASS;
}

/* Writes through the dma-buf, with which new content is anybody's guess. */
static enum t_result writes_flags(const struct file *file, size_t off, size_t len, uint64_t pos, int flags)
{
	bool ok;

	pattern(want, len, pos, ++seed);
	t_buf_begin(&buf);
	memcpy(buf.map + off, want, len);
	t_buf_end(&buf);
	T_IS(rw_flags(file, true, off, len, pos, flags), len, "write");
	t_buf_begin(&buf);
	ok = t_same("the buffer after a write", buf.map + off, want, len);
	memcpy(buf.map + off, buf.poison + off, len);
	t_buf_end(&buf);
	T_CHECK(ok, "%zu bytes at %llu of %s, from %zu", len, (unsigned long long)pos, file->path, off);
	return holds(file, pos, want, len);
}

static enum t_result writes(const struct file *file, size_t off, size_t len, uint64_t pos)
{
	return writes_flags(file, off, len, pos, 0);
}

/* A file of @len bytes that holds pattern 0, written without our help. */
static enum t_result filled(struct file *file, const char *name, size_t len)
{
	size_t pos, n;

	file_open(file, name, O_TRUNC);
	for (pos = 0; pos < len; pos += n) {
		n = len - pos < SIZE_BUF ? len - pos : SIZE_BUF;
		pattern(want, n, pos, 0);
		T_CHECK(pwrite(file->cached, want, n, pos) == (ssize_t)n, "writing %s: %m", file->path);
	}
	T_CHECK(!fsync(file->cached), "fsync: %m");
	return T_PASS;
}

/* Every way to submit; preallocated and written blocks. */
static enum t_result data(enum t_mode mode)
{
	static const size_t sizes[] = { 512, 4096, 12288, 33 * 4096 + 512, 2 * T_MIB + 4096 };
	static const size_t places[] = { 0, 512, 65536 + 1024, T_MIB };
	struct t_ring other = ring;
	struct file file;
	size_t s, p;

	T_TRY(t_need(mode));
	T_TRY(filled(&file, "data", 8 * T_MIB));
	t_ring_init(&ring, mode, 64, 1);
	T_IS(use(&file), 1, "register");
	for (s = 0; s < T_COUNT(sizes); s++) {
		for (p = 0; p < T_COUNT(places); p++) {
			size_t pos = (s * 7 + p * 13) * 41 * 512 % (8 * T_MIB - sizes[s]) / 512 * 512;

			pattern(want, sizes[s], pos, 0);
			T_TRY(reads(&file, places[p], sizes[s], pos, want, sizes[s]));
			T_TRY(writes(&file, places[p], sizes[s], pos));
			/* as it was, and out of the cache or not */
			pattern(want, sizes[s], pos, 0);
			T_CHECK(pwrite(file.cached, want, sizes[s], pos) == (ssize_t)sizes[s], "restoring: %m");
			if (p & 1)
				fsync(file.cached);
		}
	}
	for (p = 0; p < 8 * T_MIB; p += SIZE_BUF) {
		pattern(want, SIZE_BUF, p, 0);
		T_TRY(holds(&file, p, want, SIZE_BUF));
	}
	t_ring_exit(&ring);
	ring = other;
	file_remove(&file);
	return T_PASS;
}

/* Two files whose extents lie between each other's. */
static enum t_result fragments(void)
{
	struct file files[2];
	size_t pos, i;

	for (i = 0; i < 2; i++)
		file_open(&files[i], i ? "odd" : "even", O_TRUNC);
	for (pos = 0; pos < 2 * T_MIB; pos += 4 * BLOCK) {
		for (i = 0; i < 2; i++) {
			pattern(want, 4 * BLOCK, pos, i);
			memcpy(direct, want, 4 * BLOCK);
			T_CHECK(pwrite(files[i].fd, direct, 4 * BLOCK, pos) == 4 * BLOCK, "plain write: %m");
		}
	}
	for (i = 0; i < 2; i++) {
		T_IS(use(&files[i]), 1, "register");
		pattern(want, 2 * T_MIB, 0, i);
		T_TRY(reads(&files[i], 512, 2 * T_MIB, 0, want, 2 * T_MIB));
		T_TRY(writes(&files[i], 4096, 2 * T_MIB, 0));
		T_TRY(writes(&files[i], 1024, T_MIB, 4 * BLOCK - 512));
	}
	/* not into the other one */
	pattern(want, 2 * T_MIB, 0, seed - 3);
	T_TRY(holds(&files[0], 0, want, 4 * BLOCK - 512));
	for (i = 0; i < 2; i++)
		file_remove(&files[i]);
	return T_PASS;
}

/* Data, a hole, unwritten blocks, data, a hole: 64 KiB each. */
#define PART	(64 * 1024UL)

static enum t_result patchy(struct file *file, unsigned char *model)
{
	T_TRY(filled(file, "patchy", 5 * PART));
	T_CHECK(!fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PART, PART) &&
		!fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PART, PART) &&
		!fallocate(file->fd, FALLOC_FL_KEEP_SIZE, 2 * PART, PART) &&
		!fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * PART, PART), "fallocate: %m");
	pattern(model, 5 * PART, 0, 0);
	memset(model + PART, 0, 2 * PART);
	memset(model + 4 * PART, 0, PART);
	return T_PASS;
}

static enum t_result holes(enum t_kind kind)
{
	struct t_ring others = ring;
	struct t_buf other = buf;
	struct file file;
	size_t pos, len;

	T_TRY(t_buf_init(&buf, kind, SIZE_BUF));
	t_ring_init(&ring, T_PLAIN, 64, 1);
	T_TRY(patchy(&file, cached));
	T_IS(use(&file), 1, "register");
	memcpy(want, cached, 5 * PART);
	for (len = 512; len <= 5 * PART; len = len * 5 / 512 * 512)
		for (pos = 0; pos <= 5 * PART - len; pos += PART / 2 + 512)
			T_TRY(reads(&file, 3 * 512, len, pos, want + pos, len));
	T_TRY(reads(&file, 0, 5 * PART, 0, want, 5 * PART));
	/* it would have to wait for the exporter */
	T_IS(rw_flags(&file, false, 0, BLOCK, PART, RWF_NOWAIT), -EAGAIN, "NOWAIT read of a hole");
	T_IS(rw_flags(&file, false, 0, BLOCK, 0, RWF_NOWAIT), BLOCK, "NOWAIT read of data");
	t_ring_exit(&ring);
	ring = others;
	t_buf_exit(&buf);
	buf = other;
	file_remove(&file);
	return T_PASS;
}

/* Ring and buffer of all tests, while one has its own. */
struct common {
	struct t_ring ring;
	struct t_buf buf;
};

static enum t_result watched_begin(struct common *common)
{
	*common = (struct common){ ring, buf };
	T_TRY(watched_init(&buf));
	t_ring_init(&ring, T_PLAIN, 64, 1);
	return T_PASS;
}

static enum t_result watched_end(const struct common *common)
{
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	ring = common->ring;
	T_TRY(watched_exit(&buf));
	buf = common->buf;
	return T_PASS;
}

/* An exporter that has no way for the CPU to get at its memory. */
static enum t_result not_to_be_seen(void)
{
	struct common common;
	struct file file;

	T_TRY(watched_begin(&common));
	T_TRY(patchy(&file, cached));
	memcpy(want, cached, 5 * PART);
	T_IS(use(&file), 1, "register");
	T_IS(rw(&file, false, 0, PART, 0), PART, "data");
	T_CHECK(t_same("read", buf.map, want, PART), "data");
	T_IS(rw(&file, false, 0, PART, PART), -EOPNOTSUPP, "a hole");
	T_IS(rw(&file, false, 0, PART, 2 * PART), -EOPNOTSUPP, "unwritten blocks");
	T_IS(rw(&file, false, 0, 4 * PART, 0), -EOPNOTSUPP, "a hole between data");
	/* what is beyond the end needs no clearing */
	T_CHECK(!ftruncate(file.fd, PART / 2 + 100), "ftruncate: %m");
	memset(buf.map, 1, SIZE);
	T_IS(rw(&file, false, 0, 2 * PART, 0), PART / 2 + 100, "up to the end");
	T_CHECK(t_same("read", buf.map, want, PART / 2 + 100) && buf.map[PART / 2 + 512] == 1, "up to the end");
	T_TRY(watched_end(&common));
	file_remove(&file);
	return T_PASS;
}

static enum t_result at_the_end(void)
{
	static const size_t sizes[] = { 1, 511, 512, 513, 4095, 4096, 5000, 65536 + 700 };
	struct file file;
	size_t i, size;

	for (i = 0; i < T_COUNT(sizes); i++) {
		size = sizes[i];
		T_TRY(filled(&file, "end", size));
		T_IS(use(&file), 1, "register");
		pattern(want, size, 0, 0);
		T_TRY(reads(&file, 512, T_MIB, 0, want, size));
		if (size > 4096)
			T_TRY(reads(&file, 512, 8192, 4096, want + 4096, size - 4096 < 8192 ? size - 4096 : 8192));
		T_TRY(reads(&file, 0, 4096, (size + 511) / 512 * 512, want, 0));
		T_TRY(reads(&file, 0, 4096, T_MIB, want, 0));
		T_IS(rw(&file, false, 0, 700, 0), -EINVAL, "a length that is not of blocks");
		if (size > 100)
			T_IS(rw(&file, false, 0, 512, 100), -EINVAL, "a position that is not of blocks");
		T_IS(rw(&file, false, 1, 512, 0), -EINVAL, "an offset that is not of words");
		file_remove(&file);
	}
	return T_PASS;
}

/* Writes that allocate, convert, and change the file's size. */
static enum t_result growing(void)
{
	struct file file;
	size_t pos;

	file_open(&file, "growing", O_TRUNC);
	T_IS(use(&file), 1, "register");
	T_TRY(writes(&file, 0, 4096, 0));
	T_IS(file_size(&file), 4096, "size after the first write");
	T_TRY(writes(&file, 512, T_MIB, 4096));
	T_IS(file_size(&file), T_MIB + 4096, "size after appending");
	/* part of a block, over the end; and beyond, where what is between must be zero */
	T_TRY(writes(&file, 512, 1024, T_MIB + 4096 - 512));
	T_IS(file_size(&file), T_MIB + 4096 + 512, "size");
	T_TRY(writes(&file, 0, 1536, 2 * T_MIB + 512));
	T_IS(file_size(&file), 2 * T_MIB + 2048, "size after a write beyond the end");
	T_TRY(holds(&file, T_MIB + 4096 + 512, zeros, T_MIB - 4096));
	/* into the hole, and into blocks that are allocated only */
	T_TRY(writes(&file, 0, 8192, 2 * T_MIB - 65536));
	T_CHECK(!fallocate(file.fd, 0, 2 * T_MIB + 65536, 4 * T_MIB), "fallocate: %m");
	T_TRY(writes(&file, 0, 2 * T_MIB, 3 * T_MIB));
	T_TRY(holds(&file, 5 * T_MIB, zeros, 65536));
	for (pos = 2 * T_MIB + 65536 + 512; pos < 2 * T_MIB + 2 * 65536; pos += 3 * 4096 + 512)
		T_TRY(writes(&file, 1024, 512, pos));
	T_TRY(holds(&file, 2 * T_MIB + 65536, zeros, 512));
	T_TRY(holds(&file, pos - 3 * 4096, zeros, 2 * 4096));
	T_CHECK(!fsync(file.fd), "fsync: %m");
	file_remove(&file);
	return T_PASS;
}

static enum t_result appending(void)
{
	struct file file;
	off_t size = 0;
	unsigned int i;

	file_open(&file, "appending", O_TRUNC | O_APPEND);
	T_IS(use(&file), 1, "register");
	for (i = 1; i <= 12; i++) {
		size_t len = i * i % 7 * BLOCK + 512 * (i % 3 + 1);

		pattern(want, len, size, ++seed);
		t_buf_begin(&buf);
		memcpy(buf.map, want, len);
		t_buf_end(&buf);
		T_IS(rw(&file, true, 0, len, 0), len, "append");
		T_IS(file_size(&file), size + len, "size");
		T_TRY(holds(&file, size, want, len));
		size += len;
	}
	poison();
	file_remove(&file);
	return T_PASS;
}

/* Flushes of the disk, as the block layer counts them. */
static unsigned long flushes(void)
{
	unsigned long n = 0;

	sscanf(get("/sys/class/block/%s/stat", disk_name(t_dev)),
	       "%*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %lu", &n);
	return n;
}

static enum t_result synchronous(void)
{
	struct file file, always;
	unsigned long before;

	T_TRY(filled(&file, "sync", T_MIB));
	file_open(&always, "sync", O_DSYNC);
	T_CHECK(strncmp(get("/sys/class/block/%s/queue/write_cache", disk_name(t_dev)), "write back", 10) == 0,
		"the disk has no cache to be flushed");
	T_IS(use(&file), 1, "register");
	sync();
	before = flushes();
	T_TRY(writes_flags(&file, 0, 8192, 4096, RWF_DSYNC));
	T_TRY(writes_flags(&file, 0, 8192, T_MIB, RWF_DSYNC));
	T_CHECK(flushes() > before, "RWF_DSYNC of a write that appends flushed nothing");
	T_TRY(writes_flags(&file, 0, 8192, T_MIB + 8192, RWF_SYNC));
	T_IS(use(&always), 1, "register");
	before = flushes();
	T_TRY(writes(&always, 0, 8192, T_MIB + 16384));
	T_CHECK(flushes() > before, "O_DSYNC flushed nothing");
	file_close(&always);
	file_remove(&file);
	return T_PASS;
}

/* The page cache of the same file. */
static enum t_result coherent(void)
{
	struct file file;
	unsigned char *map;

	T_TRY(filled(&file, "coherent", T_MIB));
	T_IS(use(&file), 1, "register");
	map = mmap(NULL, T_MIB, PROT_READ | PROT_WRITE, MAP_SHARED, file.cached, 0);
	T_CHECK(map != MAP_FAILED, "mmap: %m");
	/* dirty, by both */
	pattern(map + 8192, 65536, 8192, 77);
	pattern(want, 65536, 8192, 77);
	T_TRY(reads(&file, 0, 65536, 8192, want, 65536));
	pattern(want, 65536, 8192, 78);
	T_CHECK(pwrite(file.cached, want, 65536, 8192) == 65536, "write: %m");
	T_TRY(reads(&file, 512, 65536, 8192, want, 65536));
	/* what is mapped is seen to change */
	pattern(map, 4096, 0, 79);
	T_TRY(writes(&file, 0, 65536, 0));
	T_CHECK(t_same("mapped", map, want, 65536), "after a write");
	munmap(map, T_MIB);
	file_remove(&file);
	return T_PASS;
}

static enum t_result never_waits(void)
{
	struct file file;
	int ret;

	T_TRY(filled(&file, "nowait", T_MIB));
	T_IS(use(&file), 1, "register");
	pattern(want, 8192, 4096, 0);
	T_IS(rw_flags(&file, false, 0, 8192, 4096, RWF_NOWAIT), 8192, "read");
	T_CHECK(t_same("read", buf.map, want, 8192), "NOWAIT");
	T_IS(rw(&file, true, 0, 8192, 4096), 8192, "write");
	/* unless the time of the file has to change, for which there may be a wait */
	ret = rw_flags(&file, true, 0, 8192, 4096, RWF_NOWAIT);
	T_CHECK(ret == 8192 || ret == -EAGAIN, "write to what is allocated: %s", t_number(ret));
	T_CHECK(!fallocate(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 65536), "punch: %m");
	T_IS(rw_flags(&file, true, 0, 8192, 65536, RWF_NOWAIT), -EAGAIN, "write to a hole");
	ret = rw_flags(&file, true, 0, 8192, 2 * T_MIB, RWF_NOWAIT);
	T_IS(ret, -EAGAIN, "write beyond the end");
	T_IS(file_size(&file), T_MIB, "size");
	poison();
	file_remove(&file);
	return T_PASS;
}

/* The size and the blocks of a file change under I/O: what is read was written or is zero, a block at a time. */
struct racer {
	struct file *file;
	atomic_bool stop;
	unsigned int rounds;
	pthread_t thread;
};

static void *race(void *arg)
{
	struct racer *racer = arg;
	unsigned int i;

	for (i = 0; !racer->stop; i++) {
		off_t pos = i * 5 % 16 * PART;

		switch (i % 5) {
		case 0:
			fallocate(racer->file->cached, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos, PART);
			break;
		case 1:
			fallocate(racer->file->cached, FALLOC_FL_KEEP_SIZE, pos, PART);
			break;
		case 2:
			ftruncate(racer->file->cached, pos + 512 * (i % 3));
			break;
		case 3:
			fallocate(racer->file->cached, FALLOC_FL_ZERO_RANGE, pos, PART);
			break;
		case 4:
			ftruncate(racer->file->cached, 16 * PART);
			break;
		}
		racer->rounds++;
	}
	return NULL;
}

static enum t_result races(void)
{
	struct racer racer = { 0 };
	unsigned int reads = 0, writes = 0, busy = 0, i, n, block;
	double end = now() + bound(2);
	struct file file;

	T_TRY(filled(&file, "races", 16 * PART));
	T_IS(use(&file), 1, "register");
	racer.file = &file;
	if (pthread_create(&racer.thread, NULL, race, &racer))
		t_die("no thread");
	while (now() < end) {
		/* the upper half of the buffer is written, the lower one read into */
		for (i = 0; i < 16; i++) {
			struct t_io io = io_at(&file, i & 1, i * PART, PART, i / 2 * 2 * PART + i % 3 * 512);

			if (io.write) {
				pattern(want, PART, io.pos, 0);
				memcpy(buf.map + io.addr, want, PART);
			}
			t_queue(&ring, &io, i);
		}
		t_submit(&ring);
		for (n = 0; n < 16; n++) {
			uint64_t which;
			int ret = t_reap(&ring, &which);
			struct t_io io = io_at(&file, which & 1, which * PART, PART, which / 2 * 2 * PART + which % 3 * 512);

			if (io.write) {
				/* pages that are just being cut off */
				busy += ret == -EBUSY;
				T_CHECK(ret == (int)PART || ret == -EBUSY, "write: %s", t_number(ret));
				writes++;
				continue;
			}
			T_CHECK(ret >= 0, "read: %s", t_number(ret));
			pattern(want, PART, io.pos, 0);
			for (block = 0; block + 512 <= (unsigned int)ret; block += 512)
				T_CHECK(!memcmp(buf.map + io.addr + block, want + block, 512) ||
					!memcmp(buf.map + io.addr + block, zeros, 512),
					"neither data nor zeros at %llu", (unsigned long long)io.pos + block);
			reads++;
		}
	}
	racer.stop = true;
	pthread_join(racer.thread, NULL);
	t_diag("%u reads, %u writes, %u of them over pages in use, %u changes", reads, writes, busy, racer.rounds);
	T_CHECK(racer.rounds > 20 && busy < writes / 2, "nothing changed, or nothing was written");
	poison();
	file_remove(&file);
	return T_PASS;
}

static enum t_result shared(void)
{
	struct file file, clone;

	if (strncmp(fs->type, "xfs", 3))
		return t_skip("%s has no shared extents", fs->name);
	T_TRY(filled(&file, "shared", T_MIB));
	file_open(&clone, "clone", O_TRUNC);
	if (ioctl(clone.fd, FICLONE, file.fd)) {
		file_remove(&clone);
		file_remove(&file);
		return t_skip("FICLONE: %m");
	}
	T_IS(use(&file), 1, "register");
	pattern(want, T_MIB, 0, 0);
	T_TRY(reads(&file, 0, T_MIB, 0, want, T_MIB));
	T_TRY(writes(&file, 512, 65536, 4096));
	/* ordinary direct I/O would go through the page cache */
	T_IS(rw(&file, true, 0, 512, 512), -EOPNOTSUPP, "part of a block that may be shared");
	pattern(want, T_MIB, 0, 0);
	T_TRY(holds(&clone, 0, want, T_MIB));
	T_TRY(holds(&file, 65536 + 4096, want + 65536 + 4096, T_MIB - 65536 - 4096));
	T_IS(use(&clone), 1, "register");
	T_TRY(writes(&clone, 0, T_MIB, 0));
	pattern(want, T_MIB, 0, seed - 1);
	pattern(want, 65536, 4096, seed - 1);
	T_TRY(holds(&file, 4096, want, 65536));
	file_remove(&clone);
	file_remove(&file);
	return T_PASS;
}

/* A frozen file system holds up who writes, and no exporter. */
static enum t_result frozen(void)
{
	struct common common;
	struct t_io io;
	struct io_uring_cqe *cqe;
	struct file file;
	double before;

	T_TRY(watched_begin(&common));
	T_TRY(filled(&file, "frozen", T_MIB));
	T_IS(use(&file), 1, "register");
	T_CHECK(!ioctl(file.fd, FIFREEZE, 0), "FIFREEZE: %m");
	memset(buf.map, 7, BLOCK);
	io = io_at(&file, true, 0, BLOCK, 4096);
	t_queue(&ring, &io, 0);
	t_submit(&ring);
	usleep(300000);
	before = now();
	if (io_uring_peek_cqe(&ring.uring, &cqe) != -EAGAIN)
		t_diag("a write to a frozen file system has ended");
	else if (control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL) || now() - before > bound(2))
		t_diag("an exporter waited for %.1f s", now() - before);
	else
		before = 0;
	if (ioctl(file.fd, FITHAW, 0))
		t_die("FITHAW: %m");
	T_CHECK(!before, "while frozen");
	T_IS(t_reap(&ring, NULL), BLOCK, "the write, thawed");
	memset(want, 7, BLOCK);
	T_TRY(holds(&file, 4096, want, BLOCK));
	/* every issue gave back what it took */
	T_CHECK(!ioctl(file.fd, FIFREEZE, 0) && !ioctl(file.fd, FITHAW, 0), "freezing again: %m");
	T_TRY(watched_end(&common));
	file_remove(&file);
	return T_PASS;
}

/* Every request succeeds, whatever it has to do to the file, in a storm of invalidations; some allocate, some append. */
static enum t_result storms(unsigned int pause)
{
	struct storm storm = { .pause = pause };
	unsigned int rounds = 0, i, left;
	double end = now() + bound(2);
	struct common common;
	struct file file;
	int ret = 0;

	T_TRY(watched_begin(&common));
	storm.buf = &buf;
	T_TRY(filled(&file, "storm", T_MIB));
	T_IS(use(&file), 1, "register");
	if (pthread_create(&storm.thread, NULL, blow, &storm))
		t_die("no thread");
	for (; now() < end || rounds < 3; rounds++) {
		bool ok = true;

		if (rounds % 3 == 1)
			fallocate(file.cached, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PART, 8 * PART);
		if (rounds % 3 == 2)
			ftruncate(file.cached, PART + 512);
		pattern(want, 8 * PART, PART, ++seed);
		memcpy(buf.map, want, 8 * PART);
		for (i = 0; i < 8; i++) {
			struct t_io io = io_at(&file, true, i * PART, PART, PART + i * PART);

			t_queue(&ring, &io, i);
		}
		t_submit(&ring);
		for (left = 8; left; left--) {
			int got = t_reap(&ring, NULL);

			if (got != (int)PART)
				ret = got;
		}
		if (ret)
			break;
		memset(buf.map, 0, 8 * PART);
		ret = rw(&file, false, 512, 8 * PART, PART);
		ok = ret == 8 * PART && t_same("read", buf.map + 512, want, 8 * PART);
		ok = ok && holds(&file, PART, want, 8 * PART) == T_PASS;
		ret = ret != 8 * PART ? ret : ok ? 0 : -EIO;
		if (ret)
			break;
	}
	storm.stop = true;
	pthread_join(storm.thread, NULL);
	t_diag("%u rounds, %u invalidations, the longest %.3f s, %llu mappings", rounds, storm.count, storm.worst,
	       (unsigned long long)ask(&buf, DMA_BUF_IO_TEST_TOTAL));
	T_IS(ret, 0, "I/O");
	T_IS(storm.error, 0, "invalidate");
	T_TRY(watched_end(&common));
	file_remove(&file);
	return T_PASS;
}

static enum t_result paced(void)
{
	return storms(2000);
}

static enum t_result unpaced(void)
{
	return storms(0);
}

static enum t_result no_space(void)
{
	struct file file, hog;
	size_t size = 2048 * T_MIB;

	T_TRY(filled(&file, "full", T_MIB));
	T_CHECK(!ftruncate(file.fd, 16 * T_MIB), "ftruncate: %m");
	file_open(&hog, "hog", O_TRUNC);
	T_IS(use(&file), 1, "register");
	/* all there is, in ever smaller pieces */
	for (; size >= BLOCK; size /= 2)
		while (!fallocate(hog.fd, 0, file_size(&hog), size))
			;
	T_IS(rw(&file, true, 0, 2 * T_MIB, 4 * T_MIB), -ENOSPC, "a write without space");
	T_TRY(writes(&file, 0, 65536, 4096));
	file_remove(&hog);
	/* in its own time */
	for (size = 0; size < 100 && rw(&file, true, 0, 65536, 8 * T_MIB) == -ENOSPC; size++)
		usleep(100000);
	T_TRY(writes(&file, 0, 65536, 8 * T_MIB));
	poison();
	file_remove(&file);
	return T_PASS;
}

/*
 * There is space for a part of what is written: the same result as of plain direct I/O,
 * the same size, and in each block what was there or what was written.
 */
#define FREED	(8 * BLOCK)
#define MORE	(64 * BLOCK)

struct attempt {
	int result;
	off_t size;
	unsigned int changed;		/* blocks */
};

static enum t_result too_much(const struct file *file, const struct file *hog, bool dmabuf, size_t pos, struct attempt *got)
{
	struct t_io io = io_at(file, true, 0, MORE, pos);
	size_t i;

	T_CHECK(!fallocate(hog->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, FREED), "punch: %m");
	sync();
	memset(cached, 0, MORE);
	T_CHECK(pread(file->cached, cached, MORE, pos) >= 0, "read: %m");
	pattern(want, MORE, pos, ++seed);
	memcpy(direct, want, MORE);
	t_buf_begin(&buf);
	memcpy(buf.map, want, MORE);
	t_buf_end(&buf);
	if (!dmabuf) {
		io.slot = -1;
		io.addr = (uintptr_t)direct;
	}
	*got = (struct attempt){ .result = t_rw(&ring, &io), .size = file_size(file) };
	memset(direct, 0, MORE);
	T_CHECK(pread(file->fd, direct, MORE, pos) >= 0, "plain read: %m");
	for (i = 0; i < MORE; i += BLOCK) {
		const bool is_old = !memcmp(direct + i, cached + i, BLOCK);

		T_CHECK(is_old || !memcmp(direct + i, want + i, BLOCK), "neither what was there nor what was written, %zu on", i);
		T_CHECK(!is_old || (ssize_t)i >= got->result, "not written, %zu on, although it says %d", i, got->result);
		got->changed += !is_old;
	}
	t_diag("%s write: %s, %u blocks of %lu changed", dmabuf ? "dma-buf" : "plain", t_number(got->result), got->changed, MORE / BLOCK);
	/* as it was, for the next one */
	if (pos < T_MIB)
		T_CHECK(pwrite(file->cached, cached, T_MIB - pos, pos) == (ssize_t)(T_MIB - pos), "write: %m");
	i = pos < T_MIB ? T_MIB : pos;
	T_CHECK(!fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i, pos + MORE - i), "punch: %m");
	sync();
	while (!fallocate(hog->fd, 0, file_size(hog), BLOCK))
		;
	return T_PASS;
}

static enum t_result in_what_is_free(const struct file *file, const struct file *hog)
{
	/* from what has blocks to what has none; where there are none; across the end of the file */
	static const size_t places[] = { T_MIB - 4 * BLOCK, 8 * T_MIB, 16 * T_MIB - MORE / 2 };
	size_t size = 1024 * T_MIB, i;
	struct attempt plain, ours;

	T_CHECK(!ftruncate(file->fd, 16 * T_MIB), "ftruncate: %m");
	T_IS(use(file), 1, "register");
	for (; size >= BLOCK; size /= 2)
		while (!fallocate(hog->fd, 0, file_size(hog), size))
			;
	for (i = 0; i < T_COUNT(places); i++) {
		T_TRY(too_much(file, hog, false, places[i], &plain));
		T_TRY(too_much(file, hog, true, places[i], &ours));
		T_CHECK(plain.result == -ENOSPC || (plain.result > 0 && plain.result < (int)MORE), "a plain write: %s",
			t_number(plain.result));
		T_IS(ours.result, plain.result, "a write without enough space");
		T_IS(ours.size, plain.size, "size");
		T_IS(ours.changed, plain.changed, "blocks that changed");
	}
	return T_PASS;
}

static enum t_result some_space(void)
{
	enum t_result result;
	struct file file, hog;

	T_TRY(filled(&file, "full", T_MIB));
	file_open(&hog, "hog", O_TRUNC);
	result = in_what_is_free(&file, &hog);
	file_remove(&hog);
	poison();
	file_remove(&file);
	return result;
}

/* What direct I/O without us says, and what it leaves. */
static enum t_result as_plain_at(struct file *file, bool write, int fd, size_t len, uint64_t pos)
{
	struct t_io io = io_at(file, write, 0, len, pos), plain = io;

	io.fd = plain.fd = fd;
	plain.slot = -1;
	plain.addr = (uintptr_t)direct;
	T_IS(t_rw(&ring, &io), t_rw(&ring, &plain), write ? "write" : "read");
	return T_PASS;
}

static enum t_result as_plain(struct file *file, bool write, int fd)
{
	return as_plain_at(file, write, fd, BLOCK, 0);
}

static int set_flag(const struct file *file, unsigned int flag, bool on)
{
	int flags;

	if (ioctl(file->fd, FS_IOC_GETFLAGS, &flags))
		return -errno;
	flags = on ? flags | flag : flags & ~flag;
	return ioctl(file->fd, FS_IOC_SETFLAGS, &flags) ? -errno : 0;
}

static enum t_result bad_input(void)
{
	int dir = t_open(MOUNTED, O_RDONLY | O_DIRECTORY), fd, pipes[2];
	struct file file;

	T_TRY(filled(&file, "bad", T_MIB));
	T_IS(t_register(&ring, 0, buf.fd, dir, 0), -EOPNOTSUPP, "a directory");
	T_CHECK(!pipe(pipes), "pipe: %m");
	T_IS(t_register(&ring, 0, buf.fd, pipes[0], 0), -EOPNOTSUPP, "a pipe");
	T_IS(t_register(&ring, 0, buf.fd, file.cached, 0), -EINVAL, "a file without O_DIRECT");
	close(pipes[0]);
	close(pipes[1]);
	close(dir);

	fd = t_open(file.path, O_RDONLY | O_DIRECT);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "a file that is open for reading");
	T_TRY(as_plain(&file, false, fd));
	T_TRY(as_plain(&file, true, fd));
	close(fd);

	T_IS(use(&file), 1, "register");
	T_CHECK(!fcntl(file.fd, F_SETFL, 0), "F_SETFL: %m");
	T_IS(rw(&file, false, 0, BLOCK, 0), -EINVAL, "a file that has lost O_DIRECT");
	T_CHECK(!fcntl(file.fd, F_SETFL, O_DIRECT), "F_SETFL: %m");

	T_IS(set_flag(&file, FS_IMMUTABLE_FL, true), 0, "chattr +i");
	T_TRY(as_plain(&file, true, file.fd));
	T_TRY(as_plain(&file, false, file.fd));
	T_IS(set_flag(&file, FS_IMMUTABLE_FL, false), 0, "chattr -i");
	file_remove(&file);
	return T_PASS;
}

static enum t_result while_swapped_to(struct file *file)
{
	T_TRY(as_plain(file, true, file->fd));
	T_IS(rw(file, true, 0, BLOCK, T_MIB), -ETXTBSY, "write");
	T_IS(rw(file, true, 0, BLOCK, 4 * T_MIB), -ETXTBSY, "append");
	T_TRY(as_plain(file, false, file->fd));
	T_IS(use(file), 1, "register");
	T_IS(rw(file, true, 0, BLOCK, T_MIB), -ETXTBSY, "write by a slot that is new");
	return T_PASS;
}

/* Refused as long as it is swapped to, which a slot does not keep it from. */
static enum t_result swapped_to(void)
{
	struct {
		unsigned char boot[1024];
		uint32_t version, last_page, bad_pages;
	} header = { .version = 1, .last_page = 4 * T_MIB / T_PAGE - 1 };
	enum t_result result;
	struct file file;

	T_TRY(filled(&file, "swap", 4 * T_MIB));
	memset(direct, 0, T_PAGE);
	memcpy(direct, &header, sizeof(header));
	memcpy(direct + T_PAGE - 10, "SWAPSPACE2", 10);
	T_CHECK(pwrite(file.fd, direct, T_PAGE, 0) == T_PAGE, "writing the header: %m");
	T_IS(use(&file), 1, "register");
	if (swapon(file.path, 0)) {
		T_CHECK(errno == ENOSYS, "swapon: %m");
		file_remove(&file);
		return t_skip("a kernel that does not swap (CONFIG_SWAP)");
	}
	result = while_swapped_to(&file);
	if (swapoff(file.path))
		t_die("swapoff: %m");
	poison();
	T_TRY(result);
	T_TRY(writes(&file, 0, T_MIB, T_MIB));
	file_remove(&file);
	return T_PASS;
}

static int remount(bool writable, const char *options)
{
	return mount(NULL, MOUNTED, NULL, MS_REMOUNT | (writable ? 0 : MS_RDONLY), options) ? -errno : 0;
}

/* Who closes a file last may be about to. */
static int remount_read_only(void)
{
	double end = now() + bound(10);
	int ret;

	while ((ret = remount(false, NULL)) == -EBUSY && now() < end)
		usleep(10000);
	return ret;
}

/* A slot is an open file: of one that may be written there is no mount for reading only. */
static enum t_result read_only(void)
{
	struct file file;
	int fd;

	T_TRY(filled(&file, "read-only", T_MIB));
	T_IS(use(&file), 1, "register");
	T_IS(remount(false, NULL), -EBUSY, "remounting with a file that may be written");
	file_close(&file);
	T_IS(remount(false, NULL), -EBUSY, "remounting with a slot of it");
	T_IS(t_clear(&ring, 0), 1, "clear");
	T_IS(remount_read_only(), 0, "remounting");

	fd = t_open(file.path, O_RDONLY | O_DIRECT);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_TRY(as_plain(&file, false, fd));
	T_TRY(as_plain(&file, true, fd));
	file.fd = fd;
	file.cached = t_open(file.path, O_RDONLY);
	pattern(want, T_MIB, 0, 0);
	poison();
	T_TRY(reads(&file, 512, T_MIB, 0, want, T_MIB));
	T_CHECK(open(file.path, O_RDWR | O_DIRECT) < 0 && errno == EROFS, "open for writing: %m");
	/* a reader's slot is in nobody's way */
	T_IS(remount(true, NULL), 0, "remounting for writing");
	T_IS(remount_read_only(), 0, "remounting for reading, with a reader's slot");
	T_IS(remount(true, NULL), 0, "remounting for writing");
	close(fd);
	close(file.cached);
	file_open(&file, "read-only", 0);
	T_IS(use(&file), 1, "register");
	T_TRY(writes(&file, 512, 65536, 4096));
	file_remove(&file);
	return T_PASS;
}

static enum t_result mounted(void)
{
	struct file file;

	T_TRY(filled(&file, "busy", T_MIB));
	T_IS(use(&file), 1, "register");
	file_close(&file);
	T_IS(umount(MOUNTED) ? -errno : 0, -EBUSY, "unmounting with a slot");
	T_IS(t_clear(&ring, 0), 1, "clear");
	T_IS(unmount_fs(), 0, "unmounting");
	T_TRY(mount_fs(fs, false));
	/* what was written through the dma-buf is there */
	file_open(&file, "busy", 0);
	T_IS(use(&file), 1, "register");
	T_TRY(writes(&file, 0, 2 * T_MIB, T_MIB / 2));
	T_IS(t_clear(&ring, 0), 1, "clear");
	file_close(&file);
	T_IS(unmount_fs(), 0, "unmounting");
	T_TRY(mount_fs(fs, false));
	file_open(&file, "busy", 0);
	pattern(want, 2 * T_MIB, T_MIB / 2, seed);
	T_TRY(holds(&file, T_MIB / 2, want, 2 * T_MIB));
	file_remove(&file);
	return T_PASS;
}

/* Last: the file system gives up. */
static enum t_result shut_down(void)
{
	static const uint32_t no_flush = 2;
	struct file file;

	T_TRY(filled(&file, "shut", T_MIB));
	T_IS(use(&file), 1, "register");
	/* the same of both: XFS_IOC_GOINGDOWN, EXT4_IOC_SHUTDOWN */
	T_CHECK(!ioctl(file.fd, _IOR('X', 125, uint32_t), &no_flush), "shutting down: %m");
	T_TRY(as_plain(&file, false, file.fd));
	T_TRY(as_plain(&file, true, file.fd));
	T_IS(rw(&file, false, 0, BLOCK, 0), -EIO, "read");
	T_IS(use(&file), -EIO, "register");
	T_IS(t_clear(&ring, 0), 1, "clear");
	file_close(&file);
	T_IS(unmount_fs(), 0, "unmounting");
	return T_PASS;
}

/* Where ordinary direct I/O goes through the page cache, dma-bufs are refused, and nothing has changed. */
static enum t_result refuses(const struct file *file, size_t len)
{
	pattern(want, len, 0, ++seed);
	t_buf_begin(&buf);
	memcpy(buf.map, want, len);
	t_buf_end(&buf);
	T_IS(rw(file, true, 0, len, 0), -EOPNOTSUPP, "write");
	t_buf_begin(&buf);
	memcpy(buf.map, buf.poison, len);
	t_buf_end(&buf);
	T_IS(rw(file, false, 0, len, 0), -EOPNOTSUPP, "read");
	t_buf_begin(&buf);
	T_CHECK(t_buf_intact(&buf, 0, buf.size), "a read that was refused");
	t_buf_end(&buf);
	return T_PASS;
}

/* A file is told to have its data in the journal with a slot registered, and not to. */
static enum t_result journalled(void)
{
	struct file file;

	T_TRY(filled(&file, "journalled", T_MIB));
	T_IS(use(&file), 1, "register");
	T_TRY(writes(&file, 0, 65536, 4096));
	pattern(want + T_MIB, T_MIB, 0, 0);
	pattern(want + T_MIB + 4096, 65536, 4096, seed);
	T_IS(set_flag(&file, FS_JOURNAL_DATA_FL, true), 0, "chattr +j");
	T_TRY(refuses(&file, 65536));
	T_TRY(holds(&file, 0, want + T_MIB, T_MIB));
	T_IS(use(&file), -EOPNOTSUPP, "register");
	T_IS(set_flag(&file, FS_JOURNAL_DATA_FL, false), 0, "chattr -j");
	T_TRY(reads(&file, 512, T_MIB, 0, want + T_MIB, T_MIB));
	T_TRY(writes(&file, 0, 65536, 0));
	T_IS(use(&file), 1, "register again");
	T_TRY(writes(&file, 0, 65536, 8192));
	file_remove(&file);
	return T_PASS;
}

/* An error has made the file system one for reading only, under a file that could be written. */
static enum t_result gives_up(void)
{
	struct file file;

	T_TRY(filled(&file, "aborted", T_MIB));
	T_IS(use(&file), 1, "register");
	T_TRY(writes(&file, 0, 65536, 4096));
	T_IS(remount(true, "abort"), 0, "remounting with abort");
	T_TRY(as_plain(&file, true, file.fd));
	T_IS(rw(&file, true, 0, BLOCK, 0), -EROFS, "write");
	T_TRY(as_plain(&file, false, file.fd));
	T_IS(t_clear(&ring, 0), 1, "clear");
	file_close(&file);
	return T_PASS;
}

/* What the file's owner may not have; root may, so it is the owner who writes. */
#define OWNER	1000
#define MAY_HAVE	(2 * T_MIB)

static enum t_result over_quota(void)
{
	struct fs_disk_quota limit = {
		.d_version = FS_DQUOT_VERSION, .d_flags = FS_USER_QUOTA, .d_fieldmask = FS_DQ_BHARD, .d_id = OWNER,
		.d_blk_hardlimit = MAY_HAVE / 512,
	};
	enum t_result result;
	struct file file;

	T_TRY(filled(&file, "quota", T_MIB));
	T_CHECK(!ftruncate(file.fd, 16 * T_MIB) && !fchown(file.fd, OWNER, OWNER), "fchown: %m");
	T_CHECK(!quotactl(QCMD(Q_XSETQLIM, USRQUOTA), t_dev, OWNER, (void *)&limit), "Q_XSETQLIM: %m");
	T_IS(use(&file), 1, "register");
	T_CHECK(!seteuid(OWNER), "seteuid: %m");
	T_IS(rw(&file, true, 0, SIZE_BUF, 4 * T_MIB), -EDQUOT, "write");
	result = as_plain_at(&file, true, file.fd, SIZE_BUF, 8 * T_MIB);
	if (seteuid(0))
		t_die("seteuid: %m");
	T_TRY(result);
	T_TRY(writes(&file, 0, 65536, 4096));
	poison();
	file_remove(&file);
	return T_PASS;
}

static enum t_result refused_whole(void)
{
	struct file file;

	T_TRY(filled(&file, "refused", T_MIB));
	T_IS(use(&file), -EOPNOTSUPP, "register");
	file_remove(&file);
	return T_PASS;
}

/* Small files have their data in the inode. */
static enum t_result in_the_inode(void)
{
	struct file file;

	T_TRY(filled(&file, "inline", 48));
	T_IS(use(&file), -EOPNOTSUPP, "register");
	pattern(want, T_MIB, 0, 0);
	T_CHECK(pwrite(file.cached, want, T_MIB, 0) == T_MIB && !fsync(file.cached), "writing: %m");
	T_IS(use(&file), 1, "register what has grown");
	T_TRY(reads(&file, 0, T_MIB, 0, want, T_MIB));
	T_TRY(writes(&file, 0, 8192, 4096));
	file_remove(&file);

	/* a file that was empty when it was registered, and one that gets blocks by us */
	file_open(&file, "inline", O_TRUNC);
	T_IS(use(&file), 1, "register an empty file");
	pattern(want + T_MIB, 48, 0, 0);
	T_CHECK(pwrite(file.cached, want + T_MIB, 48, 0) == 48, "writing: %m");
	T_TRY(refuses(&file, 512));
	T_TRY(holds(&file, 0, want + T_MIB, 48));
	file_remove(&file);
	file_open(&file, "inline", O_TRUNC);
	T_IS(use(&file), 1, "register an empty file");
	T_TRY(writes(&file, 0, 512, 0));
	T_TRY(reads(&file, 1024, 4096, 0, want, 512));
	file_remove(&file);
	return T_PASS;
}

/* Blocks by lists, as of ext3: what is there can be written, what is not would be written through the page cache. */
static enum t_result no_extents(void)
{
	struct file file;

	T_TRY(filled(&file, "blocks", 4 * PART));
	T_CHECK(!fallocate(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PART, PART), "punch: %m");
	T_IS(use(&file), 1, "register");
	pattern(cached + T_MIB, 4 * PART, 0, 0);
	memset(cached + T_MIB + 2 * PART, 0, PART);
	T_TRY(reads(&file, 512, 4 * PART, 0, cached + T_MIB, 4 * PART));
	T_IS(rw(&file, true, 0, 8192, 2 * PART), -EOPNOTSUPP, "write to a hole");
	T_TRY(holds(&file, 0, cached + T_MIB, 4 * PART));
	/* what comes before is */
	pattern(want, 2 * PART, PART, ++seed);
	t_buf_begin(&buf);
	memcpy(buf.map, want, 2 * PART);
	t_buf_end(&buf);
	T_IS(rw(&file, true, 0, 2 * PART, PART), PART, "write up to a hole");
	poison();
	T_TRY(holds(&file, PART, want, PART));
	T_TRY(holds(&file, 2 * PART, zeros, PART));
	T_TRY(writes(&file, 512, PART, PART / 2));
	T_TRY(writes(&file, 512, 512, 3 * PART + 512));
	file_remove(&file);
	return T_PASS;
}

static enum t_result encrypted(void)
{
	struct fscrypt_policy_v2 policy = {
		.version = FSCRYPT_POLICY_V2,
		.contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
		.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
		.flags = FSCRYPT_POLICY_FLAGS_PAD_32,
	};
	struct {
		struct fscrypt_add_key_arg arg;
		unsigned char raw[64];
	} key = { .arg = { .key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER, .raw_size = sizeof(key.raw) } };
	struct file file;
	int dir;

	pattern(key.raw, sizeof(key.raw), 0, 0);
	T_CHECK(!mkdir(MOUNTED "/secret", 0700), "mkdir: %m");
	dir = t_open(MOUNTED "/secret", O_RDONLY | O_DIRECTORY);
	T_CHECK(!ioctl(dir, FS_IOC_ADD_ENCRYPTION_KEY, &key), "FS_IOC_ADD_ENCRYPTION_KEY: %m");
	memcpy(policy.master_key_identifier, key.arg.key_spec.u.identifier, sizeof(policy.master_key_identifier));
	T_CHECK(!ioctl(dir, FS_IOC_SET_ENCRYPTION_POLICY, &policy), "FS_IOC_SET_ENCRYPTION_POLICY: %m");
	close(dir);
	T_TRY(filled(&file, "secret/file", T_MIB));
	T_IS(use(&file), -EOPNOTSUPP, "register");
	file_remove(&file);
	return T_PASS;
}

/* A file that is verified since it was registered, and one that was before. */
static enum t_result verified(void)
{
	struct fsverity_enable_arg arg = { .version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256, .block_size = BLOCK };
	struct file file;
	int fd;

	T_TRY(filled(&file, "verity", T_MIB));
	file_close(&file);
	fd = t_open(file.path, O_RDONLY | O_DIRECT);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_CHECK(!ioctl(fd, FS_IOC_ENABLE_VERITY, &arg), "FS_IOC_ENABLE_VERITY: %m");
	file.fd = fd;
	T_IS(rw(&file, false, 0, BLOCK, 0), -EOPNOTSUPP, "read");
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), -EOPNOTSUPP, "register");
	close(fd);
	unlink(file.path);
	return T_PASS;
}

static const struct {
	const char *name;
	enum t_result (*run)(void);
} tests[] = {
	{ "extents of two files between each other", fragments },
	{ "a hole of memory that no CPU sees", not_to_be_seen },
	{ "up to the end", at_the_end },
	{ "writes that allocate and grow", growing },
	{ "appends", appending },
	{ "O_DSYNC", synchronous },
	{ "beside the page cache", coherent },
	{ "NOWAIT", never_waits },
	{ "truncating, punching, allocating under I/O", races },
	{ "shared extents", shared },
	{ "frozen, while an exporter invalidates", frozen },
	{ "a storm of invalidations", paced },
	{ "a storm without a pause", unpaced },
	{ "no space", no_space },
	{ "some space", some_space },
	{ "bad input", bad_input },
	{ "a swap file", swapped_to },
	{ "mounted for reading only", read_only },
	{ "unmounting", mounted },
	{ "shut down", shut_down },
};

static const struct file_system systems[] = {
	{ "xfs", "xfs", "mkfs.xfs -f -K -q %1$s", "" },
	{ "xfs", "xfs, realtime", "mkfs.xfs -f -K -q -d rtinherit=1 -m reflink=0,rmapbt=0 -r rtdev=%2$s %1$s", "rtdev=%1$s" },
	{ "ext4", "ext4", "mkfs.ext4 -F -q -E nodiscard %1$s", "" },
};

#define PER_SYSTEM	(T_MODES + 2 + T_COUNT(tests))

/* File systems that are made for one test, which may need a kernel that has something, as a file says. */
#define MKFS_EXT4	"mkfs.ext4 -F -q -E nodiscard %1$s 128M"

static const struct {
	struct file_system fs;
	const char *name;
	enum t_result (*run)(void);
	const char *file, *option;
} specials[] = {
	{ { "ext4", "ext4", MKFS_EXT4, "nodelalloc" }, "a file with data in the journal", journalled, NULL, NULL },
	{ { "ext4", "ext4", MKFS_EXT4, "data=journal" }, "all data in the journal", refused_whole, NULL, NULL },
	{ { "ext4", "ext4", MKFS_EXT4 " -O inline_data", "" }, "data in the inode", in_the_inode, NULL, NULL },
	{ { "ext4", "ext4", MKFS_EXT4 " -O ^extent,^64bit", "" }, "no extents", no_extents, NULL, NULL },
	{ { "ext4", "ext4", MKFS_EXT4, "errors=remount-ro" }, "an error", gives_up, NULL, NULL },
	{ { "ext4", "ext4", MKFS_EXT4 " -O quota", "usrquota" }, "quota", over_quota, "/proc/sys/fs/quota", "CONFIG_QUOTA" },
	{ { "xfs", "xfs", "mkfs.xfs -f -K -q -d size=320m %1$s", "uquota" }, "quota", over_quota, "/proc/fs/xfs/xqm", "CONFIG_XFS_QUOTA" },
	{ { "ext4", "ext4", MKFS_EXT4 " -O encrypt", "" }, "an encrypted file", encrypted, "/sys/fs/ext4/features/encryption",
	  "CONFIG_FS_ENCRYPTION" },
	{ { "ext4", "ext4", MKFS_EXT4 " -O verity", "" }, "fs-verity", verified, "/sys/fs/ext4/features/verity", "CONFIG_FS_VERITY" },
};

static void run_system(void)
{
	enum t_result mounted = mount_fs(fs, true);
	unsigned int i;

	if (mounted == T_PASS)
		t_ring_init(&ring, T_PLAIN, 64, 1);
	for (i = 0; i < T_MODES; i++)
		t_report(mounted == T_PASS ? data(i) : mounted, "%s: data, %s ring", fs->name, t_mode_names[i]);
	t_report(mounted == T_PASS ? holes(T_UDMABUF) : mounted, "%s: holes, udmabuf", fs->name);
	t_report(mounted == T_PASS ? holes(T_HEAP) : mounted, "%s: holes, heap", fs->name);
	for (i = 0; i < T_COUNT(tests); i++) {
		t_report(mounted == T_PASS ? tests[i].run() : mounted, "%s: %s", fs->name, tests[i].name);
		files_close_all();
	}
	if (mounted == T_PASS) {
		t_ring_exit(&ring);
		unmount_fs();
	}
}

static enum t_result run_special(unsigned int i)
{
	enum t_result result;

	if (specials[i].file && access(specials[i].file, F_OK))
		return t_skip("a kernel that has none (%s)", specials[i].option);
	fs = &specials[i].fs;
	T_TRY(mount_fs(fs, true));
	t_ring_init(&ring, T_PLAIN, 64, 1);
	result = specials[i].run();
	t_ring_exit(&ring);
	files_close_all();
	unmount_fs();
	if (result != T_PASS)
		poison();
	return result;
}

static bool wanted(const struct file_system *which)
{
	const char *only = getenv("FS");

	return !only || !strcmp(only, which->name);
}

int main(int argc, char **argv)
{
	unsigned int count = 0;
	size_t i;

	for (i = 0; i < T_COUNT(systems); i++)
		count += wanted(&systems[i]) ? PER_SYSTEM : 0;
	for (i = 0; i < T_COUNT(specials); i++)
		count += wanted(&specials[i].fs);
	if (!count)
		t_die("FS=%s is none", getenv("FS"));
	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, count);
	if (!t_dev2)
		t_die("no second disk, for XFS's realtime device: name it in DEV2=");
	if (t_buf_init(&buf, T_UDMABUF, SIZE_BUF) != T_PASS)
		t_die("/dev/udmabuf: %m (CONFIG_UDMABUF)");
	if (posix_memalign((void **)&direct, 4096, 2 * SIZE_BUF) || posix_memalign((void **)&cached, 4096, 2 * SIZE_BUF))
		t_die("no memory");
	want = malloc(2 * SIZE_BUF);
	zeros = calloc(1, 2 * SIZE_BUF);
	for (i = 0; i < T_COUNT(systems); i++) {
		fs = &systems[i];
		if (wanted(fs))
			run_system();
	}
	for (i = 0; i < T_COUNT(specials); i++) {
		if (wanted(&specials[i].fs))
			t_report(run_special(i), "%s: %s", specials[i].fs.name, specials[i].name);
	}
	t_buf_exit(&buf);
	return t_finish();
}
