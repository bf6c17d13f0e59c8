/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_disk.c - files as disks: both engines against real files, and disk.c against an engine whose answers are written
 * down in the test.
 *
 * The tests of real files run once per engine (main's table). What this machine does not allow is skipped by name.
 */
#include "hosted/disk/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE_BYTES (4u << 20)
#define OPERATIONS 500

static char directory[64], image[128];
static char log_text[8192];
static unsigned log_lines;
static enum viodma_disk_engine_kind engine;

static void log_line(void *context, const char *line)
{
	(void)context;
	log_lines++;
	strncat(log_text, line, sizeof(log_text) - strlen(log_text) - 1);
	strncat(log_text, "\n", sizeof(log_text) - strlen(log_text) - 1);
}

static int set_up(void **state)
{
	int fd;

	engine = *(const enum viodma_disk_engine_kind *)*state;
	log_text[0] = '\0';
	log_lines = 0;
	alarm(60);
	strcpy(directory, "/tmp/viodma-test-disk-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(image, sizeof(image), "%s/image", directory);
	fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, IMAGE_BYTES) < 0)
		return -1;
	return close(fd);
}

static int tear_down(void **state)
{
	(void)state;
	unlink(image);
	rmdir(directory);
	alarm(0);
	return 0;
}

static struct viodma_disk *open_disk(unsigned depth, bool read_only)
{
	const struct viodma_disk_options options = {
		.path = image, .engine = engine, .depth = depth, .read_only = read_only, .log = log_line,
	};
	struct viodma_disk *disk = NULL;
	char text[256];

	if (viodma_disk_open(&options, &disk, text, sizeof(text)) != VIODMA_OK) {
		print_message("%s%s\n", engine == VIODMA_DISK_URING ? "not run: " : "", text);
		if (engine == VIODMA_DISK_URING)
			skip();
		fail();
	}
	return disk;
}

static void wait_for_all(struct viodma_disk *disk)
{
	while (viodma_disk_in_flight(disk)) {
		struct pollfd ready = { .fd = viodma_disk_event_fd(disk), .events = POLLIN };

		assert_int_equal(poll(&ready, 1, 10000), 1);
		viodma_disk_reap(disk);
	}
}

static void note_error(struct viodma_disk_io *io, int error)
{
	*(int *)io->user = error;
}

/* One operation over one buffer, waited for. */
static int do_one(struct viodma_disk *disk, enum viodma_disk_operation operation, bool durable, uint64_t offset,
		  void *buffer, size_t bytes)
{
	struct iovec iovec = { .iov_base = buffer, .iov_len = bytes };
	int error = -1;
	struct viodma_disk_io io = {
		.operation = operation, .durable = durable, .offset_bytes = offset, .len_bytes = bytes,
		.iovecs = &iovec, .iovec_count = bytes ? 1 : 0, .done = note_error, .user = &error,
	};

	viodma_disk_submit(disk, &io);
	viodma_disk_kick(disk);
	wait_for_all(disk);
	assert_int_not_equal(error, -1);
	return error;
}

/* ---- real files ---- */

static void what_was_written_is_read_back_through_more_iovecs_than_one_call_takes(void **state)
{
	enum { PARTS = 2500, PART = 512 };
	struct viodma_disk *disk = open_disk(0, false);
	unsigned char *out = malloc((size_t)PARTS * PART), *in = calloc(PARTS, PART);
	struct iovec *iovecs = calloc(PARTS, sizeof(*iovecs));
	int error = -1;
	struct viodma_disk_io io = { .operation = VIODMA_DISK_WRITE, .durable = true, .offset_bytes = 1024,
				     .len_bytes = (uint64_t)PARTS * PART, .iovecs = iovecs, .iovec_count = PARTS,
				     .done = note_error, .user = &error };

	(void)state;
	for (size_t i = 0; i < (size_t)PARTS * PART; i++)
		out[i] = (unsigned char)(i * 7 + i / PART);
	for (size_t i = 0; i < PARTS; i++)
		iovecs[i] = (struct iovec){ out + i * PART, PART };
	viodma_disk_submit(disk, &io);
	viodma_disk_kick(disk);
	wait_for_all(disk);
	assert_int_equal(error, 0);
	for (size_t i = 0; i < PARTS; i++)
		iovecs[i] = (struct iovec){ in + i * PART, PART };
	io.operation = VIODMA_DISK_READ;
	error = -1;
	viodma_disk_submit(disk, &io);
	viodma_disk_kick(disk);
	wait_for_all(disk);
	assert_int_equal(error, 0);
	assert_memory_equal(in, out, (size_t)PARTS * PART);
	assert_int_equal(do_one(disk, VIODMA_DISK_FLUSH, false, 0, NULL, 0), 0);
	assert_int_equal(viodma_disk_close(disk), VIODMA_OK);
	assert_int_equal(log_lines, 0);
	free(iovecs);
	free(in);
	free(out);
}

