// SPDX-License-Identifier: GPL-2.0
/*
 * Direct I/O of files into and out of registered dma-bufs, for file systems whose
 * direct I/O is iomap's: it is the file's own ->read_iter and ->write_iter, with an
 * iterator that has no pages. See Documentation/driver-api/dma-buf-io.rst.
 *
 * A bio that meets no DMA mapping ends the request with -ESTALE, as any error does:
 * what the file system does about extents and the file's size it does for data that
 * has been written. So whoever issued the request can issue it again, as a whole.
 *
 * Locks of the file system are taken before the reservation lock of a dma-buf, and
 * none with it: what is done with it is to submit a bio without waiting, and to
 * clear memory.
 */
#include <linux/blkdev.h>
#include <linux/dma-buf.h>
#include <linux/dma-buf-io.h>
#include <linux/dma-resv.h>
#include <linux/iomap.h>
#include <linux/iosys-map.h>
#include <linux/pagemap.h>
#include "internal.h"

/**
 * iomap_register_dmabuf - register a dma-buf for a regular file
 * @file: the file
 * @io: the registration
 * @bdev: where the file has its data
 *
 * For implementations of &file_operations.register_dmabuf, which refuse first what
 * only they know of. What of the file's state can change they refuse in ->read_iter
 * and ->write_iter, instead of falling back to buffered I/O.
 *
 * Context: may sleep.
 * Return: 0; -EINVAL if the file was not opened with O_DIRECT; -EOPNOTSUPP; or as for
 * bdev_register_dmabuf().
 */
int iomap_register_dmabuf(struct file *file, struct dma_buf_io *io,
			  struct block_device *bdev)
{
	struct inode *inode = file_inode(file);

	if (!(file->f_flags & O_DIRECT))
		return -EINVAL;
	if (IS_DAX(inode) || IS_ENCRYPTED(inode) || IS_VERITY(inode) ||
	    mapping_stable_writes(inode->i_mapping))
		return -EOPNOTSUPP;
	return bdev_file_register_dmabuf(bdev, io);
}
EXPORT_SYMBOL_GPL(iomap_register_dmabuf);

/*
 * Beyond the end of the file there is nothing to be read, nor anything to be cleared
 * in the buffer.
 */
static void iomap_trim_to_eof(struct kiocb *iocb, struct iov_iter *iter,
			      struct block_device *bdev)
{
	unsigned int block = bdev_logical_block_size(bdev);
	loff_t left = i_size_read(file_inode(iocb->ki_filp)) - iocb->ki_pos;

	/* what is not of whole blocks is an error, wherever it ends */
	if (left > 0 && IS_ALIGNED(iter->count, block))
		iov_iter_truncate(iter, round_up(left, block));
}

/**
 * iomap_rw_dmabuf - direct I/O of a regular file with a registered dma-buf
 * @iocb: the request
 * @io: the registration, from iomap_register_dmabuf()
 * @offset: in the dma-buf
 * @len: in bytes
 *
 * To be &file_operations.rw_dmabuf. The file's ->read_iter and ->write_iter do direct
 * I/O if IOCB_DIRECT is set, or fail: with -ENOTBLK if they would have fallen back.
 *
 * Context: may sleep, unless IOCB_NOWAIT is set; takes the file's locks, and then the
 * reservation lock of the dma-buf.
 * Return: as they do, but -EOPNOTSUPP for that.
 */
ssize_t iomap_rw_dmabuf(struct kiocb *iocb, struct dma_buf_io *io,
			size_t offset, size_t len)
{
	const struct file_operations *fops = iocb->ki_filp->f_op;
	bool write = iocb->ki_flags & IOCB_WRITE;
	struct iov_iter iter;
	ssize_t ret;

	if (!(iocb->ki_flags & IOCB_DIRECT))
		return -EINVAL;
	if (iocb->ki_flags & IOCB_HAS_METADATA)
		return -EOPNOTSUPP;
	if (iocb->ki_flags & IOCB_ATOMIC)
		return -EINVAL;

	iov_iter_dmabuf(&iter, write ? ITER_SOURCE : ITER_DEST, io, offset, len);
	if (write) {
		ret = fops->write_iter(iocb, &iter);
	} else {
		iomap_trim_to_eof(iocb, &iter, io->private);
		ret = fops->read_iter(iocb, &iter);
	}
	return ret == -ENOTBLK ? -EOPNOTSUPP : ret;
}
EXPORT_SYMBOL_GPL(iomap_rw_dmabuf);

/* Let @bio transfer all of @iter. */
int iomap_bio_set_dmabuf(struct bio *bio, struct iov_iter *iter)
{
	struct dma_buf_io *io = iter->dmabuf;
	size_t len = iov_iter_count(iter);

	/* a file may have moved, and have data on several devices */
	if (bio->bi_bdev != io->private)
		return -EOPNOTSUPP;
	if (iter->iov_offset & bdev_dma_alignment(bio->bi_bdev))
		return -EINVAL;
	bio_set_dmabuf(bio, io, iter->iov_offset, len);
	iov_iter_advance(iter, len);
	return 0;
}

static int iomap_clear_dmabuf(struct dma_buf *dmabuf, size_t offset, size_t len)
{
	struct iosys_map map;
	int ret;

	ret = dma_resv_lock_interruptible(dmabuf->resv, NULL);
	if (ret)
		return ret;
	ret = dma_buf_vmap(dmabuf, &map);
	if (!ret) {
		iosys_map_memset(&map, offset, 0, len);
		dma_buf_vunmap(dmabuf, &map);
	}
	dma_resv_unlock(dmabuf->resv);
	/* of an exporter without ->vmap */
	return ret == -EINVAL ? -EOPNOTSUPP : ret;
}

/*
 * Read a hole. The bytes must be zero in memory that the CPU may see by its
 * exporter's leave only. One that gives none fails the request.
 */
ssize_t iomap_zero_dmabuf(struct kiocb *iocb, struct iov_iter *iter, size_t len)
{
	struct dma_buf *dmabuf = iter->dmabuf->dmabuf;
	int ret, end;

	/* for exporters and what their fences wait for */
	if (iocb->ki_flags & IOCB_NOWAIT)
		return -EAGAIN;

	/* nothing is read, so that there is nothing to invalidate in caches */
	ret = dma_buf_begin_cpu_access(dmabuf, DMA_TO_DEVICE);
	if (!ret) {
		ret = iomap_clear_dmabuf(dmabuf, iter->iov_offset, len);
		end = dma_buf_end_cpu_access(dmabuf, DMA_TO_DEVICE);
		ret = ret ?: end;
	}
	switch (ret) {
	case 0:
		iov_iter_advance(iter, len);
		return len;
	case -EINTR:
	case -ERESTARTSYS:
		/* to be issued again, by somebody who sees to signals */
		return -ESTALE;
	case -EAGAIN:
	case -ENOTBLK:
	case -ESTALE:
		/* the exporter's; to others these have a meaning */
		return -EBUSY;
	default:
		return ret;
	}
}
