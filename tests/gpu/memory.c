// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * gpu-memory cuda|hip: the engine's memory of a GPU, with its driver's library or
 * the stand-in's, and no disk: KTAP. Each point is a process of its own.
 * gpu-memory cuda|hip once: take some, copy to and fro, give it back; say why not.
 */
#include "source_gpu.c"

#include <dirent.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define MIB	(1UL << 20)
#define SKIPPED	4

static const struct source_ops *source;
static struct error e;

static int no(const char *what)
{
	printf("# %s\n", what);
	return 1;
}

static int skipped(const char *why)
{
	printf("# %s\n", why);
	return SKIPPED;
}

#define MUST(that)	do { if (!(that)) return no("not so, line " STRING(__LINE__) ": " #that); } while (0)
#define STRING(line)	STRING_OF(line)
#define STRING_OF(line)	#line

static int get_from(struct buffers *bs, const char *ids, size_t size, size_t part)
{
	const struct source_args args = { .exported = true, .page = PAGE, .gpu_ids = ids };

	return buffers_get(bs, source, &args, PAGE, size, part, &e);
}

static int get(struct buffers *bs, size_t size, size_t part)
{
	int ret = get_from(bs, NULL, size, part);

	if (!ret)
		ret = buffers_export(bs, &e);
	if (ret) {
		no(e.text);
		buffers_put(bs);
	}
	return ret;
}

/* Bytes of which no two pages, and no two seeds, have the same. */
static void fill(void *at, size_t n, uint64_t seed)
{
	uint64_t *word = at;

	for (size_t i = 0; i < n / sizeof(*word); i++)
		word[i] = (i + 1) * 0x9e3779b97f4a7c15ULL ^ seed * 0xbf58476d1ce4e5b9ULL;
}

static bool holds(const void *at, size_t n, uint64_t seed)
{
	const uint64_t *word = at;

	for (size_t i = 0; i < n / sizeof(*word); i++)
		if (word[i] != ((i + 1) * 0x9e3779b97f4a7c15ULL ^ seed * 0xbf58476d1ce4e5b9ULL))
			return false;
	return true;
}

