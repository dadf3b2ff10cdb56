"""The number of threads of a call follows how long calls took."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from infini_ir.runtime.pace import (
    AWAKE,
    NOTHING_AHEAD,
    SHORT_LOSS,
    SHORT_PRICE,
    SHORT_RETRY,
    SHORT_TRIAL,
    SOON,
    TRIALS,
    WARY,
    Pace,
    Run,
    ShortPace,
)


class Caller:
    """Calls as the executor makes them: the pace is asked before each, or, where `asks` is not,
    before those that it has not let go by."""

    def __init__(self, pace: Pace | ShortPace, asks: bool, clock: float = 100.0):
        self.pace, self.asks, self.clock = pace, asks, clock
        self.workers, self.ahead, self.went = 1, NOTHING_AHEAD, list[float]()
        self.asked = 0
        self.ended = clock

    def call(
        self, many: float, one: float, before: Callable[[int], object] = lambda n: n
    ) -> int:
        """How many threads a call used; `before` is told that when it begins."""
        ahead = self.ahead
        since = self.clock - self.ended
        goes_on = len(self.went) < ahead.calls
        if not goes_on or (ahead.pause is not None and since > ahead.pause):
            self._tell()
            self.asked += 1
            self.workers = self.pace.choose(2, self.clock)
            ahead = None
        before(self.workers)
        seconds = many if self.workers == 2 else one
        begin, self.clock = self.clock, self.clock + seconds
        self.ended = self.clock
        if ahead is not None and seconds <= ahead.most:
            self.went.append(seconds)
            return self.workers
        self._tell()
        self.pace.note(self.workers, begin, self.clock)
        self.ahead = NOTHING_AHEAD if self.asks else self.pace.ahead()
        return self.workers

    def _tell(self) -> None:
        if self.went:
            went = self.went
            self.pace.note_run(Run(len(went), sum(went), min(went), self.ended))
        self.went = []


@pytest.fixture(params=[True, False], ids=["asks", "goes on"])
def asks(request: pytest.FixtureRequest) -> bool:
    return request.param


class Machine:
    """Calls take some time with two threads and with one, and may be preempted."""

    def __init__(self, asks: bool) -> None:
        self.preemptions = 7
        self.pace = Pace(lambda: self.preemptions)
        self.caller = Caller(self.pace, asks)

    def run(
        self, many: float, one: float, calls: int, preempted: bool = False, pause: float = 0.0
    ) -> list[int]:
        """How many threads each call used."""

        def begin(workers: int) -> None:
            self.preemptions += preempted and workers == 2

        used = []
        for _ in range(calls):
            self.caller.clock += pause
            self.preemptions += 100 * (pause > 0)
            used.append(self.caller.call(many, one, begin))
        return used


def test_a_quiet_machine_always_uses_all_threads(asks: bool):
    assert Machine(asks).run(1.0, 1.8, 100) == [2] * 100


def test_a_machine_that_becomes_busy_soon_uses_one_thread(asks: bool):
    machine = Machine(asks)
    machine.run(1.0, 1.8, 5)
    used = machine.run(20.0, 2.5, 1000, preempted=True)
    assert used[:6] == [2, 2, 1, 2, 1, 1]
    lost = used.count(2) * (20.0 - 2.5)
    assert 0 < lost < 2 * TRIALS * 1000 * 2.5 + 3 * 20.0


def test_a_machine_that_was_busy_from_the_start_is_found_by_preemptions(asks: bool):
    used = Machine(asks).run(20.0, 2.5, 100, preempted=True)
    assert used[:4] == [2, 2, 2, 1] and used.count(2) <= 5


@pytest.mark.parametrize("pause", [1.0, 40.0])
def test_a_busy_machine_is_found_where_calls_come_in_pairs(pause: float, asks: bool):
    machine, used = Machine(asks), []
    machine.run(20.0, 2.5, 5, preempted=True, pause=40.0)
    for _ in range(20):
        used += machine.run(20.0, 2.5, 1, preempted=True, pause=pause)
        used += machine.run(20.0, 2.5, 1, preempted=True)
    assert used.count(2) <= 8


def test_a_quiet_machine_with_a_slow_first_call_or_one_preemption_uses_all_threads(asks: bool):
    machine = Machine(asks)
    assert machine.run(30.0, 1.8, 1, preempted=True) == [2]
    assert machine.run(1.0, 1.8, 5) == [2] * 5
    assert machine.run(30.0, 1.8, 1, preempted=True) == [2]
    assert machine.run(1.0, 1.8, 100) == [2] * 100


def test_preemptions_between_calls_say_nothing_of_them(asks: bool):
    machine = Machine(asks)
    assert machine.run(2.0, 1.8, 6, pause=10.0) == [2] * 6
    machine.run(1.0, 1.8, 1, pause=10.0)
    assert machine.run(1.5, 1.8, 50, pause=10.0) == [2] * 50


def test_a_short_disturbance_costs_a_few_calls_alone(asks: bool):
    machine = Machine(asks)
    machine.run(1.0, 1.8, 5)
    machine.run(30.0, 1.8, 2, preempted=True)
    used = machine.run(1.0, 1.8, 100)
    assert used == [1] * SOON[0] + [2] * (100 - SOON[0])


def test_calls_after_a_disturbance_ask_unless_they_are_brief():
    for seconds, wary in (2e-3, True), (0.2e-3, False):
        machine = Machine(asks=False)
        machine.run(seconds, 1.8 * seconds, 5)
        machine.run(3 * seconds, 1.8 * seconds, 1, preempted=True)
        machine.caller.asked = 0
        machine.run(seconds, 1.8 * seconds, WARY)
        assert (machine.caller.asked == WARY) == wary
        machine.caller.asked = 0
        machine.run(seconds, 1.8 * seconds, WARY)
        assert machine.caller.asked <= 1


def test_when_the_machine_is_free_again_all_threads_come_back(asks: bool):
    machine = Machine(asks)
    machine.run(1.0, 1.8, 5)
    machine.run(20.0, 2.5, 30, preempted=True)
    used = machine.run(1.0, 1.8, 600)
    assert used[-100:] == [2] * 100


def test_all_threads_stay_where_one_is_slower_still(asks: bool):
    machine = Machine(asks)
    machine.run(1.0, 1.8, 5)
    used = machine.run(4.0, 9.0, 200, preempted=True)
    assert used.count(1) <= 200 * 4.0 * TRIALS / (9.0 - 4.0) + 2
    # Each time this proves right, it is looked into more rarely.
    assert machine.run(4.0, 9.0, 1000, preempted=True).count(1) <= 1000 * 4.0 * TRIALS / 5.0 / 6
    used = machine.run(40.0, 9.0, 400, preempted=True)
    assert used[:200].count(1) > 150 < used[200:].count(1)


def test_waking_threads_is_no_sign_of_a_busy_machine(asks: bool):
    """They sleep a millisecond after their last call."""
    machine, used, together = Machine(asks), list[int](), 0.0
    for number in range(2000):
        machine.caller.clock += 5e-3 if number % 4 == 0 else 0.0
        asleep = machine.caller.clock - together > 1e-3
        used += machine.run(150e-6 if asleep else 35e-6, 60e-6, 1)
        together = machine.caller.clock if used[-1] == 2 else together
    assert used == [2] * 2000
    machine.run(4e-3, 60e-6, 3, preempted=True)
    for _ in range(2000):
        asleep = machine.caller.clock - together > 1e-3
        used += machine.run(150e-6 if asleep else 35e-6, 60e-6, 1)
        together = machine.caller.clock if used[-1] == 2 else together
    assert used[-1000:] == [2] * 1000


def short_times(
    caller: Caller, many: float, one: float, calls: int, pause: float = 0.0
) -> list[int]:
    """Short calls with pauses between; how many threads each used."""
    used: list[int] = []
    for _ in range(calls):
        caller.clock += pause
        used.append(caller.call(many, one))
    return used


def test_short_calls_with_pauses_run_alone(asks: bool):
    assert short_times(Caller(ShortPace(), asks), 12e-6, 20e-6, 20, pause=2 * AWAKE) == [1] * 20


def test_short_calls_in_quick_succession_use_all_threads_where_that_is_faster(asks: bool):
    used = short_times(Caller(ShortPace(), asks), 12e-6, 20e-6, 4 * SHORT_RETRY)
    assert used[:4] == [1, 1, 2, 2]
    assert used.count(1) <= 2 + 4 * SHORT_TRIAL
    used = short_times(Caller(ShortPace(), asks), 30e-6, 20e-6, 4 * SHORT_RETRY)
    assert used.count(2) <= 2 + 4 * (SHORT_TRIAL + 1)


@pytest.mark.parametrize("slow", ["many", "one"])
def test_slow_first_calls_are_soon_forgotten(slow: str, asks: bool):
    caller = Caller(ShortPace(), asks)
    one, many = (20e-6, 60e-6) if slow == "many" else (60e-6, 12e-6)
    short_times(caller, many, one, 8)
    one, many = (20e-6, 12e-6) if slow == "many" else (11e-6, 12e-6)
    short_times(caller, many, one, 2 * SHORT_RETRY)
    used = short_times(caller, many, one, 100)
    assert used.count(2 if slow == "many" else 1) >= 100 - SHORT_TRIAL - 1


def test_a_short_call_that_woke_a_thread_says_nothing_of_the_next_ones(asks: bool):
    """Threads sleep a millisecond after their last call; to wake them takes 80 us."""
    caller, used, together = Caller(ShortPace(), asks), [], 0.0
    for _ in range(6 * SHORT_RETRY):
        many = 12e-6 if caller.clock - together < 1e-3 else 80e-6
        used.append(caller.call(many, 20e-6))
        together = caller.clock if used[-1] == 2 else together
    assert used.count(1) <= 2 + 6 * (SHORT_TRIAL + 1)
    # Where another program takes the processor, one thread is soon back.
    short_times(caller, 90e-6, 20e-6, 30)
    again = short_times(caller, 90e-6, 20e-6, SHORT_RETRY)
    assert again.count(1) >= SHORT_RETRY - 2 - SHORT_TRIAL


def test_short_calls_beside_busy_processes_seldom_wait_for_time_slices(asks: bool):
    caller = Caller(ShortPace(), asks)
    short_times(caller, 12e-6, 20e-6, 200)
    assert short_times(caller, 4e-3, 40e-6, 300).count(2) < 10
    used = short_times(caller, 4e-3, 40e-6, 20_000)
    lost, total = used.count(2) * 4e-3, used.count(2) * 4e-3 + used.count(1) * 40e-6
    assert 0 < lost <= TRIALS * total + SHORT_LOSS + 4e-3
    used = short_times(caller, 12e-6, 20e-6, 20_000)
    assert used[-1000:].count(1) <= 2 * SHORT_TRIAL


@pytest.mark.parametrize("many, one", [(12e-6, 20e-6), (30e-6, 4e-6), (6e-6, 5e-6)])
def test_trials_of_short_calls_cost_at_most_their_share(many: float, one: float, asks: bool):
    caller = Caller(ShortPace(), asks)
    short_times(caller, many, one, 20)
    used = short_times(caller, many, one, 100_000)
    slower = 2 if many > one else 1
    total = used.count(2) * many + used.count(1) * one
    trials = sum(a != slower == b for a, b in pairwise(used))
    lost = used.count(slower) * abs(many - one) + trials * SHORT_PRICE
    assert trials > 10
    assert lost <= TRIALS * total + SHORT_LOSS + SHORT_TRIAL * abs(many - one) + SHORT_PRICE


def test_a_busy_machine_is_asked_about_only_for_trials(asks: bool):
    machine = Machine(asks)
    machine.run(1e-3, 1.8e-3, 5)
    used = machine.run(20e-3, 2.5e-3, 5000, preempted=True)
    lost = used.count(2) * 17.5e-3
    assert used[-1000:].count(2) > 0
    assert lost <= TRIALS * (lost + 5000 * 2.5e-3) + 4 * 20e-3
    assert asks or machine.caller.asked < 5 + SOON[-1] + 4 * used.count(2)


def test_a_machine_that_became_slower_is_soon_asked_no_more_about():
    """Every call takes more than is usual of the best, and nothing disturbs them."""
    machine = Machine(asks=False)
    machine.run(100e-6, 180e-6, 5000)
    before = machine.caller.asked
    assert machine.run(160e-6, 290e-6, 5000) == [2] * 5000
    assert machine.caller.asked - before <= 10


def test_calls_that_go_on_are_asked_about_again_in_time():
    """Nearly all usual calls go by, none for ever."""
    for pace, many, one in ((Pace(lambda: 0), 1.0, 1.8), (ShortPace(), 12e-6, 20e-6)):
        caller = Caller(pace, False)
        short_times(caller, many, one, 20_000)
        assert 10 < caller.asked < 20_000 / 25
