/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inflight_split.c - how it works: a split ring's record has a byte for each head: with the device or not. A head is marked
 * when it was taken from the available ring; it is unmarked after it was put into the used ring. Between the index of
 * the used ring and that, a kill leaves the mark of a request the driver has back; so before the index moves, the head
 * is put at the front of a list, and the index up to which marks are right stands beside it: whoever finds the ring's
 * index ahead by n unmarks the first n of the list.
 *
 * Every chain that was ever fetched is marked or in the used ring, so the ring goes on at its used index plus the marks.
 */
#include "hosted/vhost_user/inflight.h"

#include "core/base/require.h"

#include <stdlib.h>

uint64_t viodma_inflight_bytes(bool packed, uint32_t desc_num)
{
	const uint64_t bytes = packed ? sizeof(struct vhost_user_inflight_packed) +
						(uint64_t)desc_num * sizeof(struct vhost_user_inflight_packed_state)
				      : sizeof(struct vhost_user_inflight_split) +
						(uint64_t)desc_num * sizeof(struct vhost_user_inflight_split_state);

	return (bytes + VHOST_USER_INFLIGHT_ALIGN - 1) / VHOST_USER_INFLIGHT_ALIGN * VHOST_USER_INFLIGHT_ALIGN;
}

static void begin(struct viodma_inflight_split *record, uint16_t used_index)
{
	for (uint32_t i = 0; i < record->desc_num; i++)
		viodma_inflight_put8(&record->states[i].inflight, 0);
	viodma_inflight_put64(&record->header->features, 0);
	viodma_inflight_put16(&record->header->desc_num, (uint16_t)record->desc_num);
	viodma_inflight_put16(&record->header->last_batch_head, 0);
	viodma_inflight_put16(&record->header->used_idx, used_index);
	viodma_inflight_put16(&record->header->version, VHOST_USER_INFLIGHT_VERSION); /* from here on it counts */
}

/* Unmark what the driver has back already. */
static enum viodma_result settle(struct viodma_inflight_split *record, const struct vhost_user_inflight_split *header,
				 uint16_t used_index)
{
	uint16_t behind = (uint16_t)(used_index - header->used_idx), head = header->last_batch_head;

	if (!VIODMA_REQUIRE(PLT_12, behind <= record->desc_num))
		return VIODMA_PEER_RECORD;
	for (; behind && head < record->desc_num; behind--) {
		uint16_t next;

		viodma_inflight_get(&next, &record->states[head].next, sizeof(next));
		viodma_inflight_put8(&record->states[head].inflight, 0);
		head = next;
	}
	if (!VIODMA_REQUIRE(PLT_12, !behind))
		return VIODMA_PEER_RECORD;
	viodma_inflight_put16(&record->header->used_idx, used_index);
	return VIODMA_OK;
}

static _Thread_local const uint64_t *sort_by; /* qsort has no context */

static int compare(const void *left, const void *right)
{
	const uint16_t one = ((const struct viodma_queue_chain *)left)->id;
	const uint16_t other = ((const struct viodma_queue_chain *)right)->id;

	if (sort_by[one] != sort_by[other])
		return sort_by[one] < sort_by[other] ? -1 : 1;
	return (one > other) - (one < other);
}

static enum viodma_result list(struct viodma_inflight_split *record, uint32_t ring_size,
			       struct viodma_queue_chain *chains, uint32_t *count)
{
	for (uint32_t i = 0; i < record->desc_num; i++) {
		struct vhost_user_inflight_split_state state;

		viodma_inflight_get(&state, &record->states[i], sizeof(state));
		if (!state.inflight)
			continue;
		if (i >= ring_size || !VIODMA_REQUIRE(PLT_12, state.inflight == 1 &&
								      state.counter <= VIODMA_INFLIGHT_COUNTER_MAX)) /* = PLT-12 */
			return VIODMA_PEER_RECORD;
		record->order[i] = state.counter;
		if (state.counter >= record->counter)
			record->counter = state.counter + 1;
		chains[(*count)++] = (struct viodma_queue_chain){.id = (uint16_t)i};
	}
	sort_by = record->order;
	qsort(chains, *count, sizeof(*chains), compare);
	return VIODMA_OK;
}

enum viodma_result viodma_inflight_split_resume(struct viodma_inflight_split *record, uint32_t ring_size,
						uint16_t used_index, struct viodma_queue_chain *chains, uint32_t *count,
						uint32_t *base)
{
	struct vhost_user_inflight_split header;
	enum viodma_result result;

	*count = 0;
	record->counter = 0;
	record->used_idx = used_index;
	viodma_inflight_get(&header, record->header, sizeof(header));
	if (ring_size > record->desc_num) /* = PLT-12 */
		return VIODMA_PEER_RECORD;
	if (!header.version) {
		record->last_batch_head = 0;
		begin(record, used_index);
		return VIODMA_OK;
	}
	if (!VIODMA_REQUIRE(PLT_12, header.version == VHOST_USER_INFLIGHT_VERSION && !header.features &&
					    header.desc_num == record->desc_num))
		return VIODMA_PEER_RECORD;
	result = settle(record, &header, used_index);
	if (result == VIODMA_OK)
		result = list(record, ring_size, chains, count);
	record->last_batch_head = header.last_batch_head;
	*base = (uint16_t)(used_index + *count);
	return result;
}

void viodma_inflight_split_taken(struct viodma_inflight_split *record, uint16_t head)
{
	viodma_inflight_put64(&record->states[head].counter, record->counter++);
	viodma_inflight_put8(&record->states[head].inflight, 1);
}

void viodma_inflight_split_returning(struct viodma_inflight_split *record, uint16_t head)
{
	if (record->last_batch_head == head)
		return; /* tried before, or the only one of its list */
	viodma_inflight_put16(&record->states[head].next, record->last_batch_head);
	viodma_inflight_put16(&record->header->last_batch_head, head);
	record->last_batch_head = head;
}

void viodma_inflight_split_returned(struct viodma_inflight_split *record, uint16_t head)
{
	viodma_inflight_put8(&record->states[head].inflight, 0);
	viodma_inflight_put16(&record->header->used_idx, ++record->used_idx);
}

void viodma_inflight_split_given_back(struct viodma_inflight_split *record, uint16_t head)
{
	viodma_inflight_put8(&record->states[head].inflight, 0);
}
