// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * examples/dmabuf_register.h, which programs copy: each of its calls does what the
 * manual page says.
 */
#include "helpers.h"
#include "../../examples/dmabuf_register.h"

#include <fcntl.h>

#define SIZE	(64 * 1024UL)
#define SAME(mine, theirs, field) \
	_Static_assert(offsetof(struct mine, field) == offsetof(struct theirs, field), #mine "." #field)

_Static_assert(sizeof(struct dmabuf_register_desc) == sizeof(struct io_uring_regbuf_desc), "descriptor");
_Static_assert(offsetof(struct dmabuf_register_desc, resv) == offsetof(struct io_uring_regbuf_desc, __resv), "reserved");
SAME(dmabuf_register_desc, io_uring_regbuf_desc, type);
SAME(dmabuf_register_desc, io_uring_regbuf_desc, flags);
SAME(dmabuf_register_desc, io_uring_regbuf_desc, size);
SAME(dmabuf_register_desc, io_uring_regbuf_desc, uaddr);
SAME(dmabuf_register_desc, io_uring_regbuf_desc, dmabuf_fd);
SAME(dmabuf_register_desc, io_uring_regbuf_desc, target_fd);
_Static_assert(sizeof(struct dmabuf_register_update) == sizeof(struct io_uring_rsrc_update2), "update");
_Static_assert(offsetof(struct dmabuf_register_update, flags) == offsetof(struct io_uring_rsrc_update2, resv), "flags");
SAME(dmabuf_register_update, io_uring_rsrc_update2, offset);
SAME(dmabuf_register_update, io_uring_rsrc_update2, data);
SAME(dmabuf_register_update, io_uring_rsrc_update2, tags);
SAME(dmabuf_register_update, io_uring_rsrc_update2, nr);
SAME(dmabuf_register_update, io_uring_rsrc_update2, resv2);
_Static_assert(DMABUF_REGISTER_EXTENDED == IORING_RSRC_UPDATE_EXTENDED, "flag");
_Static_assert((int)DMABUF_REGISTER_EMPTY == (int)IO_REGBUF_TYPE_EMPTY, "type");
_Static_assert((int)DMABUF_REGISTER_DMABUF == (int)IO_REGBUF_TYPE_DMABUF, "type");
_Static_assert((int)DMABUF_REGISTER_UPDATE == (int)IORING_REGISTER_BUFFERS_UPDATE, "operation");

static struct t_disk disk;
static struct t_buf buf, other;
static struct t_ring ring;
static int fd;

static enum t_result probe(void)
{
	T_IS(io_uring_probe_dmabuf(), 1, "probe");
	return T_PASS;
}

static enum t_result reads(struct t_ring *by, unsigned int slot, struct t_buf *into)
{
	struct t_io io = { .fd = fd, .slot = slot };

	return t_check_read(by, io, &disk, into, 4096, 8192, 12288);
}

static enum t_result refused(struct t_ring *by, unsigned int slot)
{
	struct t_io io = { .fd = fd, .slot = slot, .len = 4096 };

	T_IS(t_rw(by, &io), -EFAULT, "read by an empty slot");
	return T_PASS;
}

static enum t_result registers(void)
{
	T_IS(io_uring_register_dmabuf(&ring.uring, 1, buf.fd, fd, 0), 0, "register");
	T_TRY(reads(&ring, 1, &buf));
	T_IS(io_uring_clear_dmabuf(&ring.uring, 1), 0, "clear");
	T_IS(io_uring_clear_dmabuf(&ring.uring, 1), 0, "clear what is clear");
	return refused(&ring, 1);
}

static enum t_result replaces(void)
{
	uint64_t tag;

	T_IS(io_uring_register_dmabuf(&ring.uring, 1, buf.fd, fd, 71), 0, "register");
	T_IS(io_uring_register_dmabuf(&ring.uring, 1, other.fd, -1, 0), -EBADF, "a replacement that fails");
	T_TRY(reads(&ring, 1, &buf));
	T_IS(io_uring_register_dmabuf(&ring.uring, 1, other.fd, fd, 72), 0, "replace");
	T_IS(t_reap(&ring, &tag), 0, "result of the tag");
	T_IS(tag, 71, "tag");
	T_TRY(reads(&ring, 1, &other));
	T_IS(io_uring_clear_dmabuf(&ring.uring, 1), 0, "clear");
	T_IS(t_reap(&ring, &tag), 0, "result of the tag");
	T_IS(tag, 72, "tag");
	return T_PASS;
}

static enum t_result clones(void)
{
	struct t_ring clone;

	T_IS(io_uring_register_dmabuf(&ring.uring, 2, buf.fd, fd, 0), 0, "register");
	t_ring_init(&clone, T_PLAIN, 4, 0);
	T_IS(io_uring_clone_dmabufs(&clone.uring, 3, &ring.uring, 2, 1), 0, "clone to a ring without a table");
	T_IS(io_uring_clear_dmabuf(&ring.uring, 2), 0, "clear");
	T_TRY(reads(&clone, 3, &buf));
	T_TRY(refused(&clone, 0));
	T_IS(io_uring_clone_dmabufs(&ring.uring, 0, &clone.uring, 3, 1), 0, "and back over a table");
	T_TRY(reads(&ring, 0, &buf));
	T_IS(io_uring_clone_dmabufs(&ring.uring, 0, &clone.uring, 3, 2), -EOVERFLOW, "more than there is");
	t_ring_exit(&clone);
	T_IS(io_uring_clear_dmabuf(&ring.uring, 0), 0, "clear");
	return T_PASS;
}

static enum t_result fails(int got, int want, const char *says)
{
	T_IS(got, want, says);
	T_CHECK(strstr(io_uring_dmabuf_strerror(got), says), "%s: \"%s\"", t_number(got), io_uring_dmabuf_strerror(got));
	return T_PASS;
}

static enum t_result explains(void)
{
	int zero = t_open("/dev/zero", O_RDWR), buffered = t_open(t_dev, O_RDWR);
	struct t_ring bare;

	t_ring_init(&bare, T_PLAIN, 4, 0);
	T_TRY(fails(io_uring_register_dmabuf(&ring.uring, 0, buf.fd, zero, 0), -EOPNOTSUPP, "takes no dma-bufs"));
	T_TRY(fails(io_uring_register_dmabuf(&ring.uring, 0, buf.fd, buffered, 0), -EINVAL, "lacks O_DIRECT"));
	T_TRY(fails(io_uring_register_dmabuf(&ring.uring, 0, buf.fd, -1, 0), -EBADF, "Bad file descriptor"));
	T_TRY(fails(io_uring_register_dmabuf(&bare.uring, 0, buf.fd, fd, 0), -ENXIO, "no table"));
	t_ring_exit(&bare);
	close(buffered);
	close(zero);
	return T_PASS;
}

int main(int argc, char **argv)
{
	t_start(argc > 1 ? argv[1] : NULL, NULL, true, 5);
	t_disk_init_read_only(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	if (t_buf_init(&buf, T_UDMABUF, SIZE) || t_buf_init(&other, T_SCATTERED, SIZE))
		t_die("dma-bufs: no /dev/udmabuf");
	t_ring_init(&ring, T_PLAIN, 4, 4);

	t_report(probe(), "the probe finds the feature");
	t_report(registers(), "register, read, clear");
	t_report(replaces(), "replace: the tag is posted, a failure changes nothing");
	t_report(clones(), "clone to another ring and back");
	t_report(explains(), "what registering fails by, in words");

	t_ring_exit(&ring);
	t_buf_exit(&other);
	t_buf_exit(&buf);
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
