"""An answer seen as it comes about: recorded without changing it, kept, drawn."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from doubles import small_denoiser
from PIL import Image
from rich.console import Console
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from dlm.errors import DataError
from dlm.sampling import Sampler
from dlm.settings import preset
from dlm.watching import Frame, Recorder, Speller, Trace, pieces, read_trace, trace_of_record, write_trace
from dlm.watching.gif import write_gif
from dlm.watching.page import embedded, write_page
from dlm.watching.terminal import play


def byte_speller() -> Speller:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return Speller(tokenizer.decode, frozenset()), tokenizer.encode


def small_trace() -> Trace:
    frames = (
        Frame(passes=0, seconds=0.0, length=3),
        Frame(passes=1, seconds=0.5, length=3, written={1: "b\n", 2: "</script>"}),
        Frame(passes=2, seconds=1.0, length=3, written={0: "a"}, reopened=(2,)),
        Frame(passes=3, seconds=2.0, length=3, written={2: "<eos>"}),
    )
    return Trace(model="m", prompt="What?\n", settings={"steps": "3"}, special=frozenset({"<eos>"}), frames=frames)


def test_tokens_spell_what_they_add() -> None:
    speller, encode = byte_speller()
    tokens = encode("añ✓b").ids
    spelled = pieces(speller, tokens)
    assert "".join(map(str, spelled)) == "añ✓b"
    assert spelled == ["a", "", "ñ", "", "", "✓", "b"]
    assert pieces(speller, [None, *tokens[1:2], None, *tokens[2:3]])[::2] == [None, None], "what is open has no text"


@pytest.mark.parametrize("name", ["llada", "bd3lm", "remdm"])
def test_watching_changes_nothing_and_sees_everything(name: str) -> None:
    denoiser = small_denoiser()
    size = {} if name == "remdm" else {"block_size": 4}
    settings = preset(name, max_new_tokens=8, steps=8, **size)
    recorder = Recorder(Speller.of_tokenizer(denoiser.tokenizer))
    found = Sampler(denoiser, settings).sample([[4, 5]], watch=recorder)[0]
    assert found.tokens == Sampler(denoiser, settings).sample([[4, 5]])[0].tokens
    trace = recorder.trace("small", "a b", {})
    *_, last = trace.pictures()
    assert last.frame.passes == found.forward_passes
    assert [text and text.strip() for text in last.texts] == [
        denoiser.tokenizer.decode([token]) for token in found.tokens
    ]
    lengths = {picture.frame.length for picture in trace.pictures()}
    assert lengths == ({0, 4, 8} if name == "bd3lm" and len(found.tokens) == 8 else {0, 4} if name == "bd3lm" else {8})
    assert any(frame.reopened for frame in trace.frames) == (name == "remdm")


def test_a_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_trace(tmp_path / "trace.json", small_trace())
    assert read_trace(tmp_path / "trace.json") == small_trace()
    states = [picture.texts for picture in small_trace().pictures()]
    assert states == [(None,) * 3, (None, "b\n", "</script>"), ("a", "b\n", None), ("a", "b\n", "<eos>")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a dlm-trace/1 trace"),
        ({"frames": []}, "damaged trace (no frames)"),
        ({"frames": [{"passes": 1, "seconds": 0, "length": 1, "written": [[4, "a"]], "reopened": []}]}, "place 4 of 1"),
        ({"frames": [{"passes": 1}]}, "damaged trace"),
    ],
)
def test_a_damaged_trace_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "trace.json"
    write_trace(path, small_trace())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError) as refused:
        read_trace(path)
    assert message in str(refused.value)


def test_a_file_that_is_no_trace_is_not_to_be_deleted(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"GIF89a\x80\xff")
    for name in ("a.gif", "none.json"):
        with pytest.raises(DataError, match="`dlm watch … --save FILE` writes one") as refused:
            read_trace(tmp_path / name)
        assert "delete" not in str(refused.value) and "rule" not in str(refused.value)


def test_a_record_of_the_order_is_a_trace() -> None:
    speller, encode = byte_speller()
    record = {
        "doc_id": "d", "prompt": "Q", "response": "<r>ab", "token_ids": encode("ab").ids, "steps": [1, 0],
        "forward_passes": 2, "seconds": 4.0,
    }  # fmt: skip
    trace = trace_of_record(record, speller, "m", {})
    assert [dict(frame.written) for frame in trace.frames] == [{}, {1: "b"}, {0: "a"}]
    assert [frame.seconds for frame in trace.frames] == [0.0, 2.0, 4.0]
    assert trace.prompt == "Q<r>", "what the answer was made to begin with was not sampled"
    with pytest.raises(DataError, match=r"document 'd': its record does not hold the order of decoding"):
        trace_of_record({key: value for key, value in record.items() if key != "token_ids"}, speller, "m", {})


def test_a_terminal_marks_what_is_new_and_a_file_has_a_line_a_step() -> None:
    drawn, plain = io.StringIO(), io.StringIO()
    play(small_trace(), Console(file=drawn, force_terminal=True, width=80), 50)
    assert "\x1b[1;7mb↵" in drawn.getvalue()
    assert "3 forward passes · 3 of 3 tokens, 1.00 a pass, 2 a second" in drawn.getvalue()
    play(small_trace(), Console(file=plain, width=200), 50)
    lines = plain.getvalue().splitlines()
    assert [line.partition(" | ")[2] for line in lines] == ["▒▒▒", "▒[b↵][</script>]", "[a]b↵▒", "ab↵[·]"]


def test_a_terminal_obeys_nothing_that_a_model_writes() -> None:
    """Of an answer and of its prompt: ESC ends a token's text, a C1 introducer begins another's."""
    written = {0: "a\x1b", 1: "\x9b31mb", 2: "c\r\x07\n"}
    trace = dataclasses.replace(
        small_trace(), prompt="p\x1b]0;x\x07", frames=(Frame(passes=1, seconds=1.0, length=3, written=written),)
    )
    for terminal in (True, False):
        shown = io.StringIO()
        play(trace, Console(file=shown, force_terminal=terminal, color_system=None, width=200), 50)
        answer = shown.getvalue()
        assert "a␛" in answer and "�31mb" in answer and "c␍␇↵" in answer
        assert not {"\x9b", "\x07"} & {*answer} and "a\x1b" not in answer and "\x1b]" not in answer


def test_a_gif_has_a_picture_a_frame_and_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.gif", "two.gif"):
        write_gif(tmp_path / name, small_trace(), 5)
    assert (tmp_path / "one.gif").read_bytes() == (tmp_path / "two.gif").read_bytes()
    with Image.open(tmp_path / "one.gif") as image:
        assert (image.n_frames, image.info["duration"]) == (4, 200)
        blue = []
        for number in range(4):
            image.seek(number)
            blue.append(any(b - r > 100 for r, _, b in image.convert("RGB").get_flattened_data()))
    assert blue == [False, True, True, True], "what is new is marked"


def test_a_page_holds_all_that_it_needs(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", small_trace())
    html = (tmp_path / "page.html").read_text()
    assert html.count("</script>") == 2, "a token cannot end the script that holds it"
    assert "://" not in html
    assert json.loads(embedded({"a": "</script>&"})) == {"a": "</script>&"}
