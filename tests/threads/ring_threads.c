/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring_threads.c - how it works: the library's two halves over one ring, each in a thread of its own, asleep whenever the
 * ring says that there is nothing to do. A notification lost leaves both asleep: the main thread watches both, and says
 * so when neither has moved for a time.
 *
 *	driver   adds a few, publishes, kicks if the device wants it; takes what came back, checks it; asks for a call and
 *	         sleeps, now and then long before the ring is full
 *	device   pops a few, answers them in any order (with IN_ORDER the library sorts them), calls if the driver wants
 *	         it; sleeps when the ring is empty
 *
 * Each half has a processor of its own, where there are two: else the one that is woken tends to run where the other just
 * was, and never beside it.
 *
 * Each request carries a number and comes back with another that belongs to it, in memory whose bus addresses are not
 * its physical ones; in a ring of one descriptor, where it has no room for both, it comes back with the one that is due.
 * An operation is an add, a get, a pop or a push.
 *
 * usage: ring_threads [--operations N | --milliseconds N] [--still SECONDS] [CASE]...
 *	CASE: words joined by commas: split, packed, event, indirect, inorder, size=N, eventfd. Without one: all of them,
 *	each for so long.
 * One line for each case, the sum last. Exit status 0: all came back; 1: lost, or wrong; 2: usage.
 */
#include <viodma/driver_queue.h>
#include <viodma/pool.h>
#include <viodma/queue.h>
#include <viodma/wire/ring.h>

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECONDS_STILL 10
#define DATA_PHYS 0x40000000u
#define POOL_PHYS 0x90000000u
#define DATA_BUS 0x500000000000u
#define POOL_BUS 0x300000000000u
#define POOL_BYTES (8u << 20)
#define SLOT_BYTES 64u /* of data: a question, and 32 bytes on its answer */
#define TABLES_MAX 1024u
#define AT_ONCE 64u

struct options {
	bool packed, event_idx, indirect, in_order, by_eventfd;
	uint32_t size;
};

/* A notification: what was sent is counted, so that a sleeper never misses one that came before it slept. */
struct bell {
	int rung, fd;
	bool by_eventfd;
};

struct rig {
	struct options options;
	uint64_t requests; /* so many; or until `stop` */
	int stop;
	struct bell kick, call;
	struct viodma_platform platform;
	struct viodma_object objects[2];
	struct viodma_memory memory;
	struct viodma_pool pool;
	struct viodma_domain domain;
	struct viodma_space space;
	struct viodma_transport transport;
	struct viodma_transport_queue where;
	void *driver_storage, *device_memory, *pool_storage;
	unsigned char *data;
	const char *wrong;
	int device_ended;
	_Alignas(128) struct viodma_driver_queue driver;
	uint64_t sent, back, driver_slept;
	_Alignas(128) struct viodma_queue device;
	uint64_t served, device_slept;
};

/* ---- bells ---- */

