// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random operations on one file, after the program of that name: through a dma-buf,
 * by plain direct I/O, through the page cache and a mapping of it, and what changes
 * the file's size and blocks. A model in memory says what each must find.
 *
 * SEED= repeats a run, OPS= is how many operations each file system gets, which
 * fsck must find right afterwards, if it is here; FS= names one of them.
 */
#include "files.h"

#include <stdarg.h>

#define MAX	T_MIB			/* of the file */
#define BLOCK	T_PAGE
#define LOG	40

static const struct file_system systems[] = {
	{ "xfs", "xfs", "mkfs.xfs -f -K -q %1$s", "" },
	{ "xfs", "xfs, blocks of 1 KiB", "mkfs.xfs -f -K -q -b size=1024 %1$s", "" },
	{ "ext4", "ext4", "mkfs.ext4 -F -q -E nodiscard %1$s", "" },
	{ "ext4", "ext4, blocks of 1 KiB", "mkfs.ext4 -F -q -b 1024 -E nodiscard %1$s", "" },
};

static const struct file_system *fs;
static struct t_ring ring;
static struct t_buf buf;
static struct file file;
static unsigned char *model, *bounce;
static size_t size;			/* of the file */
static uint64_t state;
static unsigned int count, refused;
static char history[LOG][96];

static uint64_t random_number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1dULL >> 11;
}

static size_t below(size_t limit)
{
	return random_number() % limit;
}

/* Often something small, or the start of a block. */
static size_t somewhere(size_t unit, size_t limit)
{
	size_t at = below(limit);

	if (below(3) == 0)
		at = at / BLOCK * BLOCK;
	return at / unit * unit;
}

static size_t some_length(size_t unit, size_t most)
{
	size_t len = 1 + below(below(2) ? most : most < 16384 ? most : 16384);

	len = (len + unit - 1) / unit * unit;
	return len > most ? most / unit * unit : len;
}

static void fill(unsigned char *to, size_t len)
{
	uint64_t word;
	size_t i;

	for (i = 0; i < len; i += sizeof(word)) {
		word = random_number();
		memcpy(to + i, &word, len - i < sizeof(word) ? len - i : sizeof(word));
	}
}

static void model_write(const void *from, size_t pos, size_t len)
{
	memcpy(model + pos, from, len);
	if (pos + len > size)
		size = pos + len;
}

__attribute__((format(printf, 1, 2)))
static void note(const char *fmt, ...)
{
	char *line = history[count % LOG];
	int n = snprintf(line, sizeof(history[0]), "%u: ", count);
	va_list args;

	va_start(args, fmt);
	vsnprintf(line + n, sizeof(history[0]) - n, fmt, args);
	va_end(args);
}

static ssize_t or_errno(ssize_t ret)
{
	return ret < 0 ? -errno : ret;
}

static size_t left_at(size_t pos, size_t len)
{
	return pos >= size ? 0 : len < size - pos ? len : size - pos;
}

static enum t_result dmabuf_read(void)
{
	size_t len = some_length(512, buf.size / 2), pos = somewhere(512, MAX), off = somewhere(4, buf.size - len);
	struct t_io io = { .fd = file.fd, .addr = off, .len = len, .pos = pos };
	size_t got = left_at(pos, len), past = (got + 511) / 512 * 512;
	bool ok;

	note("dma-buf read %zu at %zu into %zu", len, pos, off);
	T_IS(t_rw(&ring, &io), got, "read");
	t_buf_begin(&buf);
	ok = t_same("read", buf.map + off, model + pos, got) && t_buf_intact(&buf, off - T_NEAR, off) &&
	     t_buf_intact(&buf, off + past, off + past + T_NEAR);
	memcpy(buf.map + off, buf.poison + off, past);
	t_buf_end(&buf);
	return ok ? T_PASS : T_FAIL;
}

static enum t_result dmabuf_write(void)
{
	size_t len = some_length(512, MAX / 2), pos = somewhere(512, MAX - len), off = somewhere(4, buf.size - len);
	struct t_io io = { .fd = file.fd, .write = true, .addr = off, .len = len, .pos = pos };
	int ret;

