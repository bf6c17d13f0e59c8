/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * foreign_test - how it works: a disk is driven on a platform that the library has never seen (foreign_platform.h).
 *
 * Batches of reads and writes, with lists of buffers at any offset in any area of memory, run against a model: what
 * every byte of memory and of the disk has to be, as the driver sees them. While a batch runs, the bytes beside each
 * buffer are changed: they share cache lines with it. The program goes on only when the device has called, so a lost
 * kick or call ends in a deadline. Last come the twins: the same in child processes, with one operation of the platform
 * left out, or its bus taken for a direct one; each of them has to fail. The output is TAP. Argument: a seed.
 */
#include "foreign_platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <viodma/dma_debug.h>
#include <viodma/driver_blk.h>

#define POOL_MAX (16 * FOREIGN_PAGE)
#define SLOT_MIN 256
#define STORAGE(name, bytes) max_align_t name[(bytes) / sizeof(max_align_t) + 1]
enum { PARTS = 32, JOBS = 8, BUFFERS = 8, ENTRIES = 64, SEGMENTS = 1024, IOERR = 1, FAILED_AS_IT_SHOULD = 42 };
enum twin { WHOLE, NO_CLEAN, NO_INVALIDATE, IDENTITY, TWINS };

static const struct variant {
	const char *words; /* of the description */
	uint32_t slot_bytes, pool_bytes;
} variants[] = {
	{"", SLOT_MIN, 4 * FOREIGN_PAGE},
	{"", FOREIGN_PAGE, POOL_MAX},
	{"align=4 boundary=2K max-segment=1000", SLOT_MIN, 4 * FOREIGN_PAGE},
};

struct job {
	struct viodma_driver_blk_request request; /* the first member */
	struct viodma_buffer buffers[BUFFERS];
	enum viodma_result ended;
};

static struct {
	struct foreign foreign;
	const struct variant *variant;
	struct viodma_bus_of bus_of;
	struct viodma_cache_ops cache;
	struct viodma_platform platform;
	struct viodma_pool pool, ring_pool;
	struct viodma_domain domain;
	struct viodma_limits limits;
	struct viodma_debug debug;
	struct viodma_debug_entry entries[ENTRIES];
	struct viodma_driver driver;
	struct viodma_driver_queue queue;
	struct viodma_driver_blk disk;
	STORAGE(slots, VIODMA_POOL_STORAGE_BYTES(POOL_MAX, SLOT_MIN));
	STORAGE(ring_slots, VIODMA_POOL_STORAGE_BYTES(FOREIGN_RINGS_BYTES, VIODMA_POOL_SLOT_BYTES));
	STORAGE(queue_storage, VIODMA_DRIVER_QUEUE_STORAGE_BYTES(FOREIGN_QUEUE_MAX));
	STORAGE(disk_storage, VIODMA_DRIVER_BLK_STORAGE_BYTES(PARTS, FOREIGN_SEG_MAX));
	/* ---- the test's ---- */
	unsigned char model[FOREIGN_BYTES], disk_model[FOREIGN_DISK_BYTES];
	struct job jobs[JOBS];
	unsigned job_count, ended;
	bool broken;                                /* the disk; what it was given is with it still */
	uint64_t at[FOREIGN_AREAS], sector, now_ns;
	uint64_t touched[FOREIGN_AREAS + 1];        /* bytes, by area; the last: not where the platform has them */
	uint64_t faults, waited, pool_failures;
	struct viodma_fault fault;
} m;

static unsigned tests, failures;
static bool quiet;

static void ok(bool good, const char *name)
{
	tests++;
	failures += !good;
	if (!quiet)
		printf("%sok %u - %s%s%s\n", good ? "" : "not ", tests, m.variant ? m.variant->words : "",
		       m.variant ? ": " : "", name);
}

/* ---- what the device's space tells ---- */

static void touch(void *context, viodma_bus bus, viodma_phys phys, uint64_t len_bytes,
		  enum viodma_permission permission)
{
	viodma_bus right = {0};
	uint64_t right_len = 0;
	const void *memory = viodma_memory_at(&m.foreign.memory, phys, len_bytes);
	unsigned area = FOREIGN_AREAS;

