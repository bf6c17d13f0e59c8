/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * backend.c - how it works: a back end is made with everything it will ever need (IOTLB, queues, list of questions), so
 * that nothing a front end sends makes it allocate more than what holds one memory region. It listens, serves one front
 * end at a time (others wait in the backlog), and listens again when that one's requests have ended.
 */
#include "hosted/vhost_user/messages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 8
#define ACCEPT_AGAIN_NS 500000000u

static void log_line(const struct viodma_vhost_user_options *options, const char *format, va_list arguments)
{
	char text[640];
	int at = snprintf(text, sizeof(text), "viodma: %.64s: ", options->name ? options->name : "device");

	if (!options->log)
		return;
	vsnprintf(text + at, sizeof(text) - (size_t)at, format, arguments);
	options->log(options->context, text);
}

void viodma_backend_log(struct viodma_vhost_user *backend, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	pthread_mutex_lock(&backend->shared);
	log_line(&backend->options, format, arguments);
	pthread_mutex_unlock(&backend->shared);
	va_end(arguments);
}

/* Before there is a back end. */
__attribute__((format(printf, 2, 3))) static void log_early(const struct viodma_vhost_user_options *options,
							    const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_line(options, format, arguments);
	va_end(arguments);
}

void viodma_backend_log_left_out(struct viodma_vhost_user *backend, uint64_t left_out)
{
	if (left_out)
		viodma_backend_log(backend, "%llu lines were left out", (unsigned long long)left_out);
}

static void log_limited(struct viodma_vhost_user *backend, struct viodma_rate_limit *limit, const char *format,
			va_list arguments)
{
	uint64_t left_out;

	pthread_mutex_lock(&backend->shared); /* which nests */
	if (viodma_rate_limit_allow_of(limit, viodma_loop_now_ns(), VIODMA_BACKEND_LINES_PER_SECOND, 1000000000u,
				       &left_out)) {
		viodma_backend_log_left_out(backend, left_out);
		log_line(&backend->options, format, arguments);
	}
	pthread_mutex_unlock(&backend->shared);
}

void viodma_backend_log_some(struct viodma_vhost_user *backend, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_limited(backend, &backend->log_limit, format, arguments);
	va_end(arguments);
}

void viodma_backend_log_ring(struct viodma_vhost_user *backend, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_limited(backend, &backend->ring_limit, format, arguments);
	va_end(arguments);
}

/* ---- listening ---- */

/* what: NULL where errno says it all. */
static enum viodma_result cannot_listen(struct viodma_vhost_user *backend, const char *what)
{
	const int reason = errno;
	const char *path = backend->options.socket_path;

	viodma_backend_log(backend, "cannot listen on %s: %s", path, what ? what : strerror(reason));
	errno = reason;
	return VIODMA_E_IO;
}

static void accept_one(void *context, unsigned events)
{
	struct viodma_vhost_user *backend = context;
	int fd = accept4(backend->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	enum viodma_result result;

	(void)events;
	if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED))
		return; /* it has gone again */
	if (fd < 0) {
		/* No descriptor is left, say. It stays in the backlog; asking at once would keep the loop busy. */
		viodma_backend_log(backend, "cannot accept a connection: %s", strerror(errno));
		viodma_loop_unwatch(backend->listen_watch);
		backend->listen_watch = NULL;
		viodma_loop_arm(backend->listen_timer, viodma_loop_now_ns() + ACCEPT_AGAIN_NS);
		return;
	}
	viodma_workers_hold(backend);
	result = viodma_connection_open(backend, fd);
	viodma_workers_release(backend);
	if (result != VIODMA_OK) {
		viodma_backend_log(backend, "cannot serve a connection");
		close(fd);
		return;
	}
	viodma_loop_unwatch(backend->listen_watch); /* the others wait */
	backend->listen_watch = NULL;
}

void viodma_backend_listen_again(struct viodma_vhost_user *backend)
{
	if (backend->listen_fd < 0) {
		backend->finished = true;
		return;
	}
	if (backend->closing || backend->listen_watch)
		return;
	if (viodma_loop_watch(backend->loop, backend->listen_fd, VIODMA_LOOP_IN, accept_one, backend,
			      &backend->listen_watch) != VIODMA_OK) {
		viodma_backend_log(backend, "cannot listen any more");
		backend->finished = true;
	}
}

