// SPDX-License-Identifier: GPL-2.0
/*
 * Registered dma-bufs as fixed buffers: which ranges a request may use.
 */
#include <kunit/test.h>
#include <linux/dma-buf-io.h>
#include <linux/limits.h>
#include <linux/sizes.h>

#include "io_uring.h"
#include "dmabuf.h"

static const struct dmabuf_range {
	u64 size, offset;
	size_t len;
	int want;
} ranges[] = {
	{ SZ_4K, 0, SZ_4K, 0 },
	{ SZ_4K, 0, 0, 0 },
	{ SZ_4K, SZ_4K, 0, 0 },
	{ SZ_4K, SZ_4K - 1, 1, 0 },
	{ SZ_4K, SZ_4K, 1, -EFAULT },
	{ SZ_4K, SZ_4K + 1, 0, -EFAULT },
	{ SZ_4K, 0, SZ_4K + 1, -EFAULT },
	{ SZ_4K, 1, SZ_4K, -EFAULT },
	{ SZ_4K, U64_MAX, 1, -EFAULT },
	{ SZ_4K, U64_MAX, SZ_4K, -EFAULT },
	{ SZ_4K, U64_MAX - SZ_4K + 1, SZ_8K, -EFAULT },
	{ SZ_4K, 1ULL << 32, SZ_4K, -EFAULT },
	{ SZ_4K, 1ULL << 63, SZ_4K, -EFAULT },
	{ SZ_8G, 0, MAX_RW_COUNT, 0 },
	{ SZ_8G, 0, MAX_RW_COUNT + 1UL, -EFAULT },
	{ SZ_8G, 0, U32_MAX, -EFAULT },
	{ SZ_8G, SZ_4G, SZ_1M, 0 },
	{ SZ_8G, SZ_8G - SZ_4K, SZ_4K, 0 },
	{ SZ_8G, SZ_8G - SZ_4K, SZ_8K, -EFAULT },
};

static void test_ranges(struct kunit *test)
{
	struct io_kiocb *req = kunit_kzalloc(test, sizeof(*req), GFP_KERNEL);
	struct file *file = (struct file *)req;
	struct dma_buf_io io = { .file = file };
	struct io_mapped_ubuf imu = { .priv = &io };
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, req);
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		const struct dmabuf_range *r = &ranges[i];

		/* the table's lengths have 64 bits where buffers may have */
		if (r->size > SIZE_MAX)
			continue;
		imu.len = r->size;
		req->file = file;
		KUNIT_EXPECT_EQ_MSG(test, io_check_dmabuf(req, &imu, r->offset,
							  r->len), r->want,
				    "%zu bytes from %llu of %llu", r->len,
				    r->offset, r->size);
		/* whatever the range */
		req->file = NULL;
		KUNIT_EXPECT_EQ(test, io_check_dmabuf(req, &imu, r->offset,
						      r->len), -EBADF);
	}
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_ranges),
	{ }
};

static struct kunit_suite suite = {
	.name		= "io_uring-dmabuf",
	.test_cases	= cases,
};

kunit_test_suite(suite);
