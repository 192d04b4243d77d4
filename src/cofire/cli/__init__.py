"""The ``cofire`` command."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from cofire.errors import CofireError, InputError

_BY_MODULE = {  # module of this package -> command -> its settings and what it does
    "making": {
        "demo": ("DemoConfig", "Run everything once on a small real model and bundled sentences."),
        "capture": ("CaptureConfig", "Collect a model's activations on texts into a folder."),
        "fit": ("FitConfig", "Factorise activations into features and read what each means."),
        "path": ("PathConfig", "Vary k or the sparsity; an elbow plot and a suggestion for k."),
    },
    "comparing": {
        "compare": ("CompareConfig", "Methods side by side: fitted, measured, steered, tested."),
        "sweep": ("SweepConfig", "Vary one setting and measure everything at each value."),
    },
    "judging": {
        "doctor": ("DoctorConfig", "Say what is wrong with a run's features and what to change."),
        "steer": ("SteerConfig", "Steer the model along features and judge what it writes."),
        "label": ("LabelConfig", "Let a language model name the features of a run."),
    },
    "weighing": {
        "weights": (
            "WeightsConfig",
            "Take weight matrices apart; what each part reads and writes.",
        ),
    },
    "trees": {
        "tree": ("TreeConfig", "Find features of features: a tree, drawn, exported and scored."),
    },
    "sharing": {
        "core": ("CoreConfig", "Neurons that features share or have to themselves; what they do."),
        "reuse": ("ReuseConfig", "How many features each neuron serves; families of features."),
        "flow": ("FlowConfig", "Follow features from layer to layer; a Sankey plot."),
    },
    "browsing": {
        "features": ("FeaturesConfig", "List the features of a run; search and sort them."),
        "show": ("ShowConfig", "Show one feature: contexts, neurons, tokens, concepts."),
        "report": ("ReportConfig", "Write a run's report as one HTML file."),
        "runs": ("RunsConfig", "List runs, paths, comparisons, weights and activations."),
        "methods": ("MethodsConfig", "List the methods that fit takes."),
    },
    "exporting": {
        "export": ("ExportConfig", "Write features for SAELens, Neuronpedia, delphi and others."),
    },
    "serving": {
        "serve": ("ServeConfig", "Read, search and steer features in the browser."),
    },
}

_READING = {*_BY_MODULE["browsing"], *_BY_MODULE["serving"]}  # nothing to keep, nothing to go on

_COMMANDS = {
    name: (module, settings, summary)
    for module, commands in _BY_MODULE.items()
    for name, (settings, summary) in commands.items()
}

_USAGE_ERROR = 2
_INTERRUPTED = 130


def _overview() -> str:
    width = max(map(len, _COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, _, summary) in _COMMANDS.items()]
    return "\n".join(
        [
            "cofire finds the groups of neurons that fire together in a transformer and shows what",
            "each group means.",
            "",
            "usage: cofire COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "Start with `cofire demo`. `cofire COMMAND --help` explains a command.",
            "Every command takes --debug (full error traces); those that compute also take",
            "--config FILE (YAML settings; flags given beside it win).",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0 success, 1 failure, 2 usage error, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        sys.stdout.write(f"cofire {version('cofire')}\n")
        return 0
    try:
        return _run(words[0], words[1:], debug)
    except KeyboardInterrupt:
        kept = "; what was finished is kept. The same command goes on"
        sys.stderr.write(f"\nInterrupted{'' if words[0] in _READING else kept}.\n")
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except CofireError as error:
        if debug:
            raise
        sys.stderr.write(f"cofire: {error}\n")
        return _USAGE_ERROR if isinstance(error, InputError) else 1


def _run(command: str, words: list[str], debug: bool) -> int:
    if command not in _COMMANDS:
        import difflib

        close = difflib.get_close_matches(command, _COMMANDS, 1)
        hint = f"did you mean {close[0]!r}?" if close else "`cofire --help` lists them."
        raise InputError(f"there is no command {command!r}; {hint}")
    from cofire import config as configs
    from cofire.cli.help import parse

    module, settings, _ = _COMMANDS[command]
    kind = getattr(configs, settings)
    default, words = _defaults(kind, words)
    config = parse(kind, prog=f"cofire {command}", words=words, default=default)
    run = getattr(import_module(f"cofire.cli.{module}"), command)
    with _logging_to_stderr(debug):
        run(config)
    return 0


def _defaults(kind: type, words: list[str]) -> tuple[object | None, list[str]]:
    """Take ``--config FILE`` out of the words and read it."""
    from cofire.config import Config, read_yaml

    if getattr(kind, "file_first", False) and words[:1] and _is_yaml(words[0]):
        words = ["--config", *words]
    for i, word in enumerate(words):
        if word != "--config" and not word.startswith("--config="):
            continue
        if not (issubclass(kind, Config) and kind.takes_file):
            raise InputError("--config goes with commands that compute, such as fit.")
        if "=" in word:
            return read_yaml(Path(word.split("=", 1)[1]), kind), words[:i] + words[i + 1 :]
        if i + 1 == len(words):
            raise InputError("--config needs a YAML file.")
        return read_yaml(Path(words[i + 1]), kind), words[:i] + words[i + 2 :]
    return None, words


def _is_yaml(word: str) -> bool:
    return not word.startswith("-") and word.lower().endswith((".yaml", ".yml"))


class _NotesOnce(logging.Filter):
    """Lets each note through once: seventy heads with a silent channel are one thing to know.

    Warnings pass as often as they come.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is new, or more than a note."""
        if record.levelno > logging.INFO:
            return True
        message = record.getMessage()
        new = message not in self._said
        self._said.add(message)
        return new


@contextmanager
def _logging_to_stderr(debug: bool) -> Iterator[None]:
    """Show the library's log while a command runs; leave loggers as they were."""
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(
        console=Console(stderr=True), show_time=False, show_path=False, markup=False
    )
    if not debug:
        handler.addFilter(_NotesOnce())
    logger = logging.getLogger("cofire")
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
