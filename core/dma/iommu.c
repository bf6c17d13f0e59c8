/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iommu.c - how it works: a mapping gets one range of bus addresses, in which its buffers lie one after the other, each
 * where in a granule it lies in memory. What of memory scatters becomes contiguous: where one buffer ends and the next
 * one begins at a boundary of granules, the device sees one stretch.
 *
 *	memory        ..hhh|bbbbbbbb|bbbbbbbb|tt......      h, t: parts of granules at the buffer's ends
 *	              pool |        in place |  pool        b: granules that the buffer fills
 *	bus           ..hhh|bbbbbbbb|bbbbbbbb|tt......|next buffer
 *
 * A table grants whole granules, so a granule of memory is entered only if the mapping fills it (DRV-19). The parts at
 * the ends go through runs of the pool, whose slots are whole granules that nothing else shares; so does a buffer in
 * which no granule is filled, in one run, and on a restricted platform every buffer but what lies in the pool already.
 * Buffers that adjoin in memory are cut up as if they were one.
 *
 * A map goes over these pieces twice. First runs are taken and bus addresses counted, since the pool is what is short
 * most often, and nothing has to be taken out of the table then; the second time segments are made and granules
 * entered, those that adjoin in memory with one call. If that fails, what was entered is taken out and invalidated at
 * once, also in deferred mode: the caller gets the memory back as if there had been no map.
 *
 * What cannot be taken out or invalidated is quarantined (DRV-22): its bus addresses are not given back, so that no
 * other mapping is found there, and its runs are not either.
 */
#include "../base/require.h"
#include "dma.h"

struct piece {
	viodma_phys phys;
	uint64_t len_bytes, position;
	bool bounced;
	uint32_t keep_bytes; /* bounced: the low bits of the address that the run keeps */
};

/* Where the cutting has come to: the next buffer, and what is left of a stretch of buffers that adjoin in memory. */
struct cut {
	const struct viodma_domain *domain;
	const struct viodma_mapping *mapping;
	uint32_t next, keep_bytes, run_bytes;
	viodma_phys phys;
	uint64_t left, position;
	bool whole; /* the pool takes all of the stretch */
};

/* Granules with one call of map; `done`: bytes entered from the start of the range on. */
struct entering {
	viodma_bus bus;
	viodma_phys phys;
	uint64_t len_bytes, done;
	enum viodma_permission permission;
};

static uint32_t within(const struct viodma_domain *domain)
{
	return domain->platform.granule_bytes - 1;
}

const char *viodma_iommu_fault(struct viodma_domain *domain)
{
	const struct viodma_iommu_config *config = &domain->iommu;
	const struct viodma_iommu_ops *ops = config->ops;
	const struct viodma_pool *pools[2] = {domain->config.pool, domain->config.ring_pool};
	uint32_t i;

	if (!ops || !ops->map || !ops->unmap || !ops->invalidate)
		return "the platform's kind is iommu, and there are no operations for it";
	if (config->mode == VIODMA_IOMMU_DEFERRED && (!config->waiting || !config->deferred_max || !config->now_ns))
		return "deferred mode needs storage for what waits, and a clock";
	if (domain->platform.alignment_bytes > domain->platform.granule_bytes)
		return "the alignment is more than the IOMMU's granule";
	for (i = 0; i < 2; i++) /* = DRV-19 */
		if (pools[i] && pools[i]->slot_bytes < domain->platform.granule_bytes)
			return "a pool's slots are smaller than the IOMMU's granule";
	if (viodma_iova_choose(domain) != VIODMA_OK)
		return "storage for bus addresses is too small, their number no power of two, or no window has room for them";
	return NULL;
}

uint64_t viodma_iommu_bytes_max(const struct viodma_domain *domain)
{
	return (uint64_t)1 << (domain->granule_shift + domain->iova_order);
}

/* ---- the table ---- */

static enum viodma_result enter(struct viodma_domain *domain, viodma_bus bus, viodma_phys phys, uint64_t len_bytes,
				enum viodma_permission permission)
{
	struct viodma_iommu_statistics *statistics = &domain->statistics.iommu;
	enum viodma_result result;

	result = domain->iommu.ops->map(domain->iommu.context, bus, phys, len_bytes, permission); /* = DRV-8 */
	statistics->maps++;
	if (result != VIODMA_OK) {
		statistics->failures++;
		return result == VIODMA_E_EXHAUSTED ? VIODMA_E_EXHAUSTED : VIODMA_E_IO;
	}
	statistics->mapped_bytes += len_bytes;
	if (statistics->mapped_bytes > statistics->mapped_bytes_peak)
		statistics->mapped_bytes_peak = statistics->mapped_bytes;
	return VIODMA_OK;
}

