//! Each rule has to notice when a template is broken against it. A mutation whose text is not found any more fails, too.

use std::collections::BTreeSet;

use super::reading::{MAIN, Stack};
use super::{RULES, findings};

const NETWORK: &str = "deploy/network.yaml";
const KAFKA: &str = "deploy/kafka.yaml";
const TOPICS: &str = "deploy/topics.yaml";
const REDIS: &str = "deploy/redis.yaml";
const ALARMS: &str = "deploy/alarms.yaml";

/// A rule, the template, the text that is replaced wherever it stands, and what by.
type Mutation = (&'static str, &'static str, &'static str, &'static str);

const WILDCARD: &str = "no wildcard without a reason";
const ROLE: &str = "a function has the role written for it and no more";
const SCAN: &str = "only the jobs may scan";
const DELETE: &str = "nobody may delete more than items";
const IN: &str = "nobody is let in by address";
const OUT: &str = "nobody gets out but where it is said why";
const INTERNET: &str = "there is no way to the internet";
const ENCRYPTED: &str = "everything is encrypted on its way and at rest";
const KNOWN: &str = "stores know who calls";
const TABLE: &str = "the table outlives mistakes";
const SOURCE: &str = "a request is tried until it is decided or kept";
const LOG: &str = "what was acknowledged stays";
const CACHE: &str = "Redis forgets nothing by itself";
const FUNCTION: &str = "functions are bounded and taken back";
const API: &str = "the API is throttled and logged";
const ALARM: &str = "every alarm is told and explained";

