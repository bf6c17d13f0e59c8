/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * platform_words.h - the words of a platform's text form, and what is wrong with a description in terms of them.
 */
#ifndef VIODMA_DMA_PLATFORM_WORDS_H
#define VIODMA_DMA_PLATFORM_WORDS_H

#include <viodma/platform.h>

/* Words of which a description has one at most have one name. */
enum viodma_platform_word {
	VIODMA_WORD_KIND,
	VIODMA_WORD_WIDTH,
	VIODMA_WORD_GRANULE,
	VIODMA_WORD_WINDOW,
	VIODMA_WORD_MAX_MAPPING,
	VIODMA_WORD_MAX_SEGMENT,
	VIODMA_WORD_BOUNDARY,
	VIODMA_WORD_ALIGN,
	VIODMA_WORD_COHERENT,
	VIODMA_WORD_LINE,
	VIODMA_WORD_ORDER,
	VIODMA_WORD_RESTRICTED,
	VIODMA_WORD_POOL,
	VIODMA_WORD_POOL_AT_PHYSICAL,
	VIODMA_WORD_PASS_THROUGH,
	VIODMA_WORD_COUNT
};

struct viodma_platform_fault {
	const char *what; /* a sentence without a full stop */
	uint32_t words;   /* a bit for each word it is about */
};

bool viodma_platform_is_sound(const struct viodma_platform *platform, struct viodma_platform_fault *fault);

#endif
