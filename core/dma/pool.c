/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool.c - how it works: each chunk of memory has a bit for every slot (set: handed out) and a hint: where the last run
 * ended, or where one before that was given back. A run is looked for from there on and then from the start. So the
 * lowest slots are used again and again, which are still in the processor's cache, records and all; and what is in use
 * lies together, so that it cuts the rest in few pieces. Words of the bitmap that are full are passed over 32 slots at
 * a time; where requests complete in order the slot at the hint is free, and one look suffices.
 *
 * Single slots of the first chunk that the short way (straight.c) gives back are not marked as free but kept in a list, at
 * hand, last in, first out: nothing is searched to hand them out again. They are put back in the bitmap as soon as it
 * has no room for a run, and before anybody looks for one the long way.
 *
 * A slot's number is counted over all chunks. The record of a run's first slot holds its length, and what the bouncing
 * room wants to know about it; the record of any other slot is not used.
 */
#include <viodma/port.h>

#include "../base/require.h"
#include "../base/text.h"
#include "dma.h"

#define SLOT_BYTES_LEAST 64u
#define SLOT_BYTES_MOST (1024u * 1024)

static bool power_of_two(uint64_t number)
{
	return number && !(number & (number - 1));
}

static uint64_t last_of(const struct viodma_object *memory)
{
	return memory->phys.v + (memory->len_bytes - 1);
}

enum viodma_result viodma_pool_init(struct viodma_pool *pool, const struct viodma_pool_config *config)
{
	uint32_t slot_bytes = config->slot_bytes ? config->slot_bytes : VIODMA_POOL_SLOT_BYTES;
	uint32_t run_bytes = config->run_bytes;

	if (!power_of_two(slot_bytes) || slot_bytes < SLOT_BYTES_LEAST || slot_bytes > SLOT_BYTES_MOST)
		return VIODMA_E_INVALID;
	if (!run_bytes)
		run_bytes = slot_bytes > VIODMA_POOL_RUN_BYTES ? slot_bytes : VIODMA_POOL_RUN_BYTES;
	if (run_bytes & (slot_bytes - 1))
		return VIODMA_E_INVALID;
	memset(pool, 0, sizeof(*pool));
	pool->config = *config;
	pool->slot_bytes = slot_bytes;
	while ((uint32_t)1 << pool->slot_shift < slot_bytes)
		pool->slot_shift++;
	pool->run_bytes = pool->largest_run = run_bytes;
	pool->at_hand = VIODMA_POOL_NONE;
	return VIODMA_OK;
}

static bool overlaps(const struct viodma_pool *pool, const struct viodma_object *memory)
{
	uint32_t i;

	for (i = 0; i < pool->chunk_count; i++) {
		const struct viodma_object *other = &pool->chunks[i].memory;

		if (other->phys.v <= last_of(memory) && memory->phys.v <= last_of(other))
			return true;
	}
	return false;
}

/* run_bytes, or the largest chunk if that is smaller. */
static void set_largest_run(struct viodma_pool *pool)
{
	uint64_t largest = 0;
	uint32_t i;

	for (i = 0; i < pool->chunk_count; i++)
		if (pool->chunks[i].memory.len_bytes > largest)
			largest = pool->chunks[i].memory.len_bytes;
	pool->largest_run = largest < pool->run_bytes ? (uint32_t)largest : pool->run_bytes;
}

