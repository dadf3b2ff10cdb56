"""The number of threads of a call follows how long calls took."""

from infini_ir.runtime.pace import RETRY, Pace


def times(pace: Pace, many: float, one: float, calls: int) -> list[int]:
    """Run calls that take `many` seconds with two threads and `one` with one."""
    used = []
    for _ in range(calls):
        workers = pace.choose(2)
        used.append(workers)
        pace.note(workers, many if workers == 2 else one)
    return used


def test_a_quiet_machine_always_uses_all_threads():
    assert times(Pace(), 1.0, 1.8, 100) == [2] * 100


def test_a_busy_machine_soon_uses_one_thread_and_retries():
    pace = Pace()
    times(pace, 1.0, 1.8, 5)
    used = times(pace, 20.0, 2.5, 4 * RETRY)
    assert used[1] == 1
    assert used.count(2) <= 6
    assert 2 in used[RETRY:]


def test_when_the_machine_is_free_again_all_threads_come_back():
    pace = Pace()
    times(pace, 1.0, 1.8, 5)
    times(pace, 20.0, 2.5, 30)
    used = times(pace, 1.0, 1.8, 2 * RETRY)
    assert used[-RETRY // 2 :] == [2] * (RETRY // 2)


def test_all_threads_stay_where_one_is_slower_still():
    pace = Pace()
    times(pace, 1.0, 1.8, 5)
    used = times(pace, 4.0, 9.0, 60)
    assert used.count(1) <= 4
