/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * request.c - how it works: the case gives the data its places, the type puts its other parts around it, each at a place of
 * its own. A part is granted as its direction needs and no more. What was answered is judged by the type.
 */
#include "check/device/session.h"

#include "hosted/base/descriptors.h"

#include <viodma/loop.h>

#include <string.h>

#define DISTANCE 0x2e8u /* data does not begin with a page */
#define TABLE_DISTANCE 0x110u

unsigned char check_data_byte(uint32_t salt, uint64_t i)
{
	const uint32_t mixed = (uint32_t)(i + 1) * 2654435761u ^ salt * 2246822519u;

	return (unsigned char)(mixed >> 13 ^ mixed >> 24);
}

enum check_direction check_direction_of(const struct check_session *session)
{
	const struct check_type *type = session->type;

	return type->to_device && (session->options->writes || !type->keeps) ? CHECK_TO_DEVICE : CHECK_FROM_DEVICE;
}

bool check_request_make_of(struct check_session *session, struct check_request *request, enum check_direction direction,
			   const struct check_place *data, uint32_t count)
{
	uint64_t at = 0;

	*request = (struct check_request){.direction = direction, .salt = ++session->known->salt, .id = -1};
	if (count + 4 > CHECK_PARTS_MAX)
		return check_wrong(session, "a request of %u parts", count);
	for (uint32_t i = 0; i < count; i++) {
		struct check_part *part = &request->parts[request->count++];

		*part = (struct check_part){data[i], CHECK_DATA, direction == CHECK_FROM_DEVICE};
		request->data_bytes += data[i].bytes;
		for (uint64_t b = 0; b < data[i].bytes; b++, at++)
			part->place.at[b] = direction == CHECK_TO_DEVICE ? check_data_byte(request->salt, at) : 0;
	}
	return session->type->make(session, request);
}

bool check_request_make(struct check_session *session, struct check_request *request, enum check_direction direction,
			uint64_t bytes)
{
	struct check_place place;

	return check_place(session, bytes ? bytes : session->type->usual_bytes, DISTANCE, &place) &&
	       check_request_make_of(session, request, direction, &place, 1);
}

bool check_part_grant(struct check_session *session, const struct check_part *part)
{
	return check_grant(session, &part->place, part->writes ? CHECK_WRITE : CHECK_READ);
}

static bool place_table(struct check_session *session, struct check_request *request)
{
	return !request->table || request->table_place.at ||
	       check_place(session, 16u * request->count, TABLE_DISTANCE, &request->table_place);
}

bool check_request_grant(struct check_session *session, struct check_request *request)
{
	if (!place_table(session, request))
		return false;
	for (uint32_t i = 0; i < request->count; i++)
		if (!check_part_grant(session, &request->parts[i]))
			return false;
	return !request->table || check_grant(session, &request->table_place, CHECK_READ);
}

bool check_request_tell(struct check_session *session, const struct check_request *request)
{
	for (uint32_t i = 0; i < request->count; i++) {
		const struct check_place *place = &request->parts[i].place;
		const uint64_t before = place->bus % CHECK_PAGE;
		bool refused;

		if (!check_update(session, place->bus - before, place->user - before, CHECK_PAGE,
				  request->parts[i].writes ? CHECK_WRITE : CHECK_READ, &refused))
			return false;
	}
	return true;
}

bool check_request_grant_but_data(struct check_session *session, struct check_request *request)
{
	for (uint32_t i = 0; i < request->count; i++)
		if (request->parts[i].role != CHECK_DATA && !check_part_grant(session, &request->parts[i]))
			return false;
	return true;
}

void check_request_expect_status(struct check_session *session, const struct check_request *request)
{
	check_memory_remember(&session->memory);
	check_rings_allow(session);
	for (uint32_t i = 0; i < request->count; i++)
		if (request->parts[i].role == CHECK_STATUS)
			check_memory_allow(&session->memory, &request->parts[i].place, 0, request->parts[i].place.bytes);
}

void check_request_allow(struct check_session *session, const struct check_request *request)
{
	for (uint32_t i = 0; i < request->count; i++)
		if (request->parts[i].writes)
			check_memory_allow(&session->memory, &request->parts[i].place, 0, request->parts[i].place.bytes);
}

void check_rings_allow(struct check_session *session)
{
	for (unsigned n = 0; n < session->ring_count; n++) {
		const struct check_ring *ring = &session->rings[n];

		check_memory_allow(&session->memory, &ring->used, 0, ring->used.bytes);
		if (ring->packed)
			check_memory_allow(&session->memory, &ring->desc, 0, ring->desc.bytes);
	}
}

void check_rings_accept(struct check_session *session)
{
	for (unsigned n = 0; n < session->ring_count; n++) {
		check_memory_accept(&session->memory, &session->rings[n].avail, 0, session->rings[n].avail.bytes);
		if (!session->rings[n].packed)
			check_memory_accept(&session->memory, &session->rings[n].desc, 0, session->rings[n].desc.bytes);
	}
}

