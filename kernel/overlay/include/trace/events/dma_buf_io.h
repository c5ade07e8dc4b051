/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dma_buf_io

#if !defined(_TRACE_DMA_BUF_IO_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_DMA_BUF_IO_H

#include <linux/device.h>
#include <linux/dma-buf.h>
#include <linux/dma-buf-io.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/tracepoint.h>

TRACE_DEFINE_ENUM(DMA_BUF_IO_SYSTEM);
TRACE_DEFINE_ENUM(DMA_BUF_IO_PEER);
TRACE_DEFINE_ENUM(DMA_BUF_IO_OTHER);
TRACE_DEFINE_ENUM(DMA_BUF_IO_MIXED);
TRACE_DEFINE_ENUM(DMA_BUF_IO_PHYSICAL);
TRACE_DEFINE_ENUM(DMA_BUF_IO_IOVA);
TRACE_DEFINE_ENUM(DMA_BUF_IO_BUS);
TRACE_DEFINE_ENUM(DMA_BUF_IO_WAYS);

/* dma-bufs are told apart by their inodes, as in debugfs. */
DECLARE_EVENT_CLASS(dma_buf_io_registration,
		    TP_PROTO(const struct dma_buf_io *io, int ret),
		    TP_ARGS(io, ret),
		    TP_STRUCT__entry(__field(const void *, io)
				     __field(u64, inode)
				     __string(exporter, io->dmabuf->exp_name)
				     __field(size_t, size)
				     __field(dev_t, dev)
				     __field(long, lost)
				     __field(int, ret)),
		    TP_fast_assign(__entry->io = io;
				   __entry->inode = file_inode(io->dmabuf->file)->i_ino;
				   __assign_str(exporter);
				   __entry->size = io->dmabuf->size;
				   __entry->dev = file_inode(io->file)->i_rdev;
				   __entry->lost = atomic_long_read(&io->nr_lost);
				   __entry->ret = ret;),
		    TP_printk("io=%p inode=%llu exporter=%s size=%zu dev=%u,%u lost=%ld ret=%d",
			      __entry->io, __entry->inode, __get_str(exporter),
			      __entry->size, MAJOR(__entry->dev), MINOR(__entry->dev),
			      __entry->lost, __entry->ret));

DEFINE_EVENT(dma_buf_io_registration, dma_buf_io_register,
	     TP_PROTO(const struct dma_buf_io *io, int ret),
	     TP_ARGS(io, ret));

DEFINE_EVENT(dma_buf_io_registration, dma_buf_io_unregister,
	     TP_PROTO(const struct dma_buf_io *io, int ret),
	     TP_ARGS(io, ret));

/* @ret: what making it came to; of what there is to tell nothing is new if not 0 */
TRACE_EVENT(dma_buf_io_map,
	    TP_PROTO(const struct dma_buf_io_ctx *ctx, ktime_t took, int ret),
	    TP_ARGS(ctx, took, ret),
	    TP_STRUCT__entry(__string(device, dev_name(ctx->dev->dev))
			     __field(u64, inode)
			     __string(exporter, ctx->dmabuf->exp_name)
			     __field(u64, map)
			     __field(s64, took)
			     __field(unsigned int, memory)
			     __field(unsigned int, way)
			     __field(unsigned int, segments)
			     __field(u64, chunk)
			     __field(int, ret)),
	    TP_fast_assign(__assign_str(device);
			   __entry->inode = file_inode(ctx->dmabuf->file)->i_ino;
			   __assign_str(exporter);
			   __entry->map = ctx->nr_maps;
			   __entry->took = ktime_to_ns(took);
			   __entry->memory = ctx->info.memory;
			   __entry->way = ctx->info.way;
			   __entry->segments = ctx->info.nr_segments;
			   __entry->chunk = ctx->info.chunk;
			   __entry->ret = ret;),
	    TP_printk("device=%s inode=%llu exporter=%s map=%llu took_ns=%lld memory=%s addresses=%s segments=%u chunk=%llu ret=%d",
		      __get_str(device), __entry->inode, __get_str(exporter),
		      __entry->map, __entry->took,
		      __print_symbolic(__entry->memory,
				       { DMA_BUF_IO_SYSTEM, "system" },
				       { DMA_BUF_IO_PEER, "peer" },
				       { DMA_BUF_IO_OTHER, "other" },
				       { DMA_BUF_IO_MIXED, "mixed" }),
		      __print_symbolic(__entry->way,
				       { DMA_BUF_IO_PHYSICAL, "physical" },
				       { DMA_BUF_IO_IOVA, "iova" },
				       { DMA_BUF_IO_BUS, "bus" },
				       { DMA_BUF_IO_WAYS, "mixed" }),
		      __entry->segments, __entry->chunk, __entry->ret));

/* The exporter has taken a map away and waited for commands. */
TRACE_EVENT(dma_buf_io_invalidate,
	    TP_PROTO(const struct dma_buf_io_ctx *ctx, ktime_t drained),
	    TP_ARGS(ctx, drained),
	    TP_STRUCT__entry(__string(device, dev_name(ctx->dev->dev))
			     __field(u64, inode)
			     __field(u64, map)
			     __field(s64, drained)),
	    TP_fast_assign(__assign_str(device);
			   __entry->inode = file_inode(ctx->dmabuf->file)->i_ino;
			   __entry->map = ctx->nr_maps;
			   __entry->drained = ktime_to_ns(drained);),
	    TP_printk("device=%s inode=%llu map=%llu drained_ns=%lld",
		      __get_str(device), __entry->inode, __entry->map,
		      __entry->drained));

DECLARE_EVENT_CLASS(dma_buf_io_context,
		    TP_PROTO(const struct dma_buf_io_ctx *ctx),
		    TP_ARGS(ctx),
		    TP_STRUCT__entry(__string(device, dev_name(ctx->dev->dev))
				     __field(u64, inode)
				     __field(u64, map)),
		    TP_fast_assign(__assign_str(device);
				   __entry->inode = file_inode(ctx->dmabuf->file)->i_ino;
				   __entry->map = ctx->nr_maps;),
		    TP_printk("device=%s inode=%llu map=%llu", __get_str(device),
			      __entry->inode, __entry->map));

DEFINE_EVENT(dma_buf_io_context, dma_buf_io_unmap,
	     TP_PROTO(const struct dma_buf_io_ctx *ctx),
	     TP_ARGS(ctx));

/* A registration loses the device. */
DEFINE_EVENT(dma_buf_io_context, dma_buf_io_revoke,
	     TP_PROTO(const struct dma_buf_io_ctx *ctx),
	     TP_ARGS(ctx));

#endif /* _TRACE_DMA_BUF_IO_H */

#include <trace/define_trace.h>
