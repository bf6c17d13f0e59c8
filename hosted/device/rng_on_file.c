/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rng_on_file.c - how it works: a thread reads ahead into a buffer of AHEAD_BYTES, under a lock, and says through an
 * eventfd that there are bytes where there were none, or that the source has ended. The loop's thread takes bytes out,
 * wipes them in the buffer, and wakes the reader through another eventfd.
 *
 *	reader:  room in the buffer? else wait for `wake`
 *	         source readable? wait for it and for `wake`
 *	         read; 0 bytes: a regular file has ended; anything else is tried again after RETRY_MS
 *
 * A quota starts with the first byte of a period. When it is used up a timer makes the next one begin.
 */
#include "hosted/device/rng_on_file.h"

#include "hosted/base/rate_limit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY_MS 100
#define STOP_PATIENCE_MS 200

struct viodma_rng_on_file {
	struct viodma_rng rng;
	struct viodma_vhost_user *backend;
	struct viodma_loop_watch *watch;
	struct viodma_loop_timer *period_timer;
	struct viodma_rate_limit refused_limit;
	uint32_t max_bytes, period_ms;
	uint32_t quota;           /* bytes left in this period, where max_bytes is not 0 */
	uint64_t period_end_ns;   /* 0: no period has begun */
	bool wanted;              /* process found no bytes: tell the back end when there are some */
	bool end_logged;
	const char *path;
	void (*log)(void *context, const char *line);
	void *context;
	pthread_t thread;
	bool thread_runs;
	int source_fd;
	bool regular;
	int ready_fd; /* reader to loop */
	int wake_fd;  /* loop to reader */
	pthread_mutex_t lock; /* of what follows */
	bool stop;
	bool ended;
	int error; /* errno of the read that ended it; 0: the end of a file */
	uint32_t first, count; /* in the buffer, a circle */
	unsigned char bytes[VIODMA_RNG_ON_FILE_AHEAD_BYTES];
};

static void signal_fd(int fd)
{
	const uint64_t one = 1;
	ssize_t written = write(fd, &one, sizeof(one));

	(void)written; /* full: it is readable already */
}

static void drain_fd(int fd)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof(count));

	(void)got;
}

/* ---- the reader's thread ---- */

/* Wait until the source may have bytes (fd 0 or more), or be woken, or for a time. */
static void wait_for(struct viodma_rng_on_file *device, int fd, int timeout_ms)
{
	struct pollfd fds[2] = { { .fd = device->wake_fd, .events = POLLIN }, { .fd = fd, .events = POLLIN } };

	(void)poll(fds, fd >= 0 ? 2 : 1, timeout_ms);
	if (fds[0].revents)
		drain_fd(device->wake_fd);
}

static void store(struct viodma_rng_on_file *device, const unsigned char *bytes, size_t count)
{
	const uint32_t at = (device->first + device->count) % VIODMA_RNG_ON_FILE_AHEAD_BYTES;
	const size_t here = VIODMA_RNG_ON_FILE_AHEAD_BYTES - at < count ? VIODMA_RNG_ON_FILE_AHEAD_BYTES - at : count;

	memcpy(device->bytes + at, bytes, here);
	memcpy(device->bytes, bytes + here, count - here);
	device->count += (uint32_t)count;
}

/* How many bytes there is room for; 0: none, or it is to end. */
static uint32_t room(struct viodma_rng_on_file *device, bool *stop)
{
	uint32_t bytes;

	pthread_mutex_lock(&device->lock);
	*stop = device->stop;
	bytes = *stop ? 0 : VIODMA_RNG_ON_FILE_AHEAD_BYTES - device->count;
	pthread_mutex_unlock(&device->lock);
	return bytes;
}

/* False: the source has ended. */
static bool read_some(struct viodma_rng_on_file *device, uint32_t most)
{
	unsigned char bytes[VIODMA_RNG_ON_FILE_AHEAD_BYTES];
	const ssize_t got = read(device->source_fd, bytes, most);
	const int error = got < 0 ? errno : 0;

	if (got > 0) {
		pthread_mutex_lock(&device->lock);
		store(device, bytes, (size_t)got);
		pthread_mutex_unlock(&device->lock);
		explicit_bzero(bytes, (size_t)got);
		signal_fd(device->ready_fd);
		return true;
	}
	if (error == EAGAIN || error == EINTR)
		return true; /* somebody else took them */
	if (got == 0 && !device->regular) {
		wait_for(device, -1, RETRY_MS); /* nobody writes to the FIFO, or the device has nothing */
		return true;
	}
	pthread_mutex_lock(&device->lock);
	device->ended = true;
	device->error = error;
	pthread_mutex_unlock(&device->lock);
	signal_fd(device->ready_fd);
	return false;
}

