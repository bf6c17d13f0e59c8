/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iommu_model.c - how it works: a granule's place in the table is its number modulo the table's size. The domain's range
 * is no larger, so no two of its granules share a place; if they do, a call has broken the contract.
 */
#include "tests/support/iommu_model.h"

#include <string.h>

static uint32_t place_of(const struct iommu_model *model, uint64_t bus)
{
	return (uint32_t)(bus / model->granule_bytes % IOMMU_MODEL_GRANULES);
}

static bool is_there(const struct iommu_model_entry *entry, uint64_t bus)
{
	return entry->permission && entry->bus == bus;
}

static bool due_to_fail(struct iommu_model *model, unsigned *countdown)
{
	if (*countdown && !--*countdown)
		return true;
	return model->fails && model->fails(model->context);
}

static enum viodma_result failure(const struct iommu_model *model)
{
	return model->fail_with ? model->fail_with : VIODMA_E_IO;
}

static bool whole(const struct iommu_model *model, uint64_t bus, uint64_t phys, uint64_t len_bytes)
{
	return len_bytes && !((bus | phys | len_bytes) % model->granule_bytes) && bus + (len_bytes - 1) >= bus;
}

static enum viodma_result map(void *context, viodma_bus bus, viodma_phys phys, uint64_t len_bytes,
			      enum viodma_permission permission)
{
	struct iommu_model *model = context;
	uint64_t at;

	model->maps++;
	if (!whole(model, bus.v, phys.v, len_bytes) || !permission || (unsigned)permission > VIODMA_READ_WRITE)
		model->broken++;
	if (due_to_fail(model, &model->fail_map))
		return failure(model);
	for (at = 0; at < len_bytes; at += model->granule_bytes) {
		struct iommu_model_entry *entry = &model->table[place_of(model, bus.v + at)];

		if (entry->permission)
			model->broken++;
		entry->bus = bus.v + at;
		entry->phys = phys.v + at;
		entry->permission = permission;
	}
	return VIODMA_OK;
}

static enum viodma_result unmap(void *context, viodma_bus bus, uint64_t len_bytes)
{
	struct iommu_model *model = context;
	uint64_t at;

	model->unmaps++;
	if (!whole(model, bus.v, 0, len_bytes))
		model->broken++;
	if (due_to_fail(model, &model->fail_unmap))
		return failure(model);
	for (at = 0; at < len_bytes; at += model->granule_bytes) {
		struct iommu_model_entry *entry = &model->table[place_of(model, bus.v + at)];

		if (!is_there(entry, bus.v + at))
			model->broken++;
		entry->permission = VIODMA_NO_ACCESS;
	}
	return VIODMA_OK;
}

static enum viodma_result invalidate(void *context, viodma_bus bus, uint64_t len_bytes)
{
	struct iommu_model *model = context;
	uint64_t at;

	model->invalidations++;
	if (!whole(model, bus.v, 0, len_bytes))
		model->broken++;
	if (due_to_fail(model, &model->fail_invalidate))
		return failure(model);
	for (at = 0; at < len_bytes; at += model->granule_bytes)
		if (is_there(&model->cached[place_of(model, bus.v + at)], bus.v + at))
			model->cached[place_of(model, bus.v + at)].permission = VIODMA_NO_ACCESS;
	return VIODMA_OK;
}

static enum viodma_result invalidate_all(void *context)
{
	struct iommu_model *model = context;

	model->all_invalidations++;
	if (due_to_fail(model, &model->fail_invalidate))
		return failure(model);
	memset(model->cached, 0, sizeof(model->cached));
	return VIODMA_OK;
}

const struct viodma_iommu_ops iommu_model_ops = {map, unmap, invalidate, invalidate_all};
const struct viodma_iommu_ops iommu_model_ops_by_range = {map, unmap, invalidate, NULL};

void iommu_model_init(struct iommu_model *model, uint32_t granule_bytes)
{
	memset(model, 0, sizeof(*model));
	model->granule_bytes = granule_bytes;
	model->now_ns = 1000000;
}

uint64_t iommu_model_now(void *context)
{
	const struct iommu_model *model = context;

	return model->now_ns;
}

bool iommu_model_translate(void *context, uint64_t bus, enum viodma_permission permission, uint64_t *phys)
{
	struct iommu_model *model = context;
	uint64_t offset = bus % model->granule_bytes;
	struct iommu_model_entry *cached = &model->cached[place_of(model, bus)];

	if (!is_there(cached, bus - offset)) {
		const struct iommu_model_entry *entry = &model->table[place_of(model, bus)];

		if (!is_there(entry, bus - offset))
			return false;
		*cached = *entry;
	}
	*phys = cached->phys + offset;
	return !((unsigned)permission & ~(unsigned)cached->permission);
}

bool iommu_model_reaches(const struct iommu_model *model, uint64_t phys)
{
	uint32_t i;

	phys -= phys % model->granule_bytes;
	for (i = 0; i < IOMMU_MODEL_GRANULES; i++)
		if ((model->table[i].permission && model->table[i].phys == phys) ||
		    (model->cached[i].permission && model->cached[i].phys == phys))
			return true;
	return false;
}

uint32_t iommu_model_entered(const struct iommu_model *model)
{
	uint32_t i, count = 0;

	for (i = 0; i < IOMMU_MODEL_GRANULES; i++)
		count += model->table[i].permission != VIODMA_NO_ACCESS;
	return count;
}

void iommu_model_cache_all(struct iommu_model *model)
{
	uint32_t i;

	for (i = 0; i < IOMMU_MODEL_GRANULES; i++)
		if (model->table[i].permission)
			model->cached[i] = model->table[i];
}
