/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * my-backend.c - a vhost-user device from one structure of operations: an entropy source (virtio 1.2, section 5.4) for
 * QEMU's vhost-user-rng-pci or any other front end, with or without an IOMMU before it.
 *
 *	cc my-backend.c $(pkg-config --cflags --libs viodma) && ./a.out /run/my-rng.sock
 */
#include <stdio.h>
#include <sys/random.h>
#include <viodma/vhost_user.h>

/* README begin */
static enum viodma_result process(void *device, struct viodma_queue *queue)
{
	enum viodma_result result = VIODMA_OK;
	unsigned char noise[256];

	(void)device;
	for (uint32_t budget = queue->setup.size; budget; budget--) {
		struct viodma_request *request;
		uint32_t n;

		if ((result = viodma_queue_pop(queue, &request)) != VIODMA_OK)
			break;
		n = request->writable_bytes < sizeof(noise) ? request->writable_bytes : sizeof(noise);
		if (getrandom(noise, n, 0) == n && viodma_request_write(request, 0, noise, n) == VIODMA_OK)
			viodma_queue_push(queue, request, n);
		else
			viodma_queue_reject(queue, request, NULL, 0);
	}
	return result;
}

static const struct viodma_vhost_user_ops my_rng = {.process = process};
/* README end */

static void log_line(void *context, const char *line)
{
	(void)context;
	fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
	const struct viodma_vhost_user_options options = {.name = "my-rng",
							  .socket_path = argc == 2 ? argv[1] : NULL,
							  .platform_dma = VIODMA_PLATFORM_DMA_OFFER,
							  .log = log_line};
	struct viodma_vhost_user *backend;
	struct viodma_loop *loop;

	if (!options.socket_path) {
		fprintf(stderr, "usage: my-backend SOCKET\n");
		return 2;
	}
	if (viodma_loop_new(&loop) != VIODMA_OK ||
	    viodma_vhost_user_new(loop, &my_rng, NULL, &options, &backend) != VIODMA_OK)
		return 1;
	viodma_loop_run(loop);
	return 0;
}