static void *run_reader(void *context)
{
	struct viodma_rng_on_file *device = context;
	bool stop = false;

	while (!stop) {
		const uint32_t most = room(device, &stop);

		if (stop)
			break;
		wait_for(device, most ? device->source_fd : -1, -1);
		if (most && room(device, &stop) && !stop) {
			struct pollfd source = { .fd = device->source_fd, .events = POLLIN };

			if (poll(&source, 1, 0) > 0 && !read_some(device, most))
				break;
		}
	}
	return NULL;
}

/* ---- in the loop's thread: bytes ---- */

/* What a request may get now. */
static uint32_t available(struct viodma_rng_on_file *device)
{
	uint32_t bytes;

	if (device->max_bytes && device->period_end_ns && viodma_loop_now_ns() >= device->period_end_ns)
		device->period_end_ns = 0;
	if (!device->period_end_ns)
		device->quota = device->max_bytes;
	pthread_mutex_lock(&device->lock);
	bytes = device->count;
	pthread_mutex_unlock(&device->lock);
	return device->max_bytes && device->quota < bytes ? device->quota : bytes;
}

static bool ready(void *context)
{
	struct viodma_rng_on_file *device = context;

	if (available(device))
		return true;
	device->wanted = true;
	if (device->max_bytes && !device->quota)
		viodma_loop_arm(device->period_timer, device->period_end_ns);
	return false;
}

static size_t fill(void *context, void *random, size_t bytes)
{
	struct viodma_rng_on_file *device = context;
	const uint32_t most = available(device);
	const uint32_t count = bytes < most ? (uint32_t)bytes : most;
	unsigned char *to = random;
	uint32_t before;

	pthread_mutex_lock(&device->lock);
	before = device->count;
	for (uint32_t i = 0; i < count; i++) {
		to[i] = device->bytes[device->first];
		device->bytes[device->first] = 0;
		device->first = (device->first + 1) % VIODMA_RNG_ON_FILE_AHEAD_BYTES;
	}
	device->count -= count;
	pthread_mutex_unlock(&device->lock);
	if (before > VIODMA_RNG_ON_FILE_AHEAD_BYTES / 2 && before - count <= VIODMA_RNG_ON_FILE_AHEAD_BYTES / 2)
		signal_fd(device->wake_fd); /* a full buffer gets here before the reader matters */
	if (device->max_bytes && count) {
		if (!device->period_end_ns)
			device->period_end_ns = viodma_loop_now_ns() + (uint64_t)device->period_ms * 1000000;
		device->quota -= count;
	}
	return count;
}

static void log_text(struct viodma_rng_on_file *device, const char *line)
{
	if (device->log)
		device->log(device->context, line);
}

static void tell_backend(struct viodma_rng_on_file *device)
{
	if (device->wanted && device->backend) {
		device->wanted = false;
		viodma_vhost_user_completed(device->backend);
	}
}

static void reader_spoke(void *context, unsigned events)
{
	struct viodma_rng_on_file *device = context;
	char line[512];
	bool ended;
	int error;

	(void)events;
	drain_fd(device->ready_fd);
	pthread_mutex_lock(&device->lock);
	ended = device->ended;
	error = device->error;
	pthread_mutex_unlock(&device->lock);
	if (ended && !device->end_logged) {
		device->end_logged = true;
		snprintf(line, sizeof(line), "%s: %s: requests wait from now on", device->path,
			 error ? strerror(error) : "the source has ended");
		log_text(device, line);
	}
	tell_backend(device);
}

static void period_began(void *context)
{
	struct viodma_rng_on_file *device = context;

	device->period_end_ns = 0;
	tell_backend(device);
}

static void refused(void *context, uint16_t head, enum viodma_result reason, const char *what)
{
	struct viodma_rng_on_file *device = context;
	char line[256];
	uint64_t suppressed;

	if (!viodma_rate_limit_allow(&device->refused_limit, viodma_loop_now_ns(), &suppressed))
		return;
	snprintf(line, sizeof(line), "request %u refused: %s%s%s: %s", (unsigned)head,
		 viodma_result_requirement(reason), *viodma_result_requirement(reason) ? ": " : "",
		 viodma_result_text(reason), what);
	if (suppressed)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), " (and %" PRIu64 " lines not shown)",
			 suppressed);
	log_text(device, line);
}

/* ---- the operations of a vhost-user device ---- */

static enum viodma_result process(void *context, struct viodma_queue *queue)
{
	struct viodma_rng_on_file *device = context;

	return viodma_rng_process(&device->rng, queue);
}

static void fail_held(void *context, struct viodma_queue *queue)
{
	struct viodma_request *request;

	(void)context;
	while (viodma_queue_pop_held(queue, &request) == VIODMA_OK)
		(void)viodma_queue_reject(queue, request, NULL, 0);
}

const struct viodma_vhost_user_ops viodma_rng_on_file_ops = { .process = process, .fail_held = fail_held };