/* Out of the table; not yet invalidated. */
static bool remove_entries(struct viodma_domain *domain, viodma_bus bus, uint64_t len_bytes)
{
	enum viodma_result result = domain->iommu.ops->unmap(domain->iommu.context, bus, len_bytes);

	domain->statistics.iommu.unmaps++;
	if (!VIODMA_REQUIRE(DRV_22, result == VIODMA_OK))
		return false;
	domain->statistics.iommu.mapped_bytes -= len_bytes;
	return true;
}

static bool end_entries(struct viodma_domain *domain, viodma_bus bus, uint64_t len_bytes)
{
	enum viodma_result result;

	if (!remove_entries(domain, bus, len_bytes))
		return false;
	result = domain->iommu.ops->invalidate(domain->iommu.context, bus, len_bytes);
	domain->statistics.iommu.invalidations++;
	return VIODMA_REQUIRE(DRV_22, result == VIODMA_OK);
}

static enum viodma_result take_addresses(struct viodma_domain *domain, uint64_t len_bytes, uint64_t align_bytes,
					 viodma_bus *bus)
{
	enum viodma_result result = viodma_addresses_take(domain, len_bytes, align_bytes, bus); /* = DRV-2 */

	if (result != VIODMA_OK)
		domain->statistics.iommu.failures++;
	/* Neither is an unmap to come that could make room, nor does anything stay entered without being mapped. */
	if (result == VIODMA_E_EXHAUSTED && !domain->statistics.live && !domain->waiting_count &&
	    !(domain->pool_found[0] | domain->pool_found[1] | domain->pool_found[2]))
		return VIODMA_E_LIMIT;
	return result;
}

void viodma_iommu_quarantine(struct viodma_domain *domain, uint64_t len_bytes, uint32_t runs)
{
	domain->statistics.quarantined++;
	domain->statistics.iommu.quarantined_bytes += len_bytes;
	viodma_bounce_quarantine(domain, runs); /* = DRV-22 */
}

/* ---- cutting ---- */

static bool in_pool(const struct viodma_domain *domain, viodma_phys phys, uint64_t len_bytes)
{
	const struct viodma_domain_config *config = &domain->config;

	return (config->pool && viodma_pool_holds(config->pool, phys, len_bytes)) ||
	       (config->ring_pool && viodma_pool_holds(config->ring_pool, phys, len_bytes));
}

/* Does all of what is left go through the pool? */
static bool through_pool(const struct cut *cut)
{
	uint32_t granule = cut->domain->platform.granule_bytes, head = -(uint32_t)cut->phys.v & within(cut->domain);
	viodma_phys body = cut->phys;
	uint64_t len_bytes;

	if (cut->keep_bytes == 1 || cut->left < (uint64_t)head + granule)
		return true;
	body.v += head;
	len_bytes = (cut->left - head) & ~(uint64_t)within(cut->domain);
	return !VIODMA_REQUIRE(DRV_2, cut->domain->kind == VIODMA_DOMAIN_IOMMU || in_pool(cut->domain, body, len_bytes));
}

static bool next_stretch(struct cut *cut)
{
	const struct viodma_buffer *buffers = cut->mapping->buffers;

	if (cut->next == cut->mapping->buffer_count)
		return false;
	cut->phys = buffers[cut->next].phys;
	do
		cut->left += buffers[cut->next++].len_bytes;
	while (cut->next < cut->mapping->buffer_count && buffers[cut->next].phys.v &&
	       buffers[cut->next].phys.v == cut->phys.v + cut->left);
	/* A run begins where the device can begin; anything else keeps its place in the granule. */
	cut->keep_bytes = cut->domain->platform.granule_bytes;
	if (cut->phys.v & (cut->domain->platform.alignment_bytes - 1))
		cut->keep_bytes = 1;
	cut->whole = through_pool(cut);
	return true;
}

