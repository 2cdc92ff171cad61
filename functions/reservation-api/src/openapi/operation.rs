//! One route as the document describes it. What follows from a route's door and from its refusals is added here, so that the
//! table of routes says only what is particular to each.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::link::Link;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{AllOf, Object, Schema, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Ref, RefOr, Required};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Slug;

/// The security scheme's name.
pub const TOKEN: &str = "token";
/// The name of the schema of what API Gateway answers itself.
pub const GATEWAY_MESSAGE: &str = "GatewayMessage";
/// The name of the schema of refusals.
pub const PROBLEM: &str = "Problem";

/// Schemas by their names.
pub type Schemas = BTreeMap<String, RefOr<Schema>>;

/// What a caller must bring.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Nothing.
    Open,
    /// A valid token.
    Token,
    /// A valid token with this scope.
    Scope(&'static str),
}

/// A route being described.
pub struct Route {
    /// Its path, the names of its parameters in braces.
    pub path: &'static str,
    /// Its method.
    pub method: HttpMethod,
    /// The schemas that its parts refer to.
    pub schemas: Schemas,
    operation: OperationBuilder,
    answers: Vec<Answer>,
    refusals: Vec<Slug>,
    door: Door,
    has_body: bool,
    waits: bool,
}

/// An answer that is no refusal.
pub struct Answer {
    status: u16,
    response: ResponseBuilder,
    schemas: Schemas,
}

impl Route {
    /// A route, its summary beginning with a verb.
    pub fn new(method: HttpMethod, path: &'static str, id: &str, summary: &str, door: Door) -> Self {
        let mut operation = OperationBuilder::new().operation_id(Some(id)).summary(Some(summary));
        let mut refusals = Vec::new();
        match door {
            // Said, because the document asks for a token where nothing is said.
            Door::Open => operation = operation.securities(Some([])),
            Door::Token => refusals.push(Slug::Unauthorized),
            Door::Scope(scope) => {
                operation = operation.security(SecurityRequirement::new(TOKEN, [scope]));
                refusals.extend([Slug::Unauthorized, Slug::Forbidden]);
            }
        }
        let (answers, schemas) = (Vec::new(), Schemas::new());
        Self { path, method, schemas, operation, answers, refusals, door, has_body: false, waits: false }
    }

    /// More than the summary says.
    pub fn described(mut self, text: &str) -> Self {
        self.operation = self.operation.description(Some(text));
        self
    }

    /// A parameter in the path.
    pub fn at<T: ToSchema>(self, name: &str, example: &str) -> Self {
        self.parameter::<T>(name, ParameterIn::Path, Required::True, None, Some(example))
    }

    /// The parameters in the query.
    pub fn query<T: IntoParams>(mut self) -> Self {
        self.operation = self.operation.parameters(Some(T::into_params(|| Some(ParameterIn::Query))));
        self
    }

    /// A header that has to be sent.
    pub fn needs<T: ToSchema>(self, header: &str, text: &str, example: &str) -> Self {
        self.parameter::<T>(header, ParameterIn::Header, Required::True, Some(text), Some(example))
    }

    /// A header that is heeded where it is sent.
    pub fn heeds(self, header: &str, text: &str) -> Self {
        self.parameter::<String>(header, ParameterIn::Header, Required::False, Some(text), None)
    }

    /// Answers may come after a wait, and then say so.
    pub fn waits(mut self) -> Self {
        self.waits = true;
        self
    }

    /// A body that has to be sent.
    pub fn takes<T: ToSchema>(mut self, examples: &[(&str, Value)]) -> Self {
        let examples = examples.iter().map(|(name, value)| {
            (*name, utoipa::openapi::example::ExampleBuilder::new().value(Some(value.clone())).build())
        });
        let content = ContentBuilder::new().schema(Some(self.refer::<T>())).examples_from_iter(examples);
        let body =
            RequestBodyBuilder::new().content("application/json", content.build()).required(Some(Required::True));
        self.operation = self.operation.request_body(Some(body.build()));
        self.refusals.extend([Slug::InvalidRequest, Slug::BodyTooLarge]);
        self.has_body = true;
        self
    }

    /// What it answers when all goes well.
    pub fn answers(mut self, mut answer: Answer) -> Self {
        self.schemas.append(&mut answer.schemas);
        self.answers.push(answer);
        self
    }

    /// What it may refuse beside what follows from its door and its body.
    pub fn refuses(mut self, slugs: &[Slug]) -> Self {
        self.refusals.extend(slugs);
        self
    }

    /// The finished operation.
    pub fn operation(self) -> utoipa::openapi::path::Operation {
        let Self { mut operation, answers, mut refusals, door, has_body, waits, .. } = self;
        let waited = || Header::builder().description(Some("`wait=<seconds>`, where the request has waited.")).build();
        let mut responses: BTreeMap<u16, ResponseBuilder> =
            answers.into_iter().map(|answer| (answer.status, answer.response)).collect();
        let mut by_status: BTreeMap<u16, Vec<Slug>> = BTreeMap::new();
        refusals.sort_unstable_by_key(|slug| slug.as_str());
        refusals.dedup();
        for slug in refusals {
            by_status.entry(slug.status().as_u16()).or_default().push(slug);
        }
        // What API Gateway answers itself: too many requests, and a function that failed.
        let mut gateways = vec![Slug::TooManyAttempts, Slug::Unavailable];
        gateways.extend((door != Door::Open).then_some(Slug::Unauthorized));
        gateways.extend(matches!(door, Door::Scope(_)).then_some(Slug::Forbidden));
        gateways.extend(has_body.then_some(Slug::BodyTooLarge));
        let gateways: Vec<u16> = gateways.iter().map(|slug| slug.status().as_u16()).collect();
        for status in &gateways {
            by_status.entry(*status).or_default();
        }
        for (status, slugs) in by_status {
            responses.insert(status, refusal(status, &slugs, gateways.contains(&status)));
        }
        for (status, response) in responses {
            // What is refused at once was not waited for.
            let waits = waits && (status < 300 || [404, 409, 503].contains(&status));
            let response = if waits { response.header("Preference-Applied", waited()) } else { response };
            operation = operation.response(status.to_string(), response.build());
        }
        operation.build()
    }

