/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * type_net.c - virtio-net, virtio 1.2 section 5.1: a request is a frame on the transmit queue, behind its header. It is broadcast, of
 * an ethertype that is for experiments, so that nobody answers it. Right is that it was used, with nothing written. The
 * receive queue is there, as devices want it, and has no buffers: what arrives is dropped.
 */
#include "check/device/types.h"

#include <viodma/wire/net.h>

#include <string.h>

_Static_assert(sizeof(struct virtio_net_header) == 12, "as long as the standard says");

#define ETHERNET_HEADER_BYTES 14u

static const unsigned char ethernet[ETHERNET_HEADER_BYTES] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* to all */
	0x02, 0, 0, 0, 0, 1,                /* from a local address */
	0x88, 0xb5,                         /* IEEE 802, local experiments */
};

static unsigned queue(unsigned n, enum check_direction direction)
{
	(void)direction;
	return VIRTIO_NET_TRANSMIT_QUEUE(n);
}

static unsigned idle_queue(unsigned n)
{
	return VIRTIO_NET_RECEIVE_QUEUE(n);
}

static bool make(struct check_session *session, struct check_request *request)
{
	struct check_part header = {.role = CHECK_HEADER};
	size_t at = 0;

	if (!check_place(session, sizeof(struct virtio_net_header), 0x5d4, &header.place))
		return false;
	for (uint32_t i = 0; i < request->count; i++)
		for (uint64_t b = 0; b < request->parts[i].place.bytes && at < sizeof(ethernet); b++, at++)
			request->parts[i].place.at[b] = ethernet[at];
	memmove(request->parts + 1, request->parts, request->count * sizeof(*request->parts));
	request->parts[0] = header;
	request->count++;
	request->data = 1;
	return true;
}

static bool right(struct check_session *session, const struct check_request *request)
{
	return !request->used.bytes || check_wrong(session, "a frame was sent, and the device says that it wrote %u bytes into it",
						   request->used.bytes);
}

const struct check_type check_type_net = {
	.name = "net",
	.device_id = VIRTIO_ID_NET,
	.to_device = true,
	.usual_bytes = 600,
	.least_bytes = 60,
	.most_bytes = 1514,
	.step_bytes = 1,
	.queue = queue,
	.idle_queue = idle_queue,
	.idle_per_ring = true,
	.make = make,
	.right = right,
};
