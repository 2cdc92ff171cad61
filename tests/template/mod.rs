//! The templates of the deployment, read as CloudFormation reads them: rules about what no linter knows, and a mutation for
//! each of them, which has to be caught.

mod access;
mod mutations;
mod permitted;
mod promises;
mod reading;
mod watching;

use reading::Stack;

/// What a rule has to say against a stack, a line a finding.
type Rule = fn(&Stack) -> Vec<String>;

/// Every rule by its name.
const RULES: [(&str, Rule); 16] = [
    ("no wildcard without a reason", access::wildcards),
    ("a function has the role written for it and no more", access::roles),
    ("only the jobs may scan", access::scans),
    ("nobody may delete more than items", access::deletions),
    ("nobody is let in by address", access::ways_in),
    ("nobody gets out but where it is said why", access::ways_out),
    ("there is no way to the internet", access::internet),
    ("everything is encrypted on its way and at rest", access::encryption),
    ("stores know who calls", access::authentication),
    ("the table outlives mistakes", promises::table),
    ("a request is tried until it is decided or kept", promises::event_source),
    ("what was acknowledged stays", promises::kafka),
    ("Redis forgets nothing by itself", promises::redis),
    ("functions are bounded and taken back", promises::functions),
    ("the API is throttled and logged", promises::api),
    ("every alarm is told and explained", watching::alarms),
];

/// What all rules have to say, each line behind its rule's name.
fn findings(stack: &Stack) -> Vec<String> {
    let of = |(name, rule): &(&str, Rule)| -> Vec<String> {
        rule(stack).into_iter().map(|finding| format!("{name}: {finding}")).collect()
    };
    RULES.iter().flat_map(of).collect()
}

#[test]
fn the_templates_keep_every_rule() {
    let findings = findings(&Stack::read());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}
