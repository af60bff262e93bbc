"""The scenario file's JSON Schema, in the draft that TOML editors understand."""

from __future__ import annotations

from typing import Any

from pydantic import create_model

from simulator.schema import Cloud, Device, Document, Link, NodeTable, Offload, Workload

# A table may leave out what another table provides by inheritance.
INHERITED = ("Workload", "Device", "Link", "Cloud")


def json_schema() -> dict[str, Any]:
    """Return the schema of a scenario file as JSON Schema, draft 4."""
    node = create_model(
        "Node",
        __base__=NodeTable,
        workload=(Workload | None, None),
        device=(Device | None, None),
        link=(Link | None, None),
        offload=(Offload | None, None),
    )
    whole = create_model(
        "Scenario",
        __base__=Document,
        workload=(Workload | None, None),
        device=(Device | None, None),
        cloud=(Cloud | None, None),
        link=(Link | None, None),
        offload=(Offload | None, None),
        node=(tuple[node, ...], ()),
    )
    schema = _draft_4(whole.model_json_schema(by_alias=True))
    for name in INHERITED:
        schema["definitions"][name].pop("required", None)
    return {"$schema": "http://json-schema.org/draft-04/schema#", **schema}


def _draft_4(part: Any) -> Any:
    """Rewrite what newer drafts spell differently; TOML has no null, so its alternatives go."""
    if isinstance(part, list):
        return [_draft_4(item) for item in part]
    if not isinstance(part, dict):
        return part.replace("#/$defs/", "#/definitions/") if isinstance(part, str) else part
    out = {("definitions" if key == "$defs" else key): _draft_4(item) for key, item in part.items()}
    if "const" in out:
        out["enum"] = [out.pop("const")]
    for bound in ("Minimum", "Maximum"):
        if isinstance(limit := out.get(f"exclusive{bound}"), int | float) and not isinstance(limit, bool):
            out |= {bound.lower(): limit, f"exclusive{bound}": True}
    if "anyOf" in out:
        out["anyOf"] = [choice for choice in out["anyOf"] if choice != {"type": "null"}]
    if out.get("default", 0) is None:
        del out["default"]
    return out
