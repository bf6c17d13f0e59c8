/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * platform.c - how it works: each rule of a description says what is wrong as a sentence, and which words of the text
 * form it is about, so that the reader of text can point at the later one.
 */
#include <viodma/port.h>

#include "dma.h"
#include "platform_words.h"

#define WORD(name) ((uint32_t)1 << VIODMA_WORD_##name)
#define SLOT_BYTES_LEAST 64u
#define SLOT_BYTES_MOST (1024u * 1024)
#define SEGMENT_BYTES_LEAST 64u
#define LINE_BYTES_MOST 4096u

void viodma_platform_init(struct viodma_platform *platform)
{
	memset(platform, 0, sizeof(*platform));
	platform->kind = VIODMA_PLATFORM_DIRECT;
	platform->address_bits = 64;
	platform->granule_bytes = 1;
	platform->alignment_bytes = 1;
	platform->coherent = true;
	platform->order = VIODMA_ORDER_SMP;
	platform->pass_through = true;
}

static bool power_of_two(uint64_t number)
{
	return number && !(number & (number - 1));
}

static bool wraps(uint64_t first, uint64_t len_bytes)
{
	return first + (len_bytes - 1) < first;
}

/* Neither is empty nor wraps. */
static bool overlap(uint64_t one, uint64_t one_bytes, uint64_t other, uint64_t other_bytes)
{
	return one <= other ? other - one < one_bytes : one - other < other_bytes;
}

static bool fault(struct viodma_platform_fault *fault, uint32_t words, const char *what)
{
	fault->words = words;
	fault->what = what;
	return false;
}

static bool numbers_are_sound(const struct viodma_platform *platform, struct viodma_platform_fault *wrong)
{
	if ((unsigned)platform->kind > VIODMA_PLATFORM_IOMMU)
		return fault(wrong, WORD(KIND), "the kind is direct, offset or iommu");
	if (platform->address_bits < 12 || platform->address_bits > 64)
		return fault(wrong, WORD(WIDTH), "the width is 12 to 64 bits");
	if (!power_of_two(platform->granule_bytes))
		return fault(wrong, WORD(GRANULE), "the granule is a power of two");
	if (!power_of_two(platform->alignment_bytes))
		return fault(wrong, WORD(ALIGN), "the alignment is a power of two");
	if ((unsigned)platform->order > VIODMA_ORDER_PLATFORM)
		return fault(wrong, WORD(ORDER), "the order is smp or platform");
	return true;
}

static bool line_is_sound(const struct viodma_platform *platform, struct viodma_platform_fault *wrong)
{
	uint32_t line = platform->line_bytes;

	if (!line)
		return platform->coherent || fault(wrong, WORD(COHERENT), "not coherent, and no cache line is stated");
	if (!power_of_two(line) || line > LINE_BYTES_MOST)
		return fault(wrong, WORD(LINE), "a cache line is a power of two, at most 4096");
	/* A granule that a mapping fills would share lines with what lies beside it. */
	if (platform->kind == VIODMA_PLATFORM_IOMMU && !platform->coherent && line > platform->granule_bytes)
		return fault(wrong, WORD(LINE) | WORD(GRANULE) | WORD(COHERENT) | WORD(KIND),
			     "the cache line is larger than the granule");
	return true;
}

static bool limits_are_sound(const struct viodma_platform *platform, struct viodma_platform_fault *wrong)
{
	uint32_t longest = platform->segment_bytes_max;
	uint64_t boundary = platform->boundary_bytes;

	if (longest && longest < SEGMENT_BYTES_LEAST)
		return fault(wrong, WORD(MAX_SEGMENT), "the longest segment is at least 64 bytes");
	if (longest && longest < platform->alignment_bytes)
		return fault(wrong, WORD(MAX_SEGMENT) | WORD(ALIGN),
			     "the longest segment is shorter than the alignment");
	if (boundary && (!power_of_two(boundary) || boundary < SEGMENT_BYTES_LEAST))
		return fault(wrong, WORD(BOUNDARY), "the boundary is a power of two, at least 64");
	if (boundary && boundary < platform->alignment_bytes)
		return fault(wrong, WORD(BOUNDARY) | WORD(ALIGN), "the boundary is less than the alignment");
	return true;
}

