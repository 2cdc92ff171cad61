//! Who may do what, and who may talk to whom.

use serde_json::{Value, json};

use super::reading::{Resource, Stack, list, texts};

/// Statements that may say `*`: template, resource, statement, and why.
const WILDCARDS: [(&str, &str, &str); 5] = [
    ("template.yaml InTheNetwork", "LambdaMakesInterfaces", "an interface has no name before it is made"),
    ("template.yaml Traced", "TellSpans", "X-Ray's segments are nobody's resource"),
    ("template.yaml ReservationPersistRole", "FindNetwork", "EC2 describes all groups and networks or none"),
    ("deploy/network.yaml DynamoDbEndpoint", "TablesOfThisAccount", "grants nothing; which table is the role's to say"),
    (
        "deploy/network.yaml MskApiEndpoint",
        "BrokersOfThisAccount",
        "grants nothing; which cluster is the role's to say",
    ),
];

/// Whose statements may have `dynamodb:Scan`: reconciling and redriving read all there is.
const SCANNERS: [&str; 1] = ["template.yaml ScheduledJobsRole"];

/// Deleting that is part of the work.
const DELETIONS: [&str; 2] = ["dynamodb:DeleteItem", "ec2:DeleteNetworkInterface"];

/// Ways out by address: the security group, the port, and why.
const WAYS_OUT: [(&str, u64, &str); 1] =
    [("deploy/network.yaml Functions", 443, "a gateway endpoint is reached under DynamoDB's public addresses")];

/// A statement of a policy, and the resource it stands in.
struct Statement<'a> {
    place: String,
    endpoint: bool,
    value: &'a Value,
}

impl Statement<'_> {
    fn sid(&self) -> &str {
        self.value["Sid"].as_str().unwrap_or("without a Sid")
    }

    fn actions(&self) -> Vec<&str> {
        texts(&self.value["Action"])
    }

    fn finding(&self, what: &str) -> String {
        format!("{} {}: {what}", self.place, self.sid())
    }
}

/// Every statement that allows something, in whatever kind of policy.
fn allowing(stack: &Stack) -> Vec<Statement<'_>> {
    let policies = stack.resources().filter(|resource| resource.value["Type"] != "AWS::Cognito::UserPool");
    policies.flat_map(statements).filter(|statement| statement.value["Effect"] != "Deny").collect()
}

