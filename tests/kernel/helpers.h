/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest tests share: KTAP output, rings, registrations, dma-bufs and
 * the disk whose content is known. Everything here begins with t_.
 */
#ifndef HELPERS_H
#define HELPERS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <liburing.h>
#include <linux/io_uring/dmabuf.h>

/* Newer than the liburing that we build against. */
#define T_OP_READV_FIXED	60
#define T_OP_WRITEV_FIXED	61
#define T_REGISTER_CLONE	30
#define T_CLONE_REPLACE		(1U << 1)

#define T_COUNT(array)	(sizeof(array) / sizeof((array)[0]))
#define T_PAGE		4096UL	/* of the controller's, whatever the kernel's are */
#define T_MIB		(1UL << 20)

/*
 * KTAP. A test is a function that returns one of these; a program prints one
 * line for each and exits 0 (passed), 1 (failed) or 4 (all skipped).
 */
enum t_result { T_PASS, T_FAIL, T_SKIP };

extern const char *t_dev, *t_dev2;	/* scratch disks; NULL if not given */

void t_diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Says why in the line that the next T_SKIP result prints. */
enum t_result t_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void __attribute__((noreturn)) t_die(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));
/*
 * Prints the plan. NULL disks come from DEV= and DEV2=. A program that needs
 * registered dma-bufs ends here, skipped, on a kernel that has none.
 */
void t_start(const char *dev, const char *dev2, bool dmabuf, unsigned int tests);
void t_report(enum t_result result, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int t_finish(void);

#define T_CHECK(cond, ...) do {						\
	if (!(cond)) {							\
		t_diag(__VA_ARGS__);					\
		return T_FAIL;						\
	}								\
} while (0)

#define T_IS(got, want, what) do {					\
	long _got = (got), _want = (want);				\
									\
	if (_got != _want) {						\
		t_diag("%s:%d: %s: got %s, wanted %s", __FILE__,	\
		       __LINE__, what, t_number(_got), t_number(_want));\
		return T_FAIL;						\
	}								\
} while (0)

/* Passes a failure or a skip on to the caller. */
#define T_TRY(call) do {						\
	enum t_result _result = (call);					\
									\
	if (_result != T_PASS)						\
		return _result;						\
} while (0)

const char *t_number(long value);	/* "12" or "-EBADF" */
/* Reports the first difference. */
bool t_same(const char *what, const void *got, const void *want, size_t len);

/* Rings. */
enum t_mode { T_PLAIN, T_SQPOLL, T_DEFER, T_POLLED, T_ASYNC, T_MODES };
extern const char *const t_mode_names[T_MODES];

struct t_ring {
	struct io_uring uring;
	enum t_mode mode;
};

/* Passes, or skips the test: t_dev cannot be used with such a ring. */
enum t_result t_need(enum t_mode mode);
/* With a sparse buffer table of so many slots, if any. */
void t_ring_init(struct t_ring *ring, enum t_mode mode, unsigned int depth,
		 unsigned int slots);
void t_ring_exit(struct t_ring *ring);

struct t_io {
	int fd;
	bool write;
	bool fixed_file;	/* ->fd is an index of registered files */
	int slot;		/* -1: ordinary READ and WRITE */
	uint64_t addr;		/* in the slot's own terms */
	uint32_t len;
	uint64_t pos;
};

struct io_uring_sqe *t_queue(struct t_ring *ring, const struct t_io *io,
			     uint64_t user_data);
void t_submit(struct t_ring *ring);
/* The result of the next completion; dies if none comes in 30 seconds. */
int t_reap(struct t_ring *ring, uint64_t *user_data);
/* The result of one I/O, sent once: nothing needs to be sent again. */
int t_rw(struct t_ring *ring, const struct t_io *io);

/* Registrations: each returns what the system call does, or -errno. */
int t_io_uring_register(int fd, unsigned int opcode, void *arg, unsigned int nr);
int t_update(struct t_ring *ring, unsigned int slot, unsigned int flags,
	     const void *descs, unsigned int nr, const uint64_t *tags);
int t_register(struct t_ring *ring, unsigned int slot, int dmabuf_fd,
	       int target_fd, uint64_t tag);
int t_register_user(struct t_ring *ring, unsigned int slot, void *addr,
		    size_t size, uint64_t tag);
int t_clear(struct t_ring *ring, unsigned int slot);

/* Memory. */
enum t_kind {
	T_UDMABUF,	/* 4 KiB pages of one memfd, in order */
	T_SCATTERED,	/* no two neighbouring pieces lie side by side */
	T_HUGE,		/* 2 MiB pages */
	T_HEAP,		/* the system heap */
	T_USER,		/* no dma-buf: anonymous memory */
	T_KINDS
};
extern const char *const t_kind_names[T_KINDS];

struct t_buf {
	int fd, memfd;		/* -1: has none */
	size_t size;
	unsigned char *map;
	unsigned char *poison;	/* what ->map holds until something reads into it */
	uint64_t base;		/* SQE address of the first byte */
};

/* T_SKIP if this machine has no such memory. */
enum t_result t_buf_init(struct t_buf *buf, enum t_kind kind, size_t size);
/* A dma-buf from elsewhere, which the t_buf owns from now on. */
void t_buf_adopt(struct t_buf *buf, int fd, size_t size);
void t_buf_exit(struct t_buf *buf);
/* Brackets every access through ->map. */
void t_buf_begin(struct t_buf *buf);
void t_buf_end(struct t_buf *buf);
/* Whether the bytes from..to, as far as they are in the buffer, hold poison. */
bool t_buf_intact(struct t_buf *buf, size_t from, size_t to);

/* What /sys/kernel/debug/dma_buf knows: dma-bufs and devices attached. */
struct t_leaks {
	long buffers, attachments;
};

enum t_result t_leaks_init(struct t_leaks *leaks);
/* Waits until the numbers are those of before. */
enum t_result t_leaks_check(const struct t_leaks *before);

/* The first 32 MiB of a disk, filled with a pattern that names every byte. */
#define T_DISK_SIZE	(32 * T_MIB)

struct t_disk {
	const char *path;
	int fd;			/* O_DIRECT, for plain pread and pwrite */
	unsigned int lba;
	unsigned char *image;	/* what the disk holds */
	unsigned char *bounce;
};

void t_disk_init_read_only(struct t_disk *disk, const char *path); /* as it is */
void t_disk_init(struct t_disk *disk, const char *path);
void t_disk_exit(struct t_disk *disk);
/* Plain O_DIRECT read: the truth. Valid until the next call. */
const unsigned char *t_disk_read(struct t_disk *disk, uint64_t pos, size_t len);
void t_disk_restore(struct t_disk *disk, uint64_t pos, size_t len);
/* Another descriptor of the same file, as another process would get it; or -errno. */
int t_through_socket(int fd);
/* Another struct file of the disk. */
int t_open(const char *path, int flags);

/*
 * One I/O at offset @off of @buf, every byte compared: the range holds what the
 * disk (or the buffer) held, and T_NEAR bytes on either side did not change.
 * Before and after, the buffer holds its poison and the disk its image. @io
 * needs fd and slot.
 */
#define T_NEAR	(64 * 1024UL)

enum t_result t_check_read(struct t_ring *ring, struct t_io io,
			   struct t_disk *disk, struct t_buf *buf,
			   size_t off, size_t len, uint64_t pos);
enum t_result t_check_write(struct t_ring *ring, struct t_io io,
			    struct t_disk *disk, struct t_buf *buf,
			    size_t off, size_t len, uint64_t pos);

#endif
