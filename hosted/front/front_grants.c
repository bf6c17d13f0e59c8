/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_grants.c - how it works: the table says what the device may reach. An entry's life:
 *
 *	entered      the device knows nothing of it, unless it cannot ask, or `now` is set: then it is told at once
 *	handed       the device asked (front_channel.c) and got an update: this entry's range, with what it asked for and
 *	             was handed before, never more than the entry permits
 *	withdrawn    taken out. One that was never handed is gone at once, without a message. One that was is kept, answers no
 *	             miss any more, and holds its addresses, until the device has acknowledged an invalidation (PLT-5)
 *
 * A device may ask for several pages of one entry at once, be told of the whole entry with the first answer, and be done
 * before the other questions were read. So what has been asked is answered before anything handed is taken out; what is asked
 * later is asked by a device that strays.
 *
 * Where a reset has been acknowledged, or the device is told that addresses are physical, nothing handed is left.
 *
 * Without REPLY_ACK nothing proves that an invalidation has been dealt with: VIODMA_E_UNSUPPORTED. What was never handed can
 * be withdrawn there, too, and everything else once no ring runs and addresses are physical.
 */
#include "hosted/front/front.h"

#include "core/base/require.h"

#include <string.h>

static uint64_t bytes_of(const struct viodma_front_grant *grant)
{
	return grant->last - grant->first + 1;
}

static void set_handed(struct viodma_front *front, struct viodma_front_grant *grant, uint8_t permission)
{
	struct viodma_front_statistics *statistics = &front->statistics;

	if (permission && !grant->handed)
		statistics->granted_bytes += bytes_of(grant);
	if (!permission && grant->handed)
		statistics->granted_bytes -= bytes_of(grant);
	if (statistics->granted_bytes > statistics->granted_bytes_peak)
		statistics->granted_bytes_peak = statistics->granted_bytes;
	grant->handed = permission;
}

static void forget(struct viodma_front *front, struct viodma_front_grant *grant)
{
	set_handed(front, grant, 0);
	grant->region->grants--;
	viodma_front_table_remove(&front->table, grant);
}

/* The first entry of all; then viodma_front_table_next. */
static struct viodma_front_grant *first_of(const struct viodma_front *front)
{
	return viodma_front_table_at_or_after(&front->table, 0);
}

/* ---- telling the device ---- */

static enum viodma_result post_iotlb(struct viodma_front *front, const struct vhost_user_iotlb *iotlb, bool need_reply)
{
	if (iotlb->type == VHOST_USER_IOTLB_UPDATE)
		front->statistics.updates++;
	else
		front->statistics.invalidations++;
	return viodma_front_post(front, VHOST_USER_IOTLB_MSG, need_reply, iotlb, sizeof(*iotlb), NULL, 0);
}

/* What to send; before it is sent: from then on the device may have it. */
static struct vhost_user_iotlb hand(struct viodma_front *front, struct viodma_front_grant *grant, uint8_t permission)
{
	const struct vhost_user_iotlb iotlb = {
		.iova = grant->first,
		.size = bytes_of(grant),
		.user_address = grant->user,
		.permissions = permission,
		.type = VHOST_USER_IOTLB_UPDATE,
	};

	set_handed(front, grant, permission);
	return iotlb;
}

static enum viodma_result post_update(struct viodma_front *front, struct viodma_front_grant *grant, uint8_t permission,
				      bool need_reply)
{
	const struct vhost_user_iotlb iotlb = hand(front, grant, permission);

	return post_iotlb(front, &iotlb, need_reply);
}

/* Answers to what was posted. The first refusal counts; a connection that breaks ends it. */
static enum viodma_result await_acks(struct viodma_front *front, unsigned count)
{
	enum viodma_result outcome = VIODMA_OK;

	for (unsigned i = 0; i < count && front->broken == VIODMA_OK; i++) {
		enum viodma_result result = viodma_front_await_ack(front, VHOST_USER_IOTLB_MSG);

		if (result != VIODMA_OK && (outcome == VIODMA_OK || front->broken != VIODMA_OK))
			outcome = result;
	}
	return outcome;
}

