/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_queues.c - how it works: a ring is set up with its size, base, addresses and descriptors; with physical addresses the
 * ring's are told as user addresses. It is let go with DRIVER_OK, so that no device works before it. It is stopped by
 * GET_VRING_BASE, which is answered once nothing of it is in flight (DEV-14). A stopped ring can be set up again: with a
 * reset of the device, or of this queue alone (RING_RESET).
 *
 * base               split ring   packed ring
 * a new ring         0            both positions 0, both wrap counters 1
 * a successor's      used index   the same: where the last one stood is nowhere in the ring, but in its record
 *
 * The used index is what the record is settled against, too. It is written by a device, and goes to a device.
 *
 * In-band notifications: no descriptors are handed over, kicks are messages, calls come on the back end's channel.
 */
#include "hosted/front/front.h"

#include "core/base/require.h"

#include <viodma/queue.h>
#include <viodma/wire/ring.h>

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

enum viodma_result viodma_front_queue_size_max(void *context, unsigned queue, uint32_t *size)
{
	struct viodma_front *front = context;

	*size = queue < front->queue_count ? front->options.queue_size_max : 0;
	return front->broken;
}

/* ---- where it is ---- */

/* Of the three parts of a ring. */
static void part_bytes(const struct viodma_front *front, uint64_t size, uint64_t *avail, uint64_t *used)
{
	const bool packed = viodma_front_is_packed(front);

	*avail = packed ? VIRTQ_PACKED_EVENT_BYTES : VIRTQ_AVAIL_BYTES(size);
	*used = packed ? VIRTQ_PACKED_EVENT_BYTES : VIRTQ_USED_BYTES(size);
}

/* Where a part of a ring is, as the message says it. */
static enum viodma_result place(const struct viodma_front *front, uint64_t bus, uint64_t len_bytes, uint64_t *address)
{
	const struct viodma_front_region *region;

	*address = bus;
	if (front->platform)
		return VIODMA_OK; /* = DRV-2 */
	region = viodma_front_region_at(front, (viodma_phys){bus}, len_bytes);
	if (!region)
		return VIODMA_E_INVALID;
	*address = region->user + (bus - region->object.phys.v);
	return VIODMA_OK;
}

static enum viodma_result place_ring(struct viodma_front *front, unsigned index, struct vhost_user_vring_addr *addr)
{
	const struct viodma_front_queue *queue = &front->queues[index];
	uint64_t avail, used;

	part_bytes(front, queue->size, &avail, &used);
	*addr = (struct vhost_user_vring_addr){.index = index};
	if (place(front, queue->desc, VIRTQ_DESC_BYTES((uint64_t)queue->size), &addr->descriptor) == VIODMA_OK &&
	    place(front, queue->avail, avail, &addr->available) == VIODMA_OK &&
	    place(front, queue->used, used, &addr->used) == VIODMA_OK)
		return VIODMA_OK;
	viodma_front_log(front, "queue %u is not in memory that was handed over", index);
	return VIODMA_E_INVALID;
}

static uint32_t new_base(const struct viodma_front *front)
{
	return viodma_front_is_packed(front) ? VIODMA_QUEUE_PACKED_BASE : 0;
}

/* Where a successor goes on. */
static enum viodma_result base_again(struct viodma_front *front, unsigned index, uint32_t *base)
{
	const uint64_t bus = front->queues[index].used + VIRTQ_USED_IDX;
	const struct viodma_front_region *region;
	const unsigned char *at;
	viodma_le16 used;

	*base = new_base(front);
	if (viodma_front_is_packed(front))
		return VIODMA_OK;
	region = viodma_front_region_at(front, (viodma_phys){bus}, sizeof(used));
	if (front->platform)
		at = viodma_front_grants_memory(front, bus, sizeof(used));
	else
		at = region ? (const unsigned char *)region->object.memory + (bus - region->object.phys.v) : NULL;
	if (!at) {
		viodma_front_log(front, "queue %u: its used ring is not in memory that was handed over", index);
		return VIODMA_E_INVALID;
	}
	used.wire = __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE);
	*base = viodma_le16_get(used);
	return VIODMA_OK;
}