/// Every statement of a resource's policies.
fn statements(resource: Resource<'_>) -> Vec<Statement<'_>> {
    let own = list(resource.property("/PolicyDocument"));
    let inline = list(resource.property("/Policies"));
    // A role names its policies; a function of SAM's has them bare.
    let inline = inline.into_iter().map(|policy| policy.get("PolicyDocument").unwrap_or(policy));
    let statements = own.into_iter().chain(inline).flat_map(|document| list(&document["Statement"]));
    let endpoint = resource.value["Type"] == "AWS::EC2::VPCEndpoint";
    statements.map(|value| Statement { place: resource.place(), endpoint, value }).collect()
}

pub fn wildcards(stack: &Stack) -> Vec<String> {
    let statements = allowing(stack);
    let mut findings = Vec::new();
    for statement in &statements {
        let listed = WILDCARDS.iter().any(|(place, sid, _)| *place == statement.place && *sid == statement.sid());
        for part in ["Action", "Resource", "NotAction", "NotResource"] {
            let value = &statement.value[part];
            let star = texts(value).into_iter().find(|text| text.contains('*'));
            match star {
                // An action is always named whole, whoever stands in the list.
                Some(text) if part == "Action" || !listed => {
                    findings.push(statement.finding(&format!("{part} {text}")))
                }
                _ if part.starts_with("Not") && !value.is_null() => findings.push(statement.finding(part)),
                _ => {}
            }
        }
        if !statement.endpoint && list(&statement.value["Resource"]).is_empty() {
            findings.push(statement.finding("no resource"));
        }
        let anybody = texts(&statement.value["Principal"]).contains(&"*");
        if anybody && statement.value.pointer("/Condition/StringEquals/aws:PrincipalAccount").is_none() {
            findings.push(statement.finding("anybody's"));
        }
    }
    for (place, sid, why) in WILDCARDS {
        if !statements.iter().any(|statement| statement.place == place && statement.sid() == sid) {
            findings.push(format!("the list names {place} {sid} ({why}), which is not there"));
        }
    }
    findings
}

pub fn roles(stack: &Stack) -> Vec<String> {
    let mut findings = Vec::new();
    for function in stack.of_type("AWS::Serverless::Function") {
        let role = function.property("/Role/Fn::GetAtt/0");
        if role != &json!(format!("{}Role", function.id.trim_end_matches("Function"))) {
            findings.push(format!("{} has the role {role}", function.place()));
        }
        if !function.property("/Policies").is_null() {
            findings.push(format!("{} has policies beside its role", function.place()));
        }
    }
    for role in stack.of_type("AWS::IAM::Role") {
        // A policy of AWS' is a text, or an ARN built of one; ours are references.
        for policy in list(role.property("/ManagedPolicyArns")) {
            if texts(policy).iter().any(|text| text.contains("arn:") || text.contains("policy/")) {
                findings.push(format!("{} has {policy}", role.place()));
            }
        }
    }
    findings
}

pub fn scans(stack: &Stack) -> Vec<String> {
    let scanning = |statement: &Statement<'_>| {
        let scans = |action: &&str| *action == "dynamodb:Scan" || action.starts_with("dynamodb:PartiQL");
        !statement.endpoint && !SCANNERS.contains(&statement.place.as_str()) && statement.actions().iter().any(scans)
    };
    allowing(stack).iter().filter(|statement| scanning(statement)).map(|one| one.finding("may scan")).collect()
}

pub fn deletions(stack: &Stack) -> Vec<String> {
    let mut findings = Vec::new();
    for statement in allowing(stack) {
        for action in statement.actions() {
            let name = action.split_once(':').map_or(action, |(_, name)| name);
            let changes = name.starts_with("Delete") || name.starts_with("Update") && name != "UpdateItem";
            if changes && !DELETIONS.contains(&action) {
                findings.push(statement.finding(action));
            }
        }
    }
    findings
}

/// Rules of security groups in a direction, `Ingress` or `Egress`, each with the group's place.
fn rules<'a>(stack: &'a Stack, direction: &str) -> Vec<(String, &'a Value)> {
    let inline = stack.of_type("AWS::EC2::SecurityGroup").flat_map(|group| {
        let rules = list(group.property(&format!("/SecurityGroup{direction}")));
        rules.into_iter().map(move |rule| (group.place(), rule))
    });
    let kind = format!("AWS::EC2::SecurityGroup{direction}");
    let apart = stack.resources().filter(|resource| resource.value["Type"] == kind);
    let apart = apart.map(|rule| (rule.place(), rule.property("")));
    inline.chain(apart).collect()
}

fn addresses(rule: &Value) -> Vec<&str> {
    ["CidrIp", "CidrIpv6"].iter().flat_map(|name| texts(&rule[*name])).collect()
}

pub fn ways_in(stack: &Stack) -> Vec<String> {
    let rules = rules(stack, "Ingress");
    let by_group = |rule: &Value| !rule["SourceSecurityGroupId"].is_null() && rule["FromPort"] == rule["ToPort"];
    rules.iter().filter(|(_, rule)| !by_group(rule)).map(|(place, rule)| format!("{place}: {rule}")).collect()
}

pub fn ways_out(stack: &Stack) -> Vec<String> {
    let mut findings = Vec::new();
    for (place, rule) in rules(stack, "Egress") {
        let listed = |to: &u64| WAYS_OUT.iter().any(|(group, port, _)| *group == place && port == to);
        let nowhere = addresses(rule) == ["127.0.0.1/32"];
        let by_group = !rule["DestinationSecurityGroupId"].is_null();
        let known = rule["FromPort"] == rule["ToPort"] && rule["ToPort"].as_u64().as_ref().is_some_and(listed);
        if !nowhere && !by_group && !known {
            findings.push(format!("{place}: {rule}"));
        }
    }
    // Without a rule EC2 lets everything out.
    let silent = stack.of_type("AWS::EC2::SecurityGroup");
    let silent = silent.filter(|group| list(group.property("/SecurityGroupEgress")).is_empty());
    findings.extend(silent.map(|group| format!("{}: everywhere", group.place())));
    findings
}

