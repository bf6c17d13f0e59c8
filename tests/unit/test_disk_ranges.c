/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_disk_ranges.c - files as disks: discarding and zeroing, direct disks, and what is known of the storage.
 *
 * Each runs over both engines, on the file system of /tmp, and of /dev/shm where that is one with holes, but without zero
 * ranges (tmpfs). What this machine does not allow is skipped by name.
 */
#include "hosted/disk/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE_BYTES (4u << 20)

struct way {
	enum viodma_disk_engine_kind engine;
	const char *directory;
	bool direct;
};

static const struct way *way;
static char image[128], log_text[4096];
static unsigned char *content;
static struct viodma_disk *disk;

static void log_line(void *context, const char *line)
{
	(void)context;
	strncat(log_text, line, sizeof(log_text) - strlen(log_text) - 1);
}

static enum viodma_result open_disk(const char *path, char *text, size_t bytes)
{
	const struct viodma_disk_options options = {
		.path = path, .engine = way->engine, .direct = way->direct, .log = log_line
	};

	return viodma_disk_open(&options, &disk, text, bytes);
}

static int set_up(void **state)
{
	char text[256];
	int fd;

	way = *state;
	log_text[0] = '\0';
	disk = NULL;
	alarm(60);
	snprintf(image, sizeof(image), "%s/viodma-test-ranges-XXXXXX", way->directory);
	fd = mkstemp(image);
	content = malloc(IMAGE_BYTES);
	for (size_t i = 0; i < IMAGE_BYTES; i++)
		content[i] = (unsigned char)(i * 7 + i / 512 + 1) | 1;
	if (fd < 0 || write(fd, content, IMAGE_BYTES) != (ssize_t)IMAGE_BYTES || fsync(fd) < 0 || close(fd) < 0)
		return -1;
	if (open_disk(image, text, sizeof(text)) != VIODMA_OK) {
		print_message("not run: %s\n", text);
		disk = NULL;
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(image);
	free(content);
	alarm(0);
	return viodma_disk_close(disk) == VIODMA_OK ? 0 : -1;
}

static void note_error(struct viodma_disk_io *io, int error)
{
	*(int *)io->user = error;
}

static int do_one(struct viodma_disk_io io)
{
	int error = -1;

	if (!disk)
		skip();
	io.done = note_error;
	io.user = &error;
	viodma_disk_submit(disk, &io);
	viodma_disk_kick(disk);
	while (viodma_disk_in_flight(disk)) {
		struct pollfd ready = { .fd = viodma_disk_event_fd(disk), .events = POLLIN };

		assert_int_equal(poll(&ready, 1, 10000), 1);
		viodma_disk_reap(disk);
	}
	assert_int_not_equal(error, -1);
	return error;
}

static int range(enum viodma_disk_operation operation, bool unmap, bool durable, uint64_t offset, uint64_t bytes)
{
	return do_one((struct viodma_disk_io){ .operation = operation, .unmap = unmap, .durable = durable,
					       .offset_bytes = offset, .len_bytes = bytes });
}

static blkcnt_t blocks(void)
{
	struct stat found;

	assert_int_equal(stat(image, &found), 0);
	assert_int_equal(found.st_size, IMAGE_BYTES);
	return found.st_blocks;
}

/* The file is `content`. */
static void is_as_noted(void)
{
	unsigned char *now = malloc(IMAGE_BYTES);
	int fd = open(image, O_RDONLY | O_CLOEXEC);

	assert_int_equal(read(fd, now, IMAGE_BYTES), IMAGE_BYTES);
	close(fd);
	assert_memory_equal(now, content, IMAGE_BYTES);
	free(now);
}

static void what_is_zeroed_reads_as_zeroes_and_nothing_else_does(void **state)
{
	static const struct {
		uint64_t offset, bytes;
	} ranges[] = { { 0, 512 }, { 5120, 512 }, { 8192, 4096 }, { 65536 + 512, 1u << 20 }, { IMAGE_BYTES - 1536, 1536 } };

	(void)state;
	for (int how = 0; how < 4; how++) {
		const size_t i = (size_t)how;

		assert_int_equal(range(VIODMA_DISK_ZERO, how & 1, how & 2, ranges[i].offset, ranges[i].bytes), 0);
		memset(content + ranges[i].offset, 0, ranges[i].bytes);
		is_as_noted();
	}
	assert_int_equal(range(VIODMA_DISK_ZERO, true, false, ranges[4].offset, ranges[4].bytes), 0);
	memset(content + ranges[4].offset, 0, ranges[4].bytes);
	is_as_noted();
	assert_string_equal(log_text, "");
}

static void what_is_zeroed_keeps_its_room_unless_it_may_not(void **state)
{
	blkcnt_t before = blocks();

	(void)state;
	assert_int_equal(range(VIODMA_DISK_ZERO, false, true, 1u << 20, 1u << 20), 0);
	assert_true(blocks() + 64 >= before);
	assert_int_equal(range(VIODMA_DISK_ZERO, true, false, 1u << 20, 1u << 20), 0);
	assert_true(blocks() <= before - (1 << 20) / 512 + 64);
	memset(content + (1u << 20), 0, 1u << 20);
	is_as_noted();
}

static void what_is_discarded_gives_its_room_back(void **state)
{
	blkcnt_t before = blocks();

	(void)state;
	assert_int_equal(range(VIODMA_DISK_DISCARD, false, false, 1u << 20, 2u << 20), 0);
	assert_true(blocks() <= before - (2 << 20) / 512 + 64);
	memset(content + (1u << 20), 0, 2u << 20); /* of a file it is so */
	is_as_noted();
}

static void zeroes_are_written_where_there_is_no_other_way(void **state)
{
	(void)state;
	if (!disk)
		skip();
	disk->method_unsupported[VIODMA_DISK_PUNCH] = disk->method_unsupported[VIODMA_DISK_ZERO_RANGE] = true;
	assert_int_equal(range(VIODMA_DISK_ZERO, true, true, 512, IMAGE_BYTES - 1024), 0);
	memset(content + 512, 0, IMAGE_BYTES - 1024);
	is_as_noted();
	/* And to discard is to do nothing. */
	assert_int_equal(range(VIODMA_DISK_DISCARD, false, false, 0, 512), 0);
	is_as_noted();
}

static void a_file_is_not_erased_securely(void **state)
{
	(void)state;
	assert_int_equal(range(VIODMA_DISK_SECURE_ERASE, false, false, 0, 4096), EOPNOTSUPP);
	is_as_noted();
	assert_non_null(strstr(log_text, "secure erase of 4096 bytes at 0 failed"));
}

/* Any memory, any sector, in parts of any length: with direct disks, what cannot be direct is copied or buffered. */
static void reads_and_writes_of_any_alignment_are_right(void **state)
{
	unsigned char *memory = malloc(IMAGE_BYTES + 4096);
	uint64_t seed = 1;

	(void)state;
	for (int round = 0; round < 60; round++) {
		struct iovec iovecs[4];
		uint64_t bytes = 0, offset;
		size_t at = 0;
		const bool out = round % 2;

		for (int i = 0; i < 4; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			iovecs[i].iov_base = memory + at + (round % 3 ? seed >> 60 : 0);
			iovecs[i].iov_len = round % 5 ? 512 * (1 + (seed >> 52) % 300) : 4096 * (1 + (seed >> 52) % 40);
			at += iovecs[i].iov_len + 16;
			bytes += iovecs[i].iov_len;
		}
		iovecs[0].iov_len -= 100; /* parts that are no sectors, together some */
		iovecs[3].iov_len += 100;
		offset = (seed >> 33) % ((IMAGE_BYTES - bytes) / 512) * 512;
		if (round % 5 == 0)
			offset &= ~(uint64_t)4095;
		for (size_t i = 0; i < IMAGE_BYTES; i++)
			memory[i] = (unsigned char)(i + (size_t)round);
		if (out) {
			size_t to = offset;

			for (int i = 0; i < 4; i++) {
				memcpy(content + to, iovecs[i].iov_base, iovecs[i].iov_len);
				to += iovecs[i].iov_len;
			}
		}
		struct iovec kept[4];

		memcpy(kept, iovecs, sizeof(kept));
		assert_int_equal(do_one((struct viodma_disk_io){
					 .operation = out ? VIODMA_DISK_WRITE : VIODMA_DISK_READ, .durable = round % 4 == 3,
					 .offset_bytes = offset, .len_bytes = bytes, .iovecs = iovecs, .iovec_count = 4 }), 0);
		for (int i = 0; !out && i < 4; i++) {
			assert_memory_equal(kept[i].iov_base, content + offset, kept[i].iov_len);
			offset += kept[i].iov_len;
		}
		is_as_noted();
	}
	free(memory);
}

static void a_direct_disk_reads_and_writes_past_the_page_cache_where_it_can(void **state)
{
	struct viodma_disk_io io = { .operation = VIODMA_DISK_WRITE, .len_bytes = 65536 };
	struct iovec iovec;
	void *memory;

	(void)state;
	if (!disk)
		skip();
	assert_true(disk->direct_bytes >= 512 && disk->buffered_fd >= 0);
	assert_true(fcntl(disk->fd, F_GETFL) & O_DIRECT);
	assert_false(fcntl(disk->buffered_fd, F_GETFL) & O_DIRECT);
	assert_int_equal(posix_memalign(&memory, 65536, 2 * 65536), 0);
	io.iovecs = &iovec;
	io.iovec_count = 1;
	iovec = (struct iovec){ memory, 65536 };
	viodma_disk_prepare_direct(disk, &io);
	assert_true(!io.buffered && !io.copying && !io.copy);
	iovec.iov_base = (char *)memory + 8;
	viodma_disk_prepare_direct(disk, &io);
	assert_true(!io.buffered && io.copying && io.copy);
	free(io.copy);
	io.offset_bytes = disk->direct_bytes / 2;
	viodma_disk_prepare_direct(disk, &io);
	assert_true(io.buffered && !io.copying);
	free(memory);
}

static void another_size_is_seen_when_it_is_looked_for(void **state)
{
	(void)state;
	if (!disk)
		skip();
	assert_false(viodma_disk_look_again(disk));
	assert_int_equal(truncate(image, 2 * IMAGE_BYTES + 100), 0);
	assert_int_equal(viodma_disk_size_bytes(disk), IMAGE_BYTES);
	assert_true(viodma_disk_look_again(disk));
	assert_int_equal(viodma_disk_size_bytes(disk), 2 * IMAGE_BYTES);
	assert_int_equal(viodma_disk_file_bytes(disk), 2 * IMAGE_BYTES + 100);
	assert_false(viodma_disk_look_again(disk));
}

/* ---- what sysfs says ---- */

static void put(const char *directory, const char *name, const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void the_wear_of_a_card_is_read_from_its_directory(void **state)
{
	char directory[64] = "/tmp/viodma-test-sysfs-XXXXXX", inner[96];
	struct viodma_disk card = { .sysfs = directory };
	uint16_t pre_eol, a, b;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(inner, sizeof(inner), "%s/device", directory);
	assert_int_equal(mkdir(inner, 0700), 0);
	assert_false(viodma_disk_wear(&card, &pre_eol, &a, &b));
	put(inner, "life_time", "0x01 0x0b\n");
	assert_true(viodma_disk_wear(&card, &pre_eol, &a, &b)); /* an old card says no more */
	assert_int_equal(pre_eol, 0);
	assert_int_equal(a, 1);
	assert_int_equal(b, 11);
	put(inner, "pre_eol_info", "0x02\n");
	assert_true(viodma_disk_wear(&card, &pre_eol, &a, &b));
	assert_int_equal(pre_eol, 2);
	put(inner, "life_time", "none\n");
	assert_false(viodma_disk_wear(&card, &pre_eol, &a, &b));
	card.sysfs = NULL; /* a file */
	assert_false(viodma_disk_wear(&card, &pre_eol, &a, &b));
	snprintf(inner, sizeof(inner), "rm -r %s", directory);
	assert_int_equal(system(inner), 0);
}

int main(void)
{
	static struct way uring = { VIODMA_DISK_URING, "/tmp", false }, threads = { VIODMA_DISK_THREADS, "/tmp", false },
			  uring_direct = { VIODMA_DISK_URING, "/tmp", true },
			  threads_direct = { VIODMA_DISK_THREADS, "/tmp", true },
			  memory = { VIODMA_DISK_THREADS, "/dev/shm", false };
#define TEST(name, how) { #name " (" #how ")", name, set_up, tear_down, &how }
#define ALL(name) TEST(name, uring), TEST(name, threads), TEST(name, uring_direct), TEST(name, threads_direct), \
		TEST(name, memory)
	const struct CMUnitTest tests[] = {
		ALL(what_is_zeroed_reads_as_zeroes_and_nothing_else_does),
		ALL(what_is_zeroed_keeps_its_room_unless_it_may_not),
		ALL(what_is_discarded_gives_its_room_back),
		ALL(zeroes_are_written_where_there_is_no_other_way),
		ALL(a_file_is_not_erased_securely),
		ALL(reads_and_writes_of_any_alignment_are_right),
		TEST(a_direct_disk_reads_and_writes_past_the_page_cache_where_it_can, threads_direct),
		ALL(another_size_is_seen_when_it_is_looked_for),
		TEST(the_wear_of_a_card_is_read_from_its_directory, threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
