/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk_load.c - how it works: one front end, viodma's, reads 4 KiB blocks from several vhost-user disks, by turns: a round
 * is each of them for some milliseconds, beginning with another one each time. All are connected all the time, and those
 * whose turn it is not sleep.
 *
 *	disk_load ROUNDS MILLISECONDS IN-FLIGHT split|packed sleep|auto|poll:SOCKET...
 *
 * sleep: it waits for calls of that disk. auto: it looks before that, for as long as it pays. poll: it looks again and
 * again. Bit 33 is declined, so that disks without it are in the same place. Prints one object of JSON; the
 * ratio is each disk's requests per second by the last one's, round by round.
 */
#include <viodma/driver_blk.h>
#include <viodma/loop.h>
#include <viodma/vhost_user_front.h>

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISKS_MAX 4u
#define IN_FLIGHT_MAX 64u
#define ROUNDS_MAX 101u
#define BLOCK_BYTES 4096u
#define RING_SIZE 256u
#define PARTS 128u
#define SEGMENTS 4u
#define POOL_BYTES (1u << 20)
#define POLL_US 1000000u
#define STALL_NS UINT64_C(5000000000)

struct disk;

struct one {
	struct disk *disk;
	struct viodma_driver_blk_request request;
	struct viodma_buffer buffer;
};

struct disk {
	const char *path;
	struct viodma_poller poller;
	struct viodma_front *front;
	struct viodma_front_memory data, pool_memory;
	struct viodma_object objects[2];
	struct viodma_memory memory;
	struct viodma_driver driver;
	struct viodma_pool pool;
	struct viodma_domain domain;
	struct viodma_driver_queue queue;
	struct viodma_driver_blk blk;
	struct one ones[IN_FLIGHT_MAX];
	uint64_t done, next_sector, end_sector;
	uint32_t out;
	bool going;
	double per_second[ROUNDS_MAX];
	uint64_t notified, requests;
};

static bool fail(const struct disk *disk, const char *what, enum viodma_result result)
{
	fprintf(stderr, "disk_load: %s: %s: %s\n", disk->path, what, viodma_result_name(result));
	return false;
}

static void *room(size_t bytes)
{
	void *memory = calloc(1, bytes);

	if (!memory)
		abort();
	return memory;
}

/* ---- setting up ---- */

static enum viodma_result share(struct disk *disk)
{
	const struct viodma_front_options options = { .name = disk->path, .socket_path = disk->path };
	enum viodma_result result = viodma_front_connect(&options, &disk->front);

	if (result == VIODMA_OK)
		result = viodma_front_memory_new(IN_FLIGHT_MAX * BLOCK_BYTES, (viodma_phys){ 0x100000000 }, &disk->data);
	if (result == VIODMA_OK)
		result = viodma_front_memory_new(POOL_BYTES, (viodma_phys){ 0x200000000 }, &disk->pool_memory);
	if (result == VIODMA_OK)
		result = viodma_front_share(disk->front, &disk->data);
	if (result == VIODMA_OK)
		result = viodma_front_share(disk->front, &disk->pool_memory);
	disk->objects[0] = disk->data.object;
	disk->objects[1] = disk->pool_memory.object;
	disk->memory = (struct viodma_memory){ disk->objects, 2 };
	return result;
}

static enum viodma_result negotiate(struct disk *disk, const struct viodma_platform *platform, bool packed)
{
	const struct viodma_driver_policy policy = { .decline_platform_dma = true };
	const uint64_t wanted = packed ? viodma_driver_blk_wanted() :
					 viodma_driver_blk_wanted() & ~VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT);
	enum viodma_result result;
	unsigned turns = 0;

	do
		result = viodma_driver_negotiate(&disk->driver, viodma_front_transport(disk->front), platform, &policy,
						 wanted);
	while (result == VIODMA_WAIT && ++turns < 1000000);
	if (result == VIODMA_OK && !(disk->driver.decision.accepted & VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT)))
		return VIODMA_E_UNSUPPORTED;
	if (result == VIODMA_OK && packed && !(disk->driver.decision.accepted & VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT)))
		return VIODMA_E_UNSUPPORTED;
	return result;
}

static enum viodma_result make_domain(struct disk *disk, const struct viodma_platform *platform)
{
	const struct viodma_pool_config pool = { .name = "pool" };
	const struct viodma_domain_config config = { .platform = platform,
						     .addressing = disk->driver.decision.addressing,
						     .memory = &disk->memory,
						     .pool = &disk->pool };
	const size_t bytes = VIODMA_POOL_STORAGE_BYTES(POOL_BYTES, VIODMA_POOL_SLOT_BYTES);
	enum viodma_result result = viodma_pool_init(&disk->pool, &pool);

