"""Bad inputs as generators, not as files: settings, records, arrays, checkpoints, indexes, text for a terminal.

Strategies of hypothesis where a property is asked of any of them; plain lists where each is a case by itself.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

# ── bytes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def mutations(whole: bytes, count: int, seed: int = 7) -> Iterator[bytes]:
    """Damaged copies of a file: cut, bits flipped, sizes blown up, blocks zeroed, moved and repeated.

    The same ones for the same seed.
    """
    yield b""
    yield b"not a file of this kind at all"
    rng = random.Random(seed)
    for _ in range(count - 2):
        data = bytearray(whole)
        position = rng.randrange(len(data))
        match rng.randrange(6):
            case 0:
                del data[position:]
            case 1:
                data[position] ^= 1 << rng.randrange(8)
            case 2:  # where most sizes stand
                position = rng.randrange(min(128, len(data) - 8))
                data[position : position + 8] = struct.pack("<q", rng.choice([-1, 0, 1 << 31, 1 << 40, (1 << 63) - 1]))
            case 3:
                data[position : position + 64] = bytes(len(data[position : position + 64]))
            case 4:
                data[position:position] = data[:64]
            case _:
                data[:256] = rng.randbytes(256)
        yield bytes(data)


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """Any cut, flip, zeroed block or noise of a file that was whole."""
    size = len(whole)
    cut = st.integers(0, size - 1).map(lambda end: whole[:end])
    flipped = st.tuples(st.integers(0, size - 1), st.integers(1, 255)).map(
        lambda at: whole[: at[0]] + bytes([whole[at[0]] ^ at[1]]) + whole[at[0] + 1 :]
    )
    zeroed = st.integers(0, size - 1).map(
        lambda start: whole[:start] + bytes(min(64, size - start)) + whole[start + 64 :]
    )
    repeated = st.just(whole + whole)
    return st.one_of(cut, flipped, zeroed, repeated, st.binary(max_size=400))


# ── text for a terminal ──────────────────────────────────────────────────────────────────────────────────────────────

ESCAPES = (
    "\x1b]0;PWNED\x07",
    "\x1b]2;PWNED\x1b\\",
    "\x1b]7;file://PWNED\x07",
    "\x1b]8;;http://PWNED\x07",
    "\x1b]52;c;UFdORUQ=\x07",
    "\x1b]1337;PWNED\x07",
    "\x1bPqPWNED\x1b\\",
    "\x1b_PWNED\x1b\\",
    "\x1b^PWNED\x1b\\",
    "\x1bXPWNED\x1b\\",
    "\x1bktitle\x1b\\",
    "\x1b[2J\x1b[6n\x1bc",
    "\x1b[?1049l\x1b[?2004h\x1b[21t",
    "\x9b6n\x9d0;PWNED\x9c\x90PWNED\x9c\x9fPWNED\x9c",
    "\u202e\u2066\u200b\u2028\U000e0041\ufeff",
    "\x00\x07\x08\x0b\x0c\x0e\x0f\x18\x1a\x7f",
    "a" + "\u0301" * 10_000,
    "\ud800\udfff",
    "👩\u200d👩\u200d👧漢字\u115f",
    "\x1b]0;PWNED",
    "\x1b",
)
"""Titles, clipboard, links, device strings, queries, reset, C1 forms, bidi, marks, surrogates, and torn ones.

