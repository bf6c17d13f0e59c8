/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker_spaces.c - how it works: the back end has one space and one IOTLB, which are what the platform says. With one
 * worker, that is where rings translate. Each of several has a copy of the regions, and an IOTLB that remembers some of
 * the back end's mappings: what it does not know it asks the back end's for (its needs), and only what that does not know
 * is asked of the platform. So a page two workers miss at once is asked for once, an update grants as much as was asked
 * for by anybody, and each worker gets as much of it as itself asked for.
 *
 * A worker knows nothing the back end does not, but for what was evicted there alone: what is withdrawn or replaced in
 * the back end's IOTLB goes from all of them in the same call, under all locks. Memory is pinned in the spaces of the
 * workers, so a revocation is complete when none of them has a pin in its way.
 */
#include "hosted/vhost_user/messages.h"

/* A worker whose space is not the back end's. */
#define FOR_EACH_WORKER(worker, backend)                                                                              \
	for (struct viodma_worker *worker = (backend)->workers,                                                       \
				  *worker##_end = worker + (viodma_workers_several(backend) ? (backend)->worker_count : 0); \
	     worker != worker##_end; worker++)

/* ---- where addresses lead ---- */

void viodma_spaces_set_closed(struct viodma_vhost_user *backend)
{
	viodma_space_set_closed(&backend->space);
	FOR_EACH_WORKER(worker, backend)
		viodma_space_set_closed(worker->space);
}

void viodma_spaces_set_physical(struct viodma_vhost_user *backend)
{
	viodma_space_set_physical(&backend->space);
	FOR_EACH_WORKER(worker, backend)
		viodma_space_set_physical(worker->space);
}

void viodma_spaces_set_iotlb(struct viodma_vhost_user *backend)
{
	viodma_space_set_iotlb(&backend->space, &backend->iotlb);
	FOR_EACH_WORKER(worker, backend)
		viodma_space_set_iotlb(worker->space, worker->iotlb);
}

/* ---- regions ---- */

/* The same tables, and the same limits: what the back end's space takes, the others do. */
enum viodma_result viodma_spaces_add_region(struct viodma_vhost_user *backend, const struct viodma_region *region)
{
	enum viodma_result result = viodma_space_add_region(&backend->space, region);

	FOR_EACH_WORKER(worker, backend)
		if (result == VIODMA_OK)
			result = viodma_space_add_region(worker->space, region);
	return result;
}

enum viodma_result viodma_spaces_retire_region(struct viodma_vhost_user *backend, viodma_phys phys)
{
	enum viodma_result result = viodma_space_retire_region(&backend->space, phys);

	FOR_EACH_WORKER(worker, backend)
		if (result == VIODMA_OK)
			result = viodma_space_retire_region(worker->space, phys);
	return result;
}

enum viodma_result viodma_spaces_remove_region(struct viodma_vhost_user *backend, viodma_phys phys,
					       struct viodma_region *removed)
{
	bool busy = false;

	FOR_EACH_WORKER(worker, backend) /* one where it is gone already answers that there is none */
		busy |= viodma_space_remove_region(worker->space, phys, NULL) == VIODMA_E_BUSY;
	if (busy)
		return VIODMA_E_BUSY; /* = DEV-13 */
	return viodma_space_remove_region(&backend->space, phys, removed);
}

bool viodma_spaces_in_use(const struct viodma_vhost_user *backend, viodma_bus first, viodma_bus last)
{
	bool in_use = viodma_space_in_use(&backend->space, first, last);

	FOR_EACH_WORKER(worker, backend)
		in_use = in_use || viodma_space_in_use(worker->space, first, last);
	return in_use;
}

/* ---- mappings ---- */

void viodma_spaces_revoked(struct viodma_vhost_user *backend, viodma_bus first, viodma_bus last)
{
	/* What was evicted to make room for an update is still granted. */
	if (first.v > backend->update_last || last.v < backend->update_first)
		return;
	FOR_EACH_WORKER(worker, backend)
		(void)!viodma_iotlb_invalidate(worker->iotlb, first, last.v - first.v + 1);
}

enum viodma_result viodma_spaces_update(struct viodma_vhost_user *backend, const struct vhost_user_iotlb *update)
{
	enum viodma_result result;

	backend->update_first = update->iova;
	backend->update_last = update->iova + (update->size - 1);
	result = viodma_iotlb_update(&backend->iotlb, (viodma_bus){update->iova}, update->size,
				     (viodma_uaddr){update->user_address}, (enum viodma_permission)update->permissions);
	backend->update_first = UINT64_MAX;
	backend->update_last = 0;
	/* What it replaced was told of above, unless it had been evicted, and is remembered by a worker yet. */
	if (result == VIODMA_OK && backend->iotlb.statistics.evictions)
		FOR_EACH_WORKER(worker, backend)
			(void)!viodma_iotlb_invalidate(worker->iotlb, (viodma_bus){update->iova}, update->size);
	return result;
}

enum viodma_result viodma_spaces_invalidate(struct viodma_vhost_user *backend, viodma_bus bus, uint64_t len_bytes)
{
	enum viodma_result result = viodma_iotlb_invalidate(&backend->iotlb, bus, len_bytes);

	FOR_EACH_WORKER(worker, backend)
		if (result == VIODMA_OK)
			result = viodma_iotlb_invalidate(worker->iotlb, bus, len_bytes);
	return result;
}

void viodma_spaces_clear_iotlb(struct viodma_vhost_user *backend)
{
	viodma_iotlb_clear(&backend->iotlb);
	FOR_EACH_WORKER(worker, backend) {
		viodma_iotlb_clear(worker->iotlb);
		worker->need_count = 0;
		worker->refused_until = worker->needs_put;
	}
}

/* ---- what workers miss ---- */

void viodma_worker_ask(void *context, viodma_bus bus, enum viodma_permission wanted)
{
	struct viodma_worker *worker = context;

	/* There is room: no more than its IOTLB has places for questions. */
	worker->needs[worker->need_count++] = (struct viodma_need){bus.v, worker->needs_put++, (uint8_t)wanted};
	worker->news = true;
}

static void refuse(struct viodma_worker *worker, const struct viodma_need *need, bool granted)
{
	(void)viodma_iotlb_replied(worker->iotlb, (viodma_bus){need->bus}, (enum viodma_permission)need->permission,
				   granted);
	worker->refused_until = worker->needs_put;
}

/* All it asked for of this extent, and that it gives. */
static bool covered(const struct viodma_need *need, const struct viodma_extent *extent)
{
	return need->bus >= extent->first.v && need->bus <= extent->last.v &&
	       !(need->permission & ~(unsigned)extent->permission);
}

/* False: the memory behind it is going away. */
static bool grant(struct viodma_worker *worker, const struct viodma_extent *extent)
{
	const struct viodma_region *region = viodma_space_find_phys(&worker->backend->space, extent->phys);

	return region && viodma_iotlb_update(worker->iotlb, extent->first, extent->last.v - extent->first.v + 1,
					     (viodma_uaddr){region->user.v + (extent->phys.v - region->phys.v)},
					     extent->permission) == VIODMA_OK;
}

/* True: it is answered. *extent: what was granted last; nobody is granted it twice. */
static bool answer(struct viodma_worker *worker, const struct viodma_need *need, struct viodma_extent *extent)
{
	struct viodma_vhost_user *backend = worker->backend;
	const viodma_bus bus = {need->bus};
	const enum viodma_permission wanted = (enum viodma_permission)need->permission;
	enum viodma_result result;

	result = viodma_iotlb_translate(&backend->iotlb, bus, wanted, extent);
	if (result == VIODMA_MISS) {
		extent->permission = VIODMA_NO_ACCESS;
		if (!backend->space.hold_misses)
			viodma_iotlb_want(&backend->iotlb, bus, wanted);
		return false;
	}
	if (result != VIODMA_OK || (need->permission & ~(unsigned)extent->permission) || !grant(worker, extent)) {
		extent->permission = VIODMA_NO_ACCESS;
		refuse(worker, need, result == VIODMA_FAULT_NO_ANSWER);
	}
	return true;
}

/*
 * An update of a worker's IOTLB answers all its questions that it covers: they go, too, for the next update would be
 * taken for one that nobody asked for, and grant all there is.
 */
static void answer_worker(struct viodma_worker *worker)
{
	const uint32_t before = worker->need_count;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < worker->need_count; i++) {
		const struct viodma_need need = worker->needs[i];
		struct viodma_extent extent = {.permission = VIODMA_NO_ACCESS};
		uint32_t left = i + 1, still = 0;

		if (!answer(worker, &need, &extent)) {
			worker->needs[kept++] = need;
			continue;
		}
		if (extent.permission == VIODMA_NO_ACCESS)
			continue;
		for (uint32_t j = 0; j < kept; j++)
			if (!covered(&worker->needs[j], &extent))
				worker->needs[still++] = worker->needs[j];
		kept = still;
		for (uint32_t j = left; j < worker->need_count; j++)
			if (!covered(&worker->needs[j], &extent))
				worker->needs[left++] = worker->needs[j];
		worker->need_count = left;
	}
	worker->need_count = kept;
	if (kept != before)
		viodma_worker_schedule(worker);
}

