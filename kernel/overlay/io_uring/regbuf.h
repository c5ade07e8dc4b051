/* SPDX-License-Identifier: GPL-2.0 */
#ifndef IOU_REGBUF_H
#define IOU_REGBUF_H

#include <linux/types.h>

struct io_ring_ctx;
struct io_rsrc_node;

struct io_rsrc_node *io_regbuf_register(struct io_ring_ctx *ctx, u64 *udesc);

#endif