static bool next_piece(struct cut *cut, struct piece *piece)
{
	const struct viodma_domain *domain = cut->domain;
	uint32_t offset;
	uint64_t len_bytes;

	if (!cut->left && !next_stretch(cut))
		return false;
	offset = (uint32_t)cut->phys.v & within(domain);
	piece->bounced = true;
	if (cut->whole) {
		/* Runs but the last end with a granule, so that the next one goes on there. */
		len_bytes = cut->run_bytes - (offset & (cut->keep_bytes - 1));
	} else if (!VIODMA_REQUIRE(DRV_19, !offset)) {
		len_bytes = domain->platform.granule_bytes - offset;
	} else {
		len_bytes = cut->left;
		if (!VIODMA_REQUIRE(DRV_19, !((offset + cut->left) & within(domain))))
			len_bytes = ((offset + cut->left) & ~(uint64_t)within(domain)) - offset;
		piece->bounced = !len_bytes;
		if (piece->bounced)
			len_bytes = cut->left;
	}
	piece->len_bytes = len_bytes < cut->left ? len_bytes : cut->left;
	piece->phys = cut->phys;
	piece->position = cut->position;
	piece->keep_bytes = cut->keep_bytes;
	cut->phys.v += piece->len_bytes;
	cut->left -= piece->len_bytes;
	cut->position += piece->len_bytes;
	return true;
}

/* Where in its first granule a piece begins; the granules that it takes. */
static uint32_t offset_of(const struct cut *cut, const struct piece *piece)
{
	uint32_t kept_bytes = piece->bounced ? piece->keep_bytes : cut->domain->platform.granule_bytes;

	return (uint32_t)piece->phys.v & (kept_bytes - 1);
}

static uint64_t granules_of(const struct cut *cut, const struct piece *piece)
{
	return (offset_of(cut, piece) + piece->len_bytes + within(cut->domain)) & ~(uint64_t)within(cut->domain);
}

/* ---- map ---- */

static enum viodma_result take_runs(struct viodma_domain *domain, struct viodma_mapping *mapping, struct cut cut)
{
	struct piece piece;

	while (next_piece(&cut, &piece)) {
		if (piece.bounced) {
			enum viodma_result result;
			uint32_t run;

			if (!domain->bounces)
				return VIODMA_E_UNREACHABLE;
			result = viodma_bounce_take(mapping, piece.phys, (uint32_t)piece.len_bytes, piece.position,
						    piece.keep_bytes, &run);
			if (result != VIODMA_OK)
				return result;
		}
		mapping->iova_bytes += granules_of(&cut, &piece);
	}
	return VIODMA_OK;
}

/* The list of runs, turned round: bounce.c has the last one first. */
static void turn_round(struct viodma_mapping *mapping)
{
	uint32_t run = mapping->runs, turned = VIODMA_POOL_NONE;

	while (run != VIODMA_POOL_NONE) {
		struct viodma_pool_slot *record = viodma_pool_slot(mapping->domain->config.pool, run);
		uint32_t next = record->next;

		record->next = turned;
		turned = run;
		run = next;
	}
	mapping->runs = turned;
}

static enum viodma_result enter_pending(struct viodma_domain *domain, struct entering *entering)
{
	enum viodma_result result = VIODMA_OK;

	if (entering->len_bytes)
		result = enter(domain, entering->bus, entering->phys, entering->len_bytes, entering->permission);
	if (result != VIODMA_OK)
		return result;
	entering->done += entering->len_bytes;
	entering->bus.v += entering->len_bytes;
	entering->len_bytes = 0;
	return VIODMA_OK;
}

/* The next granules of the range lead to phys. */
static enum viodma_result enter_next(struct viodma_domain *domain, struct entering *entering, viodma_phys phys,
				     uint64_t len_bytes)
{
	if (!entering->len_bytes || entering->phys.v + entering->len_bytes != phys.v) {
		enum viodma_result result = enter_pending(domain, entering);

		if (result != VIODMA_OK)
			return result;
		entering->phys = phys;
	}
	entering->len_bytes += len_bytes;
	return VIODMA_OK;
}

static enum viodma_result enter_pieces(struct viodma_domain *domain, struct viodma_mapping *mapping,
				       struct cut cut, struct viodma_segment_list *list, struct entering *entering)
{
	viodma_bus bus = mapping->iova;
	uint32_t run = mapping->runs;
	struct piece piece;

	while (next_piece(&cut, &piece)) {
		uint32_t offset = offset_of(&cut, &piece);
		uint64_t granules = granules_of(&cut, &piece);
		viodma_bus begins = bus;
		enum viodma_result result;

		begins.v += offset;
		result = viodma_segments_put(list, begins, piece.len_bytes);
		if (piece.bounced) {
			piece.phys = viodma_bounce_phys(domain, run);
			run = viodma_pool_slot(domain->config.pool, run)->next;
		}
		piece.phys.v -= offset;
		if (result == VIODMA_OK)
			result = enter_next(domain, entering, piece.phys, granules);
		if (result != VIODMA_OK)
			return result;
		bus.v += granules;
	}
	return enter_pending(domain, entering);
}

