// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Disks that consist of others: linear and striped ones of device mapper, RAID 0 of
 * md. A dma-buf is attached to each device below, requests are split among them, and
 * a table may change under a registration.
 */
#include "device.h"
#include "stack.h"
#include "trace.h"

#include <sys/uio.h>
#include <sys/wait.h>

#define PART	(48 * 1024UL)	/* sectors, 24 MiB: two of them are more than the image of a disk */
#define CHUNK_S	128		/* sectors of a stripe */
#define BUF	(4 * T_MIB)

/* A stack, made anew for each test, as tables may be changed. */
struct stack {
	const char *name;
	int (*make)(char path[32]);
	void (*unmake)(void);
	unsigned int legs;	/* disks below, of the first two */
	unsigned int piece;	/* bytes at most in a command, 0: as the disk */
};

static int linear(char path[32])
{
	struct dm_line line = { .sectors = 2 * PART, .type = "linear" };

	snprintf(line.args, sizeof(line.args), "%s 8", t_dev);
	return dm_create("one", &line, 1, path);
}

static int joined(char path[32])
{
	struct dm_line lines[] = { { .sectors = PART, .type = "linear" }, { .sectors = PART, .type = "linear" } };

	snprintf(lines[0].args, sizeof(lines[0].args), "%s 16", t_dev);
	snprintf(lines[1].args, sizeof(lines[1].args), "%s 0", t_dev2);
	return dm_create("one", lines, 2, path);
}

static int striped(char path[32])
{
	struct dm_line line = { .sectors = 2 * PART, .type = "striped" };

	snprintf(line.args, sizeof(line.args), "2 %d %s 0 %s 0", CHUNK_S, t_dev, t_dev2);
	return dm_create("one", &line, 1, path);
}

static void unmake_one(void)
{
	if (dm_remove("one"))
		t_die("removing the dm device: %m");
}

/* A linear device over a striped one. */
static int two_storeys(char path[32])
{
	struct dm_line line = { .sectors = 2 * PART - 8, .type = "linear" };
	char below[32];
	int ret = striped(below);

	if (ret)
		return ret;
	snprintf(line.args, sizeof(line.args), "%s 8", below);
	ret = dm_create("two", &line, 1, path);
	if (ret)
		unmake_one();
	return ret;
}

static void unmake_two(void)
{
	if (dm_remove("two"))
		t_die("removing the upper dm device: %m");
	unmake_one();
}

static int array;

static int raid0(char path[32])
{
	const char *disks[] = { t_dev, t_dev2 };

	array = md_create(0, disks, 2, CHUNK_S * 512);
	strcpy(path, "/tmp/md0");
	return array < 0 ? array : 0;
}

static void unmake_raid0(void)
{
	int ret = md_stop(array);

	if (ret)
		t_die("stopping the array: %s", t_number(ret));
}

static const struct stack stacks[] = {
	{ "dm-linear", linear, unmake_one, 1, 0 },
	{ "dm-linear over two disks", joined, unmake_one, 2, 0 },
	{ "dm-striped", striped, unmake_one, 2, CHUNK_S * 512 },
	{ "dm-linear over dm-striped", two_storeys, unmake_two, 2, CHUNK_S * 512 },
	{ "RAID 0", raid0, unmake_raid0, 2, CHUNK_S * 512 },
};

static struct t_disk disk;
static struct t_ring ring;
static struct t_buf buf;
static int fd;
static char path[32];

/* How many mappings of a dma-buf a disk makes: a head one for each path. */
static int mappings_of(const char *dev)
{
	int file = t_open(dev, O_RDWR | O_DIRECT), ret;
	struct t_ring one;
	struct t_buf page;

	t_buf_adopt(&page, export_buf(4096, 4096, 0), 4096);
	t_ring_init(&one, T_PLAIN, 1, 1);
	ret = t_register(&one, 0, page.fd, file, 0);
	if (ret != 1)
		t_die("%s takes no dma-buf: %s", dev, t_number(ret));
	ret = ask(&page, DMA_BUF_IO_TEST_LIVE);
	t_clear(&one, 0);
	t_ring_exit(&one);
	t_buf_exit(&page);
	close(file);
	return ret;
}