`PWNED` is text that only a sequence holds: where it is drawn, a sequence came through."""

MARKUP = (
    "[red]R[/]",
    "[INFO] ok [/tmp/x]",
    "[@click=app.quit]click[/]",
    "[@click=app.act('kill')]k[/]",
    "[link=http://x]y[/link]",
    "[bold",
    "[/]",
    "[/red]",
    "[[",
    "]]",
    "[$error]e",
    "[on red blink]b[/on]",
    "[not a style]",
    "[#gggggg]x",
    "\\[escaped]",
    "{markup}",
    "%(name)s %s %d {0}",
    ":smile:",
    "`code` **bold** <b>html</b>",
    "[1:2] tensor[0]",
)
"""What a toolkit might parse as its own."""


def texts() -> st.SearchStrategy[str]:
    """Any text, often with a payload in it."""
    payload = st.sampled_from(ESCAPES + MARKUP)
    return st.lists(st.one_of(payload, st.text(max_size=20)), max_size=5).map("".join)


# ── runs.toml ────────────────────────────────────────────────────────────────────────────────────────────────────────

BAD_TOMLS: dict[str, bytes] = {
    "empty": b"",
    "only a mark": b"\xef\xbb\xbf",
    "latin-1": "[run.a]\ntitle = 'é'".encode("latin-1"),
    "NUL": b"[run.a]\n\x00",
    "a megabyte and more": b"#" * 1_000_001,
    "2,000-deep array": b"a = " + b"[" * 2000 + b"]" * 2000,
    "500-deep table": b"[" + b".".join([b"a"] * 500) + b"]",
    "deep inline table": b"a = " + b"{a=" * 1000 + b"1" + b"}" * 1000,
    "a key twice": b"[run.a]\nepochs = 1\nepochs = 2",
    "5,000 digits": b"[run.a]\nepochs = " + b"9" * 5000,
    "not a number": b"[run.a.loss]\ntemperature = nan",
    "infinite": b"[run.a.loss]\ntemperature = inf",
    "negative": b"[run.a]\nepochs = -1",
    "wrong type": b"[run.a]\nepochs = 'ten'",
    "date": b"[run.a]\nepochs = 2020-01-01",
    "a string for a command": b"[room]\nnotify = 'rm -rf /'\n[run.a]",
    "a run as a list": b"[[run]]\nepochs = 1",
    "escapes in a key": b'[run."\\u001b]0;PWNED\\u0007"]\nepochs = 1',
    "escapes in a value": b'[run.a]\ntitel = "\\u001b]0;PWNED\\u0007"',
    "out of the folder": b'[run."../../x"]\nepochs = 1',
    "absolute name": b'[run."/etc/x"]\nepochs = 1',
    "hidden name": b'[run.".x"]\nepochs = 1',
    "name with a NUL": b'[run."a\\u0000"]\nepochs = 1',
    "endless name": b'[run."' + b"a" * 5000 + b'"]\nepochs = 1',
    "evaluation out of the folder": b'[run.a]\n[eval."../x"]\nlimit = 1',
    "runs_dir with a NUL": b'[room]\nruns_dir = "a\\u0000b"\n[run.a]',
    "unknown table": b"[cluster]\nkind = 'slurm'\n[run.a]",
    "unknown environment": b"[run.a]\nenv = { LD_PRELOAD = '/tmp/x.so' }",
    "unknown command": b"[run.a]\nargv = ['rm', '-rf', '/']",
    "corpus that is none": b"[data]\ncorpus = '/dev/zero'\n[run.a]",
    "patch of nothing": b"[run.a]\n[[fix]]\ntitle='x'\nreason='y'\ntries=[{}]",
}

WHOLE_TOML = b"""
[room]
confirm = true
compare = ["a", "b"]
[run.a]
epochs = 3
[run.a.loss]
temperature = 0.1
[run.b]
[[gate]]
at_least = 0.5
"""

_scalars = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.booleans(), texts(), st.none().map(lambda _none: "2020-01-01")
)


@st.composite
def tomls(draw: st.DrawFn) -> bytes:
    """Settings whose keys are ours or nearly, with any values; or damage to a file that was right."""
    if draw(st.booleans()):
        return draw(
            damaged(b'[room]\nconfirm = true\n[run.a]\nepochs = 3\n[run.a.loss]\ntemperature = 0.1\n"k" = [1, 2]\n')
        )
    lines = []
    for _ in range(draw(st.integers(0, 6))):
        table = draw(st.sampled_from(["room", "data", "run.a", "run.a.loss", "check", "autopilot", "eval.smoke", "x"]))
        key = draw(
            st.one_of(st.sampled_from(["epochs", "runs_dir", "corpus", "temperature", "limit", "at_epoch"]), texts())
        )
        value = draw(st.one_of(_scalars, st.lists(_scalars, max_size=3)))
        lines.append(f"[{table}]\n{json.dumps(key)} = {_toml(value)}")
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────

BAD_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "null", '"0.9"', "true", "[0.9]", "{}", "9" * 5000, "0x1", "-")
"""What may stand where a metric should, as JSON or nearly."""

BAD_JSONS: dict[str, bytes] = {
    "empty": b"",
    "mark": b"\xef\xbb\xbf[]",
    "list in a list": b"[[[]]]",
    "text": b'"epoch"',
    "100,000 deep": b"[" * 100_000,
    "deep and closed": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "5,000 digits": b'[{"epoch": ' + b"9" * 5000 + b"}]",
    "epoch as text": b'[{"epoch": "2", "val_cosine": 0.9}]',
    "epoch below 0": b'[{"epoch": -1, "val_cosine": 0.9}]',
    "epoch of 2**63": b'[{"epoch": 9223372036854775808, "val_cosine": 0.9}]',
    "epoch that is no whole number": b'[{"epoch": 2.5, "val_cosine": 0.9}]',
    "epoch that is not finite": b'[{"epoch": Infinity, "val_cosine": 0.9}, {"epoch": NaN}]',
    "epoch that is a list": b'[{"epoch": [2]}]',
    "rows that are none": b"[1, null, true, []]",
    "torn": b'[{"epoch": 2, "val_cos',
    "zeros": bytes(4096),
    "not UTF-8": b'[{"epoch": 2, "\xff": 1}]',
    "17 MB": b'[{"epoch": 2, "note": "' + b"x" * 17_000_000 + b'"}]',
}


def crc_line(body: bytes) -> bytes:
    """A line of an events file whose checksum is right, whatever it says."""
    return b'%b,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


def event_bodies() -> st.SearchStrategy[bytes]:
    """Bodies of event lines, each an object in JSON, few of them sensible."""
    number = st.sampled_from(BAD_NUMBERS)
    kind = st.sampled_from(["epoch_ended", "gate_judged", "run_started", "run_failed", "of_a_later_version", ""])
    return st.builds(
        lambda kind, seq, value, text: (
            f'{{"kind":"{kind}","seq":{seq},"t":{value},"message":{json.dumps(text)},'
            f'"name":{json.dumps(text)},"epoch":{value},"value":{value},"record":{{"epoch":2,"val_cosine":{value}}}}}'
        ).encode("utf-8", "surrogatepass"),
        kind,
        number,
        number,
        texts(),
    )


# ── arrays ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def npy(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """A .npy file whose header says whatever it is told."""
    text = header.encode("latin-1") + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


def _described(descr: str, shape: str, order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


BAD_ARRAYS: dict[str, bytes] = {
    "empty": b"",
    "bad magic": b"\x93NUMPX\x01\x00" + bytes(120),
    "torn header": npy(_described("'<f4'", "(2, 3)"))[:30],
    "header that is code": npy("__import__('os').system('touch /tmp/pwned')"),
    "header of 70,000 bytes": npy(_described("'<f4'", "(1,)") + " " * 60_000, bytes(4)),
    "objects": npy(_described("'|O'", "(1,)"), b"cposix\nsystem\n"),
    "objects in a structure": npy(_described("[('a', '|O')]", "(1,)"), bytes(8)),
    "4 TB": npy(_described("'<f4'", "(1099511627776,)"), bytes(4)),
    "overflowing shape": npy(_described("'<f4'", "(4294967296, 4294967296)"), bytes(4)),
    "negative": npy(_described("'<f4'", "(-1,)"), bytes(4)),
    "shape of no numbers": npy(_described("'<f4'", "('a',)"), bytes(4)),
    "shape that is no tuple": npy(_described("'<f4'", "3"), bytes(12)),
    "elements of no bytes": npy(_described("'|S0'", "(9,)")),
    "unknown type": npy(_described("'<q9'", "(1,)"), bytes(9)),
    "too few bytes": npy(_described("'<f4'", "(8,)"), bytes(4)),
    "too many bytes": npy(_described("'<f4'", "(1,)"), bytes(40)),
    "raw pickle": b"\x80\x04cposix\nsystem\nX\x00\x00\x00\x00\x85R.",
    "future version": npy(_described("'<f4'", "(1,)"), bytes(4), version=(9, 0)),
}
"""Members that no archive may hold."""


def npz(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of members as they are; names may repeat."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return buffer.getvalue()


def bomb() -> bytes:
    """An archive of some kilobytes that says it unpacks to sixteen gigabytes."""
    header = npy(_described("'|u1'", "(16000000000,)"))
    data = bytearray(npz([("contexts.npy", header + bytes(4_000_000))], zipfile.ZIP_DEFLATED))
    said = struct.pack("<I", len(header) + 4_000_000)
    while (at := data.find(said)) >= 0:
        data[at : at + 4] = struct.pack("<I", (len(header) + 16_000_000_000) & 0xFFFFFFFF)
    return bytes(data)


def encrypted() -> bytes:
    """An archive that says its member is encrypted."""
    data = bytearray(npz([("contexts.npy", npy(_described("'<f4'", "(1,)"), bytes(4)))]))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)
