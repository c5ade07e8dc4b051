// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A file system is frozen with I/O of registered dma-bufs in flight, and its disks are
 * copied: fsck finds nothing wrong with the copy, which has what was written before and
 * nothing else. Thawed, all goes on. FS= names one of them: xfs, "xfs, realtime", ext4.
 */
#include "files.h"

#include <linux/loop.h>

#define PIECE	(16 * 1024UL)
#define PLACES	32			/* that a writer goes through */
#define SIZE_FS	(320 * T_MIB)		/* less XFS does not like */
#define SIZE_REALTIME	(64 * T_MIB)
#define COPY	"/tmp/snapshot"

static const struct file_system systems[] = {
	{ "xfs", "xfs", "mkfs.xfs -f -K -q -d size=320m %1$s", "" },
	{ "xfs", "xfs, realtime", "mkfs.xfs -f -K -q -d rtinherit=1,size=320m -m reflink=0,rmapbt=0 -r rtdev=%2$s,size=64m %1$s", "rtdev=%1$s" },
	{ "ext4", "ext4", "mkfs.ext4 -F -q -E nodiscard %1$s 320M", "" },
};

static const struct file_system *fs;
static unsigned char *bytes, *want;

/* Each has one request in flight: over what is there, to a file that grows, and readers of what nobody writes. */
enum { STEADY, GROWS, READ, KINDS };
#define EACH	(DEPTH / KINDS)
#define LANES	(KINDS * EACH)

static struct {
	unsigned int first;		/* before this round */
	atomic_uint done;
} lanes[LANES];

static struct t_ring ring;
static struct t_buf buf;
static struct file files[2];		/* STEADY, GROWS */

static uint64_t place(unsigned int lane, unsigned int seq)
{
	const uint64_t at = (seq % PLACES * EACH + lane % EACH) * PIECE;

	return lane / EACH == READ ? PLACES * EACH * PIECE + at : at;
}

static void submit(unsigned int lane)
{
	const unsigned int seq = lanes[lane].done + 1;
	struct t_io io = {
		.fd = files[lane / EACH == GROWS].fd, .write = lane / EACH != READ, .addr = lane * PIECE, .len = PIECE,
		.pos = place(lane, seq), .slot = lane / EACH == GROWS,
	};

	if (io.write)
		pattern(buf.map + io.addr, PIECE, io.pos, seq);
	t_queue(&ring, &io, lane);
}

/* Who freezes, and what has ended by then. */
struct freezer {
	atomic_bool frozen, over;
	const char *failed;
	int error;
	unsigned int done[LANES], reads;
	double took;
	pthread_t thread;
};

static unsigned int done_by(unsigned int from, unsigned int to)
{
	unsigned int sum = 0;

	for (; from < to; from++)
		sum += lanes[from].done;
	return sum;
}

/* Without what is zero, so that it needs little memory. */
static int copy(const char *from, const char *to, size_t most)
{
	static const unsigned char zeros[T_MIB];
	int in = open(from, O_RDONLY | O_DIRECT | O_CLOEXEC), out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), ret = 0;
	const off_t end = in < 0 ? 0 : lseek(in, 0, SEEK_END);
	const size_t size = end < (off_t)most ? (size_t)end : most;
	unsigned char *block;
	size_t pos;

	if (in < 0 || out < 0 || !size || posix_memalign((void **)&block, 4096, T_MIB))
		return -EIO;
	for (pos = 0; pos < size && !ret; pos += T_MIB) {
		if (pread(in, block, T_MIB, pos) != (ssize_t)T_MIB)
			ret = -EIO;
		else if (memcmp(block, zeros, T_MIB) && pwrite(out, block, T_MIB, pos) != (ssize_t)T_MIB)
			ret = -ENOSPC;
	}
	if (ftruncate(out, size))
		ret = -errno;
	free(block);
	close(in);
	close(out);
	return ret;
}

static void *freeze(void *arg)
{
	struct freezer *freezer = arg;
	int dir = t_open(MOUNTED, O_RDONLY | O_DIRECTORY);
	unsigned int before, i;
	double start;

	/* once there is something to find again */
	start = now();
	before = done_by(0, READ * EACH);
	while (done_by(0, READ * EACH) < before + 8 * READ * EACH && now() < start + bound(10))
		usleep(10000);
	start = now();
	if (ioctl(dir, FIFREEZE, 0)) {
		freezer->error = -errno;
		freezer->failed = "FIFREEZE";
		goto out;
	}
	freezer->took = now() - start;
	freezer->frozen = true;
	/* what has ended is told a little later */
	do {
		before = done_by(0, READ * EACH);
		usleep(300000);
	} while (before != done_by(0, READ * EACH) && now() < start + bound(10));
	for (i = 0; i < LANES; i++)
		freezer->done[i] = lanes[i].done;
	before = done_by(READ * EACH, LANES);

	freezer->error = copy(t_dev, COPY ".data", SIZE_FS);
	if (!freezer->error && strstr(fs->options, "rtdev"))
		freezer->error = copy(t_dev2, COPY ".realtime", SIZE_REALTIME);
	freezer->failed = freezer->error ? "copying" : NULL;

	freezer->reads = done_by(READ * EACH, LANES) - before;
	for (i = 0; i < READ * EACH; i++)
		if (freezer->done[i] != lanes[i].done)
			freezer->failed = "a write to a frozen file system has ended";
	if (ioctl(dir, FITHAW, 0))
		t_die("FITHAW: %m");
	freezer->frozen = false;
out:
	close(dir);
	usleep(300000);
	freezer->over = true;
	return NULL;
}

