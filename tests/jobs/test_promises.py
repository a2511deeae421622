"""What jobs promise under faults, by the numbers of the reliability contract, and the tests that prove it.

What is bounded here runs longer and with figures by `make faults` (`benchmarks/job_faults.py`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.promises import marks_in

# By number: what is promised, where it is proved, by which tests.
PROMISES: dict[int, tuple[str, dict[str, tuple[str, ...]]]] = {
    1: ("a supervisor that is killed again and again loses, doubles and misreports no job", {
        "test_faults": ("test_killing_the_supervisor_again_and_again_neither_loses_nor_doubles_a_job",),
        "test_state_machine": ("test_whatever_happens_every_job_ends_once",),
    }),
    2: ("a job whose submitter died before anything was started runs once", {
        "test_faults": ("test_a_job_whose_submitter_died_before_it_started_a_shim_is_run_once",),
    }),
    3: ("who died before the command was written down has not run it; a claim is taken once", {
        "test_faults": (
            "test_a_shim_that_dies_before_it_wrote_down_the_command_has_not_run_it",
            "test_a_claim_is_taken_once_whatever_the_records_say",
        ),
    }),
    4: ("a killed shim is followed by a new attempt within 10 s, and nothing of the old one is left", {
        "test_faults": (
            "test_a_killed_shim_is_followed_by_a_new_attempt_within_ten_seconds_and_leaves_no_orphan",
            "test_a_job_without_retries_whose_shim_died_has_failed_and_says_why",
            "test_a_living_shim_sees_to_the_job_of_a_dead_one",
        ),
    }),
    5: ("a killed command is a failure with its signal, and is tried again as often as it may", {
        "test_submit": ("test_of_a_job_that_fails_every_time_the_last_failure_is_told",),
    }),
    6: ("what a job started in the background, in whatever session, ends with it", {
        "test_submit": (
            "test_nothing_that_a_job_started_stays",
            "test_cancelling_ends_every_process_also_one_that_left_the_group_and_cleared_its_environment",
        ),
        "test_leftovers": ("test_a_mark_is_one_attempts_and_a_longer_one_is_another",),
    }),
    7: ("a number that another process has now is neither adopted nor killed", {
        "test_faults": ("test_a_number_that_another_process_has_now_is_neither_taken_for_the_shim_nor_killed",),
    }),
    8: ("two supervisors start no job twice", {
        "test_faults": ("test_two_supervisors_start_no_job_twice",),
        "test_states": ("test_of_many_processes_that_reach_for_jobs_each_gets_others",),
    }),
    9: ("a clock that jumps an hour makes no job look lost", {
        "test_faults_machine": ("test_a_clock_that_jumps_makes_no_job_look_lost",),
    }),
    10: ("a supervisor that was stopped and goes on doubles nothing", {
        "test_faults": ("test_a_supervisor_that_slept_doubles_nothing",),
    }),
    11: ("on a full disk submitting is refused, and an end is recorded once there is room", {
        "test_faults_machine": (
            "test_on_a_full_disk_submitting_is_refused_and_works_again_when_there_is_room",
            "test_a_job_that_ends_on_a_full_disk_is_recorded_when_there_is_room",
        ),
    }),
    12: ("a database that somebody keeps locked is waited for", {
        "test_faults_machine": ("test_a_database_that_somebody_keeps_locked_is_waited_for",),
    }),
    13: ("whenever a job is cancelled, it ends once", {
        "test_faults": ("test_whenever_a_job_is_cancelled_it_ends_once_and_leaves_nothing",),
        "test_submit": ("test_a_queued_job_is_cancelled_at_once", "test_a_stopped_job_can_be_cancelled"),
        "test_states": ("test_a_job_ends_once_whoever_ends_it",),
    }),
    14: ("a job that ignores SIGTERM is killed after its grace", {
        "test_submit": ("test_a_job_that_ignores_sigterm_is_killed_after_its_grace",),
    }),
    15: ("a line without an end costs the shim no memory, and the disk a megabyte", {
        "test_faults_machine": ("test_a_line_without_an_end_costs_the_shim_no_memory_and_the_disk_a_megabyte",),
    }),
    16: ("bytes that are no text pass unchanged", {
        "test_faults_machine": ("test_words_that_are_no_text_pass_unchanged",),
    }),
    17: ("a job that always runs out of memory is tried as often as it may, then has failed", {
        "test_faults_machine": ("test_a_job_that_always_runs_out_of_memory_is_tried_as_often_as_it_may",),
    }),
    18: ("what ran when the machine went down is lost, then tried again; what it left stays", {
        "test_faults_machine": ("test_a_job_that_ran_when_the_machine_went_down_is_lost_then_tried_again",),
    }),
    19: ("what a crashed attempt has written is seen by nobody", {
        "test_faults": (
            "test_what_a_crashed_attempt_has_written_is_seen_by_nobody",
            "test_who_finds_an_exit_that_nobody_recorded_goes_on_from_there",
        ),
    }),
    20: ("whoever dies around a job on Ray, it is followed to its end, and no submission runs twice", {
        "test_ray": (
            "test_a_killed_shim_is_followed_by_another_which_runs_nothing_twice",
            "test_where_who_follows_a_job_is_killed_another_one_follows",
            "test_ray_runs_no_submission_twice",
        ),
    }),
}  # fmt: skip
BESIDE = {  # what has no number there and is promised too
    "a read-only input cannot be written": (
        "test_inputs", "test_a_read_only_input_cannot_be_written",
    ),
    "where the kernel does not help, what is written is nobody else's": (
        "test_inputs", "test_without_the_kernels_help_inputs_are_copies_whose_bytes_are_nobody_elses",
    ),
}  # fmt: skip
# Without a bounded form: a head or a driver on Ray is given up after tens of seconds.
LONG = ("test_a_killed_driver_is_noticed_within_a_minute_and_followed_by_a_new_attempt",
        "test_a_head_that_dies_is_noticed_within_a_minute")  # fmt: skip


def test_there_are_twenty() -> None:
    assert list(PROMISES) == list(range(1, 21))


@pytest.mark.parametrize("number", PROMISES)
def test_each_promise_has_tests_that_run_with_all_others(number: int) -> None:
    _, places = PROMISES[number]
    assert places
    for file, names in places.items():
        assert names
        for name in names:
            _runs_always(file, name)


@pytest.mark.parametrize("promise", BESIDE)
def test_so_has_what_has_no_number(promise: str) -> None:
    _runs_always(*BESIDE[promise])


@pytest.mark.parametrize("name", LONG)
def test_what_takes_a_minute_is_run_with_the_slow_ones(name: str) -> None:
    assert "slow" in marks_in(Path(__file__).with_name("test_ray.py"))[name]


def _runs_always(file: str, name: str) -> None:
    found = marks_in(Path(__file__).with_name(f"{file}.py"))
    assert name in found, f"no {name} in {file}.py"
    assert not {"slow", "skip", "skipif", "xfail"} & found[name], f"{name} may not run"
