// SPDX-License-Identifier: GPL-2.0-or-later
/* The device goes away, by unbinding its driver or by removal from the bus. */
#include "removal.h"

static int unbind(unsigned int round)
{
	(void)round;
	return put(pci, "/sys/bus/pci/drivers/nvme/unbind");
}

static int bind_again(void)
{
	return put(pci, "/sys/bus/pci/drivers/nvme/bind");
}

static const struct way ways[] = {
	{ "driver unbound", unbind, bind_again },
	{ "device removed", bus_remove, bus_rescan },
};

int main(int argc, char **argv)
{
	const char *dev;
	unsigned int i;

	t_start(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, true, T_COUNT(ways) * WAY_TESTS);
	dev = use_second();
	for (i = 0; i < T_COUNT(ways); i++)
		test_way(&ways[i], dev);
	return t_finish();
}