enum viodma_result viodma_pool_add(struct viodma_pool *pool, const struct viodma_object *memory, void *storage,
				   size_t storage_bytes)
{
	uint64_t slots = viodma_dma_slots(memory->len_bytes, pool->slot_bytes);
	size_t len_bytes = (size_t)memory->len_bytes;
	struct viodma_pool_chunk *chunk;
	size_t slot_storage, bits_storage;

	if (!memory->memory || !slots || len_bytes != memory->len_bytes || last_of(memory) < memory->phys.v)
		return VIODMA_E_INVALID;
	if (((memory->phys.v | memory->len_bytes) & (pool->slot_bytes - 1)) || overlaps(pool, memory))
		return VIODMA_E_INVALID;
	if (!storage || ((uintptr_t)storage & (_Alignof(struct viodma_pool_slot) - 1)))
		return VIODMA_E_INVALID;
	if (slots >= VIODMA_POOL_NONE - pool->slot_count || slots > SIZE_MAX / 2 / sizeof(struct viodma_pool_slot))
		return VIODMA_E_INVALID;
	slot_storage = (size_t)slots * sizeof(struct viodma_pool_slot);
	bits_storage = ((size_t)slots / 32 + 1) * sizeof(uint32_t);
	if (storage_bytes < slot_storage + bits_storage)
		return VIODMA_E_INVALID;
	if (pool->chunk_count == VIODMA_POOL_CHUNKS_MAX)
		return VIODMA_E_NO_SPACE;

	memset(storage, 0, slot_storage + bits_storage);
	memset(memory->memory, 0, len_bytes); /* = DRV-19 */
	chunk = &pool->chunks[pool->chunk_count++];
	chunk->memory = *memory;
	chunk->slots = storage;
	chunk->used = (uint32_t *)(void *)((unsigned char *)storage + slot_storage);
	chunk->first = pool->slot_count;
	chunk->count = (uint32_t)slots;
	chunk->free = (uint32_t)slots;
	chunk->hint = 0;
	pool->slot_count += chunk->count;
	pool->statistics.bytes += memory->len_bytes;
	set_largest_run(pool);
	return VIODMA_OK;
}

enum viodma_result viodma_pool_free(struct viodma_pool *pool)
{
	bool quarantined = pool->statistics.quarantined_bytes != 0;

	if (pool->statistics.used_bytes != pool->statistics.quarantined_bytes)
		return VIODMA_E_BUSY;
	memset(pool, 0, sizeof(*pool));
	return VIODMA_REQUIRE(DRV_22, !quarantined) ? VIODMA_OK : VIODMA_E_QUARANTINED;
}

/* ---- the bitmap of one chunk ---- */

/* The number of the lowest bit that is set; bits is not 0. No builtin: it is a call where processors cannot count. */
static uint32_t lowest_bit(uint32_t bits)
{
	uint32_t number = 0, width;

	for (width = 16; width; width >>= 1)
		if (!(bits << (32 - width))) {
			bits >>= width;
			number += width;
		}
	return number;
}

/* The first slot at or after `from` and before `to` whose bit is `set`; else `to`. */
static uint32_t next_slot(const struct viodma_pool_chunk *chunk, uint32_t from, uint32_t to, bool set)
{
	while (from < to) {
		uint32_t bits = set ? chunk->used[from / 32] : ~chunk->used[from / 32];

		bits >>= from % 32;
		if (bits) {
			from += lowest_bit(bits);
			return from < to ? from : to;
		}
		from = (from | 31) + 1;
	}
	return to;
}

/* Set or clear the bits of a run. */
static void mark(struct viodma_pool_chunk *chunk, uint32_t index, uint32_t count, bool used)
{
	while (count) {
		uint32_t in_word = 32 - index % 32 < count ? 32 - index % 32 : count;
		uint32_t bits = (in_word == 32 ? UINT32_MAX : ((uint32_t)1 << in_word) - 1) << index % 32;

		if (used)
			chunk->used[index / 32] |= bits;
		else
			chunk->used[index / 32] &= ~bits;
		index += in_word;
		count -= in_word;
	}
}

/* The first of `count` free slots from `from` on, all before `to`, at `phase` plus a multiple of `step`; else `to`. */
static uint32_t find_run(const struct viodma_pool_chunk *chunk, uint32_t from, uint32_t to, uint32_t count,
			 uint32_t phase, uint32_t step)
{
	for (;;) {
		uint32_t used;

		from = next_slot(chunk, from, to, false);
		from += (phase - from) & (step - 1);
		if (from >= to || to - from < count)
			return to;
		used = next_slot(chunk, from, from + count, true);
		if (used == from + count)
			return from;
		from = used + 1;
	}
}