	(void)context, (void)permission;
	if (memory && m.foreign.bus_of.bus_of(m.foreign.bus_of.context, phys, &right, &right_len) && right.v == bus.v &&
	    len_bytes <= right_len && bus.v != phys.v && !(bus.v >> 40))
		area = (unsigned)(((const unsigned char *)memory - m.foreign.cpu) / FOREIGN_AREA_BYTES);
	m.touched[area] += len_bytes;
}

static void fault(void *context, const struct viodma_fault *what)
{
	(void)context;
	m.fault = *what;
	m.faults++;
}

/* ---- the twins ---- */

static void leave_out(void *context, void *memory, viodma_phys phys, uint64_t len_bytes)
{
	(void)context, (void)memory, (void)phys, (void)len_bytes;
}

static bool identity(void *context, viodma_phys phys, viodma_bus *bus, uint64_t *len_bytes)
{
	(void)context;
	bus->v = phys.v;
	*len_bytes = FOREIGN_PAGE - phys.v % FOREIGN_PAGE;
	return true;
}

/* ---- bring-up, as a driver does it that knows no platform ---- */

static enum viodma_result make_pool(struct viodma_pool *pool, uint32_t slot_bytes, const struct viodma_object *area,
				    uint64_t offset, uint64_t len_bytes, void *slots, size_t slots_bytes)
{
	const struct viodma_pool_config config = {
		.slot_bytes = slot_bytes, .run_bytes = FOREIGN_PAGE, .coherent = pool == &m.ring_pool};
	const struct viodma_object piece = {(char *)area->memory + offset, {area->phys.v + offset}, len_bytes};

	const enum viodma_result result = viodma_pool_init(pool, &config);

	return result ? result : viodma_pool_add(pool, &piece, slots, slots_bytes);
}

static enum viodma_result start(bool with_disk)
{
	const struct viodma_driver_policy policy = {.require_platform_dma = true};
	struct viodma_domain_config domain = {
		.platform = &m.platform, .memory = &m.foreign.memory, .pool = &m.pool, .ring_pool = &m.ring_pool,
		.bus_of = &m.bus_of, .cache = &m.cache, .debug = &m.debug};
	struct viodma_driver_queue_config queue = {
		.domain = &m.domain, .storage = m.queue_storage, .storage_bytes = sizeof(m.queue_storage),
		.size = FOREIGN_QUEUE_MAX, .tables = 8, .table_descriptors = FOREIGN_QUEUE_MAX, .strict = true};
	const struct viodma_driver_blk_config disk = {
		.driver = &m.driver, .domain = &m.domain, .queues = {&m.queue}, .queue_count = 1, .parts = PARTS,
		.segments_max = FOREIGN_SEG_MAX, .storage = m.disk_storage, .storage_bytes = sizeof(m.disk_storage)};
	enum viodma_result result;

	if ((result = viodma_platform_parse(m.foreign.text, &m.platform, NULL, NULL)) != VIODMA_OK ||
	    (result = make_pool(&m.pool, m.variant->slot_bytes, &m.foreign.objects[FOREIGN_MIDDLE], 0,
				m.variant->pool_bytes, m.slots, sizeof(m.slots))) != VIODMA_OK ||
	    (result = make_pool(&m.ring_pool, 0, &m.foreign.objects[FOREIGN_HIGH], FOREIGN_RINGS % FOREIGN_AREA_BYTES,
				FOREIGN_RINGS_BYTES, m.ring_slots, sizeof(m.ring_slots))) != VIODMA_OK)
		return result;
	while ((result = viodma_driver_negotiate(&m.driver, &m.foreign.transport, &m.platform, &policy,
						 viodma_driver_blk_wanted())) == VIODMA_WAIT)
		foreign_run(&m.foreign);
	if (result)
		return result;
	domain.addressing = m.driver.decision.addressing;
	viodma_driver_queue_features(&queue, &m.driver);
	viodma_debug_init(&m.debug, m.entries, ENTRIES, NULL, NULL);
	if ((result = viodma_domain_init(&m.domain, &domain)) != VIODMA_OK ||
	    (result = viodma_driver_queue_init(&m.queue, &queue)) != VIODMA_OK ||
	    (result = viodma_driver_queue_enable(&m.queue, &m.foreign.transport)) != VIODMA_OK ||
	    (with_disk && (result = viodma_driver_blk_init(&m.disk, &disk)) != VIODMA_OK))
		return result;
	viodma_domain_limits(&m.domain, &m.limits);
	return viodma_driver_ready(&m.driver);
}

