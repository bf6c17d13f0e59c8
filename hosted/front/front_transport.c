/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_transport.c - how it works: the transport's operations are messages, or, where the back end lacks the protocol
 * feature, done here:
 *
 *	status           SET_STATUS, GET_STATUS; else kept here
 *	FEATURES_OK      a back end cannot clear it: one that refuses features answers SET_FEATURES with an error, or hangs up
 *	                 over it; either is VIODMA_PEER_FEATURES
 *	queue_enable     size, base 0, addresses, descriptors; with physical addresses the ring's are told as user addresses.
 *	                 The ring is let go with DRIVER_OK, so that no device works before it
 *	reset            GET_VRING_BASE stops each ring, and is answered once nothing of it is in flight (DEV-14); then what
 *	                 the device may hold of the table is invalidated; then status 0, or RESET_DEVICE
 *	configuration    read from offset 0 on, because back ends in use (QEMU's library) take no notice of the offset
 *
 * A stopped ring can be set up again on the same connection, with other features, other memory, other addressing.
 *
 * QEMU's library answers GET_VRING_BASE though its own requests are in flight: with it, a driver does well to reset when
 * nothing is with the device.
 */
#include "hosted/front/front.h"

#include "core/base/require.h"

#include <viodma/wire/ring.h>

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static bool has_bit_30(const struct viodma_front *front)
{
	return front->offered >> VHOST_USER_F_PROTOCOL_FEATURES_BIT & 1;
}

#define VHOST_F_LOG_ALL_BIT 26 /* of vhost: for migrations; no feature of the device */
#define OF_VHOST (VIODMA_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES_BIT) | VIODMA_FEATURE(VHOST_F_LOG_ALL_BIT))

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

static enum viodma_result set_features(void *context, uint64_t accepted)
{
	struct viodma_front *front = context;
	const uint64_t bit_30 = has_bit_30(front) ? VIODMA_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES_BIT) : 0;
	enum viodma_result result;

	if (front->started)
		return VIODMA_E_BUSY;
	result = negotiate(front, VHOST_USER_SET_FEATURES, accepted | bit_30);
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
	return platform ? viodma_front_grants_begin(front) : VIODMA_OK;
}

static enum viodma_result get_status(void *context, uint8_t *status)
{
	struct viodma_front *front = context;
	enum viodma_result result = front->broken;
	uint64_t word = front->status;

	if (viodma_front_has(front, VHOST_USER_PROTOCOL_F_STATUS_BIT))
		result = viodma_front_query(front, VHOST_USER_GET_STATUS, &word);
	if (result == VIODMA_OK && !VIODMA_REQUIRE(DEV_22, word <= UINT8_MAX))
		return viodma_front_break(front, VIODMA_PEER_ANSWER, "a status of 0x%llx", (unsigned long long)word);
	*status = (uint8_t)word;
	return result;
}

static enum viodma_result stop_ring(struct viodma_front *front, unsigned index)
{
	struct vhost_user_vring_state state = {index, 0};
	enum viodma_result result =
		viodma_front_post(front, VHOST_USER_GET_VRING_BASE, false, &state, sizeof(state), NULL, 0);
	size_t got;

	if (result == VIODMA_OK)
		result = viodma_front_await(front, VHOST_USER_GET_VRING_BASE, &state, sizeof(state), sizeof(state), &got);
	if (result == VIODMA_OK && state.index != index)
		return viodma_front_break(front, VIODMA_PEER_MESSAGE, "GET_VRING_BASE of ring %u is answered for ring %u",
					  index, state.index); /* = PLT-9 */
	if (result == VIODMA_OK) {
		front->queues[index].size = 0;
		front->queues[index].enabled = false;
	}
	return result;
}

static enum viodma_result reset(struct viodma_front *front)
{
	const uint64_t zero = 0;
	const bool was_started = front->started;
	enum viodma_result result = front->broken;

	for (unsigned i = 0; i < front->queue_count && result == VIODMA_OK; i++)
		if (front->queues[i].size)
			result = stop_ring(front, i);
	if (result == VIODMA_OK)
		result = viodma_front_grants_end(front);
	if (result == VIODMA_OK && viodma_front_has(front, VHOST_USER_PROTOCOL_F_STATUS_BIT))
		result = viodma_front_command(front, VHOST_USER_SET_STATUS, &zero, sizeof(zero), NULL, 0);
	else if (result == VIODMA_OK && was_started && viodma_front_has(front, VHOST_USER_PROTOCOL_F_RESET_DEVICE_BIT))
		result = viodma_front_command(front, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0);
	if (result == VIODMA_OK) {
		front->started = false;
		front->status = 0;
	}
	return result;
}

