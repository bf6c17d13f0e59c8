/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * messages.c - how it works: a message is checked against its row before its handler sees it. Anything that does not
 * fit its row ends the connection (PLT-9); the process, and other connections, never.
 *
 * Decisions where the protocol's document leaves room:
 *   - Nothing waits for SET_OWNER, and it may be repeated: front ends in use send other messages first.
 *   - REPLY_ACK: the reply flag of requests is ignored until it is negotiated; SET_PROTOCOL_FEATURES that negotiates
 *     it is acknowledged.
 *   - A protocol feature makes its messages legal once SET_PROTOCOL_FEATURES has accepted it, whether or not feature
 *     bit 30 was; SET_VRING_ENABLE alone wants bit 30, because only that bit says that rings begin disabled.
 *   - GET_QUEUE_NUM is legal where MQ is offered (that is what the document asks), accepted or not.
 *   - Size, base and addresses of a running ring do not change: all that a front end may change of it is enabling and
 *     the descriptors. LOG_ALL, for which the document allows more, is not offered.
 *   - SET_FEATURES while a ring runs may only repeat what was said.
 *   - IOTLB_MSG wants bit 33 accepted; neither rings nor a memory table need to be there yet.
 *   - SET_VRING_KICK and VRING_KICK want SET_FEATURES before them, because a ring starts with them and bit 33 says how.
 *   - SET_INFLIGHT_FD wants all rings stopped.
 */
#include "hosted/vhost_user/messages.h"

#include "core/base/require.h"

#include <stdio.h>

#define PROTOCOL(name) VHOST_USER_PROTOCOL_F_##name##_BIT
#define NONE VIODMA_NO_PROTOCOL_FEATURE
#define ANY VIODMA_WHEN_ANY
#define RING VIODMA_WHEN_RING_EXISTS
#define STOPPED (VIODMA_WHEN_RING_EXISTS | VIODMA_WHEN_RING_STOPPED)
#define FILE_OF_RING VIODMA_WHEN_RING_FILE
#define ACK VIODMA_REPLY_ACK
#define BODY VIODMA_REPLY_BODY
#define BYTES(type) sizeof(type), sizeof(type)
#define U64 sizeof(uint64_t), sizeof(uint64_t)
#define CONFIG_BYTES VHOST_USER_CONFIG_HEADER_BYTES, sizeof(struct vhost_user_config)
#define TABLE_BYTES 8, sizeof(struct vhost_user_memory)
#define ANY_BYTES 0, UINT16_MAX
#define STATE struct vhost_user_vring_state

