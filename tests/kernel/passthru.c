// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * NVMe passthrough: IORING_OP_URING_CMD with a dma-buf slot on /dev/ngXnY. What
 * a command moves is compared with plain reads of the block device.
 */
#include "exporter.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/nvme_ioctl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>

#define SIZE	(4 * T_MIB)
#define DEPTH	64U
#define BLOCK	65536UL

enum { FLUSH = 0x00, WRITE = 0x01, READ = 0x02, COMPARE = 0x05, DSM = 0x09 };
#define LBA_RANGE 0x4080	/* not to be tried again: a block beyond the end */
#define COMPARE_FAILURE 0x285

static struct t_disk disk;
static int ng = -1, nsid;

static void ring_init(struct t_ring *ring, enum t_mode mode, unsigned int slots)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQE128 | IORING_SETUP_CQE32 };
	int ret;

	if (mode == T_SQPOLL)
		params.flags |= IORING_SETUP_SQPOLL;
	else if (mode == T_DEFER)
		params.flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	else if (mode == T_POLLED)
		params.flags |= IORING_SETUP_IOPOLL;
	ring->mode = mode;
	ret = io_uring_queue_init_params(DEPTH, &ring->uring, &params);
	if (ret)
		t_die("io_uring_setup, %s ring: %s", t_mode_names[mode], t_number(ret));
	ret = io_uring_register_buffers_sparse(&ring->uring, slots);
	if (ret)
		t_die("sparse table: %s", t_number(ret));
}

struct command {
	int fd;			/* 0: that of the character device */
	unsigned int opcode, slot;
	uint64_t addr, pos;
	uint32_t len;		/* of the buffer */
	uint32_t blocks;	/* 0: as many as the buffer has */
	uint32_t timeout_ms;
	bool metadata, vector;
};

static void queue(struct t_ring *ring, const struct command *c, uint64_t user_data)
{
	static struct iovec vector = { .iov_len = 4096 };
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
	uint32_t blocks = c->blocks ? c->blocks : c->len / disk.lba;
	uint64_t lba = c->pos / disk.lba;
	struct nvme_uring_cmd *cmd;

	if (!sqe)
		t_die("the submission queue is full");
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = c->fd ? c->fd : ng;
	sqe->cmd_op = c->vector ? NVME_URING_CMD_IO_VEC : NVME_URING_CMD_IO;
	sqe->rw_flags = 1;	/* IORING_URING_CMD_FIXED */
	sqe->buf_index = c->slot;
	sqe->user_data = user_data;
	if (ring->mode == T_ASYNC)
		sqe->flags |= IOSQE_ASYNC;
	cmd = (struct nvme_uring_cmd *)sqe->cmd;
	*cmd = (struct nvme_uring_cmd){
		.opcode = c->opcode, .nsid = nsid, .addr = c->vector ? (uintptr_t)&vector : c->addr,
		.data_len = c->vector ? 1 : c->len,
		.cdw10 = lba, .cdw11 = lba >> 32, .cdw12 = blocks - 1, .timeout_ms = c->timeout_ms,
		.metadata = c->metadata ? (uintptr_t)cmd : 0, .metadata_len = c->metadata ? 8 : 0,
	};
}

static int execute(struct t_ring *ring, const struct command *c)
{
	queue(ring, c, 0);
	t_submit(ring);
	return t_reap(ring, NULL);
}

static enum t_result begin(struct t_ring *ring, enum t_mode mode, struct t_buf *buf, enum t_kind kind)
{
	T_TRY(t_need(mode));
	T_TRY(t_buf_init(buf, kind, SIZE));
	ring_init(ring, mode, 2);
	T_IS(t_register(ring, 0, buf->fd, ng, 0), 1, "register");
	return T_PASS;
}

static enum t_result moves(enum t_mode mode, enum t_kind kind)
{
	static const uint32_t lens[] = { 512, 4096, 8192, 12288, 65536, 65536 + 512, 524288 };
	static const size_t offs[] = { 0, 512, 4096 - 512, 1048576 - 4096 };
	/* of the path with the shortest commands */
	const uint32_t most = atoi(get("/sys/class/block/%s/queue/max_hw_dmabuf_sectors_kb", disk_name(t_dev))) * 1024;
	struct t_ring ring;
	struct t_buf buf;
	unsigned int l, o;