static bool window_is_sound(const struct viodma_platform *platform, uint32_t index, struct viodma_platform_fault *wrong)
{
	const struct viodma_window *window = &platform->windows[index];
	bool fixed = platform->kind == VIODMA_PLATFORM_OFFSET;
	uint64_t ends = window->bus.v | window->len_bytes | (fixed ? window->phys.v : 0);
	uint32_t i;

	if (!window->len_bytes)
		return fault(wrong, WORD(WINDOW), "a window is empty");
	if (wraps(window->bus.v, window->len_bytes) || (fixed && wraps(window->phys.v, window->len_bytes)))
		return fault(wrong, WORD(WINDOW), "a window wraps");
	if (ends & (platform->granule_bytes - 1))
		return fault(wrong, WORD(WINDOW) | WORD(GRANULE), "a window is not whole granules");
	if (ends & (platform->alignment_bytes - 1))
		return fault(wrong, WORD(WINDOW) | WORD(ALIGN), "a window is not aligned as segments are");
	for (i = 0; i < index; i++) {
		const struct viodma_window *other = &platform->windows[i];

		if (overlap(window->bus.v, window->len_bytes, other->bus.v, other->len_bytes))
			return fault(wrong, WORD(WINDOW), "windows overlap in bus addresses");
		if (fixed && overlap(window->phys.v, window->len_bytes, other->phys.v, other->len_bytes))
			return fault(wrong, WORD(WINDOW), "windows overlap in physical addresses");
	}
	return true;
}

static bool windows_are_sound(const struct viodma_platform *platform, struct viodma_platform_fault *wrong)
{
	uint32_t i;

	if (platform->window_count > VIODMA_PLATFORM_WINDOWS_MAX)
		return fault(wrong, WORD(WINDOW), "there are at most 8 windows");
	if (platform->window_count && platform->kind == VIODMA_PLATFORM_DIRECT)
		return fault(wrong, WORD(WINDOW) | WORD(KIND), "a direct platform has no windows");
	for (i = 0; i < platform->window_count; i++)
		if (!window_is_sound(platform, i, wrong))
			return false;
	return true;
}

/* Does the pool lie in windows; and, where it has to, at its physical addresses? */
static bool pool_is_in_windows(const struct viodma_platform *platform, struct viodma_platform_fault *wrong)
{
	uint64_t at = platform->pool.v, left = platform->pool_bytes;

	while (left) {
		uint64_t part = 0;
		uint32_t i;

		for (i = 0; i < platform->window_count; i++) {
			const struct viodma_window *window = &platform->windows[i];

			if (at < window->phys.v || at - window->phys.v >= window->len_bytes)
				continue;
			part = window->len_bytes - (at - window->phys.v);
			if (platform->pool_at_physical && window->bus.v != window->phys.v)
				return fault(wrong, WORD(WINDOW) | WORD(POOL_AT_PHYSICAL) | WORD(POOL),
					     "the windows do not have the pool at its physical addresses");
		}
		if (!part)
			return fault(wrong, WORD(WINDOW) | WORD(POOL), "part of the pool is in no window");
		if (part > left)
			part = left;
		at += part;
		left -= part;
	}
	return true;
}

static bool pool_is_sound(const struct viodma_platform *platform, struct viodma_platform_fault *wrong)
{
	uint32_t slot = platform->pool_slot_bytes;

	if (!platform->pool_bytes && (platform->pool.v || slot))
		return fault(wrong, WORD(POOL), "the pool is empty");
	if (!platform->pool_bytes)
		return true;
	if (wraps(platform->pool.v, platform->pool_bytes))
		return fault(wrong, WORD(POOL), "the pool wraps");
	if (slot && (!power_of_two(slot) || slot < SLOT_BYTES_LEAST || slot > SLOT_BYTES_MOST))
		return fault(wrong, WORD(POOL), "a slot is a power of two, 64 bytes to 1 MiB");
	if (slot && ((platform->pool.v | platform->pool_bytes) & (slot - 1)))
		return fault(wrong, WORD(POOL), "the pool is not whole slots");
	if (platform->kind == VIODMA_PLATFORM_OFFSET && platform->window_count)
		return pool_is_in_windows(platform, wrong);
	return true;
}

bool viodma_platform_is_sound(const struct viodma_platform *platform, struct viodma_platform_fault *wrong)
{
	return numbers_are_sound(platform, wrong) && line_is_sound(platform, wrong) &&
	       limits_are_sound(platform, wrong) && windows_are_sound(platform, wrong) && pool_is_sound(platform, wrong);
}

enum viodma_result viodma_platform_check(const struct viodma_platform *platform, const char **what)
{
	struct viodma_platform_fault wrong = {.what = NULL};
	bool sound = viodma_platform_is_sound(platform, &wrong);

	if (what)
		*what = wrong.what;
	return sound ? VIODMA_OK : VIODMA_E_INVALID;
}
