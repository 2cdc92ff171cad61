//! What the templates have to say for the system to keep its promises.

use serde_json::{Value, json};

use super::reading::{Resource, Stack, list, texts};

/// How long an accepted request is kept, in ms: a consumer may stand still over a long weekend.
const KEPT_MS: u64 = 7 * 24 * 3600 * 1000;

pub fn table(stack: &Stack) -> Vec<String> {
    let table = match stack.only("AWS::DynamoDB::Table") {
        Ok(table) => table,
        Err(findings) => return findings,
    };
    let mut findings = table.wants(&[
        ("/BillingMode", json!("PAY_PER_REQUEST")),
        ("/DeletionProtectionEnabled", json!(true)),
        ("/PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled", json!(true)),
        // No item of ours has it; an end that some condition reads is called otherwise.
        ("/TimeToLiveSpecification/AttributeName", json!("ttl")),
    ]);
    findings.extend(retained(table));
    // An index that is not warm holds up the table that is.
    for index in list(table.property("/GlobalSecondaryIndexes")) {
        if index["WarmThroughput"] != *table.property("/WarmThroughput") || index["WarmThroughput"].is_null() {
            findings.push(format!("{}: {} is not as warm as the table", table.place(), index["IndexName"]));
        }
    }
    findings
}

fn retained(resource: Resource<'_>) -> Vec<String> {
    let policies = ["DeletionPolicy", "UpdateReplacePolicy"];
    let wrong = policies.iter().filter(|policy| resource.value[**policy] != "Retain");
    wrong.map(|policy| format!("{}: {policy} is {}", resource.place(), resource.value[*policy])).collect()
}

/// The topics of the stack by name.
fn topics(stack: &Stack) -> Vec<(Resource<'_>, &str)> {
    let topics = stack.of_type("AWS::MSK::Topic");
    topics.map(|topic| (topic, topic.property("/TopicName").as_str().unwrap_or_default())).collect()
}

