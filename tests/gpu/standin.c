// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * In the place of libcuda.so.1 and libamdhip64.so: the calls that the engine
 * makes, on GPUs that do not exist. Their memory is memfds, exported by
 * /dev/udmabuf, or where there is none, as a file that is no dma-buf. It is as
 * strict as a driver may be: the CPU faults at a device's address, small
 * memory begins amid a page, a copy is done when its stream is synchronized and not
 * before, and nothing works in a child that was forked after cuInit().
 *
 * What it is told in the environment:
 *   STANDIN_GPUS=N		how many there are (2)
 *   STANDIN_MEMORY=BYTES	each one's (1 GiB)
 *   STANDIN_FAIL=CALL		the name of a call that fails
 *   STANDIN_CODE=N		with what (719)
 *   STANDIN_AFTER=N		once it has worked N times (0)
 *   STANDIN_DMABUF=0		no GPU exports memory
 *   STANDIN_PCIE=needed	exports for PCIe devices work, no others; unknown: the
 *				flag is; otherwise it is known and not supported
 *   STANDIN_ORDERING=0		a copy from a device takes a flush before it
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/udmabuf.h>

#define PUBLIC	__attribute__((visibility("default")))
#define PAGE	4096UL
#define LARGE	(2UL << 20)

enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
       INVALID_CONTEXT = 201, INVALID_HANDLE = 400, LAUNCH_FAILED = 719, NOT_SUPPORTED = 801 };

struct context { int gpu; };
struct copy { uint64_t at; void *host; size_t n; bool to_device; };
struct stream { int gpu; unsigned int nr; struct copy copies[16]; };
struct block { struct block *next; int gpu, memfd; uint64_t at, base; size_t size; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks;
static int nr_contexts, nr_streams, nr_blocks, nr_lost;
static int init_pid;
static unsigned int calls;			/* of STANDIN_FAIL */
static __thread int current = -1;		/* the thread's GPU */
static __thread bool flushed;			/* by this thread: another's copy does not use it up */

static unsigned long told(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

static bool says(const char *name, const char *value)
{
	const char *got = getenv(name);

	return got && !strcmp(got, value);
}

static int fails(const char *call)
{
	if (!says("STANDIN_FAIL", call) || __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED) < told("STANDIN_AFTER", 0))
		return 0;
	return told("STANDIN_CODE", LAUNCH_FAILED);
}

/* What is wrong with any call at this place. */
static int wrong(const char *call, bool needs_gpu)
{
	int ret = fails(call);

	if (ret)
		return ret;
	if (init_pid != getpid())
		return NOT_INITIALIZED;
	return needs_gpu && current < 0 ? INVALID_CONTEXT : 0;
}

static void left(const char *event)
{
	dprintf(2, "standin: %s: contexts=%d streams=%d blocks=%d lost=%d\n", event, nr_contexts, nr_streams, nr_blocks, nr_lost);
}

static int init(const char *call)
{
	int ret = fails(call);

	if (ret)
		return ret;
	if (init_pid && init_pid != getpid())
		return NOT_INITIALIZED;
	if (!told("STANDIN_GPUS", 2))
		return NO_DEVICE;
	init_pid = getpid();
	return 0;
}

static int error_name(const char *call, int error, const char **name)
{
	static const struct { int error; const char *name; } names[] = {
		{ INVALID_VALUE, "STANDIN_INVALID_VALUE" }, { OUT_OF_MEMORY, "STANDIN_OUT_OF_MEMORY" },
		{ NOT_INITIALIZED, "STANDIN_NOT_INITIALIZED" }, { NO_DEVICE, "STANDIN_NO_DEVICE" },
		{ INVALID_DEVICE, "STANDIN_INVALID_DEVICE" }, { INVALID_CONTEXT, "STANDIN_INVALID_CONTEXT" },
		{ LAUNCH_FAILED, "STANDIN_LAUNCH_FAILED" }, { NOT_SUPPORTED, "STANDIN_NOT_SUPPORTED" },
	};
	int ret = fails(call);

	if (ret)
		return ret;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (names[i].error != error)
			continue;
		*name = names[i].name;
		return 0;
	}
	*name = NULL;
	return INVALID_VALUE;
}

static int count(const char *call, int *n)
{
	int ret = wrong(call, false);

	if (!ret)
		*n = told("STANDIN_GPUS", 2);
	return ret;
}

static int enter(const char *call, int gpu)
{
	int ret = wrong(call, false);

	if (ret)
		return ret;
	if (gpu < 0 || (unsigned long)gpu >= told("STANDIN_GPUS", 2))
		return INVALID_DEVICE;
	current = gpu;
	dprintf(2, "standin: on GPU %d\n", gpu);
	return 0;
}