static bool acknowledges(const struct viodma_front *front)
{
	return viodma_front_has(front, VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT);
}

static enum viodma_result tell_now(struct viodma_front *front, struct viodma_front_grant *grant)
{
	enum viodma_result result = post_update(front, grant, grant->permission, acknowledges(front));

	if (result == VIODMA_OK && acknowledges(front))
		result = await_acks(front, 1);
	return result;
}

enum viodma_result viodma_front_grants_begin(struct viodma_front *front)
{
	struct viodma_front_grant *grant;
	enum viodma_result result = VIODMA_OK;
	unsigned sent = 0;

	for (grant = first_of(front); grant && result == VIODMA_OK; grant = viodma_front_table_next(&front->table, grant)) {
		if (!grant->live || !grant->advance)
			continue;
		result = post_update(front, grant, grant->permission, acknowledges(front));
		if (result == VIODMA_OK && acknowledges(front) && ++sent == VIODMA_FRONT_PIPELINE) {
			result = await_acks(front, sent);
			sent = 0;
		}
	}
	return result == VIODMA_OK ? await_acks(front, sent) : result;
}

/* ---- granting ---- */

enum viodma_result viodma_front_grant(struct viodma_front *front, viodma_bus bus, viodma_phys phys, uint64_t len_bytes,
				      enum viodma_permission permission, bool now)
{
	const uint64_t last = bus.v + (len_bytes - 1);
	struct viodma_front_region *region;
	struct viodma_front_grant *grant;
	enum viodma_result result;

	/* = PLT-10. The last byte of all would make the length of "everything" 0. */
	if (!len_bytes || last < bus.v || last == UINT64_MAX || permission < VIODMA_READ || permission > VIODMA_READ_WRITE)
		return VIODMA_E_INVALID;
	if (viodma_front_recover(front, front->broken) != VIODMA_OK)
		return front->broken;
	region = viodma_front_region_at(front, phys, len_bytes);
	grant = viodma_front_table_at_or_after(&front->table, bus.v);
	if (!region) {
		viodma_front_log_some(front,
				      "not granted: 0x%llx bytes at physical 0x%llx: they are not in one object that is shared",
				      (unsigned long long)len_bytes, (unsigned long long)phys.v);
		return VIODMA_E_INVALID;
	}
	if (!VIODMA_REQUIRE(PLT_10, !grant || grant->first > last))
		return VIODMA_E_INVALID;
	grant = viodma_front_table_new(&front->table);
	if (!grant)
		return VIODMA_E_NO_MEMORY;
	grant->first = bus.v;
	grant->last = last;
	grant->user = region->user + (phys.v - region->object.phys.v);
	grant->region = region;
	grant->permission = (uint8_t)permission;
	grant->live = true;
	grant->advance = now || front->channel.fd < 0;
	viodma_front_table_insert(&front->table, grant);
	region->grants++;
	if (!front->platform || !grant->advance)
		return VIODMA_OK;
	result = viodma_front_recover(front, tell_now(front, grant)); /* a successor has been told */
	if (result != VIODMA_OK)
		forget(front, grant);
	return result;
}

enum viodma_result viodma_front_grants_miss(struct viodma_front *front, viodma_bus bus, enum viodma_permission wanted,
					    bool *granted)
{
	struct viodma_front_grant *grant = viodma_front_table_find(&front->table, bus.v);
	enum viodma_result reason = VIODMA_FAULT_UNMAPPED;

	*granted = false;
	front->statistics.misses++;
	if (front->platform && grant && VIODMA_REQUIRE(PLT_5, grant->live)) {
		if (VIODMA_REQUIRE(PLT_1, !(wanted & ~grant->permission))) {
			const struct vhost_user_iotlb iotlb = hand(front, grant, (uint8_t)(grant->handed | wanted));

			*granted = true;
			front->statistics.granted++;
			return viodma_front_channel_update(front, &iotlb);
		}
		reason = VIODMA_FAULT_PERMISSION;
	}
	front->refusals[front->statistics.refused++ % VIODMA_FRONT_REFUSALS] =
		(struct viodma_front_refusal){bus, wanted, reason}; /* = PLT-6 */
	viodma_front_log_some(front, "refused: %s %s: bus address 0x%llx, %s", viodma_result_requirement(reason),
			      viodma_result_text(reason), (unsigned long long)bus.v,
			      wanted == VIODMA_READ ? "read" : wanted == VIODMA_WRITE ? "write" : "read and write");
	return VIODMA_OK;
}

