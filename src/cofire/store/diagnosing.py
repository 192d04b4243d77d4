"""What is wrong with the features of a stored run, layer by layer."""

from dataclasses import replace
from typing import Any

from cofire.evaluation.diagnosis import diagnose
from cofire.evaluation.diagnosis_records import Diagnosis, Finding
from cofire.registry import methods
from cofire.site import Site
from cofire.store.run import Run
from cofire.store.steering_results import read_steering


def diagnose_run(run: Run, layer: int | None = None, *, name: str | None = None) -> list[Diagnosis]:
    """Name dead, collapsed, non-causal and wrongly detecting features of a run.

    Whether features steer the model is taken from the run's own steering results; without any, the
    finding says that it was not measured, and with which command to measure it.

    Args:
        run: a run with a finished layer.
        layer: only this one; all when None.
        name: what commands call the run; its folder when None.

    Raises:
        InputError: when the layer is not finished, or none is.
        StoreError: when a part of the run is damaged.
    """
    sites = [run.site_at(layer)] if layer is not None or not run.sites else run.sites
    return [_diagnosis(run, site, str(run.path) if name is None else name) for site in sites]


def _diagnosis(run: Run, site: Site, name: str) -> Diagnosis:
    features = run.features(site)
    found = read_steering(run, site)
    effects = None if found is None else found[0].effects(len(features))
    diagnosis = diagnose(features, steering=effects, sparsity=_sparsity(run))
    return replace(
        diagnosis, findings=tuple(_with_command(one, name, site) for one in diagnosis.findings)
    )


def _with_command(finding: Finding, name: str, site: Site) -> Finding:
    """The finding, saying how to measure what was not."""
    if finding.problem != "non-causal" or not finding.missing:
        return finding
    if site.kind != "mlp":
        note = "Effects are measured on promoted tokens, which are known at mlp sites only."
    elif finding.measured:
        note = (
            f"{finding.missing} features were not measured; measure them with: "
            f"cofire steer {name} --layer {site.layer} --all"
        )
    else:
        note = (
            "Not measured: no feature was steered. Measure it with: "
            f"cofire steer {name} --layer {site.layer} --sample 30"
        )
    return replace(finding, note=note)


def _sparsity(run: Run) -> float | None:
    """Share of channels an atom keeps, where the run's method has one."""
    config: dict[str, Any] = dict(run.config)
    method = methods().get(str(config.get("method", "snmf")))
    sparsity = config.get("sparsity")
    if method is None or "sparsity" not in method.honours or not isinstance(sparsity, float):
        return None
    return sparsity