    fn refer<T: ToSchema>(&mut self) -> Ref {
        add::<T>(&mut self.schemas)
    }

    fn parameter<T: ToSchema>(
        mut self,
        name: &str,
        place: ParameterIn,
        required: Required,
        text: Option<&str>,
        example: Option<&str>,
    ) -> Self {
        let schema = T::schema();
        let builder = ParameterBuilder::new().name(name).parameter_in(place).required(required);
        let builder = builder.description(text).schema(Some(schema)).example(example.map(Value::from));
        self.operation = self.operation.parameter(builder.build());
        self
    }
}

impl Answer {
    /// An answer without a body.
    pub fn empty(status: u16, text: &str) -> Self {
        Self { status, response: ResponseBuilder::new().description(text), schemas: Schemas::new() }
    }

    /// An answer that is a `T`.
    pub fn json<T: ToSchema>(status: u16, text: &str) -> Self {
        let mut answer = Self::empty(status, text);
        let schema = add::<T>(&mut answer.schemas);
        let content = ContentBuilder::new().schema(Some(schema)).build();
        answer.response = answer.response.content("application/json", content);
        answer
    }

    /// Where the caller would rather have that, a `T` of another media type.
    pub fn or<T: ToSchema>(mut self, media_type: &str) -> Self {
        let schema = add::<T>(&mut self.schemas);
        self.response = self.response.content(media_type, ContentBuilder::new().schema(Some(schema)).build());
        self
    }

    /// The same as text.
    pub fn or_text(mut self, media_type: &str) -> Self {
        let text = Object::builder().schema_type(Type::String).build();
        self.response = self.response.content(media_type, ContentBuilder::new().schema(Some(text)).build());
        self
    }

    /// An answer that is some object.
    pub fn object(status: u16, text: &str) -> Self {
        let mut answer = Self::empty(status, text);
        let content = ContentBuilder::new().schema(Some(Object::new())).build();
        answer.response = answer.response.content("application/json", content);
        answer
    }

    /// A header that such an answer always has.
    pub fn with(mut self, name: &str, text: &str) -> Self {
        self.response = self.response.header(name, always(text));
        self
    }

    /// What a caller may go on to, by operation: the parameters' names, and where to find them.
    pub fn leads_to(mut self, id: &str, parameters: &[(&str, &str)]) -> Self {
        let mut link = Link::builder().operation_id(id);
        for (name, expression) in parameters {
            link = link.parameter(*name, *expression);
        }
        self.response = self.response.link(id, link.build());
        self
    }
}

/// A reference to the schema of `T`, which is added with all it refers to.
fn add<T: ToSchema>(schemas: &mut Schemas) -> Ref {
    let mut found = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut found);
    schemas.extend(found);
    Ref::from_schema_name(T::name())
}

fn always(text: &str) -> Header {
    // utoipa's headers have no `required`; an extension is written as any other field is.
    HeaderBuilder::new().description(Some(text)).extensions(Some(Extensions::from_iter([("required", true)]))).build()
}

/// The answers of one status that refuse: the function's problems, and what the gateway says.
fn refusal(status: u16, slugs: &[Slug], gateway: bool) -> ResponseBuilder {
    let names: Vec<&str> = slugs.iter().map(|slug| slug.as_str()).collect();
    let mut said: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    said.extend(gateway.then(|| "a message of the gateway".to_owned()));
    let mut response = ResponseBuilder::new().description(said.join(", "));
    if !slugs.is_empty() {
        let narrowed = Object::builder()
            .property("type", Object::builder().schema_type(Type::String).enum_values(Some(names)))
            .property("status", Object::builder().schema_type(Type::Integer).enum_values(Some([json!(status)])));
        let schema = AllOf::builder().item(Ref::from_schema_name(PROBLEM)).item(narrowed);
        let content = ContentBuilder::new().schema(Some(Schema::AllOf(schema.build()))).build();
        response = response.content("application/problem+json", content);
    }
    if gateway {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(GATEWAY_MESSAGE))).build();
        response = response.content("application/json", content);
    }
    if slugs.contains(&Slug::LayoutNotFound) {
        let text = "`no-store` where it is the layout that is not there.";
        response = response.header("Cache-Control", Header::builder().description(Some(text)).build());
    }
    if slugs.iter().any(|slug| slug.comes_with_retry_after()) {
        let text = "Seconds after which to try again.";
        let every = !gateway && slugs.iter().all(|slug| slug.comes_with_retry_after());
        let header = if every { always(text) } else { Header::builder().description(Some(text)).build() };
        response = response.header("Retry-After", header);
    }
    if slugs.contains(&Slug::Unauthorized) {
        response = response.header("WWW-Authenticate", always("`Bearer`."));
    }
    response
}