static int mappings(const struct stack *stack)
{
	static int each[2];

	if (!each[0]) {
		each[0] = mappings_of(t_dev);
		each[1] = t_dev2 ? mappings_of(t_dev2) : 0;
	}
	return each[0] + (stack->legs > 1 ? each[1] : 0);
}

/* What begin() made that end() undoes. */
static enum t_result begin(const struct stack *stack, enum t_mode mode, unsigned int flags)
{
	int ret, dmabuf;

	T_TRY(need_exporter());
	if (stack->legs > 1 && !t_dev2)
		return t_skip("no second disk: name one in DEV2=");
	mappings(stack);	/* while nobody has the disks */
	ret = stack->make(path);
	/* of kernels without device mapper, or md */
	if (ret == -ENOENT || ret == -ENXIO)
		return t_skip("%s: %s (CONFIG_BLK_DEV_DM, CONFIG_MD_RAID0)", stack->name, t_number(ret));
	T_CHECK(!ret && !access(path, F_OK), "%s: %s", stack->name, t_number(ret));
	t_disk_init(&disk, path);
	fd = t_open(path, O_RDWR | O_DIRECT);
	dmabuf = export_buf(BUF, 4096, flags);
	T_CHECK(dmabuf >= 0, "exporting: %s", t_number(dmabuf));
	t_buf_adopt(&buf, dmabuf, BUF);
	t_ring_init(&ring, mode, 128, 2);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), mappings(stack), "mappings");
	return T_PASS;
}

static enum t_result end(const struct stack *stack)
{
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(t_clear(&ring, 0), 1, "unregister");
	T_TRY(await_live(&buf, 0));
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	close(fd);
	t_disk_exit(&disk);
	stack->unmake();
	return T_PASS;
}

static const struct t_io io0 = { .slot = 0 };

static enum t_result both_ways(size_t off, size_t len, uint64_t pos)
{
	struct t_io io = io0;

	io.fd = fd;
	T_TRY(t_check_read(&ring, io, &disk, &buf, off, len, pos));
	return t_check_write(&ring, io, &disk, &buf, off, len, pos);
}

static enum t_result data(const struct stack *stack, enum t_mode mode)
{
	static const size_t lens[] = { 4096, 65536, 69632, T_MIB, 3 * T_MIB };
	/* of the devices, and of a chunk of a stripe, from its start or across its end */
	const uint64_t places[] = { 0, CHUNK_S * 512 - 4096, PART * 512 - 8192 };
	size_t i, p;

	T_TRY(t_need(mode));
	T_TRY(begin(stack, mode, 0));
	for (i = 0; i < T_COUNT(lens); i++) {
		for (p = 0; p < T_COUNT(places); p++) {
			if (places[p] + lens[i] > T_DISK_SIZE)
				continue;
			T_TRY(both_ways(i * 4096, lens[i], places[p]));
		}
	}
	/* the maps of all devices go and come together */
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings");
	T_TRY(both_ways(8192, 2 * T_MIB, PART * 512 - T_MIB));
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), mappings(stack), "mappings");
	return end(stack);
}

#define COMMAND	"nvme/nvme_setup_cmd"

/* Of a read of 1 MiB from the disk itself, whose queue may have been told to make small ones. */
static enum t_result commands_of_disk(long *count)
{
	int file = t_open(t_dev, O_RDWR | O_DIRECT);
	struct t_io io = { .fd = file, .len = T_MIB };
	struct t_ring one;
	struct t_buf mib;

	t_buf_adopt(&mib, export_buf(T_MIB, 4096, 0), T_MIB);
	t_ring_init(&one, T_PLAIN, 1, 1);
	T_IS(t_register(&one, 0, mib.fd, file, 0), 1, "register");
	T_TRY(trace_begin(COMMAND, "0"));
	T_IS(t_rw(&one, &io), T_MIB, "read of the disk");
	*count = trace_end(COMMAND);
	t_clear(&one, 0);
	t_ring_exit(&one);
	t_buf_exit(&mib);
	close(file);
	return T_PASS;
}

/* So many commands as there are pieces, and nothing is mapped for them. */
static enum t_result commands(const struct stack *stack)
{
	long count, want, maps = 0;
	struct t_io io;

