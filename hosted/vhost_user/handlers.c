/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handlers.c - how it works: one function for each message that negotiates, or reads or writes the device's own state.
 * Each finds its message already checked against its row of THE TABLE (messages.c).
 *
 * Bit 33 is decided the moment features are set, so that a driver that broke the rule is refused by the message that
 * broke it, before any ring is touched; it is decided again with FEATURES_OK and when a ring starts (rings.c).
 */
#include "hosted/vhost_user/messages.h"

#include "core/base/require.h"

#include <stdio.h>
#include <string.h>

static void reply_u64(struct viodma_vhost_user *backend, const struct viodma_message *message, uint64_t word)
{
	viodma_connection_reply(backend, message->header.request, &word, sizeof(word));
}

/* ---- features ---- */

static enum viodma_result negotiate(struct viodma_vhost_user *backend, uint64_t accepted,
				    enum viodma_addressing *addressing)
{
	const struct viodma_negotiation negotiation = {
		.offered = backend->offered,
		.accepted = accepted,
		.policy = backend->options.platform_dma,
		.platform_dma_bit = backend->options.platform_dma_bit,
	};

	return viodma_feature_negotiate_device(&negotiation, addressing);
}

static void log_accepted(struct viodma_vhost_user *backend)
{
	char text[400] = "";
	size_t at = 0;

	for (unsigned bit = 0; bit < 64; bit++) {
		const char *name = viodma_feature_name(bit);
		int wrote;

		if (!name && bit < 24 && backend->ops.feature_name)
			name = backend->ops.feature_name(backend->device, bit);
		if (!(backend->accepted >> bit & 1) || at >= sizeof(text))
			continue;
		if (bit == VHOST_USER_F_PROTOCOL_FEATURES_BIT)
			name = "VHOST_USER_F_PROTOCOL_FEATURES";
		wrote = name ? snprintf(text + at, sizeof(text) - at, "%s%s", at ? ", " : "", name)
			     : snprintf(text + at, sizeof(text) - at, "%sbit %u", at ? ", " : "", bit);
		at += wrote > 0 ? (size_t)wrote : 0;
	}
	viodma_backend_log_some(backend, "features accepted: 0x%llx: %s", (unsigned long long)backend->accepted,
			   at ? text : "none");
}

enum viodma_verdict viodma_handle_get_features(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	reply_u64(backend, message, backend->offered);
	return VIODMA_DONE;
}

enum viodma_verdict viodma_handle_set_features(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	const uint64_t accepted = message->payload.u64;
	enum viodma_addressing addressing = VIODMA_ADDRESSING_PHYSICAL;
	const bool first = !backend->connection.features_set;
	enum viodma_result result;

	if (!VIODMA_REQUIRE(PLT_9, !viodma_vring_any_running(backend) || accepted == backend->accepted))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"features change while a ring runs");
	result = negotiate(backend, accepted, &addressing);
	if (result != VIODMA_OK)
		return viodma_connection_refuse(backend, message->header.request, result,
						"0x%llx was offered, 0x%llx is accepted",
						(unsigned long long)backend->offered, (unsigned long long)accepted);
	if (!viodma_vring_any_running(backend)) {
		if (addressing != backend->addressing)
			viodma_channel_clear_iotlb(backend);
		backend->addressing = addressing;
		if (first || accepted != backend->accepted) {
			backend->accepted = accepted;
			log_accepted(backend);
		}
		if (backend->ops.accepted)
			backend->ops.accepted(backend->device,
					      accepted & ~VIODMA_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES_BIT));
	}
	backend->connection.features_set = true;
	return VIODMA_DONE;
}

enum viodma_verdict viodma_handle_get_protocol(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	reply_u64(backend, message, backend->offered_protocol);
	return VIODMA_DONE;
}

enum viodma_verdict viodma_handle_set_protocol(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	const uint64_t inband = VIODMA_FEATURE(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS_BIT);
	const uint64_t inband_needs = VIODMA_FEATURE(VHOST_USER_PROTOCOL_F_BACKEND_REQ_BIT) |
				      VIODMA_FEATURE(VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT);
	const uint64_t accepted = message->payload.u64;

	if (!VIODMA_REQUIRE(PLT_9, !(accepted & ~backend->offered_protocol)))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"0x%llx was offered, 0x%llx is accepted",
						(unsigned long long)backend->offered_protocol,
						(unsigned long long)accepted);
	if (!VIODMA_REQUIRE(PLT_9, !viodma_vring_any_running(backend) ||
					   accepted == backend->connection.protocol_features))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"protocol features change while a ring runs");
	/* The document: the other two are needed for them, and closing is the only way to say so. */
	if ((accepted & inband) && !VIODMA_REQUIRE(PLT_9, (accepted & inband_needs) == inband_needs))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"INBAND_NOTIFICATIONS without BACKEND_REQ and REPLY_ACK");
	backend->connection.protocol_features = accepted & backend->offered_protocol;
	return VIODMA_DONE;
}

/* ---- owner ---- */

