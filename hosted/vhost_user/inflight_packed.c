/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inflight_packed.c - how it works: used descriptors take the place of available ones in a packed ring, so the record
 * holds copies of the descriptors with the device, as lists of entries; the others are in the list of free entries.
 *
 *   taken      free entries are filled, the first is marked; then the head of the free list moves behind them: taken
 *   returning  the entries go back to the front of the free list, and the used position moves on; beside both stands what
 *              they were (`old`), for the ring does not say so yet
 *   returned   it does: the mark goes, and `old` becomes what is
 *
 * After a kill, if the positions differ, the ring's descriptor at the old one tells whether the driver was given that
 * request; if it was, what is becomes `old`; in any case the record then goes on from `old`. An entry of the free list is
 * not with the device, whatever its mark says.
 *
 * Position and wrap counter are one: they share an aligned word of 64 bits with the old ones, and so do the two heads of
 * the free list. Each word changes by one store; taken apart, a kill between index and wrap counter would be a lap.
 *
 * Every descriptor that was ever fetched is in the record, or the used position went past it; so the ring goes on at the
 * used position plus what is in the record.
 */
#include "hosted/vhost_user/inflight.h"

#include "core/base/require.h"

#include <stdlib.h>

/* The two words of the header that change, as they lie in memory. */
struct heads {
	uint16_t version, desc_num, free_head, old_free_head;
};
struct places {
	uint16_t used_idx, old_used_idx;
	uint8_t used_wrap, old_used_wrap;
	uint8_t padding[2];
};
_Static_assert(sizeof(struct heads) == 8 && sizeof(struct places) == 8, "one store each");
_Static_assert(offsetof(struct vhost_user_inflight_packed, version) == 8 &&
		       offsetof(struct vhost_user_inflight_packed, used_idx) == 16, "aligned words");

static void put_heads(struct viodma_inflight_packed *record, uint16_t version, uint16_t now, uint16_t old)
{
	const struct heads heads = {version, (uint16_t)record->desc_num, now, old};
	uint64_t word;

	memcpy(&word, &heads, sizeof(word));
	viodma_inflight_put64(&record->header->version, word);
}

static void put_places(struct viodma_inflight_packed *record, uint16_t now, bool now_wrap)
{
	const struct places places = {now, record->used_idx, now_wrap, record->used_wrap, {0, 0}};
	uint64_t word;

	memcpy(&word, &places, sizeof(word));
	viodma_inflight_put64(&record->header->used_idx, word);
}

/* `by` descriptors further; by is at most the ring's size. */
static void move_on(uint32_t ring_size, uint32_t *position, bool *wrap, uint32_t by)
{
	*position += by;
	if (*position >= ring_size) {
		*position -= ring_size;
		*wrap = !*wrap;
	}
}

/* A record that was never written. */
static void begin(struct viodma_inflight_packed *record, uint32_t base)
{
	for (uint32_t i = 0; i < record->desc_num; i++) {
		record->entries[i] = (struct viodma_inflight_entry){.next = (uint16_t)(i + 1), .entry = UINT16_MAX};
		viodma_inflight_put16(&record->states[i].next, (uint16_t)(i + 1));
		viodma_inflight_put8(&record->states[i].inflight, 0);
	}
	record->counter = 0;
	record->free_head = 0;
	record->used_idx = base >> 16 & 0x7fff;
	record->used_wrap = base >> 31;
	viodma_inflight_put64(&record->header->features, 0);
	put_places(record, record->used_idx, record->used_wrap);
	put_heads(record, VHOST_USER_INFLIGHT_VERSION, 0, 0); /* from here on it counts */
}

/* ---- after a kill ---- */

