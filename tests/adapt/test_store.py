"""Records on disk: kept whole through kills, damage, full disks and several writers."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.adapt import places as places_module
from whenwhere.adapt.places import KEY, Places
from whenwhere.adapt.store import DamagedRecord, DiskFull, Store

SIZE = 1000


def keys_of(*numbers):
    return np.array([int(n).to_bytes(8, "little") * 4 for n in numbers], KEY)


def records_of(*numbers):
    return np.stack([np.random.default_rng(n).integers(0, 256, SIZE, np.uint8) for n in numbers])


def put(store, *numbers):
    store.append(keys_of(*numbers), records_of(*numbers))


def whole(store, *numbers):
    found = store.find(keys_of(*numbers))
    return [int(p) >= 0 and np.array_equal(store.read(int(p)), records_of(n)[0]) for n, p in zip(numbers, found)]


def test_smaller_shards_at_reopening_leave_the_larger_ones_readable(tmp_path):
    large = Store(tmp_path, SIZE, shard_bytes=6 * SIZE)
    put(large, 1, 2, 3, 4)
    large.close()
    small = Store(tmp_path, SIZE, shard_bytes=2 * SIZE)
    assert whole(small, 4, 1, 2, 3) == [True] * 4
    put(small, 5, 6, 7)
    assert whole(small, *range(1, 8)) == [True] * 7 and small.verify() == 0


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10**9), st.booleans()), max_size=80))
@settings(max_examples=60, deadline=None)
def test_places_are_a_dictionary(operations):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places_module, "_MERGE", 4)
        found, expected = Places(), {}
        for n, place, drop in operations:
            if drop and n in expected:
                gone = expected[n]
                found.drop(gone)
                expected = {k: v for k, v in expected.items() if v != gone}
            elif not drop and place not in expected.values():
                found.put(keys_of(n), np.array([place]))
                expected[n] = place
        assert found.find(keys_of(*range(41))).tolist() == [expected.get(n, -1) for n in range(41)]
        assert len(found) == len(expected)


def test_a_record_comes_back_in_this_process_in_another_and_after_reopening(tmp_path):
    store = Store(tmp_path, SIZE, shard_bytes=3 * SIZE)
    put(store, 1, 2)
    put(store, 3, 4, 5, 6, 7)
    other = Store(tmp_path, SIZE, shard_bytes=3 * SIZE)
    moved = pickle.loads(pickle.dumps(store))  # as a worker process gets it
    put(store, 8)
    for reader in (store, other, moved):
        reader.refresh()
        assert whole(reader, *range(1, 10)) == [True] * 8 + [False] and len(reader) == 8
    assert sorted(p.name for p in tmp_path.glob("*.data")) == ["0000.data", "0001.data", "0002.data"]


def test_two_writers_at_once_keep_out_of_each_others_way(tmp_path):
    one, two = Store(tmp_path, SIZE), Store(tmp_path, SIZE)
    for n in range(0, 20, 2):
        put(one, n)
        put(two, n + 1)
    assert len(list(tmp_path.glob("*.data"))) == 2
    for store in (one, two, Store(tmp_path, SIZE)):
        store.refresh()
        assert all(whole(store, *range(20)))
    one.close()
    two.close()
    third = Store(tmp_path, SIZE)
    put(third, 20)  # goes on with a file that was given up
    assert len(list(tmp_path.glob("*.data"))) == 2 and all(whole(third, *range(21)))


FILLER = """
import sys, numpy as np
sys.path[:0] = {path!r}
from adapt.test_store import SIZE, put
from whenwhere.adapt.store import Store
store = Store({folder!r}, SIZE, shard_bytes=200 * SIZE)
print("ready", flush=True)
for n in range({first}, {last}):
    put(store, n)