/* Reset the device, and take everything down. False: something is left, or was misused. */
static bool stop(bool with_disk)
{
	void *token;
	bool good = true;

	while (viodma_driver_reset(&m.driver) == VIODMA_WAIT)
		foreign_run(&m.foreign);
	if (with_disk) {
		viodma_driver_blk_stop(&m.disk, VIODMA_E_RESET);
		m.waited = m.disk.statistics.waited;
		m.pool_failures = m.pool.statistics.failures;
		good = viodma_driver_blk_free(&m.disk) == VIODMA_OK;
	}
	good &= viodma_driver_queue_take_back(&m.queue, &token) == VIODMA_EMPTY;
	good &= viodma_driver_queue_free(&m.queue) == VIODMA_OK;
	good &= viodma_domain_free(&m.domain) == VIODMA_OK && !m.debug.reports;
	good &= viodma_pool_free(&m.pool) == VIODMA_OK;
	return (viodma_pool_free(&m.ring_pool) == VIODMA_OK) & good;
}

/* ---- batches ---- */

/* Where a buffer begins, counted through all areas: in foreign.cpu, foreign.ram and model. */
static uint64_t place_of(struct viodma_buffer buffer)
{
	const unsigned char *memory = viodma_memory_at(&m.foreign.memory, buffer.phys, buffer.len_bytes);

	return (uint64_t)(memory - m.foreign.cpu);
}

static void done(void *context, struct viodma_driver_blk_request *request, enum viodma_result result)
{
	(void)context;
	((struct job *)request)->ended = result;
	m.ended++;
}

/* Change the bytes beside each buffer. = DRV-20: not at their cost */
static void disturb(void)
{
	unsigned job, i;

	for (job = 0; job < m.job_count; job++)
		for (i = 0; i < m.jobs[job].request.buffer_count; i++) {
			const struct viodma_buffer buffer = m.jobs[job].buffers[i];
			const uint64_t at = place_of(buffer), end = at + buffer.len_bytes;

			m.foreign.cpu[at - 1] = m.model[at - 1] = (unsigned char)rand();
			m.foreign.cpu[end] = m.model[end] = (unsigned char)rand();
		}
}

/* Until all that was submitted has ended; else what the disk answered. */
static enum viodma_result pump(void)
{
	enum viodma_result result;

	for (;;) {
		result = viodma_driver_blk_poll(&m.disk, m.now_ns);
		if (result == VIODMA_OK)
			continue;
		m.broken = result != VIODMA_EMPTY;
		if (m.broken || m.ended == m.job_count)
			return result;
		do
			disturb();
		while (foreign_run(&m.foreign) && !m.foreign.called);
		if (!m.foreign.called) /* nothing happens any more */
			m.now_ns = viodma_driver_blk_next_deadline(&m.disk);
		m.foreign.called = false;
	}
}

static void begin(void)
{
	unsigned area;

	for (area = 0; area < FOREIGN_AREAS; area++)
		m.at[area] = area == FOREIGN_MIDDLE ? m.variant->pool_bytes : 0;
	m.job_count = m.ended = 0;
	m.sector = (uint64_t)rand() % 64;
}

/* A buffer, `gap` bytes after the last one in that area, but for one of its own on each side. */
static struct viodma_buffer place(unsigned area, uint32_t gap, uint32_t len_bytes)
{
	const struct viodma_buffer buffer = {{m.foreign.objects[area].phys.v + m.at[area] + gap + 1}, len_bytes};

	m.at[area] += gap + len_bytes + 2;
	return buffer;
}

