// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory of a GPU, by the driver's own library, which is loaded when a job asks
 * for it. CUDA and HIP differ in the names of the calls, and in that a job has a
 * context of its own with CUDA and the process's with HIP. All of it happens
 * in the job's thread, after the fork, since drivers do not survive one.
 */
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"

/* Of the drivers' interfaces; tests/gpu/facts.c compares them with their header. */
enum {
	GPU_ERROR_INVALID_VALUE = 1,
	GPU_ERROR_OUT_OF_MEMORY = 2,
	GPU_ERROR_NOT_INITIALIZED = 3,
	GPU_ERROR_NO_DEVICE = 100,
	GPU_ERROR_NOT_SUPPORTED = 801,
	GPU_STREAM_NON_BLOCKING = 1,
	GPU_RANGE_DMA_BUF_FD = 1,
	GPU_RANGE_PCIE = 1,		/* CUDA: addresses for a PCIe device, where it is not the default */
	GPU_DMA_BUF_SUPPORTED = 124,	/* attributes, CUDA's */
	GPU_FLUSH_OPTIONS = 117,
	GPU_WRITES_ORDERING = 118,
	GPU_FLUSH_HOST = 1,
	GPU_FLUSH_CURRENT_CONTEXT = 0,
	GPU_ORDERED_FOR_OWNER = 100,
};

#define PAGE	4096		/* exports have to begin and end with one */
#define LARGE	(2 << 20)	/* memory from here up begins with a page */

/* Each call, what it takes, and its name in CUDA and in HIP; NULL where there is none. */
#define CALLS(CALL)							\
	CALL(init, (unsigned int flags), "cuInit", "hipInit")		\
	CALL(error_name, (int error, const char **name), "cuGetErrorName", "hipDrvGetErrorName") \
	CALL(count, (int *n), "cuDeviceGetCount", "hipGetDeviceCount")	\
	CALL(device, (int *device, int ordinal), "cuDeviceGet", NULL)	\
	CALL(attribute, (int *value, int attribute, int device), "cuDeviceGetAttribute", NULL) \
	CALL(context, (void **context, unsigned int flags, int device), "cuCtxCreate_v2", NULL) \
	CALL(context_end, (void *context), "cuCtxDestroy_v2", NULL)	\
	CALL(set_device, (int ordinal), NULL, "hipSetDevice")		\
	CALL(stream, (void **stream, unsigned int flags), "cuStreamCreate", "hipStreamCreateWithFlags") \
	CALL(stream_end, (void *stream), "cuStreamDestroy_v2", "hipStreamDestroy") \
	CALL(synchronize, (void *stream), "cuStreamSynchronize", "hipStreamSynchronize") \
	CALL(free_memory, (size_t *free, size_t *total), "cuMemGetInfo_v2", "hipMemGetInfo") \
	CALL(alloc, (uint64_t *at, size_t size), "cuMemAlloc_v2", "hipMalloc") \
	CALL(free, (uint64_t at), "cuMemFree_v2", "hipFree")		\
	CALL(handle, (int *fd, uint64_t at, size_t size, int type, unsigned long long flags), \
	     "cuMemGetHandleForAddressRange", "hipMemGetHandleForAddressRange") \
	CALL(flush, (int target, int scope), "cuFlushGPUDirectRDMAWrites", NULL) \
	CALL(to_device, (uint64_t to, const void *from, size_t n, void *stream), \
	     "cuMemcpyHtoDAsync_v2", "hipMemcpyHtoDAsync")		\
	CALL(from_device, (void *to, uint64_t from, size_t n, void *stream), \
	     "cuMemcpyDtoHAsync_v2", "hipMemcpyDtoHAsync")

struct calls {
#define CALL(call, parameters, cuda, hip)	int (*call) parameters;
	CALLS(CALL)
#undef CALL
};

#define NR_CALLS	(sizeof(struct calls) / sizeof(void *))

