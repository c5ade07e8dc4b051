// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the kernel's own tests of its logic said when it booted, on kernels that have
 * them (CONFIG_DMA_BUF_IO_KUNIT_TEST).
 */
#include "helpers.h"

#include <stdio.h>

static const char *const suites[] = { "dma-buf-io", "nvme-dmabuf", "io_uring-dmabuf" };

static enum t_result ran(const char *suite)
{
	char path[128], line[512];
	int passed = 0, failed = 0;
	FILE *results;

	if (access("/sys/kernel/debug/kunit", F_OK))
		return t_skip("this kernel has no CONFIG_KUNIT_DEBUGFS: the debug kernel has");
	snprintf(path, sizeof(path), "/sys/kernel/debug/kunit/%s/results", suite);
	results = fopen(path, "r");
	T_CHECK(results, "%s: %m", path);
	while (fgets(line, sizeof(line), results)) {
		char *text = line + strspn(line, " ");

		passed += !strncmp(text, "ok ", 3);
		if (strncmp(text, "not ok ", 7))
			continue;
		failed++;
		t_diag("%.*s", (int)strcspn(text, "\n"), text);
	}
	fclose(results);
	T_CHECK(passed && !failed, "%s: %d passed, %d failed", path, passed, failed);
	return T_PASS;
}

int main(int argc, char **argv)
{
	size_t i;

	t_start(argc > 1 ? argv[1] : NULL, NULL, true, T_COUNT(suites));
	for (i = 0; i < T_COUNT(suites); i++)
		t_report(ran(suites[i]), "KUnit: %s", suites[i]);
	return t_finish();
}