static void accept_again(void *context)
{
	viodma_backend_listen_again(context);
}

/* Is nobody behind the socket that is there? Then it goes. False with errno, or with *what: it stays. */
static bool remove_stale(const struct sockaddr_un *address, const char **what)
{
	struct stat status;
	bool stale;
	int fd;

	if (lstat(address->sun_path, &status) < 0)
		return errno == ENOENT;
	if (!S_ISSOCK(status.st_mode)) {
		*what = "is not a socket";
		errno = EEXIST;
		return false;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 && errno == ECONNREFUSED;
	close(fd);
	if (!stale) {
		*what = "somebody listens there already";
		errno = EADDRINUSE;
		return false;
	}
	return unlink(address->sun_path) == 0 || errno == ENOENT;
}

static enum viodma_result listen_at(struct viodma_vhost_user *backend, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *what = NULL;
	struct stat status;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return cannot_listen(backend, NULL);
	}
	strcpy(address.sun_path, path);
	if (!remove_stale(&address, &what))
		return cannot_listen(backend, what);
	backend->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (backend->listen_fd < 0 ||
	    bind(backend->listen_fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return cannot_listen(backend, NULL);
	if (stat(path, &status) == 0) {
		backend->socket_device = status.st_dev;
		backend->socket_inode = status.st_ino;
	}
	if (listen(backend->listen_fd, BACKLOG) < 0)
		return cannot_listen(backend, NULL);
	return VIODMA_OK;
}

/* A socket somebody made: it listens, or it is connected. */
static enum viodma_result adopt(struct viodma_vhost_user *backend, int fd)
{
	struct sockaddr_storage peer;
	int type = 0, domain = 0, listening = 0;
	socklen_t type_bytes = sizeof(type), domain_bytes = sizeof(domain), listening_bytes = sizeof(listening);
	socklen_t peer_bytes = sizeof(peer);
	int flags = fcntl(fd, F_GETFL);
	enum viodma_result result;

	if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_bytes) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_bytes) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_bytes) < 0)
		goto failed;
	if (type != SOCK_STREAM || domain != AF_UNIX) {
		viodma_backend_log(backend, "the socket given, descriptor %d, is not a Unix stream socket", fd);
		return VIODMA_E_INVALID;
	}
	if (!listening && getpeername(fd, (struct sockaddr *)&peer, &peer_bytes) < 0) {
		if (errno != ENOTCONN)
			goto failed;
		viodma_backend_log(backend, "the socket given, descriptor %d, neither listens nor is connected", fd);
		return VIODMA_E_INVALID;
	}
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		goto failed;
	if (listening) {
		backend->listen_fd = fd;
		return VIODMA_OK;
	}
	result = viodma_connection_open(backend, fd);
	if (result != VIODMA_OK)
		viodma_backend_log(backend, "the socket given, descriptor %d, cannot be waited for: %s", fd,
				   viodma_result_text(result));
	return result;
failed:
	flags = errno;
	viodma_backend_log(backend, "the socket given, descriptor %d: %s", fd, strerror(flags));
	errno = flags;
	return VIODMA_E_IO;
}

/* ---- life ---- */

static void touched(void *context, viodma_bus bus, viodma_phys phys, uint64_t len_bytes,
		    enum viodma_permission permission)
{
	const struct viodma_space_events *events = ((struct viodma_vhost_user *)context)->options.events;

	events->touch(events->context, bus, phys, len_bytes, permission);
}

static void granted(void *context, const struct viodma_extent *extent)
{
	const struct viodma_space_events *events = ((struct viodma_vhost_user *)context)->options.events;

	events->grant(events->context, extent);
}

static void revoked(void *context, viodma_bus first, viodma_bus last)
{
	struct viodma_vhost_user *backend = context;
	const struct viodma_space_events *events = backend->options.events;

	viodma_spaces_revoked(backend, first, last);
	if (events && events->revoke)
		events->revoke(events->context, first, last);
}

/* What nobody listens to costs nothing. */
static struct viodma_space_events events_of(struct viodma_vhost_user *backend, bool rings, bool mappings)
{
	const struct viodma_space_events *wanted = backend->options.events;

