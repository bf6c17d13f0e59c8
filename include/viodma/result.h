/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/result.h - what every function answers: VIODMA_OK, or a negative value that names a reason.
 *
 * Four families, told apart by value:
 *   states  VIODMA_EMPTY .. VIODMA_MISS      nothing is wrong; there is nothing to do, or something to wait for
 *   ours    VIODMA_E_*                       the caller's arguments, or a limit the caller chose
 *   faults  VIODMA_FAULT_*                   the device half refused an access to memory
 *   peer    VIODMA_PEER_*                    the peer broke a requirement of spec/platform-dma.md
 * Faults and peer results carry the id of the requirement (viodma_result_requirement).
 */
#ifndef VIODMA_RESULT_H
#define VIODMA_RESULT_H

#include <viodma/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, value, requirement or "", text) */
#define VIODMA_RESULTS(X)                                                                                             \
	X(VIODMA_OK, 0, "", "ok")                                                                                     \
	X(VIODMA_EMPTY, -1, "", "nothing available")                                                                  \
	X(VIODMA_WAIT, -2, "", "waiting for the platform")                                                            \
	X(VIODMA_MISS, -3, "", "translation not known yet")                                                           \
	X(VIODMA_E_INVALID, -16, "", "invalid argument")                                                              \
	X(VIODMA_E_NO_SPACE, -17, "", "table full")                                                                   \
	X(VIODMA_E_BUSY, -18, "", "still in use")                                                                     \
	X(VIODMA_E_LIMIT, -19, "", "beyond a limit of this device")                                                   \
	X(VIODMA_E_NO_MEMORY, -20, "", "out of memory")                                                               \
	X(VIODMA_E_UNSUPPORTED, -21, "", "not supported")                                                             \
	X(VIODMA_E_TIMEOUT, -22, "", "timed out")                                                                     \
	X(VIODMA_E_IO, -23, "", "input/output error")                                                                 \
	X(VIODMA_E_NOT_FOUND, -24, "", "not found")                                                                   \
	X(VIODMA_E_EXHAUSTED, -25, "", "no room in the pool or the address space now; an unmap makes some")           \
	X(VIODMA_E_UNREACHABLE, -26, "", "the platform gives the device no way to this memory")                       \
	X(VIODMA_E_MISUSE, -27, "", "not how a mapping may be used")                                                  \
	X(VIODMA_E_RESET, -28, "", "given back by a reset")                                                           \
	X(VIODMA_E_QUARANTINED, -29, "", "memory could not be taken back from the device; it is never used again")    \
	X(VIODMA_FAULT_UNMAPPED, -32, "DEV-10", "no live mapping covers the address")                                 \
	X(VIODMA_FAULT_PERMISSION, -33, "DEV-9", "the mapping does not permit this direction")                        \
	X(VIODMA_FAULT_NO_ANSWER, -34, "PLT-11", "the miss was answered without a grant that covers it")              \
	X(VIODMA_FAULT_STOPPED, -35, "DEV-14", "the queue is stopped")                                                \
	X(VIODMA_PEER_AVAIL_INDEX, -64, "DRV-10", "available index ahead by more than the queue size")                \
	X(VIODMA_PEER_HEAD, -65, "DRV-11", "descriptor index not below the table's size")                             \
	X(VIODMA_PEER_CHAIN_LENGTH, -66, "DRV-12", "descriptor chain loops or is longer than the queue")              \
	X(VIODMA_PEER_CHAIN_BYTES, -67, "DRV-12", "descriptor chain holds more than 2^32 bytes")                      \
	X(VIODMA_PEER_CHAIN_ORDER, -68, "DRV-13", "device-readable descriptor after a device-writable one")           \
	X(VIODMA_PEER_INDIRECT_LENGTH, -69, "DRV-14", "indirect table is not 1 to queue-size whole descriptors")      \
	X(VIODMA_PEER_INDIRECT_NESTED, -70, "DRV-14", "indirect descriptor inside an indirect table")                 \
	X(VIODMA_PEER_INDIRECT_FLAGS, -71, "DRV-14", "indirect descriptor not negotiated, or with NEXT")              \
	X(VIODMA_PEER_ADDRESS_WRAP, -72, "DRV-15", "address plus length wraps")                                       \
	X(VIODMA_PEER_LENGTH_ZERO, -73, "DRV-15", "descriptor of length 0")                                           \
	X(VIODMA_PEER_HEAD_IN_USE, -74, "DRV-16", "head made available again before it was used")                     \
	X(VIODMA_PEER_RING_LAYOUT, -75, "DRV-17", "ring part misaligned, or queue size not a power of two in range")  \
	X(VIODMA_PEER_REQUEST, -76, "DRV-18", "request lacks a part its device type demands")                         \
	X(VIODMA_PEER_UNREACHABLE, -77, "DRV-8", "the part of a request where its answer goes is not mapped")         \
	X(VIODMA_PEER_DESCRIPTOR, -78, "DRV-24", "packed ring: a chain's descriptors are not all available, or run past the ring") \
	X(VIODMA_PEER_RECORD, -79, "PLT-12", "the record of what is in flight contradicts itself or the ring")        \
	X(VIODMA_PEER_USED_INDEX, -80, "DEV-19", "used index ahead of what was made available")                       \
	X(VIODMA_PEER_USED_ID, -81, "DEV-19", "used element names no chain of this queue")                            \
	X(VIODMA_PEER_USED_TWICE, -82, "DEV-19", "used element names a chain that is not with the device")            \
	X(VIODMA_PEER_USED_LENGTH, -83, "DEV-16", "used length beyond the device-writable parts")                     \
	X(VIODMA_PEER_LATE_WRITE, -84, "DEV-14", "memory written after the reset was acknowledged")                   \
	X(VIODMA_PEER_SILENT, -85, "DEV-20", "a request was not completed before its deadline")                       \
	X(VIODMA_PEER_NEEDS_RESET, -86, "DEV-20", "the device says that it needs a reset")                            \
	X(VIODMA_PEER_RESET, -87, "DEV-21", "the device does not come out of reset")                                  \
	X(VIODMA_PEER_ANSWER, -88, "DEV-22", "status or configuration value outside what the device type states")     \
	X(VIODMA_PEER_GONE, -89, "DEV-20", "the device has gone")                                                     \
	X(VIODMA_PEER_USED_ORDER, -90, "DEV-23", "IN_ORDER: used elements out of the order in which chains came")     \
	X(VIODMA_PEER_QUEUE_RESET, -91, "DEV-24", "the queue does not come out of its reset")                         \
	X(VIODMA_PEER_NOT_OFFERED, -96, "DEV-5", "feature accepted that was not offered")                             \
	X(VIODMA_PEER_NO_VERSION_1, -97, "DEV-6", "bit 33 accepted without VERSION_1")                                \
	X(VIODMA_PEER_BOTH_BITS, -98, "DEV-7", "bit 33 and PLATFORM_DMA both accepted")                               \
	X(VIODMA_PEER_DECLINED, -99, "DEV-8", "bit 33 declined where this device needs it")                           \
	X(VIODMA_PEER_RESTRICTED, -100, "DRV-4", "bit 33 not offered or declined; devices reach only part of memory") \
	X(VIODMA_PEER_NO_PASS_THROUGH, -101, "PLT-7", "bit 33 not offered or declined; there is no pass-through")    \
	X(VIODMA_PEER_BOTH_OFFERED, -102, "DRV-7", "bit 33 and PLATFORM_DMA both offered")                            \
	X(VIODMA_PEER_LEGACY, -103, "DRV-6", "VERSION_1 not offered where it is needed")                              \
	X(VIODMA_PEER_NO_PLATFORM_DMA, -104, "DEV-1", "bit 33 not offered, and it is required here")                  \
	X(VIODMA_PEER_FEATURES, -105, "DEV-8", "the device does not keep FEATURES_OK")                                \
	X(VIODMA_PEER_MESSAGE, -112, "PLT-9", "message malformed, out of order, or with the wrong descriptors")       \
	X(VIODMA_PEER_MAPPING, -113, "PLT-10", "mapping or region outside the address space or the memory given")     \
	X(VIODMA_PEER_MEMORY_GONE, -114, "PLT-10", "memory given to the device was taken back by truncation")

#define VIODMA_RESULT_ENUM(name, value, requirement, text) name = value,
enum viodma_result { VIODMA_RESULTS(VIODMA_RESULT_ENUM) VIODMA_RESULT_LEAST = -128 };
#undef VIODMA_RESULT_ENUM

/* The name of a result as in this header ("VIODMA_PEER_HEAD"); "VIODMA_RESULT_UNKNOWN" for any other value. */
const char *viodma_result_name(enum viodma_result result);

/* One sentence about a result, without a full stop. Never NULL. */
const char *viodma_result_text(enum viodma_result result);

/* The id of the requirement a fault or peer result is about ("DRV-11"); "" for states and our own errors. */
const char *viodma_result_requirement(enum viodma_result result);

static inline bool viodma_result_is_fault(enum viodma_result result)
{
	return result <= VIODMA_FAULT_UNMAPPED && result > VIODMA_PEER_AVAIL_INDEX;
}

static inline bool viodma_result_is_peer(enum viodma_result result)
{
	return result <= VIODMA_PEER_AVAIL_INDEX;
}

#ifdef __cplusplus
}
#endif

#endif
