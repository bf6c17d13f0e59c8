/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_front_slow.c - a back end that wastes time, or goes back on its word, is noticed for what it is: one that reads
 * slowly what it asks for, one that answers no more, one that accepts a memory table and then refuses what it says.
 *
 * How it works: a scripted back end in a thread (tests/support/front_peer.h); questions are put on its channel by the test.
 */
#include "hosted/front/front.h"

#include "tests/support/check.h"
#include "tests/support/front_peer.h"
#include "tests/support/front_rig.h"

#include <sys/socket.h>
#include <time.h>

#define TIMEOUT_MS 300u
#define MOMENT_MS 100u /* between two messages that a slow one reads */

static struct front_rig rig;
static struct front_peer peer;
/* What the back end does about IOTLB messages. */
static enum { SOUND, SLOW, SILENT, REFUSES } _Atomic mood;

static bool by_mood(struct front_peer *back_end, const struct front_peer_message *message)
{
	const struct timespec moment = {0, MOMENT_MS * 1000000};

	if (message->header.request != VHOST_USER_IOTLB_MSG)
		return false;
	if (mood == SLOW)
		nanosleep(&moment, NULL);
	if (mood == REFUSES)
		return front_peer_ack(back_end, message, 1);
	return mood == SILENT;
}

static bool begin(uint64_t protocol_features)
{
	struct viodma_front_options options = {.timeout_ms = TIMEOUT_MS};
	bool platform = false;
	int pair[2];

	memset(&rig, 0, sizeof(rig));
	mood = SOUND;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	front_peer_init(&peer, pair[1]);
	peer.hook = by_mood;
	peer.protocol_features = protocol_features;
	CHECK(front_peer_start(&peer));
	options.socket_fd = pair[0];
	CHECK_RESULT(viodma_front_memory_new(RIG_BYTES, (viodma_phys){RIG_PHYS}, &rig.memory), VIODMA_OK);
	CHECK_RESULT(viodma_front_connect(&options, &rig.front), VIODMA_OK);
	rig.transport = viodma_front_transport(rig.front);
	CHECK_RESULT(viodma_front_share(rig.front, &rig.memory), VIODMA_OK);
	CHECK_RESULT(rig_negotiate(&rig, RIG_WANTED, &platform), VIODMA_OK);
	CHECK(platform);
	return true;
}

static bool end(void)
{
	viodma_front_free(rig.front);
	viodma_front_memory_free(&rig.memory);
	front_peer_join(&peer);
	return true;
}

static enum viodma_result grant(uint32_t offset, bool now)
{
	return viodma_front_grant(rig.front, rig_bus(&rig, offset), (viodma_phys){RIG_PHYS + offset}, RIG_PAGE,
				  VIODMA_READ, now);
}

static bool a_back_end_that_reads_slowly_does_not_hold_the_front_end(void)
{
	const uint64_t ms = 1000000;
	const int little = 1;
	enum viodma_result result;
	uint64_t began_ns;

	CHECK(begin(PEER_PROTOCOL_FEATURES));
	CHECK_RESULT(rig_start(&rig), VIODMA_OK);
	CHECK_RESULT(grant(RIG_DATA, false), VIODMA_OK);
	CHECK(setsockopt(rig.front->fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)) == 0);
	mood = SLOW;
	for (unsigned i = 0; i < VIODMA_FRONT_QUESTIONS_PER_TURN; i++)
		CHECK(front_peer_ask(&peer, rig_bus(&rig, RIG_DATA).v, VIODMA_READ, false));
	began_ns = viodma_loop_now_ns();
	/* Its time has come; or an answer did not get away within the time for one. */
	result = viodma_front_wait(rig.front, began_ns + 10 * ms);
	CHECK(result == VIODMA_E_TIMEOUT || result == VIODMA_PEER_GONE);
	CHECK(viodma_loop_now_ns() - began_ns < 3 * TIMEOUT_MS * ms);
	return end();
}
HOLDS(a_back_end_that_reads_slowly_does_not_hold_the_front_end)

/* Else a caller would wait again, and again, and each time at once be told that its time has come. */
static bool waiting_for_a_back_end_that_answers_no_more_is_no_matter_of_the_deadline(void)
{
	CHECK(begin(PEER_PROTOCOL_FEATURES));
	CHECK_RESULT(viodma_front_wait(rig.front, 0), VIODMA_E_TIMEOUT);
	mood = SILENT;
	CHECK_RESULT(grant(RIG_DATA, true), VIODMA_E_TIMEOUT);
	CHECK_RESULT(viodma_front_wait(rig.front, 0), VIODMA_PEER_GONE);
	CHECK_RESULT(viodma_front_wait(rig.front, UINT64_MAX), VIODMA_PEER_GONE);
	return end();
}
HOLDS(waiting_for_a_back_end_that_answers_no_more_is_no_matter_of_the_deadline)

/* It has the memory, whatever it says then. */
static bool a_table_that_was_taken_and_whose_grants_are_refused_ends_the_connection(void)
{
	struct viodma_front_memory more;
	uint8_t status;

	CHECK(begin(PEER_PROTOCOL_FEATURES & ~PEER_PROTOCOL_BIT(CONFIGURE_MEM_SLOTS)));
	CHECK_RESULT(grant(RIG_DATA, true), VIODMA_OK);
	CHECK_RESULT(viodma_front_memory_new(RIG_PAGE, (viodma_phys){0}, &more), VIODMA_OK);
	mood = REFUSES;
	CHECK_RESULT(viodma_front_share(rig.front, &more), VIODMA_E_IO);
	CHECK_RESULT(rig.transport->ops->get_status(rig.transport->context, &status), VIODMA_E_IO);
	viodma_front_memory_free(&more);
	return end();
}
HOLDS(a_table_that_was_taken_and_whose_grants_are_refused_ends_the_connection)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_back_end_that_reads_slowly_does_not_hold_the_front_end),
		TEST(waiting_for_a_back_end_that_answers_no_more_is_no_matter_of_the_deadline),
		TEST(a_table_that_was_taken_and_whose_grants_are_refused_ends_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
