// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Linked into a dmabuf.so with --wrap for each name below: the Nth step on the
 * engine's way up fails, N being FAIL_STEP in the environment, and when the
 * process ends, a line says how many steps there were and what is still there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <liburing.h>

static unsigned int steps, blocks, mappings, streams, libraries;
static unsigned int descriptors_before;
static const char *failed = "none";

static unsigned int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

__attribute__((constructor))
static void begin(void)
{
	descriptors_before = descriptors();
}

__attribute__((destructor))
static void end(void)
{
	fprintf(stderr, "fail: steps=%u failed=%s libraries=%u blocks=%u mappings=%u streams=%u descriptors=%u\n",
		steps, failed, libraries, blocks, mappings, streams, descriptors() - descriptors_before);
}

static int fails(const char *name)
{
	const char *step = getenv("FAIL_STEP");

	if (++steps != (step ? (unsigned int)atoi(step) : 0))
		return 0;
	failed = name;
	errno = ENOMEM;
	return 1;
}

/* What a step takes, and the failure it shows. */
#define STEP(type, name, failure, parameters, ...)		\
	type __real_##name parameters;				\
	type __wrap_##name parameters;				\
	type __wrap_##name parameters				\
	{							\
		return fails(#name) ? failure : __real_##name(__VA_ARGS__); \
	}

STEP(int, memfd_create, -1, (const char *name, unsigned int flags), name, flags)
STEP(int, ftruncate, -1, (int fd, off_t size), fd, size)
STEP(int, fallocate, -1, (int fd, int mode, off_t at, off_t size), fd, mode, at, size)
STEP(int, madvise, -1, (void *at, size_t size, int advice), at, size, advice)
STEP(off_t, lseek, -1, (int fd, off_t at, int whence), fd, at, whence)
STEP(int, fcntl, -1, (int fd, int cmd, long arg), fd, cmd, arg)
STEP(int, ioctl, -1, (int fd, unsigned long cmd, void *arg), fd, cmd, arg)
STEP(int, open, -1, (const char *path, int flags), path, flags)
STEP(int, socket, -1, (int domain, int type, int protocol), domain, type, protocol)
STEP(int, connect, -1, (int fd, const void *to, unsigned int size), fd, to, size)
STEP(ssize_t, recvmsg, -1, (int fd, void *msg, int flags), fd, msg, flags)
STEP(void *, dlsym, NULL, (void *library, const char *name), library, name)
STEP(int, drmIoctl, -1, (int fd, unsigned long cmd, void *arg), fd, cmd, arg)
STEP(int, drmPrimeHandleToFD, -1, (int fd, uint32_t handle, uint32_t flags, int *prime), fd, handle, flags, prime)
STEP(int, io_uring_setup, -ENOMEM, (unsigned int n, struct io_uring_params *p), n, p)
STEP(int, io_uring_queue_mmap, -ENOMEM, (int fd, struct io_uring_params *p, struct io_uring *ring), fd, p, ring)
STEP(int, io_uring_register_ring_fd, -ENOMEM, (struct io_uring *ring), ring)
STEP(int, io_uring_register_files, -ENOMEM, (struct io_uring *ring, const int *fds, unsigned int n), ring, fds, n)
STEP(int, io_uring_register_buffers, -ENOMEM, (struct io_uring *ring, const struct iovec *v, unsigned int n), ring, v, n)
STEP(int, io_uring_register_buffers_sparse, -ENOMEM, (struct io_uring *ring, unsigned int n), ring, n)
STEP(int, io_uring_register, -ENOMEM, (unsigned int fd, unsigned int opcode, const void *arg, unsigned int n), fd, opcode, arg, n)

/* And what has to be given back. Descriptors are counted by the kernel. */
#define COUNTED(type, name, failure, counter, parameters, ...)	\
	type __real_##name parameters;				\
	type __wrap_##name parameters;				\
	type __wrap_##name parameters				\
	{							\
		type got = fails(#name) ? failure : __real_##name(__VA_ARGS__); \
								\
		counter += got != failure;			\
		return got;					\
	}

COUNTED(void *, calloc, NULL, blocks, (size_t n, size_t size), n, size)
COUNTED(FILE *, fopen, NULL, streams, (const char *path, const char *mode), path, mode)
COUNTED(void *, dlopen, NULL, libraries, (const char *path, int how), path, how)

/* The line is the caller's to free, as soon as there is one; headers make the one of the other. */
#define LINE(name, parameters, ...)				\
	ssize_t __real_##name parameters;			\
	ssize_t __wrap_##name parameters;			\
	ssize_t __wrap_##name parameters			\
	{							\
		const char *had = *line;			\
		ssize_t got = fails(#name) ? -1 : __real_##name(__VA_ARGS__); \
								\
		blocks += !had && *line;			\
		return got;					\
	}

LINE(getline, (char **line, size_t *size, FILE *f), line, size, f)
LINE(__getdelim, (char **line, size_t *size, int end, FILE *f), line, size, end, f)

int __real_dlclose(void *library);
int __wrap_dlclose(void *library);
int __wrap_dlclose(void *library)
{
	libraries--;
	return __real_dlclose(library);
}

void __real_free(void *block);
void __wrap_free(void *block);
void __wrap_free(void *block)
{
	blocks -= block != NULL;
	__real_free(block);
}

int __real_fclose(FILE *f);
int __wrap_fclose(FILE *f);
int __wrap_fclose(FILE *f)
{
	streams--;
	return __real_fclose(f);
}

void *__real_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	void *got = fails("mmap") ? MAP_FAILED : __real_mmap(at, size, prot, flags, fd, offset);

	mappings += got != MAP_FAILED && !(flags & MAP_FIXED);
	return got;
}

int __real_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size)
{
	mappings--;
	return __real_munmap(at, size);
}
