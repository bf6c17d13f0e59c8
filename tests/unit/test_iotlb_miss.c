/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_iotlb_miss.c - questions to the platform, its answers, refusals and non-answers, and the permission that comes
 * of them.
 */
#include "tests/support/iotlb_rig.h"

/* ---- misses ---- */

static bool a_page_is_asked_for_once_for_each_permission(void)
{
	struct setup *s = fresh();

	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_MISS);
	CHECK_EQUAL(s->asks, 0); /* translating alone asks nothing */
	viodma_space_want(&s->space, (viodma_bus){BUS + 3 * PAGE + 5}, VIODMA_READ);
	viodma_space_want(&s->space, (viodma_bus){BUS + 3 * PAGE + 4095}, VIODMA_READ);
	CHECK_EQUAL(s->asks, 1);
	CHECK_EQUAL(s->asked_bus[0] / PAGE, BUS / PAGE + 3);
	CHECK_EQUAL(s->asked_permission[0], VIODMA_READ);
	viodma_space_want(&s->space, (viodma_bus){BUS + 3 * PAGE}, VIODMA_WRITE);
	CHECK_EQUAL(s->asks, 2);
	viodma_space_want(&s->space, (viodma_bus){BUS + 4 * PAGE}, VIODMA_READ);
	CHECK_EQUAL(s->asks, 3);
	CHECK_EQUAL(s->iotlb.outstanding, 3);
	CHECK_EQUAL(s->iotlb.statistics.misses, 3);
	return true;
}
HOLDS(a_page_is_asked_for_once_for_each_permission)

static bool an_update_answers_the_question_and_waiting_requests_try_again(void)
{
	struct setup *s = fresh();
	uint64_t epoch;

	want(s, 3, VIODMA_READ);
	epoch = s->space.epoch;
	CHECK_RESULT(update(s, 3, 5, VIODMA_READ), VIODMA_OK);
	CHECK(s->space.epoch != epoch);
	CHECK_EQUAL(s->iotlb.outstanding, 0);
	CHECK_EQUAL(s->iotlb.statistics.answered, 1);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(reply(s, 3, VIODMA_READ, true), VIODMA_E_NOT_FOUND); /* answered already */
	want(s, 9, VIODMA_READ);
	CHECK_EQUAL(s->asks, 2);
	return true;
}
HOLDS(an_update_answers_the_question_and_waiting_requests_try_again)

