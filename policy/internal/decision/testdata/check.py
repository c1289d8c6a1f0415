"""Decides each case of decisions.json by the rules, and compares. Needs Python 3 alone."""

import json
import pathlib
import sys

LEVELS = ["refused", "opportunistic", "encrypted", "authenticated"]


def refuse(why, *by):
    return {"level": "refused", "requires": set(), "observe": False, "by": set(by), "refusal": why}


def table(case):
    """What DANE and MTA-STS say (RFC 7672 section 2.2, RFC 8461 section 4)."""
    dane, policy = case["tlsa"] == "usable", case["mta_sts"]
    if case["mx"] in ("bogus", "failed"):
        return refuse("mx-lookup-failed")
    if case["tlsa"] == "failed":
        return refuse("tlsa-lookup-failed", "dane")
    verdict = {"level": "opportunistic", "requires": set(), "observe": False, "by": set(), "refusal": None}
    if case["tlsa"] == "unusable":
        verdict["level"], verdict["by"] = "encrypted", {"dane"}
    if dane:
        verdict.update(level="authenticated", requires={"dane"}, by={"dane"})
        if case["mx"] == "secure" and "require-both" not in case["wishes"]:
            return verdict  # MTA-STS is not even asked for
    if policy == "unknown":
        return refuse("policy-unknown", "mta-sts")
    if policy == "testing":
        verdict["observe"] = True
    if policy == "enforce":
        if not case["listed"]:
            return refuse("not-listed", "mta-sts")
        verdict.update(level="authenticated", requires=verdict["requires"] | {"web-pki"},
                       by={"mta-sts"} | ({"dane"} if dane else set()))
    return verdict


def lift(verdict, floor):
    """The operator's floor. Without a policy, the web PKI authenticates the host."""
    if verdict["level"] != "refused" and LEVELS.index(verdict["level"]) < LEVELS.index(floor):
        verdict["level"] = floor
        verdict["by"].add("operator")
        if floor == "authenticated":
            verdict["requires"].add("web-pki")
    return verdict


def decide(case):
    wishes, secure = set(case["wishes"]), case["mx"] == "secure"
    pinned = wishes & {"pinned", "host-pinned"}
    verdict = table(case)
    if "tls-optional" in wishes and "require-tls" not in wishes and verdict["refusal"] != "mx-lookup-failed":
        verdict = {"level": "opportunistic", "requires": set(), "observe": False, "by": set(), "refusal": None}
    allowed = verdict["level"] != "refused"
    if pinned and allowed:
        verdict["level"] = "authenticated"
        verdict["requires"].add("dane")
        verdict["by"] |= {"dane", "operator"}
    if "require-dane" in wishes and allowed:
        if not secure or not (pinned or case["tlsa"] == "usable"):
            verdict = refuse("dane-missing", "dane", "operator")
        else:
            verdict["level"] = "authenticated"
            verdict["requires"].add("dane")
            verdict["by"] |= {"dane", "operator"}
    if "require-tls" in wishes and verdict["level"] != "refused":
        if not secure and not (case["listed"] and case["mta_sts"] in ("enforce", "testing")):
            verdict = refuse("route-unauthenticated", "operator")
        else:
            verdict = lift(verdict, "authenticated")
    if "require-route" in wishes and verdict["level"] != "refused":
        if secure or case["listed"] and case["mta_sts"] == "enforce" or "pinned" in wishes:
            verdict = lift(verdict, "authenticated")
        else:
            verdict["level"] = "authenticated"
            verdict["by"].add("operator")
            verdict["requires"].add("next-hop")
    return lift(verdict, case.get("floor", "refused"))


def main():
    cases = json.loads((pathlib.Path(__file__).parent / "decisions.json").read_text())
    wrong = 0
    for case in cases:
        verdict = decide(case)
        want = (case["level"], set(case["requires"]), case["observe"], set(case["decided_by"]), case.get("refusal"))
        got = (verdict["level"], verdict["requires"], verdict["observe"], verdict["by"], verdict["refusal"])
        if got != want:
            wrong += 1
            print(f"{case}: decided {got}")
    print(f"{len(cases)} decisions, {wrong} differ")
    sys.exit(1 if wrong or not cases else 0)


if __name__ == "__main__":
    main()
