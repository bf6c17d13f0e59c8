/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_vhost_user.c - making a back end: what is wrong with its options or its socket is said by name; what a
 * device may leave out or put off.
 *
 * How it works: back ends are made and freed without a front end, and the lines they log are kept.
 */
#include "hosted/vhost_user/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static struct viodma_loop *loop;
static struct viodma_vhost_user *backend;
static char directory[64], path[96];
static char logged[1024];
static unsigned lines, processed;

static void keep_line(void *context, const char *line)
{
	(void)context;
	lines++;
	snprintf(logged, sizeof(logged), "%s", line);
}

/* A device that is full: it pops nothing. */
static enum viodma_result process(void *device, struct viodma_queue *queue)
{
	(void)device;
	(void)queue;
	processed++;
	return VIODMA_EMPTY;
}

static enum viodma_result read_config(void *device, uint32_t offset, void *destination, uint32_t len_bytes)
{
	(void)device;
	(void)offset;
	memset(destination, 0, len_bytes);
	return VIODMA_OK;
}

static const struct viodma_vhost_user_ops ops = {.process = process};

static int set_up(void **state)
{
	(void)state;
	alarm(20);
	logged[0] = '\0';
	lines = processed = 0;
	backend = NULL;
	strcpy(directory, "/tmp/viodma-test-vhost-user-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/socket", directory);
	return viodma_loop_new(&loop) == VIODMA_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	viodma_loop_free(loop);
	unlink(path);
	rmdir(directory);
	alarm(0);
	return 0;
}

static struct viodma_vhost_user_options sound(void)
{
	return (struct viodma_vhost_user_options){
		.name = "test", .socket_path = path, .queue_size_max = 64, .log = keep_line};
}

static void must_refuse(const struct viodma_vhost_user_options *options, enum viodma_result result, const char *said)
{
	struct stat status;

	lines = 0;
	assert_int_equal(viodma_vhost_user_new(loop, &ops, NULL, options, &backend), result);
	assert_int_equal(lines, 1);
	if (!strstr(logged, said))
		fail_msg("\"%s\" does not say \"%s\"", logged, said);
	assert_true(options->socket_path != path || lstat(path, &status) < 0 || !S_ISSOCK(status.st_mode));
}

static void must_be_made(const struct viodma_vhost_user_options *options, const struct viodma_vhost_user_ops *with)
{
	if (viodma_vhost_user_new(loop, with, NULL, options, &backend) != VIODMA_OK)
		fail_msg("%s", logged);
}

/* ---- options ---- */

#define REFUSED(member, value, said)                                   \
	do {                                                           \
		struct viodma_vhost_user_options options = sound();    \
		options.member = value;                                \
		must_refuse(&options, VIODMA_E_INVALID, said);         \
	} while (0)

static void an_option_out_of_range_is_named_with_what_was_expected(void **state)
{
	(void)state;
	REFUSED(platform_dma, (enum viodma_platform_dma)3, "platform_dma is 3, expected VIODMA_PLATFORM_DMA_OFF");
	REFUSED(queue_count, 257, "queue_count is 257, expected 1 to 256");
	REFUSED(workers, 65, "workers is 65, expected 1 to 64");
	REFUSED(queue_size_max, 1000, "queue_size_max is 1000, expected a power of two");
	REFUSED(queue_size_max, 65536, "queue_size_max is 65536");
	REFUSED(segments_max, 32769, "segments_max is 32769, expected 1 to 32768");
	REFUSED(pieces_max, 63, "pieces_max is 63, expected at least segments_max, 64");
	REFUSED(access, (enum viodma_access_mode)2, "access is 2");
}

static void a_platform_dma_bit_that_means_something_already_is_refused(void **state)
{
	const unsigned taken[] = {1, 23, 24, 26, 28, 30, 32, 33, 40, 64, 4711};

	(void)state;
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		REFUSED(platform_dma_bit, taken[i], "platform_dma_bit is ");
	assert_non_null(strstr(logged, "4711 (out of range), expected 0, or a bit from 24 to 63"));
	REFUSED(platform_dma_bit, 33, "33 (VIRTIO_F_ACCESS_PLATFORM)");
	for (unsigned bit = 41; bit < 64; bit += 22) {
		struct viodma_vhost_user_options options = sound();

		options.platform_dma = VIODMA_PLATFORM_DMA_OFFER;
		options.platform_dma_bit = bit;
		must_be_made(&options, &ops);
		assert_true(backend->offered >> bit & 1);
		assert_int_equal(viodma_vhost_user_free(backend), VIODMA_OK);
	}
}