/* ---- descriptors ---- */

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

static enum viodma_result make_eventfds(struct viodma_front *front, unsigned index)
{
	struct viodma_front_queue *queue = &front->queues[index];
	enum viodma_result result;

	if (viodma_front_is_inband(front))
		return VIODMA_OK;
	result = make_eventfd(front, &queue->kick_fd, VIODMA_FRONT_EVENT_MAIN, index);
	if (result == VIODMA_OK)
		result = make_eventfd(front, &queue->call_fd, VIODMA_FRONT_EVENT_CALL, index);
	if (result == VIODMA_OK)
		result = make_eventfd(front, &queue->err_fd, VIODMA_FRONT_EVENT_ERR, index);
	if (result != VIODMA_OK)
		viodma_front_log(front, "queue %u: cannot make its descriptors: %s", index, strerror(errno));
	return result;
}

static enum viodma_result give_eventfd(struct viodma_front *front, uint32_t request, unsigned index, int fd)
{
	const uint64_t word = index;

	return viodma_front_command(front, request, &word, sizeof(word), &fd, 1);
}

/* The last of them starts the ring. */
static enum viodma_result give_eventfds(struct viodma_front *front, unsigned index)
{
	const struct viodma_front_queue *queue = &front->queues[index];
	enum viodma_result result;

	if (viodma_front_is_inband(front))
		return VIODMA_OK;
	result = give_eventfd(front, VHOST_USER_SET_VRING_ERR, index, queue->err_fd);
	if (result == VIODMA_OK)
		result = give_eventfd(front, VHOST_USER_SET_VRING_CALL, index, queue->call_fd);
	if (result == VIODMA_OK)
		result = give_eventfd(front, VHOST_USER_SET_VRING_KICK, index, queue->kick_fd);
	return result;
}

/* ---- one ring ---- */

static enum viodma_result set_up(struct viodma_front *front, unsigned index, const struct vhost_user_vring_addr *addr,
				 uint32_t from)
{
	const struct vhost_user_vring_state num = {index, front->queues[index].size}, base = {index, from};
	enum viodma_result result = viodma_front_command(front, VHOST_USER_SET_VRING_NUM, &num, sizeof(num), NULL, 0);

	if (result == VIODMA_OK)
		result = viodma_front_command(front, VHOST_USER_SET_VRING_BASE, &base, sizeof(base), NULL, 0);
	if (result == VIODMA_OK)
		result = viodma_front_command(front, VHOST_USER_SET_VRING_ADDR, addr, sizeof(*addr), NULL, 0);
	return result == VIODMA_OK ? give_eventfds(front, index) : result;
}

/* SET_VRING_ENABLE belongs to bit 30; without it a ring runs once it is set up. */
enum viodma_result viodma_front_queue_let_go(struct viodma_front *front, unsigned index)
{
	const struct vhost_user_vring_state state = {index, 1};
	enum viodma_result result = VIODMA_OK;

	if (viodma_front_has_bit_30(front))
		result = viodma_front_command(front, VHOST_USER_SET_VRING_ENABLE, &state, sizeof(state), NULL, 0);
	front->queues[index].enabled = result == VIODMA_OK;
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
	return result;
}

enum viodma_result viodma_front_queue_stop(struct viodma_front *front, unsigned index)
{
	enum viodma_result result = stop_ring(front, index);

	if (result == VIODMA_OK) {
		front->queues[index].size = 0;
		front->queues[index].enabled = false;
	}
	return result;
}

enum viodma_result viodma_front_queue_reset(void *context, unsigned index)
{
	struct viodma_front *front = context;
	enum viodma_result result = viodma_front_recover(front, front->broken);

	if (result != VIODMA_OK)
		return result;
	if (index >= front->queue_count || !front->queues[index].size)
		return VIODMA_E_INVALID;
	result = viodma_front_queue_stop(front, index);
	if (result == VIODMA_PEER_GONE && viodma_front_recover(front, result) == VIODMA_OK)
		result = viodma_front_queue_stop(front, index);
	if (result == VIODMA_OK)
		viodma_front_record_clear(front, index);
	return result;
}