struct many {
	struct viodma_disk *disk;
	struct viodma_disk_io ios[OPERATIONS];
	struct iovec iovecs[OPERATIONS];
	unsigned char *data;
	unsigned done, again;
};

static void read_after_write(struct viodma_disk_io *io, int error)
{
	struct many *many = io->user;
	size_t i = (size_t)(io - many->ios);

	assert_int_equal(error, 0);
	many->done++;
	if (io->operation == VIODMA_DISK_WRITE) { /* a `done` may submit */
		memset(many->data + i * 4096, 0, 4096);
		many->iovecs[i] = (struct iovec){ many->data + i * 4096, 4096 };
		io->operation = VIODMA_DISK_READ;
		many->again++;
		viodma_disk_submit(many->disk, io);
	}
}

static void more_operations_than_the_depth_all_happen(void **state)
{
	struct many *many = calloc(1, sizeof(*many));

	(void)state;
	many->disk = open_disk(4, false);
	many->data = malloc((size_t)OPERATIONS * 4096);
	for (size_t i = 0; i < OPERATIONS; i++) {
		memset(many->data + i * 4096, (int)(i % 251 + 1), 4096);
		many->iovecs[i] = (struct iovec){ many->data + i * 4096, 4096 };
		many->ios[i] = (struct viodma_disk_io){ .operation = VIODMA_DISK_WRITE, .offset_bytes = i * 4096,
							.len_bytes = 4096, .iovecs = &many->iovecs[i],
							.iovec_count = 1, .done = read_after_write, .user = many };
		viodma_disk_submit(many->disk, &many->ios[i]);
	}
	viodma_disk_kick(many->disk);
	assert_int_equal(viodma_disk_in_flight(many->disk), OPERATIONS);
	assert_int_equal(viodma_disk_close(many->disk), VIODMA_E_BUSY);
	wait_for_all(many->disk);
	assert_int_equal(many->done, 2 * OPERATIONS);
	for (size_t i = 0; i < (size_t)OPERATIONS * 4096; i++)
		assert_int_equal(many->data[i], i / 4096 % 251 + 1);
	assert_int_equal(viodma_disk_close(many->disk), VIODMA_OK);
	free(many->data);
	free(many);
}

static void a_read_that_meets_the_end_of_a_shrunken_image_fails_and_says_so(void **state)
{
	struct viodma_disk *disk = open_disk(0, false);
	unsigned char buffer[8192];

	(void)state;
	assert_int_equal(truncate(image, 1024 * 1024 + 4096), 0);
	assert_int_equal(do_one(disk, VIODMA_DISK_READ, false, 1024 * 1024, buffer, 4096), 0);
	assert_int_equal(do_one(disk, VIODMA_DISK_READ, false, 1024 * 1024, buffer, 8192), EIO);
	assert_non_null(strstr(log_text, "the image shrank"));
	assert_non_null(strstr(log_text, "the file has 1052672 bytes now, and had 4194304"));
	assert_non_null(strstr(log_text, image));
	assert_int_equal(do_one(disk, VIODMA_DISK_READ, false, 3 * 1024 * 1024, buffer, 8192), EIO);
	assert_int_equal(log_lines, 2);
	assert_int_equal(viodma_disk_close(disk), VIODMA_OK);
}

static void a_full_file_system_fails_the_write_with_one_line(void **state)
{
	struct viodma_disk *disk;
	unsigned char *buffer;
	char mounted[96];
	int fd;

	(void)state;
	snprintf(mounted, sizeof(mounted), "%s/full", directory);
	assert_int_equal(mkdir(mounted, 0700), 0);
	if (mount("tmpfs", mounted, "tmpfs", 0, "size=64k") < 0) {
		print_message("not run: mounting a small tmpfs: %s\n", strerror(errno));
		rmdir(mounted);
		skip();
	}
	unlink(image);
	snprintf(image, sizeof(image), "%s/image", mounted);
	fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, IMAGE_BYTES), 0);
	close(fd);
	buffer = calloc(1, 1 << 20);
	disk = open_disk(0, false);
	assert_int_equal(do_one(disk, VIODMA_DISK_WRITE, false, 0, buffer, 1 << 20), ENOSPC);
	assert_int_equal(log_lines, 1);
	assert_non_null(strstr(log_text, "write of 1048576 bytes at 0 failed: No space left on device"));
	assert_int_equal(do_one(disk, VIODMA_DISK_READ, false, 0, buffer, 4096), 0);
	assert_int_equal(viodma_disk_close(disk), VIODMA_OK);
	free(buffer);
	unlink(image);
	umount(mounted);
	rmdir(mounted);
}