static void too_few_iotlb_entries_are_refused_only_where_there_is_an_iotlb(void **state)
{
	struct viodma_vhost_user_options options = sound();

	(void)state;
	options.iotlb_entries = 8;
	must_be_made(&options, &ops);
	assert_int_equal(viodma_vhost_user_free(backend), VIODMA_OK);
	options.platform_dma = VIODMA_PLATFORM_DMA_OFFER;
	must_refuse(&options, VIODMA_E_INVALID, "8 IOTLB entries are too few");
}

/* ---- sockets ---- */

static void neither_a_path_nor_a_descriptor_is_said(void **state)
{
	struct viodma_vhost_user_options options = sound();

	(void)state;
	options.socket_path = NULL;
	must_refuse(&options, VIODMA_E_INVALID, "socket_path is NULL and socket_fd 0");
	options.socket_fd = -1;
	must_refuse(&options, VIODMA_E_INVALID, "socket_path is NULL and socket_fd -1");
}

static void must_refuse_fd(int fd, enum viodma_result result, const char *said)
{
	struct viodma_vhost_user_options options = sound();

	assert_true(fd > 0);
	options.socket_path = NULL;
	options.socket_fd = fd;
	must_refuse(&options, result, said);
	assert_true(fcntl(fd, F_GETFD) >= 0); /* it is still the caller's */
	close(fd);
}

static void a_descriptor_that_cannot_have_a_front_end_is_refused(void **state)
{
	int pair[2];

	(void)state;
	must_refuse_fd(socket(AF_UNIX, SOCK_STREAM, 0), VIODMA_E_INVALID, "neither listens nor is connected");
	must_refuse_fd(socket(AF_UNIX, SOCK_DGRAM, 0), VIODMA_E_INVALID, "not a Unix stream socket");
	must_refuse_fd(socket(AF_INET, SOCK_STREAM, 0), VIODMA_E_INVALID, "not a Unix stream socket");
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	close(pair[1]);
	must_refuse_fd(pair[0], VIODMA_E_INVALID, "not a Unix stream socket");
	must_refuse_fd(open("/dev/null", O_RDWR), VIODMA_E_IO, strerror(ENOTSOCK));
}

static void a_file_in_the_sockets_place_is_called_what_it_is(void **state)
{
	const struct viodma_vhost_user_options options = sound();
	char said[160];

	(void)state;
	close(open(path, O_RDWR | O_CREAT, 0600));
	snprintf(said, sizeof(said), "cannot listen on %s: is not a socket", path);
	must_refuse(&options, VIODMA_E_IO, said);
	assert_int_equal(access(path, F_OK), 0);
}

static void a_freed_back_end_leaves_no_socket_behind(void **state)
{
	const struct viodma_vhost_user_options options = sound();

	(void)state;
	must_be_made(&options, &ops);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(viodma_vhost_user_free(backend), VIODMA_OK);
	assert_int_equal(access(path, F_OK), -1);
}

/* ---- the device ---- */

static void a_device_without_process_is_refused(void **state)
{
	const struct viodma_vhost_user_ops none = {.read_config = read_config};
	const struct viodma_vhost_user_options options = sound();

	(void)state;
	assert_int_equal(viodma_vhost_user_new(loop, &none, NULL, &options, &backend), VIODMA_E_INVALID);
	assert_non_null(strstr(logged, "process"));
}

static void configuration_space_is_offered_where_there_is_one(void **state)
{
	const struct viodma_vhost_user_ops with = {.process = process, .read_config = read_config};
	const struct viodma_vhost_user_options options = sound();

	(void)state;
	must_be_made(&options, &ops);
	assert_false(backend->offered_protocol >> VHOST_USER_PROTOCOL_F_CONFIG_BIT & 1);
	assert_int_equal(viodma_vhost_user_free(backend), VIODMA_OK);
	must_be_made(&options, &with);
	assert_true(backend->offered_protocol >> VHOST_USER_PROTOCOL_F_CONFIG_BIT & 1);
	assert_int_equal(viodma_vhost_user_free(backend), VIODMA_OK);
}

static void stop(void *context)
{
	(void)context;
	viodma_loop_stop(loop);
}