/* SET_VRING_ENABLE belongs to bit 30; without it a ring runs once it is set up. */
static enum viodma_result let_go(struct viodma_front *front, unsigned index)
{
	const struct vhost_user_vring_state state = {index, 1};
	enum viodma_result result = VIODMA_OK;

	if (has_bit_30(front))
		result = viodma_front_command(front, VHOST_USER_SET_VRING_ENABLE, &state, sizeof(state), NULL, 0);
	front->queues[index].enabled = result == VIODMA_OK;
	return result;
}

static enum viodma_result set_status(void *context, uint8_t status)
{
	struct viodma_front *front = context;
	enum viodma_result result = front->broken;

	if (result != VIODMA_OK)
		return result;
	if (!status)
		return reset(front);
	for (unsigned i = 0; (status & VIODMA_STATUS_DRIVER_OK) && i < front->queue_count && result == VIODMA_OK; i++)
		if (front->queues[i].size && !front->queues[i].enabled)
			result = let_go(front, i);
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

/* ---- configuration ---- */

static bool beyond_config(uint32_t offset, uint32_t len_bytes)
{
	return !len_bytes || offset > VHOST_USER_CONFIG_BYTES || len_bytes > VHOST_USER_CONFIG_BYTES - offset;
}

static enum viodma_result read_config(void *context, uint32_t offset, void *destination, uint32_t len_bytes)
{
	struct viodma_front *front = context;
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

static enum viodma_result write_config(void *context, uint32_t offset, const void *source, uint32_t len_bytes)
{
	struct viodma_front *front = context;
	struct vhost_user_config config = {offset, len_bytes, VHOST_USER_CONFIG_WRITABLE, {0}};

	if (beyond_config(offset, len_bytes))
		return VIODMA_E_INVALID;
	if (!viodma_front_has(front, VHOST_USER_PROTOCOL_F_CONFIG_BIT))
		return front->broken != VIODMA_OK ? front->broken : VIODMA_E_UNSUPPORTED;
	memcpy(config.payload, source, len_bytes);
	return viodma_front_command(front, VHOST_USER_SET_CONFIG, &config, VHOST_USER_CONFIG_HEADER_BYTES + len_bytes, NULL, 0);
}

static enum viodma_result config_generation(void *context, uint32_t *generation)
{
	struct viodma_front *front = context;

	*generation = front->config_generation;
	return front->broken;
}

/* ---- queues ---- */

static enum viodma_result queue_size_max(void *context, unsigned queue, uint32_t *size)
{
	struct viodma_front *front = context;

	*size = queue < front->queue_count ? front->options.queue_size_max : 0;
	return front->broken;
}

/* Where a part of a ring is, as the message says it. */
static enum viodma_result place(const struct viodma_front *front, viodma_bus bus, uint64_t len_bytes, uint64_t *address)
{
	const struct viodma_front_region *region;

	*address = bus.v;
	if (front->platform)
		return VIODMA_OK; /* = DRV-2 */
	region = viodma_front_region_at(front, (viodma_phys){bus.v}, len_bytes);
	if (!region)
		return VIODMA_E_INVALID;
	*address = region->user + (bus.v - region->object.phys.v);
	return VIODMA_OK;
}

static enum viodma_result make_eventfd(struct viodma_front *front, int *fd, enum viodma_front_event event, unsigned queue)
{
	if (*fd < 0)
		*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	else
		return viodma_eventfd_take(*fd) ? VIODMA_OK : VIODMA_E_IO; /* of the last time */
	if (*fd < 0)
		return VIODMA_E_IO;
	if (event != VIODMA_FRONT_EVENT_MAIN && viodma_front_watch(front, *fd, event, queue) != VIODMA_OK) {
		viodma_descriptor_close(fd);
		return VIODMA_E_IO;
	}
	return VIODMA_OK;
}

static enum viodma_result give_eventfd(struct viodma_front *front, uint32_t request, unsigned index, int fd)
{
	const uint64_t word = index;