void viodma_pool_mark_free(struct viodma_pool_chunk *chunk, uint32_t index, uint32_t count)
{
	mark(chunk, index, count, false);
}

static uint32_t hand_out(struct viodma_pool_chunk *chunk, uint32_t index, uint32_t count)
{
	mark(chunk, index, count, true);
	chunk->free -= count;
	chunk->hint = index + count == chunk->count ? 0 : index + count;
	chunk->slots[index].run = count;
	return chunk->first + index;
}

static uint32_t take_from(struct viodma_pool *pool, struct viodma_pool_chunk *chunk, uint32_t count,
			  uint32_t align_bytes)
{
	uint32_t step = 1, phase = 0, index, to;

	if (chunk->free < count)
		return VIODMA_POOL_NONE;
	if (align_bytes > pool->slot_bytes) {
		step = (uint32_t)viodma_dma_slots(align_bytes, pool->slot_bytes);
		phase = (uint32_t)viodma_dma_slots(-chunk->memory.phys.v & (align_bytes - 1), pool->slot_bytes);
	}
	index = find_run(chunk, chunk->hint, chunk->count, count, phase, step);
	if (index == chunk->count) {
		/* A run may begin before the hint and end behind it. */
		to = chunk->count - chunk->hint < count ? chunk->count : chunk->hint + count;
		index = find_run(chunk, 0, to, count, phase, step);
		if (index == to)
			return VIODMA_POOL_NONE;
	}
	return hand_out(chunk, index, count);
}

/* ---- runs ---- */

static uint32_t slots_of(const struct viodma_pool *pool, uint64_t len_bytes)
{
	return (uint32_t)((len_bytes + (pool->slot_bytes - 1)) >> pool->slot_shift);
}

/* What is at hand is free for anybody. False: nothing was. */
static bool put_back(struct viodma_pool *pool)
{
	struct viodma_pool_chunk *chunk = &pool->chunks[0];
	uint32_t index = pool->at_hand;

	if (index == VIODMA_POOL_NONE)
		return false;
	for (; index != VIODMA_POOL_NONE; index = chunk->slots[index].next) {
		chunk->slots[index].run = 0;
		mark(chunk, index, 1, false);
		chunk->free++;
		if (index < chunk->hint)
			chunk->hint = index;
	}
	pool->at_hand = VIODMA_POOL_NONE;
	return true;
}

static uint32_t take_once(struct viodma_pool *pool, uint32_t count, uint32_t align_bytes)
{
	uint32_t i, run = VIODMA_POOL_NONE;

	for (i = 0; i < pool->chunk_count && run == VIODMA_POOL_NONE; i++)
		run = take_from(pool, &pool->chunks[i], count, align_bytes);
	return run;
}

static void account(struct viodma_pool *pool, uint32_t count)
{
	struct viodma_pool_statistics *statistics = &pool->statistics;

	statistics->allocations++;
	statistics->used_bytes += (uint64_t)count << pool->slot_shift;
	if (statistics->used_bytes > statistics->high_water_bytes)
		statistics->high_water_bytes = statistics->used_bytes;
}

static uint32_t take(struct viodma_pool *pool, uint64_t len_bytes, uint32_t align_bytes)
{
	uint32_t count = slots_of(pool, len_bytes), run, chunks;

	if (!len_bytes || len_bytes > pool->run_bytes)
		return VIODMA_POOL_NONE;
	(void)put_back(pool);
	run = take_once(pool, count, align_bytes);
	while (run == VIODMA_POOL_NONE && pool->config.grow) {
		chunks = pool->chunk_count;
		if (!pool->config.grow(pool->config.context, pool, len_bytes) || pool->chunk_count == chunks)
			break;
		run = take_once(pool, count, align_bytes);
	}
	if (run != VIODMA_POOL_NONE) {
		account(pool, count);
		return run;
	}
	pool->statistics.failures++;
	if (!pool->told && pool->config.exhausted) {
		pool->told = true;
		pool->config.exhausted(pool->config.context, pool, len_bytes);
	}
	return VIODMA_POOL_NONE;
}

