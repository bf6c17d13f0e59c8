/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * process.c - how it works: the device half of a cell is a child on the other processor, a vhost-user back end around
 * rig.c's device; the driver half is this process, with the library's front end for a transport. Kicks and calls are
 * eventfds, and both sleep between them.
 *
 * The child tells what it translated in memory that both have, and tries an access that nobody granted. It is killed in
 * the end: it holds nothing that outlives it.
 */
#include "bench/bench.h"

#include <viodma/loop.h>
#include <viodma/vhost_user.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_MS 5000u
#define RESETS_MAX 5000u

/* ---- in the child ---- */

struct server {
	const struct bench_engine *engine;
	struct bench_rig *rig;
	struct viodma_vhost_user *backend;
	struct bench_told *told;
	viodma_bus stray;
};

static void tell(struct server *server)
{
	struct viodma_space *space = viodma_vhost_user_space(server->backend);
	struct viodma_extent extent;

	server->told->translations = space->statistics.translations;
	server->told->identity_translations = space->statistics.identity_translations;
	if (server->told->stray_tried)
		return;
	server->told->stray_tried = true; /* a miss is a refusal too, of what was not granted */
	server->told->stray_refused =
		viodma_space_translate(space, NULL, server->stray, VIODMA_READ, &extent) != VIODMA_OK;
}

static enum viodma_result process(void *device, struct viodma_queue *queue)
{
	struct server *server = device;
	bool more;

	if (!server->engine->process(server->rig, queue, &more))
		server->told->failed = true;
	tell(server);
	return more ? VIODMA_OK : VIODMA_EMPTY;
}

static void be_device(const struct bench_cell *cell, int socket, struct bench_told *told, uint64_t stray)
{
	static const struct viodma_vhost_user_ops ops = { .process = process };
	struct server server = { bench_engine(cell), NULL, NULL, told, { stray } };
	const struct viodma_vhost_user_options options = {
		.name = "bench",
		.socket_fd = socket,
		.platform_dma = cell->domain == BENCH_CLEAR ? VIODMA_PLATFORM_DMA_OFF : VIODMA_PLATFORM_DMA_OFFER,
		.ring_features_masked = cell->packed ? 0 : VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT),
		.queue_size_max = 256,
		.segments_max = 8,
		.pieces_max = 256,
	};
	struct viodma_loop *loop;

	server.rig = server.engine->make_server(cell);
	if (server.rig && viodma_loop_new(&loop) == VIODMA_OK &&
	    viodma_vhost_user_new(loop, &ops, &server, &options, &server.backend) == VIODMA_OK)
		viodma_loop_run(loop);
	told->failed = true;
	_exit(1);
}

static bool start_child(struct bench_remote *remote, const struct bench_cell *cell, uint64_t stray, int *socket)
{
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return false;
	fflush(NULL);
	remote->pid = fork();
	if (remote->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sockets[0]);
		bench_pin(1);
		be_device(cell, sockets[1], remote->told, stray);
	}
	close(sockets[1]);
	*socket = sockets[0];
	return remote->pid > 0;
}

/* ---- in the parent ---- */

static bool negotiate(struct bench_platform *platform, struct bench_remote *remote)
{
	const struct bench_cell *cell = platform->cell;
	const struct viodma_driver_policy policy = { .decline_platform_dma = cell->domain == BENCH_CLEAR };
	const uint64_t wanted = VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT) |
				(cell->packed ? VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT) : 0) |
				(cell->descriptors == BENCH_TABLE ? VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT) : 0);
	enum viodma_result result;

	for (unsigned i = 0; i < RESETS_MAX; i++) {
		result = viodma_driver_negotiate(&remote->driver, viodma_front_transport(remote->front),
						 &platform->description, &policy, wanted);
		if (result != VIODMA_WAIT)
			break;
		usleep(1000);
	}
	return result == VIODMA_OK && !(wanted & ~remote->driver.decision.accepted);
}

