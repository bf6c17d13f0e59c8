/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * picture.c - how it works: time goes down, an event a row. Two lanes, who did it; to the right a column for each stretch of
 * bus addresses that the rows name. A column is filled where the device has a mapping, and marked where an event names it.
 * Times are the rows' labels, not distances: most of a case's time is one wait. What is mapped before the first row shown
 * counts; columns that find no room are left out, and the rows still say their addresses.
 */
#include "check/picture.h"

#include "hosted/base/text_out.h"

#include <inttypes.h>
#include <string.h>

#define ROWS_MAX 48u
#define COLUMNS_MAX 12u
#define PAGE UINT64_C(4096)
#define LETTERS 62u /* of a line */
#define LINES_MAX 3u
#define LINE_HEIGHT 14u
#define ROW_GAP 6u
#define TOP 118u /* columns are named in it, slanting */
#define LANE_US 76u
#define LANE_PEER 446u
#define COLUMNS_AT 830u
#define COLUMN_WIDTH 26u
#define MARGIN 90u /* the last column's name */

struct column {
	uint64_t first, last; /* pages */
	bool mapped;
	unsigned since; /* y of its mapping's beginning */
};

struct picture {
	const struct check_outcome *outcome;
	uint32_t from; /* the first event shown */
	struct column columns[COLUMNS_MAX];
	unsigned count, height;
};

/* ---- columns ---- */

static bool is_somewhere(const struct check_event *event)
{
	return event->bus || event->bytes;
}

static uint64_t first_page(const struct check_event *event)
{
	return event->bus / PAGE;
}

static uint64_t last_page(const struct check_event *event)
{
	const uint64_t most = UINT64_MAX - event->bus;
	const uint64_t bytes = event->bytes ? event->bytes - 1 : 0;

	return (event->bus + (bytes < most ? bytes : most)) / PAGE;
}

static bool meets(const struct column *column, const struct check_event *event)
{
	return first_page(event) <= column->last && last_page(event) >= column->first;
}

/* What names all there is, an INVALIDATE of everything, is no stretch of its own. */
static bool is_a_stretch(const struct check_event *event)
{
	return is_somewhere(event) && last_page(event) - first_page(event) < 4096;
}

static void widen(struct picture *picture, const struct check_event *event)
{
	struct column *column = picture->columns;

	while (column < picture->columns + picture->count && !meets(column, event))
		column++;
	if (column == picture->columns + COLUMNS_MAX)
		return;
	if (column == picture->columns + picture->count) {
		*column = (struct column){.first = first_page(event), .last = last_page(event)};
		picture->count++;
		return;
	}
	if (first_page(event) < column->first)
		column->first = first_page(event);
	if (last_page(event) > column->last)
		column->last = last_page(event);
}

/* Two that have grown into one another are one. */
static void join(struct picture *picture)
{
	for (unsigned i = 0; i < picture->count; i++) {
		for (unsigned j = i + 1; j < picture->count; j++) {
			struct column *one = &picture->columns[i], *other = &picture->columns[j];

			if (other->first > one->last || other->last < one->first)
				continue;
			one->first = one->first < other->first ? one->first : other->first;
			one->last = one->last > other->last ? one->last : other->last;
			*other = picture->columns[--picture->count];
			j = i;
		}
	}
}

static void sort(struct picture *picture)
{
	for (unsigned i = 1; i < picture->count; i++) {
		const struct column moved = picture->columns[i];
		unsigned at = i;

		for (; at && picture->columns[at - 1].first > moved.first; at--)
			picture->columns[at] = picture->columns[at - 1];
		picture->columns[at] = moved;
	}
}

static unsigned column_x(unsigned n)
{
	return COLUMNS_AT + n * COLUMN_WIDTH;
}

static void put_names(const struct picture *picture, FILE *to)
{
	for (unsigned i = 0; i < picture->count; i++) {
		const struct column *column = &picture->columns[i];
		const unsigned x = column_x(i) + 8;

		fprintf(to, "<path class=\"axis\" d=\"M%u %uV%u\"/><text transform=\"translate(%u %u) rotate(-55)\">0x%" PRIx64 "<title>0x%"
			    PRIx64 " to 0x%" PRIx64 "</title></text>\n",
			x, TOP, picture->height, x, TOP - 8, column->first * PAGE, column->first * PAGE, column->last * PAGE + (PAGE - 1));
	}
}

static void put_mapped(const struct column *column, unsigned n, unsigned to_y, FILE *to)
{
	fprintf(to, "<rect class=\"mapped\" x=\"%u\" y=\"%u\" width=\"16\" height=\"%u\" rx=\"3\"><title>the device has a mapping"
		    "</title></rect>\n",
		column_x(n), column->since, to_y > column->since ? to_y - column->since : 0);
}

static void change(struct picture *picture, const struct check_event *event, unsigned y, FILE *to)
{
	for (unsigned i = 0; i < picture->count && event->mapping != CHECK_NO_MAPPING; i++) {
		struct column *column = &picture->columns[i];

		if (!meets(column, event) || column->mapped == (event->mapping == CHECK_MAPPED))
			continue;
		if (column->mapped)
			put_mapped(column, i, y, to);
		column->mapped = !column->mapped;
		column->since = y;
	}
}

/* ---- rows ---- */

/* So many bytes of it are the next line: to a space, if there is one. */
static size_t line_bytes(const char *text)
{
	size_t bytes = strlen(text);

	if (bytes <= LETTERS)
		return bytes;
	for (bytes = LETTERS; bytes && text[bytes] != ' '; bytes--)
		;
	return bytes ? bytes : LETTERS;
}