static const struct viodma_message_rule rules[VIODMA_MESSAGE_LAST + 1] = {
	/* name, bytes least and most, descriptors least and most, protocol feature, when, reply, handler */
	[1] = {"GET_FEATURES", 0, 0, 0, 0, NONE, ANY, BODY, viodma_handle_get_features},
	[2] = {"SET_FEATURES", U64, 0, 0, NONE, ANY, ACK, viodma_handle_set_features},
	[3] = {"SET_OWNER", 0, 0, 0, 0, NONE, ANY, ACK, viodma_handle_owner},
	[4] = {"RESET_OWNER", 0, 0, 0, 0, NONE, ANY, ACK, viodma_handle_reset_owner},
	[5] = {"SET_MEM_TABLE", TABLE_BYTES, 0, 8, NONE, ANY, ACK, viodma_handle_mem_table},
	[6] = {"SET_LOG_BASE", 8, 16, 0, 1, PROTOCOL(LOG_SHMFD), ANY, BODY, NULL},
	[7] = {"SET_LOG_FD", 0, 0, 1, 1, PROTOCOL(LOG_SHMFD), ANY, ACK, NULL},
	[8] = {"SET_VRING_NUM", BYTES(STATE), 0, 0, NONE, STOPPED, ACK, viodma_handle_vring_num},
	[9] = {"SET_VRING_ADDR", BYTES(struct vhost_user_vring_addr), 0, 0, NONE, STOPPED, ACK,
	       viodma_handle_vring_addr},
	[10] = {"SET_VRING_BASE", BYTES(STATE), 0, 0, NONE, STOPPED, ACK, viodma_handle_vring_base},
	[11] = {"GET_VRING_BASE", BYTES(STATE), 0, 0, NONE, RING, BODY, viodma_handle_get_vring_base},
	[12] = {"SET_VRING_KICK", U64, 0, 1, NONE, VIODMA_WHEN_FEATURES | FILE_OF_RING, ACK, viodma_handle_vring_kick},
	[13] = {"SET_VRING_CALL", U64, 0, 1, NONE, FILE_OF_RING, ACK, viodma_handle_vring_call},
	[14] = {"SET_VRING_ERR", U64, 0, 1, NONE, FILE_OF_RING, ACK, viodma_handle_vring_err},
	[15] = {"GET_PROTOCOL_FEATURES", 0, 0, 0, 0, NONE, ANY, BODY, viodma_handle_get_protocol},
	[16] = {"SET_PROTOCOL_FEATURES", U64, 0, 0, NONE, ANY, ACK, viodma_handle_set_protocol},
	[17] = {"GET_QUEUE_NUM", 0, 0, 0, 0, PROTOCOL(MQ), ANY, BODY, viodma_handle_queue_num},
	[18] = {"SET_VRING_ENABLE", BYTES(STATE), 0, 0, NONE, VIODMA_WHEN_PROTOCOL | RING, ACK,
		viodma_handle_vring_enable},
	[19] = {"SEND_RARP", U64, 0, 0, PROTOCOL(RARP), ANY, ACK, NULL},
	[20] = {"NET_SET_MTU", U64, 0, 0, PROTOCOL(MTU), ANY, ACK, NULL},
	[21] = {"SET_BACKEND_REQ_FD", 0, 0, 1, 1, PROTOCOL(BACKEND_REQ), ANY, ACK, viodma_handle_backend_fd},
	[22] = {"IOTLB_MSG", BYTES(struct vhost_user_iotlb), 0, 0, NONE, VIODMA_WHEN_BIT_33, ACK, viodma_handle_iotlb},
	[23] = {"SET_VRING_ENDIAN", BYTES(STATE), 0, 0, PROTOCOL(CROSS_ENDIAN), STOPPED, ACK, NULL},
	[24] = {"GET_CONFIG", CONFIG_BYTES, 0, 0, PROTOCOL(CONFIG), ANY, BODY, viodma_handle_get_config},
	[25] = {"SET_CONFIG", CONFIG_BYTES, 0, 0, PROTOCOL(CONFIG), ANY, ACK, viodma_handle_set_config},
	[26] = {"CREATE_CRYPTO_SESSION", ANY_BYTES, 0, 0, PROTOCOL(CRYPTO_SESSION), ANY, BODY, NULL},
	[27] = {"CLOSE_CRYPTO_SESSION", U64, 0, 0, PROTOCOL(CRYPTO_SESSION), ANY, ACK, NULL},
	[28] = {"POSTCOPY_ADVISE", 0, 0, 0, 0, PROTOCOL(PAGEFAULT), ANY, BODY, NULL},
	[29] = {"POSTCOPY_LISTEN", 0, 0, 0, 0, PROTOCOL(PAGEFAULT), ANY, ACK, NULL},
	[30] = {"POSTCOPY_END", 0, 0, 0, 0, PROTOCOL(PAGEFAULT), ANY, BODY, NULL},
	[31] = {"GET_INFLIGHT_FD", BYTES(struct vhost_user_inflight), 0, 0, PROTOCOL(INFLIGHT_SHMFD), ANY, BODY,
		viodma_handle_get_inflight},
	[32] = {"SET_INFLIGHT_FD", BYTES(struct vhost_user_inflight), 1, 1, PROTOCOL(INFLIGHT_SHMFD), ANY, ACK,
		viodma_handle_set_inflight},
	[33] = {"GPU_SET_SOCKET", 0, 0, 1, 1, NONE, ANY, ACK, NULL},
	[34] = {"RESET_DEVICE", 0, 0, 0, 0, PROTOCOL(RESET_DEVICE), ANY, ACK, viodma_handle_reset_device},
	[35] = {"VRING_KICK", BYTES(STATE), 0, 0, PROTOCOL(INBAND_NOTIFICATIONS), VIODMA_WHEN_FEATURES | RING, ACK,
		viodma_handle_inband_kick},
	[36] = {"GET_MAX_MEM_SLOTS", 0, 0, 0, 0, PROTOCOL(CONFIGURE_MEM_SLOTS), ANY, BODY, viodma_handle_mem_slots},
	[37] = {"ADD_MEM_REG", BYTES(struct vhost_user_single_region), 1, 1, PROTOCOL(CONFIGURE_MEM_SLOTS), ANY, ACK,
		viodma_handle_add_region},
	[38] = {"REM_MEM_REG", BYTES(struct vhost_user_single_region), 0, 1, PROTOCOL(CONFIGURE_MEM_SLOTS), ANY, ACK,
		viodma_handle_remove_region},
	[39] = {"SET_STATUS", U64, 0, 0, PROTOCOL(STATUS), ANY, ACK, viodma_handle_set_status},
	[40] = {"GET_STATUS", 0, 0, 0, 0, PROTOCOL(STATUS), ANY, BODY, viodma_handle_get_status},
	[41] = {"GET_SHARED_OBJECT", 16, 16, 0, 0, PROTOCOL(SHARED_OBJECT), ANY, BODY, NULL},
	[42] = {"SET_DEVICE_STATE_FD", 8, 8, 1, 1, PROTOCOL(DEVICE_STATE), ANY, BODY, NULL},
	[43] = {"CHECK_DEVICE_STATE", 0, 0, 0, 0, PROTOCOL(DEVICE_STATE), ANY, BODY, NULL},
	[44] = {"GET_SHMEM_CONFIG", 0, 0, 0, 0, PROTOCOL(SHMEM), ANY, BODY, NULL},
	[45] = {"message 45 (reserved)", ANY_BYTES, 0, 0, NONE, ANY, ACK, NULL},
};

