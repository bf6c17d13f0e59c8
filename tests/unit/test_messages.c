/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_messages.c - the table of vhost-user messages says what the protocol's document says, and is kept to.
 *
 * How it works: the rows are compared with the structures of viodma/wire/vhost_user.h and with a list, made by hand
 * from the document, of which message belongs to which protocol feature. What the table forbids is then tried on a
 * back end that is not connected: a header is refused or not, and the line it logs is kept.
 */
#include "hosted/vhost_user/messages.h"

#include "tests/support/mutant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char logged[700];

static void keep_line(void *context, const char *line)
{
	(void)context;
	snprintf(logged, sizeof(logged), "%s", line);
}

/* A back end with one ring, on which nothing has happened. */
struct fixture {
	struct viodma_vhost_user backend;
	struct viodma_vring ring;
};

static struct viodma_vhost_user *fresh(struct fixture *fixture)
{
	memset(fixture, 0, sizeof(*fixture));
	fixture->backend.options.name = "test";
	fixture->backend.options.log = keep_line;
	fixture->backend.options.queue_count = 1;
	fixture->backend.rings = &fixture->ring;
	fixture->backend.connection.fd = fixture->backend.channel.fd = -1;
	fixture->backend.offered_protocol = fixture->backend.connection.protocol_features = ~UINT64_C(0);
	fixture->backend.connection.features_set = true;
	fixture->backend.accepted = ~UINT64_C(0);
	fixture->backend.addressing = VIODMA_ADDRESSING_PLATFORM;
	logged[0] = '\0';
	viodma_mutant_set(NULL);
	return &fixture->backend;
}

static bool header_passes(struct viodma_vhost_user *backend, uint32_t request, uint32_t flags, uint32_t size)
{
	const struct vhost_user_header header = {request, flags, size};
	bool well_formed;

	return viodma_message_check_header(backend, &header, &well_formed) == VIODMA_DONE;
}

static void every_request_has_a_row_and_no_other_number_has(void **state)
{
	(void)state;
	assert_null(viodma_message_rule(0));
	for (uint32_t request = 1; request <= VIODMA_MESSAGE_LAST; request++) {
		const struct viodma_message_rule *rule = viodma_message_rule(request);

		assert_non_null(rule);
		assert_true(rule->least_bytes <= rule->most_bytes);
		assert_true(rule->least_fds <= rule->most_fds);
	}
	assert_null(viodma_message_rule(VIODMA_MESSAGE_LAST + 1));
	assert_null(viodma_message_rule(256 + VHOST_USER_GET_FEATURES));
	assert_null(viodma_message_rule(UINT32_MAX));
}

static void names_are_those_of_the_document_and_unknown_ones_are_numbers(void **state)
{
	(void)state;
	assert_string_equal(viodma_message_name(VHOST_USER_SET_MEM_TABLE), "SET_MEM_TABLE");
	assert_string_equal(viodma_message_name(VHOST_USER_IOTLB_MSG), "IOTLB_MSG");
	assert_string_equal(viodma_message_name(VHOST_USER_GET_STATUS), "GET_STATUS");
	assert_string_equal(viodma_message_name(VHOST_USER_GET_SHMEM_CONFIG), "GET_SHMEM_CONFIG");
	assert_string_equal(viodma_message_name(4711), "message 4711");
	for (uint32_t one = 1; one <= VIODMA_MESSAGE_LAST; one++)
		for (uint32_t other = 1; other < one; other++)
			assert_string_not_equal(viodma_message_name(one), viodma_message_name(other));
}

static void structures_have_the_sizes_the_document_gives(void **state)
{
	(void)state;
	assert_int_equal(sizeof(struct vhost_user_header), 12);
	assert_int_equal(sizeof(struct vhost_user_vring_state), 8);
	assert_int_equal(sizeof(struct vhost_user_vring_addr), 40);
	assert_int_equal(sizeof(struct vhost_user_region), 32);
	assert_int_equal(sizeof(struct vhost_user_memory), 8 + 8 * 32);
	assert_int_equal(sizeof(struct vhost_user_single_region), 40);
	assert_int_equal(sizeof(struct vhost_user_iotlb), 32);
	assert_int_equal(offsetof(struct vhost_user_iotlb, permissions), 24);
	assert_int_equal(offsetof(struct vhost_user_iotlb, type), 25);
	assert_int_equal(offsetof(struct vhost_user_config, payload), VHOST_USER_CONFIG_HEADER_BYTES);
	assert_int_equal(sizeof(struct vhost_user_config), 12 + 256);
	assert_int_equal(sizeof(struct vhost_user_inflight), 24);
}