static bool a_page_withdrawn_is_asked_for_again(void)
{
	struct setup *s = fresh();

	want(s, 3, VIODMA_READ);
	CHECK_RESULT(update(s, 3, 5, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(viodma_iotlb_invalidate(&s->iotlb, (viodma_bus){BUS + 3 * PAGE}, PAGE), VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_MISS);
	want(s, 3, VIODMA_READ);
	CHECK_EQUAL(s->asks, 2);
	return true;
}
HOLDS(a_page_withdrawn_is_asked_for_again)

static bool questions_that_find_no_place_are_asked_later(void)
{
	struct setup *s = fresh();
	unsigned asked, page;

	for (page = 0; page < 100; page++)
		want(s, page, VIODMA_READ);
	CHECK(s->asks >= 1 && s->asks <= 16);
	CHECK_EQUAL(s->iotlb.outstanding, s->asks);
	asked = s->asks;
	for (page = 0; page < 100; page++)
		if (look(s, page, VIODMA_READ) != VIODMA_MISS)
			return false;
	for (page = 0; page < asked; page++)
		CHECK_RESULT(viodma_iotlb_update(&s->iotlb, (viodma_bus){s->asked_bus[page] & ~(uint64_t)(PAGE - 1)}, PAGE,
						 (viodma_uaddr){USER}, VIODMA_READ),
			     VIODMA_OK);
	CHECK_EQUAL(s->iotlb.outstanding, 0);
	for (page = 0; page < 100; page++)
		if (look(s, page, VIODMA_READ) == VIODMA_MISS)
			want(s, page, VIODMA_READ);
	CHECK(s->asks > asked);
	return true;
}
HOLDS(questions_that_find_no_place_are_asked_later)

static bool without_anybody_to_ask_a_miss_is_a_fault(void)
{
	struct setup *s = with(64, false);

	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_FAULT_UNMAPPED);
	CHECK_RESULT(update(s, 3, 0, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_WRITE), VIODMA_FAULT_PERMISSION);
	return true;
}
HOLDS(without_anybody_to_ask_a_miss_is_a_fault)

static bool many_questions_are_answered_one_by_one_in_any_order(void)
{
	struct setup *s = fresh();
	struct check_random random = {.state = 5};
	unsigned round;

	for (round = 0; round < 20000; round++) {
		uint64_t page = check_below(&random, 40);
		enum viodma_permission permission = check_below(&random, 2) ? VIODMA_READ : VIODMA_WRITE;
		unsigned before = s->asks, outstanding = s->iotlb.outstanding;
		enum viodma_result result;

		if (check_below(&random, 2)) {
			want(s, page, permission);
			CHECK_EQUAL(s->iotlb.outstanding, outstanding + (s->asks - before));
			CHECK(s->asks - before <= 1);
			if (s->asks >= MOST_ASKS)
				s->asks = 0;
			continue;
		}
		result = reply(s, page, permission, false);
		CHECK(result == VIODMA_OK || result == VIODMA_E_NOT_FOUND);
		CHECK_EQUAL(s->iotlb.outstanding, outstanding - (result == VIODMA_OK));
		if (result == VIODMA_OK) {
			CHECK_RESULT(reply(s, page, permission, false), VIODMA_E_NOT_FOUND);
			CHECK_RESULT(look(s, page, permission), VIODMA_FAULT_UNMAPPED);
			viodma_iotlb_settle(&s->iotlb);
			CHECK_RESULT(look(s, page, permission), VIODMA_MISS);
		}
	}
	return true;
}
HOLDS(many_questions_are_answered_one_by_one_in_any_order)

/* ---- permission ---- */

static bool an_answer_grants_no_more_than_was_asked_for(void)
{
	struct setup *s = fresh();

	want(s, 3, VIODMA_READ);
	CHECK_RESULT(update(s, 3, 5, VIODMA_READ_WRITE), VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_OK);
	CHECK(look(s, 3, VIODMA_WRITE) != VIODMA_OK);
	CHECK_EQUAL(s->granted.permission, VIODMA_READ);
	want(s, 4, VIODMA_WRITE);
	CHECK_RESULT(update(s, 4, 5, VIODMA_READ_WRITE), VIODMA_OK);
	CHECK_RESULT(look(s, 4, VIODMA_WRITE), VIODMA_OK);
	CHECK(look(s, 4, VIODMA_READ) != VIODMA_OK);
	want(s, 5, VIODMA_READ);
	want(s, 5, VIODMA_WRITE);
	CHECK_RESULT(update(s, 5, 5, VIODMA_READ_WRITE), VIODMA_OK);
	CHECK_RESULT(look(s, 5, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(look(s, 5, VIODMA_WRITE), VIODMA_OK);
	return true;
}
HOLDS(an_answer_grants_no_more_than_was_asked_for)

static bool an_answer_in_one_piece_for_many_pages_grants_no_more_than_was_asked_for(void)
{
	struct setup *s = fresh();

	want(s, 3, VIODMA_READ);
	CHECK_RESULT(viodma_iotlb_update(&s->iotlb, (viodma_bus){BUS}, 8 * PAGE, (viodma_uaddr){USER}, VIODMA_READ_WRITE),
		     VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_OK);
	CHECK(look(s, 3, VIODMA_WRITE) != VIODMA_OK);
	CHECK_EQUAL(s->iotlb.outstanding, 0);
	return true;
}
HOLDS(an_answer_in_one_piece_for_many_pages_grants_no_more_than_was_asked_for)

static bool a_grant_nobody_asked_for_is_taken_as_given(void)
{
	struct setup *s = fresh();

	want(s, 9, VIODMA_READ); /* another page */
	CHECK_RESULT(update(s, 3, 5, VIODMA_READ_WRITE), VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_WRITE), VIODMA_OK);
	CHECK_RESULT(update(s, 4, 5, VIODMA_WRITE), VIODMA_OK);
	CHECK_RESULT(look(s, 4, VIODMA_WRITE), VIODMA_OK);
	return true;
}
HOLDS(a_grant_nobody_asked_for_is_taken_as_given)

static bool a_page_asked_for_in_both_directions_one_after_the_other_keeps_both(void)
{
	struct setup *s = fresh();

	want(s, 3, VIODMA_READ);
	CHECK_RESULT(update(s, 3, 5, VIODMA_READ_WRITE), VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_WRITE), VIODMA_MISS); /* clamped: it may be had by asking */
	want(s, 3, VIODMA_WRITE);
	CHECK_EQUAL(s->asks, 2);
	CHECK_RESULT(update(s, 3, 5, VIODMA_READ_WRITE), VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_WRITE), VIODMA_OK);
	CHECK_EQUAL(s->iotlb.outstanding, 0);
	return true;
}
HOLDS(a_page_asked_for_in_both_directions_one_after_the_other_keeps_both)