	note("dma-buf write %zu at %zu from %zu", len, pos, off);
	t_buf_begin(&buf);
	fill(buf.map + off, len);
	memcpy(bounce, buf.map + off, len);
	t_buf_end(&buf);
	ret = t_rw(&ring, &io);
	t_buf_begin(&buf);
	memcpy(buf.map + off, buf.poison + off, len);
	t_buf_end(&buf);
	/* part of a block of a file that has shared some */
	if (ret == -EOPNOTSUPP && !strcmp(fs->type, "xfs") && (pos | len) % BLOCK) {
		refused++;
		return T_PASS;
	}
	T_IS(ret, len, "write");
	model_write(bounce, pos, len);
	return T_PASS;
}

static enum t_result plain_read(void)
{
	bool direct = below(2);
	size_t unit = direct ? 512 : 1, len = some_length(unit, MAX), pos = somewhere(unit, MAX);

	/*
	 * XFS may have promised blocks behind the end of a file to whom nothing is written
	 * back; plain direct I/O that meets them says EIO (7.3.4, and no dma-buf about).
	 */
	if (direct && left_at(pos, len) && !strcmp(fs->type, "xfs"))
		len = (left_at(pos, len) + 511) / 512 * 512;
	note("%s read %zu at %zu", direct ? "direct" : "buffered", len, pos);
	T_IS(or_errno(pread(direct ? file.fd : file.cached, bounce, len, pos)), left_at(pos, len), "read");
	return t_same("read", bounce, model + pos, left_at(pos, len)) ? T_PASS : T_FAIL;
}

static enum t_result plain_write(void)
{
	bool direct = below(2);
	size_t unit = direct ? 512 : 1, len = some_length(unit, MAX / 2), pos = somewhere(unit, MAX - len);

	note("%s write %zu at %zu", direct ? "direct" : "buffered", len, pos);
	fill(bounce, len);
	T_IS(or_errno(pwrite(direct ? file.fd : file.cached, bounce, len, pos)), len, "write");
	model_write(bounce, pos, len);
	return T_PASS;
}

static enum t_result mapped_write(void)
{
	size_t len, pos;
	unsigned char *map;

	if (!size)
		return T_PASS;
	pos = somewhere(1, size);
	len = some_length(1, size - pos);
	note("mapped write %zu at %zu", len, pos);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.cached, 0);
	T_CHECK(map != MAP_FAILED, "mmap: %m");
	T_CHECK(t_same("mapped", map + pos, model + pos, len), "before");
	fill(bounce, len);
	memcpy(map + pos, bounce, len);
	munmap(map, size);
	model_write(bounce, pos, len);
	return T_PASS;
}

static enum t_result truncated(void)
{
	size_t to = somewhere(1, MAX + 1);

	note("truncate %zu to %zu", size, to);
	T_CHECK(!ftruncate(file.fd, to), "ftruncate: %m");
	if (to < size)
		memset(model + to, 0, size - to);
	size = to;
	return T_PASS;
}

static enum t_result allocated(int mode, const char *name)
{
	size_t len = some_length(1, MAX / 2), pos = somewhere(1, MAX - len);

	note("%s %zu at %zu", name, len, pos);
	T_CHECK(!fallocate(file.fd, mode, pos, len), "fallocate: %m");
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(model + pos, 0, len);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && pos + len > size)
		size = pos + len;
	return T_PASS;
}

static enum t_result changed(void)
{
	switch (below(5)) {
	case 0:
		return allocated(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "punch");
	case 1:
		return allocated(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, "zero inside");
	case 2:
		return allocated(FALLOC_FL_ZERO_RANGE, "zero");
	case 3:
		return allocated(FALLOC_FL_KEEP_SIZE, "allocate inside");
	default:
		return allocated(0, "allocate");
	}
}

static enum t_result moved(void)
{
	size_t len = some_length(BLOCK, MAX / 8), pos = somewhere(BLOCK, MAX);
	bool in = below(2);

	if (pos >= size || (in ? size + len > MAX : pos + len >= size))
		return T_PASS;
	note("%s %zu at %zu", in ? "insert" : "collapse", len, pos);
	T_CHECK(!fallocate(file.fd, in ? FALLOC_FL_INSERT_RANGE : FALLOC_FL_COLLAPSE_RANGE, pos, len), "fallocate: %m");
	if (in) {
		memmove(model + pos + len, model + pos, size - pos);
		memset(model + pos, 0, len);
		size += len;
	} else {
		memmove(model + pos, model + pos + len, size - pos - len);
		size -= len;
		memset(model + size, 0, len);
	}
	return T_PASS;
}