	T_TRY(need_exporter());
	T_TRY(commands_of_disk(&want));
	T_TRY(begin(stack, T_PLAIN, 0));
	io = (struct t_io){ .fd = fd, .len = T_MIB, .pos = 0 };
	if (stack->piece && want < (long)(T_MIB / stack->piece))
		want = T_MIB / stack->piece;
	if (stack->unmake == unmake_two)	/* it starts inside a chunk */
		want++;
	T_TRY(trace_begin(COMMAND, "0"));
	T_IS(t_rw(&ring, &io), T_MIB, "read");
	count = trace_end(COMMAND);
	T_IS(count, want, "commands");
	if (trace_begin("iommu/map", "0") == T_PASS) {
		T_IS(t_rw(&ring, &io), T_MIB, "read");
		maps = trace_end("iommu/map");
	}
	T_IS(maps, 0, "IOMMU mappings");
	return end(stack);
}

/* Every request succeeds and each byte is right, whatever the exporter does. */
static int take_away(unsigned int round)
{
	usleep(round % 3 * 1000);
	return control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL);
}

static enum t_result storm(const struct stack *stack, enum t_mode mode)
{
	struct event event = { .happen = take_away, .rounds = 20 };
	struct load load = { .disk = &disk, .buf = &buf, .mode = mode };
	int error;

	T_TRY(t_need(mode));
	T_TRY(begin(stack, mode, DMA_BUF_IO_TEST_MOVES));
	load.fd = fd;
	t_ring_init(&load.ring, mode, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, fd, 0), 1, "register");
	T_TRY(load_during(&load, &event, &error));
	T_IS(error, 0, "request");
	T_IS(event.error, 0, "the exporter");
	t_ring_exit(&load.ring);
	T_IS(ask(&buf, DMA_BUF_IO_TEST_SCRIBBLED), 0, "bytes written too late");
	return end(stack);
}

/* Requests wait for a suspended device, and the exporter does not wait for them. */
static enum t_result suspended(void)
{
	struct t_io io = { .len = 65536 };
	uint64_t took = 0;

	T_TRY(begin(&stacks[0], T_PLAIN, DMA_BUF_IO_TEST_MOVES));
	io.fd = fd;
	T_IS(dm_call(DM_DEV_SUSPEND, "one", DM_SUSPEND_FLAG, NULL, 0, NULL), 0, "suspend");
	t_queue(&ring, &io, 0);
	t_submit(&ring);
	usleep(100000);
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, &took), 0, "invalidate");
	T_CHECK(took < bound(1) * 1e9, "the exporter waited %llu ms", (unsigned long long)took / 1000000);
	T_IS(dm_call(DM_DEV_SUSPEND, "one", 0, NULL, 0, NULL), 0, "resume");
	T_IS(t_reap(&ring, NULL), 65536, "read");
	T_CHECK(t_same("read", buf.map, disk.image, 65536), "wrong data");
	return end(&stacks[0]);
}

/* Another table: other devices are attached by the next request, and what keeps data ends it. */
static enum t_result reloaded(void)
{
	struct dm_line line = { .sectors = 2 * PART, .type = "linear" }, delay = { .sectors = 2 * PART, .type = "delay" };
	static unsigned char want[65536];
	struct t_io io = { .len = sizeof(want), .pos = 4096 };
	struct t_disk second;
	int ret;

	if (!t_dev2)
		return t_skip("no second disk: name one in DEV2=");
	t_disk_init(&second, t_dev2);
	memcpy(want, second.image + io.pos, sizeof(want));
	t_disk_exit(&second);
	T_TRY(begin(&stacks[0], T_PLAIN, 0));
	io.fd = fd;
	snprintf(line.args, sizeof(line.args), "%s 0", t_dev2);
	snprintf(delay.args, sizeof(delay.args), "%s 0 1", t_dev);
	T_IS(dm_load("one", &line, 1), 0, "load the other disk");
	T_IS(t_rw(&ring, &io), 65536, "read of the other disk");
	T_CHECK(t_same("read", buf.map, want, sizeof(want)), "wrong data");
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), mappings(&stacks[1]), "mappings");

	ret = dm_load("one", &delay, 1);
	T_IS(ret, 0, "load what delays (CONFIG_DM_DELAY)");
	T_IS(t_rw(&ring, &io), -EOPNOTSUPP, "read of what delays");
	T_IS(t_register(&ring, 1, buf.fd, fd, 0), -EOPNOTSUPP, "registering with what delays");

	snprintf(line.args, sizeof(line.args), "%s 8", t_dev);
	T_IS(dm_load("one", &line, 1), 0, "load the first disk");
	T_TRY(both_ways(0, 65536, 4096));
	return end(&stacks[0]);
}

