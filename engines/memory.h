/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much memory may be taken before others on this machine suffer. */
#ifndef ENGINE_MEMORY_H
#define ENGINE_MEMORY_H

#include <stddef.h>

#include "error.h"

/* Memory that is asked for at a time: jobs that start together see what the others took. */
#define MEMORY_STEP	(64u << 20)

/* 0, or -ENOMEM and why: @bytes are more than there are to have. */
int memory_check(size_t bytes, struct error *e);

#endif
