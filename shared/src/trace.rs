//! The trace that goes with a request through Kafka to its decision: what Lambda began for an invocation of the API is
//! carried on in a header of the message, and the decision is told as a part of it.
//!
//! Spans go to the X-Ray daemon that Lambda runs beside a function whose tracing is active: one datagram each, sent when
//! the span ends, so nothing is left to do after the answer. What Lambda does not sample is carried on in the header and told
//! to nobody, and so is everything where there is no daemon.

use std::net::SocketAddr;

use bytes::Bytes;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{FutureExt, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_aws::trace::{XrayIdGenerator, XrayPropagator};
use opentelemetry_aws::xray_exporter::{XrayExporter, daemon_client::XrayDaemonClient};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

use crate::kafka::{Message, ProduceError};

/// Header of a message whose request is traced, as W3C's Trace Context has it: `00-<trace>-<span>-<flags>`.
pub const TRACEPARENT: &str = "traceparent";

/// Under which X-Ray's propagator looks for what Lambda has put into the invocation's context.
const XRAY_HEADER: &str = "x-amzn-trace-id";

/// Begins to tell spans to this daemon. Once a process; before it, and without it, spans are told to nobody.
///
/// # Errors
/// When there is no socket to be had.
pub fn init(daemon: SocketAddr, function: &'static str) -> std::io::Result<()> {
    let provider = SdkTracerProvider::builder()
        // Whether an invocation is traced is Lambda's decision; what has no parent is not.
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
        .with_id_generator(XrayIdGenerator::default())
        .with_resource(Resource::builder_empty().with_service_name(function).build())
        // Sends where the span ends. A batch would wait for a thread that a frozen function does not run.
        .with_simple_exporter(XrayExporter::new(XrayDaemonClient::new(daemon)?))
        .build();
    global::set_tracer_provider(provider);
    Ok(())
}

/// Does an invocation's work as a part of the trace that Lambda began for it (`Root=…;Parent=…;Sampled=…`).
pub async fn invocation<T>(xray_trace_id: Option<&str>, work: impl Future<Output = T>) -> T {
    let given = xray_trace_id.map(|id| (XRAY_HEADER.to_owned(), Bytes::copy_from_slice(id.as_bytes())));
    let context = XrayPropagator::new().extract_with_context(&Context::new(), &Headers(given.as_slice()));
    work.with_context(context).await
}

/// Does `work` as the consumer's part of the trace that a message carries, if it carries one.
pub async fn processing<T>(topic: &str, headers: &[(String, Bytes)], work: impl Future<Output = T>) -> T {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    if !context.span().span_context().is_valid() {
        return work.await;
    }
    // A server, since X-Ray makes a node of its own only for that.
    let context = begin(context, SpanKind::Server, format!("{topic} process"), topic);
    let done = work.with_context(context.clone()).await;
    context.span().end();
    done
}

/// Produces a message as a part of the current trace, which its header tells whoever consumes it. A message that has the
/// header already, a repeated one, keeps it.
pub async fn producing<T>(
    mut message: Message,
    produce: impl AsyncFnOnce(Message) -> Result<T, ProduceError>,
) -> Result<T, ProduceError> {
    let context = Context::current();
    let carried = message.headers.iter().any(|(name, _)| name == TRACEPARENT);
    if carried || !context.span().span_context().is_valid() {
        return produce(message).await;
    }
    let context = begin(context, SpanKind::Producer, format!("{} send", message.topic), &message.topic);
    TraceContextPropagator::new().inject_context(&context, &mut Added(&mut message.headers));
    let produced = produce(message).await;
    if let Err(error) = &produced {
        context.span().set_status(Status::error(error.reason()));
    }
    context.span().end();
    produced
}

/// Begins a span about a topic, named as OpenTelemetry's conventions for messaging have it.
fn begin(parent: Context, kind: SpanKind, name: String, topic: &str) -> Context {
    let tracer = global::tracer(env!("CARGO_PKG_NAME"));
    let about =
        [KeyValue::new("messaging.system", "kafka"), KeyValue::new("messaging.destination.name", topic.to_owned())];
    let span = tracer.span_builder(name).with_kind(kind).with_attributes(about).start_with_context(&tracer, &parent);
    parent.with_span(span)
}

struct Headers<'a>(&'a [(String, Bytes)]);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)?;
        std::str::from_utf8(value).ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}

struct Added<'a>(&'a mut Vec<(String, Bytes)>);

impl Injector for Added<'_> {
    fn set(&mut self, key: &str, value: String) {
        // The other field, `tracestate`, is empty in X-Ray's traces.
        if key == TRACEPARENT {
            self.0.push((key.to_owned(), Bytes::from(value)));
        }
    }
}
