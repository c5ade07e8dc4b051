// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random operations on rings of every mode for SECONDS= (default 5), the same
 * ones for the same SEED=: registration, good and bad, I/O, good and bad,
 * invalidation, revocation, cancelling, cloning, ring exit, controller reset.
 *
 * What each byte must be is known: a request in flight owns its range of the
 * buffer and of the disk, so that nothing else changes them, and slot i of any
 * ring only ever holds buffer i % BUFS. So all slots of a buffer share one mapping.
 * A request that is in flight while its slot or buffer changes may also fail, with
 * the error of that change.
 */
#include "exporter.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#define BUFS	8
#define SLOTS	(3 * BUFS)
#define DEPTH	32
#define SIZE	T_MIB
#define LINES	60
#define RANGES	8	/* of a vector */

struct op {
	bool busy;
	bool unsure;		/* the slot has changed since: -EFAULT and -EBADF, too */
	bool cancelled;		/* somebody tried to */
	int want;		/* result in a world at rest */
	bool map_fails;		/* the exporter was told so */
	bool gone;		/* the buffer was revoked */
	unsigned int buf;
	struct t_io io;
	struct iovec ranges[RANGES];
};

struct ring {
	struct t_ring ring;
	int target, other;	/* two struct files of the disk */
	unsigned int file;	/* number of that of ->target */
	unsigned int slots[SLOTS];	/* number of the file that it is for; 0: none */
	struct op ops[DEPTH];
	unsigned int in_flight;
};

struct buf {
	struct t_buf buf;	/* ->poison is what ->map must hold */
	bool moves;
	bool map_fails;
};

static struct t_disk disk;
static struct ring rings[T_MODES];
static unsigned int nr_rings;
static struct buf bufs[BUFS];
static struct t_leaks leaks;
static char lines[LINES][160];
static unsigned long line, ios, clones, cancels;
static int common;		/* a struct file that rings share, number 1 */
static unsigned int files = 1;
static unsigned int seed;
static unsigned long long state;

static unsigned int rnd(unsigned int below)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (state >> 33) % below;
}

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(lines[line++ % LINES], sizeof(lines[0]), fmt, args);
	va_end(args);
}

static void __attribute__((noreturn, format(printf, 1, 2))) broken(const char *fmt, ...)
{
	unsigned long i = line > LINES ? line - LINES : 0;
	char why[256];
	va_list args;

	for (; i < line; i++)
		t_diag("%lu: %s", i, lines[i % LINES]);
	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	t_die("SEED=%u, operation %lu: %s", seed, line, why);
}

#define MUST(got, want, what) do {					\
	long _got = (got), _want = (want);				\
									\
	if (_got != _want)						\
		broken("%s: got %s, wanted %s", what, t_number(_got), t_number(_want)); \
} while (0)

static void each_op(unsigned int ring, int slot, int buf, void (*change)(struct op *op))
{
	unsigned int r, i;

	for (r = 0; r < nr_rings; r++)
		for (i = 0; i < DEPTH; i++) {
			struct op *op = &rings[r].ops[i];

			if (op->busy && (ring == T_MODES || (r == ring && op->io.slot == slot)) &&
			    (buf < 0 || op->buf == (unsigned int)buf))
				change(op);
		}
}

static void now_unsure(struct op *op)
{
	op->unsure = true;
}

static void now_cancelled(struct op *op)
{
	op->cancelled = true;
}

static void now_failing(struct op *op)
{
	op->map_fails = true;
}

static void now_gone(struct op *op)
{
	op->gone = true;
}

/* What fail_maps() lets a request get; EAGAIN is not for it, and EINTR no reason to give up. */
static bool of_map(int err)
{
	return err == -ENOMEM || err == -EBUSY || err == -EIO;
}

static bool of_registering(int err)
{
	return of_map(err) || err == -EAGAIN || err == -EINTR;
}

/* A request that goes on in pieces ends with what was done before one failed. */
static bool is_short(const struct op *op, int ret)
{
	return ret > 0 && ret < (int)op->io.len && (op->cancelled || op->map_fails || op->gone);
}

static bool may_end(const struct op *op, int ret)
{
	if (is_short(op, ret))
		return true;
	return ret == op->want || (op->unsure && (ret == -EFAULT || ret == -EBADF || ret == (int)op->io.len)) ||
	       (op->cancelled && ret == -ECANCELED) || (op->map_fails && of_map(ret)) || (op->gone && ret == -ENODEV);
}

/* Buffers */

