"""The command that takes weights apart."""

from typing import Any

from cofire.cli.listing import check_form, print_listing, say
from cofire.cli.progress import TerminalProgress
from cofire.config import WeightsConfig


def weights(config: WeightsConfig) -> None:
    """Run ``cofire weights``."""
    from cofire import jobs
    from cofire.report import write_weights_pages
    from cofire.store.weights_folder import head_line

    check_form(config)
    folder = jobs.weights(config, TerminalProgress())
    page = write_weights_pages(folder)
    found = folder.heads()
    records: list[dict[str, Any]] = [head_line(one) for one in found]
    if not (config.as_json or config.as_csv):
        records = [
            {
                "head": one.name,
                "structure": line["structure"],
                "roles": line["roles"],
                "copying": line["copying"],
                "induction": line["induction"],
                "before, text": line["text_previous"],
                "copies, text": line["text_copying"],
                "stable ICA": line["stable"],
                "rank": line["effective_rank"],
                "SVD error": line["error_svd"],
                "NMF error": line.get("error_nmf"),
                "seconds": line["seconds"],
            }
            for one, line in zip(found, records, strict=True)
        ]
    print_listing(records, config, empty="No finished head.")
    if not (config.as_json or config.as_csv):
        say(f"Page: {page.resolve()}")