static void assert_row(uint32_t request, size_t least, size_t most, unsigned least_fds, unsigned most_fds, bool body)
{
	const struct viodma_message_rule *rule = viodma_message_rule(request);

	assert_int_equal(rule->least_bytes, least);
	assert_int_equal(rule->most_bytes, most);
	assert_int_equal(rule->least_fds, least_fds);
	assert_int_equal(rule->most_fds, most_fds);
	assert_int_equal(rule->reply, body ? VIODMA_REPLY_BODY : VIODMA_REPLY_ACK);
}

static void rows_agree_with_the_structures(void **state)
{
	const size_t u64 = sizeof(uint64_t), ring = sizeof(struct vhost_user_vring_state);
	const size_t addr = sizeof(struct vhost_user_vring_addr), iotlb = sizeof(struct vhost_user_iotlb);
	const size_t config = sizeof(struct vhost_user_config), single = sizeof(struct vhost_user_single_region);

	(void)state;
	assert_row(VHOST_USER_GET_FEATURES, 0, 0, 0, 0, true);
	assert_row(VHOST_USER_SET_FEATURES, u64, u64, 0, 0, false);
	assert_row(VHOST_USER_SET_OWNER, 0, 0, 0, 0, false);
	assert_row(VHOST_USER_RESET_OWNER, 0, 0, 0, 0, false);
	assert_row(VHOST_USER_SET_MEM_TABLE, 8, sizeof(struct vhost_user_memory), 0, 8, false);
	assert_row(VHOST_USER_SET_VRING_NUM, ring, ring, 0, 0, false);
	assert_row(VHOST_USER_SET_VRING_ADDR, addr, addr, 0, 0, false);
	assert_row(VHOST_USER_SET_VRING_BASE, ring, ring, 0, 0, false);
	assert_row(VHOST_USER_GET_VRING_BASE, ring, ring, 0, 0, true);
	assert_row(VHOST_USER_SET_VRING_KICK, u64, u64, 0, 1, false);
	assert_row(VHOST_USER_SET_VRING_CALL, u64, u64, 0, 1, false);
	assert_row(VHOST_USER_SET_VRING_ERR, u64, u64, 0, 1, false);
	assert_row(VHOST_USER_GET_PROTOCOL_FEATURES, 0, 0, 0, 0, true);
	assert_row(VHOST_USER_SET_PROTOCOL_FEATURES, u64, u64, 0, 0, false);
	assert_row(VHOST_USER_GET_QUEUE_NUM, 0, 0, 0, 0, true);
	assert_row(VHOST_USER_SET_VRING_ENABLE, ring, ring, 0, 0, false);
	assert_row(VHOST_USER_SET_BACKEND_REQ_FD, 0, 0, 1, 1, false);
	assert_row(VHOST_USER_IOTLB_MSG, iotlb, iotlb, 0, 0, false);
	assert_row(VHOST_USER_GET_CONFIG, VHOST_USER_CONFIG_HEADER_BYTES, config, 0, 0, true);
	assert_row(VHOST_USER_SET_CONFIG, VHOST_USER_CONFIG_HEADER_BYTES, config, 0, 0, false);
	assert_row(VHOST_USER_GET_MAX_MEM_SLOTS, 0, 0, 0, 0, true);
	assert_row(VHOST_USER_ADD_MEM_REG, single, single, 1, 1, false);
	assert_row(VHOST_USER_REM_MEM_REG, single, single, 0, 1, false);
	assert_row(VHOST_USER_SET_STATUS, u64, u64, 0, 0, false);
	assert_row(VHOST_USER_GET_STATUS, 0, 0, 0, 0, true);
}

static void no_handled_message_is_larger_than_there_is_room_for(void **state)
{
	(void)state;
	for (uint32_t request = 1; request <= VIODMA_MESSAGE_LAST; request++)
		if (viodma_message_rule(request)->handle)
			assert_true(viodma_message_rule(request)->most_bytes <= sizeof(union viodma_payload));
}

