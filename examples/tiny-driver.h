/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tiny-driver.h - stands in for a driver, so that the examples run by themselves. Nothing here is worth copying: it
 * makes one request of one readable and one writable buffer, at fixed places of a memory of 64 KiB.
 */
#ifndef TINY_DRIVER_H
#define TINY_DRIVER_H

#include <string.h>
#include <viodma/wire/ring.h>

#define DRIVER_MEMORY_BYTES 65536u
#define DRIVER_QUEUE_SIZE 8u

enum { DESC_AT = 0x1000, AVAIL_AT = 0x2000, USED_AT = 0x3000, QUESTION_AT = 0x4000, ANSWER_AT = 0x5000 };

/* Make a request available: `text` to read, 64 bytes to write. `bus_base`: the bus address of memory's first byte. */
static inline void tiny_driver_ask(unsigned char *memory, uint64_t bus_base, const char *text)
{
	struct virtq_desc *desc = (struct virtq_desc *)(void *)(memory + DESC_AT);
	viodma_le16 *avail = (viodma_le16 *)(void *)(memory + AVAIL_AT);
	uint16_t index = viodma_le16_get(avail[1]);

	strcpy((char *)memory + QUESTION_AT, text);
	desc[0].addr = viodma_le64_of(bus_base + QUESTION_AT);
	desc[0].len = viodma_le32_of((uint32_t)strlen(text) + 1);
	desc[0].flags = viodma_le16_of(VIRTQ_DESC_F_NEXT);
	desc[0].next = viodma_le16_of(1);
	desc[1].addr = viodma_le64_of(bus_base + ANSWER_AT);
	desc[1].len = viodma_le32_of(64);
	desc[1].flags = viodma_le16_of(VIRTQ_DESC_F_WRITE);
	avail[2 + index % DRIVER_QUEUE_SIZE] = viodma_le16_of(0);
	avail[1] = viodma_le16_of((uint16_t)(index + 1));
}

/* What the device has answered, or NULL if it has not. */
static inline const char *tiny_driver_answer(const unsigned char *memory)
{
	const viodma_le16 *avail = (const viodma_le16 *)(const void *)(memory + AVAIL_AT);
	const viodma_le16 *used = (const viodma_le16 *)(const void *)(memory + USED_AT);

	return viodma_le16_get(used[1]) == viodma_le16_get(avail[1]) ? (const char *)memory + ANSWER_AT : NULL;
}

#endif