	return (struct viodma_space_events){
		.fault = viodma_fault_note,
		.touch = rings && wanted && wanted->touch ? touched : NULL,
		.grant = mappings && wanted && wanted->grant ? granted : NULL,
		.revoke = mappings && ((wanted && wanted->revoke) || viodma_workers_several(backend)) ? revoked : NULL,
		.context = backend,
	};
}

/* Of several workers; what they know of mappings is no news. */
struct viodma_space_events viodma_backend_events_of_rings(struct viodma_vhost_user *backend)
{
	return events_of(backend, true, false);
}

/* A power of two. */
static uint32_t for_all_workers(const struct viodma_vhost_user *backend, uint32_t each)
{
	uint32_t all = each;

	while (all < each * backend->worker_count)
		all *= 2;
	return all;
}

static enum viodma_result make_space(struct viodma_vhost_user *backend)
{
	const struct viodma_space_events events = events_of(backend, true, true);
	struct viodma_iotlb_config config = {
		.space = &backend->space,
		.capacity = backend->options.iotlb_entries,
		.miss_capacity = for_all_workers(backend, VIODMA_BACKEND_MISSES),
		.ask = viodma_channel_ask,
		.context = backend,
	};

	backend->region_storage = calloc(1, VIODMA_SPACE_REGION_BYTES(VIODMA_BACKEND_MEMORY_SLOTS));
	config.entries = aligned_alloc(64, config.capacity * sizeof(*config.entries)); /* a cache line each */
	config.misses = calloc(config.miss_capacity, sizeof(*config.misses));
	backend->iotlb.config.entries = config.entries; /* freed with the back end, whatever comes */
	backend->iotlb.config.misses = config.misses;
	backend->channel.capacity = for_all_workers(backend, VIODMA_BACKEND_QUESTIONS);
	backend->channel.questions = calloc(backend->channel.capacity, sizeof(*backend->channel.questions));
	if (!backend->region_storage || !config.entries || !config.misses || !backend->channel.questions)
		return VIODMA_E_NO_MEMORY;
	viodma_space_init(&backend->space, backend->region_storage, VIODMA_BACKEND_MEMORY_SLOTS, &events);
	return viodma_iotlb_init(&backend->iotlb, &config);
}

static enum viodma_result make_parts(struct viodma_vhost_user *backend)
{
	enum viodma_result result = make_space(backend);

	if (result == VIODMA_OK)
		result = viodma_workers_make(backend);
	if (result == VIODMA_OK)
		result = viodma_loop_deferred(backend->loop, viodma_backend_turn, backend, &backend->turn);
	if (result == VIODMA_OK)
		result = viodma_loop_timer(backend->loop, accept_again, backend, &backend->listen_timer);
	if (result == VIODMA_OK)
		result = viodma_loop_timer(backend->loop, viodma_revocation_expired, backend,
					   &backend->revocation.timer);
	if (result != VIODMA_OK)
		return result;
	backend->rings = calloc(backend->options.queue_count, sizeof(*backend->rings));
	if (!backend->rings)
		return VIODMA_E_NO_MEMORY;
	for (unsigned i = 0; i < backend->options.queue_count; i++)
		backend->rings[i].kick_fd = backend->rings[i].call_fd = backend->rings[i].err_fd = -1;
	for (unsigned i = 0; result == VIODMA_OK && i < backend->options.queue_count; i++)
		result = viodma_vring_init(backend, i);
	return result;
}

static void destroy(struct viodma_vhost_user *backend)
{
	struct stat status;

	viodma_workers_end(backend);
	viodma_loop_unwatch(backend->listen_watch);
	if (backend->listen_fd >= 0) {
		const char *path = backend->options.socket_path;

		if (path && backend->socket_inode && lstat(path, &status) == 0 &&
		    status.st_dev == backend->socket_device && status.st_ino == backend->socket_inode)
			unlink(path);
		close(backend->listen_fd);
	}
	for (unsigned i = 0; backend->rings && i < backend->options.queue_count; i++)
		viodma_vring_destroy(&backend->rings[i]);
	free(backend->rings);
	viodma_workers_free(backend);
	viodma_loop_timer_free(backend->revocation.timer);
	viodma_loop_timer_free(backend->listen_timer);
	viodma_loop_deferred_free(backend->turn);
	free(backend->channel.questions);
	free(backend->iotlb.config.misses);
	free(backend->iotlb.config.entries);
	free(backend->region_storage);
	pthread_mutex_destroy(&backend->shared);
	free(backend);
}