/* What a driver is to us. */
struct driver {
	const char *libraries[3];
	const char *remedy;		/* if there is none */
	const char *since;		/* what has all calls */
	const char *exporting;		/* what can export memory */
	unsigned long long flags;	/* of an export, if it knows them */
	const char *names[NR_CALLS];
};

#define CALL(call, parameters, cuda, hip)	cuda,
static const struct driver cuda = {
	.libraries = { "libcuda.so.1" },
	.remedy = "install NVIDIA's driver, or name the directory of its library in LD_LIBRARY_PATH",
	.since = "the driver of CUDA 11.7 or later",
	.exporting = "NVIDIA's open kernel modules and a GPU since Turing",
	.flags = GPU_RANGE_PCIE,
	.names = { CALLS(CALL) },
};
#undef CALL

#define CALL(call, parameters, cuda, hip)	hip,
static const struct driver hip = {
	.libraries = { "libamdhip64.so", "libamdhip64.so.7" },
	.remedy = "install ROCm, or name the directory of its library in LD_LIBRARY_PATH",
	.since = "ROCm 7.0 or later",
	.exporting = "a kernel with CONFIG_PCI_P2PDMA and CONFIG_DMABUF_MOVE_NOTIFY, and amdgpu",
	.names = { CALLS(CALL) },
};
#undef CALL

/* A job's hold on its GPU. */
struct gpu {
	const struct driver *driver;
	void *library;
	union {
		struct calls call;
		void *symbol[NR_CALLS];
	};
	int ordinal;
	void *context;
	void *stream;
	bool flush;		/* what a device has written is not yet there for the GPU */
	const char *failed;	/* the call that did last, in a copy */
	int result;
	char text[96];
};

static size_t gpu_max_size(void)
{
	return SIZE_MAX;	/* ->alloc knows */
}

/* The driver's own name for what a call returned. */
static const char *name_of(struct gpu *g, int result)
{
	const char *name = NULL;

	if (!g->call.error_name(result, &name) && name)
		return name;
	snprintf(g->text, sizeof(g->text), "error %d", result);
	return g->text;
}

static int errno_of(int result)
{
	switch (result) {
	case GPU_ERROR_OUT_OF_MEMORY:
		return ENOMEM;
	case GPU_ERROR_NO_DEVICE:
		return ENODEV;
	case GPU_ERROR_NOT_SUPPORTED:
		return EOPNOTSUPP;
	}
	return EIO;
}

/* A call that fails where nothing better can be said than which, and how. */
static int refused(struct gpu *g, struct error *e, const char *call, int result)
{
	return error_set(e, errno_of(result), "GPU %d: %s of %s failed (%s): see the kernel's log for what its driver says, and use another GPU with gpu_dev_ids=",
			 g->ordinal, call, g->driver->libraries[0], name_of(g, result));
}

/* The GPU of the @job-th job of a list such as 0:1, which is shared out in turn. */
static int choose(const char *ids, unsigned int job, struct error *e)
{
	unsigned int n = 0, want = 0;
	unsigned long id = 0;

	if (!ids || !*ids)
		return 0;
	for (const char *c = ids; *c; c++)
		n += *c == ':';
	want = job % (n + 1);
	n = 0;
	for (const char *c = ids;; n++) {
		unsigned long one;
		char *end;

		errno = 0;
		one = strtoul(c, &end, 10);
		if (!isdigit((unsigned char)*c) || errno || one > INT_MAX || (*end && *end != ':'))
			return error_set(e, EINVAL, "gpu_dev_ids=%.64s is no list of GPUs: give their numbers with colons between, such as 0:1", ids);
		if (n == want)
			id = one;
		if (!*end)
			return id;
		c = end + 1;
	}
}