/* ---- making and freeing ---- */

static void free_memory(struct viodma_rng_on_file *device)
{
	viodma_loop_unwatch(device->watch);
	viodma_loop_timer_free(device->period_timer);
	if (device->source_fd >= 0)
		close(device->source_fd);
	if (device->ready_fd >= 0)
		close(device->ready_fd);
	if (device->wake_fd >= 0)
		close(device->wake_fd);
	pthread_mutex_destroy(&device->lock);
	explicit_bzero(device, sizeof(*device));
	free(device);
}

/* Only this thread's own signals concern it: those of the program are for others. */
static int start_reader(struct viodma_rng_on_file *device)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&device->thread, NULL, run_reader, device);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	device->thread_runs = !error;
	return error;
}

static enum viodma_result failed(struct viodma_rng_on_file *device, const char *what, int error)
{
	char line[512];

	snprintf(line, sizeof(line), "%s: %s: %s", device->path, what, strerror(error));
	log_text(device, line);
	free_memory(device);
	return error == ENOMEM ? VIODMA_E_NO_MEMORY : VIODMA_E_IO;
}

/* A FIFO is opened without waiting for somebody who writes. */
static int open_source(struct viodma_rng_on_file *device)
{
	struct stat found;

	device->source_fd = open(device->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (device->source_fd < 0 || fstat(device->source_fd, &found) < 0)
		return errno;
	device->regular = S_ISREG(found.st_mode) || S_ISBLK(found.st_mode);
	return S_ISDIR(found.st_mode) ? EISDIR : 0;
}

enum viodma_result viodma_rng_on_file_new(const struct viodma_rng_on_file_options *options,
					  struct viodma_rng_on_file **out)
{
	struct viodma_rng_ops ops = { .ready = ready, .fill = fill, .refused = refused };
	struct viodma_rng_on_file *device;
	int error;

	if (options->max_bytes && !options->period_ms)
		return VIODMA_E_INVALID;
	device = calloc(1, sizeof(*device));
	if (!device)
		return VIODMA_E_NO_MEMORY;
	pthread_mutex_init(&device->lock, NULL);
	device->path = options->path;
	device->max_bytes = options->max_bytes;
	device->period_ms = options->period_ms;
	device->log = options->log;
	device->context = options->context;
	device->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	device->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	device->source_fd = -1;
	if (device->ready_fd < 0 || device->wake_fd < 0)
		return failed(device, "setting up", errno);
	error = open_source(device);
	if (error)
		return failed(device, "cannot be opened", error);
	ops.context = device;
	if (viodma_rng_init(&device->rng, &ops, VIODMA_RNG_ON_FILE_AHEAD_BYTES) != VIODMA_OK ||
	    viodma_loop_watch(options->loop, device->ready_fd, VIODMA_LOOP_IN, reader_spoke, device, &device->watch) !=
		    VIODMA_OK ||
	    viodma_loop_timer(options->loop, period_began, device, &device->period_timer) != VIODMA_OK)
		return failed(device, "setting up", ENOMEM);
	error = start_reader(device);
	if (error)
		return failed(device, "starting its thread", error);
	*out = device;
	return VIODMA_OK;
}

enum viodma_result viodma_rng_on_file_free(struct viodma_rng_on_file *device)
{
	struct timespec deadline;

	if (!device)
		return VIODMA_OK;
	if (device->thread_runs) {
		pthread_mutex_lock(&device->lock);
		device->stop = true;
		pthread_mutex_unlock(&device->lock);
		signal_fd(device->wake_fd);
		clock_gettime(CLOCK_REALTIME, &deadline);
		deadline.tv_nsec += STOP_PATIENCE_MS * 1000000;
		deadline.tv_sec += deadline.tv_nsec / 1000000000;
		deadline.tv_nsec %= 1000000000;
		if (pthread_timedjoin_np(device->thread, NULL, &deadline))
			return VIODMA_E_BUSY;
		device->thread_runs = false;
	}
	free_memory(device);
	return VIODMA_OK;
}

void viodma_rng_on_file_limits(struct viodma_vhost_user_options *options)
{
	options->queue_count = 1;
	options->queue_size_max = VIODMA_RNG_ON_FILE_QUEUE_SIZE_MAX;
	options->segments_max = VIODMA_RNG_ON_FILE_SEGMENTS_MAX;
	options->pieces_max = VIODMA_RNG_ON_FILE_PIECES_MAX;
	options->request_bytes_max = VIODMA_RNG_ON_FILE_REQUEST_BYTES_MAX;
}

void viodma_rng_on_file_set_backend(struct viodma_rng_on_file *device, struct viodma_vhost_user *backend)
{
	device->backend = backend;
}

const struct viodma_rng_statistics *viodma_rng_on_file_statistics(const struct viodma_rng_on_file *device)
{
	return &device->rng.statistics;
}