void viodma_workers_answer(struct viodma_vhost_user *backend)
{
	FOR_EACH_WORKER(worker, backend)
		if (worker->need_count)
			answer_worker(worker);
	/* Whoever waited for a refusal has been told. */
	if (viodma_workers_several(backend) && backend->iotlb.failed_count)
		viodma_iotlb_settle(&backend->iotlb);
}

static bool refusals_heard(const struct viodma_worker *worker)
{
	const struct viodma_channel *channel = &worker->backend->channel;

	if (viodma_workers_several(worker->backend))
		return !worker->need_count || (int32_t)(worker->needs[0].number - worker->refused_until) >= 0;
	return (int32_t)(channel->head - channel->refused_until) >= 0;
}

void viodma_worker_settle(struct viodma_worker *worker)
{
	struct viodma_vhost_user *backend = worker->backend;
	uint32_t parked = 0;

	if (!worker->iotlb->failed_count)
		return;
	for (unsigned i = worker->index; i < backend->options.queue_count; i += backend->worker_count)
		parked += backend->rings[i].queue.parked;
	if (!parked || refusals_heard(worker))
		viodma_iotlb_settle(worker->iotlb);
}

/* ---- counters ---- */

struct viodma_space_statistics viodma_spaces_statistics(const struct viodma_vhost_user *backend)
{
	struct viodma_space_statistics sum = backend->space.statistics;

	FOR_EACH_WORKER(worker, backend) {
		sum.translations += worker->space->statistics.translations;
		sum.identity_translations += worker->space->statistics.identity_translations;
		sum.look_ups += worker->space->statistics.look_ups;
		sum.faults += worker->space->statistics.faults;
	}
	return sum;
}

/* What the platform was asked and said is the back end's; what was found is theirs. */
struct viodma_iotlb_statistics viodma_spaces_iotlb_statistics(const struct viodma_vhost_user *backend)
{
	struct viodma_iotlb_statistics sum = backend->iotlb.statistics;

	if (viodma_workers_several(backend))
		sum.hits = 0;
	FOR_EACH_WORKER(worker, backend)
		sum.hits += worker->iotlb->statistics.hits;
	return sum;
}
