"""A mutation changes an input and keeps its form."""

from __future__ import annotations

import io
import json
import pickletools
import zipfile
from random import Random

import pytest
from format_targets import good_bundle, good_members
from fuzz_targets import TARGETS
from fuzzkit import Target, joined, parts
from hypothesis import given
from hypothesis import strategies as st
from mutation import json_lines, json_value, one_part, opcodes, sized_json, some_bytes, words, zip_fields

SEEDS = st.integers(0, 2**32)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
OWN = [target for target in TARGETS.values() if target.mutate is not None]


@given(value=JSON, seed=SEEDS)
def test_changed_json_is_json(value: object, seed: int) -> None:
    made = json_value(json.dumps(value).encode(), Random(seed))
    assert made is not None
    json.loads(made.decode(errors="surrogatepass"))


@given(data=st.binary(max_size=60), seed=SEEDS)
def test_any_bytes_are_changed_or_do_not_have_the_form(data: bytes, seed: int) -> None:
    mutations = [
        json_value,
        json_lines,
        words,
        sized_json,
        zip_fields,
        opcodes,
        one_part(json_value),
        some_bytes,
    ]
    for mutate in mutations:
        made = mutate(data, Random(seed))
        assert made is None or isinstance(made, bytes)


@pytest.mark.parametrize("target", OWN, ids=[target.name for target in OWN])
def test_what_real_writers_make_is_changed_and_often_still_read(target: Target) -> None:
    assert target.mutate is not None
    for seed in target.seeds():
        changed = {target.mutate(seed, Random(number)) for number in range(40)} - {None, seed}
        assert len(changed) > 5


def test_the_same_seed_changes_the_same() -> None:
    manifest = good_members()["datapackage.json"]
    assert json_value(manifest, Random(7)) == json_value(manifest, Random(7))


def test_fields_of_a_zip_file_are_changed_and_nothing_else() -> None:
    data = good_bundle()
    names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    for seed in range(50):
        made = zip_fields(data, Random(seed))
        assert made is not None
        assert sum(one != two for one, two in zip(data, made, strict=True)) <= 4
    assert len(names) > 5


def test_a_part_is_changed_and_the_lengths_fit() -> None:
    data = joined([b"{}", b"[1]"])
    for seed in range(20):
        made = one_part(json_value)(data, Random(seed))
        assert made is not None
        assert joined(parts(made)) == made


def test_opcodes_stay_opcodes() -> None:
    plain = next(seed for seed in TARGETS["checkpoint"].seeds() if seed.startswith(b"\x80\x04"))
    read = 0
    for seed in range(50):
        made = opcodes(plain, Random(seed))
        assert made is not None
        try:
            read += len(list(pickletools.genops(made))) > 0
        except ValueError:  # without its last opcode
            continue
    assert read > 40