static void run_for_a_moment(void)
{
	struct viodma_loop_timer *timer;

	assert_int_equal(viodma_loop_timer(loop, stop, NULL, &timer), VIODMA_OK);
	viodma_loop_arm(timer, viodma_loop_now_ns() + 2000000);
	viodma_loop_run(loop);
	viodma_loop_timer_free(timer);
}

static void a_device_that_was_full_is_called_again_when_it_has_completed(void **state)
{
	const struct viodma_vhost_user_options options = sound();

	(void)state;
	must_be_made(&options, &ops);
	viodma_vhost_user_completed(backend);
	run_for_a_moment();
	assert_int_equal(processed, 0); /* no ring runs */
	backend->rings[0].queue.running = true;
	viodma_backend_schedule(backend);
	run_for_a_moment();
	backend->rings[0].more = backend->rings[0].kicked = false;
	processed = 0;
	viodma_backend_schedule(backend);
	run_for_a_moment();
	assert_int_equal(processed, 0); /* nothing has happened */
	viodma_vhost_user_completed(backend);
	run_for_a_moment();
	assert_int_equal(processed, 1);
	backend->rings[0].queue.running = false;
	assert_int_equal(viodma_vhost_user_free(backend), VIODMA_OK);
}

/* ---- several workers ---- */

static struct half {
	unsigned begun, ended;
	struct viodma_loop *loop;
	pthread_t thread; /* that called process last */
	_Atomic unsigned processed;
	_Atomic bool busy; /* there is always more */
} halves[3];
static unsigned worker_that_fails;

static enum viodma_result process_half(void *device, struct viodma_queue *queue)
{
	struct half *half = device;
	const uint64_t began = viodma_loop_now_ns();

	assert_ptr_equal(half, &halves[queue->config.index % 3]);
	half->thread = pthread_self();
	half->processed++;
	while (half->busy && viodma_loop_now_ns() - began < 20000) /* nearly all of its time it has its lock */
		;
	return half->busy ? VIODMA_OK : VIODMA_EMPTY;
}

static enum viodma_result worker_begins(void *device, unsigned worker, struct viodma_loop *worker_loop, void **half)
{
	assert_null(device);
	if (worker == worker_that_fails)
		return VIODMA_E_NO_MEMORY;
	halves[worker].begun++;
	halves[worker].loop = worker_loop;
	*half = &halves[worker];
	return VIODMA_OK;
}

static void worker_ends(void *half)
{
	((struct half *)half)->ended++;
}

static const struct viodma_vhost_user_ops several = {
	.process = process_half, .worker_begins = worker_begins, .worker_ends = worker_ends};

static void a_device_without_halves_has_one_worker(void **state)
{
	struct viodma_vhost_user_options options = sound();

	(void)state;
	options.queue_count = 4;
	options.workers = 2;
	must_refuse(&options, VIODMA_E_INVALID, "workers is 2, expected 1");
	options.workers = 1;
	must_be_made(&options, &ops);
	assert_int_equal(viodma_vhost_user_free(backend), VIODMA_OK);
}

static void each_worker_has_a_half_a_loop_and_a_thread_and_serves_every_third_queue(void **state)
{
	struct viodma_vhost_user_options options = sound();
	const uint64_t deadline = viodma_loop_now_ns() + 10000000000u;

	(void)state;
	memset(halves, 0, sizeof(halves));
	worker_that_fails = ~0u;
	options.queue_count = 5;
	options.workers = 3;
	must_be_made(&options, &several);
	viodma_vhost_user_hold(backend);
	viodma_vhost_user_hold(backend);
	for (unsigned i = 0; i < options.queue_count; i++)
		backend->rings[i].queue.running = true;
	viodma_vhost_user_completed(backend);
	viodma_vhost_user_release(backend);
	usleep(20000);
	assert_int_equal(halves[0].processed + halves[1].processed + halves[2].processed, 0); /* held still */
	viodma_vhost_user_release(backend);
	while ((halves[0].processed < 2 || halves[1].processed < 2 || halves[2].processed < 1) &&
	       viodma_loop_now_ns() < deadline)
		usleep(1000);
	viodma_vhost_user_hold(backend);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(halves[i].begun, 1);
		assert_int_equal(halves[i].ended, 0);
		assert_ptr_not_equal(halves[i].loop, loop);
		assert_true(halves[i].processed >= 1);
		assert_false(pthread_equal(halves[i].thread, pthread_self()));
		assert_false(pthread_equal(halves[i].thread, halves[(i + 1) % 3].thread));
	}
	for (unsigned i = 0; i < options.queue_count; i++)
		backend->rings[i].queue.running = false;
	viodma_vhost_user_release(backend);
	assert_int_equal(viodma_vhost_user_free(backend), VIODMA_OK);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(halves[i].ended, 1);
}

