// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * By which way a disk gets at the memory of another PCI device, which VFIO exports:
 * EXPECT= says what the kernel has to say of the mapping for this place of the two,
 *   bus		addresses of the bus, below a common switch
 *   iova		translated by the IOMMU, through the host bridge
 *   physical	the same without translation
 *   refused	the host bridge is not trusted
 * MEMORY= says whose it is, "ivshmem" or "cmb" (of the second disk, which goes to
 * VFIO). The bytes are looked at in the BAR itself, unless DATA=no says that this
 * emulator does not carry them.
 */
#include "device.h"
#include "fdinfo.h"
#include "vfio.h"

#define BAR	2

static struct t_disk disk;
static struct t_ring ring;
static struct vfio_memory m;
static int fd;
static char pci[32];
static const char *expect;

static enum t_result find(void)
{
	const char *memory = getenv("MEMORY");

	if (!memory || !strcmp(memory, "ivshmem"))
		return vfio_find("0x1af4", "0x1110", pci) ? T_PASS : t_skip("no ivshmem device: `make test-p2p` boots one");
	if (!t_dev2)
		return t_skip("no second disk whose memory it is to be");
	pci_name(t_dev2, pci);
	T_IS(put(pci, "/sys/bus/pci/drivers/nvme/unbind"), 0, "unbind");
	T_IS(put("vfio-pci", "/sys/bus/pci/devices/%s/driver_override", pci), 0, "override");
	T_IS(put(pci, "/sys/bus/pci/drivers_probe"), 0, "probe");
	return T_PASS;
}

static enum t_result way(void)
{
	struct about a;
	int ret;

	T_TRY(vfio_export(pci, BAR, SIZE, &m));
	t_ring_init(&ring, T_PLAIN, DEPTH, 1);
	ret = t_register(&ring, 0, m.dmabuf, fd, 0);
	if (!strcmp(expect, "refused")) {
		T_IS(ret, -EINVAL, "register");
		return T_PASS;
	}
	T_IS(ret, 1, "register");
	T_CHECK(about_slot(&ring, 0, &a) && a.nr == 1, "fdinfo has no device of slot 0");
	t_diag("%s: memory=%s peer=%s addresses=%s segments=%ld chunk=%ld", a.v[0].device, a.v[0].memory, a.v[0].peer, a.v[0].addresses,
	       a.v[0].segments, a.v[0].chunk);
	T_CHECK(!strcmp(a.v[0].memory, "peer") && !strcmp(a.v[0].peer, pci), "memory=%s peer=%s, wanted that of %s", a.v[0].memory, a.v[0].peer, pci);
	T_CHECK(!strcmp(a.v[0].addresses, expect), "addresses=%s, wanted %s", a.v[0].addresses, expect);
	return T_PASS;
}

static void fill(unsigned char with)
{
	volatile uint64_t *at = (volatile uint64_t *)m.memory;
	size_t i;

	/* by eight bytes at most, which is all that some devices take */
	for (i = 0; i < SIZE / 8; i++)
		at[i] = with * 0x0101010101010101ull + (i << 8);
}

static bool same(const char *what, const unsigned char *want, size_t off, size_t len)
{
	static uint64_t copy[SIZE / 8];
	volatile uint64_t *at = (volatile uint64_t *)(m.memory + off);
	size_t i;

	for (i = 0; i < len / 8; i++)
		copy[i] = at[i];
	return t_same(what, copy, want, len);
}

/* Sizes from a block to all of it, at offsets within a page and across pages. */
static enum t_result data(void)
{
	static const size_t sizes[] = { 512, 4096, 8192, 12288, 65536, 131072, SIZE };
	static unsigned char was[SIZE];
	size_t i, len, off;

	for (i = 0; i < T_COUNT(sizes); i++) {
		struct t_io io = { .fd = fd };

		len = sizes[i];
		off = len < SIZE ? 3 * T_PAGE : 0;
		if (len == 512)
			off += 512;
		io.len = len;
		io.addr = off;
		fill(0x5a + i);
		memcpy(was, m.memory, SIZE);
		io.pos = i * T_PAGE;
		T_IS(t_rw(&ring, &io), len, "read");
		T_CHECK(same("read", disk.image + io.pos, off, len), "%zu bytes at %zu", len, off);
		T_CHECK(same("what is before", was, 0, off) && same("what is behind", was + off + len, off + len, SIZE - off - len),
			"%zu bytes at %zu", len, off);
		fill(0xa5 + i);
		memcpy(was, m.memory, SIZE);
		io.write = true;
		io.pos = SCRATCH;
		T_IS(t_rw(&ring, &io), len, "write");
		T_CHECK(t_same("written", t_disk_read(&disk, SCRATCH, len), was + off, len), "%zu bytes at %zu", len, off);
	}
	return T_PASS;
}

/* At full depth, while the device whose memory it is is reset, if it can be. */
static enum t_result resets(void)
{
	unsigned int round, i, lost = 0;

	for (round = 0; round < 4; round++) {
		for (i = 0; i < DEPTH; i++) {
			struct t_io io = { .fd = fd, .addr = i * CHUNK, .len = CHUNK, .pos = i * CHUNK };

			t_queue(&ring, &io, i);
		}
		t_submit(&ring);
		if (ioctl(m.device, VFIO_DEVICE_RESET))
			return t_skip("%s cannot be reset alone: %m", pci);
		for (i = 0; i < DEPTH; i++) {
			int ret = t_reap(&ring, NULL);

			T_CHECK(ret == (int)CHUNK || ret == -ENODEV, "read: %s", t_number(ret));
			lost += ret < 0;
		}
	}
	t_diag("%u of %u reads met a reset", lost, round * DEPTH);
	return T_PASS;
}

static enum t_result dataless(void)
{
	return t_skip(!strcmp(expect, "refused") ? "there is no way" : "QEMU does not carry them this way: DATA=no");
}

int main(int argc, char **argv)
{
	bool moves;

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, 3);
	expect = getenv("EXPECT") ?: about_addresses(t_dev);
	moves = strcmp(expect, "refused") && strcmp(getenv("DATA") ?: "", "no");
	t_disk_init(&disk, t_dev);
	fd = t_open(t_dev, O_RDWR | O_DIRECT);
	t_report(find() ?: way(), "%s memory: %s", getenv("MEMORY") ?: "ivshmem", expect);
	t_report(moves ? data() : dataless(), "bytes");
	t_report(moves ? resets() : dataless(), "resets at full depth");
	t_ring_exit(&ring);
	close(fd);
	t_disk_restore(&disk, SCRATCH, SIZE);
	t_disk_exit(&disk);
	return t_finish();
}
