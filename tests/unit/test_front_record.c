/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_front_record.c - the record of what is in flight: when it is asked for and given back, and what is none.
 *
 * How it works: see tests/support/front_successor_rig.h.
 */
#include "tests/support/front_successor_rig.h"

/* ---- the record ---- */

static bool a_record_is_asked_for_before_a_ring_is_set_up_and_given_back(void)
{
	const struct told *told = &all_told[0];
	struct fixture fixture;

	CHECK(begin(&fixture));
	CHECK(position(told, VHOST_USER_SET_FEATURES) < position(told, VHOST_USER_GET_INFLIGHT_FD));
	CHECK(position(told, VHOST_USER_GET_INFLIGHT_FD) < position(told, VHOST_USER_SET_INFLIGHT_FD));
	CHECK(position(told, VHOST_USER_SET_INFLIGHT_FD) < position(told, VHOST_USER_SET_VRING_NUM));
	CHECK_EQUAL(told->record.mmap_size, PEER_RECORD_BYTES);
	CHECK_EQUAL(told->record.num_queues, 2);
	CHECK_EQUAL(told->record.queue_size, RIG_QUEUE_SIZE);
	CHECK(told->record_inode);
	/* After a reset nothing is in flight: a new one. */
	CHECK_RESULT(fixture.rig.transport->ops->set_status(fixture.rig.front, 0), VIODMA_OK);
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	CHECK_EQUAL(fixture.peers[0].seen[VHOST_USER_GET_INFLIGHT_FD], 2);
	return end(&fixture);
}
HOLDS(a_record_is_asked_for_before_a_ring_is_set_up_and_given_back)

static bool a_larger_queue_needs_a_larger_record(void)
{
	const struct viodma_transport_ops *ops;
	struct viodma_transport_queue where;
	struct fixture fixture;

	CHECK(begin_with(&fixture, PROTOCOL, RIG_WANTED, 0));
	ops = fixture.rig.transport->ops;
	where = (struct viodma_transport_queue){4, rig_bus(&fixture.rig, 0), rig_bus(&fixture.rig, 4096),
						rig_bus(&fixture.rig, 8192)};
	CHECK_RESULT(ops->queue_enable(fixture.rig.front, 0, &where), VIODMA_OK);
	where.size = 16;
	CHECK_RESULT(ops->queue_enable(fixture.rig.front, 1, &where), VIODMA_OK);
	CHECK_EQUAL(all_told[0].record.queue_size, 16);
	CHECK_EQUAL(fixture.peers[0].seen[VHOST_USER_GET_VRING_BASE], 1);
	CHECK_EQUAL(fixture.peers[0].seen[VHOST_USER_SET_VRING_ADDR], 3); /* the first is set up again */
	CHECK_RESULT(ops->set_status(fixture.rig.front, 15), VIODMA_OK);
	CHECK_RESULT(ops->queue_reset(fixture.rig.front, 1), VIODMA_OK);
	where.size = 32;
	CHECK_RESULT(ops->queue_enable(fixture.rig.front, 1, &where), VIODMA_E_LIMIT); /* another one runs */
	return end(&fixture);
}
HOLDS(a_larger_queue_needs_a_larger_record)

static bool give_no_descriptor(struct front_peer *peer, const struct front_peer_message *message)
{
	return message->header.request == VHOST_USER_GET_INFLIGHT_FD &&
	       front_peer_reply(peer, VHOST_USER_GET_INFLIGHT_FD, &message->payload, message->header.size);
}

static bool give_two(struct front_peer *peer, const struct front_peer_message *message)
{
	const struct vhost_user_header header = {VHOST_USER_GET_INFLIGHT_FD, VHOST_USER_VERSION | VHOST_USER_REPLY,
						 sizeof(struct vhost_user_inflight)};
	struct vhost_user_inflight inflight = message->payload.inflight;
	const int fds[2] = {peer->fd, peer->fd};

	inflight.mmap_size = 1;
	return message->header.request == VHOST_USER_GET_INFLIGHT_FD &&
	       front_peer_reply_raw(peer, &header, &inflight, sizeof(inflight), fds, 2);
}

static struct vhost_user_inflight odd;

