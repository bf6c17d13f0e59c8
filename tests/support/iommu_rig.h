/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iommu_rig.h - how it works: a domain over the model IOMMU (iommu_model.h), whose bus addresses are neither physical ones
 * nor pointers. What the device could reach is looked at byte by byte, cached translations included: of private memory it
 * must be what is mapped, and nothing else.
 */
#ifndef VIODMA_TESTS_IOMMU_RIG_H
#define VIODMA_TESTS_IOMMU_RIG_H

#include "tests/support/check.h"
#include "tests/support/dma_rig.h"
#include "tests/support/iommu_model.h"

#define GRANULE 4096u
#define RANGE 1024u /* granules of bus addresses */
#define WAITING 4u

#define IOMMU "kind=iommu granule=4096"
#define BOUNCE_IOMMU "kind=iommu granule=4096 restricted pool=0x50000000+0x8010000/4K"

static struct dma_rig rig;
static struct iommu_model model;
static struct viodma_iommu_config config;
static struct viodma_iommu_waiting waiting[WAITING];
static unsigned char storage[VIODMA_IOMMU_STORAGE_BYTES(RANGE)] __attribute__((aligned(16)));
static struct viodma_segment segments[16];
static struct viodma_mapping mapping;

/* Any platform, the model for an IOMMU, a pool of `slots` slots; 0: none. The domain is the test's to add. */
static inline bool prepare(const char *platform, enum viodma_iommu_mode mode, uint32_t slots)
{
	CHECK(dma_rig_start(&rig, platform));
	iommu_model_init(&model, rig.platform.granule_bytes);
	memset(&config, 0, sizeof(config));
	memset(&mapping, 0, sizeof(mapping));
	config.ops = &iommu_model_ops;
	config.context = &model;
	config.mode = mode;
	config.storage = storage;
	config.storage_bytes = sizeof(storage);
	config.granules = RANGE;
	config.waiting = waiting;
	config.deferred_max = WAITING;
	config.deferred_ns = 1000;
	config.now_ns = iommu_model_now;
	rig.iommu = &config;
	rig.translate = rig.platform.kind == VIODMA_PLATFORM_IOMMU ? iommu_model_translate : NULL;
	rig.translate_context = &model;
	if (slots)
		CHECK_RESULT(dma_rig_add_pool(&rig, GRANULE, 0, (uint64_t)slots * GRANULE), VIODMA_OK);
	return true;
}

static inline bool start(const char *platform, enum viodma_iommu_mode mode, uint32_t slots)
{
	CHECK(prepare(platform, mode, slots));
	CHECK_RESULT(dma_rig_add_domain(&rig, VIODMA_ADDRESSING_PLATFORM), VIODMA_OK);
	return true;
}

/* Nothing is entered, taken or in use; the domain ends. */
static inline bool nothing_is_left(void)
{
	CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_OK);
	CHECK_EQUAL(iommu_model_entered(&model), 0);
	CHECK_EQUAL(rig.domain.statistics.iommu.mapped_bytes, 0);
	CHECK_EQUAL(rig.domain.iova_used, 0);
	CHECK_EQUAL(model.broken, 0);
	return dma_rig_end(&rig);
}

static inline enum viodma_result map(const struct viodma_buffer *buffers, uint32_t count, enum viodma_direction direction)
{
	return viodma_domain_map(&rig.domain, &mapping, buffers, count, direction, segments, 16);
}

/* Of the driver's own memory, does the device reach these bytes, and no others? */
static inline bool reaches_only(const struct viodma_buffer *buffers, uint32_t count)
{
	uint64_t page, phys;
	unsigned i;
	uint32_t b;

	for (i = 0; i < RIG_OBJECTS; i++) {
		const struct viodma_object *object = &rig.objects[i];

		if (object->phys.v == RIG_POOL || object->phys.v == RIG_RING)
			continue;
		for (page = object->phys.v; page < object->phys.v + object->len_bytes; page += rig.platform.granule_bytes) {
			if (!iommu_model_reaches(&model, page))
				continue;
			for (phys = page; phys < page + rig.platform.granule_bytes; phys++) {
				for (b = 0; b < count; b++)
					if (phys >= buffers[b].phys.v && phys - buffers[b].phys.v < buffers[b].len_bytes)
						break;
				if (b == count)
					return check_note(__FILE__, __LINE__, "0x%llx is reachable", (unsigned long long)phys);
			}
		}
	}
	return true;
}

/* Does the device read what the driver wrote, everywhere? */
static inline bool device_reads_all(const struct viodma_buffer *buffers, uint32_t count)
{
	static unsigned char got[0x40000];
	uint64_t at = 0, k;
	uint32_t b;

	CHECK(dma_rig_device_reads(&rig, segments, mapping.segment_count, 0, got, mapping.len_bytes));
	for (b = 0; b < count; b++)
		for (k = 0; k < buffers[b].len_bytes; k++, at++)
			CHECK_EQUAL(got[at], *dma_rig_at(&rig, buffers[b].phys.v + k));
	return true;
}

/* The device writes a pattern over all of it; after the unmap, is it there, and nothing else touched? */
static inline bool device_writes_all(const struct viodma_buffer *buffers, uint32_t count)
{
	static unsigned char put[0x40000];
	uint64_t at = 0, k;
	uint32_t b;

	for (k = 0; k < mapping.len_bytes; k++)
		put[k] = (unsigned char)(k * 7 + (k >> 8) + 1);
	CHECK(dma_rig_device_writes(&rig, segments, mapping.segment_count, 0, put, mapping.len_bytes));
	CHECK_RESULT(viodma_domain_unmap(&mapping, mapping.len_bytes), VIODMA_OK);
	for (b = 0; b < count; b++)
		for (k = 0; k < buffers[b].len_bytes; k++, at++)
			CHECK_EQUAL(*dma_rig_at(&rig, buffers[b].phys.v + k), put[at]);
	return dma_rig_rest_is_intact(&rig, buffers, count);
}

#endif
