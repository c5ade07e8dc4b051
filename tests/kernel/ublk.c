// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Buffers of the third kind: the memory of a request to a block device that we
 * serve ourselves (ublk, zero copy), in one table with dma-bufs and user
 * memory. Neither driver takes the other's slot, and a dma-buf may replace a
 * request's buffer while the NVMe device still reads into it.
 */
#include "helpers.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/ublk_cmd.h>

/* Debian 12's header has only the first operations, without their ioctl form. */
#define CONTROL(number)	_IOWR('u', number, struct ublksrv_ctrl_cmd)
#define IO(number)	_IOWR('u', number, struct ublksrv_io_cmd)
#define FETCH		IO(0x20)
#define COMMIT_AND_FETCH IO(0x21)
#define REGISTER	IO(0x23)
#define UNREGISTER	IO(0x24)
#define NO_PARTITIONS	(1ULL << 18)

#define SIZE	(256 * 1024UL)
#define ROUNDS	16

enum { DMABUF, USER, REQUEST, SLOTS };
enum { FETCHED = 1, COMMAND, DATA };

struct server {
	struct t_ring control, ring;
	struct ublksrv_io_desc *desc;	/* of the one request at a time */
	int id, fd;			/* of the character device */
	char path[32];			/* of the disk that is served */
};

struct client {
	pthread_t thread;
	const char *path;
	bool write;
	uint64_t pos;
	unsigned char *data;		/* SIZE bytes */
	ssize_t ret;
};

static struct t_disk disk;
static struct t_buf dmabuf, user;
static struct t_leaks leaks;
static int fd;			/* of the NVMe disk */
static int device;		/* /dev/ublk-control */

static struct io_uring_sqe *new_command(struct t_ring *ring, int file, unsigned int op, size_t size)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	if (!sqe)
		t_die("the ring is full");
	memset(sqe, 0, size);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = file;
	sqe->cmd_op = op;
	return sqe;
}

/* The kernel takes the command's 32 bytes only from a ring of large entries. */
static int control(struct server *server, unsigned int number, void *data, size_t len, uint64_t value)
{
	struct io_uring_sqe *sqe = new_command(&server->control, device, CONTROL(number), 2 * sizeof(*sqe));
	struct ublksrv_ctrl_cmd *cmd = (void *)sqe->cmd;
	int ret;

	*cmd = (struct ublksrv_ctrl_cmd){
		.dev_id = server->id, .queue_id = -1, .addr = (uintptr_t)data,
		.len = len, .data = { value },
	};
	t_submit(&server->control);
	ret = t_reap(&server->control, NULL);
	if (ret < 0)
		t_diag("control command %#x of ublk: %s", number, t_number(ret));
	return ret;
}

static void queue_command(struct server *server, unsigned int op, uint64_t addr, int result, uint64_t user_data)
{
	struct io_uring_sqe *sqe = new_command(&server->ring, server->fd, op, sizeof(*sqe));
	struct ublksrv_io_cmd *cmd = (void *)sqe->cmd;

	sqe->user_data = user_data;
	*cmd = (struct ublksrv_io_cmd){ .result = result, .addr = addr };
	t_submit(&server->ring);
}

static int command(struct server *server, unsigned int op, unsigned int slot)
{
	queue_command(server, op, slot, 0, COMMAND);
	return t_reap(&server->ring, NULL);
}

static enum t_result start(struct server *server, enum t_mode mode)
{
	struct ublksrv_ctrl_dev_info info = {
		.nr_hw_queues = 1, .queue_depth = 1, .max_io_buf_bytes = SIZE, .dev_id = -1,
		.flags = UBLK_F_SUPPORT_ZERO_COPY | NO_PARTITIONS,
	};
	struct ublk_params params = {
		.len = sizeof(params), .types = UBLK_PARAM_TYPE_BASIC,
		.basic = {
			.logical_bs_shift = 12, .physical_bs_shift = 12, .io_opt_shift = 12, .io_min_shift = 12,
			.max_sectors = SIZE / 512, .dev_sectors = T_DISK_SIZE / 512,
		},
	};
	char path[32];
	int ret = io_uring_queue_init(4, &server->control.uring, IORING_SETUP_SQE128);

	T_IS(ret, 0, "ring for control commands");
	server->id = -1;
	T_IS(control(server, UBLK_CMD_ADD_DEV, &info, sizeof(info), 0), 0, "add");
	server->id = info.dev_id;
	T_IS(control(server, UBLK_CMD_SET_PARAMS, &params, sizeof(params), 0), 0, "parameters");
	snprintf(path, sizeof(path), "/dev/ublkc%d", server->id);
	snprintf(server->path, sizeof(server->path), "/dev/ublkb%d", server->id);
	server->fd = t_open(path, O_RDWR);
	server->desc = mmap(NULL, T_PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, server->fd, 0);
	T_CHECK(server->desc != MAP_FAILED, "%s: mmap: %m", path);

