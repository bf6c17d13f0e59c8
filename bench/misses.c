/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * misses.c - what it costs that a request's memory is not mapped yet.
 *
 * How it works: the device half is a child, a vhost-user back end over a Unix socket; the driver half is this process,
 * with the library's front end, which grants pages only when it is asked. A request is one chain of as many buffers as
 * pages, each at a bus address of its own. Its time is from the kick until it came back. Before each request all of its
 * pages are withdrawn, so each of them misses; the yardsticks are the same request when nothing misses, and a request of
 * one page that misses. Rounds are interleaved; what is compared is the time beyond that of a request that does not miss:
 * 32 misses of one chain against one.
 *
 * The halves are on a processor each, and sleep while they wait, as programs do that have more to do.
 *
 * That each page was asked for, and once, is checked.
 */
#include <viodma/driver.h>
#include <viodma/driver_queue.h>
#include <viodma/loop.h>
#include <viodma/vhost_user.h>
#include <viodma/vhost_user_front.h>

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define PAGES 32u
#define SIZE 64u
#define MEMORY_PHYS 0x40000000u
#define MEMORY_BYTES (4u << 20)
#define PAYLOAD 0x100000u        /* within it */
#define BUS 0x7000000000u
#define ROUNDS_MAX 1001u

static void must(enum viodma_result result, const char *what)
{
	if (result == VIODMA_OK)
		return;
	fprintf(stderr, "bench misses: %s: %s\n", what, viodma_result_text(result));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Where there is but one processor, both are on it. */
static void pin(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

/* ---- the device half ---- */

static enum viodma_result process(void *device, struct viodma_queue *queue)
{
	unsigned char payload[PAGES * PAGE];
	struct viodma_request *request;
	enum viodma_result result;

	(void)device;
	while ((result = viodma_queue_pop(queue, &request)) == VIODMA_OK) {
		if (viodma_request_read(request, 0, payload, request->readable_bytes) != VIODMA_OK) {
			viodma_queue_reject(queue, request, NULL, 0);
			continue;
		}
		viodma_queue_push(queue, request, 0);
	}
	return result;
}

static void be_device(int socket)
{
	static const struct viodma_vhost_user_ops ops = {.process = process};
	const struct viodma_vhost_user_options options = {.name = "bench",
							  .socket_fd = socket,
							  .platform_dma = VIODMA_PLATFORM_DMA_OFFER,
							  .queue_size_max = SIZE,
							  .segments_max = PAGES,
							  .pieces_max = PAGES};
	struct viodma_vhost_user *backend;
	struct viodma_loop *loop;

	if (viodma_loop_new(&loop) == VIODMA_OK &&
	    viodma_vhost_user_new(loop, &ops, NULL, &options, &backend) == VIODMA_OK)
		viodma_loop_run(loop);
	_exit(1);
}

/* ---- the driver half ---- */

static struct viodma_front *front;
static struct viodma_front_memory memory;
static struct viodma_platform platform;
static struct viodma_domain domain;
static struct viodma_driver driver;
static struct viodma_driver_queue queue;
static pid_t child;

static void set_up(void)
{
	static const struct viodma_memory objects = {&memory.object, 1};
	static unsigned char queue_storage[VIODMA_DRIVER_QUEUE_STORAGE_BYTES(SIZE)] __attribute__((aligned(16)));
	static unsigned char pool_storage[VIODMA_POOL_STORAGE_BYTES(1u << 20, VIODMA_POOL_SLOT_BYTES)]
		__attribute__((aligned(16)));
	static struct viodma_pool pool;
	const struct viodma_pool_config pool_config = {.name = "bench"};
	const struct viodma_driver_policy policy = {.decline_platform_dma = false};
	struct viodma_front_options options = {.name = "bench", .timeout_ms = 5000};
	struct viodma_domain_config domain_config = {.platform = &platform, .memory = &objects, .pool = &pool};
	struct viodma_driver_queue_config config = {.domain = &domain, .storage = queue_storage,
						    .storage_bytes = sizeof(queue_storage), .size = SIZE};
	struct viodma_object in_pool;
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		exit(1);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin(1);
		close(sockets[0]);
		be_device(sockets[1]);
	}
	pin(0);
	close(sockets[1]);
	options.socket_fd = sockets[0];
	must(viodma_platform_parse("kind=offset window=0x40000000+1M@0x80000000 restricted pool=0x40000000+1M", &platform,
				   NULL, NULL), "platform");
	must(viodma_front_connect(&options, &front), "connecting");
	must(viodma_front_memory_new(MEMORY_BYTES, (viodma_phys){MEMORY_PHYS}, &memory), "memory");
	must(viodma_pool_init(&pool, &pool_config), "pool");
	in_pool = memory.object;
	in_pool.len_bytes = 1u << 20;
	must(viodma_pool_add(&pool, &in_pool, pool_storage, sizeof(pool_storage)), "pool");
	must(viodma_front_share(front, &memory), "sharing");
	must(viodma_driver_negotiate(&driver, viodma_front_transport(front), &platform, &policy, 0), "negotiation");
	must(viodma_front_grant(front, (viodma_bus){0x80000000u}, (viodma_phys){MEMORY_PHYS}, 1u << 20, VIODMA_READ_WRITE,
				true), "granting the ring");
	domain_config.addressing = driver.decision.addressing;
	must(viodma_domain_init(&domain, &domain_config), "domain");
	viodma_driver_queue_features(&config, &driver);
	must(viodma_driver_queue_init(&queue, &config), "queue");
	must(viodma_driver_queue_enable(&queue, &driver.transport), "queue");
	must(viodma_driver_ready(&driver), "DRIVER_OK");
}

/* Pages in another order than their memory. */
static void grant(unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		must(viodma_front_grant(front, (viodma_bus){BUS + (uint64_t)i * PAGE},
					(viodma_phys){MEMORY_PHYS + PAYLOAD + (uint64_t)(PAGES - 1 - i) * PAGE}, PAGE,
					VIODMA_READ, false), "granting");
}

/* One request: nanoseconds. */
static double request(unsigned pages)
{
	struct viodma_segment segments[PAGES];
	struct viodma_driver_completion completion;
	enum viodma_result result;
	uint64_t start;

	for (unsigned i = 0; i < pages; i++)
		segments[i] = (struct viodma_segment){{BUS + (uint64_t)i * PAGE}, PAGE, VIODMA_READ};
	must(viodma_driver_queue_add(&queue, segments, pages, &queue), "adding");
	start = now_ns();
	viodma_driver_queue_publish(&queue);
	viodma_driver_queue_kick(&queue, &driver.transport);
	while ((result = viodma_driver_queue_get(&queue, &completion)) == VIODMA_EMPTY)
		must(viodma_front_wait(front, start + 5000000000u), "waiting");
	must(result, "a request");
	return (double)(now_ns() - start);
}

/* All pages miss; then none does. */
static void round_of(unsigned pages, double *missing, double *present)
{
	struct viodma_front_statistics before, after;

	grant(pages);
	viodma_front_statistics(front, &before);
	*missing = request(pages);
	viodma_front_statistics(front, &after);
	if (after.misses - before.misses != pages) {
		fprintf(stderr, "bench misses: %u pages, %u questions\n", pages, (unsigned)(after.misses - before.misses));
		exit(1);
	}
	*present = request(pages);
	must(viodma_front_withdraw_all(front), "withdrawing");
	must(viodma_front_grant(front, (viodma_bus){0x80000000u}, (viodma_phys){MEMORY_PHYS}, 1u << 20, VIODMA_READ_WRITE,
				true), "granting the ring");
}

static int compare(const void *one, const void *other)
{
	const double a = *(const double *)one, b = *(const double *)other;

	return (a > b) - (a < b);
}

static double quartile(double *numbers, unsigned count, unsigned which)
{
	qsort(numbers, count, sizeof(*numbers), compare);
	return numbers[(count - 1) * which / 4];
}

int main(int argc, char **argv)
{
	static double one[ROUNDS_MAX], many[ROUNDS_MAX], one_present[ROUNDS_MAX], many_present[ROUNDS_MAX];
	static double ratio[ROUNDS_MAX];
	unsigned rounds = 201;
	bool json = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json")) {
			json = true;
		} else if (!strcmp(argv[i], "--quick")) {
			rounds = 41;
		} else {
			fprintf(stderr, "bench misses: options: --json --quick\n");
			return 2;
		}
	}
	set_up();
	for (unsigned i = 0; i < rounds + 10; i++) {
		const unsigned at = i < 10 ? 0 : i - 10; /* ten to warm up */

		round_of(1, &one[at], &one_present[at]);
		round_of(PAGES, &many[at], &many_present[at]);
		ratio[at] = (many[at] - many_present[at]) / (one[at] - one_present[at]);
	}
	printf(json ? "{\"pages\": %u, \"rounds\": %u, \"one_ns\": %.0f, \"one_mapped_ns\": %.0f, \"many_ns\": %.0f, "
		      "\"many_mapped_ns\": %.0f, \"ratio\": %.3f, \"ratio_low\": %.3f, \"ratio_high\": %.3f}\n"
		    : "%u unmapped pages of one chain, %u rounds\n"
		      "one page    %9.0f ns, mapped %9.0f ns\n"
		      "all pages   %9.0f ns, mapped %9.0f ns\n"
		      "added time, all to one: %.2f (%.2f to %.2f)\n",
	       PAGES, rounds, quartile(one, rounds, 2), quartile(one_present, rounds, 2), quartile(many, rounds, 2),
	       quartile(many_present, rounds, 2), quartile(ratio, rounds, 2), quartile(ratio, rounds, 1),
	       quartile(ratio, rounds, 3));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}