/* One buffer that is whole granules, and nothing else: all of it is one piece. */
static bool is_whole(const struct viodma_domain *domain, const struct viodma_mapping *mapping)
{
	const struct viodma_buffer *buffer = mapping->buffers;

	return domain->kind == VIODMA_DOMAIN_IOMMU && mapping->buffer_count == 1 &&
	       !((buffer->phys.v | buffer->len_bytes) & within(domain));
}

static enum viodma_result map_whole(struct viodma_domain *domain, struct viodma_mapping *mapping,
				    struct viodma_segment_list *list)
{
	enum viodma_result result;

	mapping->iova_bytes = mapping->len_bytes;
	result = take_addresses(domain, mapping->iova_bytes, domain->platform.granule_bytes, &mapping->iova);
	if (result != VIODMA_OK)
		return result;
	result = viodma_segments_put(list, mapping->iova, mapping->iova_bytes);
	if (result == VIODMA_OK)
		result = enter(domain, mapping->iova, mapping->buffers->phys, mapping->iova_bytes, list->permission);
	if (result != VIODMA_OK)
		viodma_addresses_give(domain, mapping->iova, mapping->iova_bytes);
	return result;
}

enum viodma_result viodma_iommu_map(struct viodma_domain *domain, struct viodma_mapping *mapping,
				    struct viodma_segment_list *list)
{
	struct entering entering = {.permission = (enum viodma_permission)mapping->direction};
	/* Both times the same: a pool that grows while runs are taken may have larger ones after it. */
	struct cut cut = {.domain = domain, .mapping = mapping, .run_bytes = domain->platform.granule_bytes};
	enum viodma_result result;

	(void)viodma_deferred_settle(domain, false);
	if (is_whole(domain, mapping))
		return map_whole(domain, mapping, list);
	if (domain->bounces)
		cut.run_bytes = viodma_pool_largest_run(domain->config.pool);
	mapping->iova_bytes = 0;
	result = take_runs(domain, mapping, cut);
	if (result == VIODMA_OK)
		result = take_addresses(domain, mapping->iova_bytes, domain->platform.granule_bytes, &mapping->iova);
	if (result != VIODMA_OK)
		return result;
	entering.bus = mapping->iova;
	turn_round(mapping);
	result = enter_pieces(domain, mapping, cut, list, &entering);
	turn_round(mapping);
	if (result == VIODMA_OK)
		return VIODMA_OK;
	if (entering.done && !end_entries(domain, mapping->iova, entering.done)) {
		viodma_iommu_quarantine(domain, mapping->iova_bytes, mapping->runs);
		mapping->runs = VIODMA_POOL_NONE;
		return VIODMA_E_QUARANTINED;
	}
	viodma_addresses_give(domain, mapping->iova, mapping->iova_bytes);
	return result;
}

enum viodma_result viodma_iommu_unmap(struct viodma_domain *domain, struct viodma_mapping *mapping, bool *give_runs)
{
	bool strict = domain->iommu.mode == VIODMA_IOMMU_STRICT;

	*give_runs = false;
	if (!(strict ? end_entries(domain, mapping->iova, mapping->iova_bytes) :
		       remove_entries(domain, mapping->iova, mapping->iova_bytes))) {
		viodma_iommu_quarantine(domain, mapping->iova_bytes, mapping->runs);
		return VIODMA_E_QUARANTINED;
	}
	if (!strict)
		return viodma_deferred_put(domain, mapping->iova, mapping->iova_bytes, mapping->runs);
	viodma_addresses_give(domain, mapping->iova, mapping->iova_bytes);
	*give_runs = true;
	return VIODMA_OK;
}

/* ---- memory from the pool ---- */

enum viodma_result viodma_iommu_enter(struct viodma_domain *domain, viodma_phys phys, uint64_t len_bytes,
				      uint32_t align_bytes, enum viodma_permission permission, viodma_bus *bus)
{
	enum viodma_result result = take_addresses(domain, len_bytes, align_bytes, bus);

	if (result != VIODMA_OK)
		return result;
	result = enter(domain, *bus, phys, len_bytes, permission);
	if (result != VIODMA_OK)
		viodma_addresses_give(domain, *bus, len_bytes);
	return result;
}

enum viodma_result viodma_iommu_take_out(struct viodma_domain *domain, viodma_bus bus, uint64_t len_bytes)
{
	if (!end_entries(domain, bus, len_bytes)) {
		viodma_iommu_quarantine(domain, len_bytes, VIODMA_POOL_NONE);
		return VIODMA_E_QUARANTINED;
	}
	viodma_addresses_give(domain, bus, len_bytes);
	return VIODMA_OK;
}
