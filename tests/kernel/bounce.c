// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where all DMA goes through bounce buffers, CPU and device never see the same
 * bytes, and what synchronizes more than was read puts old ones over new ones: no
 * such memory is taken, whoever exports it. For the boot "swiotlb".
 */
#include "exporter.h"

#define SIZE	(64 * 1024UL)	/* as no bounce buffer is contiguous beyond 256 KiB */

static struct t_ring ring;
static int fd;

static enum t_result refused(struct t_buf *buf)
{
	struct t_leaks before;

	T_TRY(t_leaks_init(&before));
	T_IS(t_register(&ring, 0, buf->fd, fd, 0), -EOPNOTSUPP, "register");
	return t_leaks_check(&before);
}

static enum t_result of_kind(enum t_kind kind)
{
	struct t_buf buf;

	T_TRY(t_buf_init(&buf, kind, SIZE));
	T_TRY(refused(&buf));
	t_buf_exit(&buf);
	return T_PASS;
}

static enum t_result exported(size_t segment)
{
	struct t_buf buf;

	T_TRY(need_exporter());
	t_buf_adopt(&buf, export_buf(SIZE, segment, 0), SIZE);
	T_TRY(refused(&buf));
	T_IS(ask(&buf, DMA_BUF_IO_TEST_LIVE), 0, "mappings left");
	T_IS(ask(&buf, DMA_BUF_IO_TEST_TOTAL), 1, "mappings made");
	t_buf_exit(&buf);
	return T_PASS;
}

/* The same ring, disk and slot take ordinary memory, which is bounced for each request. */
static enum t_result user_memory(void)
{
	struct t_io io = { .fd = fd };
	struct t_disk disk;
	struct t_buf buf;

	t_disk_init(&disk, t_dev);
	T_TRY(t_buf_init(&buf, T_USER, SIZE));
	T_IS(t_register_user(&ring, 0, buf.map, SIZE, 0), 1, "register user memory");
	T_TRY(t_check_read(&ring, io, &disk, &buf, 4096, 8192, 0));
	T_TRY(t_check_write(&ring, io, &disk, &buf, 4096, 8192, 0));
	t_buf_exit(&buf);
	t_disk_exit(&disk);
	return T_PASS;
}

int main(int argc, char **argv)
{
	static const enum t_kind kinds[] = { T_UDMABUF, T_SCATTERED, T_HEAP };
	static const size_t segments[] = { 4096, SIZE };
	const char *mode = getenv("MODE");
	unsigned int i;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_COUNT(kinds) + T_COUNT(segments) + 1);
	if (!mode || strcmp(mode, "swiotlb"))
		t_die("this machine bounces nothing, or does not say so: boot with MODE=swiotlb");
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	t_ring_init(&ring, T_PLAIN, 8, 1);
	for (i = 0; i < T_COUNT(kinds); i++)
		t_report(of_kind(kinds[i]), "refused: %s", t_kind_names[kinds[i]]);
	for (i = 0; i < T_COUNT(segments); i++)
		t_report(exported(segments[i]), "refused: segments of %zu bytes", segments[i]);
	t_report(user_memory(), "user memory is bounced, and right");
	t_ring_exit(&ring);
	close(fd);
	return t_finish();
}