static void a_file_size_limit_fails_the_write(void **state)
{
	struct viodma_disk *disk = open_disk(0, false);
	unsigned char buffer[4096] = { 0 };
	struct rlimit before, limit;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(truncate(image, 65536), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){ 65536, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(do_one(disk, VIODMA_DISK_WRITE, false, 1 << 20, buffer, sizeof(buffer)), EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_non_null(strstr(log_text, "File too large"));
	assert_int_equal(viodma_disk_close(disk), VIODMA_OK);
}

static void a_read_only_disk_is_not_written(void **state)
{
	struct viodma_disk *disk = open_disk(0, true);
	unsigned char buffer[512] = { 0 };

	(void)state;
	assert_int_equal(do_one(disk, VIODMA_DISK_WRITE, false, 0, buffer, sizeof(buffer)), EBADF);
	assert_int_equal(do_one(disk, VIODMA_DISK_READ, false, 0, buffer, sizeof(buffer)), 0);
	assert_int_equal(viodma_disk_close(disk), VIODMA_OK);
}

static void a_flood_of_errors_is_a_few_lines(void **state)
{
	struct viodma_disk *disk = open_disk(0, false);
	unsigned char buffer[512];

	(void)state;
	assert_int_equal(truncate(image, 0), 0);
	for (int i = 0; i < 200; i++)
		assert_int_equal(do_one(disk, VIODMA_DISK_READ, false, 0, buffer, sizeof(buffer)), EIO);
	assert_true(log_lines <= 2 * VIODMA_RATE_LIMIT_LINES);
	assert_int_equal(viodma_disk_close(disk), VIODMA_OK);
}

/* ---- opening ---- */

static void must_refuse(const char *path, const char *said)
{
	const struct viodma_disk_options options = { .path = path, .engine = engine, .log = log_line };
	struct viodma_disk *disk = NULL;
	char text[256] = "";

	assert_int_not_equal(viodma_disk_open(&options, &disk, text, sizeof(text)), VIODMA_OK);
	assert_null(disk);
	assert_non_null(strstr(text, path));
	if (!strstr(text, said))
		fail_msg("\"%s\" does not say \"%s\"", text, said);
}

static void what_is_no_disk_is_refused_by_name(void **state)
{
	char fifo[128];

	(void)state;
	must_refuse("/", "a directory");
	must_refuse("/dev/null", "a character device");
	must_refuse("/nonexistent/image", "No such file");
	snprintf(fifo, sizeof(fifo), "%s/fifo", directory);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	must_refuse(fifo, "a FIFO");
	unlink(fifo);
	assert_int_equal(truncate(image, 511), 0);
	must_refuse(image, "not one sector");
}

static void the_size_is_whole_sectors_and_the_rest_is_mentioned(void **state)
{
	struct viodma_disk *disk;

	(void)state;
	assert_int_equal(truncate(image, 5 * 512 + 100), 0);
	disk = open_disk(0, false);
	assert_int_equal(viodma_disk_size_bytes(disk), 5 * 512);
	assert_non_null(strstr(log_text, "the last 100 are not served"));
	assert_int_equal(viodma_disk_close(disk), VIODMA_OK);
}

static void an_image_that_is_written_has_one_user_and_one_that_is_read_has_many(void **state)
{
	const struct viodma_disk_options writing = { .path = image, .engine = engine, .log = log_line };
	const struct viodma_disk_options reading = { .path = image, .engine = engine, .log = log_line,
						     .read_only = true };
	struct viodma_disk *first = open_disk(0, false), *second = NULL;
	char text[256];

	(void)state;
	assert_int_equal(viodma_disk_open(&writing, &second, text, sizeof(text)), VIODMA_E_BUSY);
	assert_non_null(strstr(text, image));
	assert_non_null(strstr(text, "is in use"));
	assert_int_equal(viodma_disk_open(&reading, &second, text, sizeof(text)), VIODMA_E_BUSY);
	assert_non_null(strstr(text, "for writing"));
	assert_int_equal(viodma_disk_close(first), VIODMA_OK);
	first = open_disk(0, true);
	second = open_disk(0, true);
	assert_int_equal(viodma_disk_close(second), VIODMA_OK);
	assert_int_equal(viodma_disk_open(&writing, &second, text, sizeof(text)), VIODMA_E_BUSY);
	assert_int_equal(viodma_disk_close(first), VIODMA_OK);
	first = open_disk(0, false);
	assert_int_equal(viodma_disk_close(first), VIODMA_OK);
	assert_string_equal(log_text, "");
}

static int without_io_uring(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { .len = 4, .filter = filter };
	const struct viodma_disk_options options = { .path = image, .log = log_line };
	struct viodma_disk *disk;
	char text[256];
	unsigned char buffer[512] = { 1 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 77;
	if (viodma_disk_open(&options, &disk, text, sizeof(text)) != VIODMA_OK)
		return 1;
	if (strcmp(viodma_disk_engine_name(disk), "threads"))
		return 2;
#ifdef VIODMA_HAVE_LIBURING
	if (!strstr(log_text, "no io_uring (Operation not permitted): using threads"))
		return 3;
#endif
	if (do_one(disk, VIODMA_DISK_WRITE, true, 512, buffer, sizeof(buffer)))
		return 4;
	return viodma_disk_close(disk) == VIODMA_OK ? 0 : 5;
}

static void a_disk_that_is_shared_is_the_same_file_with_an_engine_of_its_own_and_keeps_its_lock(void **state)
{
	const struct viodma_disk_options writing = { .path = image, .engine = engine, .log = log_line };
	struct viodma_disk *first = open_disk(0, false), *second = NULL, *third = NULL;
	unsigned char bytes[512], expected[512];
	char text[256];

	(void)state;
	assert_int_equal(viodma_disk_share(first, &second, text, sizeof(text)), VIODMA_OK);
	assert_int_not_equal(viodma_disk_event_fd(first), viodma_disk_event_fd(second));
	assert_string_equal(viodma_disk_engine_name(first), viodma_disk_engine_name(second));
	assert_int_equal(viodma_disk_size_bytes(first), viodma_disk_size_bytes(second));
	memset(expected, 0x5a, sizeof(expected));
	memcpy(bytes, expected, sizeof(bytes));
	assert_int_equal(do_one(first, VIODMA_DISK_WRITE, false, 1024, bytes, sizeof(bytes)), 0);
	assert_int_equal(do_one(second, VIODMA_DISK_FLUSH, false, 0, NULL, 0), 0);
	assert_int_equal(viodma_disk_close(first), VIODMA_OK);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(do_one(second, VIODMA_DISK_READ, false, 1024, bytes, sizeof(bytes)), 0);
	assert_memory_equal(bytes, expected, sizeof(bytes));
	assert_int_equal(viodma_disk_open(&writing, &third, text, sizeof(text)), VIODMA_E_BUSY);
	assert_int_equal(viodma_disk_close(second), VIODMA_OK);
	assert_int_equal(viodma_disk_open(&writing, &third, text, sizeof(text)), VIODMA_OK);
	assert_int_equal(viodma_disk_close(third), VIODMA_OK);
}

static void where_io_uring_is_forbidden_threads_do_the_work(void **state)
{
	pid_t child;
	int status;

	(void)state;
	child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(without_io_uring());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("not run: seccomp cannot be used\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- disk.c against an engine with a script ---- */

static int64_t script[16];
static unsigned script_next, script_attempts;
static struct viodma_disk_io *script_io;
static struct {
	enum viodma_disk_operation operation;
	uint64_t offset;
	size_t first_len;
	int flags;
} attempts_seen[2048];

static void script_attempt(struct viodma_disk *disk, struct viodma_disk_io *io)
{
	unsigned count;
	struct iovec *iovecs = viodma_disk_next_iovecs(io, &count);

	attempts_seen[script_attempts].operation = viodma_disk_next_operation(io);
	attempts_seen[script_attempts].offset = io->offset_bytes + io->moved_bytes;
	attempts_seen[script_attempts].first_len = count ? iovecs[0].iov_len : 0;
	attempts_seen[script_attempts].flags = viodma_disk_write_flags(disk, io);
	script_attempts++;
	script_io = io;
}

static void script_kick(struct viodma_disk *disk)
{
	(void)disk;
}

static void script_reap(struct viodma_disk *disk)
{
	struct viodma_disk_io *io = script_io;

	script_io = NULL;
	if (io)
		viodma_disk_attempted(disk, io, script[script_next] ? script[script_next++] : -EAGAIN);
}

static const struct viodma_disk_engine script_engine = {
	.name = "script", .attempt = script_attempt, .kick = script_kick, .reap = script_reap,
};

/* Runs one write of 3 x 512 bytes at 8192; answers its error. */
static int run_script(bool durable, const int64_t *results, unsigned count)
{
	struct viodma_disk disk = { .engine = &script_engine, .workers = &script_engine, .event_fd = -1, .fd = -1, .depth = 1, .log = log_line };
	struct iovec iovecs[3] = { { log_text, 512 }, { log_text, 512 }, { log_text, 512 } };
	int error = -1;
	struct viodma_disk_io io = { .operation = VIODMA_DISK_WRITE, .durable = durable, .offset_bytes = 8192,
				     .len_bytes = 1536, .iovecs = iovecs, .iovec_count = 3, .done = note_error,
				     .user = &error };
	char path[] = "scripted";

	disk.path = path;
	disk.waiting_end = &disk.waiting;
	memset(script, 0, sizeof(script));
	for (unsigned i = 0; i < count; i++)
		script[i] = results[i];
	script_next = 0;
	script_attempts = 0;
	viodma_disk_submit(&disk, &io);
	viodma_disk_kick(&disk);
	while (viodma_disk_in_flight(&disk))
		viodma_disk_reap(&disk);
	return error;
}

static void a_short_write_goes_on_where_it_stopped(void **state)
{
	const int64_t results[] = { 100, -EINTR, 512 + 12, -EAGAIN, 912 };

	(void)state;
	assert_int_equal(run_script(false, results, 5), 0);
	assert_int_equal(script_attempts, 5);
	assert_int_equal(attempts_seen[1].offset, 8192 + 100);
	assert_int_equal(attempts_seen[1].first_len, 412);
	assert_int_equal(attempts_seen[3].offset, 8192 + 624);
	assert_int_equal(attempts_seen[3].first_len, 400);
	assert_int_equal(attempts_seen[0].flags, 0);
	assert_int_equal(log_lines, 0);
}

static void a_durable_write_without_the_flag_is_a_write_and_a_flush(void **state)
{
	/* 0 ends a script: the flush answers 1, which counts as success. */
	const int64_t results[] = { 512, -EOPNOTSUPP, 1024, -EINTR, 1 };

	(void)state;
	assert_int_equal(run_script(true, results, 5), 0);
	assert_int_equal(script_attempts, 5);
	assert_int_equal(attempts_seen[0].flags, RWF_DSYNC);
	assert_int_equal(attempts_seen[2].flags, 0);
	assert_int_equal(attempts_seen[2].offset, 8192 + 512);
	assert_int_equal(attempts_seen[3].operation, VIODMA_DISK_FLUSH);
	assert_int_equal(attempts_seen[4].operation, VIODMA_DISK_FLUSH);
	assert_non_null(strstr(log_text, "writing, then flushing"));
}

static void a_flush_that_fails_after_a_durable_write_fails_the_write(void **state)
{
	const int64_t results[] = { -EOPNOTSUPP, 1536, -EIO };

	(void)state;
	assert_int_equal(run_script(true, results, 3), EIO);
}

static void what_never_gets_anywhere_fails_in_the_end(void **state)
{
	(void)state;
	assert_int_equal(run_script(false, NULL, 0), EAGAIN);
	assert_int_equal(script_attempts, 1001);
}

int main(void)
{
	static enum viodma_disk_engine_kind uring = VIODMA_DISK_URING, threads = VIODMA_DISK_THREADS;
#define TEST(name, kind) { #name " (" #kind ")", name, set_up, tear_down, &kind }
#define BOTH(name) TEST(name, uring), TEST(name, threads)
	const struct CMUnitTest tests[] = {
		BOTH(what_was_written_is_read_back_through_more_iovecs_than_one_call_takes),
		BOTH(more_operations_than_the_depth_all_happen),
		BOTH(a_read_that_meets_the_end_of_a_shrunken_image_fails_and_says_so),
		BOTH(a_full_file_system_fails_the_write_with_one_line),
		BOTH(a_file_size_limit_fails_the_write),
		BOTH(a_read_only_disk_is_not_written),
		BOTH(a_flood_of_errors_is_a_few_lines),
		TEST(what_is_no_disk_is_refused_by_name, threads),
		TEST(the_size_is_whole_sectors_and_the_rest_is_mentioned, threads),
		TEST(an_image_that_is_written_has_one_user_and_one_that_is_read_has_many, threads),
		BOTH(a_disk_that_is_shared_is_the_same_file_with_an_engine_of_its_own_and_keeps_its_lock),
		TEST(where_io_uring_is_forbidden_threads_do_the_work, threads),
		TEST(a_short_write_goes_on_where_it_stopped, threads),
		TEST(a_durable_write_without_the_flag_is_a_write_and_a_flush, threads),
		TEST(a_flush_that_fails_after_a_durable_write_fails_the_write, threads),
		TEST(what_never_gets_anywhere_fails_in_the_end, threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