enum viodma_verdict viodma_handle_owner(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	(void)backend;
	(void)message;
	return VIODMA_DONE; /* whoever is connected is the owner */
}

/* The document: ignore it, or disable all rings; nothing else. */
enum viodma_verdict viodma_handle_reset_owner(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	(void)message;
	for (unsigned i = 0; i < backend->options.queue_count; i++)
		backend->rings[i].enabled = false;
	return VIODMA_DONE;
}

/* ---- numbers ---- */

enum viodma_verdict viodma_handle_queue_num(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	reply_u64(backend, message, backend->options.queue_count);
	return VIODMA_DONE;
}

enum viodma_verdict viodma_handle_mem_slots(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	reply_u64(backend, message, VIODMA_BACKEND_MEMORY_SLOTS);
	return VIODMA_DONE;
}

/* ---- configuration space ---- */

/* The parts of a configuration message agree with each other. */
static enum viodma_verdict check_config(struct viodma_vhost_user *backend, const struct viodma_message *message)
{
	const struct vhost_user_config *config = &message->payload.config;

	if (config->size > VHOST_USER_CONFIG_BYTES || /* = PLT-9 */
	    message->header.size != VHOST_USER_CONFIG_HEADER_BYTES + config->size)
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"%u bytes of configuration in a payload of %u", config->size,
						message->header.size);
	if (!VIODMA_REQUIRE(PLT_9, config->flags <= VHOST_USER_CONFIG_MIGRATION))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE, "flags 0x%x",
						config->flags);
	return VIODMA_DONE;
}

static bool inside_space(const struct vhost_user_config *config)
{
	return config->size && config->offset <= VHOST_USER_CONFIG_BYTES &&
	       config->size <= VHOST_USER_CONFIG_BYTES - config->offset;
}

enum viodma_verdict viodma_handle_get_config(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	struct vhost_user_config config = message->payload.config;
	enum viodma_verdict verdict = check_config(backend, message);
	enum viodma_result result = VIODMA_E_UNSUPPORTED;

	if (verdict != VIODMA_DONE)
		return verdict;
	memset(config.payload, 0, sizeof(config.payload));
	if (inside_space(&config) && backend->ops.read_config)
		result = backend->ops.read_config(backend->device, config.offset, config.payload, config.size);
	if (result == VIODMA_OK) {
		viodma_connection_reply(backend, message->header.request, &config,
					VHOST_USER_CONFIG_HEADER_BYTES + config.size);
	} else {
		viodma_backend_log_some(backend, "GET_CONFIG of %u bytes at %u failed", config.size, config.offset);
		viodma_connection_reply(backend, message->header.request, NULL, 0); /* the document's way to say so */
	}
	return VIODMA_DONE;
}

enum viodma_verdict viodma_handle_set_config(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	const struct vhost_user_config *config = &message->payload.config;
	enum viodma_verdict verdict = check_config(backend, message);
	enum viodma_result result = VIODMA_E_UNSUPPORTED;

	if (verdict != VIODMA_DONE)
		return verdict;
	if (inside_space(config) && backend->ops.write_config)
		result = backend->ops.write_config(backend->device, config->offset, config->payload, config->size);
	if (result == VIODMA_OK)
		return VIODMA_DONE;
	viodma_backend_log_some(backend, "SET_CONFIG of %u bytes at %u failed: nothing there may be written", config->size,
			   config->offset);
	return VIODMA_REFUSED;
}

/* ---- status ---- */

enum viodma_verdict viodma_handle_set_status(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	const uint64_t status = message->payload.u64;
	enum viodma_addressing addressing;
	enum viodma_result result;

	if (!VIODMA_REQUIRE(PLT_9, status <= UINT8_MAX))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"0x%llx is beyond 8 bits", (unsigned long long)status);
	if (!(status & UINT8_MAX)) {
		viodma_revocation_begin(backend, VIODMA_REVOKE_RESET, message);
		return VIODMA_LATER;
	}
	if ((status & VIODMA_STATUS_FEATURES_OK) && !(backend->status & VIODMA_STATUS_FEATURES_OK) &&
	    backend->connection.features_set) {
		result = negotiate(backend, backend->accepted, &addressing);
		if (result != VIODMA_OK)
			return viodma_connection_refuse(backend, message->header.request, result,
							"FEATURES_OK with 0x%llx accepted",
							(unsigned long long)backend->accepted);
	}
	backend->status = (uint8_t)status;
	return VIODMA_DONE;
}

enum viodma_verdict viodma_handle_reset_device(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	viodma_revocation_begin(backend, VIODMA_REVOKE_DEVICE, message);
	return VIODMA_LATER;
}

enum viodma_verdict viodma_handle_get_status(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	uint64_t status = backend->status;

	for (unsigned i = 0; i < backend->options.queue_count; i++)
		if (backend->rings[i].queue.running && backend->rings[i].queue.broken != VIODMA_OK)
			status |= VIODMA_STATUS_NEEDS_RESET;
	reply_u64(backend, message, status);
	return VIODMA_DONE;
}