static void whole_text(const struct check_event *event, char *text, size_t room)
{
	if (event->bytes)
		snprintf(text, room, "%s: 0x%" PRIx64 ", %" PRIu64 " bytes", event->text, event->bus, event->bytes);
	else if (event->bus)
		snprintf(text, room, "%s: 0x%" PRIx64, event->text, event->bus);
	else
		snprintf(text, room, "%s", event->text);
}

static unsigned lines_of(const struct check_event *event)
{
	char text[sizeof(event->text) + 64];
	unsigned lines = 0;

	whole_text(event, text, sizeof(text));
	for (const char *at = text; *at && lines < LINES_MAX; at += line_bytes(at), at += *at == ' ')
		lines++;
	return lines ? lines : 1;
}

static unsigned row_height(const struct check_event *event)
{
	return lines_of(event) * LINE_HEIGHT + ROW_GAP;
}

static void put_text(const struct check_event *event, unsigned x, unsigned y, FILE *to)
{
	char text[sizeof(event->text) + 64], line[LETTERS + 1];
	const char *at = text;

	whole_text(event, text, sizeof(text));
	for (unsigned i = 0; i < LINES_MAX && *at; i++) {
		const size_t bytes = line_bytes(at);

		memcpy(line, at, bytes);
		line[bytes] = '\0';
		fprintf(to, "<text x=\"%u\" y=\"%u\">", x, y + i * LINE_HEIGHT);
		viodma_text_xml(to, line);
		fputs("</text>", to);
		at += bytes;
		at += *at == ' ';
	}
	fputs("\n", to);
}

static void put_row(const struct picture *picture, const struct check_event *event, bool last, unsigned y, FILE *to)
{
	const char *side = event->side == CHECK_US ? "us" : "peer";
	const unsigned x = event->side == CHECK_US ? LANE_US : LANE_PEER, middle = y + LINE_HEIGHT / 2;

	fprintf(to, "<text class=\"faint\" x=\"%u\" y=\"%u\" text-anchor=\"end\">%.3f</text>", LANE_US - 14, y + 11,
		(double)event->ns / 1e6);
	if (last && picture->outcome->verdict == CHECK_FAILED)
		fprintf(to, "<path class=\"failed\" d=\"M%u %ul10 10m0 -10l-10 10\"/>", x - 5, middle - 5);
	else
		fprintf(to, "<circle class=\"%s\" cx=\"%u\" cy=\"%u\" r=\"4\"/>", side, x, middle);
	put_text(event, x + 12, y + 11, to);
	for (unsigned i = 0; i < picture->count && is_somewhere(event); i++)
		if (meets(&picture->columns[i], event))
			fprintf(to, "<rect class=\"%s\" x=\"%u\" y=\"%u\" width=\"10\" height=\"8\" rx=\"2\"/>\n", side, column_x(i) + 3,
				middle - 4);
}

static void put_rows(struct picture *picture, FILE *to)
{
	const struct check_outcome *outcome = picture->outcome;
	unsigned y = TOP + ROW_GAP;

	for (uint32_t i = 0; i < picture->from; i++)
		change(picture, &outcome->events[i], TOP, to);
	/* Marks come after what they lie on. */
	for (uint32_t i = picture->from, at = y; i < outcome->event_count; i++) {
		change(picture, &outcome->events[i], at + LINE_HEIGHT / 2, to);
		at += row_height(&outcome->events[i]);
	}
	for (unsigned i = 0; i < picture->count; i++)
		if (picture->columns[i].mapped)
			put_mapped(&picture->columns[i], i, picture->height, to);
	for (uint32_t i = picture->from; i < outcome->event_count; i++) {
		put_row(picture, &outcome->events[i], i + 1 == outcome->event_count, y, to);
		y += row_height(&outcome->events[i]);
	}
}

void check_picture(const struct check_outcome *outcome, FILE *to)
{
	struct picture picture = {.outcome = outcome, .height = TOP + 2 * ROW_GAP};
	unsigned width;

	if (!outcome->event_count)
		return;
	picture.from = outcome->event_count > ROWS_MAX ? outcome->event_count - ROWS_MAX : 0;
	for (uint32_t i = outcome->event_count; i-- > picture.from;)
		if (is_a_stretch(&outcome->events[i]))
			widen(&picture, &outcome->events[i]);
	join(&picture);
	sort(&picture);
	for (uint32_t i = picture.from; i < outcome->event_count; i++)
		picture.height += row_height(&outcome->events[i]);
	width = column_x(picture.count) + MARGIN;
	fprintf(to, "<div class=\"wide\"><svg role=\"img\" width=\"%u\" height=\"%u\" viewBox=\"0 0 %u %u\"><title>%s %s: what happened"
		    "</title>\n",
		width, picture.height, width, picture.height, check_case_id(outcome->played), outcome->ring);
	fprintf(to, "<text class=\"faint\" x=\"%u\" y=\"%u\" text-anchor=\"end\">ms</text><text class=\"lane\" x=\"%u\" y=\"%u\">check"
		    "</text><text class=\"lane\" x=\"%u\" y=\"%u\">device</text>\n",
		LANE_US - 14, TOP - 8, LANE_US - 4, TOP - 8, LANE_PEER - 4, TOP - 8);
	fprintf(to, "<path class=\"axis\" d=\"M%u %uV%uM%u %uV%u\"/>\n", LANE_US, TOP, picture.height, LANE_PEER, TOP, picture.height);
	put_names(&picture, to);
	put_rows(&picture, to);
	fputs("</svg></div>\n", to);
	if (picture.from || outcome->events_lost)
		fprintf(to, "<p class=\"quiet\">%" PRIu32 " earlier events are in the list, not in the picture.</p>\n", picture.from);
}