pub fn event_source(stack: &Stack) -> Vec<String> {
    let functions = stack.of_type("AWS::Serverless::Function");
    let sources: Vec<(Resource<'_>, &Value)> = functions
        .flat_map(|function| {
            let events = function.property("/Events").as_object().into_iter().flatten();
            events.filter(|(_, event)| event["Type"] == "MSK").map(move |(_, event)| (function, &event["Properties"]))
        })
        .collect();
    let [(function, source)] = sources.as_slice() else {
        return vec![format!("there are {} event sources", sources.len())];
    };
    let mut findings = Vec::new();
    for (pointer, wanted) in [
        ("/StartingPosition", json!("TRIM_HORIZON")),
        ("/FunctionResponseTypes", json!(["ReportBatchItemFailures"])),
        ("/BisectBatchOnFunctionError", json!(true)),
        ("/MaximumRetryAttempts", json!(10_000)),
        ("/MaximumRecordAgeInSeconds", json!(-1)),
        ("/DestinationConfig/OnFailure/Type", json!("Kafka")),
    ] {
        let is = source.pointer(pointer).unwrap_or(&Value::Null);
        if is != &wanted {
            findings.push(format!("{}: {pointer} is {is}, not {wanted}", function.place()));
        }
    }
    // Without them Lambda takes none of the settings above.
    if source.pointer("/ProvisionedPollerConfig/MinimumPollers").and_then(Value::as_u64).is_none() {
        findings.push(format!("{}: no provisioned pollers", function.place()));
    }
    let failed = source.pointer("/DestinationConfig/OnFailure/Destination").and_then(Value::as_str);
    let topic = failed.and_then(|destination| destination.strip_prefix("kafka://")).unwrap_or_default();
    if !topics(stack).iter().any(|(_, name)| *name == topic) {
        findings.push(format!("{}: what failed goes to {failed:?}, which is no topic of ours", function.place()));
    }
    findings
}

pub fn kafka(stack: &Stack) -> Vec<String> {
    let mut findings = Vec::new();
    for configuration in stack.of_type("AWS::MSK::Configuration") {
        let lines: Vec<&str> =
            configuration.property("/ServerProperties").as_str().unwrap_or_default().lines().map(str::trim).collect();
        for wanted in [
            "auto.create.topics.enable=false",
            "default.replication.factor=3",
            "min.insync.replicas=2",
            "unclean.leader.election.enable=false",
        ] {
            if !lines.contains(&wanted) {
                findings.push(format!("{} lacks {wanted}", configuration.place()));
            }
        }
    }
    for cluster in stack.of_type("AWS::MSK::Cluster") {
        findings.extend(cluster.wants(&[
            ("/NumberOfBrokerNodes", json!(3)),
            ("/ConfigurationInfo/Arn", json!({ "Ref": "Configuration" })),
            ("/LoggingInfo/BrokerLogs/CloudWatchLogs/Enabled", json!(true)),
        ]));
    }
    if stack.of_type("AWS::ApplicationAutoScaling::ScalableTarget").all(|target| target.id != "Storage") {
        findings.push("the brokers' volumes do not grow".to_owned());
    }
    let topics = topics(stack);
    for (topic, name) in &topics {
        findings.extend(topic.wants(&[("/ReplicationFactor", json!(3))]));
        findings.extend(retained(*topic));
        let kept = texts(topic.property("/Configs")).into_iter().find_map(|text| text.strip_prefix("retention.ms="));
        if kept.and_then(|ms| ms.parse::<u64>().ok()).is_none_or(|ms| ms < KEPT_MS) {
            findings.push(format!("{} ({name}) is kept for {kept:?} ms", topic.place()));
        }
    }
    // What the functions are told they are called.
    for variable in ["REQUESTS_TOPIC", "OUTCOMES_TOPIC", "DLQ_TOPIC", "FAILED_TOPIC"] {
        let told = stack.globals(&format!("/Function/Environment/Variables/{variable}"));
        if !topics.iter().any(|(_, name)| told == name) {
            findings.push(format!("{variable} is {told}, which is no topic of ours"));
        }
    }
    findings
}

pub fn redis(stack: &Stack) -> Vec<String> {
    let mut findings = Vec::new();
    for group in stack.of_type("AWS::ElastiCache::ParameterGroup") {
        findings.extend(group.wants(&[("/Properties/maxmemory-policy", json!("noeviction"))]));
    }
    for cache in stack.of_type("AWS::ElastiCache::ReplicationGroup") {
        findings.extend(cache.wants(&[
            ("/CacheParameterGroupName", json!({ "Ref": "Parameters" })),
            ("/MultiAZEnabled", json!(true)),
            ("/AutomaticFailoverEnabled", json!(true)),
            ("/SnapshotRetentionLimit", json!({ "Ref": "SnapshotDays" })),
        ]));
    }
    findings
}

pub fn functions(stack: &Stack) -> Vec<String> {
    let mut findings = Vec::new();
    for (pointer, wanted) in [
        ("/Function/Architectures", json!(["arm64"])),
        ("/Function/Runtime", json!("provided.al2023")),
        ("/Function/AutoPublishAlias", json!("live")),
        ("/Function/Tracing", json!("Active")),
    ] {
        if stack.globals(pointer) != &wanted {
            findings.push(format!("globals: {pointer} is {}, not {wanted}", stack.globals(pointer)));
        }
    }
    for function in stack.of_type("AWS::Serverless::Function") {
        for pointer in ["/MemorySize", "/Timeout", "/LoggingConfig/LogGroup"] {
            if function.property(pointer).is_null() {
                findings.push(format!("{} has no {pointer}", function.place()));
            }
        }
        if list(function.property("/DeploymentPreference/Alarms")).is_empty() {
            findings.push(format!("{}: nothing takes a deployment back", function.place()));
        }
    }
    // MSK's connections are what a burst of environments uses up.
    if stack.of_type("AWS::Serverless::Function").all(|one| one.property("/ReservedConcurrentExecutions").is_null()) {
        findings.push("the producer has no reserved concurrency".to_owned());
    }
    for group in stack.of_type("AWS::Logs::LogGroup") {
        if group.property("/RetentionInDays").is_null() {
            findings.push(format!("{} is kept for ever", group.place()));
        }
    }
    findings
}

pub fn api(stack: &Stack) -> Vec<String> {
    let api = match stack.only("AWS::Serverless::HttpApi") {
        Ok(api) => api,
        Err(findings) => return findings,
    };
    let mut findings = Vec::new();
    let reserve = "/RouteSettings/POST ~1events~1{event_id}~1reservations";
    for pointer in [
        "/DefaultRouteSettings/ThrottlingRateLimit",
        "/DefaultRouteSettings/ThrottlingBurstLimit",
        &format!("{reserve}/ThrottlingRateLimit"),
        "/AccessLogSettings/DestinationArn",
    ] {
        if api.property(pointer).is_null() {
            findings.push(format!("{} has no {pointer}", api.place()));
        }
    }
    if stack.globals("/HttpApi/Auth/DefaultAuthorizer").is_null() {
        findings.push("a route is open unless it says otherwise".to_owned());
    }
    // The log is for everybody on call: who asked is not in it.
    let format = api.property("/AccessLogSettings/Format").as_str().unwrap_or_default();
    if ["sourceIp", "claims", "authorizer.sub"].iter().any(|word| format.contains(word)) {
        findings.push(format!("{} logs who asked", api.place()));
    }
    let origins = api.property("/CorsConfiguration/AllowOrigins");
    if texts(origins).iter().any(|origin| origin.contains('*')) {
        findings.push(format!("{} lets every origin call", api.place()));
    }
    findings
}
