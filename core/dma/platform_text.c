/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * platform_text.c - how it works: a table has every word of the text form; what follows its name is read by the kind of
 * word. Each word's place is kept, so that a contradiction, which only the whole description shows, is reported at the
 * later of the words it is about. A window's form depends on the kind, which may be said after it, so it is checked
 * last, too.
 */
#include "../base/text.h"
#include "dma.h"
#include "platform_words.h"

struct reader {
	const char *at, *end; /* what follows the name, up to the word's end */
	struct viodma_platform *platform;
	uint32_t said;                          /* a bit for each word that was there */
	uint32_t places[VIODMA_WORD_COUNT];     /* of the last one */
	uint32_t bare_windows, bus_windows;     /* windows without and with "@" */
	const char *what;
};

static bool wrong(struct reader *reader, const char *what)
{
	reader->what = what;
	return false;
}

static bool get_length(struct reader *reader, uint64_t most, uint64_t *len_bytes)
{
	if (!viodma_text_get_length(&reader->at, reader->end, len_bytes))
		return wrong(reader, "a length is a number, perhaps with K, M, G or T behind it");
	return *len_bytes <= most || wrong(reader, "the length is too large");
}

static bool get_length32(struct reader *reader, uint32_t *len_bytes)
{
	uint64_t number;

	if (!get_length(reader, UINT32_MAX, &number))
		return false;
	*len_bytes = (uint32_t)number;
	return true;
}

static bool get_address(struct reader *reader, uint64_t *address)
{
	return viodma_text_get_number(&reader->at, reader->end, address) || wrong(reader, "an address is a number");
}

static bool get_words(struct reader *reader, const char *words)
{
	return viodma_text_get_words(&reader->at, reader->end, words);
}

static bool read_kind(struct reader *reader)
{
	if (get_words(reader, "direct"))
		reader->platform->kind = VIODMA_PLATFORM_DIRECT;
	else if (get_words(reader, "offset"))
		reader->platform->kind = VIODMA_PLATFORM_OFFSET;
	else if (get_words(reader, "iommu"))
		reader->platform->kind = VIODMA_PLATFORM_IOMMU;
	else
		return wrong(reader, "the kind is direct, offset or iommu");
	return true;
}

static bool read_width(struct reader *reader)
{
	uint64_t bits;

	if (!viodma_text_get_number(&reader->at, reader->end, &bits) || bits > 64)
		return wrong(reader, "the width is 12 to 64 bits");
	reader->platform->address_bits = (unsigned)bits;
	return true;
}

static bool read_window(struct reader *reader)
{
	struct viodma_platform *platform = reader->platform;
	struct viodma_window *window = &platform->windows[platform->window_count];
	uint64_t first;

	if (platform->window_count == VIODMA_PLATFORM_WINDOWS_MAX)
		return wrong(reader, "there are at most 8 windows");
	if (!get_address(reader, &first))
		return false;
	if (!get_words(reader, "+"))
		return wrong(reader, "a window has a length after \"+\"");
	if (!get_length(reader, UINT64_MAX, &window->len_bytes))
		return false;
	platform->window_count++;
	if (!get_words(reader, "@")) {
		window->bus.v = first;
		reader->bare_windows++;
		return true;
	}
	window->phys.v = first;
	reader->bus_windows++;
	return get_address(reader, &window->bus.v);
}

static bool read_order(struct reader *reader)
{
	if (get_words(reader, "smp"))
		reader->platform->order = VIODMA_ORDER_SMP;
	else if (get_words(reader, "platform"))
		reader->platform->order = VIODMA_ORDER_PLATFORM;
	else
		return wrong(reader, "the order is smp or platform");
	return true;
}

static bool read_pool(struct reader *reader)
{
	struct viodma_platform *platform = reader->platform;

	if (!get_address(reader, &platform->pool.v))
		return false;
	if (!get_words(reader, "+"))
		return wrong(reader, "a pool has a length after \"+\"");
	if (!get_length(reader, UINT64_MAX, &platform->pool_bytes))
		return false;
	if (!platform->pool_bytes)
		return wrong(reader, "the pool is empty");
	return !get_words(reader, "/") || get_length32(reader, &platform->pool_slot_bytes);
}