/* What is, or what was? Then that is settled: free_head, used_idx and used_wrap. */
static enum viodma_result settle(struct viodma_inflight_packed *record, const struct heads *heads,
				 const struct places *places, const struct viodma_inflight_peek *peek)
{
	bool used = false;
	enum viodma_result result;

	if (places->used_idx != places->old_used_idx || places->used_wrap != places->old_used_wrap) {
		result = peek->used(peek->context, places->old_used_idx, places->old_used_wrap, &used);
		if (result != VIODMA_OK)
			return result;
	}
	record->free_head = used ? heads->free_head : heads->old_free_head;
	record->used_idx = used ? places->used_idx : places->old_used_idx;
	record->used_wrap = used ? places->used_wrap : places->old_used_wrap;
	return VIODMA_OK;
}

static bool sound(const struct viodma_inflight_packed *record, const struct heads *heads, const struct places *places)
{
	return places->used_idx < record->ring_size && places->old_used_idx < record->ring_size &&
	       places->used_wrap <= 1 && places->old_used_wrap <= 1 && heads->free_head <= record->desc_num &&
	       heads->old_free_head <= record->desc_num;
}

/* Free entries, with links that are looked at once; marks on them mean nothing. False: the list goes nowhere. */
static bool walk_free(struct viodma_inflight_packed *record)
{
	uint32_t at = record->free_head;

	while (at < record->desc_num) {
		struct viodma_inflight_entry *entry = &record->entries[at];

		if (entry->seen)
			return false; /* a loop */
		entry->seen = true;
		viodma_inflight_put8(&record->states[at].inflight, 0);
		at = entry->next;
	}
	return at == record->desc_num;
}

/*
 * One chain in flight: its entries become its own, its descriptors are copied behind the `filled` ones there are. False:
 * it is none.
 */
static bool take_chain(struct viodma_inflight_packed *record, uint32_t head, uint32_t *filled)
{
	struct viodma_inflight_entry *first = &record->entries[head];
	uint32_t at = head, last = head;

	if (!first->num || first->num > record->ring_size - *filled)
		return false;
	for (uint32_t n = 0; n < first->num; n++) {
		struct vhost_user_inflight_packed_state state;

		if (at >= record->desc_num || record->entries[at].seen)
			return false;
		record->entries[at].seen = true;
		viodma_inflight_get(&state, &record->states[at], sizeof(state));
		record->descriptors[(*filled)++] = (struct virtq_packed_desc){
			viodma_le64_of(state.addr), viodma_le32_of(state.len), viodma_le16_of(state.id),
			viodma_le16_of(state.flags)};
		last = at;
		at = record->entries[at].next;
	}
	return first->last == last;
}

static _Thread_local const struct viodma_inflight_entry *sort_by; /* qsort has no context */

static int compare(const void *left, const void *right)
{
	const uint16_t one = *(const uint16_t *)left, other = *(const uint16_t *)right;

	if (sort_by[one].counter != sort_by[other].counter)
		return sort_by[one].counter < sort_by[other].counter ? -1 : 1;
	return (one > other) - (one < other);
}

/* Entries marked and not free, oldest first, into record->heads. False: a mark, or a counter, that is none. */
static bool find_marked(struct viodma_inflight_packed *record, uint32_t *count)
{
	for (uint32_t i = 0; i < record->desc_num; i++) {
		struct viodma_inflight_entry *entry = &record->entries[i];
		uint8_t mark;

		viodma_inflight_get(&mark, &record->states[i].inflight, sizeof(mark));
		if (entry->seen || !mark)
			continue;
		if (!VIODMA_REQUIRE(PLT_12, mark == 1 && entry->counter <= VIODMA_INFLIGHT_COUNTER_MAX))
			return false;
		if (entry->counter >= record->counter)
			record->counter = entry->counter + 1;
		record->heads[(*count)++] = (uint16_t)i;
	}
	sort_by = record->entries;
	qsort(record->heads, *count, sizeof(*record->heads), compare);
	return true;
}

