/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/wire/net.h - virtio-net as virtio 1.2, section 5.1, lays it out, as far as a frame without offloads goes.
 */
#ifndef VIODMA_WIRE_NET_H
#define VIODMA_WIRE_NET_H

#include <viodma/types.h>

#define VIRTIO_ID_NET 1u

/* Queues, section 5.1.2: of the nth pair. */
#define VIRTIO_NET_RECEIVE_QUEUE(n) (2u * (n))
#define VIRTIO_NET_TRANSMIT_QUEUE(n) (2u * (n) + 1u)

/* Before each frame, section 5.1.6. With VERSION_1 num_buffers is always there; all zero: no offload. */
struct virtio_net_header {
	uint8_t flags, gso_type;
	viodma_le16 hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

#endif