static void buf_init(struct buf *buf, bool exported)
{
	static const unsigned int segments[] = { 4096, 8192, 65536, SIZE };
	unsigned int flags = rnd(4) ? DMA_BUF_IO_TEST_MOVES : DMA_BUF_IO_TEST_SHRINKS;
	int fd;

	memset(buf, 0, sizeof(*buf));
	if (!exported) {
		if (t_buf_init(&buf->buf, T_HEAP, SIZE) != T_PASS)
			t_die("/dev/dma_heap/system: %m (CONFIG_DMABUF_HEAPS_SYSTEM)");
		return;
	}
	fd = export_buf(SIZE, segments[rnd(T_COUNT(segments))], flags);
	if (fd < 0)
		broken("no dma-buf from the exporter: %s", t_number(fd));
	t_buf_adopt(&buf->buf, fd, SIZE);
	buf->moves = true;
}

static void buf_check(struct buf *buf)
{
	if (!t_same("buffer", buf->buf.map, buf->buf.poison, SIZE))
		broken("a buffer changed where nothing was read to");
	if (buf->moves)
		MUST(ask(&buf->buf, DMA_BUF_IO_TEST_SCRIBBLED), 0, "bytes written too late");
}

/* What was read or written in part is known again. */
static void restore(const struct op *op)
{
	struct t_buf *buf = &bufs[op->buf].buf;

	if (op->io.addr > SIZE || op->io.len > SIZE - op->io.addr || op->io.pos % disk.lba || op->io.len % disk.lba || !op->io.len)
		return;
	if (op->io.write)
		t_disk_restore(&disk, op->io.pos, op->io.len);
	else
		memcpy(buf->map + op->io.addr, buf->poison + op->io.addr, op->io.len);
}

/* I/O */

static bool overlaps(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a < b + blen && b < a + alen;
}

/* Whether no request in flight has a part of the same bytes. */
static bool free_range(unsigned int buf, const struct t_io *io)
{
	unsigned int r, i;

	for (r = 0; r < nr_rings; r++)
		for (i = 0; i < DEPTH; i++) {
			const struct op *op = &rings[r].ops[i];

			if (op->busy && (overlaps(op->io.pos, op->io.len, io->pos, io->len) ||
					 (op->buf == buf && overlaps(op->io.addr, op->io.len, io->addr, io->len))))
				return false;
		}
	return true;
}

/* Makes a good request bad in one way. */
static void spoil(struct ring *ring, struct op *op)
{
	switch (rnd(6)) {
	case 0:
		op->io.addr = SIZE - rnd(op->io.len);
		op->want = -EFAULT;
		break;
	case 1:
		op->io.addr = rnd(2) ? ~0ULL - rnd(8192) : 1ULL << (20 + rnd(44));
		op->want = -EFAULT;
		break;
	case 2:
		op->io.addr = op->io.addr ? op->io.addr - 1 : 1;
		op->want = -EINVAL;
		break;
	case 3:
		op->io.len--;
		op->want = -EINVAL;
		break;
	case 4:
		op->io.fd = ring->other;
		op->io.fixed_file = false;
		op->want = -EBADF;
		break;
	default:
		op->io.len = 0;
		op->want = 0;
	}
}

/* The same bytes in several ranges; how many. */
static unsigned int vector(struct io_uring_sqe *sqe, struct op *op)
{
	size_t len = op->io.len, at = 0, part;
	unsigned int n = 0, most = 1 + rnd(RANGES);

	while (at < len) {
		part = n + 1 < most ? 512 * (1 + rnd((len - at) / 512)) : len - at;
		op->ranges[n++] = (struct iovec){ (void *)(uintptr_t)(op->io.addr + at), part };
		at += part;
	}
	sqe->opcode = op->io.write ? T_OP_WRITEV_FIXED : T_OP_READV_FIXED;
	sqe->addr = (uintptr_t)op->ranges;
	sqe->len = n;
	return n;
}

