/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small memcg, whose reclaim takes a dma-buf that shrinks. */
#ifndef MEMCG_H
#define MEMCG_H

#include "device.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MEMCG_ROOT	"/tmp/cgroup"
#define MEMCG		MEMCG_ROOT "/small"
/* Room for the 64 pages that each processor keeps for itself. */
#define MEMCG_LIMIT	(sysconf(_SC_PAGESIZE) > 4096 ? 16 * T_MIB : 4 * T_MIB)
#define MEMCG_SECONDS	120

/* Reads through the page cache. */
static inline enum t_result read_cached(int cached, off_t pos, size_t len)
{
	static __thread char chunk[64 * 1024];
	size_t at;

	for (at = 0; at < len; at += sizeof(chunk))
		T_IS(pread(cached, chunk, sizeof(chunk), pos + at), sizeof(chunk), "buffered read");
	return T_PASS;
}

/*
 * Runs the test in a child, which is in the memcg with all its threads and
 * workers. If it hangs it does so for good, and nothing more can be tested.
 */
static inline enum t_result in_memcg(enum t_result (*test)(unsigned int arg), unsigned int arg)
{
	double end = now() + MEMCG_SECONDS;
	char text[4096], limit[24];
	int out[2], status = 0;
	ssize_t len;
	pid_t child, ended;

	T_TRY(need_exporter());
	mkdir(MEMCG_ROOT, 0700);
	if (mount("none", MEMCG_ROOT, "cgroup2", 0, NULL) || put("+memory", MEMCG_ROOT "/cgroup.subtree_control"))
		return t_skip("memcg: %m (CONFIG_MEMCG, cgroup 2)");
	T_IS(mkdir(MEMCG, 0700), 0, "memcg");
	snprintf(limit, sizeof(limit), "%lu", MEMCG_LIMIT);
	T_IS(put(limit, MEMCG "/memory.max"), 0, "limit");
	T_IS(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0, "pipe");
	child = fork();
	if (!child) {
		dup2(out[1], STDOUT_FILENO);
		dup2(out[1], STDERR_FILENO);
		if (put("0", MEMCG "/cgroup.procs"))
			t_die("entering the memcg: %m");
		_exit(test(arg));
	}
	while (!(ended = waitpid(child, &status, WNOHANG)) && now() < end)
		usleep(10000);
	close(out[1]);
	/* not by the child itself, which keeps open what it has when it hangs */
	while ((len = read(out[0], text, sizeof(text))) > 0)
		fwrite(text, 1, len, stdout);
	close(out[0]);
	if (!ended)
		t_die("it hangs: not done after %d s", MEMCG_SECONDS);
	T_IS(rmdir(MEMCG), 0, "remove the memcg");
	T_IS(umount(MEMCG_ROOT), 0, "unmount");
	T_CHECK(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

#endif