static bool all(const void *at, size_t n, unsigned char value)
{
	const unsigned char *byte = at;

	for (size_t i = 0; i < n; i++)
		if (byte[i] != value)
			return false;
	return true;
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* What this machine is; fails where the rest would say the same. */
static int tell(void)
{
	int (*version)(int *), n = 0, at = 0, fd = -1, with, without, value;
	static const struct { int number; const char *name; } attributes[] = {
		{ GPU_DMA_BUF_SUPPORTED, "DMA_BUF_SUPPORTED" },
		{ GPU_FLUSH_OPTIONS, "GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS" },
		{ GPU_WRITES_ORDERING, "GPU_DIRECT_RDMA_WRITES_ORDERING" },
	};
	struct buffers bs;
	struct buffer *b;
	struct gpu *g;

	if (get(&bs, MIB, 0))
		return 1;
	b = &bs.v[0];
	g = b->device;
	g->call.count(&n);
	version = dlsym(g->library, source == &source_cuda ? "cuDriverGetVersion" : "hipDriverGetVersion");
	if (version && !version(&at))
		printf("# %s: version %d\n", g->driver->libraries[0], at);
	printf("# GPUs: %d\n", n);
	for (size_t i = 0; g->call.attribute && i < sizeof(attributes) / sizeof(*attributes); i++)
		if (!g->call.attribute(&value, attributes[i].number, 0) || !g->call.attribute(&value, attributes[i].number, 1000))
			printf("# %s: %d\n", attributes[i].name, value);
	with = g->call.handle(&fd, b->region, PAGE, GPU_RANGE_DMA_BUF_FD, GPU_RANGE_PCIE);
	if (!with)
		close(fd);
	without = g->call.handle(&fd, b->region, PAGE, GPU_RANGE_DMA_BUF_FD, 0);
	if (!without)
		close(fd);
	printf("# an export with the PCIe mapping flag: %s\n", with ? name_of(g, with) : "works");
	printf("# an export without it: %s\n", without ? name_of(g, without) : "works");
	printf("# exporter: %s, memory: %s\n", b->exporter[0] ? b->exporter : "none", buffer_place(b));
	buffers_put(&bs);
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* And how long it takes. */
static int sizes_are_right(void)
{
	double start = now(), got, exported, to, from;
	struct buffers bs;

	MUST(!get_from(&bs, NULL, 64 * MIB, 0));
	got = now();
	MUST(!buffers_export(&bs, &e));
	exported = now();
	memset(bs.addr, 1, 64 * MIB);
	to = now();
	MUST(!buffer_cpu_end(&bs.v[0], bs.addr, 64 * MIB));
	from = now();
	MUST(!buffer_cpu_begin(&bs.v[0], bs.addr, 64 * MIB));
	printf("# driver, context and memory %.0f ms, export %.2f ms; a copy to the GPU %.1f GB/s, from it %.1f\n",
	       (got - start) * 1e3, (exported - got) * 1e3, 64 * MIB / (from - to) / 1e9, 64 * MIB / (now() - from) / 1e9);
	MUST(bs.nr == 1 && bs.v[0].shadow && buffer_accessible(&bs.v[0]));
	MUST(lseek(bs.v[0].dmabuf, 0, SEEK_END) == 64 * MIB);
	MUST(fcntl(bs.v[0].dmabuf, F_GETFD) == FD_CLOEXEC);
	buffers_put(&bs);
	return 0;
}

static int is_a_peers(void)
{
	struct buffers bs;
	int ret = 0;

	MUST(!get(&bs, MIB, 0));
	if (!bs.v[0].exporter[0])
		ret = skipped("the stand-in has no /dev/udmabuf here and exports no dma-bufs");
	else if (!strcmp(bs.v[0].exporter, "udmabuf"))
		ret = skipped("the stand-in exports memory of the system");
	else if (source == &source_cuda && strcmp(buffer_place(&bs.v[0]), "peer-to-peer"))
		ret = no("the engine does not know this exporter");
	buffers_put(&bs);
	return ret;
}

static int cannot_be_mapped(void)
{
	struct buffers bs;
	int ret = 0;
	void *v;

	MUST(!get(&bs, MIB, 0));
	v = mmap(NULL, MIB, PROT_READ, MAP_SHARED, bs.v[0].dmabuf, 0);
	if (!bs.v[0].exporter[0] || !strcmp(bs.v[0].exporter, "udmabuf"))
		ret = skipped("the stand-in's memory can be mapped");
	else if (v != MAP_FAILED)
		ret = no("it can: the engine could do without copies");
	else
		printf("# mmap: %s\n", strerror(errno));
	buffers_put(&bs);
	return ret;
}

/* Poisoned on both sides; parts, and nothing beside them. */
static int copies_are_exact(void)
{
	const size_t size = 8 * MIB;
	char *want = malloc(size), *at;
	struct buffers bs;
	struct buffer *b;

	MUST(want && !get(&bs, size, 0));
	b = &bs.v[0];
	at = b->addr;
	fill(want, size, 1);
	memcpy(at, want, size);
	MUST(!buffer_cpu_end(b, at, size));
	for (size_t n = 512, from = 3 * MIB - 512; n <= 2 * MIB; n *= 4) {
		fill(want + from, n, n);
		memset(at, 0xaa, size);
		memcpy(at + from, want + from, n);
		MUST(!buffer_cpu_end(b, at + from, n));
		memset(at, 0xbb, size);
		MUST(!buffer_cpu_begin(b, at + from, n));
		MUST(all(at, from, 0xbb) && !memcmp(at + from, want + from, n) && all(at + from + n, size - from - n, 0xbb));
		MUST(!buffer_cpu_begin(b, at, size) && !memcmp(at, want, size));
	}
	MUST(!buffer_cpu_begin(b, at, 0) && !buffer_cpu_end(b, at, 0));
	buffers_put(&bs);
	free(want);
	return 0;
}

static int any_size_is_exported(void)
{
	static const size_t pages[] = { 1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 255, 257, 511, 512, 513, 1023, 1025, 4095, 4099, 16383 };
	struct buffers bs;

	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++) {
		size_t size = pages[i] * PAGE;
		struct buffer *b;

		MUST(!get(&bs, size, 0));
		b = &bs.v[0];
		MUST(bs.nr == 1 && b->size == size && lseek(b->dmabuf, 0, SEEK_END) == size);
		fill(b->addr, size, size);
		MUST(!buffer_cpu_end(b, b->addr, size));
		memset(b->addr, 0, size);
		MUST(!buffer_cpu_begin(b, b->addr, size) && holds(b->addr, size, size));
		buffers_put(&bs);
	}
	return 0;
}

static int small_ones_lie_apart(void)
{
	struct buffers bs;

	MUST(!get(&bs, 100 * PAGE, PAGE));
	MUST(bs.nr == 100);
	for (unsigned int i = 0; i < bs.nr; i++) {
		MUST(bs.v[i].region % PAGE == 0);
		fill(bs.v[i].addr, PAGE, i);
		MUST(!buffer_cpu_end(&bs.v[i], bs.v[i].addr, PAGE));
	}
	memset(bs.addr, 0, 100 * PAGE);
	for (unsigned int i = 0; i < bs.nr; i++)
		MUST(!buffer_cpu_begin(&bs.v[i], bs.v[i].addr, PAGE) && holds(bs.v[i].addr, PAGE, i));
	buffers_put(&bs);
	return 0;
}

static void *one_job(void *arg)
{
	const struct source_args args = { .exported = true, .page = PAGE };
	uintptr_t seed = (uintptr_t)arg;
	struct buffers bs;
	struct error why;
	bool right = true;

	if (buffers_get(&bs, source, &args, PAGE, MIB, 0, &why) || buffers_export(&bs, &why))
		return why.text[0] ? "it gets none" : NULL;
	for (int i = 0; i < 20 && right; i++) {
		fill(bs.addr, MIB, seed + i);
		right = !buffer_cpu_end(&bs.v[0], bs.addr, MIB);
		memset(bs.addr, 0, MIB);
		right = right && !buffer_cpu_begin(&bs.v[0], bs.addr, MIB) && holds(bs.addr, MIB, seed + i);
	}
	buffers_put(&bs);
	return right ? NULL : "its bytes are wrong";
}

static int threads_do_not_meet(void)
{
	pthread_t thread[4];
	void *wrong = NULL, *any = NULL;

	for (uintptr_t i = 0; i < 4; i++)
		MUST(!pthread_create(&thread[i], NULL, one_job, (void *)(i * 1000)));
	for (int i = 0; i < 4; i++) {
		pthread_join(thread[i], &wrong);
		any = wrong ? wrong : any;
	}
	return any ? no(any) : 0;
}

/* In a child of one that uses the driver. */
static int says_why_after_fork(void)
{
	struct buffers bs, again;
	int status;

	MUST(!get(&bs, MIB, 0));
	fflush(stdout);
	if (!fork()) {
		if (!get_from(&again, NULL, MIB, 0))
			_exit(no("it works") + fflush(stdout));
		printf("# %s\n", e.text);
		fflush(stdout);
		_exit(!strstr(e.text, "use thread=1 for all or none"));
	}
	wait(&status);
	buffers_put(&bs);
	return status;
}

static int says(const char *ids, size_t size, const char *words)
{
	int before = descriptors();
	struct buffers bs;

	if (!get_from(&bs, ids, size, 0)) {
		buffers_put(&bs);
		return no("it works");
	}
	printf("# %s\n", e.text);
	if (!strstr(e.text, words))
		return no(words);
	/* drivers keep some open from their first use on */
	MUST(bs.nr == 0 && !bs.device && (!getenv("STANDIN_GPUS") || descriptors() == before));
	return 0;
}

static int wrong_ones_are_refused(void)
{
	static const char *const lists[] = { "a", "0:", ":0", "0,1", "-1", "0: 1", "99999999999999999999", "4294967296" };

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		MUST(!says(lists[i], MIB, "is no list of GPUs"));
	return says("4711", MIB, "there is no GPU 4711,");
}

static int lists_are_shared_out(void)
{
	static const int turns[] = { 3, 0, 21, 3, 0, 21 };

	for (unsigned int i = 0; i < 6; i++)
		MUST(choose("3:0:21", i, &e) == turns[i] && choose(NULL, i, &e) == 0 && choose("", i, &e) == 0 && choose("5", i, &e) == 5);
	return 0;
}

static int too_much_is_refused(void)
{
	struct buffers bs;

	MUST(!says(NULL, 1UL << 40, "lower iodepth or bs"));
	MUST(strstr(e.text, "OUT_OF_MEMORY"));
	MUST(!get(&bs, MIB, 0));
	buffers_put(&bs);
	return 0;
}

/* The driver keeps what it has set up in the first round. */
static int nothing_is_left(void)
{
	size_t before = 0, after = 0, total;
	int open = 0;

	for (int i = 0; i < 6; i++) {
		struct buffers bs;
		struct gpu *g;

		MUST(!get(&bs, 256 * MIB, 0));
		g = bs.device;
		MUST(!g->call.free_memory(&after, &total));
		buffers_put(&bs);
		if (i != 0)
			continue;
		before = after;
		open = descriptors();
	}
	printf("# free on the GPU: %zu MiB in the first round, %zu in the last; descriptors: %d, then %d\n",
	       before / MIB, after / MIB, open, descriptors());
	MUST(after + 64 * MIB > before && descriptors() == open);
	return 0;
}

static const struct { const char *name; int (*run)(void); } points[] = {
	{ "the driver and the GPU are there", tell },
	{ "64 MiB are exported, and that is the dma-buf's size", sizes_are_right },
	{ "the engine knows it for a peer's", is_a_peers },
	{ "the CPU cannot map it", cannot_be_mapped },
	{ "copies are exact", copies_are_exact },
	{ "any multiple of 4 KiB is exported", any_size_is_exported },
	{ "small dma-bufs begin with a page, and lie apart", small_ones_lie_apart },
	{ "four threads have memory of their own", threads_do_not_meet },
	{ "a process forked from one that uses the driver says why it cannot", says_why_after_fork },
	{ "GPUs are shared out in turn", lists_are_shared_out },
	{ "wrong numbers of GPUs are refused", wrong_ones_are_refused },
	{ "more than the GPU has is refused, and harms nothing", too_much_is_refused },
	{ "nothing is left allocated", nothing_is_left },
};

static int once(void)
{
	struct buffers bs;
	int ret;

	ret = get_from(&bs, NULL, 8 * MIB, 2 * MIB);
	if (!ret)
		ret = buffers_export(&bs, &e);
	for (unsigned int i = 0; i < bs.nr && !ret; i++) {
		struct buffer *b = &bs.v[i];

		fill(b->addr, b->size, i);
		ret = buffer_cpu_end(b, b->addr, b->size);
		memset(b->addr, 0, b->size);
		if (!ret)
			ret = buffer_cpu_begin(b, b->addr, b->size);
		if (ret && !buffer_why(b, &e))
			error_set(&e, EIO, "a copy fails and nobody says why");
		if (!ret && !holds(b->addr, b->size, i))
			ret = error_set(&e, EIO, "a copy has other bytes");
	}
	buffers_put(&bs);
	puts(ret ? e.text : "works");
	return ret != 0;
}

int main(int argc, char **argv)
{
	unsigned int nr = sizeof(points) / sizeof(*points), bad = 0;
	int status;

	source = argc >= 2 && !strcmp(argv[1], "hip") ? &source_hip : &source_cuda;
	if (argc < 2 || argc > 3 || strcmp(argv[1], source->name) || (argc == 3 && strcmp(argv[2], "once"))) {
		fprintf(stderr, "usage: gpu-memory cuda|hip [once]\n");
		return 2;
	}
	if (argc == 3)
		return once();
	printf("KTAP version 1\n1..%u\n", nr);
	for (unsigned int i = 0; i < nr; i++) {
		fflush(stdout);
		if (!fork()) {
			status = points[i].run();
			fflush(stdout);
			exit(status);
		}
		wait(&status);
		bad += status && status != SKIPPED << 8;
		printf("%s %u - %s: %s%s\n", status && status != SKIPPED << 8 ? "not ok" : "ok", i + 1, source->name, points[i].name,
		       status == SKIPPED << 8 ? " # SKIP see above" : "");
	}
	printf("# %u of %u failed\n", bad, nr);
	return bad != 0;
}