	t_ring_init(&server->ring, mode, 8, SLOTS);
	T_IS(t_register(&server->ring, DMABUF, dmabuf.fd, fd, 0), 1, "register the dma-buf");
	T_IS(t_register_user(&server->ring, USER, user.map, SIZE, 0), 1, "register user memory");
	queue_command(server, FETCH, 0, 0, FETCHED);
	T_IS(control(server, UBLK_CMD_START_DEV, NULL, 0, getpid()), 0, "start");
	return T_PASS;
}

static enum t_result stop(struct server *server)
{
	uint64_t data;

	T_IS(control(server, UBLK_CMD_STOP_DEV, NULL, 0, 0), 0, "stop");
	T_IS(t_reap(&server->ring, &data), UBLK_IO_RES_ABORT, "the fetch that nothing came for");
	T_IS(data, FETCHED, "what ended");
	t_ring_exit(&server->ring);
	munmap(server->desc, T_PAGE);
	close(server->fd);
	T_IS(control(server, UBLK_CMD_DEL_DEV, NULL, 0, 0), 0, "delete");
	io_uring_queue_exit(&server->control.uring);
	return t_leaks_check(&leaks);
}

static void *use(void *arg)
{
	struct client *client = arg;
	int file = t_open(client->path, O_RDWR | O_DIRECT);

	client->ret = client->write ? pwrite(file, client->data, SIZE, client->pos) :
				      pread(file, client->data, SIZE, client->pos);
	if (client->ret < 0)
		client->ret = -errno;
	close(file);
	return NULL;
}

/* Somebody sends one request, and we have it. */
static enum t_result request(struct server *server, struct client *client)
{
	uint64_t data;

	client->path = server->path;
	if (pthread_create(&client->thread, NULL, use, client))
		t_die("pthread_create: %m");
	T_IS(t_reap(&server->ring, &data), UBLK_IO_RES_OK, "a request");
	T_IS(data, FETCHED, "what came");
	T_IS(ublksrv_get_op(server->desc), client->write ? UBLK_IO_OP_WRITE : UBLK_IO_OP_READ, "operation");
	T_IS(server->desc->nr_sectors, SIZE / 512, "sectors");
	T_IS(server->desc->start_sector, client->pos / 512, "first sector");
	T_IS(command(server, REGISTER, REQUEST), 0, "the request's buffer into its slot");
	return T_PASS;
}

static enum t_result commit(struct server *server, struct client *client)
{
	struct timespec soon;

	queue_command(server, COMMIT_AND_FETCH, 0, SIZE, FETCHED);
	/* A worker that has done a read gives it, and so its buffer, back by task work. */
	do {
		io_uring_get_events(&server->ring.uring);
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_sec++;
	} while (pthread_timedjoin_np(client->thread, NULL, &soon));
	T_IS(client->ret, SIZE, client->write ? "what the client wrote" : "what the client read");
	return T_PASS;
}

/* Far from what clients write. */
static enum t_result neighbours(struct server *server, unsigned int round)
{
	const uint64_t pos = T_DISK_SIZE / 2 + round * T_PAGE;
	struct t_io io = { .fd = fd, .slot = DMABUF };

	T_TRY(t_check_read(&server->ring, io, &disk, &dmabuf, round * 512, 12288, pos));
	T_TRY(t_check_write(&server->ring, io, &disk, &dmabuf, round * 512, 12288, pos));
	io.slot = USER;
	T_TRY(t_check_read(&server->ring, io, &disk, &user, round * 512, 12288, pos));
	return T_PASS;
}

static enum t_result mixed(struct server *server)
{
	struct client client = { .data = aligned_alloc(T_PAGE, SIZE) };
	unsigned int round;

	for (round = 0; round < ROUNDS; round++) {
		const struct t_io io = {
			.fd = fd, .slot = REQUEST, .write = round % 2, .len = SIZE, .pos = round * 3 * T_PAGE,
		};

		client.write = io.write;
		client.pos = io.pos;
		memset(client.data, ~round, SIZE);
		T_TRY(request(server, &client));
		T_TRY(neighbours(server, round));
		T_IS(t_rw(&server->ring, &io), SIZE, "the device's I/O with the request's buffer");
		T_TRY(neighbours(server, round + 1));
		T_IS(command(server, UNREGISTER, REQUEST), 0, "the request's buffer out of its slot");
		T_TRY(commit(server, &client));
		if (io.write) {
			T_CHECK(t_same("the disk", t_disk_read(&disk, io.pos, SIZE), client.data, SIZE), "wrong data");
			t_disk_restore(&disk, io.pos, SIZE);
		} else {
			T_CHECK(t_same("the client's buffer", client.data, disk.image + io.pos, SIZE), "wrong data");
		}
	}
	free(client.data);
	return T_PASS;
}

static enum t_result kept(struct server *server)
{
	struct client client = { .data = aligned_alloc(T_PAGE, SIZE) };
	const struct t_io io = { .fd = fd, .slot = REQUEST, .len = SIZE };