/* Tables change under load, with targets that take dma-bufs and such that do not. */
static int change_table(unsigned int round)
{
	struct dm_line line = { .sectors = 2 * PART, .type = round % 2 ? "delay" : "linear" };

	snprintf(line.args, sizeof(line.args), round % 2 ? "%s 8 0" : "%s 8", t_dev);
	return dm_load("one", &line, 1);
}

static enum t_result reload_storm(void)
{
	struct event event = { .happen = change_table, .rounds = 40 };
	struct load load = { .disk = &disk, .buf = &buf, .ends = true };
	unsigned int refused = 0, done = 0;

	T_TRY(begin(&stacks[0], T_PLAIN, 0));
	load.fd = fd;
	event.load = &load;
	t_ring_init(&load.ring, T_PLAIN, DEPTH, 1);
	T_IS(t_register(&load.ring, 0, buf.fd, fd, 0), 1, "register");
	T_CHECK(!pthread_create(&event.thread, NULL, event_run, &event), "no thread");
	while (!event.done) {
		int ret = load_batch(&load, load.rounds++);

		T_CHECK(!ret || ret == -EOPNOTSUPP, "request: %s", t_number(ret));
		ret ? refused++ : done++;
	}
	pthread_join(event.thread, NULL);
	T_IS(event.error, 0, "loading a table");
	t_diag("%u batches done, %u refused", done, refused);
	T_CHECK(refused && done, "the tables made no difference");
	t_ring_exit(&load.ring);
	T_IS(change_table(0), 0, "load the first disk");
	t_disk_restore(&disk, SCRATCH, T_DISK_SIZE - SCRATCH);
	t_buf_begin(&buf);
	memcpy(buf.map, buf.poison, BUF);
	t_buf_end(&buf);
	T_TRY(both_ways(0, 65536, 4096));
	return end(&stacks[0]);
}

/* A leg that cannot: nothing is left of those that can. */
static enum t_result refused(void)
{
	struct dm_line lines[] = { { .sectors = PART, .type = "linear" }, { .sectors = PART, .type = "linear" } };
	int dmabuf, ret, err;

	T_TRY(need_exporter());
	snprintf(lines[0].args, sizeof(lines[0].args), "%s 0", t_dev);
	snprintf(lines[1].args, sizeof(lines[1].args), "/dev/nullb0 0");
	if (access("/dev/nullb0", F_OK))
		return t_skip("/dev/nullb0: %m (CONFIG_BLK_DEV_NULL_BLK)");
	T_IS(dm_create("one", lines, 2, path), 0, "join the disk and one that takes no dma-bufs");
	fd = t_open(path, O_RDWR | O_DIRECT);
	t_ring_init(&ring, T_PLAIN, 4, 1);
	dmabuf = export_buf(BUF, 4096, 0);
	T_CHECK(dmabuf >= 0, "exporting: %s", t_number(dmabuf));
	t_buf_adopt(&buf, dmabuf, BUF);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), -EOPNOTSUPP, "register");
	T_TRY(await_live(&buf, 0));
	close(fd);
	unmake_one();

	/* the exporter's: no path of the first can be attached, or mapped */
	if (t_dev2) {
		T_IS(joined(path), 0, "join two disks");
		fd = t_open(path, O_RDWR | O_DIRECT);
		for (err = ENOSPC; err; err = err == ENOSPC ? ENOMEM : 0) {
			T_IS(control(&buf, err == ENOSPC ? DMA_BUF_IO_TEST_FAIL_ATTACH : DMA_BUF_IO_TEST_FAIL_MAP,
				     times(mappings(&stacks[0]), err), NULL), 0, "let it fail");
			ret = t_register(&ring, 0, buf.fd, fd, 0);
			T_IS(ret, -err, "register");
			T_TRY(await_live(&buf, 0));
		}
		T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
		T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), mappings(&stacks[1]), "mappings");
		close(fd);
		/* the slot keeps it open */
		T_IS(dm_call(DM_DEV_REMOVE, "one", 0, NULL, 0, NULL), -EBUSY, "remove");
		T_IS(t_clear(&ring, 0), 1, "unregister");
		unmake_one();
	}
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	return T_PASS;
}