	T_TRY(begin(&ring, mode, &buf, kind));
	for (l = 0; l < T_COUNT(lens); l++) {
		for (o = 0; o < T_COUNT(offs); o++) {
			const uint64_t pos = (l * 16 + o) * 65536;
			struct command c = { .opcode = READ, .addr = offs[o], .len = lens[l], .pos = pos };

			if (lens[l] % disk.lba || lens[l] > most || offs[o] % 4)
				continue;
			T_IS(execute(&ring, &c), 0, "read");
			t_buf_begin(&buf);
			T_CHECK(t_same("read", buf.map + offs[o], disk.image + pos, lens[l]), "len %u", lens[l]);
			T_CHECK(t_same("before", buf.map, buf.poison, offs[o]), "len %u", lens[l]);
			T_CHECK(t_same("after", buf.map + offs[o] + lens[l], buf.poison + offs[o] + lens[l],
				       SIZE - offs[o] - lens[l]), "len %u", lens[l]);
			t_buf_end(&buf);
			c.opcode = COMPARE;
			T_IS(execute(&ring, &c), 0, "compare");
			t_buf_begin(&buf);
			memset(buf.map + offs[o], 0x5a + l, lens[l]);
			t_buf_end(&buf);
			T_IS(execute(&ring, &c), COMPARE_FAILURE, "compare what differs");
			c.opcode = WRITE;
			T_IS(execute(&ring, &c), 0, "write");
			T_CHECK(t_same("written", t_disk_read(&disk, pos, lens[l]), buf.map + offs[o], lens[l]), "len %u", lens[l]);
			t_disk_restore(&disk, pos, lens[l]);
			t_buf_begin(&buf);
			memcpy(buf.map, buf.poison, SIZE);
			t_buf_end(&buf);
		}
	}
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	t_buf_exit(&buf);
	return T_PASS;
}

static enum t_result refused(void)
{
	const struct command good = { .opcode = READ, .len = 4096 };
	struct io_uring_sqe *sqe;
	struct t_ring ring;
	struct t_buf buf;
	struct command c;
	int bdev, other;

	T_TRY(begin(&ring, T_PLAIN, &buf, T_UDMABUF));
#define WITH(what, wanted, ...) do {							\
	c = good;									\
	__VA_ARGS__;									\
	T_IS(execute(&ring, &c), wanted, what);						\
} while (0)
	WITH("more blocks than the buffer", -EINVAL, c.blocks = 4096 / disk.lba + 1);
	WITH("a count that would make data a list of addresses", -EINVAL, c.blocks = 524288 / disk.lba);
	WITH("fewer blocks than the buffer", -EINVAL, c.len = 8192; c.blocks = 1);
	WITH("metadata", -EOPNOTSUPP, c.metadata = true);
	WITH("a vector", -EOPNOTSUPP, c.vector = true);
	WITH("another command", -EOPNOTSUPP, c.opcode = DSM);
	WITH("a command of the vendor's", -EOPNOTSUPP, c.opcode = 0xc2);
	WITH("outside of the buffer", -EFAULT, c.addr = SIZE - 2048);
	WITH("an offset that wraps", -EFAULT, c.addr = UINT64_MAX - 2048);
	WITH("an empty slot", -EFAULT, c.slot = 1);
	WITH("an offset that is no multiple of 4", -EINVAL, c.addr = 2);
	WITH("beyond the end of the disk, the controller's own status", LBA_RANGE, c.pos = 1ULL << 50);
	WITH("a timeout longer than any", 0, c.timeout_ms = UINT_MAX);
	WITH("the same without a fault", 0, (void)c);

	other = dup(ng);
	WITH("a duplicate of the descriptor", 0, c.fd = other);
	close(other);
	bdev = t_open(t_dev, O_RDWR | O_DIRECT);
	T_IS(t_register(&ring, 1, buf.fd, bdev, 0), 1, "register for the block device");
	WITH("what is registered for the block device", -EBADF, c.slot = 1);

	/* ordinary reads: as with other buffers the character device has none */
	sqe = io_uring_get_sqe(&ring.uring);
	if (!sqe)
		t_die("the submission queue is full");
	memset(sqe, 0, 2 * sizeof(*sqe));
	io_uring_prep_read_fixed(sqe, ng, NULL, 4096, 0, 0);
	t_submit(&ring);
	T_IS(t_reap(&ring, NULL), -EINVAL, "READ_FIXED");
	t_ring_exit(&ring);
	close(bdev);
	t_buf_exit(&buf);
	return T_PASS;
}