static void start(struct ring *ring)
{
	unsigned int i = rnd(DEPTH), slot = rnd(SLOTS), bad = rnd(16);
	struct op *op = &ring->ops[i];
	struct t_io io = { .fixed_file = true, .slot = slot, .write = rnd(2) };
	struct io_uring_sqe *sqe;

	if (op->busy)
		return;
	io.len = 512 * (1 + (rnd(8) ? rnd(16) : rnd(8) ? rnd(200) : rnd(1400)));
	io.addr = 512 * rnd((SIZE - io.len) / 512 + 1);
	io.pos = 512 * rnd((T_DISK_SIZE - io.len) / 512 + 1);
	*op = (struct op){ .buf = slot % BUFS, .io = io, .want = io.len };
	if (!free_range(op->buf, &io))
		return;
	if (!ring->slots[slot])
		op->want = -EFAULT;
	else if (ring->slots[slot] != ring->file)	/* cloned from who has another */
		op->want = -EBADF;
	else if (!bad)
		spoil(ring, op);
	op->busy = true;
	op->map_fails = bufs[op->buf].map_fails;
	say("%s %zu: %s slot %u, %u at %llu, disk %llu: %s", t_mode_names[ring->ring.mode], ring - rings,
	    io.write ? "write" : "read", slot, op->io.len, (unsigned long long)op->io.addr,
	    (unsigned long long)op->io.pos, t_number(op->want));
	sqe = t_queue(&ring->ring, &op->io, i);
	/* which of several faults is found first is for vectored to say */
	if (bad && !rnd(4))
		say("in %u ranges", vector(sqe, op));
	ring->in_flight++;
	if (rnd(3))
		t_submit(&ring->ring);
	ios++;
}

static void done(struct ring *ring, unsigned int i, int ret)
{
	struct op *op = &ring->ops[i];
	struct t_buf *buf = &bufs[op->buf].buf;
	const struct t_io *io = &op->io;

	say("%s %zu: %u is done: %s", t_mode_names[ring->ring.mode], ring - rings, i, t_number(ret));
	op->busy = false;
	ring->in_flight--;
	if (!may_end(op, ret))
		broken("request %u ended in %s, wanted %s", i, t_number(ret), t_number(op->want));
	if (is_short(op, ret) && !t_same("first part", io->write ? t_disk_read(&disk, io->pos, ret) : buf->map + io->addr,
					 io->write ? buf->poison + io->addr : disk.image + io->pos, ret))
		broken("request %u did not do what it says", i);
	if (ret < 0 || is_short(op, ret))
		restore(op);
	if (ret <= 0 || is_short(op, ret))
		return;
	if (io->write) {
		memcpy(disk.image + io->pos, buf->poison + io->addr, io->len);
		if (!t_same("written", t_disk_read(&disk, io->pos, io->len), disk.image + io->pos, io->len))
			broken("request %u wrote something else", i);
	} else {
		memcpy(buf->poison + io->addr, disk.image + io->pos, io->len);
		if (!t_same("read", buf->map + io->addr, buf->poison + io->addr, io->len))
			broken("request %u read something else", i);
	}
}

static void reap(struct ring *ring, unsigned int n)
{
	t_submit(&ring->ring);
	while (n-- && ring->in_flight) {
		struct __kernel_timespec patience = { .tv_sec = 1 };
		time_t end = time(NULL) + 60;
		struct io_uring_cqe *cqe;
		unsigned int which;
		int ret;

		/* a polled ring gives up early when the processor is wanted elsewhere */
		do {
			ret = io_uring_wait_cqe_timeout(&ring->ring.uring, &cqe, &patience);
		} while (ret && time(NULL) < end);
		if (ret)
			broken("%s ring %zu: no completion in a minute, %u in flight", t_mode_names[ring->ring.mode],
			       ring - rings, ring->in_flight);
		ret = cqe->res;
		which = cqe->user_data;
		io_uring_cqe_seen(&ring->ring.uring, cqe);
		done(ring, which, ret);
	}
}

static void reap_all(void)
{
	unsigned int r;

	for (r = 0; r < nr_rings; r++)
		while (rings[r].in_flight)
			reap(&rings[r], DEPTH);
}

/* Registrations */

static struct io_uring_regbuf_desc desc_of(unsigned int slot, int target)
{
	return (struct io_uring_regbuf_desc){ .type = IO_REGBUF_TYPE_DMABUF, .target_fd = target,
					      .dmabuf_fd = bufs[slot % BUFS].buf.fd };
}

static void add_slot(unsigned int r, unsigned int slot, int target)
{
	struct ring *ring = &rings[r];
	int ret = t_register(&ring->ring, slot, bufs[slot % BUFS].buf.fd, target, 0);

	say("%s %u: register slot %u: %s", t_mode_names[ring->ring.mode], r, slot, t_number(ret));
	if (ret == 1)
		ring->slots[slot] = ring->file;
	else if (!bufs[slot % BUFS].map_fails || !of_registering(ret))
		broken("register: %s", t_number(ret));
}

