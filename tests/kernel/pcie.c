// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the PCIe port above a controller can do to it: report an error, behind
 * which all below is reset and recovered, and lose it without warning, so that
 * the driver finds a device that is not there, with requests in flight for ever.
 */
#include "removal.h"
#include "plug.h"

static struct t_disk disk;
static char port[32];
static unsigned int met;	/* removals that met requests in flight */

#define TESTS	(T_MODES + 1 + WAY_TESTS + 1)

/* Of drivers/pci/pcie/aer_inject.c. */
struct aer_error {
	uint8_t bus, dev, fn;
	uint32_t uncorrectable, correctable, log[4], domain;
};

/* Whether the kernel's log says so, from where the descriptor is, before it says how recovery ended. */
static bool log_says(int kmsg, const char *text)
{
	double end = now() + bound(30);
	char line[1024];
	ssize_t len;

	while (now() < end) {
		len = read(kmsg, line, sizeof(line) - 1);
		if (len <= 0) {
			usleep(1000);
			continue;
		}
		line[len] = 0;
		if (strstr(line, text))
			return true;
		if (strstr(line, "device recovery "))
			break;
	}
	t_diag("the kernel did not say '%s'", text);
	return false;
}

/* The port says that it met an error, which its driver handles in a thread, saying this and that. */
static int inject(uint32_t error, const char *first, const char *last)
{
	struct aer_error what = { .uncorrectable = error };
	unsigned int domain, bus, dev, fn;
	int kmsg = t_open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	int fd, ret;

	if (sscanf(port, "%x:%x:%x.%x", &domain, &bus, &dev, &fn) != 4)
		t_die("what is %s?", port);
	what.domain = domain;
	what.bus = bus;
	what.dev = dev;
	what.fn = fn;
	lseek(kmsg, 0, SEEK_END);
	fd = t_open("/dev/aer_inject", O_WRONLY);
	ret = write(fd, &what, sizeof(what)) < 0 ? -errno : 0;
	close(fd);
	if (!ret && (!log_says(kmsg, first) || !log_says(kmsg, last))) {
		ret = -ETIME;
		bus_remove(0);		/* or its requests wait for ever */
	}
	close(kmsg);
	return ret;
}

static int fatal(unsigned int round)
{
	(void)round;
	return inject(PCI_ERR_UNC_DLP, "restart after slot reset", "device recovery successful");
}

/* The link still works, and the driver finds nothing to do. */
static int non_fatal(unsigned int round)
{
	(void)round;
	return inject(PCI_ERR_UNC_COMP_TIME, "(Non-Fatal)", "device recovery successful");
}

static enum t_result recovers(int (*error)(unsigned int round), enum t_mode mode)
{
	struct t_leaks leaks;
	enum t_result result;
	int fd;

	if (access("/dev/aer_inject", W_OK))
		return t_skip("/dev/aer_inject: %m: boot the debug kernel (`make test-debug`)");
	T_TRY(t_leaks_init(&leaks));
	t_disk_init(&disk, path);
	fd = t_open(path, O_RDWR | O_DIRECT);
	result = stormy(&disk, fd, error, mode, 2);
	close(fd);
	t_disk_exit(&disk);
	T_TRY(result);
	return t_leaks_check(&leaks);
}

static bool in_flight(void)
{
	unsigned int reads = 0, writes = 0;

	sscanf(get("/sys/class/block/%s/inflight", disk_name(path)), "%u %u", &reads, &writes);
	return reads || writes;
}

static int pull(unsigned int round)
{
	int ret = plug(false, port, pci);

	usleep(20000);	/* all that is submitted stays in flight */
	met += in_flight();
	return ret ?: bus_remove(round);
}

static int put_in(void)
{
	return plug_in(port, pci);
}

static enum t_result all_met(void)
{
	T_IS(met, T_MODES, "removals that met requests in flight");
	return T_PASS;
}

int main(int argc, char **argv)
{
	static const struct way surprise = { "surprise removal", pull, put_in };
	const char *dev;
	enum t_mode mode;
	unsigned int i;

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, TESTS);
	dev = use_second();
	port_name(dev, port);
	for (i = 0; i < TESTS && !port[0]; i++)
		t_report(t_skip("the disk is not behind a PCIe port: `make test` boots one that is"), "%u", i);
	if (!port[0])
		return t_finish();
	test_way(&surprise, dev);
	t_report(all_met(), "surprise removal met requests in flight, in every mode");
	/* The last: lockdep dislikes reads of configurations once aer_inject looks at them (7.3). */
	for (mode = 0; mode < T_MODES; mode++)
		t_report(recovers(fatal, mode), "recovery from a fatal error while the exporter invalidates, %s", t_mode_names[mode]);
	t_report(recovers(non_fatal, T_PLAIN), "recovery from an error that is not fatal while the exporter invalidates");
	return t_finish();
}