static void ring_bell(struct bell *bell)
{
	const uint64_t one = 1;

	if (bell->by_eventfd) {
		if (write(bell->fd, &one, sizeof(one)) != sizeof(one))
			abort();
		return;
	}
	__atomic_store_n(&bell->rung, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &bell->rung, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void sleep_until_rung(struct bell *bell)
{
	uint64_t count;

	if (bell->by_eventfd) {
		if (read(bell->fd, &count, sizeof(count)) != sizeof(count))
			abort();
		return;
	}
	while (!__atomic_exchange_n(&bell->rung, 0, __ATOMIC_ACQUIRE))
		syscall(SYS_futex, &bell->rung, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

/* The first or the second of the processors we may use. */
static void take_processor(unsigned which)
{
	cpu_set_t allowed, one;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) || CPU_COUNT(&allowed) < 2)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && !which--) {
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			(void)sched_setaffinity(0, sizeof(one), &one); /* a hint */
			return;
		}
}

/* ---- making it ---- */

static enum viodma_result size_max(void *context, unsigned queue, uint32_t *size)
{
	(void)context;
	*size = queue == 0 ? VIRTQ_SIZE_MAX : 0;
	return VIODMA_OK;
}

static enum viodma_result enable(void *context, unsigned queue, const struct viodma_transport_queue *where)
{
	struct rig *rig = context;

	(void)queue;
	rig->where = *where;
	return VIODMA_OK;
}

static void notify(void *context, unsigned queue)
{
	struct rig *rig = context;

	(void)queue;
	ring_bell(&rig->kick);
}

static const struct viodma_transport_ops transport_ops = {.queue_size_max = size_max, .queue_enable = enable, .notify = notify};

static enum viodma_result translate(void *context, viodma_bus bus, enum viodma_permission wanted, struct viodma_extent *extent)
{
	const struct rig *rig = context;
	const bool pool = bus.v < DATA_BUS;
	const uint64_t first = pool ? POOL_BUS : DATA_BUS, len = rig->objects[pool].len_bytes;

	(void)wanted;
	if (bus.v < first || bus.v - first >= len)
		return VIODMA_FAULT_UNMAPPED;
	extent->first.v = first;
	extent->last.v = first + (len - 1);
	extent->phys = rig->objects[pool].phys;
	extent->memory = rig->objects[pool].memory;
	extent->permission = VIODMA_READ_WRITE;
	return VIODMA_OK;
}

static bool make_memory(struct rig *rig, size_t data_bytes)
{
	const struct viodma_pool_config config = {.slot_bytes = 4096, .run_bytes = POOL_BYTES / 4};
	const struct viodma_translator translator = {.translate = translate, .context = rig};
	struct viodma_domain_config domain = {
		.platform = &rig->platform, .addressing = VIODMA_ADDRESSING_PLATFORM, .memory = &rig->memory, .pool = &rig->pool};
	const struct viodma_space_events events = {.fault = NULL};
	unsigned char *pool = aligned_alloc(4096, POOL_BYTES);

	rig->data = aligned_alloc(4096, data_bytes);
	rig->pool_storage = calloc(1, VIODMA_POOL_STORAGE_BYTES(POOL_BYTES, 4096));
	if (!pool || !rig->data || !rig->pool_storage)
		return false;
	memset(rig->data, 0x5a, data_bytes);
	rig->objects[0] = (struct viodma_object){rig->data, {DATA_PHYS}, data_bytes};
	rig->objects[1] = (struct viodma_object){pool, {POOL_PHYS}, POOL_BYTES};
	rig->memory = (struct viodma_memory){rig->objects, 2};
	viodma_platform_init(&rig->platform);
	rig->platform.kind = VIODMA_PLATFORM_OFFSET;
	rig->platform.window_count = 2;
	rig->platform.windows[0] = (struct viodma_window){.phys = {POOL_PHYS}, .bus = {POOL_BUS}, .len_bytes = POOL_BYTES};
	rig->platform.windows[1] = (struct viodma_window){.phys = {DATA_PHYS}, .bus = {DATA_BUS}, .len_bytes = data_bytes};
	if (viodma_pool_init(&rig->pool, &config) != VIODMA_OK ||
	    viodma_pool_add(&rig->pool, &rig->objects[1], rig->pool_storage, VIODMA_POOL_STORAGE_BYTES(POOL_BYTES, 4096)) !=
		    VIODMA_OK ||
	    viodma_domain_init(&rig->domain, &domain) != VIODMA_OK)
		return false;
	viodma_space_init(&rig->space, NULL, 0, &events);
	viodma_space_set_translator(&rig->space, &translator);
	return true;
}

static bool make_queues(struct rig *rig)
{
	const struct options *options = &rig->options;
	const uint32_t size = options->size;
	struct viodma_queue_config device = {
		.space = &rig->space, .size_max = VIRTQ_SIZE_MAX, .segments_max = 2, .pieces_max = 4};
	struct viodma_driver_queue_config driver = {
		.domain = &rig->domain,
		.storage_bytes = VIODMA_DRIVER_QUEUE_STORAGE_BYTES(size),
		.size = size,
		.indirect_desc = options->indirect,
		.event_idx = options->event_idx,
		.packed = options->packed,
		.in_order = options->in_order,
		.tables = !options->indirect ? 0 : size < TABLES_MAX ? size : TABLES_MAX,
		.table_descriptors = size < 2 ? size : 2,
		.strict = true};
	struct viodma_queue_setup setup;

	while (device.size_max / 2 >= size)
		device.size_max /= 2;
	rig->transport = (struct viodma_transport){&transport_ops, rig, "a thread"};
	device.memory_bytes = viodma_queue_memory_bytes(&device);
	rig->device_memory = device.memory = aligned_alloc(64, (device.memory_bytes + 63) & ~(size_t)63);
	rig->driver_storage = driver.storage = aligned_alloc(64, (driver.storage_bytes + 63) & ~(size_t)63);
	if (!device.memory || !driver.storage || viodma_queue_init(&rig->device, &device) != VIODMA_OK ||
	    viodma_driver_queue_init(&rig->driver, &driver) != VIODMA_OK ||
	    viodma_driver_queue_enable(&rig->driver, &rig->transport) != VIODMA_OK)
		return false;
	setup = (struct viodma_queue_setup){.size = size,
					    .desc = rig->where.desc,
					    .avail = rig->where.avail,
					    .used = rig->where.used,
					    .base = options->packed ? VIODMA_QUEUE_PACKED_BASE : 0,
					    .indirect_desc = options->indirect,
					    .event_idx = options->event_idx,
					    .packed = options->packed,
					    .in_order = options->in_order};
	return viodma_queue_start(&rig->device, &setup, NULL) == VIODMA_OK;
}

static void free_rig(struct rig *rig)
{
	free(rig->objects[1].memory);
	free(rig->data);
	free(rig->pool_storage);
	free(rig->device_memory);
	free(rig->driver_storage);
	close(rig->kick.fd);
	close(rig->call.fd);
	free(rig);
}

/* ---- the device ---- */

static uint64_t question_of(uint64_t number)
{
	return number * 3 + 1;
}

static uint64_t answer_to(uint64_t question)
{
	return question * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static uint32_t random_below(uint64_t *state, uint32_t bound)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((*state >> 33) % bound);
}

static bool answer(struct rig *rig, struct viodma_request *request)
{
	uint64_t number = question_of(rig->served);

	if (request->result != VIODMA_OK)
		return false;
	if (rig->options.size > 1 && viodma_request_read(request, 0, &number, sizeof(number)) != VIODMA_OK)
		return false;
	number = answer_to(number);
	if (viodma_request_write(request, 0, &number, sizeof(number)) != VIODMA_OK)
		return false;
	viodma_queue_push(&rig->device, request, sizeof(number));
	__atomic_store_n(&rig->served, rig->served + 1, __ATOMIC_RELAXED);
	return true;
}

static void *device_half(void *context)
{
	struct rig *rig = context;
	struct viodma_request *held[AT_ONCE];
	uint64_t random = 7;
	uint32_t count = 0;

	take_processor(1);
	for (;;) {
		uint32_t most = 1 + random_below(&random, AT_ONCE);
		enum viodma_result result = VIODMA_OK;

		while (count < most && (result = viodma_queue_pop(&rig->device, &held[count])) == VIODMA_OK)
			count++;
		if (result != VIODMA_OK && result != VIODMA_EMPTY) {
			rig->wrong = viodma_result_name(result);
			break;
		}
		while (count) {
			const uint32_t which = random_below(&random, count);

			if (!answer(rig, held[which])) {
				rig->wrong = "the device cannot answer";
				goto out;
			}
			held[which] = held[--count];
		}
		if (viodma_queue_call_needed(&rig->device))
			ring_bell(&rig->call);
		if (result != VIODMA_EMPTY)
			continue;
		if (__atomic_load_n(&rig->stop, __ATOMIC_ACQUIRE) == 2)
			break;
		__atomic_store_n(&rig->device_slept, rig->device_slept + 1, __ATOMIC_RELAXED);
		sleep_until_rung(&rig->kick);
		viodma_queue_kicked(&rig->device);
	}
out:
	__atomic_store_n(&rig->device_ended, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* ---- the driver ---- */

static bool send_one(struct rig *rig, uint32_t slot, bool *full)
{
	const uint64_t number = question_of(rig->sent);
	const uint32_t skipped = rig->options.size == 1;
	const struct viodma_segment segments[2] = {{{DATA_BUS + (uint64_t)slot * SLOT_BYTES}, 8, VIODMA_READ},
						   {{DATA_BUS + (uint64_t)slot * SLOT_BYTES + 32}, 8, VIODMA_WRITE}};
	enum viodma_result result;

	memcpy(rig->data + (size_t)slot * SLOT_BYTES, &number, sizeof(number));
	result = viodma_driver_queue_add(&rig->driver, segments + skipped, 2 - skipped, rig->data + (size_t)slot * SLOT_BYTES);
	*full = result == VIODMA_E_NO_SPACE;
	if (result != VIODMA_OK)
		return *full;
	rig->sent++;
	return true;
}

/* Is the answer the one to the question in the same slot? */
static bool take_one(struct rig *rig, const struct viodma_driver_completion *completion)
{
	uint64_t question, number;

	memcpy(&question, completion->token, sizeof(question));
	memcpy(&number, (unsigned char *)completion->token + 32, sizeof(number));
	memset((unsigned char *)completion->token + 32, 0, sizeof(number));
	__atomic_store_n(&rig->back, rig->back + 1, __ATOMIC_RELAXED);
	return completion->written_bytes == 8 && number == answer_to(question);
}

static bool more_to_send(const struct rig *rig)
{
	return rig->requests ? rig->sent < rig->requests : !__atomic_load_n(&rig->stop, __ATOMIC_RELAXED);
}

static void *driver_half(void *context)
{
	struct rig *rig = context;
	struct viodma_driver_completion completions[AT_ONCE];
	const uint32_t slots = rig->options.size;
	uint32_t *free_slots = calloc(slots, sizeof(*free_slots)), free_count = slots, count, i;
	uint64_t random = 3;
	bool full;

	take_processor(0);
	for (i = 0; i < slots; i++)
		free_slots[i] = i;
	while (more_to_send(rig) || rig->sent != rig->back) {
		uint32_t most = 1 + random_below(&random, AT_ONCE);

		for (full = false; most && free_count && !full && more_to_send(rig); most--) {
			if (!send_one(rig, free_slots[free_count - 1], &full)) {
				rig->wrong = "the driver cannot add";
				goto out;
			}
			free_count -= !full;
		}
		viodma_driver_queue_publish(&rig->driver);
		viodma_driver_queue_kick(&rig->driver, &rig->transport);
		if (random_below(&random, 2))
			viodma_driver_queue_want_no_call(&rig->driver);
		while (viodma_driver_queue_get_batch(&rig->driver, completions, AT_ONCE, &count) == VIODMA_OK)
			for (i = 0; i < count; i++) {
				unsigned char *at = completions[i].token;

				if (!take_one(rig, &completions[i])) {
					rig->wrong = "an answer that belongs to no question";
					goto out;
				}
				free_slots[free_count++] = (uint32_t)((size_t)(at - rig->data) / SLOT_BYTES);
			}
		if (rig->driver.broken != VIODMA_OK) {
			rig->wrong = viodma_result_name(rig->driver.broken);
			goto out;
		}
		/* All that is out may be waited for at any time; it must be when there is no room. */
		if (rig->sent == rig->back || (!full && free_count && more_to_send(rig) && random_below(&random, 4)) ||
		    viodma_driver_queue_want_call(&rig->driver))
			continue;
		__atomic_store_n(&rig->driver_slept, rig->driver_slept + 1, __ATOMIC_RELAXED);
		sleep_until_rung(&rig->call);
	}
out:
	free(free_slots);
	__atomic_store_n(&rig->stop, 2, __ATOMIC_RELEASE);
	ring_bell(&rig->kick);
	return NULL;
}

/* ---- one case ---- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t still_ms = SECONDS_STILL * 1000;

/* Wait until the device has ended. False: neither half has moved for too long. */
static bool watch(struct rig *rig, uint64_t milliseconds)
{
	const struct timespec a_moment = {.tv_nsec = 5000000};
	uint64_t began = now_ms(), moved = began, before = 0;

	while (!__atomic_load_n(&rig->device_ended, __ATOMIC_ACQUIRE)) {
		uint64_t state = __atomic_load_n(&rig->served, __ATOMIC_RELAXED) + __atomic_load_n(&rig->back, __ATOMIC_RELAXED);
		uint64_t now = now_ms();

		if (state != before)
			moved = now;
		before = state;
		if (now - moved > still_ms)
			return false;
		if (!rig->requests && now - began >= milliseconds && !__atomic_load_n(&rig->stop, __ATOMIC_RELAXED)) {
			int zero = 0;

			__atomic_compare_exchange_n(&rig->stop, &zero, 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
		}
		nanosleep(&a_moment, NULL);
	}
	return true;
}

static void describe(const struct options *options, char *text, size_t bytes)
{
	snprintf(text, bytes, "%s%s%s%s,size=%u%s", options->packed ? "packed" : "split", options->event_idx ? ",event" : "",
		 options->indirect ? ",indirect" : "", options->in_order ? ",inorder" : "", options->size,
		 options->by_eventfd ? ",eventfd" : "");
}

static bool run(const struct options *options, uint64_t operations, uint64_t milliseconds, uint64_t *sum)
{
	struct rig *rig = aligned_alloc(128, (sizeof(*rig) + 127) & ~(size_t)127);
	uint64_t began = now_ms(), took, done;
	pthread_t driver, device;
	char name[80];

	describe(options, name, sizeof(name));
	memset(rig, 0, sizeof(*rig));
	rig->options = *options;
	rig->requests = operations / 4;
	rig->kick = (struct bell){.fd = eventfd(0, 0), .by_eventfd = options->by_eventfd};
	rig->call = (struct bell){.fd = eventfd(0, 0), .by_eventfd = options->by_eventfd};
	if (!make_memory(rig, ((size_t)options->size * SLOT_BYTES + 4095) & ~(size_t)4095) || !make_queues(rig)) {
		printf("FAIL %s: it cannot be made\n", name);
		return false;
	}
	if (pthread_create(&device, NULL, device_half, rig) || pthread_create(&driver, NULL, driver_half, rig))
		return false;
	if (!watch(rig, milliseconds)) {
		printf("FAIL %s: a notification was lost: %llu sent, %llu served, %llu back, and nothing moves\n", name,
		       (unsigned long long)rig->sent, (unsigned long long)rig->served, (unsigned long long)rig->back);
		return false; /* its threads sleep for ever */
	}
	if (rig->wrong && rig->sent != rig->back) {
		printf("FAIL %s: %s\n", name, rig->wrong);
		return false;
	}
	pthread_join(driver, NULL);
	pthread_join(device, NULL);
	took = now_ms() - began;
	done = rig->driver.statistics.added + rig->driver.statistics.got + rig->device.statistics.fetched +
	       rig->device.statistics.pushed;
	*sum += done;
	printf("%s %s: %llu operations in %llu ms; slept %llu and %llu times, %llu kicks\n", rig->wrong ? "FAIL" : "ok  ", name,
	       (unsigned long long)done, (unsigned long long)took, (unsigned long long)rig->driver_slept,
	       (unsigned long long)rig->device_slept, (unsigned long long)rig->driver.statistics.kicks);
	if (rig->wrong || done != 4 * rig->sent) {
		printf("FAIL %s: %s\n", name, rig->wrong ? rig->wrong : "not everything came back once");
		return false;
	}
	fflush(stdout);
	free_rig(rig);
	return true;
}

/* ---- the cases ---- */

static bool parse(char *text, struct options *options)
{
	char *word;

	memset(options, 0, sizeof(*options));
	options->size = 256;
	for (word = strtok(text, ","); word; word = strtok(NULL, ","))
		if (!strcmp(word, "packed"))
			options->packed = true;
		else if (!strcmp(word, "event"))
			options->event_idx = true;
		else if (!strcmp(word, "indirect"))
			options->indirect = true;
		else if (!strcmp(word, "inorder"))
			options->in_order = true;
		else if (!strcmp(word, "eventfd"))
			options->by_eventfd = true;
		else if (!strncmp(word, "size=", 5))
			options->size = (uint32_t)strtoul(word + 5, NULL, 0);
		else if (strcmp(word, "split") != 0)
			return false;
	return options->size >= 1 && options->size <= VIRTQ_SIZE_MAX &&
	       (options->packed || !(options->size & (options->size - 1)));
}

static unsigned run_all(uint64_t operations, uint64_t milliseconds, uint64_t *sum, unsigned *failed)
{
	static const uint32_t sizes[] = {1, 2, 3, 256, 32768};
	unsigned count = 0;

	for (unsigned bits = 0; bits < 16; bits++)
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			const struct options options = {.packed = bits & 1,
							.event_idx = bits & 2,
							.indirect = bits & 4,
							.in_order = bits & 8,
							.by_eventfd = (i + bits) & 1,
							.size = sizes[i]};

			if ((sizes[i] == 3 && !options.packed) || (sizes[i] == 1 && options.indirect))
				continue;
			count++;
			*failed += !run(&options, operations, milliseconds, sum);
		}
	return count;
}

int main(int argc, char **argv)
{
	uint64_t operations = 0, milliseconds = 200, sum = 0;
	unsigned failed = 0, count = 0;
	struct options options;
	int i;

	for (i = 1; i + 1 < argc && argv[i][0] == '-'; i += 2)
		if (!strcmp(argv[i], "--operations"))
			operations = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--milliseconds"))
			milliseconds = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--still"))
			still_ms = 1000 * strtoull(argv[i + 1], NULL, 0);
		else
			break;
	if (i == argc)
		count = run_all(operations, milliseconds, &sum, &failed);
	for (; i < argc; i++) {
		if (!parse(argv[i], &options)) {
			fprintf(stderr, "ring_threads: %s: no such case\n", argv[i]);
			return 2;
		}
		count++;
		failed += !run(&options, operations, milliseconds, &sum);
	}
	printf("%llu operations; %u passed, %u failed\n", (unsigned long long)sum, count - failed, failed);
	return failed ? 1 : 0;
}