pub fn internet(stack: &Stack) -> Vec<String> {
    let ways = ["AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::EIP", "AWS::EC2::Route"];
    let ways = stack.resources().filter(|resource| ways.iter().any(|kind| resource.value["Type"] == *kind));
    let mut findings: Vec<String> = ways.map(|resource| resource.place()).collect();
    for subnet in stack.of_type("AWS::EC2::Subnet") {
        findings.extend(subnet.wants(&[("/MapPublicIpOnLaunch", json!(false))]));
    }
    for cluster in stack.of_type("AWS::MSK::Cluster") {
        let access = "/BrokerNodeGroupInfo/ConnectivityInfo/PublicAccess/Type";
        findings.extend(cluster.wants(&[(access, json!("DISABLED"))]));
    }
    findings
}

pub fn encryption(stack: &Stack) -> Vec<String> {
    let wanted: [(&str, &[(&str, Value)]); 5] = [
        (
            "AWS::MSK::Cluster",
            &[
                ("/EncryptionInfo/EncryptionInTransit/ClientBroker", json!("TLS")),
                ("/EncryptionInfo/EncryptionInTransit/InCluster", json!(true)),
            ],
        ),
        (
            "AWS::ElastiCache::ReplicationGroup",
            &[
                ("/TransitEncryptionEnabled", json!(true)),
                ("/TransitEncryptionMode", json!("required")),
                ("/AtRestEncryptionEnabled", json!(true)),
            ],
        ),
        ("AWS::DynamoDB::Table", &[("/SSESpecification/SSEEnabled", json!(true))]),
        ("AWS::ApiGatewayV2::DomainName", &[("/DomainNameConfigurations/0/SecurityPolicy", json!("TLS_1_2"))]),
        ("AWS::EC2::VPCEndpoint", &[]),
    ];
    let of = |(kind, properties): &(&'static str, &[(&str, Value)])| -> Vec<String> {
        let found: Vec<_> = stack.of_type(kind).collect();
        let missing = found.is_empty().then(|| format!("there is no {kind}"));
        found.iter().flat_map(|resource| resource.wants(properties)).chain(missing).collect()
    };
    wanted.iter().flat_map(of).collect()
}

pub fn authentication(stack: &Stack) -> Vec<String> {
    let mut findings = Vec::new();
    for cluster in stack.of_type("AWS::MSK::Cluster") {
        findings.extend(cluster.wants(&[
            ("/ClientAuthentication/Sasl/Iam/Enabled", json!(true)),
            ("/ClientAuthentication/Sasl/Scram/Enabled", json!(false)),
            ("/ClientAuthentication/Tls/Enabled", json!(false)),
            ("/ClientAuthentication/Unauthenticated/Enabled", json!(false)),
        ]));
    }
    for user in stack.of_type("AWS::ElastiCache::User") {
        findings.extend(user.wants(&[("/AuthenticationMode/Type", json!("iam"))]));
        if user.property("/UserId") != user.property("/UserName") {
            findings.push(format!("{}: its id is not its name", user.place()));
        }
        let access = user.property("/AccessString").as_str().unwrap_or_default();
        if access.split(' ').any(|word| word == "~*" || word == "&*" || word == "allkeys" || word == "allchannels") {
            findings.push(format!("{} may reach every key: {access}", user.place()));
        }
    }
    for cache in stack.of_type("AWS::ElastiCache::ReplicationGroup") {
        if list(cache.property("/UserGroupIds")).is_empty() {
            findings.push(format!("{} takes anybody", cache.place()));
        }
    }
    findings
}