uint32_t viodma_pool_try(struct viodma_pool *pool, uint64_t wanted_bytes)
{
	uint32_t count = slots_of(pool, wanted_bytes), run = VIODMA_POOL_NONE;

	if (!wanted_bytes || wanted_bytes > pool->run_bytes)
		return VIODMA_POOL_NONE;
	/* One slot, free at the hint: every time, where requests complete in order. */
	if (count == 1)
		run = viodma_pool_take_one(pool);
	if (run != VIODMA_POOL_NONE)
		return run;
	run = take_once(pool, count, 1);
	if (run == VIODMA_POOL_NONE && put_back(pool))
		run = take_once(pool, count, 1);
	if (run != VIODMA_POOL_NONE)
		account(pool, count);
	return run;
}

uint32_t viodma_pool_take(struct viodma_pool *pool, uint32_t len_bytes, uint32_t offset)
{
	const uint64_t wanted_bytes = (uint64_t)len_bytes + offset;
	uint32_t run = viodma_pool_try(pool, wanted_bytes);

	return run != VIODMA_POOL_NONE ? run : take(pool, wanted_bytes, 1);
}

uint32_t viodma_pool_take_aligned(struct viodma_pool *pool, uint32_t len_bytes, uint32_t align_bytes)
{
	return take(pool, len_bytes, align_bytes);
}

void viodma_pool_give(struct viodma_pool *pool, uint32_t run)
{
	viodma_pool_give_back(pool, viodma_pool_chunk(pool, run), run);
}

void viodma_pool_quarantine(struct viodma_pool *pool, uint32_t run)
{
	/* = DRV-22: the slots stay marked, and nobody knows their run any more. */
	pool->statistics.quarantined_bytes += (uint64_t)viodma_pool_slot(pool, run)->run * pool->slot_bytes;
}

void viodma_pool_quarantine_chunk(struct viodma_pool *pool, uint32_t which)
{
	struct viodma_pool_chunk *chunk = &pool->chunks[which];
	uint64_t bytes;

	(void)put_back(pool);
	bytes = (uint64_t)chunk->free << pool->slot_shift;
	mark(chunk, 0, chunk->count, true); /* = DRV-22 */
	chunk->free = 0;
	pool->statistics.used_bytes += bytes;
	pool->statistics.quarantined_bytes += bytes;
}

bool viodma_pool_holds(const struct viodma_pool *pool, viodma_phys phys, uint64_t len_bytes)
{
	uint32_t i;

	for (i = 0; i < pool->chunk_count; i++) {
		const struct viodma_object *memory = &pool->chunks[i].memory;
		uint64_t offset = phys.v - memory->phys.v;

		if (phys.v >= memory->phys.v && offset < memory->len_bytes && len_bytes <= memory->len_bytes - offset)
			return true;
	}
	return false;
}

void viodma_pool_describe(const struct viodma_pool *pool, uint64_t wanted_bytes, char *bytes, size_t size)
{
	const struct viodma_pool_statistics *statistics = &pool->statistics;
	struct viodma_text text;

	viodma_text_start(&text, bytes, size);
	viodma_text_put(&text, pool->config.name ? pool->config.name : "pool");
	viodma_text_put(&text, " is exhausted: no room for ");
	viodma_text_put_length(&text, wanted_bytes);
	viodma_text_put(&text, " bytes; ");
	viodma_text_put_length(&text, statistics->used_bytes);
	viodma_text_put(&text, " of ");
	viodma_text_put_length(&text, statistics->bytes);
	viodma_text_put(&text, " bytes in use");
	if (statistics->quarantined_bytes) {
		viodma_text_put(&text, ", of which ");
		viodma_text_put_length(&text, statistics->quarantined_bytes);
		viodma_text_put(&text, " quarantined");
	}
	viodma_text_put(&text, "; requests wait. Give it more memory, or keep fewer or smaller requests in flight");
}
