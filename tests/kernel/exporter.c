// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an exporter may return: memory in any layout, mappings that do not fit,
 * errors. Nothing is leaked, and the next try finds nothing of the last.
 */
#include "exporter.h"

#include <stdio.h>

#define SIZE	(4 * T_MIB)

static struct t_disk disk;
static struct t_ring ring;
static int fd;

static void begin(struct t_buf *buf, size_t segment, unsigned int flags)
{
	int dmabuf = export_buf(SIZE, segment, flags);

	if (dmabuf < 0)
		t_die("no dma-buf from the exporter: %s", t_number(dmabuf));
	/* what is no whole page cannot be mapped */
	t_buf_adopt(buf, dmabuf, flags & DMA_BUF_IO_TEST_PARTIAL ? SIZE - T_PAGE : SIZE);
}

/* Nothing is mapped any more, and as often as wanted something was. */
static enum t_result unused(struct t_buf *buf, unsigned int total)
{
	T_IS(ask(buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings left");
	T_IS(ask(buf, DMA_BUF_IO_TEST_TOTAL), total, "mappings made");
	T_IS(ask(buf, DMA_BUF_IO_TEST_SCRIBBLED), 0, "bytes written too late");
	t_buf_exit(buf);
	return T_PASS;
}

static enum t_result layout(size_t segment)
{
	static const size_t sizes[] = { 512, 4096, 12288, 65536 + 512, 1048576, 2097152 };
	struct t_io io = { .fd = fd };
	struct t_buf buf;
	unsigned int i, at;

	T_TRY(need_exporter());
	begin(&buf, segment, 0);
	if (cannot_bounce(segment)) {
		T_IS(t_register(&ring, 0, buf.fd, fd, 0), -EIO, "register what cannot be bounced");
		return unused(&buf, 0);
	}
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	for (i = 0; i < T_COUNT(sizes); i++) {
		for (at = 0; at < 8; at++) {
			size_t off = at * 557056 + at * 512;	/* inside and across segments of all sizes */

			if (off + sizes[i] > SIZE)
				off = SIZE - sizes[i];
			T_TRY(t_check_read(&ring, io, &disk, &buf, off, sizes[i], at * 8192));
			T_TRY(t_check_write(&ring, io, &disk, &buf, off, sizes[i], at * 8192));
		}
	}
	T_IS(t_clear(&ring, 0), 1, "unregister");
	return unused(&buf, 1);
}

static enum t_result refused(unsigned int flags)
{
	struct t_buf buf;

	T_TRY(need_exporter());
	begin(&buf, 65536, flags);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), -EINVAL, "register");
	return unused(&buf, 1);
}

/* An error is passed on as it is, and what comes after it is as if nothing had been. */
static enum t_result fails(unsigned int op, int err, int wanted)
{
	struct t_io io = { .fd = fd };
	struct t_buf buf;

	T_TRY(need_exporter());
	begin(&buf, 65536, 0);
	T_IS(control(&buf, op, times(1, err), NULL), 0, "make it fail");
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), wanted, "register");
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings after a failure");
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register again");
	T_TRY(t_check_read(&ring, io, &disk, &buf, 4096, 8192, 0));
	T_IS(t_clear(&ring, 0), 1, "unregister");
	return unused(&buf, 1);
}

/* The map that a request makes: the request gets the error, the next one data. */
static enum t_result remap_fails(enum t_mode mode, int err, int wanted)
{
	struct t_io io = { .fd = fd, .len = 8192 };
	struct t_ring ring;
	struct t_buf buf;

	T_TRY(need_exporter());
	T_TRY(t_need(mode));
	begin(&buf, 65536, 0);
	t_ring_init(&ring, mode, 8, 1);
	T_IS(t_register(&ring, 0, buf.fd, fd, 0), 1, "register");
	T_IS(control(&buf, DMA_BUF_IO_TEST_INVALIDATE, 0, NULL), 0, "invalidate");
	T_IS(control(&buf, DMA_BUF_IO_TEST_FAIL_MAP, times(1, err), NULL), 0, "make it fail");
	t_queue(&ring, &io, 0);
	t_submit(&ring);
	T_IS(t_reap(&ring, NULL), wanted, "read");
	T_TRY(t_check_read(&ring, io, &disk, &buf, 4096, 8192, 0));
	T_IS(t_clear(&ring, 0), 1, "unregister");
	t_ring_exit(&ring);
	return unused(&buf, 2);
}

int main(int argc, char **argv)
{
	static const size_t segments[] = { 4096, 8192, 65536, 2097152, SIZE };
	static const int errors[] = { ENOMEM, ENODEV, EBUSY, EAGAIN, EINTR };
	unsigned int i;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_COUNT(segments) + 5 + 3 * T_COUNT(errors) + 2);
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	t_ring_init(&ring, T_PLAIN, 8, 1);
	for (i = 0; i < T_COUNT(segments); i++)
		t_report(layout(segments[i]), "segments of %zu bytes", segments[i]);
	t_report(refused(DMA_BUF_IO_TEST_SHORT), "refused: a mapping that is too short");
	t_report(refused(DMA_BUF_IO_TEST_LONG), "refused: a mapping that is too long");
	t_report(refused(DMA_BUF_IO_TEST_UNALIGNED), "refused: segments inside pages");
	t_report(refused(DMA_BUF_IO_TEST_ODD), "refused: a segment that ends inside a page");
	t_report(refused(DMA_BUF_IO_TEST_PARTIAL), "refused: a dma-buf that ends inside a page");
	for (i = 0; i < T_COUNT(errors); i++) {
		t_report(fails(DMA_BUF_IO_TEST_FAIL_ATTACH, errors[i], -errors[i]), "attaching fails with %s",
			 strerrorname_np(errors[i]));
		t_report(fails(DMA_BUF_IO_TEST_FAIL_MAP, errors[i], -errors[i]), "mapping fails with %s",
			 strerrorname_np(errors[i]));
		/* a worker is interrupted to look for cancelled work, too: to be sent again */
		t_report(remap_fails(T_PLAIN, errors[i], errors[i] == EINTR ? -EAGAIN : -errors[i]),
			 "mapping for a request fails with %s", strerrorname_np(errors[i]));
	}
	/* which io_uring itself would send again, for ever */
	t_report(remap_fails(T_POLLED, EAGAIN, -EBUSY), "mapping for a polled request fails with EAGAIN");
	t_report(remap_fails(T_POLLED, EINTR, -EINTR), "mapping for a polled request fails with EINTR");
	t_ring_exit(&ring);
	close(fd);
	t_disk_exit(&disk);
	return t_finish();
}
