/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * input.h - a fuzz input as a sequence of numbers and bytes; behind its end there are zeros.
 */
#ifndef VIODMA_FUZZ_INPUT_H
#define VIODMA_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct input {
	const uint8_t *at;
	size_t left;
};

static inline uint8_t input_byte(struct input *input)
{
	if (!input->left)
		return 0;
	input->left--;
	return *input->at++;
}

static inline uint16_t input_u16(struct input *input)
{
	uint16_t low = input_byte(input);

	return (uint16_t)(low | input_byte(input) << 8);
}

static inline uint32_t input_u32(struct input *input)
{
	uint32_t low = input_u16(input);

	return low | (uint32_t)input_u16(input) << 16;
}

/* Copy what there is, at most `bytes`; the rest of the destination stays as it was. */
static inline size_t input_bytes(struct input *input, void *destination, size_t bytes)
{
	size_t here = bytes < input->left ? bytes : input->left;

	if (here)
		memcpy(destination, input->at, here);
	input->at += here;
	input->left -= here;
	return here;
}

/* What must hold, in every build. */
#define MUST(condition)                                                                                               \
	do {                                                                                                          \
		if (!(condition)) {                                                                                   \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                \
			abort();                                                                                      \
		}                                                                                                     \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