/* ---- withdrawing ---- */

/* Take out of the table what lies in first..last. VIODMA_E_INVALID: it would cut an entry; nothing was changed. */
static enum viodma_result retire(struct viodma_front *front, uint64_t first, uint64_t last)
{
	struct viodma_front_grant *grant = viodma_front_table_at_or_after(&front->table, first);
	struct viodma_front_grant *next;
	bool found = false, handed = false;

	for (next = grant; next && next->first <= last; next = viodma_front_table_next(&front->table, next)) {
		if (next->first < first || next->last > last)
			return VIODMA_E_INVALID;
		found |= next->live;
		handed |= next->live && next->handed;
	}
	if (!found)
		return VIODMA_E_NOT_FOUND;
	if (handed)
		viodma_front_channel_drain(front);
	for (; grant && grant->first <= last; grant = next) {
		next = viodma_front_table_next(&front->table, grant);
		grant->live = false;
		if (!grant->handed)
			forget(front, grant);
	}
	return VIODMA_OK;
}

/* Can the device still use what it was handed? */
static bool out_of_use(const struct viodma_front *front)
{
	return !front->platform || (front->broken != VIODMA_OK && !front->started);
}

/* The next stretch of entries in first..last that wait for an invalidation; adjoining ones together. False: none. */
static bool next_stretch(const struct viodma_front *front, uint64_t first, uint64_t last, uint64_t *from, uint64_t *to)
{
	const struct viodma_front_grant *grant = viodma_front_table_at_or_after(&front->table, first);

	while (grant && grant->live)
		grant = viodma_front_table_next(&front->table, grant);
	if (!grant || grant->first > last)
		return false;
	*from = grant->first;
	do {
		*to = grant->last;
		grant = viodma_front_table_next(&front->table, grant);
	} while (grant && !grant->live && grant->first == *to + 1 && grant->first <= last);
	return true;
}

/* What waited in first..last has been forgotten by the device. */
static void settled(struct viodma_front *front, uint64_t first, uint64_t last)
{
	struct viodma_front_grant *grant = viodma_front_table_at_or_after(&front->table, first), *next;

	for (; grant && grant->first <= last; grant = next) {
		next = viodma_front_table_next(&front->table, grant);
		if (!grant->live)
			forget(front, grant);
	}
}

static enum viodma_result post_invalidate(struct viodma_front *front, uint64_t from, uint64_t to)
{
	const struct vhost_user_iotlb iotlb = {.iova = from, .size = to - from + 1, .type = VHOST_USER_IOTLB_INVALIDATE};

	return post_iotlb(front, &iotlb, true);
}

static enum viodma_result invalidate(struct viodma_front *front, uint64_t first, uint64_t last)
{
	uint64_t from, to;

	while (next_stretch(front, first, last, &from, &to)) {
		const uint64_t begin = from;
		unsigned sent = 0;
		enum viodma_result result = VIODMA_OK;

		if (out_of_use(front)) {
			settled(front, first, last);
			break;
		}
		if (front->broken != VIODMA_OK && viodma_front_recover(front, front->broken) == VIODMA_OK)
			break; /* a successor knows of nothing that was withdrawn */
		if (front->broken != VIODMA_OK)
			return front->broken;
		if (!acknowledges(front)) {
			viodma_front_log_some(front, "PLT-5: without REPLY_ACK no invalidation is sure: memory stays out of use");
			return VIODMA_E_UNSUPPORTED;
		}
		do {
			result = post_invalidate(front, from, to);
			sent += result == VIODMA_OK;
		} while (result == VIODMA_OK && sent < VIODMA_FRONT_PIPELINE && to < last &&
			 next_stretch(front, to + 1, last, &from, &to));
		if (result == VIODMA_OK && !VIODMA_REQUIRE(PLT_5, !sent))
			result = await_acks(front, sent);
		result = viodma_front_recover(front, result);
		if (result != VIODMA_OK)
			return result;
		settled(front, begin, to);
	}
	return VIODMA_OK;
}

