/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_user.c - messages that are answered wrongly.
 */
#include "hosted/vhost_user/messages.h"

#include "tests/broken/broken.h"

#include <viodma/wire/ring.h>

#include <stddef.h>

#define PAGE VIODMA_IOTLB_PAGE_BYTES

enum viodma_result __real_viodma_spaces_update(struct viodma_vhost_user *backend, const struct vhost_user_iotlb *update);

static uint64_t page_of(uint64_t address)
{
	return address / PAGE * PAGE;
}

/* ---- updates ---- */

static uint64_t asked_ns; /* when the last question was put */

/* Is this one left out, although it is answered as done? */
static bool left_out(struct viodma_vhost_user *backend, const struct vhost_user_iotlb *update)
{
	const struct viodma_channel *channel = &backend->channel;
	const struct viodma_question *first = &channel->questions[channel->head & (channel->capacity - 1)];
	struct viodma_extent extent;

	if (BROKEN(buffer_at_zero) && !update->iova)
		return true;
	if (BROKEN(buffer_at_the_end) && !(update->iova + update->size))
		return true;
	if (BROKEN(miss_late) && viodma_loop_now_ns() - asked_ns > 30000000u)
		return true;
	if (BROKEN(miss_any_order) && channel->head != channel->tail && first->bus - update->iova >= update->size)
		return true;
	return BROKEN(update_replaces) && viodma_iotlb_translate(&backend->iotlb, (viodma_bus){update->iova},
								 (enum viodma_permission)update->permissions, &extent) == VIODMA_OK;
}

static struct vhost_user_iotlb misread(struct viodma_vhost_user *backend, const struct vhost_user_iotlb *update)
{
	const struct viodma_region *region = viodma_space_find_phys(&backend->space, (viodma_phys){update->iova});
	struct vhost_user_iotlb other = *update;

	if (BROKEN(buffer_at_57_bits))
		other.iova &= UINT64_MAX >> 8;
	if (BROKEN(write_asks_to_read_only) || BROKEN(miss_less_permission))
		other.permissions = VIODMA_READ_WRITE;
	if (BROKEN(write_beyond_mapping))
		other.size *= 2;
	if (BROKEN(bus_is_physical) && region)
		other.user_address = region->user.v + (update->iova - region->phys.v);
	return other;
}

/* Those of earlier connections are made again. */
#define REMEMBERED 64u
static struct vhost_user_iotlb remembered[REMEMBERED];
static unsigned remembered_count;

BETWEEN(enum viodma_result, viodma_spaces_update, struct viodma_vhost_user *backend, const struct vhost_user_iotlb *update)
{
	const struct viodma_channel *channel = &backend->channel;
	struct vhost_user_iotlb other = misread(backend, update);

	if (left_out(backend, update))
		return VIODMA_OK;
	if (BROKEN(connection_forgotten) && remembered_count < REMEMBERED)
		remembered[remembered_count++] = *update;
	for (uint32_t at = channel->head; BROKEN(miss_other_page) && at != channel->tail; at++) {
		struct vhost_user_iotlb taken = *update;

		taken.iova = page_of(channel->questions[at & (channel->capacity - 1)].bus);
		(void)!__real_viodma_spaces_update(backend, &taken);
	}
	return __real_viodma_spaces_update(backend, &other);
}

BETWEEN(void, viodma_spaces_set_iotlb, struct viodma_vhost_user *backend)
{
	__real_viodma_spaces_set_iotlb(backend);
	for (unsigned i = 0; BROKEN(connection_forgotten) && i < remembered_count; i++)
		(void)!__real_viodma_spaces_update(backend, &remembered[i]);
}

/* Nothing is taken back. */
BETWEEN(enum viodma_result, viodma_spaces_invalidate, struct viodma_vhost_user *backend, viodma_bus bus, uint64_t len_bytes)
{
	if (BROKEN(write_to_withdrawn) || BROKEN(read_of_withdrawn) || BROKEN(invalidated) || BROKEN(invalidated_and_moved) ||
	    BROKEN(ring_invalidated))
		return VIODMA_OK;
	return __real_viodma_spaces_invalidate(backend, bus, len_bytes);
}

BETWEEN(enum viodma_verdict, viodma_message_check_header, struct viodma_vhost_user *backend,
	const struct vhost_user_header *header, bool *well_formed)
{
	if (!BROKEN(update_without_platform) || header->request != VHOST_USER_IOTLB_MSG)
		return __real_viodma_message_check_header(backend, header, well_formed);
	*well_formed = true;
	return VIODMA_DONE;
}

