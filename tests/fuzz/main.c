/* SPDX-License-Identifier: Apache-2.0 */

/* Replays inputs through a fuzz target, built with any compiler: the files and
   directories given, or else the committed corpus of the target that this
   program is named after.  One test of the Test Anything Protocol; the input
   that is running is named in front, for the log of one that crashes. */

#include <dirent.h>
#include <libgen.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_MAX	(1024 * 1024)

static unsigned replayed, unread;

static void
replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(INPUT_MAX);
	uint8_t *exact = NULL;
	size_t size;

	printf("# %s\n", path);
	fflush(stdout);
	if (!f || !data) {
		unread++;
	} else {
		size = fread(data, 1, INPUT_MAX, f);
		exact = (uint8_t *)copy_exact((const char *)data, size);
		LLVMFuzzerTestOneInput(exact, size);
		replayed++;
	}
	free(exact);
	free(data);
	if (f)
		fclose(f);
}

static void
replay(const char *path)
{
	struct dirent **names = NULL;
	char child[4096];
	struct stat st;
	int n;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		replay_file(path);
		return;
	}
	n = scandir(path, &names, NULL, alphasort);
	if (n < 0)
		unread++;
	for (int i = 0; i < n; i++) {
		(void)snprintf(child, sizeof(child), "%s/%s", path,
			       names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			replay_file(child);
		free(names[i]);
	}
	free(names);
}

static void
replay_corpus(const char *program)
{
	const char *srcdir = getenv("srcdir"), *name = strstr(program, "fuzz-");
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s",
		       srcdir ? srcdir : ".", name ? name + 5 : program);
	replay(path);
}

int
main(int argc, char *argv[])
{
	const char *program = basename(argv[0]);
	bool good;

	printf("1..1\n");
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	if (argc < 2)
		replay_corpus(program);
	good = replayed > 0 && unread == 0;
	printf("%s 1 - %s: %u inputs replayed, %u not to be read\n",
	       good ? "ok" : "not ok", program, replayed, unread);
	return good ? 0 : 1;
}