/* All lanes, until it is over; what they read is right. */
static enum t_result load_while(struct freezer *freezer)
{
	unsigned int i, left = LANES;
	enum t_result result = T_PASS;
	uint64_t lane;

	if (pthread_create(&freezer->thread, NULL, freeze, freezer))
		t_die("no thread");
	for (i = 0; i < LANES; i++)
		submit(i);
	t_submit(&ring);
	while (left) {
		int ret = t_reap(&ring, &lane);

		if (ret != (int)PIECE && result == T_PASS) {
			t_diag("%s: %s", lane / EACH == READ ? "read" : "write", t_number(ret));
			result = T_FAIL;
		}
		if (lane / EACH == READ && result == T_PASS) {
			pattern(want, PIECE, place(lane, lanes[lane].done + 1), 0);
			if (!t_same("read", buf.map + lane * PIECE, want, PIECE))
				result = T_FAIL;
		}
		lanes[lane].done++;
		if (freezer->over) {
			left--;
			continue;
		}
		/* readers are many, and who copies needs a processor */
		if (freezer->frozen)
			usleep(2000);
		submit(lane);
		t_submit(&ring);
	}
	pthread_join(freezer->thread, NULL);
	return result;
}

/* As each writer left it after the requests that are done. */
static enum t_result is_as_of(const char *dir, const unsigned int done[LANES])
{
	unsigned int lane, p;
	char path[64];
	int fds[2];

	for (p = 0; p < 2; p++) {
		snprintf(path, sizeof(path), "%s/%s", dir, p ? "grows" : "steady");
		fds[p] = t_open(path, O_RDONLY);
	}
	for (lane = 0; lane < READ * EACH; lane++) {
		const bool grows = lane / EACH == GROWS;

		for (p = 0; p < PLACES; p++) {
			const unsigned int seq = done[lane] - (done[lane] - p) % PLACES;	/* the last one here */
			const bool written = done[lane] >= p && seq > (grows ? lanes[lane].first : 0);
			const uint64_t pos = place(lane, p);
			const ssize_t got = pread(fds[grows], bytes, PIECE, pos);

			T_CHECK(got == (ssize_t)PIECE || (grows && !written && got >= 0), "%zd bytes of %s/%s at %llu",
				got, dir, grows ? "grows" : "steady", (unsigned long long)pos);
			if (written || !grows)
				pattern(want, PIECE, pos, written ? seq : 0);
			else
				memset(want, 0, PIECE);
			T_CHECK(t_same("file", bytes, want, got), "%s/%s at %llu, after %u of writer %u", dir, grows ? "grows" : "steady",
				(unsigned long long)pos, done[lane], lane);
		}
	}
	close(fds[0]);
	close(fds[1]);
	return T_PASS;
}

struct loop {
	int fd;
	char path[32];
};

static enum t_result loop_init(struct loop *loop, const char *file)
{
	struct loop_config config = { .fd = t_open(file, O_RDWR), .block_size = 512 };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

	close(control);
	snprintf(loop->path, sizeof(loop->path), "/dev/loop%d", number);
	loop->fd = open(loop->path, O_RDWR | O_CLOEXEC);
	T_CHECK(loop->fd >= 0 && !ioctl(loop->fd, LOOP_CONFIGURE, &config), "%s: %m (CONFIG_BLK_DEV_LOOP)", loop->path);
	close(config.fd);
	return T_PASS;
}

static void loop_exit(struct loop *loop)
{
	if (loop->fd < 0)
		return;
	ioctl(loop->fd, LOOP_CLR_FD, 0);
	close(loop->fd);
}

static enum t_result mounted_copy(const struct loop *data, unsigned long flags, const char *options, const struct freezer *freezer)
{
	enum t_result result;

	mkdir(COPY, 0700);
	T_CHECK(!mount(data->path, COPY, fs->type, flags, options), "mounting the copy: %m");
	result = is_as_of(COPY, freezer->done);
	T_CHECK(!umount(COPY), "unmounting the copy: %m");
	return result;
}

/* Before what is in its log is done, and after. XFS has some counters there alone while it is frozen. */
static enum t_result snapshot_is_right(const struct loop *data, const struct loop *realtime, const struct freezer *freezer)
{
	char options[2][64] = { "noload" };

	if (strcmp(fs->type, "xfs"))
		T_TRY(check_fs(fs, data->path, realtime->path));
	else
		for (unsigned int i = 0; i < 2; i++)
			snprintf(options[i], sizeof(options[i]), "nouuid%s%s%s", i ? "" : ",norecovery",
				 realtime->fd < 0 ? "" : ",rtdev=", realtime->path);
	T_TRY(mounted_copy(data, MS_RDONLY, options[0], freezer));
	T_TRY(mounted_copy(data, 0, options[1], freezer));
	return check_fs(fs, data->path, realtime->path);
}

