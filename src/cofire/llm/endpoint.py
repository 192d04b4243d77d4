"""Any endpoint that speaks the OpenAI chat protocol: hosted, or a server of one's own."""

import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any
from urllib.parse import urlsplit

from cofire.errors import EndpointError, InputError
from cofire.llm.answer import Answer, OnAnswer, Settings
from cofire.llm.retry import asked_wait, wait_before

logger = logging.getLogger(__name__)

KEY_VARIABLE = "OPENAI_API_KEY"
"""Environment variable the key is read from unless another is named."""

_NOT_ASKED = "Not asked."

_NO_KEY = "none"  # servers of one's own take any
_SHOWN = 200  # characters of a server's message that are repeated
_AGAIN = (408, 409, 425, 429)  # statuses below 500 that may go away by themselves
# Names, because the HTTP library under the client is not the same in all its versions.
_NOT_CONNECTED = ("ConnectError", "ConnectTimeout")


class EndpointModel:
    """A model behind an OpenAI-compatible endpoint (``/chat/completions``).

    Asked at temperature 0, several prompts at a time. A refusal for too many requests (429, its
    ``Retry-After`` honoured), a server error (5xx), a time-out, a cut connection and a reply that
    is no chat completion are tried again, with waits that double; a prompt that still has no answer
    gets one with ``error`` set. The key is read from the environment whenever a client is opened
    and stands in no attribute, message, log or file of ours.

    Needs the extra ``llm``.

    Args:
        model: what the endpoint calls the model.
        base_url: such as ``http://localhost:8000/v1``.
        key_variable: environment variable with the key; unset for servers that need none.
        max_tokens: longest answer.
        concurrency: requests under way at a time.
        timeout: seconds without a sign of the server before a try counts as failed.
        retries: tries after the first.

    Raises:
        InputError: for an address that is none or carries a key, or a number out of range.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        key_variable: str = KEY_VARIABLE,
        max_tokens: int = 256,
        concurrency: int = 4,
        timeout: float = 60.0,
        retries: int = 5,
    ) -> None:
        self.base_url = _checked_address(base_url)
        if not model.strip():
            raise InputError("The model's name is empty; give the name the endpoint knows it by.")
        for name, value in (("max_tokens", max_tokens), ("concurrency", concurrency)):
            if value < 1:
                raise InputError(f"{name} must be at least 1; got {value}.")
        if retries < 0 or timeout <= 0:
            raise InputError(
                f"retries must be at least 0 and timeout above 0; got {retries} and {timeout}."
            )
        self._model = model
        self.key_variable = key_variable
        self.max_tokens = max_tokens
        self.concurrency = concurrency
        self.timeout = timeout
        self.retries = retries
        self._reached = False

    @property
    def name(self) -> str:
        """What the endpoint calls the model."""
        return self._model

    @property
    def settings(self) -> Settings:
        """Temperature and longest answer; the address is left out, servers move."""
        return {"kind": "chat", "temperature": 0, "max_tokens": self.max_tokens}

    def complete(
        self, prompts: Sequence[str], *, on_answer: OnAnswer | None = None
    ) -> list[Answer]:
        """See ``ChatModel.complete``.

        Raises:
            EndpointError: when the endpoint cannot be reached, refuses the key or does not know
                the model, or the extra ``llm`` is missing. Prompts that wait their turn are then
                not sent; answers that came before went to ``on_answer``.
        """
        answers: list[Answer | None] = [None] * len(prompts)
        if not prompts:
            return []
        stop = threading.Event()  # set, prompts that wait their turn are passed over
        failure = None
        with (
            self._open() as client,
            ThreadPoolExecutor(min(self.concurrency, len(prompts))) as pool,
        ):
            places = {
                pool.submit(self._ask, client, prompt, stop): place
                for place, prompt in enumerate(prompts)
            }
            try:
                for future in as_completed(places):
                    try:
                        answer = future.result()
                    except EndpointError as error:  # what was under way may still bring answers
                        failure = failure or error
                        continue
                    answers[places[future]] = answer
                    if on_answer is not None and answer.tries:
                        on_answer(places[future], answer)
            finally:
                stop.set()
        if failure is not None:
            raise failure
        return [answer for answer in answers if answer is not None]

    def _open(self) -> Any:
        try:
            import openai
        except ImportError as error:
            raise EndpointError(
                "Asking an endpoint needs the package 'openai'; "
                "install it with: pip install 'cofire[llm]'."
            ) from error
        return openai.OpenAI(
            base_url=self.base_url,
            api_key=self._key() or _NO_KEY,
            timeout=self.timeout,
            max_retries=0,  # ours count the tries and tell a dead endpoint from a cut connection
        )

    def _key(self) -> str:
        return os.environ.get(self.key_variable, "").strip()

    def _ask(self, client: Any, prompt: str, stop: threading.Event) -> Answer:
        try:
            return self._try(client, prompt, stop)
        except EndpointError:
            stop.set()
            raise

    def _try(self, client: Any, prompt: str, stop: threading.Event) -> Answer:
        import openai

        begun = time.monotonic()
        problem, tries = "", 0
        sent = prompt.encode("utf-8", "replace").decode()  # half a character cannot be sent
        while not stop.is_set():
            asked = None
            tries += 1
            try:
                text = _answer_text(
                    client.chat.completions.create(
                        model=self._model,
                        messages=[{"role": "user", "content": sent}],
                        temperature=0,
                        max_tokens=self.max_tokens,
                    )
                )
            except openai.APITimeoutError as error:
                self._raise_if_never_reached(error)
                problem = f"The endpoint was silent for {self.timeout:g} s."
            except openai.APIConnectionError as error:
                self._raise_if_never_reached(error)
                problem = "The connection to the endpoint was cut."
                if _is_unconnected(error):
                    problem = "The endpoint can no longer be reached."
                    if tries > self.retries:
                        raise self._unreachable() from error
            except openai.APIStatusError as error:
                self._reached = True
                said = self._clean(_message(error))
                self._raise_if_hopeless(error, said)
                problem = f"The endpoint answered {error.status_code}: {said}."
                if error.status_code < 500 and error.status_code not in _AGAIN:
                    return Answer(None, problem, time.monotonic() - begun, tries)
                asked = asked_wait(error.response.headers)
            except (openai.OpenAIError, ValueError) as error:
                logger.debug("Unreadable reply: %s", type(error).__name__)
                self._reached = True
                problem = "The endpoint's reply is no chat completion."
            else:
                self._reached = True
                if text is not None:
                    return Answer(text, None, time.monotonic() - begun, tries)
                problem = "The endpoint's reply holds no answer."
            if tries > self.retries:
                break
            wait = wait_before(tries - 1, asked=asked)
            logger.info("%s Trying again in %.1f s.", problem, wait)
            stop.wait(wait)
        return Answer(None, problem or _NOT_ASKED, time.monotonic() - begun, tries)

    def _raise_if_never_reached(self, error: Exception) -> None:
        """An address that has never answered is more likely wrong than down for a moment."""
        if not self._reached and _is_unconnected(error):
            raise self._unreachable() from error

    def _unreachable(self) -> EndpointError:
        return EndpointError(
            f"The endpoint {self.base_url} cannot be reached; check the address, and that the "
            "server is running."
        )

    def _raise_if_hopeless(self, error: Any, said: str) -> None:
        """Raise for answers that every other prompt would get as well."""
        if error.status_code in (401, 403):
            found = (
                f"it does not take the one in the environment variable {self.key_variable}"
                if self._key()
                else f"the environment variable {self.key_variable} is not set"
            )
            raise EndpointError(
                f"The endpoint {self.base_url} wants another key ({error.status_code}): {found}."
            ) from error
        unknown = getattr(error, "code", None) == "model_not_found"
        if error.status_code == 404 or unknown or "Server is pinned to" in said:
            raise EndpointError(
                f"The endpoint {self.base_url} does not know the model {self._model!r} "
                f"({error.status_code}: {said}); check its name, and that the address ends as "
                "the server wants it, mostly in /v1."
            ) from error

    def _clean(self, message: str) -> str:
        """A server's message on one line, without the key should it repeat it."""
        if key := self._key():
            message = message.replace(key, "[key]")
        return " ".join(message.split())[:_SHOWN].rstrip(".")

    def __repr__(self) -> str:
        return f"EndpointModel({self._model!r}, base_url={self.base_url!r})"


def _answer_text(reply: Any) -> str | None:
    """The answer of a chat completion; None in a reply of another form."""
    choices = getattr(reply, "choices", None)
    message = getattr(choices[0], "message", None) if choices else None
    content = getattr(message, "content", None)
    return content if isinstance(content, str) else None


def _message(error: Any) -> str:
    """What the server says was wrong, in the forms servers have for it."""
    said: Any = error.body
    while isinstance(said, dict):
        said = next((said[key] for key in ("error", "message", "detail") if key in said), "")
    return said if isinstance(said, str) and said.strip() else "no reason given"


def _is_unconnected(error: Exception) -> bool:
    return type(error.__cause__).__name__ in _NOT_CONNECTED


def _checked_address(base_url: str) -> str:
    parts = urlsplit(base_url)
    # Nothing of an address that may hold a key is repeated in the message.
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            "The endpoint's address holds a user name, password or question mark; give the plain "
            "address, and the key in an environment variable."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"The endpoint's address must look like http://localhost:8000/v1; got {base_url!r}."
        )
    return base_url.rstrip("/")