/* Submit the next job, whose buffers are placed. */
static bool submit(enum viodma_driver_blk_operation operation, unsigned count)
{
	struct job *job = &m.jobs[m.job_count++];
	unsigned char *disk = m.disk_model + m.sector * 512;
	unsigned buffer;
	uint64_t i;

	job->ended = VIODMA_WAIT;
	job->request = (struct viodma_driver_blk_request){
		.operation = operation, .sector = m.sector, .buffers = job->buffers, .buffer_count = count,
		.deadline_ns = m.now_ns + 1000, .done = done};
	for (buffer = 0; buffer < count; buffer++) {
		const uint64_t at = place_of(job->buffers[buffer]);

		for (i = at; i < at + job->buffers[buffer].len_bytes; i++, disk++) {
			m.foreign.cpu[i] = (unsigned char)rand();
			m.model[i] = operation == VIODMA_DRIVER_BLK_WRITE ? (*disk = m.foreign.cpu[i]) : *disk;
		}
	}
	m.sector = (uint64_t)(disk - m.disk_model) / 512;
	return viodma_driver_blk_submit(&m.disk, &job->request) == VIODMA_OK;
}

/* Is every byte what it has to be? */
static bool verify(void)
{
	bool good = !memcmp(m.foreign.disk, m.disk_model, FOREIGN_DISK_BYTES);
	uint64_t page;

	for (page = 0; page < FOREIGN_BYTES; page += FOREIGN_PAGE)
		if (page - FOREIGN_AREA_BYTES >= m.variant->pool_bytes && page - FOREIGN_RINGS >= FOREIGN_RINGS_BYTES)
			good &= !memcmp(m.foreign.cpu + page, m.model + page, FOREIGN_PAGE);
	return good;
}

/* Run what was submitted, to its good end. */
static bool finish(void)
{
	bool good = pump() == VIODMA_EMPTY;
	unsigned job;

	for (job = 0; job < m.job_count; job++)
		good &= m.jobs[job].ended == VIODMA_OK;
	return good && verify();
}

/* Batches of requests, each a list of buffers; in one area, or (FOREIGN_AREAS) all over memory. */
static bool lists(unsigned area, unsigned batches)
{
	const unsigned list_max = m.limits.buffers_max < BUFFERS ? m.limits.buffers_max : BUFFERS;
	bool good = !m.broken;
	unsigned job, i, where;

	while (batches-- && good) {
		begin();
		for (job = 0; job < JOBS; job++) {
			const unsigned count = 1 + (unsigned)rand() % list_max;
			uint32_t total = 0, len_bytes;

			for (i = 0; i < count; i++) {
				len_bytes = 1 + (uint32_t)rand() % (rand() % 32 ? rand() % 4 ? 700 : 6000 : 20000);
				total += len_bytes;
				len_bytes += i == count - 1 ? -total % 512 : 0;
				where = area < FOREIGN_AREAS ? area : (unsigned)rand() % FOREIGN_AREAS;
				m.jobs[job].buffers[i] = place(where, (uint32_t)rand() % 130, len_bytes);
			}
			good &= submit(rand() % 2 ? VIODMA_DRIVER_BLK_READ : VIODMA_DRIVER_BLK_WRITE, count);
		}
		good &= finish();
	}
	return good;
}

/* The device reads or writes the first bytes of a mapping. */
static bool device_moves(const struct viodma_mapping *mapping, bool write, unsigned char *bytes, uint32_t len_bytes)
{
	const struct viodma_segment *segment = mapping->segments;
	struct viodma_space *space = &m.foreign.space;
	const uint64_t boundary = m.limits.boundary_bytes ? m.limits.boundary_bytes : (uint64_t)1 << 63;
	bool good = true;
	viodma_bus missed, last;
	uint32_t at, len;

	for (at = 0; at < len_bytes; at += len, segment++) {
		len = segment->len_bytes < len_bytes - at ? segment->len_bytes : len_bytes - at;
		last.v = segment->bus.v + segment->len_bytes - 1;
		good &= segment->bus.v % m.limits.alignment_bytes == 0;
		good &= segment->len_bytes <= m.limits.segment_bytes_max;
		good &= segment->bus.v / boundary == last.v / boundary;
		good &= (write ? viodma_space_write(space, NULL, 0, segment->bus, bytes + at, len, &missed)
			       : viodma_space_read(space, NULL, 0, segment->bus, bytes + at, len, &missed)) == 0;
	}
	foreign_run(&m.foreign);
	return good;
}

