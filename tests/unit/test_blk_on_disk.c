/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_blk_on_disk.c - a virtio-blk device half in front of a real file, driven through a ring whose bus pages lie in
 * another order than memory: the bytes of the image and of the driver's buffers are compared.
 *
 * Each request is a header, pages of data with a descriptor each, and a status byte. Misses are answered between turns.
 */
#include "hosted/device/blk_on_disk.h"
#include "tests/support/test_driver.h"

#include <viodma/wire/blk.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE_PAGES 64u
#define DATA_PAGES 4u
#define REQUESTS 20u
#define HEADERS TEST_TABLES /* 16 bytes each */
#define STATUSES (TEST_TABLES + 8u * TEST_PAGE)

struct way {
	enum viodma_disk_engine_kind engine;
	bool copy;
};

static const struct way *way;
static struct test_driver *driver;
static struct viodma_loop *loop;
static struct viodma_loop_timer *turn;
static struct viodma_blk_on_disk *device;
static char path[64], log_text[1024];
static uint16_t wanted_used;
static int image_fd;
static bool platform_grants;

static void log_line(void *context, const char *line)
{
	(void)context;
	strncat(log_text, line, sizeof(log_text) - strlen(log_text) - 1);
}

static int set_up(void **state)
{
	struct test_options options = { .platform = true, .scatter = true, .size = 256 };
	struct viodma_disk_options disk_options = { .path = path, .log = log_line };
	struct viodma_blk_on_disk_options device_options = { .blk_size = 512, .serial = "serial", .log = log_line };
	unsigned char page[TEST_PAGE];
	char text[256];

	way = *state;
	log_text[0] = '\0';
	alarm(60);
	strcpy(path, "/tmp/viodma-test-blk-XXXXXX");
	image_fd = mkstemp(path);
	for (unsigned i = 0; i < IMAGE_PAGES; i++) {
		memset(page, (int)i + 1, sizeof(page));
		if (pwrite(image_fd, page, sizeof(page), (off_t)i * TEST_PAGE) != (ssize_t)sizeof(page))
			return -1;
	}
	options.copy = way->copy;
	driver = test_driver_new(&options);
	disk_options.engine = way->engine;
	if (viodma_disk_open(&disk_options, &device_options.disk, text, sizeof(text)) != VIODMA_OK ||
	    viodma_loop_new(&loop) != VIODMA_OK)
		return -1;
	device_options.loop = loop;
	if (viodma_blk_on_disk_new(&device_options, &device) != VIODMA_OK)
		return -1;
	test_grant_rings(driver);
	platform_grants = true;
	viodma_blk_on_disk_ops.accepted(device, viodma_blk_on_disk_ops.features(device));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (viodma_blk_on_disk_free(device) != VIODMA_OK)
		return -1;
	viodma_loop_free(loop);
	test_driver_free(driver);
	close(image_fd);
	unlink(path);
	alarm(0);
	return 0;
}

static size_t data_at(unsigned number, unsigned page)
{
	return TEST_BUFFERS + ((size_t)number * DATA_PAGES + page) * TEST_PAGE;
}

/* Request `number`: `pages` pages of data, at its own place in memory and descriptors. */
static void offer(unsigned number, uint32_t type, uint64_t sector, unsigned pages)
{
	const bool in = type == VIRTIO_BLK_T_IN;
	uint16_t head = (uint16_t)(number * (DATA_PAGES + 2)), at = head;

	test_put32(driver, HEADERS + number * 16, type);
	test_put32(driver, HEADERS + number * 16 + 4, 0);
	test_put64(driver, HEADERS + number * 16 + 8, sector);
	driver->memory[STATUSES + number] = 0xee;
	test_desc(driver, at, test_bus(driver, HEADERS + number * 16), 16, VIRTQ_DESC_F_NEXT, (uint16_t)(at + 1));
	for (unsigned i = 0; i < pages; i++) {
		at++;
		test_desc(driver, at, test_bus(driver, data_at(number, i)), TEST_PAGE,
			  (uint16_t)(VIRTQ_DESC_F_NEXT | (in ? VIRTQ_DESC_F_WRITE : 0)), (uint16_t)(at + 1));
	}
	at++;
	test_desc(driver, at, test_bus(driver, STATUSES + number), 1, VIRTQ_DESC_F_WRITE, 0);
	test_make_available(driver, head);
}

static void take_turn(void *context)
{
	enum viodma_result result;

	(void)context;
	test_answer(driver, platform_grants);
	do {
		result = viodma_blk_on_disk_ops.process(device, &driver->queue);
	} while (result == VIODMA_OK);
	if (test_used_idx(driver) == wanted_used)
		viodma_loop_stop(loop);
	else
		viodma_loop_arm(turn, viodma_loop_now_ns() + 1000000);
}

/* Until `count` more requests were used. */
static void run(unsigned count)
{
	wanted_used = (uint16_t)(wanted_used + count);
	assert_int_equal(viodma_loop_timer(loop, take_turn, NULL, &turn), VIODMA_OK);
	viodma_loop_arm(turn, 0);
	viodma_loop_run(loop);
	viodma_loop_timer_free(turn);
}

static unsigned status_of(unsigned number)
{
	return driver->memory[STATUSES + number];
}