static bool answers_of_just_what_was_asked_add_up(void)
{
	struct setup *s = fresh();

	want(s, 3, VIODMA_READ);
	CHECK_RESULT(update(s, 3, 0, VIODMA_READ), VIODMA_OK);
	want(s, 3, VIODMA_WRITE);
	CHECK_RESULT(update(s, 3, 0, VIODMA_WRITE), VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_OK); /* else each answer asks for the other, without end */
	CHECK_RESULT(look(s, 3, VIODMA_WRITE), VIODMA_OK);
	CHECK_EQUAL(s->iotlb.outstanding, 0);
	return true;
}
HOLDS(answers_of_just_what_was_asked_add_up)

static bool a_direction_the_platform_refuses_is_refused_to_the_device(void)
{
	struct setup *s = fresh();

	CHECK_RESULT(update(s, 3, 5, VIODMA_READ), VIODMA_OK);
	if (look(s, 3, VIODMA_WRITE) == VIODMA_MISS) {
		want(s, 3, VIODMA_WRITE);
		CHECK_RESULT(reply(s, 3, VIODMA_WRITE, false), VIODMA_OK);
	}
	CHECK_RESULT(look(s, 3, VIODMA_WRITE), VIODMA_FAULT_PERMISSION);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_OK);
	return true;
}
BEHAVIOUR(a_direction_the_platform_refuses_is_refused_to_the_device, "DEV-9")

static bool less_permission_than_before_takes_effect_at_once(void)
{
	struct setup *s = fresh();
	struct viodma_extent extent;

	CHECK_RESULT(update(s, 3, 5, VIODMA_READ_WRITE), VIODMA_OK);
	CHECK_RESULT(viodma_space_translate(&s->space, &s->cache, (viodma_bus){BUS + 3 * PAGE}, VIODMA_WRITE, &extent),
		     VIODMA_OK);
	CHECK_RESULT(update(s, 3, 5, VIODMA_READ), VIODMA_OK);
	CHECK(viodma_space_translate(&s->space, &s->cache, (viodma_bus){BUS + 3 * PAGE}, VIODMA_WRITE, &extent) !=
	      VIODMA_OK);
	return true;
}
HOLDS(less_permission_than_before_takes_effect_at_once)

/* ---- refusals ---- */

static bool a_page_the_platform_refuses_is_refused_until_it_is_settled(void)
{
	struct setup *s = fresh();
	uint64_t epoch;

	want(s, 3, VIODMA_READ);
	epoch = s->space.epoch;
	CHECK_RESULT(reply(s, 3, VIODMA_READ, false), VIODMA_OK);
	CHECK(s->space.epoch != epoch);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_FAULT_UNMAPPED);
	CHECK_RESULT(look(s, 3, VIODMA_WRITE), VIODMA_MISS); /* another question */
	CHECK_RESULT(look(s, 4, VIODMA_READ), VIODMA_MISS);
	CHECK_EQUAL(s->iotlb.statistics.failed, 1);
	CHECK_EQUAL(s->iotlb.outstanding, 0);
	viodma_iotlb_settle(&s->iotlb);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_MISS);
	want(s, 3, VIODMA_READ);
	CHECK_EQUAL(s->asks, 2);
	return true;
}
HOLDS(a_page_the_platform_refuses_is_refused_until_it_is_settled)

