// SPDX-License-Identifier: GPL-2.0-or-later
/* Jobs that are threads ask for the engine's file while others load a GPU's library: nobody waits for ever. */
#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "self.h"

#define LIBRARY	"libanl.so.1"	/* of libc6, and loaded by nobody */
#define ROUNDS	3000

static volatile bool done;

static void *load(void *unused)
{
	while (!done) {
		void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

		assert(library);
		dlclose(library);
	}
	return unused;
}

int main(void)
{
	pthread_t loader;
	struct self s;

	alarm(20);
	assert(!pthread_create(&loader, NULL, load, NULL));
	for (int i = 0; i < ROUNDS; i++) {
		self_find(&s);
		assert(strstr(s.path, "self"));
	}
	done = true;
	return pthread_join(loader, NULL);
}