	if (result == VIODMA_OK)
		result = viodma_pool_add(&disk->pool, &disk->pool_memory.object, room(bytes), bytes);
	return result == VIODMA_OK ? viodma_domain_init(&disk->domain, &config) : result;
}

static enum viodma_result make_queue(struct disk *disk)
{
	struct viodma_driver_queue_config config = { .domain = &disk->domain,
						     .tables = PARTS,
						     .table_descriptors = SEGMENTS + 2 };
	enum viodma_result result = viodma_driver_queue_size_max(&disk->driver.transport, 0, &config.size);

	if (result != VIODMA_OK)
		return result;
	if (config.size > RING_SIZE)
		config.size = RING_SIZE;
	if (config.tables > config.size)
		config.tables = config.size;
	config.storage_bytes = VIODMA_DRIVER_QUEUE_STORAGE_BYTES(config.size);
	config.storage = room(config.storage_bytes);
	viodma_driver_queue_features(&config, &disk->driver);
	result = viodma_driver_queue_init(&disk->queue, &config);
	return result == VIODMA_OK ? viodma_driver_queue_enable(&disk->queue, &disk->driver.transport) : result;
}

static enum viodma_result make_blk(struct disk *disk)
{
	struct viodma_driver_blk_config config = { .driver = &disk->driver,
						   .domain = &disk->domain,
						   .queues = { &disk->queue },
						   .queue_count = 1,
						   .parts = PARTS,
						   .segments_max = SEGMENTS };

	config.storage_bytes = VIODMA_DRIVER_BLK_STORAGE_BYTES(PARTS, SEGMENTS);
	config.storage = room(config.storage_bytes);
	return viodma_driver_blk_init(&disk->blk, &config);
}

static bool open_disk(struct disk *disk, bool packed)
{
	struct viodma_platform platform;
	enum viodma_result result;

	viodma_platform_init(&platform);
	if ((result = share(disk)) != VIODMA_OK)
		return fail(disk, "connecting", result);
	if ((result = negotiate(disk, &platform, packed)) != VIODMA_OK)
		return fail(disk, "negotiating", result);
	if ((result = make_domain(disk, &platform)) != VIODMA_OK || (result = make_queue(disk)) != VIODMA_OK ||
	    (result = make_blk(disk)) != VIODMA_OK || (result = viodma_driver_ready(&disk->driver)) != VIODMA_OK)
		return fail(disk, "setting up", result);
	disk->end_sector = disk->blk.capacity_sectors / 8 * 8;
	memset(disk->data.object.memory, 0xa5, (size_t)disk->data.object.len_bytes);
	return true;
}

/* ---- the load ---- */

static void submit(struct one *one)
{
	struct disk *disk = one->disk;

	one->request.sector = disk->next_sector;
	disk->next_sector = (disk->next_sector + 8) % disk->end_sector;
	disk->out++;
	if (viodma_driver_blk_submit(&disk->blk, &one->request) != VIODMA_OK)
		abort();
}

static void done(void *context, struct viodma_driver_blk_request *request, enum viodma_result result)
{
	struct one *one = context;
	const unsigned char *bytes = (const unsigned char *)one->disk->data.object.memory +
				     (one->buffer.phys.v - one->disk->data.object.phys.v);

	(void)request;
	one->disk->out--;
	one->disk->done++;
	if (result != VIODMA_OK || bytes[0] || bytes[BLOCK_BYTES - 1]) {
		fprintf(stderr, "disk_load: %s: a read failed, or did not bring zeroes\n", one->disk->path);
		exit(1);
	}
	if (one->disk->going)
		submit(one);
}

static enum viodma_result look(void *context, uint64_t now_ns, bool polled)
{
	struct disk *disk = context;

	(void)now_ns; /* no request has a deadline */
	viodma_driver_blk_set_polled(&disk->blk, polled);
	return viodma_driver_blk_poll(&disk->blk, 0);
}

static bool turn(struct disk *disk)
{
	enum viodma_result result = viodma_front_look(disk->front, &disk->poller, look, disk);

	if (result == VIODMA_EMPTY)
		result = viodma_front_wait(disk->front, viodma_loop_now_ns() + STALL_NS);
	return result == VIODMA_OK || result == VIODMA_EMPTY || fail(disk, "reading", result);
}

static uint64_t notifications(const struct disk *disk)
{
	struct viodma_front_statistics statistics;

	viodma_front_statistics(disk->front, &statistics);
	return statistics.kicks + statistics.calls;
}

