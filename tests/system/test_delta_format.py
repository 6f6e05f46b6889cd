# SPDX-License-Identifier: MIT
"""The tests' own maker and applier of deltas (pullet_delta.py): what the one makes the other applies, and it refuses
every patch that is wrong. Pullet's own applier says the same of each."""

import os
import pathlib
import random
import subprocess

import pytest

import pullet_delta as delta

DICE = random.Random(13)
BASE = DICE.randbytes(100_000)


PAIRS = {
    "nothing from nothing": (b"", b""),
    "from nothing": (b"", BASE),
    "to nothing": (BASE, b""),
    "the same": (BASE, BASE),
    "less than a block": (b"abc", b"abd"),
    "a byte in front": (BASE, b"x" + BASE),
    "the front is gone": (BASE, BASE[1000:]),
    "cut short": (BASE, BASE[:-1000]),
    "single bytes differ": (BASE, delta.edited(BASE, DICE, 300)),
    "halves change places": (BASE, BASE[50_048:] + BASE[:50_048]),
    "all of it twice": (BASE, BASE + BASE),
    "something else": (BASE, DICE.randbytes(50_000)),
    "old ends with the new data": (BASE, DICE.randbytes(999) + BASE[-4096:]),
    "a word in many places": (BASE[:64_000] * 4, delta.edited(BASE[:64_000] * 4, DICE, 50) + b"tail"),
}


@pytest.fixture
def both(tmp_path):
    """Both appliers -> the new data, or None if they refuse the patch."""

    def apply(old, patch, most=1 << 30):
        (tmp_path / "old").write_bytes(old)
        (tmp_path / "patch").write_bytes(patch)
        done = subprocess.run([pathlib.Path(os.environ["PULLET_BUILD"]) / "tests/patch-driver", "apply",
                               tmp_path / "old", tmp_path / "patch", tmp_path / "new", str(most)],
                              capture_output=True, check=False, timeout=60)
        assert done.returncode in (0, 1) and b"Sanitizer" not in done.stderr, done.stderr
        try:
            new = delta.apply(old, patch)
        except delta.Malformed as error:
            print(f"{error} / {done.stderr.decode()}")
            assert done.returncode == 1 and done.stderr.startswith((b"-74 ", b"-27 ")), done.stderr  # EBADMSG, EFBIG
            return None
        assert (done.returncode, (tmp_path / "new").read_bytes()) == (0, new), done.stderr
        return new

    return apply


@pytest.mark.parametrize("pair", PAIRS)
def test_what_is_made_is_applied(both, pair):
    old, new = PAIRS[pair]
    assert both(old, delta.make(old, new)) == new


@pytest.mark.parametrize("pair, most", [("the same", 200), ("a byte in front", 200), ("single bytes differ", 4000),
                                        ("halves change places", 250), ("all of it twice", 250)])
def test_it_is_a_delta(pair, most):
    assert len(delta.make(*PAIRS[pair])) < most


def test_the_layout_is_that_of_the_page(both):
    """Numbers written by hand, so that maker and applier cannot be wrong together."""
    frames = [delta.zstd(bytes(part)) for part in ([5, 1, 3, 2, 0, 0], [2, 1, 4, 0], [1], b"!")]
    patch = b"PLD1\n\0\0\0" + b"".join(n.to_bytes(8, "little") for n in (10, 8, *map(len, frames)))
    assert len(patch) == 56
    assert both(b"abcdefghij", patch + b"".join(frames)) == b"abdde!de"
    assert delta.varint(300) == b"\xac\2" and [delta.zigzag(n) for n in (0, -1, 1, -2)] == [0, 1, 2, 3]


@pytest.mark.parametrize("wrong", [name for name in delta.WRONG_PATCH if "artifact" not in name])
def test_a_wrong_patch_is_refused(both, wrong):
    made = delta.Delta(BASE, [delta.edited(BASE, DICE, 10), b"x" * 512], 0, (delta.OTHER, delta.OTHER), {})
    made.patch = delta.make(made.old, made.new)
    assert both(made.old, made.patch) == made.new
    delta.WRONG[wrong](made)
    new = both(made.old, made.patch)
    assert (new != made.new) if wrong == "other content" else new is None


@pytest.mark.parametrize("seed", range(60))
def test_both_say_the_same_of_a_mutation(both, seed):
    """Of the header and of what is in the frames, which zstd would mostly refuse."""
    dice = random.Random(seed)
    old, new = PAIRS["a word in many places"]
    if seed % 4 == 0:
        patch = bytearray(delta.make(old, new))
        patch[dice.randrange(56)] ^= dice.randrange(1, 256)
    else:
        ops, copies, literal = delta.operations(old, new)
        runs, values = delta.differences(old, new, copies)
        parts = [bytearray(part) for part in (*delta.streams(ops, runs), values, literal)]
        for _ in range(dice.randint(1, 3)):
            part = dice.choice([part for part in parts if part])
            at = dice.randrange(len(part))
            part[at:at + 1] = dice.choice([b"", bytes([dice.randrange(256)]), bytes([part[at] ^ 1]), bytes([part[at], 0])])
        patch = delta.pack(len(old), len(new), [delta.zstd(bytes(part)) for part in parts])
    new = both(old, bytes(patch))
    assert new is None or len(new) == int.from_bytes(patch[16:24], "little")


def test_chain_ids():
    """The example of image-spec, config.md: the ChainID of one layer is its diff_id; of more, a digest of both."""
    a, b = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    assert delta.chain_ids([a, b]) == [a, delta.digest_of(f"{a} {b}".encode())]