/* No name begins with another one. Words of one kind follow each other: the first turns it on, the second off. */
static const struct {
	char name[20];
	unsigned char word;
} words[] = {
	{"kind=", VIODMA_WORD_KIND},
	{"width=", VIODMA_WORD_WIDTH},
	{"granule=", VIODMA_WORD_GRANULE},
	{"window=", VIODMA_WORD_WINDOW},
	{"max-mapping=", VIODMA_WORD_MAX_MAPPING},
	{"max-segment=", VIODMA_WORD_MAX_SEGMENT},
	{"boundary=", VIODMA_WORD_BOUNDARY},
	{"align=", VIODMA_WORD_ALIGN},
	{"coherent", VIODMA_WORD_COHERENT},
	{"non-coherent", VIODMA_WORD_COHERENT},
	{"line=", VIODMA_WORD_LINE},
	{"order=", VIODMA_WORD_ORDER},
	{"restricted", VIODMA_WORD_RESTRICTED},
	{"pool=", VIODMA_WORD_POOL},
	{"pool-at-physical", VIODMA_WORD_POOL_AT_PHYSICAL},
	{"pass-through", VIODMA_WORD_PASS_THROUGH},
	{"no-pass-through", VIODMA_WORD_PASS_THROUGH},
};
#define WORDS (sizeof(words) / sizeof(words[0]))

/* What follows the name of words[index]. (No table of functions: it would be data that a loader changes.) */
static bool read_value(struct reader *reader, uint32_t index)
{
	struct viodma_platform *platform = reader->platform;
	bool on = index == 0 || words[index - 1].word != words[index].word;

	switch ((enum viodma_platform_word)words[index].word) {
	case VIODMA_WORD_KIND:
		return read_kind(reader);
	case VIODMA_WORD_WIDTH:
		return read_width(reader);
	case VIODMA_WORD_GRANULE:
		return get_length32(reader, &platform->granule_bytes);
	case VIODMA_WORD_WINDOW:
		return read_window(reader);
	case VIODMA_WORD_MAX_MAPPING:
		return get_length(reader, UINT64_MAX, &platform->mapping_bytes_max);
	case VIODMA_WORD_MAX_SEGMENT:
		return get_length32(reader, &platform->segment_bytes_max);
	case VIODMA_WORD_BOUNDARY:
		return get_length(reader, UINT64_MAX, &platform->boundary_bytes);
	case VIODMA_WORD_ALIGN:
		return get_length32(reader, &platform->alignment_bytes);
	case VIODMA_WORD_COHERENT:
		platform->coherent = on;
		return true;
	case VIODMA_WORD_LINE:
		return get_length32(reader, &platform->line_bytes);
	case VIODMA_WORD_ORDER:
		return read_order(reader);
	case VIODMA_WORD_RESTRICTED:
		platform->restricted = on;
		return true;
	case VIODMA_WORD_POOL:
		return read_pool(reader);
	case VIODMA_WORD_POOL_AT_PHYSICAL:
		platform->pool_at_physical = on;
		return true;
	case VIODMA_WORD_PASS_THROUGH:
		platform->pass_through = on;
		return true;
	case VIODMA_WORD_COUNT:
		break;
	}
	return false;
}

static bool is_blank(char character)
{
	return character == ' ' || character == '\t' || character == '\n' || character == '\r';
}

static bool read_word(struct reader *reader, uint32_t place)
{
	uint32_t i, bit;

	for (i = 0; i < WORDS && !get_words(reader, words[i].name); i++)
		;
	if (i == WORDS)
		return wrong(reader, "not a word of a platform's description");
	bit = (uint32_t)1 << words[i].word;
	if ((reader->said & bit) && words[i].word != VIODMA_WORD_WINDOW)
		return wrong(reader, "said before");
	reader->said |= bit;
	reader->places[words[i].word] = place;
	if (!read_value(reader, i))
		return false;
	return reader->at == reader->end || wrong(reader, "the word goes on where it should end");
}

/* What only the whole shows. */
static bool is_sound(struct reader *reader, uint32_t *place)
{
	struct viodma_platform_fault fault = {.what = NULL};
	uint32_t i;

	if ((reader->platform->kind == VIODMA_PLATFORM_OFFSET && reader->bare_windows) ||
	    (reader->platform->kind == VIODMA_PLATFORM_IOMMU && reader->bus_windows)) {
		fault.words = (uint32_t)1 << VIODMA_WORD_WINDOW | (uint32_t)1 << VIODMA_WORD_KIND;
		fault.what = "kind=offset has window=PHYS+LEN@BUS, kind=iommu has window=BUS+LEN";
	} else if (viodma_platform_is_sound(reader->platform, &fault)) {
		return true;
	}
	*place = 0;
	for (i = 0; i < VIODMA_WORD_COUNT; i++)
		if ((fault.words & reader->said & (uint32_t)1 << i) && reader->places[i] > *place)
			*place = reader->places[i];
	return wrong(reader, fault.what);
}