/* By the document; MQ, REPLY_ACK, BACKEND_REQ, CONFIG, CONFIGURE_MEM_SLOTS and STATUS are what is offered. */
static const struct {
	uint32_t request;
	unsigned protocol_bit;
	bool offered;
} extensions[] = {
	{VHOST_USER_SET_LOG_BASE, 1, false},
	{VHOST_USER_SET_LOG_FD, 1, false},
	{VHOST_USER_GET_QUEUE_NUM, 0, true},
	{VHOST_USER_SEND_RARP, 2, false},
	{VHOST_USER_NET_SET_MTU, 4, false},
	{VHOST_USER_SET_BACKEND_REQ_FD, 5, true},
	{VHOST_USER_SET_VRING_ENDIAN, 6, false},
	{VHOST_USER_GET_CONFIG, 9, true},
	{VHOST_USER_SET_CONFIG, 9, true},
	{VHOST_USER_CREATE_CRYPTO_SESSION, 7, false},
	{VHOST_USER_CLOSE_CRYPTO_SESSION, 7, false},
	{VHOST_USER_POSTCOPY_ADVISE, 8, false},
	{VHOST_USER_POSTCOPY_LISTEN, 8, false},
	{VHOST_USER_POSTCOPY_END, 8, false},
	{VHOST_USER_GET_INFLIGHT_FD, 12, true},
	{VHOST_USER_SET_INFLIGHT_FD, 12, true},
	{VHOST_USER_RESET_DEVICE, 13, true},
	{VHOST_USER_VRING_KICK, 14, true},
	{VHOST_USER_GET_MAX_MEM_SLOTS, 15, true},
	{VHOST_USER_ADD_MEM_REG, 15, true},
	{VHOST_USER_REM_MEM_REG, 15, true},
	{VHOST_USER_SET_STATUS, 16, true},
	{VHOST_USER_GET_STATUS, 16, true},
	{VHOST_USER_GET_SHARED_OBJECT, 18, false},
	{VHOST_USER_SET_DEVICE_STATE_FD, 19, false},
	{VHOST_USER_CHECK_DEVICE_STATE, 19, false},
	{VHOST_USER_GET_SHMEM_CONFIG, 20, false},
};

static void a_message_is_handled_only_if_its_protocol_feature_is_offered(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
		const struct viodma_message_rule *rule = viodma_message_rule(extensions[i].request);

		assert_int_equal(rule->protocol_bit, extensions[i].protocol_bit);
		assert_int_equal(rule->handle != NULL, extensions[i].offered);
	}
	assert_null(viodma_message_rule(VHOST_USER_GPU_SET_SOCKET)->handle);
}

static void an_extension_is_refused_unless_it_was_negotiated(void **state)
{
	struct fixture fixture;

	(void)state;
	for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
		const uint32_t request = extensions[i].request;
		const uint32_t size = viodma_message_rule(request)->least_bytes;
		struct viodma_vhost_user *backend = fresh(&fixture);

		assert_int_equal(header_passes(backend, request, VHOST_USER_VERSION, size), extensions[i].offered);
		backend->connection.protocol_features &= ~(UINT64_C(1) << extensions[i].protocol_bit);
		backend->offered_protocol &= ~(UINT64_C(1) << extensions[i].protocol_bit);
		assert_false(header_passes(backend, request, VHOST_USER_VERSION, size));
		assert_non_null(strstr(logged, "PLT-9"));
		assert_non_null(strstr(logged, viodma_message_name(request)));
	}
}

static void a_payload_of_another_size_is_refused_at_its_header(void **state)
{
	struct fixture fixture;

	(void)state;
	for (uint32_t request = 1; request <= VIODMA_MESSAGE_LAST; request++) {
		const struct viodma_message_rule *rule = viodma_message_rule(request);
		struct viodma_vhost_user *backend = fresh(&fixture);

		if (!rule->handle)
			continue;
		assert_true(header_passes(backend, request, VHOST_USER_VERSION, rule->least_bytes));
		assert_true(header_passes(backend, request, VHOST_USER_VERSION, rule->most_bytes));
		assert_false(header_passes(backend, request, VHOST_USER_VERSION, rule->most_bytes + 1u));
		assert_false(header_passes(backend, request, VHOST_USER_VERSION, UINT32_MAX));
		if (rule->least_bytes)
			assert_false(header_passes(backend, request, VHOST_USER_VERSION, rule->least_bytes - 1u));
	}
}

