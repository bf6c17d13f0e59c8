/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_transport.c - how it works: the transport's operations are messages, or, where the back end lacks the protocol
 * feature, done here:
 *
 *	status           SET_STATUS, GET_STATUS; else kept here
 *	FEATURES_OK      a back end cannot clear it: one that refuses features answers SET_FEATURES with an error, or hangs up
 *	                 over it; either is VIODMA_PEER_FEATURES
 *	queues           front_queues.c
 *	reset            each ring is stopped; then what the device may hold of the table is invalidated; then status 0, or
 *	                 RESET_DEVICE
 *	configuration    read from offset 0 on, because back ends in use (QEMU's library) take no notice of the offset
 *
 * A stopped ring can be set up again on the same connection, with other features, other memory, other addressing.
 *
 * QEMU's library answers GET_VRING_BASE though its own requests are in flight: with it, a driver does well to reset when
 * nothing is with the device.
 */
#include "hosted/front/front.h"

#include "core/base/require.h"

#include <string.h>

#define VHOST_F_LOG_ALL_BIT 26 /* of vhost: for migrations; no feature of the device */
#define OF_VHOST (VIODMA_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES_BIT) | VIODMA_FEATURE(VHOST_F_LOG_ALL_BIT))

/* It has come to nothing, but there is a successor to say it to. */
static bool recovered(struct viodma_front *front, enum viodma_result result)
{
	return result == VIODMA_PEER_GONE && viodma_front_recover(front, result) == VIODMA_OK;
}

/* ---- features and status ---- */

static enum viodma_result get_features(void *context, uint64_t *offered)
{
	struct viodma_front *front = context;
	enum viodma_result result = viodma_front_query(front, VHOST_USER_GET_FEATURES, &front->offered);

	*offered = front->offered & ~OF_VHOST;
	return result;
}

/* A message over which a back end that refuses features ends the connection. */
static enum viodma_result negotiate(struct viodma_front *front, uint32_t request, uint64_t word)
{
	enum viodma_result result;

	front->negotiating = true;
	result = viodma_front_command(front, request, &word, sizeof(word), NULL, 0);
	front->negotiating = false;
	return result == VIODMA_E_IO && front->broken == VIODMA_OK ? VIODMA_PEER_FEATURES : result;
}

static uint64_t as_word(const struct viodma_front *front, uint64_t accepted)
{
	return accepted | (viodma_front_has_bit_30(front) ? VIODMA_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES_BIT) : 0);
}

static enum viodma_result set_features(void *context, uint64_t accepted)
{
	struct viodma_front *front = context;
	enum viodma_result result;

	if (front->started)
		return VIODMA_E_BUSY;
	result = negotiate(front, VHOST_USER_SET_FEATURES, as_word(front, accepted));
	if (result == VIODMA_OK) {
		front->platform = front->platform && accepted == front->accepted; /* until set_addressing says what it is */
		front->accepted = accepted;
	}
	return result;
}

static enum viodma_result set_addressing(void *context, bool platform)
{
	struct viodma_front *front = context;

	if (front->started)
		return platform == front->platform ? VIODMA_OK : VIODMA_E_BUSY;
	front->platform = platform;
	/* A successor is told of them, too. */
	return platform ? viodma_front_recover(front, viodma_front_grants_begin(front)) : VIODMA_OK;
}

static enum viodma_result ask_status(struct viodma_front *front, uint8_t *status)
{
	enum viodma_result result = front->broken;
	uint64_t word = front->status;

	if (viodma_front_has(front, VHOST_USER_PROTOCOL_F_STATUS_BIT))
		result = viodma_front_query(front, VHOST_USER_GET_STATUS, &word);
	if (result == VIODMA_OK && !VIODMA_REQUIRE(DEV_22, word <= UINT8_MAX))
		return viodma_front_break(front, VIODMA_PEER_ANSWER, "a status of 0x%llx", (unsigned long long)word);
	*status = (uint8_t)word;
	return result;
}

static enum viodma_result get_status(void *context, uint8_t *status)
{
	struct viodma_front *front = context;
	enum viodma_result result = ask_status(front, status);

	return recovered(front, result) ? ask_status(front, status) : result;
}

static enum viodma_result reset(struct viodma_front *front)
{
	const uint64_t zero = 0;
	const bool was_started = front->started;
	enum viodma_result result = front->broken;