const struct viodma_message_rule *viodma_message_rule(uint32_t request)
{
	if (request > VIODMA_MESSAGE_LAST || !rules[request].name)
		return NULL;
	return &rules[request];
}

const char *viodma_message_name(uint32_t request)
{
	static _Thread_local char unknown[32];
	const struct viodma_message_rule *rule = viodma_message_rule(request);

	if (rule)
		return rule->name;
	snprintf(unknown, sizeof(unknown), "message %u", request);
	return unknown;
}

bool viodma_message_wants_ack(const struct viodma_vhost_user *backend, const struct vhost_user_header *header)
{
	const struct viodma_message_rule *rule = viodma_message_rule(header->request);

	return (header->flags & VHOST_USER_NEED_REPLY) && (!rule || rule->reply == VIODMA_REPLY_ACK) &&
	       viodma_backend_negotiated(backend, VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT);
}

static bool feature_of_row_there(const struct viodma_vhost_user *backend, const struct viodma_message_rule *rule)
{
	if (rule->protocol_bit == VIODMA_NO_PROTOCOL_FEATURE)
		return true;
	if (rule->protocol_bit == VHOST_USER_PROTOCOL_F_MQ_BIT)
		return backend->offered_protocol >> VHOST_USER_PROTOCOL_F_MQ_BIT & 1;
	return viodma_backend_negotiated(backend, rule->protocol_bit);
}

/* NULL, or why the message is out of order. */
static const char *out_of_order(const struct viodma_vhost_user *backend, const struct viodma_message_rule *rule)
{
	if (!rule->handle)
		return "this back end does not offer what it belongs to";
	if (!feature_of_row_there(backend, rule))
		return "its protocol feature is not negotiated";
	if ((rule->when & VIODMA_WHEN_FEATURES) && !backend->connection.features_set)
		return "SET_FEATURES has to come first";
	if ((rule->when & VIODMA_WHEN_PROTOCOL) &&
	    !(backend->accepted & VIODMA_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES_BIT)))
		return "feature bit 30 is not accepted";
	if ((rule->when & VIODMA_WHEN_BIT_33) &&
	    (!backend->connection.features_set || backend->addressing != VIODMA_ADDRESSING_PLATFORM))
		return "bit 33 is not accepted";
	return NULL;
}