static void a_payload_larger_than_any_is_refused_even_with_the_rule_removed(void **state)
{
	struct fixture fixture;
	struct viodma_vhost_user *backend = fresh(&fixture);

	(void)state;
	viodma_mutant_set("PLT-9");
	assert_true(header_passes(backend, VHOST_USER_SET_OWNER, VHOST_USER_VERSION, 8));
	assert_false(
		header_passes(backend, VHOST_USER_SET_OWNER, VHOST_USER_VERSION, sizeof(union viodma_payload) + 1));
	viodma_mutant_set(NULL);
}

static void only_version_1_requests_without_unknown_flags_are_taken(void **state)
{
	struct fixture fixture;
	struct viodma_vhost_user *backend = fresh(&fixture);

	(void)state;
	assert_true(header_passes(backend, VHOST_USER_SET_OWNER, VHOST_USER_VERSION, 0));
	assert_true(header_passes(backend, VHOST_USER_SET_OWNER, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, 0));
	assert_false(header_passes(backend, VHOST_USER_SET_OWNER, 0, 0));
	assert_false(header_passes(backend, VHOST_USER_SET_OWNER, 2, 0));
	assert_false(header_passes(backend, VHOST_USER_SET_OWNER, 3, 0));
	assert_false(header_passes(backend, VHOST_USER_SET_OWNER, VHOST_USER_VERSION | VHOST_USER_REPLY, 0));
	assert_false(header_passes(backend, VHOST_USER_SET_OWNER, VHOST_USER_VERSION | 16, 0));
}

static void iotlb_messages_want_bit_33_accepted(void **state)
{
	struct fixture fixture;
	struct viodma_vhost_user *backend = fresh(&fixture);
	const uint32_t size = sizeof(struct vhost_user_iotlb);

	(void)state;
	assert_true(header_passes(backend, VHOST_USER_IOTLB_MSG, VHOST_USER_VERSION, size));
	backend->connection.features_set = false;
	assert_false(header_passes(backend, VHOST_USER_IOTLB_MSG, VHOST_USER_VERSION, size));
	backend = fresh(&fixture);
	backend->addressing = VIODMA_ADDRESSING_PHYSICAL;
	assert_false(header_passes(backend, VHOST_USER_IOTLB_MSG, VHOST_USER_VERSION, size));
}

static void a_ring_gets_its_kick_after_features_and_its_enabling_with_bit_30(void **state)
{
	struct fixture fixture;
	struct viodma_vhost_user *backend = fresh(&fixture);

	(void)state;
	backend->connection.features_set = false;
	assert_false(header_passes(backend, VHOST_USER_SET_VRING_KICK, VHOST_USER_VERSION, 8));
	assert_true(header_passes(backend, VHOST_USER_SET_VRING_CALL, VHOST_USER_VERSION, 8));
	backend = fresh(&fixture);
	backend->accepted &= ~(UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES_BIT);
	assert_true(header_passes(backend, VHOST_USER_SET_VRING_KICK, VHOST_USER_VERSION, 8));
	assert_false(header_passes(backend, VHOST_USER_SET_VRING_ENABLE, VHOST_USER_VERSION, 8));
}

static enum viodma_verdict handle(struct viodma_vhost_user *backend, uint32_t request, uint64_t word, unsigned fds)
{
	struct viodma_message message;

	memset(&message, 0, sizeof(message));
	message.header = (struct vhost_user_header){request, VHOST_USER_VERSION, 8};
	message.payload.u64 = word;
	message.fd_count = fds;
	memset(message.fds, 0xff, sizeof(message.fds));
	return viodma_message_handle(backend, &message);
}

static void a_running_ring_keeps_its_size_base_and_addresses(void **state)
{
	static const uint32_t kept[] = {VHOST_USER_SET_VRING_NUM, VHOST_USER_SET_VRING_BASE, VHOST_USER_SET_VRING_ADDR};
	struct fixture fixture;
	struct viodma_vhost_user *backend = fresh(&fixture);

	(void)state;
	backend->rings[0].queue.running = true;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		assert_int_equal(handle(backend, kept[i], 0, 0), VIODMA_FATAL);
		assert_non_null(strstr(logged, "running"));
	}
}