static void many_reads_and_writes_in_flight_reach_the_right_bytes(void **state)
{
	unsigned char page[TEST_PAGE];
	const struct viodma_blk_statistics *statistics;

	(void)state;
	wanted_used = 0;
	for (unsigned i = 0; i < REQUESTS; i++) {
		unsigned pages = i % DATA_PAGES + 1;

		for (unsigned j = 0; j < DATA_PAGES; j++)
			test_fill(driver, data_at(i, j), TEST_PAGE, (unsigned char)i);
		offer(i, i % 2 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, (uint64_t)(i % 2 ? 32 + i : i) * 8, pages);
	}
	run(REQUESTS);
	for (unsigned i = 0; i < REQUESTS; i++) {
		assert_int_equal(status_of(i), VIRTIO_BLK_S_OK);
		for (unsigned j = 0; j < DATA_PAGES; j++) {
			const unsigned char *memory = driver->memory + data_at(i, j);
			bool moved = j < i % DATA_PAGES + 1;

			if (i % 2 || !moved) {
				assert_true(test_filled(driver, data_at(i, j), TEST_PAGE, (unsigned char)i));
			} else {
				memset(page, (int)(i + j) + 1, sizeof(page));
				assert_memory_equal(memory, page, sizeof(page));
			}
		}
	}
	/* Writes overlap; the first page of each and what lies before and behind them are certain. */
	assert_int_equal(pread(image_fd, page, sizeof(page), 32 * TEST_PAGE), TEST_PAGE);
	assert_int_equal(page[0], 33);
	statistics = viodma_blk_on_disk_statistics(device);
	assert_int_equal(statistics->in, REQUESTS / 2);
	assert_int_equal(statistics->out, REQUESTS / 2);
	assert_int_equal(statistics->failed, 0);
	assert_int_equal(driver->fault_count, 0);
}

static void what_was_written_is_in_the_file_after_a_flush(void **state)
{
	unsigned char pages[DATA_PAGES * TEST_PAGE];

	(void)state;
	wanted_used = 0;
	for (unsigned j = 0; j < DATA_PAGES; j++)
		test_fill(driver, data_at(0, j), TEST_PAGE, 7);
	offer(0, VIRTIO_BLK_T_OUT, 80, DATA_PAGES);
	run(1);
	offer(1, VIRTIO_BLK_T_FLUSH, 0, 0);
	run(1);
	assert_int_equal(status_of(0), VIRTIO_BLK_S_OK);
	assert_int_equal(status_of(1), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(image_fd, pages, sizeof(pages), 80 * 512), sizeof(pages));
	assert_memory_equal(pages, driver->memory + data_at(0, 0), sizeof(pages));
	assert_int_equal(viodma_blk_on_disk_statistics(device)->flush, 1);
}

static void without_flush_accepted_writes_are_durable_one_by_one(void **state)
{
	(void)state;
	wanted_used = 0;
	viodma_blk_on_disk_ops.accepted(device, 0);
	for (unsigned i = 0; i < 4; i++)
		offer(i, VIRTIO_BLK_T_OUT, 8 * i, 1);
	run(4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(status_of(i), VIRTIO_BLK_S_OK);
}

static void a_shrunken_image_is_an_error_for_the_driver_and_a_line_in_the_log(void **state)
{
	(void)state;
	wanted_used = 0;
	assert_int_equal(ftruncate(image_fd, 8 * TEST_PAGE), 0);
	offer(0, VIRTIO_BLK_T_IN, 8 * 6, DATA_PAGES);
	offer(1, VIRTIO_BLK_T_IN, 8 * 6, 2);
	run(2);
	assert_int_equal(status_of(0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(status_of(1), VIRTIO_BLK_S_OK);
	assert_non_null(strstr(log_text, "the image shrank"));
}

static void a_read_into_memory_without_the_permission_fails_alone(void **state)
{
	(void)state;
	wanted_used = 0;
	test_fill(driver, data_at(0, 0), TEST_PAGE, 5);
	platform_grants = false;
	test_grant_all(driver);
	test_grant(driver, data_at(0, 0), TEST_PAGE, VIODMA_READ);
	offer(0, VIRTIO_BLK_T_IN, 0, 1); /* = DEV-9 */
	offer(1, VIRTIO_BLK_T_IN, 0, 1);
	run(2);
	assert_int_equal(status_of(0), VIRTIO_BLK_S_IOERR);
	assert_true(test_filled(driver, data_at(0, 0), TEST_PAGE, 5));
	assert_int_equal(status_of(1), VIRTIO_BLK_S_OK);
	assert_int_equal(driver->faults[0].reason, VIODMA_FAULT_PERMISSION);
	assert_non_null(strstr(log_text, "DEV-9"));
}

int main(void)
{
	static struct way uring = { VIODMA_DISK_AUTO, false }, threads = { VIODMA_DISK_THREADS, false },
			  copy = { VIODMA_DISK_THREADS, true };
#define WAY(name, how) { #name " (" #how ")", name, set_up, tear_down, &how }
#define ALL(name) WAY(name, uring), WAY(name, threads), WAY(name, copy)
	const struct CMUnitTest tests[] = {
		ALL(many_reads_and_writes_in_flight_reach_the_right_bytes),
		ALL(what_was_written_is_in_the_file_after_a_flush),
		ALL(without_flush_accepted_writes_are_durable_one_by_one),
		ALL(a_shrunken_image_is_an_error_for_the_driver_and_a_line_in_the_log),
		ALL(a_read_into_memory_without_the_permission_fails_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