enum viodma_verdict viodma_message_check_header(struct viodma_vhost_user *backend,
						const struct vhost_user_header *header, bool *well_formed)
{
	const struct viodma_message_rule *rule = viodma_message_rule(header->request);
	const uint32_t known = VHOST_USER_VERSION_MASK | VHOST_USER_REPLY | VHOST_USER_NEED_REPLY;
	const char *why;

	*well_formed = (header->flags & VHOST_USER_VERSION_MASK) == VHOST_USER_VERSION &&
		       !(header->flags & VHOST_USER_REPLY) && !(header->flags & ~known);
	if (!VIODMA_REQUIRE(PLT_9, *well_formed))
		return viodma_connection_refuse(backend, header->request, VIODMA_PEER_MESSAGE,
						"flags 0x%x: version 1 and no reply flag are due", header->flags);
	if (!rule)
		return viodma_connection_refuse(backend, header->request, VIODMA_PEER_MESSAGE,
						"there is no request %u (0x%x)", header->request, header->request);
	why = out_of_order(backend, rule);
	/* A row without a handler has nothing to go on with, mutant or not. */
	if (!rule->handle || !VIODMA_REQUIRE(PLT_9, !why))
		return viodma_connection_refuse(backend, header->request, VIODMA_PEER_MESSAGE, "%s", why);
	if (header->size > sizeof(union viodma_payload) ||
	    !VIODMA_REQUIRE(PLT_9, header->size >= rule->least_bytes && header->size <= rule->most_bytes))
		return viodma_connection_refuse(backend, header->request, VIODMA_PEER_MESSAGE,
						"payload of %u bytes, %u to %u are due", header->size,
						rule->least_bytes, rule->most_bytes);
	return VIODMA_DONE;
}

/* The ring a message is about, or its absence. */
static enum viodma_verdict check_ring(struct viodma_vhost_user *backend, const struct viodma_message_rule *rule,
				      const struct viodma_message *message)
{
	const uint32_t request = message->header.request;
	uint64_t index = message->payload.state.index;

	if (rule->when & VIODMA_WHEN_RING_FILE) {
		const uint64_t word = message->payload.u64;
		const unsigned due = word & VHOST_USER_VRING_NOFD_MASK ? 0 : 1;

		index = word & VHOST_USER_VRING_INDEX_MASK;
		if (!VIODMA_REQUIRE(PLT_9, !(word >> 9)))
			return viodma_connection_refuse(backend, request, VIODMA_PEER_MESSAGE,
							"bits beyond 8 are set in 0x%llx", (unsigned long long)word);
		if (message->fd_count < due || !VIODMA_REQUIRE(PLT_9, message->fd_count == due))
			return viodma_connection_refuse(backend, request, VIODMA_PEER_MESSAGE,
							"%u descriptors where its flag announces %u",
							message->fd_count, due);
	}
	if (index >= backend->options.queue_count) /* = PLT-9 */
		return viodma_connection_refuse(backend, request, VIODMA_PEER_MESSAGE,
						"ring %llu of %u", (unsigned long long)index,
						backend->options.queue_count);
	if ((rule->when & VIODMA_WHEN_RING_STOPPED) &&
	    !VIODMA_REQUIRE(PLT_9, !backend->rings[index].queue.running))
		return viodma_connection_refuse(backend, request, VIODMA_PEER_MESSAGE,
						"ring %llu is running", (unsigned long long)index);
	return VIODMA_DONE;
}

enum viodma_verdict viodma_message_handle(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	const struct viodma_message_rule *rule = viodma_message_rule(message->header.request);

	if (message->fd_count < rule->least_fds || !VIODMA_REQUIRE(PLT_9, message->fd_count <= rule->most_fds))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"%u descriptors, %u to %u are due", message->fd_count,
						rule->least_fds, rule->most_fds);
	if (rule->when & (VIODMA_WHEN_RING_EXISTS | VIODMA_WHEN_RING_FILE)) {
		enum viodma_verdict verdict = check_ring(backend, rule, message);

		if (verdict != VIODMA_DONE)
			return verdict;
	}
	return rule->handle(backend, message);
}
