/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_requests.c - how it works (test build only): each connection is a client with one line at a time. An access is
 * attempted through viodma_space_read or _write. VIODMA_MISS means that the space has asked the platform; the attempt
 * is repeated whenever the space's epoch moved, for at most PATIENCE_NS.
 *
 * The space has no call for "your epoch moved", so a deferred call looks at it in every round of the loop while anybody
 * waits: the loop spins. It has to look that closely, since a refusal is forgotten once the queues have been tried, and
 * the next attempt would ask again. If it was forgotten all the same, no question is outstanding although the address
 * is not known: then the access is refused, and reported, from here.
 */
#include "tools/test_requests.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_MAX 8
#define LENGTH_MAX 65536u
#define PATIENCE_NS 5000000000u
#define WRITTEN_BYTE 0xa5

struct client {
	struct test_requests *owner;
	int fd; /* -1: free */
	struct viodma_loop_watch *watch;
	char line[128];
	size_t line_bytes;
	bool waiting;
	enum viodma_permission permission;
	viodma_bus bus;
	uint32_t len_bytes;
	uint64_t epoch, deadline_ns;
};

struct test_requests {
	struct viodma_loop *loop;
	struct viodma_space *space;
	int listen_fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct viodma_loop_watch *listen_watch;
	struct viodma_loop_deferred *look;
	struct client clients[CLIENTS_MAX];
	unsigned char data[LENGTH_MAX];
	char answer[2 * LENGTH_MAX + 64];
};

static void close_client(struct client *client)
{
	viodma_loop_unwatch(client->watch);
	client->watch = NULL;
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	client->waiting = false;
	client->line_bytes = 0;
}

/* Tests read what they asked for: one that does not loses its connection rather than stop the device. */
static void answer(struct client *client)
{
	const char *text = client->owner->answer;
	size_t left = strlen(text);

	client->waiting = false;
	while (left) {
		ssize_t sent = send(client->fd, text, left, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0) {
			close_client(client);
			return;
		}
		text += sent;
		left -= (size_t)sent;
	}
}

static void answer_refused(struct client *client, enum viodma_result reason, viodma_bus bus, const char *text)
{
	struct test_requests *requests = client->owner;

	snprintf(requests->answer, sizeof(requests->answer), "refused %s 0x%" PRIx64 " %s\n",
		 *viodma_result_requirement(reason) ? viodma_result_requirement(reason) : "-", bus.v, text);
	answer(client);
}

static void answer_read(struct client *client)
{
	struct test_requests *requests = client->owner;
	char *to = requests->answer;

	to += sprintf(to, "read ");
	for (uint32_t i = 0; i < client->len_bytes; i++)
		to += sprintf(to, "%02x", requests->data[i]);
	strcpy(to, "\n");
	answer(client);
}

/* Is nothing being asked, and nothing kept from being asked? */
static bool nothing_asked(const struct viodma_space *space)
{
	return space->kind == VIODMA_SPACE_IOTLB && space->iotlb && !space->iotlb->outstanding && !space->hold_misses;
}

/* Of what was asked before, is there an address that is still not known? Asks nothing. */
static bool was_forgotten(const struct client *client, viodma_bus *where)
{
	struct viodma_space *space = client->owner->space;
	struct viodma_space_cache cache;
	struct viodma_extent extent;
	uint64_t left = client->len_bytes;

	memset(&cache, 0, sizeof(cache));
	*where = client->bus;
	while (nothing_asked(space)) {
		enum viodma_result result = viodma_space_translate(space, &cache, *where, client->permission, &extent);

		if (result != VIODMA_OK)
			return result == VIODMA_MISS;
		if (extent.last.v - where->v >= left - 1)
			return false;
		left -= extent.last.v - where->v + 1;
		where->v = extent.last.v + 1;
	}
	return false;
}

static void attempt(struct client *client, bool first)
{
	struct test_requests *requests = client->owner;
	struct viodma_space *space = requests->space;
	struct viodma_space_cache cache;
	viodma_bus missed = client->bus;
	enum viodma_result result;

	client->epoch = space->epoch;
	if (!first && was_forgotten(client, &missed)) {
		const struct viodma_fault fault = { VIODMA_QUEUE_NONE, missed, client->len_bytes, client->permission,
						    VIODMA_FAULT_NO_ANSWER };

		viodma_space_report(space, &fault);
		answer_refused(client, fault.reason, missed, viodma_result_text(fault.reason));
		return;
	}
	memset(&cache, 0, sizeof(cache));
	if (client->permission == VIODMA_READ) {
		result = viodma_space_read(space, &cache, VIODMA_QUEUE_NONE, client->bus, requests->data,
					   client->len_bytes, &missed);
	} else {
		memset(requests->data, WRITTEN_BYTE, client->len_bytes);
		result = viodma_space_write(space, &cache, VIODMA_QUEUE_NONE, client->bus, requests->data,
					    client->len_bytes, &missed);
	}
	client->epoch = space->epoch;
	if (result == VIODMA_MISS) {
		client->waiting = true;
		viodma_loop_schedule(requests->look);
	} else if (result != VIODMA_OK) {
		answer_refused(client, result, missed, viodma_result_text(result));
	} else if (client->permission == VIODMA_READ) {
		answer_read(client);
	} else {
		strcpy(requests->answer, "written\n");
		answer(client);
	}
}