static bool grant(struct bench_remote *remote, const struct viodma_object *object, uint64_t bus)
{
	return viodma_front_grant(remote->front, (viodma_bus){ bus }, object->phys, object->len_bytes, VIODMA_READ_WRITE,
				  true) == VIODMA_OK;
}

static bool grant_fixed(struct bench_platform *platform, struct bench_remote *remote)
{
	const struct viodma_object *objects[2] = { &platform->arena->memory.object, &platform->pool_memory.object };
	const struct viodma_platform *description = &platform->description;

	if (platform->cell->domain == BENCH_CLEAR || description->kind == VIODMA_PLATFORM_IOMMU)
		return true;
	if (platform->cell->domain == BENCH_DIRECT)
		return grant(remote, objects[0], objects[0]->phys.v) && grant(remote, objects[1], objects[1]->phys.v);
	for (uint32_t i = 0; i < description->window_count; i++)
		for (unsigned j = 0; j < 2; j++)
			if (description->windows[i].phys.v == objects[j]->phys.v &&
			    !grant(remote, objects[j], description->windows[i].bus.v))
				return false;
	return true;
}

const char *bench_remote_new(struct bench_platform *platform, const struct bench_cell *cell,
			     const struct bench_arena *arena, struct bench_remote *remote)
{
	const struct viodma_object *object = &arena->memory.object;
	const uint64_t stray = bench_must_differ(cell->domain) ? object->phys.v : object->phys.v + object->len_bytes + 4096;
	struct viodma_front_options options = { .name = "bench", .timeout_ms = TIMEOUT_MS };

	memset(platform, 0, sizeof(*platform));
	memset(remote, 0, sizeof(*remote));
	platform->cell = cell;
	platform->arena = arena;
	platform->remote = remote;
	bench_platform_describe(platform, cell);
	remote->told = mmap(NULL, sizeof(*remote->told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (remote->told == MAP_FAILED) {
		remote->told = NULL;
		return "no memory";
	}
	if (!bench_platform_pool(platform))
		return "its pool cannot be made";
	if (!start_child(remote, cell, stray, &options.socket_fd))
		return "no second process";
	if (viodma_front_connect(&options, &remote->front) != VIODMA_OK)
		return "the back end is not there";
	if ((cell->domain != BENCH_RESTRICTED && cell->domain != BENCH_BOUNCE_IOMMU &&
	     viodma_front_share(remote->front, &arena->memory) != VIODMA_OK) ||
	    viodma_front_share(remote->front, &platform->pool_memory) != VIODMA_OK)
		return "memory cannot be shared";
	if (!negotiate(platform, remote))
		return "the back end does not offer what it takes";
	if (!grant_fixed(platform, remote))
		return "memory cannot be granted";
	return bench_platform_domain(platform, viodma_front_iommu_ops(), remote->front) ? NULL :
											  "its domain cannot be made";
}

void bench_remote_reset(struct bench_remote *remote)
{
	for (unsigned i = 0; i < RESETS_MAX && viodma_driver_reset(&remote->driver) == VIODMA_WAIT; i++)
		usleep(1000);
}

void bench_remote_free(struct bench_remote *remote)
{
	viodma_front_free(remote->front);
	if (remote->pid > 0) {
		kill(remote->pid, SIGKILL);
		waitpid(remote->pid, NULL, 0);
	}
	if (remote->told)
		munmap(remote->told, sizeof(*remote->told));
	memset(remote, 0, sizeof(*remote));
}

const char *bench_remote_fault(const struct bench_remote *remote, enum bench_domain domain)
{
	const struct bench_told *told = remote->told;

	if (told->failed)
		return "wrong bytes to the device";
	if (!told->stray_tried || !told->stray_refused)
		return "an access that nobody granted was not refused";
	if (bench_must_differ(domain) ? told->identity_translations != 0 :
					told->identity_translations != told->translations)
		return bench_must_differ(domain) ? "a bus address was a physical one" :
						   "a bus address was no physical one";
	return NULL;
}
