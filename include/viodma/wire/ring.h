/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/wire/ring.h - the split ring and the packed ring exactly as virtio 1.2, sections 2.7 and 2.8, lay them out.
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

/*
 * The packed ring, section 2.8. Its size need not be a power of two. A descriptor is available when its AVAIL bit equals
 * the driver's wrap counter and its USED bit does not, and used when both equal the device's wrap counter.
 */
#define VIRTQ_PACKED_DESC_F_AVAIL (1u << 7)
#define VIRTQ_PACKED_DESC_F_USED (1u << 15)

struct virtq_packed_desc {
	viodma_le64 addr;
	viodma_le32 len;
	viodma_le16 id;
	viodma_le16 flags; /* VIRTQ_DESC_F_* and the two above */
};

/* Driver and device event suppression, section 2.8.14. */
#define VIRTQ_PACKED_EVENT_ENABLE 0u
#define VIRTQ_PACKED_EVENT_DISABLE 1u
#define VIRTQ_PACKED_EVENT_DESC 2u /* with EVENT_IDX only */
#define VIRTQ_PACKED_EVENT_MASK 3u

struct virtq_packed_event {
	viodma_le16 off_wrap; /* position in bits 0 to 14, wrap counter in bit 15 */
	viodma_le16 flags;
};

#define VIRTQ_PACKED_WRAP_BIT 15u

/* Alignment and sizes in bytes, section 2.8.10. */
#define VIRTQ_PACKED_DESC_ALIGN 16u
#define VIRTQ_PACKED_EVENT_ALIGN 4u
#define VIRTQ_PACKED_DESC_BYTES(n) (16u * (n))
#define VIRTQ_PACKED_EVENT_BYTES 4u

/* A driver's notification with VIRTIO_F_NOTIFICATION_DATA, section 2.9: where the next available entry will be put. */
#define VIRTQ_NOTIFICATION_QUEUE(data) ((data) & 0xffffu)
#define VIRTQ_NOTIFICATION_NEXT(data) ((data) >> 16) /* split: an index; packed: off_wrap as above */

#endif
