"""What the gateway promises under faults, by the numbers of the reliability contract, and the tests that prove it.

What is bounded here runs longer and with figures by `make faults` (`benchmarks/gateway_faults.py`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.promises import marks_in

# By number: what is promised, where it is proved, by which tests.
PROMISES: dict[int, tuple[str, dict[str, tuple[str, ...]]]] = {
    1: ("a split holds within 1 % over 20,000 requests", {
        "test_traffic": ("test_weights_hold_within_one_percent_over_twenty_thousand_choices",),
    }),
    2: ("a sticky user meets the same deployment 1,000 times of 1,000", {
        "test_traffic": ("test_the_same_user_meets_the_same_deployment_a_thousand_times",),
        "test_faults_traffic": ("test_a_user_meets_one_deployment_and_is_told_its_cohort",),
    }),
    3: ("a change of the weights moves no more users than points", {
        "test_traffic": (
            "test_between_two_a_change_moves_no_more_users_than_points_and_all_one_way",
            "test_what_grows_takes_users_and_the_others_exchange_none",
        ),
    }),
    4: ("a refused connection is made good by another deployment, 50 ms later at most", {
        "test_faults_retries": ("test_who_refuses_the_connection_is_stood_in_for_in_no_time",),
        "test_faults_latency": ("test_a_refused_connection_adds_less_than_50_ms",),
    }),
    5: ("429 with Retry-After is waited for, and many make no storm", {
        "test_faults_retries": (
            "test_the_time_that_an_engine_asks_for_is_waited",
            "test_a_hundred_that_are_refused_together_make_no_storm",
        ),
    }),
    6: ("500 before the first byte is tried once more; after it an error event ends the stream", {
        "test_faults_retries": (
            "test_a_500_is_tried_once_more_and_no_more", "test_after_the_first_byte_nothing_is_tried_again",
        ),
    }),
    7: ("a first token that comes too late is a 504, and the engine is let go within 1 s", {
        "test_faults_clients": ("test_a_token_that_comes_too_late_is_a_504_and_lets_the_engine_go",),
        "test_forward": ("test_no_first_token_in_time_is_a_504_and_the_engine_is_let_go",),
    }),
    8: ("a stall in mid-stream ends it", {
        "test_faults_clients": ("test_a_stall_in_mid_stream_lets_the_engine_go_within_a_second",),
        "test_forward": ("test_a_stall_in_mid_stream_ends_it_with_an_error_event",),
    }),
    9: ("a client that leaves in mid-stream is known to the engine within 1 s", {
        "test_faults_clients": ("test_each_client_that_leaves_ends_its_generation_within_a_second",),
        "test_engine_contract": ("test_a_client_that_leaves_is_known_to_the_engine_within_a_second",),
    }),
    10: ("so is one that leaves before the first token, with and without a stream", {
        "test_faults_clients": ("test_each_client_that_leaves_ends_its_generation_within_a_second",),
        "test_gateway": ("test_leaving_before_the_answer_ends_the_generation_within_a_second",),
    }),
    11: ("clients that read slowly cost less than 1 MB each, and the others nothing", {
        "test_faults_clients": ("test_clients_that_do_not_read_are_let_go_and_the_others_are_served",),
        "test_downstream": ("test_who_does_not_read_is_let_go_and_little_waits_for_it",),
    }),
    12: ("a full queue is a 429 within 50 ms, and none hangs", {
        "test_faults_retries": ("test_a_full_queue_is_a_429_at_once_and_none_hangs",),
        "test_faults_latency": ("test_a_full_queue_is_told_within_50_ms_and_none_hangs",),
    }),
    13: ("the breaker opens, lets one try, and closes", {
        "test_faults_retries": (
            "test_five_failures_in_a_row_open_a_breaker_and_one_good_try_closes_it",
            "test_half_of_twenty_in_thirty_seconds_open_a_breaker_and_what_is_older_does_not_count",
            "test_one_whose_client_left_while_it_tried_leaves_the_try_to_the_next",
        ),
        "test_backends": ("test_one_whose_breaker_is_open_gets_nothing",),
    }),
    14: ("with everything down the answer is a 503 with a code within 100 ms", {
        "test_faults_retries": (
            "test_with_all_down_the_answer_is_a_503_with_a_code_and_the_breaker_makes_it_quick",
        ),
        "test_faults_latency": ("test_with_all_down_that_is_told_within_100_ms",),
    }),
    15: ("SIGTERM lets 200 streams end and refuses what comes", {
        "test_faults_process": ("test_sigterm_lets_two_hundred_streams_end_and_refuses_what_comes",),
    }),
    16: ("a killed gateway is back within 5 s with all it knew", {
        "test_faults_process": ("test_a_killed_gateway_is_back_within_five_seconds_and_knows_what_it_knew",),
    }),
    17: ("a hundred changes under load fail no request", {
        "test_faults_traffic": ("test_a_hundred_changes_of_the_split_under_load_fail_no_request",),
    }),
    18: ("however a stream is cut or broken, the text is the same and whole", {
        "test_events": ("test_however_the_bytes_are_cut_the_texts_are_the_same_and_the_counts_are_out",),
        "test_faults_clients": ("test_whatever_an_engine_sends_only_whole_events_leave_and_in_its_order",),
        "test_forward": ("test_a_stream_in_chunks_of_one_byte_is_the_same_text",),
    }),
    19: ("11 MB are a 413, a head of 64 KB is a 431, 100 slow senders hold up nobody", {
        "test_faults_clients": (
            "test_a_body_of_11_megabytes_and_a_head_of_64_kilobytes_are_refused",
            "test_a_hundred_slow_senders_keep_nobody_waiting_and_are_let_go",
        ),
    }),
    20: ("a mirror that hangs changes nothing for the others, and none fails", {
        "test_faults_traffic": ("test_a_mirror_that_hangs_is_given_few_copies_and_costs_the_others_nothing",),
        "test_faults_latency": ("test_a_mirror_that_hangs_changes_nothing_for_the_others",),
    }),
    21: ("a candidate with 20 % errors costs 50 bad answers at most; a sound one is seldom turned away", {
        "test_rollout_guards": (
            "test_a_fifth_of_errors_costs_at_most_fifty_bad_answers",
            "test_sound_candidates_are_turned_away_less_often_than_alpha",
        ),
        "test_rollout_watch": ("test_a_candidate_that_fails_loses_its_traffic",),
    }),
    22: ("an Idempotency-Key tells again for 24 h, 422 for another body, 409 under way", {
        "test_faults_traffic": (
            "test_a_request_with_its_key_again_is_answered_as_before",
            "test_a_key_with_another_body_is_a_422_and_one_under_way_a_409",
        ),
        "test_idempotency": ("test_an_answer_is_kept_for_a_day_and_no_longer",),
        "test_faults_process": ("test_a_gateway_that_comes_back_tells_again_what_the_one_before_answered_to_a_key",),
    }),
    23: ("a key has neither another's models nor its budget nor its answers, and is in no log", {
        "test_meters": (
            "test_a_key_asks_its_own_endpoints_only_and_sees_no_others",
            "test_a_budget_of_tokens_ends_and_outlives_the_gateway",
        ),
        "test_faults_traffic": (
            "test_a_key_belongs_to_its_token", "test_no_key_of_a_client_is_in_a_row_or_a_log",
        ),
        "test_api_responses": ("test_what_one_token_made_is_not_there_for_another",),
        "test_admission": ("test_no_token_is_written_anywhere",),
    }),
    24: ("at 200 requests/s less than 5 ms are added; 500 streams at once are all whole", {
        "test_faults_latency": ("test_at_200_requests_a_second_the_gateway_adds_less_than_5_ms",),
        "test_faults_clients": ("test_five_hundred_streams_at_once_are_all_whole",),
    }),
    25: ("requests that end in every way leave neither memory nor files behind", {
        "test_faults_process": ("test_requests_that_end_in_every_way_leave_neither_memory_nor_files_behind",),
    }),
}  # fmt: skip


def test_there_are_twenty_five() -> None:
    assert list(PROMISES) == list(range(1, 26))


@pytest.mark.parametrize("number", PROMISES)
def test_each_promise_has_tests_that_run_with_all_others(number: int) -> None:
    _, places = PROMISES[number]
    assert places
    for file, names in places.items():
        found = marks_in(Path(__file__).with_name(f"{file}.py"))
        assert names
        for name in names:
            assert name in found, f"promise {number}: no {name} in {file}.py"
            assert not {"slow", "skip", "skipif", "xfail"} & found[name], f"promise {number}: {name} may not run"