	return viodma_front_command(front, request, &word, sizeof(word), &fd, 1);
}

static enum viodma_result make_eventfds(struct viodma_front *front, struct viodma_front_queue *queue, unsigned index)
{
	enum viodma_result result = make_eventfd(front, &queue->kick_fd, VIODMA_FRONT_EVENT_MAIN, index);

	if (result == VIODMA_OK)
		result = make_eventfd(front, &queue->call_fd, VIODMA_FRONT_EVENT_CALL, index);
	if (result == VIODMA_OK)
		result = make_eventfd(front, &queue->err_fd, VIODMA_FRONT_EVENT_ERR, index);
	if (result != VIODMA_OK)
		viodma_front_log(front, "queue %u: cannot make its descriptors: %s", index, strerror(errno));
	return result;
}

static enum viodma_result set_up(struct viodma_front *front, unsigned index, const struct vhost_user_vring_addr *addr,
				 uint32_t size)
{
	const struct viodma_front_queue *queue = &front->queues[index];
	const struct vhost_user_vring_state num = {index, size}, base = {index, 0};
	enum viodma_result result = viodma_front_command(front, VHOST_USER_SET_VRING_NUM, &num, sizeof(num), NULL, 0);

	if (result == VIODMA_OK)
		result = viodma_front_command(front, VHOST_USER_SET_VRING_BASE, &base, sizeof(base), NULL, 0);
	if (result == VIODMA_OK)
		result = viodma_front_command(front, VHOST_USER_SET_VRING_ADDR, addr, sizeof(*addr), NULL, 0);
	if (result == VIODMA_OK)
		result = give_eventfd(front, VHOST_USER_SET_VRING_ERR, index, queue->err_fd);
	if (result == VIODMA_OK)
		result = give_eventfd(front, VHOST_USER_SET_VRING_CALL, index, queue->call_fd);
	if (result == VIODMA_OK)
		result = give_eventfd(front, VHOST_USER_SET_VRING_KICK, index, queue->kick_fd);
	return result;
}

static enum viodma_result queue_enable(void *context, unsigned index, const struct viodma_transport_queue *where)
{
	struct viodma_front *front = context;
	struct vhost_user_vring_addr addr = {.index = index};
	struct viodma_front_queue *queue;
	enum viodma_result result = front->broken;

	if (result != VIODMA_OK)
		return result;
	if (index >= front->queue_count || !where->size || where->size > front->options.queue_size_max)
		return VIODMA_E_INVALID;
	queue = &front->queues[index];
	if (queue->size)
		return VIODMA_E_BUSY;
	if (place(front, where->desc, VIRTQ_DESC_BYTES((uint64_t)where->size), &addr.descriptor) != VIODMA_OK ||
	    place(front, where->avail, VIRTQ_AVAIL_BYTES((uint64_t)where->size), &addr.available) != VIODMA_OK ||
	    place(front, where->used, VIRTQ_USED_BYTES((uint64_t)where->size), &addr.used) != VIODMA_OK) {
		viodma_front_log(front, "queue %u is not in memory that was handed over", index);
		return VIODMA_E_INVALID;
	}
	result = make_eventfds(front, queue, index);
	if (result != VIODMA_OK)
		return result;
	queue->size = where->size; /* whatever comes of it, a reset has to stop it */
	queue->desc = where->desc.v;
	queue->avail = where->avail.v;
	queue->used = where->used.v;
	front->started = true;
	result = set_up(front, index, &addr, where->size);
	if (result == VIODMA_OK && (front->status & VIODMA_STATUS_DRIVER_OK))
		result = let_go(front, index);
	return result;
}

static void notify(void *context, unsigned index)
{
	struct viodma_front *front = context;

	if (index >= front->queue_count || !front->queues[index].size)
		return;
	front->statistics.kicks++;
	viodma_eventfd_tick(front->queues[index].kick_fd);
}

const struct viodma_transport_ops viodma_front_ops = {
	.get_features = get_features,
	.set_features = set_features,
	.get_status = get_status,
	.set_status = set_status,
	.read_config = read_config,
	.write_config = write_config,
	.config_generation = config_generation,
	.queue_size_max = queue_size_max,
	.queue_enable = queue_enable,
	.set_addressing = set_addressing,
	.notify = notify,
};