static void look(void *context)
{
	struct test_requests *requests = context;

	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &requests->clients[i];

		if (!client->waiting)
			continue;
		viodma_loop_schedule(requests->look);
		if (viodma_loop_now_ns() >= client->deadline_ns)
			answer_refused(client, VIODMA_FAULT_UNMAPPED, client->bus, "the miss was not answered");
		else if (client->epoch != requests->space->epoch || nothing_asked(requests->space))
			attempt(client, false);
	}
}

static void take_line(struct client *client)
{
	char verb[16], rest;
	unsigned long long address, length;
	char address_text[32], *end;

	if (sscanf(client->line, "%15s %31s %llu %c", verb, address_text, &length, &rest) == 3 &&
	    (!strcmp(verb, "stray-read") || !strcmp(verb, "stray-write")) && length >= 1 && length <= LENGTH_MAX) {
		errno = 0;
		address = strtoull(address_text, &end, 0);
		if (!*end && !errno) {
			client->permission = !strcmp(verb, "stray-read") ? VIODMA_READ : VIODMA_WRITE;
			client->bus.v = address;
			client->len_bytes = (uint32_t)length;
			client->deadline_ns = viodma_loop_now_ns() + PATIENCE_NS;
			attempt(client, true);
			return;
		}
	}
	snprintf(client->owner->answer, sizeof(client->owner->answer),
		 "error expected stray-read or stray-write, an address, and a length up to %u\n", LENGTH_MAX);
	answer(client);
}

static void client_ready(void *context, unsigned events)
{
	struct client *client = context;
	char byte;
	ssize_t got;

	(void)events;
	/* A line at a time, byte by byte: what follows it waits in the socket. */
	while (!client->waiting && client->fd >= 0 &&
	       (got = recv(client->fd, &byte, 1, MSG_DONTWAIT)) != -1) {
		if (got == 0) {
			close_client(client);
			return;
		}
		if (byte == '\n') {
			client->line[client->line_bytes] = '\0';
			client->line_bytes = 0;
			take_line(client);
		} else if (client->line_bytes < sizeof(client->line) - 1) {
			client->line[client->line_bytes++] = byte;
		}
	}
	if (client->waiting && client->fd >= 0 && recv(client->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0)
		close_client(client);
}

static void accept_client(void *context, unsigned events)
{
	struct test_requests *requests = context;
	int fd = accept4(requests->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	for (unsigned i = 0; fd >= 0 && i < CLIENTS_MAX; i++) {
		struct client *client = &requests->clients[i];

		if (client->fd >= 0)
			continue;
		if (viodma_loop_watch(requests->loop, fd, VIODMA_LOOP_IN, client_ready, client, &client->watch) !=
		    VIODMA_OK)
			break;
		client->fd = fd;
		return;
	}
	if (fd >= 0)
		close(fd);
}

bool test_requests_new(struct viodma_loop *loop, struct viodma_vhost_user *backend, const char *path,
		       struct test_requests **out)
{
	struct test_requests *requests = calloc(1, sizeof(*requests));
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat found;
	int error;

	if (!requests)
		return false;
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		requests->clients[i].owner = requests;
		requests->clients[i].fd = -1;
	}
	requests->loop = loop;
	requests->space = viodma_vhost_user_space(backend);
	memcpy(address.sun_path, path, strlen(path) + 1);
	requests->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (stat(path, &found) == 0 && S_ISSOCK(found.st_mode))
		unlink(path); /* of an earlier run */
	if (requests->listen_fd < 0 || bind(requests->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(requests->listen_fd, CLIENTS_MAX) < 0 ||
	    viodma_loop_watch(loop, requests->listen_fd, VIODMA_LOOP_IN, accept_client, requests,
			      &requests->listen_watch) != VIODMA_OK ||
	    viodma_loop_deferred(loop, look, requests, &requests->look) != VIODMA_OK) {
		error = errno;
		test_requests_free(requests);
		errno = error;
		return false;
	}
	strcpy(requests->path, path);
	*out = requests;
	return true;
}

void test_requests_free(struct test_requests *requests)
{
	if (!requests)
		return;
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		close_client(&requests->clients[i]);
	viodma_loop_unwatch(requests->listen_watch);
	if (requests->look)
		viodma_loop_deferred_free(requests->look);
	if (requests->listen_fd >= 0)
		close(requests->listen_fd);
	if (*requests->path)
		unlink(requests->path);
	free(requests);
}