/* The entries themselves: all are free, or in one chain. */
static bool list(struct viodma_inflight_packed *record, struct viodma_queue_chain *chains, uint32_t *count)
{
	uint32_t marked = 0, filled = 0;

	if (!find_marked(record, &marked) || marked > record->ring_size) /* = PLT-12 */
		return false;
	for (uint32_t i = 0; i < record->ring_size; i++)
		record->entries[i].entry = UINT16_MAX;
	for (uint32_t i = 0; i < marked; i++) {
		const uint32_t before = filled;
		uint16_t id;

		if (!take_chain(record, record->heads[i], &filled)) /* = PLT-12 */
			return false;
		id = viodma_le16_get(record->descriptors[filled - 1].id);
		if (id >= record->ring_size || !VIODMA_REQUIRE(PLT_12, record->entries[id].entry == UINT16_MAX))
			return false;
		record->entries[id].entry = record->heads[i];
		chains[i] = (struct viodma_queue_chain){id, (uint16_t)(filled - before), &record->descriptors[before]};
	}
	*count = marked;
	for (uint32_t i = 0; i < record->desc_num; i++)
		if (!VIODMA_REQUIRE(PLT_12, record->entries[i].seen))
			return false; /* nobody's: they would be missing */
	return true;
}

static void load_entries(struct viodma_inflight_packed *record)
{
	for (uint32_t i = 0; i < record->desc_num; i++) {
		struct vhost_user_inflight_packed_state state;

		viodma_inflight_get(&state, &record->states[i], sizeof(state));
		record->entries[i] = (struct viodma_inflight_entry){
			.next = state.next, .last = state.last, .num = state.num, .counter = state.counter};
	}
}

enum viodma_result viodma_inflight_packed_resume(struct viodma_inflight_packed *record, uint32_t ring_size,
						 const struct viodma_inflight_peek *peek,
						 struct viodma_queue_chain *chains, uint32_t *count, uint32_t *base)
{
	struct heads heads;
	struct places places;
	uint32_t position;
	enum viodma_result result;
	uint64_t features;
	bool wrap;

	*count = 0;
	record->ring_size = ring_size;
	record->counter = 0;
	viodma_inflight_get(&heads, &record->header->version, sizeof(heads));
	viodma_inflight_get(&places, &record->header->used_idx, sizeof(places));
	viodma_inflight_get(&features, &record->header->features, sizeof(features));
	if (ring_size > record->desc_num) /* = PLT-12 */
		return VIODMA_PEER_RECORD;
	if (!heads.version) {
		if ((*base >> 16 & 0x7fff) >= ring_size)
			return VIODMA_PEER_RECORD; /* the queue asks for better ones before it starts */
		begin(record, *base);
		return VIODMA_OK;
	}
	if (!VIODMA_REQUIRE(PLT_12, heads.version == VHOST_USER_INFLIGHT_VERSION && !features &&
					    heads.desc_num == record->desc_num) ||
	    !VIODMA_REQUIRE(PLT_12, sound(record, &heads, &places)))
		return VIODMA_PEER_RECORD;
	result = settle(record, &heads, &places, peek);
	if (result != VIODMA_OK)
		return result;
	load_entries(record);
	if (!walk_free(record) || !list(record, chains, count)) /* = PLT-12 */
		return VIODMA_PEER_RECORD;
	put_heads(record, VHOST_USER_INFLIGHT_VERSION, record->free_head, record->free_head);
	put_places(record, record->used_idx, record->used_wrap);
	position = record->used_idx;
	wrap = record->used_wrap;
	for (uint32_t i = 0; i < *count; i++)
		move_on(ring_size, &position, &wrap, chains[i].count);
	*base = (uint32_t)record->used_idx << 16 | (uint32_t)record->used_wrap << 31 | position | (uint32_t)wrap << 15;
	return VIODMA_OK;
}

/* ---- while it runs ---- */

/* The entry of a buffer id that was taken; UINT16_MAX: none. */
static uint16_t entry_of(const struct viodma_inflight_packed *record, uint16_t id)
{
	return id < record->ring_size ? record->entries[id].entry : UINT16_MAX;
}

