"""Chat templates for checkpoints that come without one, chosen by the tokens that their tokenizer has."""

from __future__ import annotations

from collections.abc import Container

_HEADERS = (
    "{{ bos_token }}"
    "{% for turn in messages %}"
    "<|start_header_id|>{{ turn.role }}<|end_header_id|>\n\n{{ turn.content | trim }}<|eot_id|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{{ '' }}{% endif %}"
)
_CHATML = (
    "{% for turn in messages %}"
    "<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n{{ '' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{{ '' }}{% endif %}"
)
_PLAIN = (  # for vocabularies without chat tokens: a turn ends with the end-of-text token, which every sampler knows
    "{% for turn in messages %}"
    "{{ turn.role | capitalize }}: {{ turn.content | trim }}"
    "{{ eos_token if turn.role == 'assistant' else '' }}\n\n{{ '' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
_BERT = (  # BERT-Chat's (ZHZisZZ/dllm): markers in plain text, so that an encoder's vocabulary stays as it is
    "{% set names = {'system': 'SYS', 'user': 'Question', 'assistant': 'Answer'} %}"
    "{% for turn in messages %}"
    "[{{ names[turn.role] }}]\n{{ turn.content | trim }}\n[/{{ names[turn.role] }}]\n\n{{ '' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}[Answer]\n{{ '' }}{% endif %}"
)


def chat_template(vocabulary: Container[str], *, encoder: bool) -> str:
    """Return a chat template that a tokenizer with this vocabulary can write.

    Args:
        vocabulary: its tokens.
        encoder: whether the model is an encoder.
    """
    if encoder:
        return _BERT
    if "<|im_start|>" in vocabulary and "<|im_end|>" in vocabulary:
        return _CHATML
    if all(token in vocabulary for token in ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")):
        return _HEADERS
    return _PLAIN
