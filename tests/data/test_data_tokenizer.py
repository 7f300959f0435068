import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from dlm.data.mixtures import contents, mixture_rows, problem_documents
from dlm.data.tokenizer import CONVENTIONS, train_tokenizer
from dlm.settings.data import PROBLEMS, GeneratedMixture, GeneratedProblems, ProblemSettings, TokenizerData

ROOT = Path(__file__).resolve().parents[2]
SIZE = 512
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " What is 3 + 5?\n"},
    {"role": "assistant", "content": "8"},
]


def corpus():
    texts = []
    for style in ("text", "instruct", "reasoning"):
        split = mixture_rows(GeneratedMixture(style=style, rows=dict.fromkeys(PROBLEMS, 300)), ProblemSettings())
        texts += [text for row in split.train for text in contents(row)]
    return [*texts, *["user", "assistant"] * 1000]


def load(folder):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


def settings(template, size=SIZE):
    return TokenizerData(corpora=("corpus",), vocab_size=size, template=template)


@pytest.fixture(scope="module")
def texts():
    return corpus()


@pytest.fixture(scope="module", params=["llada", "chatml"])
def family(request, texts, tmp_path_factory):
    """Return (template's name, folder, tokenizer)."""
    folder = tmp_path_factory.mktemp(request.param)
    assert train_tokenizer(settings(request.param), texts, folder) == SIZE
    return request.param, folder, load(folder)


def test_it_has_as_many_tokens_as_asked_for(family):
    _, _, tokenizer = family
    assert len(tokenizer) == tokenizer.vocab_size == SIZE
    assert sorted(tokenizer.get_vocab().values()) == list(range(SIZE))


def test_a_small_corpus_gives_fewer_tokens(tmp_path):
    special = len(CONVENTIONS["llada"].special)
    assert train_tokenizer(settings("llada"), ["ab"], tmp_path) == 256 + special + 1
    assert train_tokenizer(settings("llada"), [], tmp_path) == 256 + special


def test_special_tokens_are_those_of_the_family(family):
    name, _, tokenizer = family
    special = {token: getattr(tokenizer, f"{token}_token") for token in ("bos", "eos", "pad", "mask", "eot")}
    assert (
        special
        == {
            "llada": {
                "bos": "<|startoftext|>",
                "eos": "<|endoftext|>",
                "pad": "<|endoftext|>",
                "mask": "<|mdm_mask|>",
                "eot": "<|eot_id|>",
            },
            "chatml": {
                "bos": "<|beginoftext|>",
                "eos": "<|endoftext|>",
                "pad": "<|endoftext|>",
                "mask": "<|mask|>",
                "eot": "<|im_end|>",
            },
        }[name]
    )
    for token in CONVENTIONS[name].special:
        assert tokenizer(token)["input_ids"] == [tokenizer.convert_tokens_to_ids(token)]
        assert token in tokenizer.all_special_tokens
    assert len({tokenizer.mask_token_id, tokenizer.eot_token_id, tokenizer.eos_token_id}) == 3


def test_any_loader_gives_the_same_and_saving_again_keeps_it(family, tmp_path):
    from transformers import AutoTokenizer

    _, folder, tokenizer = family
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert (again.eot_token, again.eot_token_id) == (tokenizer.eot_token, tokenizer.eot_token_id)
    assert (again.mask_token_id, again.pad_token_id) == (tokenizer.mask_token_id, tokenizer.pad_token_id)
    assert again.chat_template == tokenizer.chat_template
    assert again.get_vocab() == tokenizer.get_vocab()