/* A persistent mapping, used by both in turn; and one that the device writes in part: the rest keeps its bytes. */
static bool syncs(unsigned area, uint32_t gap, uint32_t len_bytes, uint32_t written)
{
	static struct viodma_segment segments[SEGMENTS];
	static unsigned char seen[4096];
	struct viodma_mapping mapping = {0};
	bool good = !m.broken;
	unsigned round;
	uint32_t i;

	begin();
	const struct viodma_buffer buffer = place(area, gap, len_bytes);
	unsigned char *bytes = m.foreign.cpu + place_of(buffer), *model = m.model + place_of(buffer);

	if (viodma_domain_map(&m.domain, &mapping, &buffer, 1, VIODMA_BIDIRECTIONAL, segments, SEGMENTS) != VIODMA_OK)
		return false;
	for (round = 0; round < 4; round++) {
		for (i = 0; i < len_bytes; i++)
			model[i] = (unsigned char)rand();
		if (round & 1) {
			good &= device_moves(&mapping, true, model, len_bytes);
			viodma_domain_sync_for_driver(&mapping, 0, len_bytes);
			good &= !memcmp(bytes, model, len_bytes);
		} else {
			memcpy(bytes, model, len_bytes);
			viodma_domain_sync_for_device(&mapping, 0, len_bytes);
			good &= device_moves(&mapping, false, seen, len_bytes) && !memcmp(seen, model, len_bytes);
		}
	}
	good &= viodma_domain_unmap(&mapping, 0) == VIODMA_OK && verify();
	for (i = 0; i < len_bytes; i++)
		bytes[i] = model[i] = (unsigned char)rand();
	if (viodma_domain_map(&m.domain, &mapping, &buffer, 1, VIODMA_FROM_DEVICE, segments, SEGMENTS) != VIODMA_OK)
		return false;
	foreign_run(&m.foreign);
	memset(model, 0xa5, written);
	good &= device_moves(&mapping, true, model, written);
	return (viodma_domain_unmap(&mapping, written) == VIODMA_OK) & good && verify();
}

/* The device is reset with writes under way, and everything is given back. */
static bool reset_amid(void)
{
	bool good = !m.broken;
	unsigned job;

	begin();
	for (job = 0; job < 4 && good; job++) {
		m.jobs[job].buffers[0] = place(job, 77, 8192);
		good &= submit(VIODMA_DRIVER_BLK_WRITE, 1) && viodma_driver_blk_poll(&m.disk, m.now_ns) > VIODMA_WAIT;
	}
	good &= stop(true);
	for (job = 0; job < m.job_count; job++)
		good &= m.jobs[job].ended == VIODMA_E_RESET;
	memcpy(m.disk_model, m.foreign.disk, FOREIGN_DISK_BYTES); /* what it did of it, nobody knows */
	return good && verify();
}

/* A driver that forges the address of a buffer, with the queue in its own hands. = DEV-10, PLT-6, DEV-15 */
static bool forged(uint64_t address)
{
	struct viodma_dma_memory header, status;
	struct viodma_driver_completion completion = {0};
	const uint64_t faults = m.faults;
	bool good;

	if (viodma_domain_alloc(&m.domain, &header, 16, 16, VIODMA_TO_DEVICE) != VIODMA_OK ||
	    viodma_domain_alloc(&m.domain, &status, 1, 16, VIODMA_FROM_DEVICE) != VIODMA_OK)
		return false; /* cleared: a read, of sector 0 */
	const struct viodma_segment segments[] = {
		{header.bus, 16, VIODMA_READ}, {{address}, 512, VIODMA_WRITE}, {status.bus, 1, VIODMA_WRITE}};

	good = viodma_driver_queue_add(&m.queue, segments, 3, &m) == VIODMA_OK;
	viodma_driver_queue_publish(&m.queue);
	if (viodma_driver_queue_kick_needed(&m.queue))
		m.foreign.transport.ops->notify(m.foreign.transport.context, 0);
	while (foreign_run(&m.foreign))
		;
	good &= viodma_driver_queue_get(&m.queue, &completion) == VIODMA_OK && completion.token == &m;
	good &= *(const unsigned char *)status.memory == IOERR && m.faults == faults + 1 && m.fault.queue == 0;
	good &= m.fault.bus.v == address && m.fault.permission == VIODMA_WRITE &&
		!strcmp(viodma_result_requirement(m.fault.reason), "DEV-10");
	good &= viodma_domain_release(&header) == VIODMA_OK;
	return (viodma_domain_release(&status) == VIODMA_OK) & good && verify();
}

