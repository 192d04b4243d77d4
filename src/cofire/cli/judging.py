"""Commands that judge features: doctor, steer, label."""

import math
from typing import Any

from cofire.cli.listing import check_form, print_json, print_listing, say
from cofire.cli.progress import TerminalProgress
from cofire.config import DoctorConfig, LabelConfig, SteerConfig
from cofire.evaluation.diagnosis_records import Diagnosis, Finding
from cofire.interpret.wording import readable
from cofire.store import Run


def doctor(config: DoctorConfig) -> None:
    """Run ``cofire doctor``."""
    from cofire.store.diagnosing import diagnose_run

    check_form(config)
    found = diagnose_run(Run.open(config.run), config.layer)
    if config.as_json:
        print_json([_diagnosis_record(one) for one in found])
        return
    records = [
        {
            "layer": one.layer,
            "problem": finding.problem,
            "features": len(finding.features) if finding.measured else None,
            "looked at": finding.looked_at,
            "not measured": finding.missing,
            "figure": finding.figure,
            "limit": finding.limit if finding.measured else None,
        }
        for one in found
        for finding in one.findings
    ]
    print_listing(records, config, empty="Nothing was looked at.")
    if not config.as_csv:
        for one in found:
            for finding in one.findings:
                _say_finding(one, finding, config.limit)


def steer(config: SteerConfig) -> None:
    """Run ``cofire steer``."""
    from cofire import jobs
    from cofire.jobs.steering_runs import steered_records

    check_form(config)
    steered = jobs.steer(config, TerminalProgress())
    print_listing(steered_records(steered), config, empty="No feature was steered.")
    if not (config.as_json or config.as_csv):
        if steered.judge is not None:
            say(f"\nJudge: {readable(steered.judge)}. Scores are from 0 to 2.")
        layer = "" if config.layer is None else f" --layer {config.layer}"
        say(f"Next: cofire doctor {config.run}{layer}")


def label(config: LabelConfig) -> None:
    """Run ``cofire label``."""
    from cofire import jobs

    check_form(config)
    found = jobs.label(config, TerminalProgress())
    run = Run.open(config.run)
    records = []
    for site, labels in found.items():
        features = run.features(site)
        by_kind = {(one.feature, one.kind): one for one in labels}
        for index in sorted({one.feature for one in labels}):
            own = [by_kind.get((index, kind)) for kind in ("input", "output")]
            records.append(
                {
                    "layer": site.layer,
                    "feature": index,
                    "offline": features[index].label,
                    "from contexts": None if own[0] is None else own[0].label,
                    "from tokens": None if own[1] is None else own[1].label,
                    "problem": next((o.problem for o in own if o is not None and o.problem), None),
                }
            )
    print_listing(records, config, empty="No feature was labelled.")
    if not (config.as_json or config.as_csv):
        every = [one for labels in found.values() for one in labels]
        missing = sum(one.missing for one in every)
        say(f"\n{len(every) - missing} labels, {missing} missing.")


def _say_finding(diagnosis: Diagnosis, finding: Finding, limit: int) -> None:
    if not finding.features and finding.note is None:
        return
    count = f", {len(finding.features)} features" if finding.measured else ""
    say(f"\nLayer {diagnosis.layer}, {finding.problem}{count}")
    for one in finding.features[:limit]:
        say(f"  {readable(one.words)}")
    if len(finding.features) > limit:
        say(f"  … and {len(finding.features) - limit} more")
    for change in finding.changes:
        say(f"  Change: {change.words}")
    if finding.note is not None:
        say(f"  {finding.note}")


def _diagnosis_record(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "site": diagnosis.site,
        "layer": diagnosis.layer,
        "k": diagnosis.k,
        "affected": list(diagnosis.affected),
        "findings": [
            {
                "problem": one.problem,
                "figure": one.figure,
                "unit": one.unit,
                "limit": one.limit if one.measured else None,
                "looked_at": one.looked_at,
                "missing": one.missing,
                "features": [
                    {
                        "feature": f.index,
                        # JSON has no infinity; the words say it.
                        "value": f.value if math.isfinite(f.value) else None,
                        "words": f.words,
                    }
                    for f in one.features
                ],
                "changes": [{"setting": c.setting, "words": c.words} for c in one.changes],
                "note": one.note,
            }
            for one in diagnosis.findings
        ],
    }
