// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * After all others: what kmemleak knows of. A leak that one of our functions
 * allocated fails; others are mainline's, and are counted.
 */
#include "device.h"

#define KMEMLEAK	"/sys/kernel/debug/kmemleak"

static enum t_result scan(void)
{
	char line[256], object[256] = "";
	unsigned int ours = 0, all = 0;
	bool counted = true;
	FILE *file;

	if (access(KMEMLEAK, W_OK))
		return t_skip(KMEMLEAK ": %m: boot the debug kernel (`make test-debug`)");
	/* An object counts once it is 5 seconds old and was found unreferenced twice. */
	sleep(6);
	T_IS(put("scan", KMEMLEAK), 0, "scanning");
	T_IS(put("scan", KMEMLEAK), 0, "scanning again");
	file = fopen(KMEMLEAK, "r");
	T_CHECK(file, KMEMLEAK ": %m");
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "unreferenced object", 19)) {
			strcpy(object, line);
			counted = false;
			all++;
		} else if (!counted && (strstr(line, "dma_buf") || strstr(line, "dmabuf"))) {
			t_diag("%s,%s", object, line);
			counted = true;
			ours++;
		}
	}
	fclose(file);
	t_diag("%u unreferenced objects, %u of them ours", all, ours);
	T_IS(ours, 0, "leaks");
	return T_PASS;
}

int main(int argc, char **argv)
{
	t_start(argc > 1 ? argv[1] : NULL, NULL, false, 1);
	t_report(scan(), "nothing of ours is lost");
	return t_finish();
}
