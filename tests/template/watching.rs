//! Alarms: somebody is told, the runbook explains, and what they stand on exists.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::reading::{Resource, Stack, list, texts};
use crate::harness::functions::root;

/// The runbook's entry of an alarm: those of the three functions share one.
fn entry(alarm: &str) -> &str {
    if alarm.ends_with("Errors") { "FunctionErrors" } else { alarm }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Names of the metrics of our own namespace that an alarm stands on, inside queries too.
fn own_metrics(alarm: Resource<'_>) -> BTreeSet<&str> {
    let told = json!({ "Ref": "Told" });
    let simple = (*alarm.property("/Namespace") == told).then(|| alarm.property("/MetricName"));
    let stats = list(alarm.property("/Metrics")).into_iter().map(|metric| &metric["MetricStat"]["Metric"]);
    let stats = stats.filter(|metric| metric["Namespace"] == told).map(|metric| &metric["MetricName"]);
    let mut names: BTreeSet<&str> = simple.into_iter().chain(stats).filter_map(Value::as_str).collect();
    let queries = list(alarm.property("/Metrics")).into_iter().filter_map(|metric| {
        let expression = &metric["Expression"];
        expression.as_str().or_else(|| expression["Fn::Sub"].as_str())
    });
    names.extend(queries.filter_map(|query| query.strip_prefix("SELECT ")?.split(['(', ')']).nth(1)));
    names
}

pub fn alarms(stack: &Stack) -> Vec<String> {
    let runbook = read("RUNBOOK.md");
    let mut unexplained: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let explained = unexplained.clone();
    let telemetry = read("shared/src/telemetry.rs");
    let mut findings = Vec::new();
    let mut alarms = 0;
    for alarm in stack.of_type("AWS::CloudWatch::Alarm") {
        alarms += 1;
        let entry = entry(alarm.id);
        unexplained.remove(entry);
        if !explained.contains(entry) {
            findings.push(format!("RUNBOOK.md has no entry {entry}"));
        }
        let description = alarm.property("/AlarmDescription").as_str().unwrap_or_default();
        if !description.ends_with(&format!(" RUNBOOK.md, {entry}.")) {
            findings.push(format!("{} does not say where it is explained: {description}", alarm.place()));
        }
        if list(alarm.property("/AlarmActions")).is_empty() {
            findings.push(format!("{} tells nobody", alarm.place()));
        }
        for metric in own_metrics(alarm) {
            if !telemetry.contains(&format!("\"{metric}\"")) {
                findings.push(format!("{}: no function tells {metric}", alarm.place()));
            }
        }
    }
    findings.extend(unexplained.into_iter().map(|name| format!("RUNBOOK.md explains {name}, which is no alarm")));
    if alarms < 20 {
        findings.push(format!("there are only {alarms} alarms"));
    }
    findings.extend(patterns(stack));
    findings.extend(dashboards(stack));
    findings
}

/// A dashboard is JSON in a text, which no linter reads.
fn dashboards(stack: &Stack) -> Vec<String> {
    let mut findings = Vec::new();
    for dashboard in stack.of_type("AWS::CloudWatch::Dashboard") {
        let body = texts(dashboard.property("/DashboardBody")).concat();
        match serde_json::from_str::<Value>(&body) {
            Ok(body) if list(&body["widgets"]).len() >= 8 => {}
            Ok(body) => findings.push(format!("{} shows {}", dashboard.place(), body["widgets"])),
            Err(error) => findings.push(format!("{}: {error}", dashboard.place())),
        }
    }
    findings
}

/// Log lines that metrics are made of have to be written by somebody.
fn patterns(stack: &Stack) -> Vec<String> {
    let sources = crate::tidy::product();
    let mut findings = Vec::new();
    for filter in stack.of_type("AWS::Logs::MetricFilter") {
        let pattern = texts(filter.property("/FilterPattern")).concat();
        let Some(message) = pattern.split("$.fields.message = \"").nth(1).and_then(|rest| rest.split('"').next())
        else {
            continue;
        };
        if !sources.values().any(|text| text.contains(&format!("\"{message}\""))) {
            findings.push(format!("{}: nobody logs {message:?}", filter.place()));
        }
    }
    findings
}
