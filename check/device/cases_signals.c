/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases_signals.c - kicks that a device asks for, and values that it states (DEV-20, DEV-22).
 */
#include "check/device/cases.h"

#include <viodma/feature.h>

#include <stdatomic.h>
#include <string.h>

#define RING CHECK_NEEDS_RING

/* ---- kicks ---- */

static uint16_t word_at(const struct check_place *place, uint32_t offset)
{
	viodma_le16 word;

	memcpy(&word, place->at + offset, sizeof(word));
	return viodma_le16_get(word);
}

/* Does it want to be kicked for what was made available since the ring stood at `before`? As any driver asks. */
static bool kick_wanted(const struct check_session *session, const struct check_ring *ring, uint16_t before)
{
	uint16_t event, flags, added;

	atomic_thread_fence(memory_order_seq_cst);
	if (!ring->packed) {
		event = word_at(&ring->used, VIRTQ_USED_AVAIL_EVENT(ring->size));
		if (!session->event_idx)
			return !(word_at(&ring->used, 0) & VIRTQ_USED_F_NO_NOTIFY);
		return (uint16_t)(ring->next_avail - event - 1) < (uint16_t)(ring->next_avail - before);
	}
	event = word_at(&ring->used, 0);
	flags = word_at(&ring->used, 2) & VIRTQ_PACKED_EVENT_MASK;
	if (flags != VIRTQ_PACKED_EVENT_DESC)
		return flags == VIRTQ_PACKED_EVENT_ENABLE;
	added = (uint16_t)(ring->next_avail - before + (ring->next_avail < before ? ring->size : 0));
	flags = event >> VIRTQ_PACKED_WRAP_BIT;
	event &= (1u << VIRTQ_PACKED_WRAP_BIT) - 1u;
	if (flags != ring->avail_wrap)
		event = (uint16_t)(event - ring->size);
	return (uint16_t)(ring->next_avail - event - 1) < added;
}

/* Kicked only if it asked for it, busy or not, it misses nothing. */
static enum check_verdict asks_for_kicks(struct check_session *session, const struct check_setup *setup)
{
	struct check_ring *ring = &session->rings[0];
	struct check_request request;

	if (!check_session_start(session, setup) || !check_device_works(session) ||
	    !check_request_make(session, &request, check_direction_of(session), session->type->step_bytes) ||
	    !check_request_grant(session, &request))
		return check_trouble(session);
	for (uint32_t round = 0; round < 200; round++) {
		const uint16_t before = ring->next_avail;
		bool wanted;

		if (!check_request_add(session, &request))
			return check_trouble(session);
		wanted = kick_wanted(session, ring, before);
		if (wanted)
			check_ring_kick(ring);
		if (!check_request_wait(session, &request, NULL, 0, session->options->timeout_ms)) {
			if (session->peer.state != CHECK_ANSWERED || wanted)
				return check_trouble(session);
			return check_failed(session, "it did not want to be kicked for chain %d (round %u), and did not see it in %u ms",
					    request.id, round, session->options->timeout_ms);
		}
		if (round % 20 == 19)
			check_wait_ms(session, 5);
	}
	return check_passed(session);
}

static enum check_verdict asks_by_flags(struct check_session *session)
{
	const struct check_setup setup = {.no_event_idx = true};

	return asks_for_kicks(session, &setup);
}

static enum check_verdict asks_by_events(struct check_session *session)
{
	const struct check_setup setup = {0};

	return asks_for_kicks(session, &setup);
}

/* ---- values ---- */

static enum check_verdict status_is_kept(struct check_session *session)
{
	const struct check_setup setup = {0};
	const uint64_t set = 0xf; /* ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK */
	uint64_t status = 0;

	if (!check_session_start(session, &setup) || !check_device_works(session) ||
	    check_peer_get(&session->peer, VHOST_USER_GET_STATUS, &status) != CHECK_ANSWERED)
		return check_trouble(session);
	if (status != set)
		return check_failed(session, "the status was set to 0x%llx, nothing is wrong, and it reads 0x%llx",
				    (unsigned long long)set, (unsigned long long)status);
	return check_passed(session);
}

/* *there: so many bytes there are; a device says with 0 that there are fewer. */
static bool read_config(struct check_session *session, uint32_t offset, uint32_t size, unsigned char *to, bool *there)
{
	struct vhost_user_config config = {.offset = offset, .size = size};
	const size_t due = VHOST_USER_CONFIG_HEADER_BYTES + size;
	size_t bytes = 0;

	if (!check_peer_send(&session->peer, VHOST_USER_GET_CONFIG, 0, &config, due, NULL, 0) ||
	    check_peer_receive(&session->peer, VHOST_USER_GET_CONFIG, &config, sizeof(config), &bytes, NULL) != CHECK_ANSWERED)
		return false;
	*there = bytes != 0;
	if (*there && (bytes != due || config.offset != offset || config.size != size))
		return check_wrong(session, "GET_CONFIG of %u bytes at %u is answered with %zu bytes: %u at %u", size, offset, bytes,
				   config.size, config.offset);
	memcpy(to, config.payload, size);
	return true;
}

#define CONFIG_BYTES 8u

/* Byte by byte it is what it is as a whole. */
static enum check_verdict config_is_one(struct check_session *session)
{
	unsigned char whole[CONFIG_BYTES], each;
	bool there;

	if (!read_config(session, 0, CONFIG_BYTES, whole, &there))
		return check_trouble(session);
	if (!there)
		return check_not_exercised(session, "its configuration is shorter than %u bytes", CONFIG_BYTES);
	for (uint32_t i = 0; i < CONFIG_BYTES; i++) {
		if (!read_config(session, i, 1, &each, &there))
			return check_trouble(session);
		if (!there)
			return check_observed(session, "the configuration cannot be read byte by byte");
		if (each != whole[i])
			return check_failed(session, "byte %u of the configuration is 0x%02x by itself, and 0x%02x among others", i, each,
					    whole[i]);
	}
	return check_passed(session);
}

const struct check_case check_cases_signals[] = {
	{"kick-by-flags", "DEV-20", "sees what it did not want to be kicked for, by flags", RING, asks_by_flags},
	{"kick-by-events", "DEV-20", "sees what it did not want to be kicked for, by event indices", RING | CHECK_NEEDS_EVENT_IDX,
	 asks_by_events},
	{"status", "DEV-22", "keeps the status that it was given", RING | CHECK_NEEDS_STATUS, status_is_kept},
	{"config", "DEV-22", "states the same configuration whole and byte by byte", CHECK_NEEDS_CONFIG, config_is_one},
	{0},
};
