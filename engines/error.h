/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An error that a user can act on: an errno and one sentence. */
#ifndef ENGINE_ERROR_H
#define ENGINE_ERROR_H

#include <stdarg.h>
#include <stdio.h>

struct error {
	char text[320];
};

/* Keep the sentence and give back -@err, so that a failing path is one line. */
__attribute__((format(printf, 3, 4)))
static inline int error_set(struct error *e, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, args);
	va_end(args);
	return -err;
}

#endif