static int make_stream(const char *call, struct stream **s, unsigned int flags)
{
	int ret = wrong(call, true);

	if (ret)
		return ret;
	if (flags > 1)
		return INVALID_VALUE;
	*s = calloc(1, sizeof(**s));
	(*s)->gpu = current;
	__atomic_add_fetch(&nr_streams, 1, __ATOMIC_RELAXED);
	return 0;
}

static int end_stream(const char *call, struct stream *s)
{
	int ret = wrong(call, true);

	if (ret)
		return ret;
	__atomic_add_fetch(&nr_lost, s->nr, __ATOMIC_RELAXED);
	free(s);
	__atomic_sub_fetch(&nr_streams, 1, __ATOMIC_RELAXED);
	left("stream ended");
	return 0;
}

static size_t used_on(int gpu)
{
	size_t used = 0;

	for (struct block *b = blocks; b; b = b->next)
		used += b->gpu == gpu ? b->size : 0;
	return used;
}

static int memory_info(const char *call, size_t *free, size_t *total)
{
	int ret = wrong(call, true);

	if (ret)
		return ret;
	pthread_mutex_lock(&lock);
	*total = told("STANDIN_MEMORY", 1UL << 30);
	*free = *total - used_on(current);
	pthread_mutex_unlock(&lock);
	return 0;
}

