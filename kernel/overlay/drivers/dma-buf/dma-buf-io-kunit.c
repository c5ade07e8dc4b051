// SPDX-License-Identifier: GPL-2.0
/*
 * Registered dma-bufs: offsets of bios and of iterators, beyond 4 GiB as well.
 */
#include <kunit/test.h>
#include <linux/bio.h>
#include <linux/dma-buf-io.h>
#include <linux/sizes.h>
#include <linux/uio.h>

#define SEGMENTS	8
#define SEGMENT		((u64)1 << DMA_BUF_IO_BVEC_SHIFT)

static const u64 offsets[] = {
	0, 512, SZ_4K, SEGMENT - SZ_4K, SEGMENT - 512, SEGMENT, SEGMENT + 512,
	4 * SEGMENT - 512, 4 * SEGMENT, 4 * SEGMENT + SZ_4K,
	(SEGMENTS - 1) * SEGMENT,
};

/* As dma_buf_io_register() makes it. */
static struct dma_buf_io *make_registration(struct kunit *test)
{
	struct dma_buf_io *io;
	int i;

	io = kunit_kzalloc(test, struct_size(io, bvecs, SEGMENTS), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, io);
	for (i = 0; i < SEGMENTS; i++)
		bvec_set_page(&io->bvecs[i], NULL, SEGMENT, 0);
	return io;
}

static void test_bio_offset(struct kunit *test)
{
	struct dma_buf_io *io = make_registration(test);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		struct bio bio = { };

		bio_set_dmabuf(&bio, io, offsets[i], SZ_8M);
		KUNIT_EXPECT_PTR_EQ(test, bio_dmabuf(&bio), io);
		KUNIT_EXPECT_EQ(test, bio_dmabuf_offset(&bio), offsets[i]);
		KUNIT_EXPECT_EQ(test, bio.bi_iter.bi_size, SZ_8M);
	}
}

/* What the block layer does when it splits and when it goes on. */
static void test_bio_advance(struct kunit *test)
{
	static const unsigned int steps[] = { 512, SZ_4K, SZ_1M, SZ_8M };
	struct dma_buf_io *io = make_registration(test);
	unsigned int i, step;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		for (step = 0; step < ARRAY_SIZE(steps); step++) {
			struct bio bio = { .bi_opf = REQ_OP_READ | REQ_DMABUF };

			bio_set_dmabuf(&bio, io, offsets[i], 2 * SZ_8M);
			bio_advance_iter(&bio, &bio.bi_iter, steps[step]);
			KUNIT_EXPECT_EQ(test, bio_dmabuf_offset(&bio),
					offsets[i] + steps[step]);
			KUNIT_EXPECT_EQ(test, bio.bi_iter.bi_size,
					2 * SZ_8M - steps[step]);
			KUNIT_EXPECT_PTR_EQ(test, bio_dmabuf(&bio), io);
		}
	}
}

static void test_iter(struct kunit *test)
{
	struct dma_buf_io *io = make_registration(test);
	struct iov_iter_state state;
	struct iov_iter iter;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		iov_iter_dmabuf(&iter, ITER_DEST, io, offsets[i], SZ_1M);
		KUNIT_EXPECT_TRUE(test, iov_iter_is_dmabuf(&iter));
		KUNIT_EXPECT_EQ(test, iov_iter_alignment(&iter),
				(unsigned long)(offsets[i] | SZ_1M));
		iov_iter_save_state(&iter, &state);
		iov_iter_advance(&iter, SZ_4K);
		KUNIT_EXPECT_EQ(test, iter.iov_offset, (size_t)offsets[i] + SZ_4K);
		KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_1M - SZ_4K);
		iov_iter_revert(&iter, 512);
		KUNIT_EXPECT_EQ(test, iter.iov_offset,
				(size_t)offsets[i] + SZ_4K - 512);
		iov_iter_truncate(&iter, SZ_64K);
		KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_64K);
		iov_iter_restore(&iter, &state);
		KUNIT_EXPECT_EQ(test, iter.iov_offset, (size_t)offsets[i]);
		KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_1M);
	}
}

/* No byte can be copied: that must not look like success. */
static void test_iter_copy(struct kunit *test)
{
	struct dma_buf_io *io = make_registration(test);
	struct iov_iter iter;
	char bytes[16] = { };

	iov_iter_dmabuf(&iter, ITER_DEST, io, 0, SZ_4K);
	KUNIT_EXPECT_EQ(test, copy_to_iter(bytes, sizeof(bytes), &iter), 0);
	KUNIT_EXPECT_EQ(test, iov_iter_zero(sizeof(bytes), &iter), 0);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_4K);
	iov_iter_dmabuf(&iter, ITER_SOURCE, io, 0, SZ_4K);
	KUNIT_EXPECT_EQ(test, copy_from_iter(bytes, sizeof(bytes), &iter), 0);
	KUNIT_EXPECT_EQ(test, iov_iter_count(&iter), SZ_4K);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_bio_offset),
	KUNIT_CASE(test_bio_advance),
	KUNIT_CASE(test_iter),
	KUNIT_CASE(test_iter_copy),
	{ }
};

static struct kunit_suite suite = {
	.name		= "dma-buf-io",
	.test_cases	= cases,
};

kunit_test_suite(suite);

MODULE_DESCRIPTION("KUnit tests of registered dma-bufs");
MODULE_LICENSE("GPL");