enum viodma_result viodma_platform_parse(const char *text, struct viodma_platform *platform, uint32_t *where,
					 const char **what)
{
	struct reader reader = {.platform = platform};
	const char *at = text;
	uint32_t place = 0;
	bool good = true;

	viodma_platform_init(platform);
	while (good) {
		while (is_blank(*at))
			at++;
		if (!*at)
			break;
		place = (uint32_t)(at - text);
		reader.at = at;
		while (*at && !is_blank(*at))
			at++;
		reader.end = at;
		good = read_word(&reader, place);
	}
	good = good && is_sound(&reader, &place);
	if (where)
		*where = good ? 0 : place;
	if (what)
		*what = reader.what;
	return good ? VIODMA_OK : VIODMA_E_INVALID;
}

/* ---- writing ---- */

static const char *kind_name(enum viodma_platform_kind kind)
{
	if (kind == VIODMA_PLATFORM_DIRECT)
		return "direct";
	return kind == VIODMA_PLATFORM_OFFSET ? "offset" : "iommu";
}

static void put_length(struct viodma_text *text, const char *name, uint64_t len_bytes)
{
	viodma_text_put(text, name);
	viodma_text_put_length(text, len_bytes);
}

static void put_windows(struct viodma_text *text, const struct viodma_platform *platform)
{
	bool fixed = platform->kind == VIODMA_PLATFORM_OFFSET;
	uint32_t i;

	for (i = 0; i < platform->window_count; i++) {
		const struct viodma_window *window = &platform->windows[i];

		viodma_text_put(text, " window=");
		viodma_text_put_hex(text, fixed ? window->phys.v : window->bus.v);
		put_length(text, "+", window->len_bytes);
		if (fixed) {
			viodma_text_put(text, "@");
			viodma_text_put_hex(text, window->bus.v);
		}
	}
}

static void put_limits(struct viodma_text *text, const struct viodma_platform *platform)
{
	if (platform->mapping_bytes_max)
		put_length(text, " max-mapping=", platform->mapping_bytes_max);
	if (platform->segment_bytes_max)
		put_length(text, " max-segment=", platform->segment_bytes_max);
	if (platform->boundary_bytes)
		put_length(text, " boundary=", platform->boundary_bytes);
	if (platform->alignment_bytes != 1)
		put_length(text, " align=", platform->alignment_bytes);
}

static void put_pool(struct viodma_text *text, const struct viodma_platform *platform)
{
	if (platform->restricted)
		viodma_text_put(text, " restricted");
	if (platform->pool_bytes) {
		viodma_text_put(text, " pool=");
		viodma_text_put_hex(text, platform->pool.v);
		put_length(text, "+", platform->pool_bytes);
		if (platform->pool_slot_bytes)
			put_length(text, "/", platform->pool_slot_bytes);
	}
	if (platform->pool_at_physical)
		viodma_text_put(text, " pool-at-physical");
}

enum viodma_result viodma_platform_format(const struct viodma_platform *platform, char *bytes, size_t size)
{
	struct viodma_text text;

	viodma_text_start(&text, bytes, size);
	if (viodma_platform_check(platform, NULL) != VIODMA_OK)
		return VIODMA_E_INVALID;
	viodma_text_put(&text, "kind=");
	viodma_text_put(&text, kind_name(platform->kind));
	if (platform->address_bits != 64) {
		viodma_text_put(&text, " width=");
		viodma_text_put_number(&text, platform->address_bits);
	}
	if (platform->granule_bytes != 1)
		put_length(&text, " granule=", platform->granule_bytes);
	put_windows(&text, platform);
	put_limits(&text, platform);
	if (!platform->coherent)
		viodma_text_put(&text, " non-coherent");
	if (platform->line_bytes)
		put_length(&text, " line=", platform->line_bytes);
	if (platform->order == VIODMA_ORDER_PLATFORM)
		viodma_text_put(&text, " order=platform");
	put_pool(&text, platform);
	if (!platform->pass_through)
		viodma_text_put(&text, " no-pass-through");
	return text.cut ? VIODMA_E_LIMIT : VIODMA_OK;
}