static atomic_bool stop;
static atomic_uint blows;

static void *blow(void *arg)
{
	while (!stop) {
		if (control(arg, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL))
			t_die("invalidate: %m");
		blows++;
		usleep(1000);
	}
	return NULL;
}

/* Every command ends well, however often the mapping goes. */
static enum t_result storm(enum t_mode mode)
{
	struct command c[DEPTH];
	unsigned int i, done = 0, in_flight;
	pthread_t thread;
	struct t_ring ring;
	struct t_buf buf;
	uint64_t which;

	T_TRY(need_exporter());
	T_TRY(t_need(mode));
	t_buf_adopt(&buf, export_buf(DEPTH * BLOCK, 4096, DMA_BUF_IO_TEST_MOVES), DEPTH * BLOCK);
	ring_init(&ring, mode, 1);
	T_IS(t_register(&ring, 0, buf.fd, ng, 0), 1, "register");
	stop = false;
	blows = 0;
	if (pthread_create(&thread, NULL, blow, &buf))
		t_die("no thread");
	for (i = 0; i < DEPTH; i++) {
		c[i] = (struct command){ .opcode = READ, .addr = i * BLOCK, .pos = i * BLOCK, .len = i % 3 ? 4096 : BLOCK };
		queue(&ring, &c[i], i);
	}
	t_submit(&ring);
	for (in_flight = DEPTH; in_flight;) {
		T_IS(t_reap(&ring, &which), 0, "read");
		T_CHECK(t_same("read", buf.map + c[which].addr, disk.image + c[which].pos, c[which].len), "wrong data");
		in_flight--;
		if (++done < 4 * DEPTH || blows < 20) {
			c[which].pos = (which * 7 + done * 13) % 256 * BLOCK;
			queue(&ring, &c[which], which);
			t_submit(&ring);
			in_flight++;
		}
	}
	stop = true;
	pthread_join(thread, NULL);
	t_diag("%u commands, %u invalidations, %llu mappings", done, blows,
	       (unsigned long long)ask(&buf, DMA_BUF_IO_TEST_TOTAL));
	T_CHECK(ask(&buf, DMA_BUF_IO_TEST_TOTAL) > 1, "nothing was ever mapped again");
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	T_TRY(await_live(&buf, 0));
	T_IS(ask(&buf, DMA_BUF_IO_TEST_SCRIBBLED), 0, "bytes written too late");
	t_buf_exit(&buf);
	return T_PASS;
}

int main(int argc, char **argv)
{
	char path[64];
	unsigned int mode, kind;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_MODES + 4 + 1 + T_MODES);
	t_disk_init(&disk, t_dev);
	snprintf(path, sizeof(path), "/dev/ng%s", t_dev + strlen("/dev/nvme"));
	ng = t_open(path, O_RDWR);
	nsid = ioctl(ng, NVME_IOCTL_ID);
	for (mode = 0; mode < T_MODES; mode++)
		t_report(moves(mode, T_SCATTERED), "read, compare, write, %s", t_mode_names[mode]);
	for (kind = T_UDMABUF; kind < T_USER; kind++)
		t_report(moves(T_PLAIN, kind), "read, compare, write, %s", t_kind_names[kind]);
	t_report(refused(), "what is refused, and how");
	for (mode = 0; mode < T_MODES; mode++)
		t_report(storm(mode), "a storm of invalidations, %s", t_mode_names[mode]);
	close(ng);
	t_disk_exit(&disk);
	return t_finish();
}
