"""A conversation with a checkpoint, turn by turn, in its own chat template."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from dlm.errors import SettingsError

if TYPE_CHECKING:
    from dlm.models import Denoiser
    from dlm.sampling import Sample, State
    from dlm.settings import SamplerSettings


class Conversation:
    """What was said so far, and how answers are sampled.

    Args:
        denoiser: the model.
        settings: the decoding method.
        seed: of all random numbers; the same question at the same place gets the same answer.
        system: a system message, before everything else; "": none.

    Raises:
        SettingsError: the tokenizer has no chat template.
    """

    def __init__(self, denoiser: Denoiser, settings: SamplerSettings, *, seed: int = 0, system: str = "") -> None:
        if not denoiser.tokenizer.chat_template:
            raise SettingsError("the checkpoint has no chat template; `dlm sample --prompt` takes one message as text")
        self.denoiser, self.settings, self.seed = denoiser, settings, seed
        self._first = [{"role": "system", "content": system}] if system else []
        self.turns: list[dict[str, str]] = []
        self.forgotten = 0
        """Exchanges that no longer fitted into the model's positions when the last answer was sampled."""

    def reset(self) -> None:
        """Forget what was said."""
        self.turns, self.forgotten = [], 0

    def prompt(self, message: str) -> str:
        """Return what the model reads for a message: the conversation as far back as there is room for it.

        Raises:
            SettingsError: the message alone leaves no room for an answer.
        """
        asked = {"role": "user", "content": message}
        room = self.denoiser.max_positions - self.settings.canvas.max_new_tokens
        for forgotten in range(len(self.turns) // 2 + 1):
            turns = [*self._first, *self.turns[2 * forgotten :], asked]
            text = self.denoiser.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            length = len(self.denoiser.tokenizer.encode(text, add_special_tokens=False)) + self.settings.begin_token
            if length <= room:
                self.forgotten = forgotten
                return str(text)
        raise SettingsError(
            f"the message takes {length} tokens; with max_new_tokens {self.settings.canvas.max_new_tokens} the model's "
            f"{self.denoiser.max_positions} positions leave room for {max(room, 0)}"
        )

    def answer(self, message: str, watch: Callable[[State], None] | None = None) -> Sample:
        """Answer a message, which is then part of the conversation; one that is broken off is not.

        Raises:
            SettingsError: there is no room for it, or the settings do not go with the model.
            KeyboardInterrupt: a person broke it off.
        """
        from dlm.sampling import Sampler

        sampler = Sampler(self.denoiser, self.settings, seed=self.seed)
        found = sampler.sample([self.prompt(message)], watch=watch)[0]
        self.turns += [{"role": "user", "content": message}, {"role": "assistant", "content": found.text}]
        return found


@contextlib.contextmanager
def broken_off(tell: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C end what is done inside, and nothing else; ``tell`` is called where it did."""
    try:
        yield
    except KeyboardInterrupt:
        tell()
