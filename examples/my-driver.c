/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * my-driver.c - read the first sector of a disk that another process serves: my-driver SOCKET.
 *
 * The device is handed one memfd, the pool. The sector's buffer is private memory of this process, which no device ever
 * reaches: it is bounced, because the platform says "restricted". Another platform is another text, and nothing else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <viodma/driver_blk.h>
#include <viodma/vhost_user_front.h>

enum { POOL_BYTES = 256 * 1024, SIZE = 64, PARTS = 8, SEGMENTS = 16 };
#define PRIVATE_PHYS 0x100000000u
#define POOL_PHYS 0x40000000u
#define POOL_BUS 0x80000000u

static _Alignas(4096) unsigned char sector[4096];
static _Alignas(16) unsigned char pool_storage[VIODMA_POOL_STORAGE_BYTES(POOL_BYTES, VIODMA_POOL_SLOT_BYTES)];
static _Alignas(16) unsigned char queue_storage[VIODMA_DRIVER_QUEUE_STORAGE_BYTES(SIZE)];
static _Alignas(16) unsigned char blk_storage[VIODMA_DRIVER_BLK_STORAGE_BYTES(PARTS, SEGMENTS)];
static struct viodma_front *front;
static struct viodma_front_memory shared;
static struct viodma_pool pool;
static struct viodma_domain domain;
static struct viodma_driver driver;
static struct viodma_driver_queue queue;
static struct viodma_driver_blk blk;

/* Every step says what went wrong by itself. */
static void must(enum viodma_result result, const char *what)
{
    if (result == VIODMA_OK)
        return;
    fprintf(stderr, "%s: %s %s: %s\n", what, viodma_result_name(result), viodma_result_requirement(result),
            viodma_result_text(result));
    exit(1);
}

static void done(void *context, struct viodma_driver_blk_request *request, enum viodma_result result)
{
    (void)request;
    *(enum viodma_result *)context = result;
}

static void set_up(const char *path)
{
    const struct viodma_front_options options = {.name = "disk", .socket_path = path, .socket_fd = -1};
    const struct viodma_pool_config pool_config = {.name = "disk"};
    const struct viodma_driver_policy policy = {0};
    static struct viodma_platform platform;
    static struct viodma_object objects[2];
    static const struct viodma_memory memory = {objects, 2};
    struct viodma_domain_config domain_config = {.platform = &platform, .memory = &memory, .pool = &pool};
    struct viodma_driver_queue_config queue_config = {
        .domain = &domain, .storage = queue_storage, .storage_bytes = sizeof(queue_storage), .size = SIZE};
    const struct viodma_driver_blk_config blk_config = {
        .driver = &driver, .domain = &domain, .queues = {&queue}, .queue_count = 1, .parts = PARTS,
        .segments_max = SEGMENTS, .storage = blk_storage, .storage_bytes = sizeof(blk_storage)};
    enum viodma_result result;
    const char *why;

    must(viodma_platform_parse("kind=offset window=0x40000000+256K@0x80000000 restricted pool=0x40000000+256K",
                               &platform, NULL, NULL), "platform");
    must(viodma_front_connect(&options, &front), path);
    must(viodma_front_memory_new(POOL_BYTES, (viodma_phys){POOL_PHYS}, &shared), "memory");
    objects[0] = shared.object;
    objects[1] = (struct viodma_object){sector, {PRIVATE_PHYS}, sizeof(sector)};

    must(viodma_driver_negotiate(&driver, viodma_front_transport(front), &platform, &policy,
                                 viodma_driver_blk_wanted()), "negotiation");
    must(viodma_pool_init(&pool, &pool_config), "pool");
    must(viodma_pool_add(&pool, &shared.object, pool_storage, sizeof(pool_storage)), "pool");
    must(viodma_front_share(front, &shared), "sharing the pool");
    must(viodma_front_grant(front, (viodma_bus){POOL_BUS}, (viodma_phys){POOL_PHYS}, POOL_BYTES, VIODMA_READ_WRITE,
                            true), "granting the pool");
    domain_config.addressing = driver.decision.addressing;
    result = viodma_domain_check(&domain_config, &why);
    must(result, why ? why : "domain");
    must(viodma_domain_init(&domain, &domain_config), "domain");
    viodma_driver_queue_features(&queue_config, &driver);
    must(viodma_driver_queue_init(&queue, &queue_config), "queue");
    must(viodma_driver_queue_enable(&queue, &driver.transport), "queue");
    must(viodma_driver_blk_init(&blk, &blk_config), "disk");
    must(viodma_driver_ready(&driver), "DRIVER_OK");
}

int main(int argc, char **argv)
{
    const struct viodma_buffer buffer = {{PRIVATE_PHYS}, 512};
    enum viodma_result ended = VIODMA_WAIT, result = VIODMA_OK;
    struct viodma_driver_blk_request request = {.operation = VIODMA_DRIVER_BLK_READ, .buffers = &buffer,
        .buffer_count = 1, .deadline_ns = UINT64_MAX, .done = done, .context = &ended};

    if (argc != 2)
        return 2;
    set_up(argv[1]);
    must(viodma_driver_blk_submit(&blk, &request), "read");
    while (ended == VIODMA_WAIT) {
        result = viodma_driver_blk_poll(&blk, 0);
        if (result == VIODMA_EMPTY)
            result = viodma_front_wait(front, UINT64_MAX);
        must(result, "disk");
    }
    must(ended, "read");
    fwrite(sector, 1, 512, stdout);

    must(viodma_driver_reset(&driver), "reset");
    viodma_driver_blk_stop(&blk, VIODMA_E_RESET);
    must(viodma_driver_blk_free(&blk), "disk");
    must(viodma_driver_queue_free(&queue), "queue");
    must(viodma_domain_free(&domain), "domain");
    viodma_front_free(front);
    viodma_front_memory_free(&shared);
    return 0;
}