/* Addresses that fault, and the memory in a file. */
static struct block *make_block(size_t size)
{
	size_t room = (size + 2 * LARGE) / LARGE * LARGE;
	struct block *b = calloc(1, sizeof(*b));
	void *v = mmap(NULL, room + LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	b->base = ((uint64_t)v + LARGE - 1) / LARGE * LARGE;
	munmap(v, b->base - (uint64_t)v);
	munmap((void *)(b->base + room), (uint64_t)v + LARGE - b->base);
	b->at = b->base + (size < LARGE ? 0x300 : 0);
	b->size = size;
	b->gpu = current;
	b->memfd = memfd_create("standin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (v == MAP_FAILED || b->memfd < 0 || ftruncate(b->memfd, room) || fcntl(b->memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		abort();
	return b;
}

static int alloc(const char *call, uint64_t *at, size_t size)
{
	int ret = wrong(call, true);
	struct block *b;

	if (ret)
		return ret;
	pthread_mutex_lock(&lock);
	if (size > told("STANDIN_MEMORY", 1UL << 30) - used_on(current)) {
		ret = OUT_OF_MEMORY;
	} else {
		b = make_block(size);
		b->next = blocks;
		blocks = b;
		nr_blocks++;
		*at = b->at;
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

static int release(const char *call, uint64_t at)
{
	int ret = wrong(call, true);
	struct block **place, *b;

	if (ret)
		return ret;
	pthread_mutex_lock(&lock);
	for (place = &blocks; (b = *place) && b->at != at; place = &b->next)
		;
	if (b) {
		*place = b->next;
		munmap((void *)b->base, (b->size + 2 * LARGE) / LARGE * LARGE);
		close(b->memfd);
		free(b);
		nr_blocks--;
	}
	pthread_mutex_unlock(&lock);
	return b ? 0 : INVALID_VALUE;
}

/* The memory that [at, at + size) lies in, or NULL. */
static struct block *find(uint64_t at, size_t size)
{
	struct block *b;

	pthread_mutex_lock(&lock);
	for (b = blocks; b; b = b->next)
		if (at >= b->at && at + size <= b->at + b->size)
			break;
	pthread_mutex_unlock(&lock);
	return b;
}

static int export(const struct block *b, uint64_t at, size_t size)
{
	struct udmabuf_create create = { .memfd = b->memfd, .offset = at - b->base, .size = size };
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), fd;

	if (dev < 0) {
		fd = memfd_create("no-dma-buf", 0);
		if (ftruncate(fd, size))
			abort();
		return fd;
	}
	fd = ioctl(dev, UDMABUF_CREATE, &create);
	close(dev);
	return fd;
}

static int handle(const char *call, int *fd, uint64_t at, size_t size, int type, unsigned long long flags)
{
	int ret = wrong(call, true);
	struct block *b;

	if (ret)
		return ret;
	if (!told("STANDIN_DMABUF", 1))
		return NOT_SUPPORTED;
	if (flags && !says("STANDIN_PCIE", "needed"))
		return says("STANDIN_PCIE", "unknown") ? INVALID_VALUE : NOT_SUPPORTED;
	b = find(at, size);
	if (!b || type != 1 || flags > 1 || at % PAGE || size % PAGE || !size || (!flags && says("STANDIN_PCIE", "needed")))
		return INVALID_VALUE;
	*fd = export(b, at, size);
	return *fd < 0 ? OUT_OF_MEMORY : 0;
}

static int add_copy(const char *call, struct copy copy, struct stream *s)
{
	int ret = wrong(call, true);

	if (ret)
		return ret;
	if (!s || !find(copy.at, copy.n))
		return INVALID_VALUE;
	if (s->nr == sizeof(s->copies) / sizeof(*s->copies))
		return INVALID_HANDLE;
	if (!copy.to_device && !told("STANDIN_ORDERING", 100)) {
		if (!flushed)
			return INVALID_HANDLE;
		flushed = false;
	}
	s->copies[s->nr++] = copy;
	return 0;
}

static int synchronize(const char *call, struct stream *s)
{
	int ret = wrong(call, true);

	for (unsigned int i = 0; i < s->nr && !ret; i++) {
		struct copy *c = &s->copies[i];
		struct block *b = find(c->at, c->n);
		ssize_t done = -1;

		if (b)
			done = c->to_device ? pwrite(b->memfd, c->host, c->n, c->at - b->base) :
				pread(b->memfd, c->host, c->n, c->at - b->base);
		if (done != (ssize_t)c->n)
			ret = LAUNCH_FAILED;
	}
	s->nr = 0;
	return ret;
}

/* What is CUDA's alone. */
PUBLIC int cuDeviceGet(int *device, int ordinal)
{
	int ret = wrong(__func__, false);

	if (!ret)
		*device = ordinal + 1000;	/* not the ordinal */
	return ret;
}

PUBLIC int cuDeviceGetAttribute(int *value, int attribute, int device)
{
	int ret = wrong(__func__, false);

	if (ret)
		return ret;
	if (device < 1000)
		return INVALID_DEVICE;
	switch (attribute) {
	case 124:			/* dma-bufs */
		*value = told("STANDIN_DMABUF", 1);
		return 0;
	case 117:			/* flushes, by the host */
		*value = 1;
		return 0;
	case 118:			/* writes are in order for the owner */
		*value = told("STANDIN_ORDERING", 100);
		return 0;
	}
	return INVALID_VALUE;
}

PUBLIC int cuCtxCreate_v2(struct context **context, unsigned int flags, int device)
{
	int ret = enter(__func__, device - 1000);

	if (ret)
		return ret;
	*context = calloc(1, sizeof(**context));
	(*context)->gpu = current;
	__atomic_add_fetch(&nr_contexts, 1, __ATOMIC_RELAXED);
	return flags ? INVALID_VALUE : 0;
}

PUBLIC int cuCtxDestroy_v2(struct context *context)
{
	int ret = wrong(__func__, true);

	if (ret)
		return ret;
	free(context);
	current = -1;
	__atomic_sub_fetch(&nr_contexts, 1, __ATOMIC_RELAXED);
	left("context ended");
	return 0;
}

PUBLIC int cuFlushGPUDirectRDMAWrites(int target, int scope)
{
	int ret = wrong(__func__, true);

	if (ret)
		return ret;
	flushed = true;
	return target || scope != 100 ? INVALID_VALUE : 0;
}

/* What HIP has alone, and what both have. */
PUBLIC int hipSetDevice(int gpu) { return enter(__func__, gpu); }

#define BOTH(cuda, hip, common, parameters, ...)	\
	PUBLIC int cuda parameters { return common(__func__, __VA_ARGS__); }	\
	PUBLIC int hip parameters { return common(__func__, __VA_ARGS__); }

PUBLIC int cuInit(unsigned int flags) { return flags ? INVALID_VALUE : init(__func__); }
PUBLIC int hipInit(unsigned int flags) { return flags ? INVALID_VALUE : init(__func__); }
BOTH(cuGetErrorName, hipDrvGetErrorName, error_name, (int error, const char **name), error, name)
BOTH(cuDeviceGetCount, hipGetDeviceCount, count, (int *n), n)
BOTH(cuStreamCreate, hipStreamCreateWithFlags, make_stream, (struct stream **s, unsigned int flags), s, flags)
BOTH(cuStreamDestroy_v2, hipStreamDestroy, end_stream, (struct stream *s), s)
BOTH(cuStreamSynchronize, hipStreamSynchronize, synchronize, (struct stream *s), s)
BOTH(cuMemGetInfo_v2, hipMemGetInfo, memory_info, (size_t *free, size_t *total), free, total)
BOTH(cuMemAlloc_v2, hipMalloc, alloc, (uint64_t *at, size_t size), at, size)
BOTH(cuMemFree_v2, hipFree, release, (uint64_t at), at)
BOTH(cuMemGetHandleForAddressRange, hipMemGetHandleForAddressRange, handle,
     (int *fd, uint64_t at, size_t size, int type, unsigned long long flags), fd, at, size, type, flags)
BOTH(cuMemcpyHtoDAsync_v2, hipMemcpyHtoDAsync, add_copy, (uint64_t to, const void *from, size_t n, struct stream *s),
     ((struct copy){ to, (void *)from, n, true }), s)
BOTH(cuMemcpyDtoHAsync_v2, hipMemcpyDtoHAsync, add_copy, (void *to, uint64_t from, size_t n, struct stream *s),
     ((struct copy){ from, to, n, false }), s)
