/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * text.c - how it works: decimal digits come from subtracting powers of ten, at most nine times each, because dividing
 * 64 bits is a call into the compiler's library on 32-bit processors, and there is none here.
 */
#include "text.h"

static const uint64_t powers_of_ten[] = {
	10000000000000000000u, 1000000000000000000u, 100000000000000000u, 10000000000000000u, 1000000000000000u,
	100000000000000u, 10000000000000u, 1000000000000u, 100000000000u, 10000000000u,
	1000000000u, 100000000u, 10000000u, 1000000u, 100000u,
	10000u, 1000u, 100u, 10u, 1u,
};
#define POWERS (sizeof(powers_of_ten) / sizeof(powers_of_ten[0]))
static const char suffixes[] = {'K', 'M', 'G', 'T'};

void viodma_text_start(struct viodma_text *text, char *bytes, size_t size)
{
	text->bytes = bytes;
	text->size = size;
	text->length = 0;
	text->cut = size == 0;
	if (size)
		bytes[0] = '\0';
}

static void put_character(struct viodma_text *text, char character)
{
	if (text->cut || text->length + 1 >= text->size) {
		text->cut = true;
		return;
	}
	text->bytes[text->length++] = character;
	text->bytes[text->length] = '\0';
}

void viodma_text_put(struct viodma_text *text, const char *words)
{
	while (*words)
		put_character(text, *words++);
}

void viodma_text_put_number(struct viodma_text *text, uint64_t number)
{
	bool begun = false;
	unsigned i;

	for (i = 0; i < POWERS; i++) {
		char digit = '0';

		while (number >= powers_of_ten[i]) {
			number -= powers_of_ten[i];
			digit++;
		}
		begun = begun || digit != '0' || i == POWERS - 1;
		if (begun)
			put_character(text, digit);
	}
}

void viodma_text_put_hex(struct viodma_text *text, uint64_t number)
{
	bool begun = false;
	unsigned shift;

	viodma_text_put(text, "0x");
	for (shift = 64; shift; shift -= 4) {
		unsigned digit = (unsigned)(number >> (shift - 4)) & 15;

		begun = begun || digit || shift == 4;
		if (begun)
			put_character(text, "0123456789abcdef"[digit]);
	}
}

void viodma_text_put_length(struct viodma_text *text, uint64_t len_bytes)
{
	unsigned suffix = 0;

	while (len_bytes && suffix < sizeof(suffixes) && (len_bytes & 1023) == 0) {
		len_bytes >>= 10;
		suffix++;
	}
	viodma_text_put_number(text, len_bytes);
	if (suffix)
		put_character(text, suffixes[suffix - 1]);
}

/* The value of a digit, or 16. */
static unsigned digit_of(char character)
{
	if (character >= '0' && character <= '9')
		return (unsigned)(character - '0');
	if (character >= 'a' && character <= 'f')
		return (unsigned)(character - 'a') + 10;
	if (character >= 'A' && character <= 'F')
		return (unsigned)(character - 'A') + 10;
	return 16;
}

bool viodma_text_get_words(const char **at, const char *end, const char *words)
{
	const char *here = *at;

	for (; *words; words++, here++)
		if (here == end || *here != *words)
			return false;
	*at = here;
	return true;
}

bool viodma_text_get_number(const char **at, const char *end, uint64_t *number)
{
	unsigned base = viodma_text_get_words(at, end, "0x") ? 16 : 10;
	const char *first = *at;
	uint64_t value = 0;

	for (; *at != end && digit_of(**at) < base; (*at)++) {
		unsigned digit = digit_of(**at);

		if (base == 16) {
			if (value >> 60)
				return false;
			value = value << 4 | digit;
		} else {
			/* 2^64 - 1 = 10 * 1844674407370955161 + 5 */
			if (value > 1844674407370955161u || (value == 1844674407370955161u && digit > 5))
				return false;
			value = (value << 3) + (value << 1) + digit;
		}
	}
	*number = value;
	return *at != first;
}

bool viodma_text_get_length(const char **at, const char *end, uint64_t *len_bytes)
{
	unsigned suffix, shift;

	if (!viodma_text_get_number(at, end, len_bytes))
		return false;
	for (suffix = 0; suffix < sizeof(suffixes); suffix++) {
		if (*at == end || **at != suffixes[suffix])
			continue;
		(*at)++;
		for (shift = 0; shift <= suffix; shift++) {
			if (*len_bytes >> 54)
				return false;
			*len_bytes <<= 10;
		}
		break;
	}
	return true;
}