void viodma_front_grants_forgotten(struct viodma_front *front)
{
	struct viodma_front_grant *grant;

	settled(front, 0, UINT64_MAX);
	for (grant = first_of(front); grant; grant = viodma_front_table_next(&front->table, grant))
		set_handed(front, grant, 0);
}

void *viodma_front_grants_memory(const struct viodma_front *front, uint64_t bus, uint64_t len_bytes)
{
	const struct viodma_front_grant *grant = viodma_front_table_find(&front->table, bus);

	if (!grant || !grant->live || len_bytes - 1 > grant->last - bus)
		return NULL;
	return (unsigned char *)grant->region->object.memory + (grant->user - grant->region->user) + (bus - grant->first);
}

enum viodma_result viodma_front_grants_end(struct viodma_front *front)
{
	struct viodma_front_grant *grant, *low = NULL, *high = NULL;
	enum viodma_result result;

	viodma_front_channel_drain(front);
	for (grant = first_of(front); grant; grant = viodma_front_table_next(&front->table, grant))
		if (grant->handed) {
			low = low ? low : grant;
			high = grant;
		}
	if (!low || out_of_use(front) || !acknowledges(front))
		return VIODMA_OK;
	/* One message for all: nothing is in flight that it would wait for. */
	result = post_invalidate(front, low->first, high->last);
	if (result == VIODMA_OK)
		result = await_acks(front, 1);
	if (result != VIODMA_OK)
		return result;
	viodma_front_grants_forgotten(front);
	return VIODMA_OK;
}

enum viodma_result viodma_front_withdraw(struct viodma_front *front, viodma_bus bus, uint64_t len_bytes)
{
	const uint64_t last = bus.v + (len_bytes - 1);
	enum viodma_result result;

	if (!len_bytes || last < bus.v)
		return VIODMA_E_INVALID;
	result = retire(front, bus.v, last);
	return result == VIODMA_OK ? invalidate(front, bus.v, last) : result;
}

enum viodma_result viodma_front_withdraw_all(struct viodma_front *front)
{
	(void)retire(front, 0, UINT64_MAX);
	return invalidate(front, 0, UINT64_MAX);
}

/* ---- as operations of a domain's IOMMU ---- */

static enum viodma_result iommu_map(void *context, viodma_bus bus, viodma_phys phys, uint64_t len_bytes,
				    enum viodma_permission permission)
{
	return viodma_front_grant(context, bus, phys, len_bytes, permission, false);
}

static enum viodma_result iommu_unmap(void *context, viodma_bus bus, uint64_t len_bytes)
{
	const uint64_t last = bus.v + (len_bytes - 1);

	return !len_bytes || last < bus.v ? VIODMA_E_INVALID : retire(context, bus.v, last);
}

static enum viodma_result iommu_invalidate(void *context, viodma_bus bus, uint64_t len_bytes)
{
	const uint64_t last = bus.v + (len_bytes - 1);

	return !len_bytes || last < bus.v ? VIODMA_E_INVALID : invalidate(context, bus.v, last);
}

static enum viodma_result iommu_invalidate_all(void *context)
{
	return invalidate(context, 0, UINT64_MAX);
}

const struct viodma_iommu_ops *viodma_front_iommu_ops(void)
{
	static const struct viodma_iommu_ops ops = {iommu_map, iommu_unmap, iommu_invalidate, iommu_invalidate_all};

	return &ops;
}