	for (unsigned i = 0; i < front->queue_count && result == VIODMA_OK; i++)
		if (front->queues[i].size)
			result = viodma_front_queue_stop(front, i);
	if (result == VIODMA_OK)
		result = viodma_front_grants_end(front);
	if (result == VIODMA_OK && viodma_front_has(front, VHOST_USER_PROTOCOL_F_STATUS_BIT))
		result = viodma_front_command(front, VHOST_USER_SET_STATUS, &zero, sizeof(zero), NULL, 0);
	else if (result == VIODMA_OK && was_started && viodma_front_has(front, VHOST_USER_PROTOCOL_F_RESET_DEVICE_BIT))
		result = viodma_front_command(front, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0);
	if (result == VIODMA_OK) {
		front->started = false;
		front->status = 0;
		viodma_front_record_drop(front);
		memset(&front->written, 0, sizeof(front->written));
	}
	return result;
}

static enum viodma_result tell_status(struct viodma_front *front, uint8_t status)
{
	enum viodma_result result = front->broken;

	if (result != VIODMA_OK)
		return result;
	if (!status)
		return reset(front);
	for (unsigned i = 0; (status & VIODMA_STATUS_DRIVER_OK) && i < front->queue_count && result == VIODMA_OK; i++)
		if (front->queues[i].size && !front->queues[i].enabled)
			result = viodma_front_queue_let_go(front, i);
	if (result == VIODMA_OK && viodma_front_has(front, VHOST_USER_PROTOCOL_F_STATUS_BIT)) {
		const bool features = (status & ~front->status & VIODMA_STATUS_FEATURES_OK) != 0;
		const uint64_t word = status;

		result = features ? negotiate(front, VHOST_USER_SET_STATUS, word)
				  : viodma_front_command(front, VHOST_USER_SET_STATUS, &word, sizeof(word), NULL, 0);
	}
	if (result == VIODMA_OK)
		front->status = status;
	return result;
}

static enum viodma_result set_status(void *context, uint8_t status)
{
	struct viodma_front *front = context;
	enum viodma_result result = tell_status(front, status);

	return recovered(front, result) ? tell_status(front, status) : result;
}

/* ---- for a successor ---- */

static enum viodma_result say_status(struct viodma_front *front, uint8_t status)
{
	const uint64_t word = status;

	if (!word || !viodma_front_has(front, VHOST_USER_PROTOCOL_F_STATUS_BIT))
		return VIODMA_OK;
	return viodma_front_command(front, VHOST_USER_SET_STATUS, &word, sizeof(word), NULL, 0);
}

enum viodma_result viodma_front_features_again(struct viodma_front *front)
{
	const uint64_t word = as_word(front, front->accepted);
	const uint8_t before = front->status & (VIODMA_STATUS_ACKNOWLEDGE | VIODMA_STATUS_DRIVER);
	const uint8_t after = front->status & (uint8_t)~VIODMA_STATUS_DRIVER_OK;
	uint8_t status = after;
	enum viodma_result result = say_status(front, before);

	if (result == VIODMA_OK && (after != before || front->started))
		result = viodma_front_command(front, VHOST_USER_SET_FEATURES, &word, sizeof(word), NULL, 0);
	if (result == VIODMA_OK && after != before)
		result = say_status(front, after);
	if (result == VIODMA_OK)
		result = ask_status(front, &status);
	if (result == VIODMA_OK && VIODMA_REQUIRE(DEV_8, (status & after) == after))
		return VIODMA_OK;
	/* A successor that hangs up is another one that has gone; one that says no means it. */
	return result == VIODMA_OK || (result == VIODMA_E_IO && front->broken == VIODMA_OK)
		       ? viodma_front_break(front, VIODMA_PEER_FEATURES, "the successor refuses what was agreed on")
		       : result;
}

enum viodma_result viodma_front_status_again(struct viodma_front *front)
{
	return front->status & VIODMA_STATUS_DRIVER_OK ? say_status(front, front->status) : VIODMA_OK;
}

/* ---- configuration ---- */

static bool beyond_config(uint32_t offset, uint32_t len_bytes)
{
	return !len_bytes || offset > VHOST_USER_CONFIG_BYTES || len_bytes > VHOST_USER_CONFIG_BYTES - offset;
}