/* Two workers that have work without end. */
static void make_busy_ones(void)
{
	struct viodma_vhost_user_options options = sound();

	memset(halves, 0, sizeof(halves));
	halves[0].busy = halves[1].busy = true;
	worker_that_fails = ~0u;
	options.queue_count = options.workers = 2;
	must_be_made(&options, &several);
	viodma_vhost_user_hold(backend);
	backend->rings[0].queue.running = backend->rings[1].queue.running = true;
	viodma_vhost_user_completed(backend);
	viodma_vhost_user_release(backend);
	while (!halves[0].processed || !halves[1].processed)
		usleep(1000);
}

static void free_busy_ones(void)
{
	viodma_vhost_user_hold(backend);
	backend->rings[0].queue.running = backend->rings[1].queue.running = false;
	viodma_vhost_user_release(backend);
	assert_int_equal(viodma_vhost_user_free(backend), VIODMA_OK);
}

static void a_worker_has_its_round_between_two_visits_of_the_loops_thread(void **state)
{
	enum { ROUNDS = 200, FEW = 100 };
	const uint64_t deadline = viodma_loop_now_ns() + 5000000000u;
	unsigned quick = 0, rounds = 0;

	(void)state;
	make_busy_ones();
	while (rounds < ROUNDS && viodma_loop_now_ns() < deadline) {
		const unsigned before = halves[0].processed;
		unsigned visits = 0;

		while (halves[0].processed == before && viodma_loop_now_ns() < deadline) {
			viodma_vhost_user_hold(backend);
			viodma_vhost_user_release(backend);
			visits++;
		}
		rounds++;
		quick += visits < FEW; /* not if it lost its processor on the way to its lock */
	}
	if (quick < ROUNDS / 2)
		fail_msg("%u rounds, of which %u came soon", rounds, quick);
	free_busy_ones();
}

static void there_are_no_more_workers_than_queues(void **state)
{
	struct viodma_vhost_user_options options = sound();

	(void)state;
	memset(halves, 0, sizeof(halves));
	worker_that_fails = ~0u;
	options.queue_count = 2;
	options.workers = 64;
	must_be_made(&options, &several);
	assert_int_equal(halves[0].begun + halves[1].begun + halves[2].begun, 2);
	assert_int_equal(viodma_vhost_user_free(backend), VIODMA_OK);
	assert_int_equal(halves[0].ended + halves[1].ended, 2);
}

static void a_half_that_cannot_be_made_takes_back_the_others(void **state)
{
	struct viodma_vhost_user_options options = sound();

	(void)state;
	memset(halves, 0, sizeof(halves));
	worker_that_fails = 2;
	options.queue_count = options.workers = 3;
	assert_int_equal(viodma_vhost_user_new(loop, &several, NULL, &options, &backend), VIODMA_E_NO_MEMORY);
	assert_int_equal(halves[0].ended + halves[1].ended, 2);
	assert_int_equal(halves[2].ended, 0);
	assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(an_option_out_of_range_is_named_with_what_was_expected),
		TEST(a_platform_dma_bit_that_means_something_already_is_refused),
		TEST(too_few_iotlb_entries_are_refused_only_where_there_is_an_iotlb),
		TEST(neither_a_path_nor_a_descriptor_is_said),
		TEST(a_descriptor_that_cannot_have_a_front_end_is_refused),
		TEST(a_file_in_the_sockets_place_is_called_what_it_is),
		TEST(a_freed_back_end_leaves_no_socket_behind),
		TEST(a_device_without_process_is_refused),
		TEST(configuration_space_is_offered_where_there_is_one),
		TEST(a_device_that_was_full_is_called_again_when_it_has_completed),
		TEST(a_device_without_halves_has_one_worker),
		TEST(each_worker_has_a_half_a_loop_and_a_thread_and_serves_every_third_queue),
		TEST(a_worker_has_its_round_between_two_visits_of_the_loops_thread),
		TEST(there_are_no_more_workers_than_queues),
		TEST(a_half_that_cannot_be_made_takes_back_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