static void everything(const struct variant *variant, enum twin twin)
{
	static const char *const names[] = {"near", "middle", "high", "far, bounced", "the hole, bounced"};
	const struct viodma_space_events events = {.fault = fault, .touch = touch};
	struct foreign *foreign = &m.foreign;
	unsigned i, clear;

	memset(&m, 0, sizeof(m));
	m.variant = variant;
	m.broken = foreign_init(foreign, variant->words, &events) != VIODMA_OK;
	m.bus_of = (struct viodma_bus_of){twin == IDENTITY ? identity : foreign->bus_of.bus_of, foreign};
	m.cache = (struct viodma_cache_ops){twin == NO_CLEAN ? leave_out : foreign->cache.clean,
					    twin == NO_INVALIDATE ? leave_out : foreign->cache.invalidate, foreign};
	for (i = 0; i < FOREIGN_BYTES; i++)
		foreign->cpu[i] = m.model[i] = (unsigned char)rand();
	m.broken = m.broken || start(true) != VIODMA_OK;
	for (i = clear = 0; i < variant->pool_bytes; i++) /* = DRV-19 */
		clear += !foreign->ram[FOREIGN_MIDDLE * FOREIGN_AREA_BYTES + i];
	ok(!m.broken && m.driver.decision.addressing == VIODMA_ADDRESSING_PLATFORM, "brought up, with bit 33");
	ok(clear == variant->pool_bytes, "the pool is clear for the device, too");
	if (m.broken)
		return;
	for (i = 0; i < FOREIGN_AREAS; i++)
		ok(lists(i, 8), names[i]);
	ok(lists(FOREIGN_AREAS, 40), "all over memory");
	ok(!m.broken && syncs(FOREIGN_NEAR, 63, 1024, 100) && syncs(FOREIGN_HIGH, 4094, 1300, 700) &&
		   syncs(FOREIGN_HOLE, 0, 1024, 100),
	   "a persistent mapping, synced; and one written in part");
	ok(m.domain.statistics.in_place && m.domain.statistics.bounced, "in place, and bounced");
	ok(reset_amid(), "a reset with requests under way, and everything is given back");
	ok(m.waited && m.pool_failures, "the pool was too small, and nobody noticed");
	ok(!m.faults && start(false) == VIODMA_OK, "nothing was refused; up once more");
	ok(forged(foreign->objects[FOREIGN_NEAR].phys.v), "refused: a physical address");
	ok(forged((uint64_t)1 << 40), "refused: the first address of 41 bits");
	ok(stop(false), "down again");
	ok(m.touched[FOREIGN_NEAR] && m.touched[FOREIGN_MIDDLE] && m.touched[FOREIGN_HIGH] &&
		   !m.touched[FOREIGN_AREAS] && !foreign->space.statistics.identity_translations, /* = DRV-2 */
	   "every address was the bus's, in each window, and no physical one");
}

int main(int argc, char **argv)
{
	static const char *const names[TWINS] = {"once more, in a child process", "twin without clean",
						 "twin without invalidate", "twin that takes the bus for direct"};
	const unsigned seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 1;
	int status;
	unsigned i;

	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	srand(seed);
	for (i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
		everything(&variants[i], WHOLE);
	m.variant = NULL;
	for (i = WHOLE; i < TWINS; i++) {
		const pid_t child = fork();

		if (!child) {
			quiet = true;
			failures = 0;
			everything(&variants[0], (enum twin)i);
			_exit(failures ? FAILED_AS_IT_SHOULD : 0);
		}
		ok(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
			   WEXITSTATUS(status) == (i ? FAILED_AS_IT_SHOULD : 0),
		   names[i]);
	}
	printf("1..%u\n", tests);
	return failures != 0;
}