const MUTATIONS: &[Mutation] = &[
    (WILDCARD, MAIN, "- dynamodb:BatchGetItem\n", "- dynamodb:*\n"),
    (WILDCARD, MAIN, "Action: elasticache:Connect", "Action: \"*\""),
    (WILDCARD, MAIN, "Resource: !GetAtt Topics.Outputs.Requests", "Resource: \"*\""),
    (WILDCARD, MAIN, "!GetAtt ReservationApiLogs.Arn", "!Sub arn:${AWS::Partition}:logs:*:*:*"),
    (WILDCARD, MAIN, "- !Sub ${Table.Arn}/index/by_event", "- !Sub ${Table.Arn}/index/*"),
    (WILDCARD, MAIN, "Action: kafka:GetBootstrapBrokers", "NotAction: kafka:DeleteCluster"),
    (WILDCARD, MAIN, "Sid: FindNetwork", "Sid: FindSomething"),
    (
        WILDCARD,
        NETWORK,
        "            Condition: { StringEquals: { \"aws:PrincipalAccount\": !Ref AWS::AccountId } }\n",
        "",
    ),
    (ROLE, MAIN, "      Role: !GetAtt ReservationPersistRole.Arn\n", ""),
    (ROLE, MAIN, "Role: !GetAtt ScheduledJobsRole.Arn", "Role: !GetAtt ReservationApiRole.Arn"),
    (ROLE, MAIN, "      Timeout: 15\n", "      Timeout: 15\n      Policies: [AmazonDynamoDBFullAccess]\n"),
    (ROLE, MAIN, "[!Ref InTheNetwork, ", "[arn:aws:iam::aws:policy/AdministratorAccess, "),
    (SCAN, MAIN, "                  - dynamodb:PutItem\n", "                  - dynamodb:Scan\n"),
    (DELETE, MAIN, "                  - dynamodb:PutItem\n", "                  - dynamodb:DeleteTable\n"),
    (DELETE, MAIN, "kafka-cluster:ReadData]", "kafka-cluster:ReadData, kafka-cluster:DeleteTopic]"),
    (IN, NETWORK, "ToPort: 6379, SourceSecurityGroupId: !Ref Functions", "ToPort: 6379, CidrIp: 0.0.0.0/0"),
    (IN, NETWORK, "ToPort: 9098, SourceSecurityGroupId: !Ref Brokers", "ToPort: 9098, CidrIpv6: \"::/0\""),
    (
        IN,
        NETWORK,
        "FromPort: 9098, ToPort: 9098, SourceSecurityGroupId",
        "FromPort: 0, ToPort: 65535, SourceSecurityGroupId",
    ),
    (OUT, NETWORK, "CidrIp: 127.0.0.1/32", "CidrIp: 0.0.0.0/0"),
    (OUT, NETWORK, "FromPort: 443, ToPort: 443, CidrIp", "FromPort: 0, ToPort: 65535, CidrIp"),
    (
        OUT,
        NETWORK,
        "SecurityGroupEgress:\n        - { Description: Nowhere, IpProtocol: \"-1\", CidrIp: 127.0.0.1/32 }\n",
        "Tags: []\n",
    ),
    (INTERNET, NETWORK, "  Routes:\n", "  Gateway: { Type: AWS::EC2::InternetGateway }\n  Routes:\n"),
    (INTERNET, NETWORK, "MapPublicIpOnLaunch: false", "MapPublicIpOnLaunch: true"),
    (INTERNET, KAFKA, "Type: DISABLED", "Type: SERVICE_PROVIDED_EIPS"),
    (ENCRYPTED, KAFKA, "ClientBroker: TLS,", "ClientBroker: TLS_PLAINTEXT,"),
    (ENCRYPTED, KAFKA, "InCluster: true", "InCluster: false"),
    (ENCRYPTED, REDIS, "      TransitEncryptionEnabled: true\n", ""),
    (ENCRYPTED, REDIS, "TransitEncryptionMode: required", "TransitEncryptionMode: preferred"),
    (ENCRYPTED, REDIS, "AtRestEncryptionEnabled: true", "AtRestEncryptionEnabled: false"),
    (ENCRYPTED, MAIN, "      SSESpecification: { SSEEnabled: true }\n", ""),
    (KNOWN, KAFKA, "Unauthenticated: { Enabled: false }", "Unauthenticated: { Enabled: true }"),
    (KNOWN, REDIS, "AuthenticationMode: { Type: iam }", "AuthenticationMode: { Type: no-password-required }"),
    (KNOWN, REDIS, "on ~t1:* ", "on ~* "),
    (KNOWN, REDIS, "      UserGroupIds: [!Ref Users]\n", ""),
    (TABLE, MAIN, "DeletionProtectionEnabled: true", "DeletionProtectionEnabled: false"),
    (TABLE, MAIN, "DeletionPolicy: Retain", "DeletionPolicy: Delete"),
    (TABLE, MAIN, "PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false"),
    (TABLE, MAIN, "AttributeName: ttl", "AttributeName: expires_at"),
    (TABLE, MAIN, "          WarmThroughput: ", "          ContributorInsightsSpecification: "),
    (
        SOURCE,
        MAIN,
        "            DestinationConfig:\n              OnFailure:\n                Type: Kafka\n                Destination: kafka://reservation-requests-failed\n",
        "",
    ),
    (SOURCE, MAIN, "kafka://reservation-requests-failed", "kafka://reservation-requests-fialed"),
    (SOURCE, MAIN, "            FunctionResponseTypes: [ReportBatchItemFailures]\n", ""),
    (SOURCE, MAIN, "MaximumRetryAttempts: 10000", "MaximumRetryAttempts: -1"),
    (SOURCE, MAIN, "MaximumRecordAgeInSeconds: -1", "MaximumRecordAgeInSeconds: 3600"),
    (SOURCE, MAIN, "BisectBatchOnFunctionError: true", "BisectBatchOnFunctionError: false"),
    (SOURCE, MAIN, "TRIM_HORIZON", "LATEST"),
    (SOURCE, MAIN, "              MinimumPollers: 2\n", ""),
    (LOG, KAFKA, "unclean.leader.election.enable=false", "unclean.leader.election.enable=true"),
    (LOG, KAFKA, "min.insync.replicas=2", "min.insync.replicas=1"),
    (LOG, TOPICS, "ReplicationFactor: 3", "ReplicationFactor: 1"),
    (LOG, TOPICS, "retention.ms=604800000", "retention.ms=3600000"),
    (LOG, TOPICS, "DeletionPolicy: Retain", "DeletionPolicy: Delete"),
    (LOG, MAIN, "DLQ_TOPIC: reservation-requests-dlq", "DLQ_TOPIC: reservation-dlq"),
    (CACHE, REDIS, "maxmemory-policy: noeviction", "maxmemory-policy: allkeys-lru"),
    (CACHE, REDIS, "      CacheParameterGroupName: !Ref Parameters\n", ""),
    (CACHE, REDIS, "MultiAZEnabled: true", "MultiAZEnabled: false"),
    (FUNCTION, MAIN, "      ReservedConcurrentExecutions: !Ref ReservationApiConcurrency\n", ""),
    (FUNCTION, MAIN, ", Alarms: [!Ref ReservationPersistErrors]", ""),
    (FUNCTION, MAIN, "    Tracing: Active\n", ""),
    (WILDCARD, MAIN, "[xray:PutTraceSegments, xray:PutTelemetryRecords]", "xray:*"),
    (FUNCTION, MAIN, "Architectures: [arm64]", "Architectures: [x86_64]"),
    (FUNCTION, MAIN, "Properties: { RetentionInDays: !Ref LogRetentionDays }", "Properties: {}"),
    (API, MAIN, "        ThrottlingRateLimit: !Ref RequestsPerSecond\n", ""),
    (API, MAIN, "      DefaultAuthorizer: Customers\n", ""),
    (API, MAIN, "AllowOrigins: [!Ref AllowedOrigin]", "AllowOrigins: [\"*\"]"),
    (API, MAIN, "\"requestId\":\"$context.requestId\"", "\"ip\":\"$context.identity.sourceIp\""),
    (ALARM, MAIN, "      AlarmActions: [!Ref AlarmTopic]\n", ""),
    (ALARM, ALARMS, "  CacheFull:\n", "  CacheOverflowing:\n"),
    (ALARM, ALARMS, "MetricName: UndecidedMs", "MetricName: UndecidedSeconds"),
    (ALARM, ALARMS, "a record can never be handled", "a record cannot be handled"),
    (ALARM, ALARMS, "\"title\": \"Redis\",", "\"title\": \"Redis\""),
];

#[test]
fn every_mutation_is_caught_by_its_rule() {
    let stack = Stack::read();
    let before = findings(&stack);
    let mut missed = Vec::new();
    for (rule, template, from, to) in MUTATIONS {
        let caught = findings(&stack.with(template, from, to));
        let new = |finding: &&String| finding.starts_with(&format!("{rule}: ")) && !before.contains(finding);
        if !caught.iter().any(|finding| new(&finding)) {
            missed.push(format!("{template}: {from:?} became {to:?}, and {rule:?} said nothing; all said {caught:?}"));
        }
    }
    assert!(missed.is_empty(), "{} of {} were missed:\n{}", missed.len(), MUTATIONS.len(), missed.join("\n"));
}

#[test]
fn every_rule_has_a_mutation() {
    let broken: BTreeSet<&str> = MUTATIONS.iter().map(|(rule, ..)| *rule).collect();
    assert_eq!(broken, RULES.iter().map(|(name, _)| *name).collect());
}