def test_chats_are_written_as_the_family_writes_them(family):
    name, _, tokenizer = family
    rendered = tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert (
        rendered
        == {
            "llada": "<|startoftext|>"
            "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nWhat is 3 + 5?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n8<|eot_id|>",
            "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n"
            "<|im_start|>user\n What is 3 + 5?\n<|im_end|>\n"
            "<|im_start|>assistant\n8<|im_end|>\n",
        }[name]
    )
    opening = {"llada": "<|start_header_id|>assistant<|end_header_id|>\n\n", "chatml": "<|im_start|>assistant\n"}[name]
    assert tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True) == rendered + opening
    prompt = tokenizer.apply_chat_template(CHAT[:2], tokenize=False, add_generation_prompt=True)
    assert rendered.startswith(prompt)
    ids = tokenizer.apply_chat_template(CHAT)["input_ids"]
    assert tokenizer.decode(ids) == rendered
    assert ids.count(tokenizer.eot_token_id) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "  two  blanks  ",
        "3 + 5 = 8\n\n\n(3+7)*2",
        "<reasoning>\nx\n</reasoning>\n<answer>\n8\n</answer>",
        "tabs\t\tand\r\nreturns\r",
        "1234567890 3.14 -5",
        "é ü ß ñ 漢字 かな 한글 العربية עברית",
        "🙂👩‍👩‍👧‍👦🏳️‍🌈",
        "e\u0301 \u00a0\u2003\u200b\u2028\ufeff",
        "１２３ ٣ ² ½",
        "\x00\x01\x7f",
        "a<|endoftext|>b <|mask|> <|eot_id|>",
        "it's \"quoted\" 'so' <b>x</b> </p>>",
        "don't stop . , ! ? ;:",
    ],
)
def test_any_text_survives_encoding_and_decoding(family, text):
    _, _, tokenizer = family
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_random_bytes_of_text_survive(family):
    from dlm.data.chance import pick, stream

    _, _, tokenizer = family
    random = stream("text")
    for _ in range(200):
        points = [pick(random, 0xD800 if pick(random, 2) else 0x250) for _ in range(20)]
        text = "".join(map(chr, points))
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_each_digit_is_one_token(family):
    _, _, tokenizer = family
    for text in ("2024", "3142\n2431", "12 + 34 = 46"):
        tokens = [tokenizer.decode([token]) for token in tokenizer(text)["input_ids"]]
        assert [token for token in tokens if any(map(str.isdigit, token))] == [c for c in text if c.isdigit()]


def test_prompts_and_responses_are_short(family):
    """A tiny model reads at most 45 tokens of question and writes at most 48 of response."""
    _, _, tokenizer = family
    for name in PROBLEMS:
        documents = problem_documents(GeneratedProblems(problem=name, rows=100), ProblemSettings())
        assert max(len(tokenizer(row["question"])["input_ids"]) for row in documents) <= 45
    split = mixture_rows(GeneratedMixture(style="reasoning", rows=dict.fromkeys(PROBLEMS, 100)), ProblemSettings())
    assert max(len(tokenizer(contents(row)[1])["input_ids"]) for row in split.train) <= 48


SCRIPT = """
import sys
from dlm.data.tokenizer import train_tokenizer
from dlm.settings.data import TokenizerData
texts = [line for line in sys.stdin.read().split("\\x1e")]
train_tokenizer(TokenizerData(corpora=("corpus",), vocab_size=512, template="llada"), texts, sys.argv[1])
assert "torch" not in sys.modules
"""


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_another_process_trains_the_same_bytes_without_torch(texts, tmp_path):
    train_tokenizer(settings("llada"), texts, tmp_path / "here")
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT), "PATH": "", "TOKENIZERS_PARALLELISM": "true"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "there")]
    subprocess.run(command, input="\x1e".join(texts), env=environment, text=True, check=True, capture_output=True)
    assert digests(tmp_path / "here") == digests(tmp_path / "there")
    assert len(digests(tmp_path / "here")) == 3


def test_the_environment_is_left_as_it_was(tmp_path, monkeypatch):
    import os

    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    train_tokenizer(settings("llada", 300), ["a b"], tmp_path)
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    train_tokenizer(settings("llada", 300), ["a b"], tmp_path)
    assert "TOKENIZERS_PARALLELISM" not in os.environ
