/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/wire/ring.h - the split ring exactly as virtio 1.2, section 2.7, lays it out.
 */
#ifndef VIODMA_WIRE_RING_H
#define VIODMA_WIRE_RING_H

#include <viodma/types.h>

/* Descriptor flags, section 2.7.5. */
#define VIRTQ_DESC_F_NEXT 1u
#define VIRTQ_DESC_F_WRITE 2u
#define VIRTQ_DESC_F_INDIRECT 4u

/* Section 2.7.6 and 2.7.8. */
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1u
#define VIRTQ_USED_F_NO_NOTIFY 1u

#define VIRTQ_SIZE_MAX 32768u

/* Alignment in bytes, section 2.7. */
#define VIRTQ_DESC_ALIGN 16u
#define VIRTQ_AVAIL_ALIGN 2u
#define VIRTQ_USED_ALIGN 4u

struct virtq_desc {
	viodma_le64 addr;
	viodma_le32 len;
	viodma_le16 flags;
	viodma_le16 next;
};

struct virtq_used_elem {
	viodma_le32 id;
	viodma_le32 len;
};

/* Offsets in bytes; `n` is the queue size. */
#define VIRTQ_AVAIL_FLAGS 0u
#define VIRTQ_AVAIL_IDX 2u
#define VIRTQ_AVAIL_RING(i) (4u + 2u * (i))
#define VIRTQ_AVAIL_USED_EVENT(n) (4u + 2u * (n))
#define VIRTQ_USED_FLAGS 0u
#define VIRTQ_USED_IDX 2u
#define VIRTQ_USED_RING(i) (4u + 8u * (i))
#define VIRTQ_USED_AVAIL_EVENT(n) (4u + 8u * (n))

/* Sizes in bytes; the event words are there whether or not EVENT_IDX was negotiated. */
#define VIRTQ_DESC_BYTES(n) (16u * (n))
#define VIRTQ_AVAIL_BYTES(n) (6u + 2u * (n))
#define VIRTQ_USED_BYTES(n) (6u + 8u * (n))

#endif