static enum viodma_result fail_new(struct viodma_vhost_user *backend, enum viodma_result result)
{
	const int reason = errno;

	destroy(backend);
	errno = reason;
	return result;
}

/* Lines are logged within logging: what was left out comes before them. */
static void init_recursive(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(mutex, &attributes);
	pthread_mutexattr_destroy(&attributes);
}

enum viodma_result viodma_vhost_user_new(struct viodma_loop *loop, const struct viodma_vhost_user_ops *ops,
					 void *device, const struct viodma_vhost_user_options *options,
					 struct viodma_vhost_user **out)
{
	struct viodma_vhost_user *backend;
	enum viodma_result result;

	if (!options)
		return VIODMA_E_INVALID;
	if (!loop || !ops || !out) {
		log_early(options, "no %s given", !loop ? "loop" : !ops ? "operations" : "place for the answer");
		return VIODMA_E_INVALID;
	}
	backend = calloc(1, sizeof(*backend));
	if (!backend) {
		log_early(options, "cannot be made: %s", viodma_result_text(VIODMA_E_NO_MEMORY));
		return VIODMA_E_NO_MEMORY;
	}
	backend->loop = loop;
	backend->ops = *ops;
	backend->device = device;
	backend->options = *options;
	backend->listen_fd = backend->connection.fd = backend->channel.fd = -1;
	backend->connection.out_fd = backend->news_fd = -1;
	backend->update_first = UINT64_MAX;
	init_recursive(&backend->shared);
	viodma_options_set_defaults(&backend->options);
	if (!viodma_options_sound(backend))
		return fail_new(backend, VIODMA_E_INVALID);
	backend->worker_count = backend->options.workers < backend->options.queue_count ? backend->options.workers
											: backend->options.queue_count;
	result = make_parts(backend);
	if (result == VIODMA_OK)
		result = viodma_workers_begin(backend);
	if (result != VIODMA_OK) {
		viodma_backend_log(backend, "cannot be made: %s", viodma_result_text(result));
		return fail_new(backend, result);
	}
	backend->offered = viodma_options_features(backend);
	backend->offered_protocol = viodma_options_protocol(backend);

	result = options->socket_path ? listen_at(backend, options->socket_path) : adopt(backend, options->socket_fd);
	if (result != VIODMA_OK)
		return fail_new(backend, result);
	if (backend->listen_fd >= 0) {
		viodma_backend_listen_again(backend);
		viodma_backend_log(backend, "listening on %s",
				   options->socket_path ? options->socket_path : "the socket given");
	}
	*out = backend;
	return VIODMA_OK;
}

/* A device that was full has left requests in a ring that asks for no kick: it is to look again. */
static void look_again(struct viodma_worker *worker)
{
	struct viodma_vhost_user *backend = worker->backend;

	for (unsigned i = worker->index; i < backend->options.queue_count; i += backend->worker_count)
		backend->rings[i].more = true;
	viodma_worker_schedule(worker);
}

void viodma_vhost_user_completed(struct viodma_vhost_user *backend)
{
	struct viodma_worker *here = viodma_worker_here(backend);

	if (here) {
		look_again(here);
		return;
	}
	viodma_workers_hold(backend);
	for (unsigned i = 0; i < backend->worker_count; i++)
		look_again(&backend->workers[i]);
	viodma_workers_release(backend);
}

enum viodma_result viodma_vhost_user_free(struct viodma_vhost_user *backend)
{
	if (!backend)
		return VIODMA_OK;
	backend->closing = true;
	viodma_loop_unwatch(backend->listen_watch);
	backend->listen_watch = NULL;
	viodma_workers_hold(backend);
	viodma_connection_end(backend, "shutting down");
	viodma_revocation_advance(backend);
	viodma_workers_release(backend);
	if (backend->revocation.kind != VIODMA_REVOKE_NOTHING)
		return VIODMA_E_BUSY;
	destroy(backend);
	return VIODMA_OK;
}

bool viodma_vhost_user_connected(const struct viodma_vhost_user *backend)
{
	return backend->connection.fd >= 0;
}

bool viodma_vhost_user_finished(const struct viodma_vhost_user *backend)
{
	return backend->finished;
}

struct viodma_space *viodma_vhost_user_space(struct viodma_vhost_user *backend)
{
	return &backend->space;
}
