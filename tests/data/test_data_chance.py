from collections import Counter

from dlm.data.chance import between, choose, pick, shuffled, stream


def test_a_stream_is_the_same_on_every_machine():
    random = stream("a", 1)
    assert [pick(random, 1000) for _ in range(5)] == [331, 885, 783, 140, 543]
    assert shuffled(stream("b"), range(8)) == [6, 2, 1, 4, 7, 3, 0, 5]


def test_streams_with_different_parts_differ():
    assert stream(1, "x").random() != stream(1, "y").random()


def test_pick_covers_its_range_evenly():
    random = stream("even")
    counts = Counter(pick(random, 4) for _ in range(4000))
    assert sorted(counts) == [0, 1, 2, 3] and min(counts.values()) > 850


def test_between_includes_both_ends_and_choose_takes_any():
    random = stream("ends")
    assert {between(random, 3, 5) for _ in range(100)} == {3, 4, 5}
    assert {choose(random, "ab") for _ in range(50)} == {"a", "b"}


def test_shuffled_is_uniform_and_leaves_its_input_alone():
    items = [1, 2, 3]
    random = stream("orders")
    counts = Counter(tuple(shuffled(random, items)) for _ in range(6000))
    assert len(counts) == 6 and min(counts.values()) > 850
    assert items == [1, 2, 3]
