/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * my-map.c - map, sync, unmap: how memory comes into a device's reach, on two platforms with one code.
 *
 * The "device" here is two lines that look where a bus address leads. The first platform is direct. On the second the
 * device reaches a pool and nothing else, at bus addresses of its own; nothing in use_a_buffer knows.
 */
#include <stdio.h>
#include <string.h>
#include <viodma/domain.h>

enum { MEMORY_BYTES = 16384, POOL_BYTES = 32768, MEMORY_PHYS = 0x10000, POOL_PHYS = 0x80000 };
static _Alignas(4096) unsigned char memory[MEMORY_BYTES], pool_memory[POOL_BYTES];
static _Alignas(16) unsigned char pool_storage[VIODMA_POOL_STORAGE_BYTES(POOL_BYTES, VIODMA_POOL_SLOT_BYTES)];
static const struct viodma_object objects[] = {
    {memory, {MEMORY_PHYS}, MEMORY_BYTES},
    {pool_memory, {POOL_PHYS}, POOL_BYTES},
};

/* What the device finds at a bus address, on either platform. */
static unsigned char *device_finds(const struct viodma_platform *platform, viodma_bus bus)
{
    if (platform->restricted)
        return pool_memory + (bus.v - platform->windows[0].bus.v);
    return bus.v >= POOL_PHYS ? pool_memory + (bus.v - POOL_PHYS) : memory + (bus.v - MEMORY_PHYS);
}

/* README begin */
static enum viodma_result use_a_buffer(struct viodma_domain *domain)
{
    const struct viodma_buffer buffer = {{MEMORY_PHYS + 100}, 64};
    struct viodma_segment segments[2];
    struct viodma_mapping mapping = {0};
    enum viodma_result result;

    strcpy((char *)memory + 100, "from the driver");
    result = viodma_domain_map(domain, &mapping, &buffer, 1, VIODMA_BIDIRECTIONAL, segments, 2);
    if (result != VIODMA_OK)
        return result; /* VIODMA_E_EXHAUSTED: again after an unmap */
    printf("physical 0x%llx, bus 0x%llx: the device reads \"%s\"\n", (unsigned long long)buffer.phys.v,
           (unsigned long long)segments[0].bus.v, device_finds(&domain->platform, segments[0].bus));

    strcpy((char *)device_finds(&domain->platform, segments[0].bus), "from the device");
    viodma_domain_sync_for_driver(&mapping, 0, 16); /* it says that it wrote 16 bytes; the mapping stays */
    printf("the driver reads \"%s\"\n", memory + 100);

    strcpy((char *)memory + 100, "again");
    viodma_domain_sync_for_device(&mapping, 0, 6);
    printf("the device reads \"%s\"\n", device_finds(&domain->platform, segments[0].bus));
    return viodma_domain_unmap(&mapping, 0);
}
/* README end */

static enum viodma_result try_platform(const char *text)
{
    const struct viodma_memory all = {objects, 2};
    const struct viodma_pool_config pool_config = {.name = "my pool"};
    struct viodma_platform platform;
    struct viodma_pool pool;
    struct viodma_domain domain;
    struct viodma_domain_config config = {
        .platform = &platform, .addressing = VIODMA_ADDRESSING_PLATFORM, .memory = &all, .pool = &pool};
    enum viodma_result result;

    printf("%s\n", text);
    if ((result = viodma_platform_parse(text, &platform, NULL, NULL)) != VIODMA_OK ||
        (result = viodma_pool_init(&pool, &pool_config)) != VIODMA_OK ||
        (result = viodma_pool_add(&pool, &objects[1], pool_storage, sizeof(pool_storage))) != VIODMA_OK ||
        (result = viodma_domain_init(&domain, &config)) != VIODMA_OK)
        return result;
    result = use_a_buffer(&domain);
    if (viodma_domain_free(&domain) != VIODMA_OK || viodma_pool_free(&pool) != VIODMA_OK)
        return VIODMA_E_BUSY;
    return result;
}

int main(void)
{
    enum viodma_result result = try_platform("kind=direct");

    if (result == VIODMA_OK)
        result = try_platform("kind=offset window=0x80000+32K@0xfe000000 restricted pool=0x80000+32K");
    if (result != VIODMA_OK)
        printf("%s: %s\n", viodma_result_name(result), viodma_result_text(result));
    return result != VIODMA_OK;
}