/* A vector whose ranges go to both disks. */
static enum t_result vector(const struct stack *stack)
{
	struct iovec iovs[32];
	unsigned int i;
	struct io_uring_sqe *sqe;

	T_TRY(begin(stack, T_PLAIN, 0));
	for (i = 0; i < 32; i++)
		iovs[i] = (struct iovec){ (void *)((31 - i) * 65536UL), 40960 };
	sqe = io_uring_get_sqe(&ring.uring);
	io_uring_prep_rw(T_OP_READV_FIXED, sqe, fd, iovs, 32, 8192);
	t_submit(&ring);
	T_IS(t_reap(&ring, NULL), 32 * 40960, "read");
	for (i = 0; i < 32; i++)
		T_CHECK(t_same("range", buf.map + (31 - i) * 65536UL, disk.image + 8192 + i * 40960UL, 40960), "wrong data");
	return end(stack);
}

/* Ordinary memory, polled, in more than one piece: for which device mapper had to be mended. */
static enum t_result plain(const struct stack *stack)
{
	unsigned char *memory = aligned_alloc(4096, T_MIB);
	struct t_io io = { .slot = -1, .addr = (uintptr_t)memory, .len = T_MIB };
	unsigned int i;
	bool same;

	T_TRY(t_need(T_POLLED));
	T_TRY(begin(stack, T_POLLED, 0));
	io.fd = fd;
	for (i = 0; i < 16; i++) {
		io.pos = i * T_MIB;
		memset(memory, 0, T_MIB);
		T_IS(t_rw(&ring, &io), T_MIB, "read");
		same = t_same("read", memory, disk.image + io.pos, T_MIB);
		T_CHECK(same, "wrong data");
	}
	free(memory);
	return end(stack);
}

static int run(int argc, char **argv)
{
	unsigned int i, mode;

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, T_COUNT(stacks) * 3 + T_MODES * 2 + 5);
	for (i = 0; i < T_COUNT(stacks); i++) {
		t_report(data(&stacks[i], T_PLAIN), "%s, every byte compared", stacks[i].name);
		t_report(commands(&stacks[i]), "%s, one command for each piece", stacks[i].name);
		t_report(vector(&stacks[i]), "%s, a vector", stacks[i].name);
	}
	for (mode = 0; mode < T_MODES; mode++) {
		/* md does not poll, whatever the memory */
		const struct stack *stack = &stacks[mode % 2 && mode != T_POLLED ? 4 : 2];

		t_report(data(&stacks[2], mode), "dm-striped, %s", t_mode_names[mode]);
		t_report(storm(stack, mode), "%s, a storm of invalidations, %s", stack->name, t_mode_names[mode]);
	}
	t_report(plain(&stacks[2]), "ordinary memory, dm-striped, polled");
	t_report(suspended(), "a suspended device");
	t_report(reloaded(), "another table");
	t_report(reload_storm(), "other tables under load");
	t_report(refused(), "a device that cannot");
	return t_finish();
}

/* In a process of its own, so that what a test that fails leaves behind is not in the way of others. */
int main(int argc, char **argv)
{
	int status = 0, md;
	pid_t pid;

	pid = fork();
	if (!pid)
		return run(argc, argv);
	waitpid(pid, &status, 0);
	if (!dm_remove("two"))
		puts("# the upper dm device was left");
	if (!dm_remove("one"))
		puts("# the dm device was left");
	md = open("/tmp/md0", O_RDWR | O_CLOEXEC);
	if (md >= 0)
		md_stop(md);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
