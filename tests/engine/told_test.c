// SPDX-License-Identifier: GPL-2.0-or-later
/* told.c on fdinfo of kernels that tell all, less, and nothing. */
#undef NDEBUG
#include <assert.h>

#include "told.c"

static struct told t;

static bool reads(const char *text, unsigned int per_file)
{
	FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	bool done;

	assert(file);
	done = told_read(file, per_file, &t);
	fclose(file);
	return done;
}

#define HEAD	"SqMask:\t0x3\n    1: opcode:READ_FIXED, memory=no maps=9\nUserFiles:\t1\n    0: /dev/nvme0n1\nUserBufs:\t4\n"
#define TAIL	"PollList:\nCqOverflowList:\n       device=0000:00:09.0 maps=7 memory=other\n"
#define SLOT(n)	"    " #n ": 0x0/65536 dmabuf inode=3 exporter=udmabuf lost=0 file=/dev/nvme0n1\n"
#define DEVICE(name, maps, rest) "       device=" name " mapped=1 maps=" #maps " invalidations=0" rest "\n"
#define SYSTEM	" memory=system addresses=iova segments=1 largest=65536 chunk=65536 lists=0 driver_bytes=232"
#define PEER	" memory=peer addresses=bus peer=0000:03:00.0 segments=2 largest=65536 chunk=4096 lists=1 driver_bytes=99"

int main(void)
{
	/* busy, and no buffers at all */
	assert(!reads("SqMask:\t0x3\n", 1) && !t.nr);
	assert(!reads("flags:\t02\n", 1) && !t.nr);
	/* a kernel that says nothing of dma-bufs; user memory, empty slots */
	assert(reads(HEAD "    0: 0x0/65536\n    1: 0x7f0000/4096\n    2: <none>\n" TAIL, 1) && !t.nr && !t.memory[0]);

	assert(reads(HEAD SLOT(0) DEVICE("0000:00:04.0", 1, SYSTEM) "    1: <none>\n" TAIL, 1));
	assert(t.nr == 1 && !strcmp(t.memory, "system") && !strcmp(t.addresses, "iova") && !t.peer[0] && t.chunk == 65536 && !t.rebuilt);
	assert(reads(HEAD SLOT(0) DEVICE("0000:00:04.0", 3, PEER) TAIL, 1));
	assert(t.nr == 1 && !strcmp(t.memory, "peer") && !strcmp(t.addresses, "bus") && !strcmp(t.peer, "0000:03:00.0") && t.rebuilt == 2);

	/* two dma-bufs of one file, each with its mapping; and not alike */
	assert(reads(HEAD SLOT(0) DEVICE("0000:00:04.0", 3, SYSTEM) SLOT(1) DEVICE("0000:00:04.0", 2, PEER) TAIL, 2));
	assert(t.nr == 2 && !strcmp(t.memory, "mixed") && !strcmp(t.addresses, "mixed") && t.chunk == 4096 && t.rebuilt == 3);
	/* one dma-buf of two files of one device, which has one mapping; of two devices, which have one each */
	assert(reads(HEAD SLOT(0) DEVICE("0000:00:04.0", 3, SYSTEM) SLOT(1) DEVICE("0000:00:04.0", 3, SYSTEM) TAIL, 1) && t.rebuilt == 2);
	assert(reads(HEAD SLOT(0) DEVICE("0000:00:04.0", 3, SYSTEM) SLOT(1) DEVICE("0000:00:05.0", 2, SYSTEM) TAIL, 1) && t.rebuilt == 3);
	/* two paths of a head, and one that is refused; a slot whose device is gone, and one that was never mapped */
	assert(reads(HEAD SLOT(0) DEVICE("0000:00:04.0", 2, SYSTEM) DEVICE("0000:00:05.0", 2, SYSTEM) "       device=0000:00:06.0 refused\n" TAIL, 1));
	assert(t.nr == 2 && t.rebuilt == 2);
	assert(reads(HEAD SLOT(0) SLOT(1) DEVICE("0000:00:04.0", 0, "") TAIL, 1) && !t.nr && !t.rebuilt);
	/* words that a later kernel has besides, or leaves out */
	assert(reads(HEAD SLOT(0) DEVICE("0000:00:04.0", 1, " submaps=8 memory=system new=1") TAIL, 1));
	assert(t.nr == 1 && !strcmp(t.memory, "system") && !t.addresses[0]);
	/* no words at all */
	assert(reads(HEAD SLOT(0) "       device=\n       device=x maps=\n" TAIL, 1) && !t.nr);
	return 0;
}
