/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * both-halves.c - driver and device in one process, on a packed ring: the driver sends a number, the device its square.
 *
 * Between the two is a transport of three functions; queue_enable is where the device learns of its ring.
 */
#include <stdio.h>
#include <viodma/driver_queue.h>
#include <viodma/queue.h>

enum { SIZE = 8, POOL = 32768, NUMBER = POOL, SQUARE = NUMBER + 8, PHYS = 0x40000000 };
static _Alignas(4096) unsigned char memory[POOL + 4096];
static _Alignas(16) unsigned char slots[VIODMA_POOL_STORAGE_BYTES(POOL, VIODMA_POOL_SLOT_BYTES)];
static _Alignas(16) unsigned char regions[VIODMA_SPACE_REGION_BYTES(1)];
static _Alignas(128) unsigned char driver_side[VIODMA_DRIVER_QUEUE_STORAGE_BYTES(SIZE)];
static _Alignas(128) unsigned char device_side[VIODMA_QUEUE_MEMORY_BYTES(SIZE, 4, 8)];
static struct viodma_platform platform;
static struct viodma_pool pool;
static struct viodma_domain domain;
static struct viodma_space space;
static struct viodma_driver_queue driver;
static struct viodma_queue device;

static enum viodma_result size_max(void *context, unsigned queue, uint32_t *size)
{
    return (void)context, *size = queue ? 0 : SIZE, VIODMA_OK;
}

static enum viodma_result enable(void *context, unsigned queue, const struct viodma_transport_queue *where)
{
    const struct viodma_queue_setup setup = {where->size, where->desc, where->avail, where->used,
                                             .base = VIODMA_QUEUE_PACKED_BASE, .packed = true};

    return (void)queue, viodma_queue_start(context, &setup, NULL);
}

static void notify(void *context, unsigned queue) /* the device works in the driver's call */
{
    struct viodma_request *request;
    uint64_t n;

    for ((void)queue, viodma_queue_kicked(context); viodma_queue_pop(context, &request) == VIODMA_OK;)
        if (viodma_request_read(request, 0, &n, 8) == VIODMA_OK &&
            (n *= n, viodma_request_write(request, 0, &n, 8)) == VIODMA_OK)
            viodma_queue_push(context, request, 8);
        else
            viodma_queue_reject(context, request, NULL, 0);
}

int main(void)
{
    const struct viodma_pool_config in_pool = {.name = "rings"};
    const struct viodma_object object = {memory, {PHYS}, POOL};
    const struct viodma_domain_config in_domain = {&platform, VIODMA_ADDRESSING_PHYSICAL, .pool = &pool};
    const struct viodma_driver_queue_config in_driver = {
        &domain, driver_side, sizeof(driver_side), .size = SIZE, .packed = true};
    const struct viodma_region region = {.phys = {PHYS}, .user = {PHYS}, .len_bytes = sizeof(memory), .memory = memory};
    const struct viodma_queue_config in_device = {.space = &space, .memory = device_side,
        .memory_bytes = sizeof(device_side), .size_max = SIZE, .segments_max = 4, .pieces_max = 8};
    const struct viodma_transport_ops ops = {.queue_size_max = size_max, .queue_enable = enable, .notify = notify};
    const struct viodma_transport transport = {&ops, &device, "both halves"};
    const struct viodma_buffer number = {{PHYS + NUMBER}, 8}, square = {{PHYS + SQUARE}, 8};
    struct viodma_mapping out = {0}, in = {0};
    struct viodma_segment segments[2];
    struct viodma_driver_completion done;

    viodma_platform_init(&platform); /* direct */
    viodma_space_init(&space, regions, 1, NULL);
    viodma_space_set_physical(&space);
    if (viodma_pool_init(&pool, &in_pool) != VIODMA_OK ||
        viodma_pool_add(&pool, &object, slots, sizeof(slots)) != VIODMA_OK ||
        viodma_domain_init(&domain, &in_domain) != VIODMA_OK ||
        viodma_space_add_region(&space, &region) != VIODMA_OK || viodma_queue_init(&device, &in_device) != VIODMA_OK ||
        viodma_driver_queue_init(&driver, &in_driver) != VIODMA_OK ||
        viodma_driver_queue_enable(&driver, &transport) != VIODMA_OK)
        return 1;

    *(uint64_t *)(void *)(memory + NUMBER) = 12;
    if (viodma_driver_queue_map_and_add(&driver, &out, &number, 1, &in, &square, 1, segments, 2, &out) != VIODMA_OK)
        return 1;
    viodma_driver_queue_publish(&driver);
    viodma_driver_queue_kick(&driver, &transport);
    if (viodma_driver_queue_get(&driver, &done) != VIODMA_OK ||
        viodma_domain_unmap(&in, done.written_bytes) != VIODMA_OK || viodma_domain_unmap(&out, 0) != VIODMA_OK)
        return 1;
    printf("%u\n", (unsigned)*(const uint64_t *)(const void *)(memory + SQUARE));
    return 0;
}