static void clear_slot(unsigned int r, unsigned int slot)
{
	struct ring *ring = &rings[r];

	say("%s %u: clear slot %u", t_mode_names[ring->ring.mode], r, slot);
	MUST(t_clear(&ring->ring, slot), 1, "clear");
	ring->slots[slot] = 0;
}

static void change_slot(unsigned int r, int target)
{
	unsigned int slot = rnd(SLOTS);

	each_op(r, slot, -1, now_unsure);
	if (rnd(3))
		add_slot(r, slot, target);
	else
		clear_slot(r, slot);
}

/* Refused, and nothing has changed. */
static void bad_registration(unsigned int r, int target)
{
	struct ring *ring = &rings[r];
	unsigned int slot = rnd(SLOTS), flags = IORING_RSRC_UPDATE_EXTENDED;
	struct io_uring_regbuf_desc desc = desc_of(slot, target);
	int want = -EINVAL;

	switch (rnd(8)) {
	case 0: desc.flags = 1U << rnd(32); break;
	case 1: desc.__resv[rnd(6)] = 1ULL << rnd(64); break;
	case 2: desc.type = IO_REGBUF_TYPE_MAX + rnd(1000); break;
	case 3: desc.size = 1ULL << rnd(64); break;
	case 4: desc.dmabuf_fd = ring->ring.uring.ring_fd; break;
	case 5: desc.dmabuf_fd = -1; want = -EBADF; break;
	case 6: desc.target_fd = ring->ring.uring.ring_fd; want = -EOPNOTSUPP; break;
	default: flags |= 4U << rnd(30); break;
	}
	say("%s %u: bad registration of slot %u: %s", t_mode_names[ring->ring.mode], r, slot, t_number(want));
	MUST(t_update(&ring->ring, slot, flags, &desc, 1, NULL), want, "bad registration");
}

/* Three slots, of which the middle one fails. */
static void partial(unsigned int r, int target)
{
	struct ring *ring = &rings[r];
	unsigned int slot = rnd(SLOTS - 2);
	struct io_uring_regbuf_desc descs[3] = { desc_of(slot, target), desc_of(slot + 1, -1), desc_of(slot + 2, target) };
	int ret;

	each_op(r, slot, -1, now_unsure);
	ret = t_update(&ring->ring, slot, IORING_RSRC_UPDATE_EXTENDED, descs, 3, NULL);
	say("%s %u: update of slots from %u: %s", t_mode_names[ring->ring.mode], r, slot, t_number(ret));
	if (ret == 1)
		ring->slots[slot] = ring->file;
	else if (!bufs[slot % BUFS].map_fails || !of_registering(ret))
		broken("update of three: %s", t_number(ret));
}

/* A range of a table, over slots that are for the same buffers, of another ring or the same. */
static void clone_slots(unsigned int r)
{
	struct ring *from = &rings[r];
	unsigned int t = rnd(nr_rings), i, before[SLOTS];
	struct ring *to = &rings[t];
	struct {
		uint32_t src_fd, flags, src_off, dst_off, nr, pad[3];
	} arg = { .src_fd = from->ring.uring.ring_fd, .flags = T_CLONE_REPLACE };

	arg.src_off = rnd(SLOTS / BUFS) * BUFS;
	arg.dst_off = rnd(SLOTS / BUFS) * BUFS;
	arg.nr = 1 + rnd(SLOTS - (arg.src_off > arg.dst_off ? arg.src_off : arg.dst_off));
	say("%s %u: clone %u slots from %u over those from %u of ring %u", t_mode_names[from->ring.mode], r, arg.nr, arg.src_off,
	    arg.dst_off, t);
	for (i = 0; i < arg.nr; i++)
		each_op(t, arg.dst_off + i, -1, now_unsure);
	MUST(t_io_uring_register(to->ring.uring.ring_fd, T_REGISTER_CLONE, &arg, 1), 0, "clone");
	memcpy(before, from->slots, sizeof(before));
	memcpy(to->slots + arg.dst_off, before + arg.src_off, arg.nr * sizeof(before[0]));
	clones++;
}

/* One request or all; those that are done, or about to be, stay as they are. */
static void cancel(unsigned int r)
{
	struct io_uring_sync_cancel_reg reg = {
		.flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL, .timeout = { .tv_nsec = 1000000 },
	};
	struct ring *ring = &rings[r];
	unsigned int i = rnd(DEPTH);
	int ret;

	if (rnd(2)) {
		reg.flags = 0;
		reg.addr = i;
		ring->ops[i].cancelled |= ring->ops[i].busy;
	} else {
		for (i = 0; i < SLOTS; i++)
			each_op(r, i, -1, now_cancelled);
	}
	ret = io_uring_register_sync_cancel(&ring->ring.uring, &reg);
	say("%s %u: cancel %s: %s", t_mode_names[ring->ring.mode], r, reg.flags ? "all" : "one", t_number(ret));
	if (ret < 0 && ret != -ENOENT && ret != -EALREADY && ret != -ETIME && ret != -EINTR)
		broken("cancel: %s", t_number(ret));
	cancels++;
}