/* Is it one that has to be refused, and is acknowledged as done? */
static bool swallowed(struct viodma_vhost_user *backend, const struct vhost_user_iotlb *update)
{
	const uint64_t user_last = update->user_address + (update->size - 1);
	viodma_phys phys;

	if (update->type != VHOST_USER_IOTLB_UPDATE)
		return false;
	if (BROKEN(update_without_platform))
		return true;
	if (BROKEN(update_user_wraps) && user_last < update->user_address)
		return true;
	if (BROKEN(update_bus_wraps) && update->iova + (update->size - 1) < update->iova)
		return true;
	if (BROKEN(update_outside_memory) && viodma_space_user_to_phys(&backend->space, (viodma_uaddr){update->user_address}, 1, &phys))
		return true;
	return BROKEN(update_beyond_region) &&
	       viodma_space_user_to_phys(&backend->space, (viodma_uaddr){update->user_address}, update->size, &phys);
}

BETWEEN(enum viodma_verdict, viodma_handle_iotlb, struct viodma_vhost_user *backend, struct viodma_message *message)
{
	const struct vhost_user_iotlb *iotlb = &message->payload.iotlb;
	struct viodma_extent extent;

	if (swallowed(backend, iotlb))
		return VIODMA_DONE;
	if (BROKEN(update_no_permission) && iotlb->type == VHOST_USER_IOTLB_UPDATE && !iotlb->permissions)
		message->payload.iotlb.permissions = VIODMA_READ_WRITE;
	if (BROKEN(update_no_bytes) && iotlb->type == VHOST_USER_IOTLB_UPDATE && !iotlb->size)
		return VIODMA_LATER; /* never */
	if (BROKEN(invalidate_nothing) && iotlb->type == VHOST_USER_IOTLB_INVALIDATE &&
	    viodma_iotlb_translate(&backend->iotlb, (viodma_bus){iotlb->iova}, VIODMA_READ, &extent) != VIODMA_OK)
		return VIODMA_LATER; /* never */
	return __real_viodma_handle_iotlb(backend, message);
}

/* ---- questions ---- */

BETWEEN(void, viodma_channel_ask, void *context, viodma_bus bus, enum viodma_permission wanted)
{
	if ((BROKEN(write_asks_to_read_only) || BROKEN(miss_permission)) && wanted == VIODMA_WRITE)
		wanted = VIODMA_READ;
	if (BROKEN(miss_late))
		asked_ns = viodma_loop_now_ns();
	__real_viodma_channel_ask(context, bus, wanted);
	for (unsigned i = 0; BROKEN(miss_once) && i < 300; i++)
		__real_viodma_channel_ask(context, bus, wanted);
}

/* What was refused leads somewhere all the same. */
static bool lead_somewhere(struct viodma_vhost_user *backend, uint64_t bus, uint64_t user)
{
	const struct vhost_user_iotlb update = {page_of(bus), PAGE, page_of(user), VIODMA_READ_WRITE, VHOST_USER_IOTLB_UPDATE, {0}};

	return __real_viodma_spaces_update(backend, &update) == VIODMA_OK;
}

BETWEEN(enum viodma_result, viodma_iotlb_replied, struct viodma_iotlb *iotlb, viodma_bus bus, enum viodma_permission permission,
	bool granted)
{
	struct viodma_vhost_user *backend =
		(struct viodma_vhost_user *)(void *)((char *)iotlb - offsetof(struct viodma_vhost_user, iotlb));
	const struct viodma_region *region = backend->space.regions;

	if (!granted && BROKEN(write_to_unmapped))
		granted = lead_somewhere(backend, bus.v, region->user.v);
	if (!granted && BROKEN(read_of_unmapped))
		granted = lead_somewhere(backend, bus.v, region->user.v + (region->len_bytes - PAGE));
	if (!granted && BROKEN(user_address))
		granted = lead_somewhere(backend, bus.v, bus.v);
	for (unsigned i = 0; !granted && BROKEN(miss_refused) && i < backend->options.queue_count; i++)
		backend->rings[i].queue.broken = VIODMA_PEER_UNREACHABLE;
	return __real_viodma_iotlb_replied(iotlb, bus, permission, granted);
}