static bool give_odd(struct front_peer *peer, const struct front_peer_message *message)
{
	const struct vhost_user_header header = {VHOST_USER_GET_INFLIGHT_FD, VHOST_USER_VERSION | VHOST_USER_REPLY, sizeof(odd)};

	return message->header.request == VHOST_USER_GET_INFLIGHT_FD &&
	       front_peer_reply_raw(peer, &header, &odd, sizeof(odd), &peer->fd, 1);
}

static bool refuse_record(struct front_peer *peer, const struct front_peer_message *message)
{
	return message->header.request == VHOST_USER_SET_INFLIGHT_FD && front_peer_ack(peer, message, 1);
}

static bool starting_ends_with(bool (*script)(struct front_peer *peer, const struct front_peer_message *message),
			       enum viodma_result result)
{
	struct fixture fixture;

	CHECK(begin_with(&fixture, PROTOCOL, RIG_WANTED, 0));
	fixture.peers[0].hook = script;
	CHECK_RESULT(rig_start(&fixture.rig), result);
	return end(&fixture);
}

static bool a_record_is_what_was_asked_for_with_one_descriptor(void)
{
	CHECK(starting_ends_with(give_no_descriptor, VIODMA_PEER_MESSAGE));
	CHECK(starting_ends_with(give_two, VIODMA_PEER_MESSAGE));
	odd = (struct vhost_user_inflight){4096, 0, 2, RIG_QUEUE_SIZE, {0}};
	CHECK(starting_ends_with(give_odd, VIODMA_OK));
	odd.mmap_size = 0;
	CHECK(starting_ends_with(give_odd, VIODMA_PEER_MESSAGE));
	odd = (struct vhost_user_inflight){4096, 0, 1, RIG_QUEUE_SIZE, {0}};
	CHECK(starting_ends_with(give_odd, VIODMA_PEER_MESSAGE));
	odd = (struct vhost_user_inflight){4096, 0, 2, RIG_QUEUE_SIZE - 1, {0}};
	CHECK(starting_ends_with(give_odd, VIODMA_PEER_MESSAGE));
	CHECK(starting_ends_with(refuse_record, VIODMA_E_IO));
	return true;
}
BEHAVIOUR(a_record_is_what_was_asked_for_with_one_descriptor, "PLT-9")

/* How many bytes of the record from `at` on are not 0xff. */
static unsigned cleared(int fd, unsigned at)
{
	unsigned char bytes[PEER_RECORD_BYTES];
	unsigned count = 0;

	if (pread(fd, bytes, sizeof(bytes), 0) != sizeof(bytes))
		return 0;
	while (at + count < sizeof(bytes) && !bytes[at + count])
		count++;
	return count;
}

static bool clears(uint64_t features, unsigned index, unsigned part)
{
	const struct viodma_transport_ops *ops;
	unsigned char ones[PEER_RECORD_BYTES];
	struct fixture fixture;

	memset(ones, 0xff, sizeof(ones));
	CHECK(begin_with(&fixture, PROTOCOL, RIG_WANTED | features, 0));
	ops = fixture.rig.transport->ops;
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	if (index) {
		const struct viodma_transport_queue where = {RIG_QUEUE_SIZE, rig_bus(&fixture.rig, 2048),
							     rig_bus(&fixture.rig, 6144), rig_bus(&fixture.rig, 10240)};

		CHECK_RESULT(ops->queue_enable(fixture.rig.front, index, &where), VIODMA_OK);
	}
	CHECK(pwrite(all_told[0].record_fd, ones, sizeof(ones), 0) == sizeof(ones));
	CHECK_RESULT(ops->queue_reset(fixture.rig.front, index), VIODMA_OK);
	CHECK_EQUAL(cleared(all_told[0].record_fd, index * part), part);
	CHECK_EQUAL(cleared(all_told[0].record_fd, (1 - index) * part), 0);
	return end(&fixture);
}

static bool the_reset_of_a_queue_clears_its_part_of_the_record(void)
{
	/* 16 + 4 * 16 bytes, and 32 + 4 * 32, each a multiple of 64 */
	return clears(0, 0, 128) && clears(0, 1, 128) && clears(VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT), 0, 192) &&
	       clears(VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT), 1, 192);
}
HOLDS(the_reset_of_a_queue_clears_its_part_of_the_record)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_record_is_asked_for_before_a_ring_is_set_up_and_given_back),
		TEST(a_larger_queue_needs_a_larger_record),
		WITH_MUTANT(a_record_is_what_was_asked_for_with_one_descriptor),
		TEST(the_reset_of_a_queue_clears_its_part_of_the_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