	T_TRY(request(server, &client));
	T_IS(command(server, REGISTER, DMABUF), -EBUSY, "a request's buffer over a dma-buf");
	T_IS(command(server, UNREGISTER, DMABUF), -EBUSY, "a dma-buf as if it were a request's buffer");
	T_TRY(neighbours(server, 0));
	T_IS(t_rw(&server->ring, &io), SIZE, "read into the request's buffer");
	T_IS(command(server, UNREGISTER, REQUEST), 0, "the request's buffer out of its slot");
	T_TRY(commit(server, &client));
	T_CHECK(t_same("the client's buffer", client.data, disk.image, SIZE), "wrong data");
	free(client.data);
	return T_PASS;
}

/* The request lives until its read has ended, and only then. */
static enum t_result replaced(struct server *server)
{
	struct client client = { .data = aligned_alloc(T_PAGE, SIZE) };
	struct t_leaks between;
	unsigned int round;
	uint64_t data;

	T_TRY(t_leaks_init(&between));
	for (round = 0; round < ROUNDS; round++) {
		const struct t_io io = { .fd = fd, .slot = REQUEST, .len = SIZE, .pos = round * 5 * T_PAGE };
		const struct t_io after = { .fd = fd, .slot = REQUEST };

		client.pos = io.pos;
		memset(client.data, ~round, SIZE);
		T_TRY(request(server, &client));
		t_queue(&server->ring, &io, DATA);
		t_submit(&server->ring);
		/* The SQPOLL thread and io-wq look a slot up when they get to the request. */
		if (server->ring.mode == T_SQPOLL)
			while (io_uring_sq_ready(&server->ring.uring))
				usleep(100);
		if (server->ring.mode == T_ASYNC) {
			T_IS(t_reap(&server->ring, &data), SIZE, "read into the request's buffer");
			T_IS(data, DATA, "what ended");
		}
		T_IS(t_register(&server->ring, REQUEST, dmabuf.fd, fd, 0), 1, "a dma-buf over the request's buffer");
		if (server->ring.mode != T_ASYNC) {
			T_IS(t_reap(&server->ring, &data), SIZE, "read into the request's buffer");
			T_IS(data, DATA, "what ended");
		}
		T_IS(command(server, UNREGISTER, REQUEST), -EBUSY, "what is a dma-buf now, as a request's buffer");
		T_TRY(commit(server, &client));
		T_CHECK(t_same("the client's buffer", client.data, disk.image + io.pos, SIZE), "wrong data");
		T_TRY(t_check_read(&server->ring, after, &disk, &dmabuf, 4096, 8192, io.pos));
		T_IS(t_clear(&server->ring, REQUEST), 1, "clear");
		T_TRY(t_leaks_check(&between));
	}
	free(client.data);
	return T_PASS;
}

/* A driver without a device has nothing to map for. */
static enum t_result target(struct server *server)
{
	int served = t_open(server->path, O_RDWR | O_DIRECT);
	int ret = t_register(&server->ring, REQUEST, dmabuf.fd, served, 0);

	close(served);
	T_IS(ret, -EOPNOTSUPP, server->path);
	return T_PASS;
}

static const struct {
	const char *name;
	enum t_result (*run)(struct server *server);
} tests[] = {
	{ "requests, dma-bufs and user memory in one table", mixed },
	{ "a dma-buf's slot is not the request's", kept },
	{ "a dma-buf replaces the buffer that a device reads into", replaced },
	{ "the device that is served is no target", target },
};

static enum t_result on(enum t_mode mode, unsigned int test)
{
	struct server server = { 0 };

	if (mode == T_POLLED)
		return t_skip("polled rings take no commands for ublk");
	T_TRY(start(&server, mode));
	T_TRY(tests[test].run(&server));
	return stop(&server);
}

int main(int argc, char **argv)
{
	unsigned int i, mode;

	device = open("/dev/ublk-control", O_RDWR | O_CLOEXEC);
	t_start(argc > 1 ? argv[1] : NULL, NULL, true, device < 0 ? 1 : T_COUNT(tests) * T_MODES);
	if (device < 0) {
		t_report(t_skip("/dev/ublk-control: %m (see kernel/configs/debug.config)"), "ublk");
		return t_finish();
	}
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	if (t_buf_init(&dmabuf, T_SCATTERED, SIZE) != T_PASS || t_buf_init(&user, T_USER, SIZE) != T_PASS)
		t_die("/dev/udmabuf: %m (CONFIG_UDMABUF)");
	if (t_leaks_init(&leaks) != T_PASS)
		t_die("/sys/kernel/debug/dma_buf/bufinfo: %m (mount debugfs)");
	for (i = 0; i < T_COUNT(tests); i++)
		for (mode = 0; mode < T_MODES; mode++)
			t_report(on(mode, i), "%s, %s", tests[i].name, t_mode_names[mode]);
	t_buf_exit(&dmabuf);
	t_buf_exit(&user);
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
