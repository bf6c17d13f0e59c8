/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fixed.c - how it works: on direct and offset platforms each physical address has one bus address, or none, for ever.
 * A buffer is used where it lies if the device reaches all of it, aligned as it needs to be; else all of it goes
 * through the pool, in as many runs as it takes. It is either or, because half a buffer bounced saves little and needs
 * a segment more.
 *
 * Used where it lies, too, is what lies in the pool, on any platform; on a restricted one nothing else is (DRV-2).
 *
 * A platform that is not coherent: a cache line that the device writes in memory, and the driver in its cache, loses
 * one or the other. So a buffer that the device may write, and that shares a line with something else, goes through the
 * pool, where it shares lines with nothing.
 */
#include "../base/require.h"
#include "dma.h"

static void cut_to(uint64_t *len_bytes, uint64_t most)
{
	if (*len_bytes > most)
		*len_bytes = most;
}

static bool by_window(const struct viodma_platform *platform, viodma_phys phys, viodma_bus *bus, uint64_t *len_bytes)
{
	uint32_t i;

	for (i = 0; i < platform->window_count; i++) {
		const struct viodma_window *window = &platform->windows[i];
		uint64_t offset = phys.v - window->phys.v;

		if (phys.v < window->phys.v || offset >= window->len_bytes)
			continue;
		bus->v = window->bus.v + offset;
		*len_bytes = window->len_bytes - offset;
		return true;
	}
	return false;
}

bool viodma_fixed_bus(const struct viodma_domain *domain, viodma_phys phys, viodma_bus *bus, uint64_t *len_bytes)
{
	const struct viodma_platform *platform = &domain->platform;
	uint64_t last = UINT64_MAX >> (64 - platform->address_bits);

	*len_bytes = UINT64_MAX;
	bus->v = phys.v; /* = DRV-3 */
	/* = DRV-2 */
	if (domain->addressing == VIODMA_ADDRESSING_PLATFORM && platform->kind == VIODMA_PLATFORM_OFFSET) {
		if (platform->window_count) {
			if (!by_window(platform, phys, bus, len_bytes))
				return false;
		} else if (!domain->bus_of.bus_of(domain->bus_of.context, phys, bus, len_bytes) || !*len_bytes) {
			return false;
		}
	}
	if (!VIODMA_REQUIRE(DRV_2, bus->v <= last))
		return false;
	/* Up to the last address that the device drives: last - bus + 1 bytes, of which 2^64 would not fit. */
	cut_to(len_bytes, last - bus->v == UINT64_MAX ? UINT64_MAX : last - bus->v + 1);
	return true;
}

bool viodma_fixed_reaches(const struct viodma_domain *domain, viodma_phys phys, uint64_t len_bytes)
{
	uint32_t alignment = domain->platform.alignment_bytes;

	while (len_bytes) {
		viodma_bus bus;
		uint64_t part;

		if (!viodma_fixed_bus(domain, phys, &bus, &part) || (bus.v & (alignment - 1)))
			return false;
		cut_to(&part, len_bytes);
		phys.v += part;
		len_bytes -= part;
	}
	return true;
}

static enum viodma_result put(const struct viodma_domain *domain, struct viodma_segment_list *list, viodma_phys phys,
			      uint64_t len_bytes)
{
	uint32_t alignment = domain->platform.alignment_bytes;

	while (len_bytes) {
		enum viodma_result result;
		viodma_bus bus;
		uint64_t part;

		if (!viodma_fixed_bus(domain, phys, &bus, &part) || (bus.v & (alignment - 1)))
			return VIODMA_E_UNREACHABLE;
		cut_to(&part, len_bytes);
		result = viodma_segments_put(list, bus, part);
		if (result != VIODMA_OK)
			return result;
		phys.v += part;
		len_bytes -= part;
	}
	return VIODMA_OK;
}

static bool in_pool(const struct viodma_domain *domain, const struct viodma_buffer *buffer)
{
	const struct viodma_domain_config *config = &domain->config;

	return (config->pool && viodma_pool_holds(config->pool, buffer->phys, buffer->len_bytes)) ||
	       (config->ring_pool && viodma_pool_holds(config->ring_pool, buffer->phys, buffer->len_bytes));
}

/* Is a buffer used where it lies? */
static bool in_place(const struct viodma_domain *domain, const struct viodma_buffer *buffer,
		     enum viodma_direction direction)
{
	const struct viodma_platform *platform = &domain->platform;
	uint64_t ends = buffer->phys.v | buffer->len_bytes;

	if (!VIODMA_REQUIRE(DRV_2, !platform->restricted || in_pool(domain, buffer)))
		return false;
	if (!VIODMA_REQUIRE(DRV_20, platform->coherent || direction == VIODMA_TO_DEVICE ||
					    !(ends & (viodma_dma_line_bytes(platform) - 1)) || in_pool(domain, buffer)))
		return false;
	return viodma_fixed_reaches(domain, buffer->phys, buffer->len_bytes);
}

/* All of a buffer, through the pool. */
static enum viodma_result bounce(struct viodma_domain *domain, struct viodma_mapping *mapping,
				 struct viodma_segment_list *list, const struct viodma_buffer *buffer,
				 uint64_t position)
{
	uint32_t keep_bytes = domain->platform.granule_bytes, left = buffer->len_bytes;
	viodma_phys origin = buffer->phys;

	if (!domain->bounces)
		return VIODMA_E_UNREACHABLE;
	/* Where in a granule the data lies is kept, unless the device could not begin there. */
	if (keep_bytes > domain->config.pool->slot_bytes)
		keep_bytes = domain->config.pool->slot_bytes;
	if (origin.v & (keep_bytes - 1) & (domain->platform.alignment_bytes - 1))
		keep_bytes = 1;
	while (left) {
		uint32_t offset = (uint32_t)origin.v & (keep_bytes - 1);
		uint32_t piece = viodma_pool_largest_run(domain->config.pool) - offset, run;
		enum viodma_result result;

		if (piece > left)
			piece = left;
		result = viodma_bounce_take(mapping, origin, piece, position, keep_bytes, &run);
		if (result == VIODMA_E_EXHAUSTED && !viodma_bounce_fits_empty(mapping, left))
			result = VIODMA_E_LIMIT;
		if (result != VIODMA_OK)
			return result;
		result = put(domain, list, viodma_bounce_phys(domain, run), piece);
		if (result != VIODMA_OK)
			return result;
		origin.v += piece;
		position += piece;
		left -= piece;
	}
	return VIODMA_OK;
}

enum viodma_result viodma_fixed_map(struct viodma_domain *domain, struct viodma_mapping *mapping,
				    struct viodma_segment_list *list)
{
	uint64_t position = 0;
	uint32_t i;

	for (i = 0; i < mapping->buffer_count; i++) {
		const struct viodma_buffer *buffer = &mapping->buffers[i];
		enum viodma_result result = in_place(domain, buffer, mapping->direction) ?
						    put(domain, list, buffer->phys, buffer->len_bytes) :
						    bounce(domain, mapping, list, buffer, position);

		if (result != VIODMA_OK)
			return result;
		position += buffer->len_bytes;
	}
	return VIODMA_OK;
}