/* ---- several ---- */

/* The record has to be there before the first ring is, and large enough for all. */
static enum viodma_result make_record(struct viodma_front *front, uint32_t size)
{
	enum viodma_result result = viodma_front_record_get(front, size);

	for (unsigned i = 0; i < front->queue_count && result == VIODMA_E_BUSY; i++)
		if (front->queues[i].enabled)
			return VIODMA_E_LIMIT;
	if (result != VIODMA_E_BUSY)
		return result;
	result = VIODMA_OK;
	for (unsigned i = 0; i < front->queue_count && result == VIODMA_OK; i++)
		if (front->queues[i].size)
			result = stop_ring(front, i);
	viodma_front_record_drop(front);
	if (result == VIODMA_OK)
		result = viodma_front_record_get(front, size);
	return result == VIODMA_OK ? viodma_front_queues_again(front) : result;
}

static enum viodma_result enable(struct viodma_front *front, unsigned index)
{
	struct vhost_user_vring_addr addr;
	enum viodma_result result = place_ring(front, index, &addr);

	if (result == VIODMA_OK)
		result = make_eventfds(front, index);
	if (result != VIODMA_OK) {
		front->queues[index].size = 0;
		return result;
	}
	front->started = true; /* whatever comes of it, a reset has to stop it */
	result = set_up(front, index, &addr, new_base(front));
	if (result == VIODMA_OK && (front->status & VIODMA_STATUS_DRIVER_OK))
		result = viodma_front_queue_let_go(front, index);
	return result;
}

enum viodma_result viodma_front_queue_enable(void *context, unsigned index, const struct viodma_transport_queue *where)
{
	struct viodma_front *front = context;
	struct viodma_front_queue *queue;
	enum viodma_result result = viodma_front_recover(front, front->broken);

	if (result != VIODMA_OK)
		return result;
	if (index >= front->queue_count || !where->size || where->size > front->options.queue_size_max)
		return VIODMA_E_INVALID;
	queue = &front->queues[index];
	if (queue->size)
		return VIODMA_E_BUSY;
	result = make_record(front, where->size);
	if (result == VIODMA_PEER_GONE && viodma_front_recover(front, result) == VIODMA_OK)
		result = make_record(front, where->size);
	if (result != VIODMA_OK)
		return result;
	queue->size = where->size;
	queue->desc = where->desc.v;
	queue->avail = where->avail.v;
	queue->used = where->used.v;
	return viodma_front_recover(front, enable(front, index)); /* a successor has it set up, too */
}

enum viodma_result viodma_front_queues_again(struct viodma_front *front)
{
	enum viodma_result result = VIODMA_OK;

	for (unsigned i = 0; i < front->queue_count && result == VIODMA_OK; i++) {
		struct vhost_user_vring_addr addr;
		uint32_t base;

		front->queues[i].enabled = false;
		if (!front->queues[i].size)
			continue;
		result = place_ring(front, i, &addr);
		if (result == VIODMA_OK)
			result = base_again(front, i, &base);
		if (result == VIODMA_OK)
			result = set_up(front, i, &addr, base);
		if (result == VIODMA_OK && (front->status & VIODMA_STATUS_DRIVER_OK))
			result = viodma_front_queue_let_go(front, i);
	}
	return result;
}

/* ---- kicks ---- */

void viodma_front_notify(void *context, unsigned index)
{
	struct viodma_front *front = context;
	const struct vhost_user_vring_state state = {index, 0};

	if (index >= front->queue_count || !front->queues[index].size)
		return;
	front->statistics.kicks++;
	if (!viodma_front_is_inband(front))
		viodma_eventfd_tick(front->queues[index].kick_fd);
	else /* a connection that has ended is found out by whoever waits */
		(void)viodma_front_command(front, VHOST_USER_VRING_KICK, &state, sizeof(state), NULL, 0);
}

void viodma_front_queues_kick(struct viodma_front *front)
{
	for (unsigned i = 0; i < front->queue_count; i++)
		if (front->queues[i].enabled)
			viodma_front_notify(front, i);
}