bool check_untouched(struct check_session *session, const char *what)
{
	struct check_touch touch;

	if (!check_memory_touched(&session->memory, &touch))
		return true;
	if (touch.written)
		return check_wrong(session, "the device wrote %s: at physical address 0x%llx 0x%02x became 0x%02x", what,
				   (unsigned long long)touch.phys, touch.was, touch.is);
	return check_wrong(session, "the device read %s: the page at physical address 0x%llx was touched", what,
			   (unsigned long long)touch.phys);
}

/* ---- to the device and back ---- */

bool check_request_add(struct check_session *session, struct check_request *request)
{
	struct check_ring *ring = &session->rings[request->ring];
	struct check_buffer buffers[CHECK_PARTS_MAX];

	for (uint32_t i = 0; i < request->count; i++) {
		const struct check_part *part = &request->parts[i];

		buffers[i] = (struct check_buffer){check_address(session, &part->place), (uint32_t)part->place.bytes, part->writes};
	}
	if (!place_table(session, request))
		return false;
	if (request->direction == CHECK_TO_DEVICE && session->known->unsure < request->data_bytes)
		session->known->unsure = (uint32_t)request->data_bytes;
	request->done = false;
	request->id = request->table ? check_ring_add_table(ring, buffers, request->count, &request->table_place,
							    check_address(session, &request->table_place))
				     : check_ring_add(ring, buffers, request->count);
	check_rings_accept(session);
	for (uint32_t i = 0; i < request->count; i++)
		check_event(session, CHECK_US, buffers[i].address, buffers[i].bytes, "queue %u, chain %d: device-%s", ring->queue,
			    request->id, buffers[i].writes ? "writable" : "readable");
	return request->id >= 0 || check_wrong(session, "a ring of %u is too small for this case", ring->size);
}

bool check_request_submit(struct check_session *session, struct check_request *request)
{
	if (!check_request_add(session, request))
		return false;
	check_ring_kick(&session->rings[request->ring]);
	return true;
}

#define WHILE_MS 50u

bool check_request_stays(struct check_session *session, struct check_request *request, const char *what)
{
	const struct check_ring *ring = &session->rings[request->ring];

	check_memory_remember(&session->memory);
	if (!check_request_submit(session, request))
		return false;
	if (ring->packed) /* of a split one check_request_add did it */
		check_memory_accept(&session->memory, &ring->desc, 0, ring->desc.bytes);
	check_wait_ms(session, WHILE_MS);
	return check_untouched(session, what);
}

/* Whose is it? */
static bool settle(struct check_session *session, struct check_request *request, struct check_request *others,
		   uint32_t other_count, const struct check_used *used)
{
	for (uint32_t i = 0; i <= other_count; i++) {
		struct check_request *each = i ? &others[i - 1] : request;

		if (each->id < 0 || each->done || each->ring != request->ring || used->id != (uint32_t)each->id)
			continue;
		each->used = *used;
		each->done = true;
		return true;
	}
	return check_wrong(session, "a used element names chain %u, which is not with the device", used->id);
}

bool check_request_wait(struct check_session *session, struct check_request *request, struct check_request *others,
			uint32_t other_count, uint32_t ms)
{
	const uint64_t until_ns = viodma_loop_now_ns() + (uint64_t)ms * 1000000u;
	struct check_ring *ring = &session->rings[request->ring];
	struct check_used used;

	while (!request->done) {
		if (check_ring_take(ring, &used)) {
			check_event(session, CHECK_PEER, 0, 0, "queue %u, chain %u: used, %u bytes written", ring->queue, used.id,
				    used.bytes);
			if (!ring->packed) /* the event index */
				check_memory_accept(&session->memory, &ring->avail, VIRTQ_AVAIL_USED_EVENT(ring->size), 2);
			if (!settle(session, request, others, other_count, &used))
				return false;
			continue;
		}
		if (viodma_loop_now_ns() >= until_ns || session->peer.state != CHECK_ANSWERED)
			return check_wrong(session, "chain %d was not used within %u ms", request->id, ms);
		if (check_peer_wait(&session->peer, ring->call_fd, viodma_loop_now_ns() + 1000000u)) {
			viodma_eventfd_take(ring->call_fd);
			ring->calls++;
		}
	}
	return true;
}

bool check_request_works(struct check_session *session, struct check_request *request)
{
	return check_request_grant(session, request) && check_request_submit(session, request) &&
	       check_request_wait(session, request, NULL, 0, session->options->timeout_ms) &&
	       session->type->right(session, request);
}

bool check_device_works(struct check_session *session)
{
	struct check_request request;

	return check_request_make(session, &request, check_direction_of(session), 0) && check_request_works(session, &request);
}
