/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_reconnect.c - how it works: a successor is told all that its predecessor was told, in the order of the first time:
 *
 *	features, protocol features   it must offer what was agreed on, and at least as many queues and memory slots
 *	owner, the channel
 *	status up to FEATURES_OK      with the features the driver accepted
 *	configuration                 what the driver wrote into it
 *	memory                        the same regions, at the same user addresses
 *	grants in advance             the rest it asks for
 *	the record                    of what was in flight: so nothing is lost, or done twice that was given back
 *	rings, DRIVER_OK, kicks       where they go on: front_queues.c
 *
 * The predecessor is gone for good, as far as memory goes: whoever starts a successor answers for that. So what waited for
 * its acknowledgement of an invalidation waits no longer.
 *
 * A successor that goes while it is told is one more predecessor, until the deadline.
 */
#include "hosted/front/front.h"

#include <viodma/loop.h>

#include <time.h>

#define AGAIN_NS 2000000
#define NS_PER_MS 1000000u

static void let_go_of_predecessor(struct viodma_front *front)
{
	viodma_descriptor_close(&front->fd);
	viodma_descriptor_close(&front->channel.fd);
	front->channel.in_at = front->channel.in_bytes = 0;
	front->channel.update_bytes = front->channel.reply_bytes = 0;
	viodma_front_grants_forgotten(front);
	front->broken = VIODMA_OK;
}

static enum viodma_result lacks(struct viodma_front *front, const char *what, uint64_t wanted, uint64_t has)
{
	return viodma_front_break(front, VIODMA_PEER_FEATURES, "the successor has %s 0x%llx, agreed on were 0x%llx", what,
				  (unsigned long long)has, (unsigned long long)wanted);
}

static enum viodma_result same_protocol(struct viodma_front *front)
{
	const uint64_t protocol = front->protocol_features;
	uint64_t wanted = UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES_BIT, has;
	enum viodma_result result = viodma_front_query(front, VHOST_USER_GET_FEATURES, &has);

	if (front->status & VIODMA_STATUS_FEATURES_OK || front->started)
		wanted |= front->accepted;
	if (result == VIODMA_OK && wanted & ~has)
		return lacks(front, "features", wanted, has);
	if (result == VIODMA_OK)
		result = viodma_front_query(front, VHOST_USER_GET_PROTOCOL_FEATURES, &has);
	if (result == VIODMA_OK && protocol & ~has)
		return lacks(front, "protocol features", protocol, has);
	if (result == VIODMA_OK)
		result = viodma_front_post(front, VHOST_USER_SET_PROTOCOL_FEATURES, false, &protocol, sizeof(protocol), NULL, 0);
	return result;
}

static enum viodma_result same_numbers(struct viodma_front *front)
{
	uint64_t queues = front->queue_count, slots = front->region_count;
	enum viodma_result result = VIODMA_OK;

	if (viodma_front_has(front, VHOST_USER_PROTOCOL_F_MQ_BIT))
		result = viodma_front_query(front, VHOST_USER_GET_QUEUE_NUM, &queues);
	if (result == VIODMA_OK && queues < front->queue_count)
		return lacks(front, "a number of queues of", front->queue_count, queues);
	if (result == VIODMA_OK && viodma_front_has(front, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS_BIT))
		result = viodma_front_query(front, VHOST_USER_GET_MAX_MEM_SLOTS, &slots);
	if (result == VIODMA_OK && slots < front->region_count)
		return lacks(front, "memory slots,", front->region_count, slots);
	return result;
}

static enum viodma_result tell_all(struct viodma_front *front)
{
	enum viodma_result result = viodma_front_watch(front, front->fd, VIODMA_FRONT_EVENT_MAIN, 0);

	if (result == VIODMA_OK)
		result = same_protocol(front);
	if (result == VIODMA_OK)
		result = viodma_front_command(front, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0);
	if (result == VIODMA_OK)
		result = same_numbers(front);
	if (result == VIODMA_OK && viodma_front_has(front, VHOST_USER_PROTOCOL_F_BACKEND_REQ_BIT))
		result = viodma_front_channel_open(front);
	if (result == VIODMA_OK)
		result = viodma_front_features_again(front);
	if (result == VIODMA_OK)
		result = viodma_front_config_again(front);
	if (result == VIODMA_OK)
		result = viodma_front_memory_again(front);
	if (result == VIODMA_OK && front->platform)
		result = viodma_front_grants_begin(front);
	if (result == VIODMA_OK)
		result = viodma_front_record_set(front);
	if (result == VIODMA_OK)
		result = viodma_front_queues_again(front);
	if (result == VIODMA_OK)
		result = viodma_front_status_again(front);
	if (result == VIODMA_OK)
		viodma_front_queues_kick(front);
	return front->broken != VIODMA_OK ? front->broken : result;
}

static enum viodma_result connect_once(struct viodma_front *front, uint64_t deadline_ns)
{
	enum viodma_result result;

	let_go_of_predecessor(front);
	result = viodma_front_connect_path(front, deadline_ns, true);
	if (result != VIODMA_OK) {
		viodma_descriptor_close(&front->fd);
		front->broken = VIODMA_PEER_GONE;
		return result;
	}
	result = tell_all(front);
	if (result != VIODMA_OK) /* unless it has broken already */
		(void)viodma_front_break(front, VIODMA_PEER_GONE, "the successor does not take what it is told");
	return result;
}

enum viodma_result viodma_front_reconnect(struct viodma_front *front, uint64_t deadline_ns)
{
	const struct timespec moment = {0, AGAIN_NS};
	enum viodma_result result;

	if (!front->options.socket_path || !viodma_front_has(front, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD_BIT))
		return VIODMA_E_UNSUPPORTED;
	front->reconnecting = true;
	while ((result = connect_once(front, deadline_ns)) == VIODMA_PEER_GONE && viodma_loop_now_ns() < deadline_ns)
		nanosleep(&moment, NULL);
	front->reconnecting = false;
	front->given_up = result != VIODMA_OK;
	if (result != VIODMA_OK)
		return result;
	front->statistics.reconnections++;
	front->config_generation++; /* it may have another one */
	front->news = true; /* the last one may have been gone before it called */
	viodma_front_log_some(front, "connected to a successor");
	return VIODMA_OK;
}

enum viodma_result viodma_front_recover(struct viodma_front *front, enum viodma_result result)
{
	const uint64_t patience_ns = (uint64_t)front->options.reconnect_ms * NS_PER_MS;

	if (result != VIODMA_PEER_GONE || !patience_ns || front->reconnecting || front->given_up)
		return result;
	if (viodma_front_reconnect(front, viodma_loop_now_ns() + patience_ns) != VIODMA_OK)
		return front->broken != VIODMA_OK ? front->broken : result;
	return VIODMA_OK;
}