/* Blocks of the file that it has twice. */
static enum t_result cloned(void)
{
	size_t len = some_length(BLOCK, MAX / 4), from = somewhere(BLOCK, MAX - len), to = somewhere(BLOCK, MAX - len);
	struct file_clone_range range = { .src_fd = file.fd, .src_offset = from, .src_length = len, .dest_offset = to };

	if (strcmp(fs->type, "xfs") || from + len > size || (from < to + len && to < from + len))
		return T_PASS;
	note("clone %zu from %zu to %zu", len, from, to);
	T_CHECK(!ioctl(file.fd, FICLONERANGE, &range), "FICLONERANGE: %m");
	model_write(model + from, to, len);
	return T_PASS;
}

static enum t_result settled(void)
{
	unsigned int how = below(3);

	note("%s", how ? how == 1 ? "fsync" : "fdatasync" : "drop the cache");
	if (how)
		T_CHECK(!(how == 1 ? fsync(file.fd) : fdatasync(file.fd)), "fsync: %m");
	else
		posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED);
	return T_PASS;
}

static enum t_result step(void)
{
	switch (below(24)) {
	case 0 ... 5:
		return dmabuf_read();
	case 6 ... 12:
		return dmabuf_write();
	case 13:
		return plain_read();
	case 14 ... 15:
		return plain_write();
	case 16:
		return mapped_write();
	case 17:
		return truncated();
	case 18 ... 20:
		return changed();
	case 21:
		return moved();
	case 22:
		return cloned();
	default:
		return settled();
	}
}

static enum t_result is_right(void)
{
	T_IS(file_size(&file), size, "size");
	T_IS(or_errno(pread(file.cached, bounce, MAX, 0)), size, "read");
	return t_same("the file", bounce, model, size) ? T_PASS : T_FAIL;
}

static enum t_result again(void)
{
	T_IS(t_clear(&ring, 0), 1, "clear");
	file_close(&file);
	T_IS(unmount_fs(), 0, "unmounting");
	T_TRY(mount_fs(fs, false));
	file_open(&file, "fsx", 0);
	T_IS(t_register(&ring, 0, buf.fd, file.fd, 0), 1, "register");
	return is_right();
}

static enum t_result operations(unsigned int ops)
{
	enum t_result result;
	double start = now();
	unsigned int i;

	T_TRY(mount_fs(fs, true));
	memset(model, 0, 2 * MAX);
	size = 0;
	refused = 0;
	file_open(&file, "fsx", O_TRUNC);
	T_IS(t_register(&ring, 0, buf.fd, file.fd, 0), 1, "register");
	for (count = 0, result = T_PASS; count < ops && result == T_PASS; count++) {
		result = step();
		if (result == T_PASS && count % 64 == 63)
			result = is_right();
		if (result == T_PASS && count % 4096 == 4095)
			result = again();
	}
	if (result == T_PASS)
		result = again();
	if (result == T_FAIL)
		for (i = count > LOG ? count - LOG : 0; i < count; i++)
			t_diag("%s", history[i % LOG]);
	t_diag("%u operations in %.0f s, %u of them writes of parts of blocks that may be shared, refused", count, now() - start, refused);
	t_clear(&ring, 0);
	file_close(&file);
	T_IS(unmount_fs(), 0, "unmounting");
	if (result == T_PASS && check_fs(fs, t_dev, t_dev2) == T_FAIL)
		result = T_FAIL;
	return result;
}

int main(int argc, char **argv)
{
	const char *seed = getenv("SEED"), *ops = getenv("OPS"), *only = getenv("FS");
	size_t i;

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, only ? 1 : T_COUNT(systems));
	state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) << 20 | getpid();
	t_diag("SEED=%llu", (unsigned long long)state);
	state |= 1;
	if (t_buf_init(&buf, T_UDMABUF, 2 * T_MIB) != T_PASS)
		t_die("/dev/udmabuf: %m (CONFIG_UDMABUF)");
	if (posix_memalign((void **)&bounce, 4096, 2 * MAX))
		t_die("no memory");
	model = malloc(2 * MAX);
	t_ring_init(&ring, T_PLAIN, 8, 1);
	for (i = 0; i < T_COUNT(systems); i++) {
		fs = &systems[i];
		if (only && strcmp(only, fs->name))
			continue;
		t_report(operations(ops ? strtoul(ops, NULL, 0) : 1000), "%s", fs->name);
	}
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	return t_finish();
}
