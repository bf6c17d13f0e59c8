/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * text.h - numbers and words, to text and from it, without a libc.
 *
 * A viodma_text is filled piece by piece and always ended by a NUL; what does not fit is cut and remembered. Lengths
 * may end in K, M, G or T (2^10 to 2^40).
 */
#ifndef VIODMA_BASE_TEXT_H
#define VIODMA_BASE_TEXT_H

#include <viodma/types.h>

struct viodma_text {
	char *bytes;
	size_t size; /* with room for the NUL; 0: nothing is written */
	size_t length;
	bool cut;
};

void viodma_text_start(struct viodma_text *text, char *bytes, size_t size);
void viodma_text_put(struct viodma_text *text, const char *words);
void viodma_text_put_number(struct viodma_text *text, uint64_t number); /* decimal */
void viodma_text_put_hex(struct viodma_text *text, uint64_t number);    /* 0x... */
/* Decimal, with the largest suffix that leaves a whole number. */
void viodma_text_put_length(struct viodma_text *text, uint64_t len_bytes);

/*
 * Read a number, decimal or hexadecimal with 0x, at *at and before end; *at moves behind it. False: there is none, or
 * it does not fit 64 bits; *at is undefined.
 */
bool viodma_text_get_number(const char **at, const char *end, uint64_t *number);
/* The same with an optional suffix. */
bool viodma_text_get_length(const char **at, const char *end, uint64_t *len_bytes);
/* Do the characters at *at begin with these words? *at moves behind them. */
bool viodma_text_get_words(const char **at, const char *end, const char *words);

#endif