static bool a_page_the_platform_refuses_is_not_reached_by_its_physical_address(void)
{
	struct setup *s = fresh();
	struct viodma_extent extent;
	const viodma_bus bus = {PHYS + 3 * PAGE};

	CHECK_RESULT(viodma_space_translate(&s->space, NULL, bus, VIODMA_READ, &extent), VIODMA_MISS);
	viodma_space_want(&s->space, bus, VIODMA_READ);
	CHECK_RESULT(viodma_iotlb_replied(&s->iotlb, bus, VIODMA_READ, false), VIODMA_OK);
	CHECK_RESULT(viodma_space_translate(&s->space, NULL, bus, VIODMA_READ, &extent), VIODMA_FAULT_UNMAPPED);
	return true;
}
BEHAVIOUR(a_page_the_platform_refuses_is_not_reached_by_its_physical_address, "DEV-10")

static bool a_question_called_answered_without_a_grant_that_covers_it_has_failed(void)
{
	struct setup *s = fresh();

	want(s, 3, VIODMA_READ);
	CHECK_RESULT(update(s, 4, 5, VIODMA_READ), VIODMA_OK); /* the page beside it */
	CHECK_RESULT(reply(s, 3, VIODMA_READ, true), VIODMA_OK);
	CHECK_RESULT(look(s, 3, VIODMA_READ), VIODMA_FAULT_NO_ANSWER); /* = PLT-11 */
	CHECK(strcmp(viodma_result_requirement(VIODMA_FAULT_NO_ANSWER), "PLT-11") == 0);
	CHECK_EQUAL(s->iotlb.statistics.failed, 1);
	CHECK_EQUAL(s->iotlb.statistics.answered, 0);
	return true;
}
HOLDS(a_question_called_answered_without_a_grant_that_covers_it_has_failed)

static bool a_grant_with_too_little_permission_is_no_answer(void)
{
	struct setup *s = fresh();

	want(s, 3, VIODMA_WRITE);
	CHECK_RESULT(update(s, 3, 5, VIODMA_READ), VIODMA_OK);
	CHECK_EQUAL(s->iotlb.statistics.answered, 0);
	CHECK_RESULT(reply(s, 3, VIODMA_WRITE, true), VIODMA_OK);
	CHECK(viodma_result_is_fault(look(s, 3, VIODMA_WRITE)));
	return true;
}
HOLDS(a_grant_with_too_little_permission_is_no_answer)

static bool a_reply_to_no_question_is_not_found(void)
{
	struct setup *s = fresh();

	CHECK_RESULT(reply(s, 3, VIODMA_READ, true), VIODMA_E_NOT_FOUND);
	CHECK_RESULT(reply(s, 3, VIODMA_READ, false), VIODMA_E_NOT_FOUND);
	want(s, 3, VIODMA_READ);
	CHECK_RESULT(reply(s, 3, VIODMA_WRITE, false), VIODMA_E_NOT_FOUND);
	CHECK_RESULT(reply(s, 3, VIODMA_READ, false), VIODMA_OK);
	CHECK_RESULT(reply(s, 3, VIODMA_READ, false), VIODMA_E_NOT_FOUND);
	return true;
}
HOLDS(a_reply_to_no_question_is_not_found)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_page_is_asked_for_once_for_each_permission),
		TEST(an_update_answers_the_question_and_waiting_requests_try_again),
		TEST(a_page_withdrawn_is_asked_for_again),
		TEST(questions_that_find_no_place_are_asked_later),
		TEST(without_anybody_to_ask_a_miss_is_a_fault),
		TEST(many_questions_are_answered_one_by_one_in_any_order),
		TEST(an_answer_grants_no_more_than_was_asked_for),
		TEST(an_answer_in_one_piece_for_many_pages_grants_no_more_than_was_asked_for),
		TEST(a_grant_nobody_asked_for_is_taken_as_given),
		TEST(a_page_asked_for_in_both_directions_one_after_the_other_keeps_both),
		TEST(answers_of_just_what_was_asked_add_up),
		WITH_MUTANT(a_direction_the_platform_refuses_is_refused_to_the_device),
		TEST(less_permission_than_before_takes_effect_at_once),
		TEST(a_page_the_platform_refuses_is_refused_until_it_is_settled),
		WITH_MUTANT(a_page_the_platform_refuses_is_not_reached_by_its_physical_address),
		TEST(a_question_called_answered_without_a_grant_that_covers_it_has_failed),
		TEST(a_grant_with_too_little_permission_is_no_answer),
		TEST(a_reply_to_no_question_is_not_found),
	};

	return cmocka_run_group_tests_name("iotlb miss", tests, NULL, NULL);
}