/* ---- memory ---- */

BETWEEN(enum viodma_verdict, viodma_handle_add_region, struct viodma_vhost_user *backend, struct viodma_message *message)
{
	if (BROKEN(region_added) || BROKEN(region_overlaps) || BROKEN(region_beyond_file))
		return VIODMA_DONE;
	return __real_viodma_handle_add_region(backend, message);
}

BETWEEN(enum viodma_verdict, viodma_handle_remove_region, struct viodma_vhost_user *backend, struct viodma_message *message)
{
	if (BROKEN(region_removed) || BROKEN(region_unknown))
		return VIODMA_DONE;
	return __real_viodma_handle_remove_region(backend, message);
}

/* A second one takes away what the first one gave, and gives nothing. */
BETWEEN(enum viodma_verdict, viodma_handle_mem_table, struct viodma_vhost_user *backend, struct viodma_message *message)
{
	if (!BROKEN(memory_table_again) || !backend->space.region_count)
		return __real_viodma_handle_mem_table(backend, message);
	viodma_channel_clear_iotlb(backend);
	viodma_memory_drop_all(backend);
	return VIODMA_DONE;
}

/* ---- the record of what is in flight ---- */

BETWEEN(enum viodma_verdict, viodma_handle_set_inflight, struct viodma_vhost_user *backend, struct viodma_message *message)
{
	if (BROKEN(record_resumed) || BROKEN(record_too_large))
		return VIODMA_DONE;
	return __real_viodma_handle_set_inflight(backend, message);
}

/* ---- other messages ---- */

BETWEEN(enum viodma_verdict, viodma_handle_get_status, struct viodma_vhost_user *backend, struct viodma_message *message)
{
	enum viodma_verdict verdict;
	const uint8_t status = backend->status;

	if (BROKEN(status))
		backend->status |= 0x10; /* which is none */
	verdict = __real_viodma_handle_get_status(backend, message);
	backend->status = status;
	return verdict;
}

BETWEEN(enum viodma_verdict, viodma_handle_get_config, struct viodma_vhost_user *backend, struct viodma_message *message)
{
	if (BROKEN(config))
		message->payload.config.offset = 0;
	return __real_viodma_handle_get_config(backend, message);
}

BETWEEN(enum viodma_verdict, viodma_handle_get_features, struct viodma_vhost_user *backend, struct viodma_message *message)
{
	const uint64_t offered = backend->offered;
	enum viodma_verdict verdict;

	if (BROKEN(platform_offered))
		backend->offered &= ~(UINT64_C(1) << VIRTIO_F_VERSION_1_BIT);
	verdict = __real_viodma_handle_get_features(backend, message);
	backend->offered = offered;
	return verdict;
}

BETWEEN(enum viodma_verdict, viodma_handle_set_status, struct viodma_vhost_user *backend, struct viodma_message *message)
{
	if (!message->payload.u64 && BROKEN(reset))
		return VIODMA_DONE;
	return __real_viodma_handle_set_status(backend, message);
}

BETWEEN(enum viodma_verdict, viodma_handle_reset_device, struct viodma_vhost_user *backend, struct viodma_message *message)
{
	return BROKEN(reset) ? VIODMA_DONE : __real_viodma_handle_reset_device(backend, message);
}

/* Answered, and served on. */
BETWEEN(enum viodma_verdict, viodma_handle_get_vring_base, struct viodma_vhost_user *backend, struct viodma_message *message)
{
	if (!BROKEN(stopped))
		return __real_viodma_handle_get_vring_base(backend, message);
	viodma_connection_reply(backend, message->header.request, &message->payload.state, sizeof(message->payload.state));
	return VIODMA_DONE;
}

/* Once disabled, it is so for good. */
BETWEEN(enum viodma_verdict, viodma_handle_vring_enable, struct viodma_vhost_user *backend, struct viodma_message *message)
{
	static bool was_disabled;

	if (BROKEN(disabled)) {
		was_disabled |= !message->payload.state.num;
		message->payload.state.num &= !was_disabled;
	}
	return __real_viodma_handle_vring_enable(backend, message);
}

BETWEEN(enum viodma_result, viodma_connection_open, struct viodma_vhost_user *backend, int fd)
{
	if (BROKEN(connection_again) && backend->connections >= 3)
		return VIODMA_E_NO_MEMORY;
	return __real_viodma_connection_open(backend, fd);
}