/* Exporter and device */

static void invalidate(unsigned int b)
{
	uint64_t hold = rnd(8) ? 0 : rnd(20);

	say("invalidate buffer %u, hold the lock for %llu ms", b, (unsigned long long)hold);
	MUST(control(&bufs[b].buf, DMA_BUF_IO_TEST_INVALIDATE, hold, NULL), 0, "invalidate");
}

static void fail_maps(unsigned int b)
{
	static const int errors[] = { ENOMEM, EBUSY, EIO, EAGAIN, EINTR };
	struct buf *buf = &bufs[b];
	int err = buf->map_fails ? 0 : errors[rnd(T_COUNT(errors))];

	say("maps of buffer %u fail with %s", b, t_number(-err));
	if (err)
		each_op(T_MODES, 0, b, now_failing);
	MUST(control(&buf->buf, DMA_BUF_IO_TEST_FAIL_MAP, times(err ? 1 + rnd(3) : 0, err), NULL), 0, "fail maps");
	buf->map_fails = err;
}

static void slow_maps(unsigned int b)
{
	unsigned int ms = rnd(2) ? rnd(30) : 0;

	say("maps of buffer %u take %u ms", b, ms);
	MUST(control(&bufs[b].buf, DMA_BUF_IO_TEST_SLOW_MAP, ms, NULL), 0, "slow maps");
}

/* Registrations and I/O are on what is gone; then a new buffer takes its place. */
static void revoke_buf(unsigned int b)
{
	unsigned int r, slot;

	say("revoke buffer %u", b);
	each_op(T_MODES, 0, b, now_gone);
	MUST(control(&bufs[b].buf, DMA_BUF_IO_TEST_REVOKE, 0, NULL), 0, "revoke");
	reap_all();
	for (r = 0; r < nr_rings; r++)
		for (slot = b; slot < SLOTS; slot += BUFS) {
			const struct t_io io = { .fixed_file = true, .slot = slot, .len = 512 };

			if (!rings[r].slots[slot])
				continue;
			MUST(t_rw(&rings[r].ring, &io), rings[r].slots[slot] == rings[r].file ? -ENODEV : -EBADF,
			     "I/O to a revoked buffer");
			clear_slot(r, slot);
		}
	buf_check(&bufs[b]);
	t_buf_exit(&bufs[b].buf);
	buf_init(&bufs[b], true);
}

static void ring_begin(unsigned int r, enum t_mode mode)
{
	struct ring *ring = &rings[r];
	unsigned int slot;

	memset(ring, 0, sizeof(*ring));
	t_ring_init(&ring->ring, mode, DEPTH, SLOTS);
	if (rnd(2)) {
		ring->target = dup(common);
		ring->file = 1;
	} else {
		ring->target = t_open(t_dev, O_RDWR | O_DIRECT);
		ring->file = ++files;
	}
	ring->other = t_open(t_dev, O_RDWR | O_DIRECT);
	MUST(io_uring_register_files(&ring->ring.uring, &ring->target, 1), 0, "register the file");
	for (slot = 0; slot < SLOTS; slot++)
		if (rnd(4))
			add_slot(r, slot, ring->target);
}

/* Each buffer has one attachment, if any slot at all has it: then no I/O of a ring that is gone runs any more. */
static void settle(const struct ring *gone)
{
	struct t_leaks want = leaks;
	unsigned int r, slot, b;
	bool used[BUFS] = { };

	for (r = 0; r < nr_rings; r++)
		for (slot = 0; slot < SLOTS; slot++)
			used[slot % BUFS] |= rings[r].slots[slot];
	for (b = 0; b < BUFS; b++)
		want.attachments += used[b];
	want.buffers += BUFS;
	/* a worker's last reference on a request, and so on its slot, goes when the task next enters the ring */
	for (slot = 0; slot < 20; slot++, usleep(5000))
		for (r = 0; r < nr_rings; r++)
			if (&rings[r] != gone)
				io_uring_get_events(&rings[r].ring.uring);
	if (t_leaks_check(&want) != T_PASS)
		broken("registrations leaked");
	for (b = 0; b < BUFS; b++)
		if (bufs[b].moves)
			MUST(ask(&bufs[b].buf, DMA_BUF_IO_TEST_SCRIBBLED), 0, "bytes written too late");
}