/* Requests a second; false: it failed. */
static bool run(struct disk *disk, uint32_t in_flight, uint64_t round_ns, double *per_second)
{
	const uint64_t before = disk->done, notified = notifications(disk), began = viodma_loop_now_ns();
	uint64_t took;

	disk->going = true;
	for (uint32_t i = 0; i < in_flight; i++) {
		struct one *one = &disk->ones[i];

		one->disk = disk;
		one->buffer = (struct viodma_buffer){ { disk->data.object.phys.v + i * BLOCK_BYTES }, BLOCK_BYTES };
		one->request = (struct viodma_driver_blk_request){ .operation = VIODMA_DRIVER_BLK_READ,
								   .buffers = &one->buffer,
								   .buffer_count = 1,
								   .deadline_ns = UINT64_MAX,
								   .done = done,
								   .context = one };
		submit(one);
	}
	do {
		if (!turn(disk))
			return false;
	} while (viodma_loop_now_ns() - began < round_ns);
	disk->going = false;
	took = viodma_loop_now_ns() - began;
	*per_second = (double)(disk->done - before) * 1e9 / (double)took;
	while (disk->out)
		if (!turn(disk))
			return false;
	disk->notified += notifications(disk) - notified;
	disk->requests += disk->done - before;
	return true;
}

/* ---- what came of it ---- */

static int by_size(const void *one, const void *other)
{
	const double a = *(const double *)one, b = *(const double *)other;

	return a < b ? -1 : a > b;
}

static void print(const char *name, double *numbers, uint32_t count)
{
	qsort(numbers, count, sizeof(*numbers), by_size);
	printf("\"%s\": {\"low\": %.4f, \"median\": %.4f, \"high\": %.4f}", name, numbers[count / 4], numbers[count / 2],
	       numbers[count - 1 - count / 4]);
}

static void report(struct disk *disks, uint32_t count, uint32_t rounds)
{
	double ratios[DISKS_MAX][ROUNDS_MAX];

	for (uint32_t i = 0; i < count; i++)
		for (uint32_t round = 0; round < rounds; round++)
			ratios[i][round] = disks[i].per_second[round] / disks[count - 1].per_second[round];
	printf("{\"disks\": [");
	for (uint32_t i = 0; i < count; i++) {
		printf("%s{", i ? ", " : "");
		print("ratio", ratios[i], rounds);
		printf(", ");
		print("per_second", disks[i].per_second, rounds);
		printf(", \"notifications\": %.5f, \"requests\": %" PRIu64 "}",
		       (double)disks[i].notified / (double)(disks[i].requests ? disks[i].requests : 1),
		       disks[i].requests);
	}
	printf("]}\n");
}

static uint32_t poll_us(const char *word)
{
	return !strncmp(word, "poll:", 5) ? POLL_US : !strncmp(word, "auto:", 5) ? VIODMA_POLL_AUTO : 0;
}

int main(int argc, char **argv)
{
	static struct disk disks[DISKS_MAX];
	const uint32_t count = argc > 5 ? (uint32_t)argc - 5 : 0, rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 0;
	const uint64_t round_ns = argc > 2 ? (uint64_t)atoi(argv[2]) * 1000000 : 0;
	const uint32_t in_flight = argc > 3 ? (uint32_t)atoi(argv[3]) : 0;
	cpu_set_t cpus;
	double warm;

	if (!count || count > DISKS_MAX || !rounds || rounds > ROUNDS_MAX || !in_flight || in_flight > IN_FLIGHT_MAX) {
		fprintf(stderr, "usage: disk_load ROUNDS MILLISECONDS IN-FLIGHT split|packed sleep|auto|poll:SOCKET...\n");
		return 2;
	}
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	(void)!sched_setaffinity(0, sizeof(cpus), &cpus);
	for (uint32_t i = 0; i < count; i++) {
		const char *colon = strchr(argv[5 + i], ':');

		disks[i].path = colon ? colon + 1 : argv[5 + i];
		viodma_poller_init(&disks[i].poller, poll_us(argv[5 + i]));
		if (!open_disk(&disks[i], !strcmp(argv[4], "packed")) || !run(&disks[i], in_flight, round_ns / 4, &warm))
			return 1;
		disks[i].notified = disks[i].requests = 0;
	}
	for (uint32_t round = 0; round < rounds; round++)
		for (uint32_t i = 0; i < count; i++) {
			struct disk *disk = &disks[(i + round) % count];

			if (!run(disk, in_flight, round_ns, &disk->per_second[round]))
				return 1;
		}
	report(disks, count, rounds);
	for (uint32_t i = 0; i < count; i++) {
		for (int turns = 0; turns < 1000000 && viodma_driver_reset(&disks[i].driver) == VIODMA_WAIT;)
			turns++;
		viodma_front_free(disks[i].front);
	}
	return 0;
}
