"""Who may be in memory: whatever the engines and their sizes, nobody is put out at work, nothing is overfilled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.referee import TURN, Never, Resident, Start, Swap, Wait, decide, eta

SIZES = st.integers(1, 100)


@st.composite
def lodgers(draw: st.DrawFn) -> list[Resident]:
    count = draw(st.integers(0, 6))
    return [
        Resident(
            key=f"e{number}",
            memory=draw(SIZES),
            device=draw(st.sampled_from(["cpu", "cuda"])),
            busy=draw(st.booleans()),
            idle=draw(st.floats(0, 1e4)),
            served=draw(st.floats(0, 3 * TURN)),
        )
        for number in range(count)
    ]


@given(SIZES, st.integers(0, 100), lodgers(), st.floats(0, 3 * TURN))
def test_what_is_decided_makes_room_and_ends_no_work(
    memory: int, free: int, residents: list[Resident], waited: float
) -> None:
    need = Resident(key="new", memory=memory)
    here = {each.key: each for each in residents if each.device == "cpu"}
    match decide(need, free, residents, waited=waited):
        case Start():
            assert memory <= free
        case Swap(out=out):
            assert memory > free
            assert not any(here[key].busy for key in out)
            assert free + sum(here[key].memory for key in out) >= memory
            for key in out:  # nobody leaves for nothing
                assert free + sum(here[other].memory for other in out if other != key) < memory
        case Wait(hold=hold):
            idle = sum(each.memory for each in here.values() if not each.busy)
            assert free + idle < memory  # else it would be a swap
            had = sum(each.memory for each in here.values() if not each.busy or each.served >= TURN)
            assert bool(hold) == (waited >= TURN and free + had >= memory)
            if hold:
                assert all(not here[key].busy or here[key].served >= TURN for key in hold)
                assert free + sum(here[key].memory for key in hold) >= memory
        case Never(missing=missing):
            assert free + sum(each.memory for each in here.values()) + missing == memory


@given(lodgers(), SIZES)
def test_whoever_fits_alone_gets_in_once_the_others_rest(residents: list[Resident], memory: int) -> None:
    budget = max(memory, sum(each.memory for each in residents if each.device == "cpu"))
    resting = [Resident(key=each.key, memory=each.memory, device=each.device) for each in residents]
    free = budget - sum(each.memory for each in resting if each.device == "cpu")
    need = Resident(key="new", memory=memory)
    verdict = decide(need, free, resting)
    if isinstance(verdict, Swap):
        staying = [each for each in resting if each.key not in verdict.out]
        verdict = decide(need, budget - sum(each.memory for each in staying if each.device == "cpu"), staying)
    assert verdict == Start()


def test_the_longest_idle_leaves_first() -> None:
    residents = [Resident(key="old", memory=5, idle=90.0), Resident(key="new", memory=5, idle=9.0)]
    assert decide(Resident(key="x", memory=4), 0, residents) == Swap(out=("old",))


def test_one_large_engine_leaves_rather_than_a_small_one_that_would_not_do() -> None:
    residents = [Resident(key="small", memory=1, idle=90.0), Resident(key="large", memory=8, idle=9.0)]
    assert decide(Resident(key="x", memory=8), 0, residents) == Swap(out=("large",))


def test_an_engine_on_the_gpu_is_not_put_out_for_one_on_the_cpu() -> None:
    residents = [Resident(key="gpu", memory=50, device="cuda")]
    assert decide(Resident(key="x", memory=8), 2, residents) == Never(missing=6)


def test_a_busy_engine_holds_only_after_a_turn() -> None:
    busy = [Resident(key="busy", memory=8, busy=True)]
    need = Resident(key="x", memory=8)
    assert decide(need, 0, busy, waited=TURN - 1) == Wait()
    assert decide(need, 0, busy, waited=TURN) == Wait(hold=("busy",))


def test_one_that_has_just_loaded_is_not_made_to_hold_before_it_has_answered() -> None:
    loaded = [Resident(key="new", memory=8, busy=True, served=0.1)]
    assert decide(Resident(key="x", memory=8), 0, loaded, waited=10 * TURN) == Wait()


@given(st.integers(0, 20), st.floats(0, 500))
def test_who_is_further_back_is_told_to_come_back_later(ahead: int, loading: float) -> None:
    assert 0 < eta(ahead, loading) < eta(ahead + 1, loading)
