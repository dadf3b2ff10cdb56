"""The number of threads of a call follows how long calls took."""

import pytest

from infini_ir.runtime.pace import (
    AWAKE,
    SHORT_RETRY,
    SHORT_TRIAL,
    SOON,
    TRIALS,
    Pace,
    ShortPace,
)


class Machine:
    """Calls take some time with two threads and with one, and may be preempted."""

    def __init__(self) -> None:
        self.preemptions = 7
        self.clock = 100.0
        self.pace = Pace(lambda: self.preemptions)

    def run(
        self, many: float, one: float, calls: int, preempted: bool = False, pause: float = 0.0
    ) -> list[int]:
        """How many threads each call used."""
        used = []
        for _ in range(calls):
            self.clock += pause
            self.preemptions += 100 * (pause > 0)
            workers = self.pace.choose(2)
            used.append(workers)
            self.preemptions += preempted and workers == 2
            begin, self.clock = self.clock, self.clock + (many if workers == 2 else one)
            self.pace.note(workers, begin, self.clock)
        return used


def test_a_quiet_machine_always_uses_all_threads():
    assert Machine().run(1.0, 1.8, 100) == [2] * 100


def test_a_machine_that_becomes_busy_soon_uses_one_thread():
    machine = Machine()
    machine.run(1.0, 1.8, 5)
    used = machine.run(20.0, 2.5, 1000, preempted=True)
    assert used[:4] == [2, 2, 1, 1]
    lost = used.count(2) * (20.0 - 2.5)
    assert 0 < lost < 2 * TRIALS * 1000 * 2.5 + 3 * 20.0


def test_a_machine_that_was_busy_from_the_start_is_found_by_preemptions():
    used = Machine().run(20.0, 2.5, 100, preempted=True)
    assert used[:4] == [2, 2, 2, 1] and used.count(2) <= 5


@pytest.mark.parametrize("pause", [1.0, 40.0])
def test_a_busy_machine_is_found_where_calls_come_in_pairs(pause: float):
    machine, used = Machine(), []
    machine.run(20.0, 2.5, 5, preempted=True, pause=40.0)
    for _ in range(20):
        used += machine.run(20.0, 2.5, 1, preempted=True, pause=pause)
        used += machine.run(20.0, 2.5, 1, preempted=True)
    assert used.count(2) <= 8


def test_a_quiet_machine_with_a_slow_first_call_or_one_preemption_uses_all_threads():
    machine = Machine()
    assert machine.run(30.0, 1.8, 1, preempted=True) == [2]
    assert machine.run(1.0, 1.8, 5) == [2] * 5
    assert machine.run(30.0, 1.8, 1, preempted=True) == [2]
    assert machine.run(1.0, 1.8, 100) == [2] * 100


def test_preemptions_between_calls_say_nothing_of_them():
    machine = Machine()
    assert machine.run(2.0, 1.8, 6, pause=10.0) == [2] * 6
    machine.run(1.0, 1.8, 1, pause=10.0)
    assert machine.run(1.5, 1.8, 50, pause=10.0) == [2] * 50


def test_a_short_disturbance_costs_a_few_calls_alone():
    machine = Machine()
    machine.run(1.0, 1.8, 5)
    machine.run(30.0, 1.8, 2, preempted=True)
    used = machine.run(1.0, 1.8, 100)
    assert used == [1] * SOON + [2] * (100 - SOON)


def test_when_the_machine_is_free_again_all_threads_come_back():
    machine = Machine()
    machine.run(1.0, 1.8, 5)
    machine.run(20.0, 2.5, 30, preempted=True)
    used = machine.run(1.0, 1.8, 600)
    assert used[-100:] == [2] * 100


def test_all_threads_stay_where_one_is_slower_still():
    machine = Machine()
    machine.run(1.0, 1.8, 5)
    used = machine.run(4.0, 9.0, 200, preempted=True)
    assert used.count(1) <= 200 * 4.0 * TRIALS / (9.0 - 4.0) + 2


def short_times(pace: ShortPace, many: float, one: float, calls: int, pause: float = 0.0):
    """Short calls with pauses between; how many threads each used."""
    used, clock = [], 100.0
    for _ in range(calls):
        clock += pause
        workers = pace.choose(2, clock)
        used.append(workers)
        begin, clock = clock, clock + (many if workers == 2 else one)
        pace.note(workers, begin, clock)
    return used


def test_short_calls_with_pauses_run_alone():
    assert short_times(ShortPace(), 12e-6, 20e-6, 20, pause=2 * AWAKE) == [1] * 20


def test_short_calls_in_quick_succession_use_all_threads_where_that_is_faster():
    used = short_times(ShortPace(), 12e-6, 20e-6, 4 * SHORT_RETRY)
    assert used[:4] == [1, 1, 2, 2]
    assert used.count(1) <= 2 + 4 * SHORT_TRIAL
    used = short_times(ShortPace(), 30e-6, 20e-6, 4 * SHORT_RETRY)
    assert used.count(2) <= 2 + 4 * (SHORT_TRIAL + 1)


@pytest.mark.parametrize("slow", ["many", "one"])
def test_slow_first_calls_are_soon_forgotten(slow: str):
    pace = ShortPace()
    one, many = (20e-6, 60e-6) if slow == "many" else (60e-6, 12e-6)
    short_times(pace, many, one, 8)
    one, many = (20e-6, 12e-6) if slow == "many" else (11e-6, 12e-6)
    short_times(pace, many, one, 2 * SHORT_RETRY)
    used = short_times(pace, many, one, 100)
    assert used.count(2 if slow == "many" else 1) >= 90


def test_a_short_call_that_woke_a_thread_says_nothing_of_the_next_ones():
    """Threads sleep a millisecond after their last call; to wake them takes 80 us."""
    pace, used, clock, together = ShortPace(), [], 100.0, 0.0
    for _ in range(6 * SHORT_RETRY):
        workers = pace.choose(2, clock)
        used.append(workers)
        begin = clock
        many = 12e-6 if clock - together < 1e-3 else 80e-6
        clock += many if workers == 2 else 20e-6
        together = clock if workers == 2 else together
        pace.note(workers, begin, clock)
    assert used.count(1) <= 2 + 6 * (SHORT_TRIAL + 1)
    # Where another program takes the processor, one thread is soon back.
    short_times(pace, 90e-6, 20e-6, 30)
    again = short_times(pace, 90e-6, 20e-6, SHORT_RETRY)
    assert again.count(1) >= SHORT_RETRY - 2 - SHORT_TRIAL


def test_short_calls_beside_busy_processes_seldom_wait_for_time_slices():
    pace = ShortPace()
    short_times(pace, 12e-6, 20e-6, 200)
    used = short_times(pace, 4e-3, 40e-6, 20_000)
    lost = used.count(2) * 4e-3
    assert 0 < lost < 3 * TRIALS * len(used) * 40e-6
    used = short_times(pace, 12e-6, 20e-6, 20_000)
    assert used[-1000:].count(1) < 20