static enum viodma_result ask_config(struct viodma_front *front, uint32_t offset, void *destination, uint32_t len_bytes)
{
	struct vhost_user_config config = {.size = offset + len_bytes};
	const size_t bytes = VHOST_USER_CONFIG_HEADER_BYTES + (size_t)offset + len_bytes;
	enum viodma_result result;
	size_t got = 0;

	if (beyond_config(offset, len_bytes))
		return VIODMA_E_INVALID;
	if (!viodma_front_has(front, VHOST_USER_PROTOCOL_F_CONFIG_BIT))
		return front->broken != VIODMA_OK ? front->broken : VIODMA_E_UNSUPPORTED;
	result = viodma_front_post(front, VHOST_USER_GET_CONFIG, false, &config, bytes, NULL, 0);
	if (result == VIODMA_OK)
		result = viodma_front_await(front, VHOST_USER_GET_CONFIG, &config, 0, bytes, &got);
	if (result != VIODMA_OK)
		return result;
	if (!got) {
		viodma_front_log_some(front, "it has no configuration of %u bytes at %u", len_bytes, offset);
		return VIODMA_E_UNSUPPORTED;
	}
	if (got != bytes || config.offset || config.size != offset + len_bytes) /* = PLT-9 */
		return viodma_front_break(front, VIODMA_PEER_MESSAGE, "%u bytes of configuration at %u in a payload of %zu",
					  config.size, config.offset, got);
	memcpy(destination, config.payload + offset, len_bytes);
	return VIODMA_OK;
}

static enum viodma_result read_config(void *context, uint32_t offset, void *destination, uint32_t len_bytes)
{
	struct viodma_front *front = context;
	enum viodma_result result = ask_config(front, offset, destination, len_bytes);

	return recovered(front, result) ? ask_config(front, offset, destination, len_bytes) : result;
}

static enum viodma_result tell_config(struct viodma_front *front, uint32_t offset, const void *source, uint32_t len_bytes)
{
	struct vhost_user_config config = {offset, len_bytes, VHOST_USER_CONFIG_WRITABLE, {0}};

	if (beyond_config(offset, len_bytes))
		return VIODMA_E_INVALID;
	if (!viodma_front_has(front, VHOST_USER_PROTOCOL_F_CONFIG_BIT))
		return front->broken != VIODMA_OK ? front->broken : VIODMA_E_UNSUPPORTED;
	memcpy(config.payload, source, len_bytes);
	return viodma_front_command(front, VHOST_USER_SET_CONFIG, &config, VHOST_USER_CONFIG_HEADER_BYTES + len_bytes, NULL, 0);
}

static enum viodma_result write_config(void *context, uint32_t offset, const void *source, uint32_t len_bytes)
{
	struct viodma_front *front = context;
	enum viodma_result result = tell_config(front, offset, source, len_bytes);

	if (recovered(front, result))
		result = tell_config(front, offset, source, len_bytes);
	if (result == VIODMA_OK) {
		memcpy(front->written.bytes + offset, source, len_bytes);
		if (front->written.len_bytes[offset] < len_bytes)
			front->written.len_bytes[offset] = (uint16_t)len_bytes;
	}
	return result;
}

enum viodma_result viodma_front_config_again(struct viodma_front *front)
{
	enum viodma_result result = VIODMA_OK;

	for (uint32_t i = 0; i < VHOST_USER_CONFIG_BYTES && result == VIODMA_OK; i++)
		if (front->written.len_bytes[i])
			result = tell_config(front, i, front->written.bytes + i, front->written.len_bytes[i]);
	return result;
}

static enum viodma_result config_generation(void *context, uint32_t *generation)
{
	struct viodma_front *front = context;

	*generation = front->config_generation;
	return front->broken;
}

bool viodma_front_config_changed(struct viodma_front *front)
{
	const bool changed = front->config_told != front->config_generation;

	front->config_told = front->config_generation;
	return changed;
}

const struct viodma_transport_ops viodma_front_ops = {
	.get_features = get_features,
	.set_features = set_features,
	.get_status = get_status,
	.set_status = set_status,
	.read_config = read_config,
	.write_config = write_config,
	.config_generation = config_generation,
	.queue_size_max = viodma_front_queue_size_max,
	.queue_enable = viodma_front_queue_enable,
	.queue_reset = viodma_front_queue_reset,
	.set_addressing = set_addressing,
	.notify = viodma_front_notify,
};