static enum t_result snapshot(const struct freezer *freezer)
{
	struct loop data = { .fd = -1, .path = "" }, realtime = { .fd = -1, .path = "" };
	enum t_result result = loop_init(&data, COPY ".data");

	if (result == T_PASS && strstr(fs->options, "rtdev"))
		result = loop_init(&realtime, COPY ".realtime");
	if (result == T_PASS)
		result = snapshot_is_right(&data, &realtime, freezer);
	loop_exit(&data);
	loop_exit(&realtime);
	unlink(COPY ".data");
	unlink(COPY ".realtime");
	return result;
}

static enum t_result freezes(bool stormy)
{
	struct storm storm = { .buf = &buf, .pause = 2000 };
	struct freezer freezer = { 0 };
	unsigned int i, done[LANES];
	enum t_result result;

	for (i = 0; i < LANES; i++)
		lanes[i].first = lanes[i].done;
	T_CHECK(!ftruncate(files[GROWS].fd, 0), "ftruncate: %m");
	if (stormy && pthread_create(&storm.thread, NULL, blow, &storm))
		t_die("no thread");
	result = load_while(&freezer);
	if (stormy) {
		storm.stop = true;
		pthread_join(storm.thread, NULL);
		T_IS(storm.error, 0, "invalidate");
		t_diag("%u invalidations, the longest %.3f s", storm.count, storm.worst);
	}
	T_TRY(result);
	T_CHECK(!freezer.failed, "%s: %s", freezer.failed, t_number(freezer.error));
	for (i = 0; i < LANES; i++)
		done[i] = freezer.done[i] - lanes[i].first;
	t_diag("frozen in %.0f ms after %u and %u writes, %u reads meanwhile, %u writes afterwards", freezer.took * 1e3,
	       done[0], done[EACH], freezer.reads, lanes[0].done - freezer.done[0]);
	T_CHECK(done[0] && done[EACH] && freezer.reads, "nothing was done before it was frozen, or nothing was read");
	for (i = 0; i < LANES; i++)
		done[i] = lanes[i].done;
	T_TRY(is_as_of(MOUNTED, done));
	return snapshot(&freezer);
}

static enum t_result open_both(void)
{
	uint64_t pos;
	unsigned int i;

	file_open(&files[STEADY], "steady", O_TRUNC);
	file_open(&files[GROWS], "grows", O_TRUNC);
	for (pos = 0; pos < 2 * PLACES * EACH * PIECE; pos += PIECE) {
		pattern(bytes, PIECE, pos, 0);
		T_CHECK(pwrite(files[STEADY].cached, bytes, PIECE, pos) == (ssize_t)PIECE, "writing: %m");
	}
	T_CHECK(!fsync(files[STEADY].cached), "fsync: %m");
	for (i = 0; i < LANES; i++)
		lanes[i].done = 0;
	for (i = 0; i < 2; i++)
		T_IS(t_register(&ring, i, buf.fd, files[i].fd, 0), 1, "register");
	return T_PASS;
}

/* At the end, and what is left of it all. */
static enum t_result all_right(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		T_IS(t_clear(&ring, i), 1, "clear");
		file_close(&files[i]);
	}
	T_IS(unmount_fs(), 0, "unmounting");
	return check_fs(fs, t_dev, t_dev2);
}

int main(int argc, char **argv)
{
	/* a writer to what is frozen keeps its worker, and readers that find no mapping need one */
	unsigned int workers[2] = { 2 * LANES, 2 * LANES };
	const char *only = getenv("FS");
	unsigned int count = 0;
	size_t i;

	for (i = 0; i < T_COUNT(systems); i++)
		count += !only || !strcmp(only, systems[i].name);
	if (!count)
		t_die("FS=%s is none", only);
	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, 3 * count);
	if (!t_dev2)
		t_die("no second disk, for XFS's realtime device: name it in DEV2=");
	if (watched_init(&buf) != T_PASS)
		t_die("no test exporter (CONFIG_DMA_BUF_IO_TEST)");
	if (posix_memalign((void **)&bytes, 4096, PIECE))
		t_die("no memory");
	want = malloc(PIECE);
	t_ring_init(&ring, T_PLAIN, 64, 2);
	if (io_uring_register_iowq_max_workers(&ring.uring, workers))
		t_die("no more workers");
	for (i = 0; i < T_COUNT(systems); i++) {
		enum t_result there;

		fs = &systems[i];
		if (only && strcmp(only, fs->name))
			continue;
		there = mount_fs(fs, true);
		if (there == T_PASS)
			there = open_both();
		t_report(there == T_PASS ? freezes(false) : there, "%s: copied while frozen under I/O", fs->name);
		t_report(there == T_PASS ? freezes(true) : there, "%s: the same while the exporter invalidates", fs->name);
		t_report(there == T_PASS ? all_right() : there, "%s: nothing wrong at the end", fs->name);
		files_close_all();
	}
	t_ring_exit(&ring);
	watched_exit(&buf);
	return t_finish();
}
