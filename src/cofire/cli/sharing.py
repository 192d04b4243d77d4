"""Commands about the structure among features: core, reuse, flow."""

from collections.abc import Mapping
from typing import Any

from cofire.cli.listing import check_form, print_json, print_listing, say
from cofire.cli.progress import TerminalProgress
from cofire.config import CoreConfig, FlowConfig, ListingConfig, ReuseConfig
from cofire.store import Run


def core(config: CoreConfig) -> None:
    """Run ``cofire core``."""
    from cofire import jobs
    from cofire.report import write_core_page

    check_form(config)
    file = jobs.core(config, TerminalProgress())
    page = write_core_page(Run.open(config.run), file)
    parts = file.record["parts"]
    if config.as_json:
        print_json(file.record)
        return
    sharing = parts["sharing"]
    records = []
    for i, member in enumerate(parts["members"]):
        feature = member["feature"]
        counts = sharing["overlap"]["shared"][i]
        others = {parts["members"][j]["name"]: n for j, n in enumerate(counts) if j != i}
        nearest = max(others, key=lambda name: others[name])
        records.append(
            {
                "feature": feature,
                **({} if config.concept is None else {"stands for": member["name"]}),
                "label": member["label"],
                "neurons": counts[i],
                "core": sum(feature in one["members"] for one in sharing["core"]),
                "exclusive": len(sharing["exclusive"][str(feature)]),
                "shares most with": f"{nearest} ({others[nearest]})",
            }
        )
    print_listing(records, config, empty="No members.")
    if config.as_csv:
        return
    say(
        f"\nCore: {len(sharing['core'])} neurons held by at least {sharing['needed']} of "
        f"{len(records)} features; {sharing['core_by_chance']:.1f} by chance, p = "
        f"{sharing['core_p_value']:.3g}."
    )
    if config.causal:
        _print_causal(parts, config)
    say(f"Page: {page.resolve()}")


def _print_causal(parts: Mapping[str, Any], config: ListingConfig) -> None:
    amplified, ablated = parts["amplified"], parts["ablated"]
    say(f"\nLogit changes of amplified groups, {amplified['target_kl']:g} nats each:")
    records = [
        {
            "group": row["group"],
            "control": row["control"] or "",
            "neurons": row["neurons"],
            **{
                target: cell["value"]
                for target, cell in zip(amplified["targets"], row["cells"], strict=True)
            },
        }
        for row in amplified["rows"]
    ]
    print_listing(records, config, empty="Nothing was amplified.")
    say("")
    records = [
        {
            "figure": one["name"],
            "value": one["found"]["value"],
            "low": one["found"]["low"],
            "high": one["found"]["high"],
            "control": one["control"],
            "of control": one["of_control"]["value"],
            "p": one["p_value"],
        }
        for one in amplified["contrasts"]
    ]
    print_listing(records, config, empty="No figure beside controls.")
    say(
        f"\nHeld at the mean; the model names the member again in {ablated['recalled']:.0%} of "
        "the prompts:"
    )
    records = [
        {
            "group": row["what"],
            "control": row["control"] or "",
            "neurons": row["neurons"],
            "named member": row["own"]["value"],
            "others": row["others"]["value"],
            "difference": row["apart"]["value"],
            "KL": row["kl"]["value"],
            "p named": row["p_own"],
            "p difference": row["p_apart"],
        }
        for row in ablated["rows"]
    ]
    print_listing(records, config, empty="Nothing was ablated.")


def reuse(config: ReuseConfig) -> None:
    """Run ``cofire reuse``."""
    from cofire import jobs
    from cofire.report import write_reuse_page

    check_form(config)
    file = jobs.reuse(config, TerminalProgress())
    page = write_reuse_page(Run.open(config.run), file)
    if config.as_json:
        print_json(file.record)
        return
    records = [
        {
            "layer": part["layer"],
            "figure": one["name"],
            "null keeps": "sizes" if one["null"] == "sizes" else "sizes, reuse",
            "observed": one["observed"],
            "expected": one["expected"],
            "low": one["low"],
            "high": one["high"],
            "p": one["p_value"],
        }
        for part in file.record["parts"].values()
        for one in part["comparisons"]
    ]
    print_listing(records, config, empty="No layer.")
    if config.as_csv:
        return
    for part in file.record["parts"].values():
        named = [one for one in part["enrichment"] if one["p_corrected"] < 0.05]
        told = "; ".join(
            f"{one['name']} ({one['both']} of {one['named']} in a family of {one['members']})"
            for one in named
        )
        say(f"Layer {part['layer']}, concepts common in a family: {told or 'none'}.")
    say(f"Page: {page.resolve()}")


def flow(config: FlowConfig) -> None:
    """Run ``cofire flow``."""
    from cofire import jobs
    from cofire.report import write_flow_page

    check_form(config)
    file = jobs.flow(config, TerminalProgress())
    page = write_flow_page(Run.open(config.run), file)
    parts = file.record["parts"]
    if config.as_json:
        print_json(file.record)
        return
    if config.stack is not None:
        stacked = parts["stacked"]
        records = [
            {
                "feature": number,
                "label": one["label"],
                "spread": span,
                **{
                    f"layer {layer}": share
                    for layer, share in zip(stacked["layers"], one["shares"], strict=True)
                },
            }
            for number, (one, span) in enumerate(
                zip(stacked["features"], stacked["spans"], strict=True)
            )
        ]
    else:
        records = [
            {
                "from": step["lower"],
                "to": step["higher"],
                "links": len(step["links"]),
                **{name: step["fates"].count(name) for name in _FATES},
                "born": step["origins"].count("born"),
                "null": step["null_quantile"],
                "wired": step["wired_share"],
                "wired others": step["wired_others"],
            }
            for step in parts["flow"]["steps"]
        ]
    print_listing(records, config, empty="Nothing to show.")
    if not config.as_csv:
        say(f"Page: {page.resolve()}")


_FATES = ("persists", "splits", "merges", "dies")
