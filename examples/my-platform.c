/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * my-platform.c - all that a platform supplies to run viodma's drivers: four C functions (viodma/port.h; here the C
 * library has them), a description, and, as this one is odd, its address function and its cache operations.
 *
 * The bus of this platform sees every page of 4096 bytes elsewhere: bit 31 turned over, and the page number's last two
 * bits swapped. Devices drive 32 address bits, and do not look into the processor's caches. The program maps a list of
 * buffers and shows what a driver would write into its ring. (The domain cleans the pool once, at its start.)
 */
#include <stdio.h>
#include <viodma/domain.h>

enum { PAGE = 4096, MEMORY_BYTES = 8 * PAGE, POOL_BYTES = 4 * PAGE, MEMORY_PHYS = 0x1000000, POOL_PHYS = 0x2000000 };
static _Alignas(PAGE) unsigned char memory[MEMORY_BYTES], pool_memory[POOL_BYTES];
static _Alignas(16) unsigned char pool_storage[VIODMA_POOL_STORAGE_BYTES(POOL_BYTES, PAGE)];

static bool my_bus_of(void *context, viodma_phys phys, viodma_bus *bus, uint64_t *len_bytes)
{
    uint64_t page = phys.v / PAGE;

    (void)context;
    if (phys.v >> 32)
        return false; /* no device reaches it: what lies there is bounced */
    page = (page & ~3ull) | (page & 1) << 1 | (page >> 1 & 1);
    bus->v = (page * PAGE + phys.v % PAGE) ^ 0x80000000u;
    *len_bytes = PAGE - phys.v % PAGE;
    return true;
}

static void my_clean(void *context, void *at, viodma_phys phys, uint64_t len_bytes)
{
    (void)context; /* a processor's instruction for each line: dc cvac, dcbst, cbo.clean */
    (void)at;
    printf("  clean      %5llu bytes at physical 0x%llx\n", (unsigned long long)len_bytes, (unsigned long long)phys.v);
}

static void my_invalidate(void *context, void *at, viodma_phys phys, uint64_t len_bytes)
{
    (void)context;
    (void)at;
    printf("  invalidate %5llu bytes at physical 0x%llx\n", (unsigned long long)len_bytes, (unsigned long long)phys.v);
}

int main(void)
{
    const struct viodma_object objects[] = {{memory, {MEMORY_PHYS}, MEMORY_BYTES}, {pool_memory, {POOL_PHYS}, POOL_BYTES}};
    const struct viodma_memory all = {objects, 2};
    const struct viodma_bus_of bus_of = {.bus_of = my_bus_of};
    const struct viodma_cache_ops cache = {.clean = my_clean, .invalidate = my_invalidate};
    const struct viodma_pool_config pool_config = {.name = "my pool", .slot_bytes = PAGE};
    /* Two whole pages, which the bus sees apart, and 100 bytes that share cache lines with the driver's own data. */
    const struct viodma_buffer buffers[] = {{{MEMORY_PHYS}, 2 * PAGE}, {{MEMORY_PHYS + 3 * PAGE + 10}, 100}};
    struct viodma_segment segments[8];
    struct viodma_mapping mapping = {0};
    struct viodma_platform platform;
    struct viodma_pool pool;
    struct viodma_domain domain;
    const struct viodma_domain_config config = {
        .platform = &platform, .addressing = VIODMA_ADDRESSING_PLATFORM, .memory = &all, .pool = &pool,
        .bus_of = &bus_of, .cache = &cache};
    enum viodma_result result;

    if ((result = viodma_platform_parse("kind=offset width=32 granule=4096 non-coherent line=64", &platform, NULL,
                                        NULL)) == VIODMA_OK &&
        (result = viodma_pool_init(&pool, &pool_config)) == VIODMA_OK &&
        (result = viodma_pool_add(&pool, &objects[1], pool_storage, sizeof(pool_storage))) == VIODMA_OK &&
        (result = viodma_domain_init(&domain, &config)) == VIODMA_OK) {
        puts("a map, for the device to write:");
        result = viodma_domain_map(&domain, &mapping, buffers, 2, VIODMA_FROM_DEVICE, segments, 8);
    }
    if (result != VIODMA_OK) {
        printf("%s: %s\n", viodma_result_name(result), viodma_result_text(result));
        return 1;
    }
    for (uint32_t i = 0; i < mapping.segment_count; i++)
        printf("  descriptor: bus address 0x%llx, %u bytes\n", (unsigned long long)segments[i].bus.v, segments[i].len_bytes);
    puts("unmap, all of it written:");
    return viodma_domain_unmap(&mapping, mapping.len_bytes) != VIODMA_OK || viodma_domain_free(&domain) != VIODMA_OK;
}