static int load(struct gpu *g, struct error *e)
{
	const struct driver *d = g->driver;

	for (int i = 0; d->libraries[i] && !g->library; i++)
		g->library = dlopen(d->libraries[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!g->library) {
		const char *why = dlerror();

		return error_set(e, ENOENT, "cannot load %s (%.128s): %s", d->libraries[0], why ? why : "no reason given", d->remedy);
	}
	for (size_t i = 0; i < NR_CALLS; i++) {
		if (!d->names[i])
			continue;
		g->symbol[i] = dlsym(g->library, d->names[i]);
		if (!g->symbol[i])
			return error_set(e, ENOSYS, "%s has no %s: use %s", d->libraries[0], d->names[i], d->since);
	}
	return 0;
}

/* Whether the driver is there, and the GPU. */
static int find(struct gpu *g, struct error *e)
{
	const char *library = g->driver->libraries[0];
	int n, ret = g->call.init(0);

	if (!ret)
		ret = g->call.count(&n);
	if (ret == GPU_ERROR_NOT_INITIALIZED)
		return error_set(e, EINVAL, "%s does not work in this process (%s): if jobs with thread=1 ran before this one was forked, use thread=1 for all or none",
				 library, name_of(g, ret));
	if (ret == GPU_ERROR_NO_DEVICE || (!ret && !n))
		return error_set(e, ENODEV, "%s finds no GPU (%s): see that its kernel driver is loaded and its device files may be opened",
				 library, ret ? name_of(g, ret) : "it counts 0");
	if (ret)
		return error_set(e, errno_of(ret), "%s does not start (%s): see that its version is that of the kernel driver",
				 library, name_of(g, ret));
	if (g->ordinal >= n)
		return error_set(e, ENODEV, "there is no GPU %d, %s counts %d from 0 on: name others with gpu_dev_ids=", g->ordinal, library, n);
	return 0;
}

/* What CUDA tells of a GPU: whether it exports memory, and whether reads need a flush. */
static int enter_context(struct gpu *g, struct error *e)
{
	int device, exports, options, ordering, ret;

	ret = g->call.device(&device, g->ordinal);
	if (ret)
		return refused(g, e, "cuDeviceGet", ret);
	ret = g->call.attribute(&exports, GPU_DMA_BUF_SUPPORTED, device);
	if (!ret)
		ret = g->call.attribute(&options, GPU_FLUSH_OPTIONS, device);
	if (!ret)
		ret = g->call.attribute(&ordering, GPU_WRITES_ORDERING, device);
	if (ret)
		return refused(g, e, "cuDeviceGetAttribute", ret);
	if (!exports)
		return error_set(e, EOPNOTSUPP, "GPU %d does not export its memory as dma-bufs (DMA_BUF_SUPPORTED is 0): use %s",
				 g->ordinal, g->driver->exporting);
	g->flush = options & GPU_FLUSH_HOST && ordering < GPU_ORDERED_FOR_OWNER;
	ret = g->call.context(&g->context, 0, device);
	if (!ret)
		return 0;
	g->context = NULL;
	return refused(g, e, "cuCtxCreate", ret);
}

static int start(struct gpu *g, struct error *e)
{
	int ret = find(g, e);

	if (ret)
		return ret;
	if (g->call.context) {
		ret = enter_context(g, e);
		if (ret)
			return ret;
	} else {
		ret = g->call.set_device(g->ordinal);
		if (ret)
			return refused(g, e, "hipSetDevice", ret);
	}
	ret = g->call.stream(&g->stream, GPU_STREAM_NON_BLOCKING);
	if (!ret)
		return 0;
	g->stream = NULL;
	return refused(g, e, "making a stream", ret);
}

static void gpu_close(void *device)
{
	struct gpu *g = device;

	if (g->stream)
		g->call.stream_end(g->stream);
	if (g->context)
		g->call.context_end(g->context);
	if (g->library)
		dlclose(g->library);
	free(g);
}

static int open_driver(const struct driver *driver, void **device, const struct source_args *args, struct error *e)
{
	int ret = choose(args->gpu_ids, args->job, e);
	struct gpu *g;

	if (ret < 0)
		return ret;
	g = calloc(1, sizeof(*g));
	if (!g)
		return error_set(e, ENOMEM, "no memory to keep a GPU in");
	g->driver = driver;
	g->ordinal = ret;
	ret = load(g, e);
	if (!ret)
		ret = start(g, e);
	if (ret)
		gpu_close(g);
	else
		*device = g;
	return ret;
}

static int cuda_open(void **device, const struct source_args *args, struct error *e)
{
	return open_driver(&cuda, device, args, e);
}

static int hip_open(void **device, const struct source_args *args, struct error *e)
{
	return open_driver(&hip, device, args, e);
}

static int gpu_alloc(struct buffer *b, const struct source_args *args, struct error *e)
{
	size_t size = b->size + (b->size < LARGE ? PAGE : 0), free = 0, total = 0;
	struct gpu *g = b->device;
	int ret = g->call.alloc(&b->block, size);

	if (ret) {
		b->block = 0;
		if (ret != GPU_ERROR_OUT_OF_MEMORY)
			return refused(g, e, "allocating memory", ret);
		if (g->call.free_memory(&free, &total))
			free = total = 0;
		return error_set(e, ENOMEM, "GPU %d has no %zu bytes for the job (%s; %zu of %zu are free): lower iodepth or bs, or end what else uses it",
				 g->ordinal, size, name_of(g, ret), free, total);
	}
	b->region = (b->block + PAGE - 1) / PAGE * PAGE;
	return buffer_shadow(b, e);
}

static void gpu_free(struct buffer *b)
{
	struct gpu *g = b->device;

	if (b->block)
		g->call.free(b->block);
	b->block = 0;
}

/* Some drivers do not know the flag, some machines need none. */
static int gpu_export(struct buffer *b, struct error *e)
{
	unsigned long long flags;
	struct gpu *g = b->device;
	int fd = -1, ret;

	flags = g->driver->flags;
	ret = g->call.handle(&fd, b->region, b->size, GPU_RANGE_DMA_BUF_FD, flags);
	if (flags && (ret == GPU_ERROR_NOT_SUPPORTED || ret == GPU_ERROR_INVALID_VALUE))
		ret = g->call.handle(&fd, b->region, b->size, GPU_RANGE_DMA_BUF_FD, 0);
	if (ret)
		return error_set(e, errno_of(ret), "GPU %d does not export %zu bytes of its memory as a dma-buf (%s): use %s",
				 g->ordinal, b->size, name_of(g, ret), g->driver->exporting);
	b->dmabuf = fd;
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return 0;
}

static int copy_failed(struct gpu *g, const char *call, int result)
{
	g->failed = call;
	g->result = result;
	return -EIO;
}

/* Done when this returns: the I/O that follows a copy, or fio, sees all of it. */
static int gpu_copy(const struct buffer *b, void *host, off_t at, size_t n, bool to_device)
{
	struct gpu *g = b->device;
	int ret = 0;

	if (!n)
		return 0;
	if (!to_device && g->flush)
		ret = g->call.flush(GPU_FLUSH_CURRENT_CONTEXT, GPU_ORDERED_FOR_OWNER);
	if (ret)
		return copy_failed(g, "flushing what the disk wrote", ret);
	ret = to_device ? g->call.to_device(at, host, n, g->stream) : g->call.from_device(host, at, n, g->stream);
	if (ret)
		return copy_failed(g, to_device ? "a copy to the GPU" : "a copy from the GPU", ret);
	ret = g->call.synchronize(g->stream);
	return ret ? copy_failed(g, "waiting for a copy", ret) : 0;
}

static bool gpu_why(const struct buffer *b, struct error *e)
{
	struct gpu *g = b->device;

	if (!g->failed)
		return false;
	error_set(e, EIO, "%s failed on GPU %d (%s)", g->failed, g->ordinal, name_of(g, g->result));
	return true;
}

#define GPU_SOURCE(driver)			\
const struct source_ops source_##driver = {	\
	.name = #driver,			\
	.max_size = gpu_max_size,		\
	.open = driver##_open,			\
	.close = gpu_close,			\
	.alloc = gpu_alloc,			\
	.free = gpu_free,			\
	.export = gpu_export,			\
	.copy = gpu_copy,			\
	.why = gpu_why,				\
}

GPU_SOURCE(cuda);
GPU_SOURCE(hip);