/* With what it has in flight. */
static void ring_end(unsigned int r)
{
	struct ring *ring = &rings[r];
	unsigned int i;

	say("%s %u: exit with %u in flight", t_mode_names[ring->ring.mode], r, ring->in_flight);
	if (rnd(2))
		t_submit(&ring->ring);
	if (rnd(2)) {
		close(ring->target);
		ring->target = -1;
	}
	t_ring_exit(&ring->ring);
	ring->in_flight = 0;
	memset(ring->slots, 0, sizeof(ring->slots));
	/* a slot that was cleared lives on with its I/O, in the other rings, too */
	reap_all();
	settle(ring);
	for (i = 0; i < DEPTH; i++)
		if (ring->ops[i].busy)
			restore(&ring->ops[i]);
	if (ring->target >= 0)
		close(ring->target);
	close(ring->other);
}

static void reset(void)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/class/block/%s/device/reset_controller", basename(t_dev));
	fd = t_open(path, O_WRONLY);
	say("reset the controller");
	if (write(fd, "1", 1) != 1)
		broken("%s: %m", path);
	close(fd);
}

/*
 * Odd seeds reset, even ones have a polled ring: after a reset the queue is
 * frozen for a while, which a request that nobody polls for holds up.
 */
static bool resets(void)
{
	return seed % 2;
}

static void step(void)
{
	unsigned int r = rnd(nr_rings), what = rnd(1000), b = rnd(BUFS - 1);	/* the last one is not the exporter's */
	enum t_mode mode = rings[r].ring.mode;

	if (what < 620) {
		start(&rings[r]);
	} else if (what < 840) {
		reap(&rings[r], 1 + rnd(8));
	} else if (what < 900) {
		invalidate(b);
	} else if (what < 940) {
		change_slot(r, rings[r].target);
	} else if (what < 955) {
		bad_registration(r, rings[r].target);
	} else if (what < 965) {
		partial(r, rings[r].target);
	} else if (what < 970) {
		clone_slots(r);
	} else if (what < 975) {
		cancel(r);
	} else if (what < 980) {
		fail_maps(b);
	} else if (what < 986) {
		slow_maps(b);
	} else if (what < 992) {
		revoke_buf(b);
	} else if (what < 998) {
		ring_end(r);
		ring_begin(r, mode);
	} else if (resets()) {
		reset();
	}
}

static unsigned int number(const char *name, unsigned int otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strtoul(value, NULL, 0) : otherwise;
}

static enum t_result fuzz(unsigned int seconds)
{
	time_t end = time(NULL) + seconds;
	unsigned int mode, i;

	T_TRY(need_exporter());
	T_TRY(t_leaks_init(&leaks));
	common = t_open(t_dev, O_RDWR | O_DIRECT);
	for (i = 0; i < BUFS; i++)
		buf_init(&bufs[i], i < BUFS - 1);
	for (mode = 0; mode < T_MODES; mode++)
		if (t_need(mode) == T_PASS && !(mode == T_POLLED && resets()))
			ring_begin(nr_rings++, mode);
	while (time(NULL) < end)
		step();
	reap_all();
	for (i = 0; i < BUFS; i++)
		buf_check(&bufs[i]);
	if (!t_same("the disk", t_disk_read(&disk, 0, T_DISK_SIZE), disk.image, T_DISK_SIZE))
		broken("the disk changed where nothing was written to");
	for (i = 0; i < nr_rings; i++)
		ring_end(i);
	for (i = 0; i < BUFS; i++)
		t_buf_exit(&bufs[i].buf);
	close(common);
	t_diag("SEED=%u: %lu operations, %lu requests, %lu clones, %lu cancellations", seed, line, ios, clones, cancels);
	return t_leaks_check(&leaks);
}

int main(int argc, char **argv)
{
	unsigned int seconds = number("SECONDS", 5);

	seed = number("SEED", time(NULL) % 100000);
	state = seed;
	t_start(argc > 1 ? argv[1] : NULL, NULL, true, 1);
	t_diag("SEED=%u", seed);
	t_disk_init(&disk, t_dev);
	t_report(fuzz(seconds), "random operations for %u seconds", seconds);
	t_disk_exit(&disk);
	return t_finish();
}
