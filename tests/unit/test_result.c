/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_result.c - results: names, texts, and the requirement behind each fault and peer result.
 *
 * How it works: the list of results is a table in the header; these tests walk it.
 */
#include "tests/support/check.h"

#include <viodma/result.h>

#include <ctype.h>

struct row {
	enum viodma_result result;
	const char *name, *requirement, *text;
};

#define ROW(name, value, requirement, text) {name, #name, requirement, text},
static const struct row rows[] = {VIODMA_RESULTS(ROW)};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static bool every_result_has_its_name_and_a_sentence_without_full_stop(void)
{
	size_t i;

	for (i = 0; i < ROWS; i++) {
		const char *text = viodma_result_text(rows[i].result);

		CHECK(strcmp(viodma_result_name(rows[i].result), rows[i].name) == 0);
		CHECK(strcmp(text, rows[i].text) == 0);
		CHECK(text[0] != '\0' && text[strlen(text) - 1] != '.');
	}
	return true;
}
HOLDS(every_result_has_its_name_and_a_sentence_without_full_stop)

static bool looks_like_an_id(const char *id)
{
	if (strncmp(id, "PLT-", 4) != 0 && strncmp(id, "DRV-", 4) != 0 && strncmp(id, "DEV-", 4) != 0)
		return false;
	id += 4;
	if (!isdigit((unsigned char)*id))
		return false;
	while (isdigit((unsigned char)*id))
		id++;
	return *id == '\0';
}

static bool every_fault_and_peer_result_names_a_requirement_and_no_other_does(void)
{
	size_t i;

	for (i = 0; i < ROWS; i++) {
		bool refusal = strncmp(rows[i].name, "VIODMA_FAULT_", 13) == 0 ||
			       strncmp(rows[i].name, "VIODMA_PEER_", 12) == 0;
		const char *id = viodma_result_requirement(rows[i].result);

		CHECK(strcmp(id, rows[i].requirement) == 0);
		if (refusal)
			CHECK(looks_like_an_id(id));
		else
			CHECK(id[0] == '\0');
	}
	return true;
}
HOLDS(every_fault_and_peer_result_names_a_requirement_and_no_other_does)

static bool the_family_of_a_result_follows_from_its_value(void)
{
	size_t i;

	for (i = 0; i < ROWS; i++) {
		CHECK_EQUAL(viodma_result_is_fault(rows[i].result), strncmp(rows[i].name, "VIODMA_FAULT_", 13) == 0);
		CHECK_EQUAL(viodma_result_is_peer(rows[i].result), strncmp(rows[i].name, "VIODMA_PEER_", 12) == 0);
	}
	return true;
}
HOLDS(the_family_of_a_result_follows_from_its_value)

static bool results_are_0_or_negative_and_no_two_are_equal(void)
{
	size_t i, j;

	CHECK_EQUAL(VIODMA_OK, 0);
	for (i = 0; i < ROWS; i++) {
		CHECK(rows[i].result <= 0);
		for (j = 0; j < i; j++)
			CHECK(rows[i].result != rows[j].result);
	}
	return true;
}
HOLDS(results_are_0_or_negative_and_no_two_are_equal)

static bool a_value_that_is_no_result_is_said_to_be_unknown(void)
{
	static const int values[] = {1, -5, -127, 1000000, -1000000};
	size_t i;

	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		enum viodma_result result = (enum viodma_result)values[i];

		CHECK(strcmp(viodma_result_name(result), "VIODMA_RESULT_UNKNOWN") == 0);
		CHECK(viodma_result_text(result) != NULL);
		CHECK(viodma_result_requirement(result)[0] == '\0');
	}
	return true;
}
HOLDS(a_value_that_is_no_result_is_said_to_be_unknown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_result_has_its_name_and_a_sentence_without_full_stop),
		TEST(every_fault_and_peer_result_names_a_requirement_and_no_other_does),
		TEST(the_family_of_a_result_follows_from_its_value),
		TEST(results_are_0_or_negative_and_no_two_are_equal),
		TEST(a_value_that_is_no_result_is_said_to_be_unknown),
	};

	return cmocka_run_group_tests_name("result", tests, NULL, NULL);
}