"""


def filler(folder, first, last):
    code = FILLER.format(path=sys.path, folder=str(folder), first=first, last=last)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_processes_fill_together_and_one_killed_in_the_middle_leaves_whole_records(tmp_path):
    killed = filler(tmp_path, 0, 10**9)
    killed.stdout.readline()
    deadline = time.monotonic() + 60

    def wait_for(records):
        while sum(p.stat().st_size for p in tmp_path.glob("*.index")) < 40 * records:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    wait_for(50)
    other = filler(tmp_path, 10**9, 10**9 + 500)
    other.stdout.readline()
    wait_for(300)
    killed.kill()
    assert killed.wait() < 0 and other.wait() == 0
    store = Store(tmp_path, SIZE, shard_bytes=200 * SIZE)
    assert all(whole(store, *range(10**9, 10**9 + 500)))
    survived = len(store) - 500
    assert survived > 0 and all(whole(store, *range(survived))) and store.verify() == 0
    put(store, survived)  # the lock and the tail of the killed one are no hindrance
    assert all(whole(store, *range(survived + 1)))
    killed.stdout.close()
    other.stdout.close()


@pytest.mark.parametrize("torn", ["record", "entry", "both"])
def test_a_torn_tail_is_overwritten(tmp_path, torn):
    store = Store(tmp_path, SIZE)
    put(store, 1, 2)
    store.close()
    with (tmp_path / "0000.data").open("ab") as data, (tmp_path / "0000.index").open("ab") as index:
        if torn != "entry":
            data.write(b"x" * 700)
        if torn != "record":
            index.write(b"y" * 13)
    again = Store(tmp_path, SIZE)
    assert whole(again, 1, 2, 3) == [True, True, False]
    put(again, 3)
    assert all(whole(again, 1, 2, 3)) and all(whole(Store(tmp_path, SIZE), 1, 2, 3))
    assert (tmp_path / "0000.data").stat().st_size == 3 * SIZE


@pytest.mark.parametrize("kind", ["data", "index"])
@pytest.mark.parametrize("place", [0.0, 0.4, 0.99])
def test_one_wrong_bit_is_noticed_and_the_record_can_be_written_again(tmp_path, kind, place):
    store = Store(tmp_path, SIZE)
    put(store, 1, 2, 3)
    store.close()
    path = store.path(0, kind)
    content = bytearray(path.read_bytes())
    size = SIZE if kind == "data" else 40
    content[size + int(place * size)] ^= 8  # in the second record
    path.write_bytes(content)
    again = Store(tmp_path, SIZE)
    if kind == "data":
        with pytest.raises(DamagedRecord, match="record 1 of .* is damaged.*fill the cache again"):
            whole(again, 2)
    for reader in (again, Store(tmp_path, SIZE)):
        assert whole(reader, 1, 2, 3) == [True, False, True] and len(reader) == 2
    put(again, 2)
    for reader in (again, Store(tmp_path, SIZE)):
        assert all(whole(reader, 1, 2, 3))


def test_verify_counts_what_is_damaged(tmp_path):
    store = Store(tmp_path, SIZE)
    put(store, *range(6))
    assert all(whole(store, *range(6))) and store.verify() == 0
    with (tmp_path / "0000.data").open("r+b") as data:
        for n in (1, 4):
            data.seek(n * SIZE + 5)
            data.write(b"damage")
    assert store.verify() == 2 and store.verify() == 0
    assert whole(store, *range(6)) == [True, False, True, True, False, True]


def test_a_data_file_cut_short_under_a_reader_is_an_error_not_a_crash(tmp_path):
    store = Store(tmp_path, SIZE)
    put(store, *range(6))
    assert all(whole(store, 0, 5))
    os.truncate(tmp_path / "0000.data", 2 * SIZE + 3)
    with pytest.raises(DamagedRecord, match="2003 bytes long, not 6000"):
        whole(store, 5)
    assert all(whole(store, 0, 1)) and whole(Store(tmp_path, SIZE), 0, 1, 2, 5) == [True, True, False, False]


FULL = """
import resource, sys
sys.path[:0] = {path!r}
from adapt.test_store import SIZE, put, whole
from whenwhere.adapt.store import DiskFull, Store
store = Store({folder!r}, SIZE)
put(store, 1, 2)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(4.5 * SIZE), resource.RLIM_INFINITY))
try:
    put(store, 3, 4, 5, 6)
except DiskFull as error:
    print(error)
put(store, 3, 4)
print(whole(store, 1, 2, 3, 4, 5))
"""


def test_a_full_disk_is_told_and_loses_nothing(tmp_path):
    code = FULL.format(path=sys.path, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, state = done.stdout.splitlines()
    assert "no room for 4 more records of 1000 bytes" in message and "what was written stays" in message
    assert state == "[True, True, True, True, False]"
    store = Store(tmp_path, SIZE)
    put(store, 5)
    assert all(whole(store, 1, 2, 3, 4, 5)) and issubclass(DiskFull, ValueError)


def test_a_child_by_fork_does_not_write_into_the_parents_file(tmp_path):
    store = Store(tmp_path, SIZE)
    put(store, 1)
    child = os.fork()
    if not child:
        try:
            put(store, 100, 101)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    put(store, 2)
    store.refresh()
    assert all(whole(store, 1, 2, 100, 101)) and len(list(tmp_path.glob("*.data"))) == 2


def test_many_keys_are_looked_up_quickly(tmp_path):
    count = 200_000
    words = np.random.default_rng(0).integers(0, 2**63, (count, 4), np.uint64)
    keys = words.view(KEY).reshape(-1)
    places = Places()
    places.put(keys, np.arange(count))
    assert not places._recent and np.array_equal(places.find(keys[:5000]), np.arange(5000))
    assert len(places) == count
