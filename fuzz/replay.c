/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replay.c - run a fuzz target over files once each, without libFuzzer: `replay FILE...`.
 */
#include "fuzz/input.h"

#define MOST (1u << 20)

int main(int argc, char **argv)
{
	static uint8_t data[MOST];

	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		size_t size;

		if (!file) {
			perror(argv[i]);
			return 1;
		}
		size = fread(data, 1, sizeof(data), file);
		fclose(file);
		(void)LLVMFuzzerTestOneInput(data, size);
	}
	printf("%d inputs\n", argc - 1);
	return argc > 1 ? 0 : 1;
}