/* A driver that makes places available which the device has not used is stopped elsewhere; here it finds no room. */
static bool room_for(const struct viodma_inflight_packed *record, const struct viodma_queue_chain *chain)
{
	uint32_t at = record->free_head;

	for (uint16_t n = 0; n < chain->count; n++) {
		if (at >= record->desc_num)
			return false;
		at = record->entries[at].next;
	}
	return chain->count && chain->id < record->ring_size;
}

void viodma_inflight_packed_taken(struct viodma_inflight_packed *record, const struct viodma_queue_chain *chain)
{
	const uint16_t head = record->free_head;
	struct vhost_user_inflight_packed_state *first = &record->states[head];
	uint16_t at = head, last = head;

	if (!room_for(record, chain))
		return;
	for (uint16_t n = 0; n < chain->count; n++) {
		const struct virtq_packed_desc *descriptor = &chain->descriptors[n];
		struct vhost_user_inflight_packed_state *state = &record->states[at];

		viodma_inflight_put64(&state->addr, viodma_le64_get(descriptor->addr));
		viodma_inflight_put32(&state->len, viodma_le32_get(descriptor->len));
		viodma_inflight_put16(&state->flags, viodma_le16_get(descriptor->flags));
		viodma_inflight_put16(&state->id, viodma_le16_get(descriptor->id));
		last = at;
		at = record->entries[at].next;
	}
	record->entries[head].last = last;
	record->entries[head].num = chain->count;
	record->entries[chain->id].entry = head;
	record->free_head = at;
	viodma_inflight_put16(&first->last, last);
	viodma_inflight_put16(&first->num, chain->count);
	viodma_inflight_put64(&first->counter, record->counter++);
	viodma_inflight_put8(&first->inflight, 1);
	put_heads(record, VHOST_USER_INFLIGHT_VERSION, at, at); /* taken */
}

void viodma_inflight_packed_returning(struct viodma_inflight_packed *record, uint16_t id)
{
	const uint16_t head = entry_of(record, id);
	uint32_t position = record->used_idx;
	bool wrap = record->used_wrap;

	if (head == UINT16_MAX)
		return;
	move_on(record->ring_size, &position, &wrap, record->entries[head].num);
	record->next_used_idx = (uint16_t)position;
	record->next_used_wrap = wrap;
	viodma_inflight_put16(&record->states[record->entries[head].last].next, record->free_head);
	put_heads(record, VHOST_USER_INFLIGHT_VERSION, head, record->free_head);
	put_places(record, record->next_used_idx, wrap);
}

void viodma_inflight_packed_returned(struct viodma_inflight_packed *record, uint16_t id)
{
	const uint16_t head = entry_of(record, id);

	if (head == UINT16_MAX)
		return;
	viodma_inflight_put8(&record->states[head].inflight, 0);
	record->entries[record->entries[head].last].next = record->free_head;
	record->free_head = head;
	put_heads(record, VHOST_USER_INFLIGHT_VERSION, head, head);
	record->used_idx = record->next_used_idx;
	record->used_wrap = record->next_used_wrap;
	put_places(record, record->used_idx, record->used_wrap);
	record->entries[id].entry = UINT16_MAX;
}

void viodma_inflight_packed_given_back(struct viodma_inflight_packed *record, uint16_t id)
{
	const uint16_t head = entry_of(record, id);

	if (head == UINT16_MAX)
		return;
	viodma_inflight_put16(&record->states[record->entries[head].last].next, record->free_head);
	record->entries[record->entries[head].last].next = record->free_head;
	record->free_head = head;
	put_heads(record, VHOST_USER_INFLIGHT_VERSION, head, head);
	viodma_inflight_put8(&record->states[head].inflight, 0);
	record->entries[id].entry = UINT16_MAX;
}