static void a_ring_beyond_the_last_is_refused_by_every_message_that_names_one(void **state)
{
	struct fixture fixture;

	(void)state;
	for (uint32_t request = 1; request <= VIODMA_MESSAGE_LAST; request++) {
		const struct viodma_message_rule *rule = viodma_message_rule(request);
		struct viodma_vhost_user *backend = fresh(&fixture);

		if (!rule->handle || !(rule->when & (VIODMA_WHEN_RING_EXISTS | VIODMA_WHEN_RING_FILE)))
			continue;
		assert_int_equal(handle(backend, request, 1, rule->when & VIODMA_WHEN_RING_FILE ? 1 : 0), VIODMA_FATAL);
		assert_non_null(strstr(logged, "ring 1 of 1"));
	}
}

static void the_number_of_descriptors_has_to_fit_the_row_and_the_flag(void **state)
{
	struct fixture fixture;
	struct viodma_vhost_user *backend = fresh(&fixture);

	(void)state;
	assert_int_equal(handle(backend, VHOST_USER_SET_FEATURES, 0, 1), VIODMA_FATAL);
	assert_int_equal(handle(backend, VHOST_USER_SET_BACKEND_REQ_FD, 0, 0), VIODMA_FATAL);
	assert_int_equal(handle(backend, VHOST_USER_SET_BACKEND_REQ_FD, 0, 2), VIODMA_FATAL);
	assert_int_equal(handle(backend, VHOST_USER_SET_VRING_CALL, 0, 0), VIODMA_FATAL);
	assert_int_equal(handle(backend, VHOST_USER_SET_VRING_CALL, VHOST_USER_VRING_NOFD_MASK, 1), VIODMA_FATAL);
	assert_int_equal(handle(backend, VHOST_USER_SET_VRING_CALL, 0x200, 1), VIODMA_FATAL);
	assert_int_equal(handle(backend, VHOST_USER_SET_VRING_CALL, VHOST_USER_VRING_NOFD_MASK, 0), VIODMA_DONE);
}

static void an_acknowledgement_is_due_only_if_asked_for_negotiated_and_not_in_place_of_a_body(void **state)
{
	struct fixture fixture;
	struct viodma_vhost_user *backend = fresh(&fixture);
	const uint32_t asks = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY;

	(void)state;
	assert_true(viodma_message_wants_ack(backend, &(struct vhost_user_header){VHOST_USER_SET_OWNER, asks, 0}));
	assert_true(viodma_message_wants_ack(backend, &(struct vhost_user_header){4711, asks, 0}));
	assert_false(viodma_message_wants_ack(backend, &(struct vhost_user_header){VHOST_USER_GET_FEATURES, asks, 0}));
	assert_false(viodma_message_wants_ack(
		backend, &(struct vhost_user_header){VHOST_USER_SET_OWNER, VHOST_USER_VERSION, 0}));
	backend->connection.protocol_features = 0;
	assert_false(viodma_message_wants_ack(backend, &(struct vhost_user_header){VHOST_USER_SET_OWNER, asks, 0}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_request_has_a_row_and_no_other_number_has),
		cmocka_unit_test(names_are_those_of_the_document_and_unknown_ones_are_numbers),
		cmocka_unit_test(structures_have_the_sizes_the_document_gives),
		cmocka_unit_test(rows_agree_with_the_structures),
		cmocka_unit_test(no_handled_message_is_larger_than_there_is_room_for),
		cmocka_unit_test(a_message_is_handled_only_if_its_protocol_feature_is_offered),
		cmocka_unit_test(an_extension_is_refused_unless_it_was_negotiated),
		cmocka_unit_test(a_payload_of_another_size_is_refused_at_its_header),
		cmocka_unit_test(a_payload_larger_than_any_is_refused_even_with_the_rule_removed),
		cmocka_unit_test(only_version_1_requests_without_unknown_flags_are_taken),
		cmocka_unit_test(iotlb_messages_want_bit_33_accepted),
		cmocka_unit_test(a_ring_gets_its_kick_after_features_and_its_enabling_with_bit_30),
		cmocka_unit_test(a_running_ring_keeps_its_size_base_and_addresses),
		cmocka_unit_test(a_ring_beyond_the_last_is_refused_by_every_message_that_names_one),
		cmocka_unit_test(the_number_of_descriptors_has_to_fit_the_row_and_the_flag),
		cmocka_unit_test(an_acknowledgement_is_due_only_if_asked_for_negotiated_and_not_in_place_of_a_body),
	};

	return cmocka_run_group_tests_name("messages", tests, NULL, NULL);
}
