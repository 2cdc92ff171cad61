//! What a derived schema cannot say: fields that depend on each other, fields that are refused as unknown where the type
//! reads over them, and the bound that differs between the deployed and the local system.

use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ArrayItems, Object, ObjectBuilder, OneOf, Schema, SchemaFormat, Type,
};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{Number, PartialSchema};

use shared::domain::ids::{MAX_LABEL_LENGTH, ReservationId, SeatId};

use super::operation::{GATEWAY_MESSAGE, PROBLEM, Schemas};
use crate::problem::Slug;

/// Types that `EventDocument::parse` reads without any field it does not know.
const STRICT: [&str; 4] = ["EventDocument", "RowDocument", "SaleWindow", "SectionDocument"];

/// Finishes the schemas of everything the routes refer to.
pub fn finished(mut schemas: Schemas, min_hold_seconds: u32) -> Schemas {
    edit(&mut schemas, "EventDocument", |object| {
        for field in ["hold_seconds", "max_hold_seconds"] {
            if let Some(RefOr::T(Schema::Object(seconds))) = object.properties.get_mut(field) {
                seconds.minimum = Some(Number::from(min_hold_seconds));
            }
        }
    });
    let composed = schemas.clone();
    for schema in schemas.values_mut() {
        if let RefOr::T(Schema::AllOf(_)) = schema {
            *schema = RefOr::T(Schema::Object(object(schema, &composed)));
        }
    }
    for name in STRICT {
        edit(&mut schemas, name, |object| {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        });
    }
    split(
        &mut schemas,
        "SectionDocument",
        &[
            (Some(("kind", "seated")), &["id", "name", "kind", "price_cents", "rows"], &[]),
            (Some(("kind", "general")), &["id", "name", "kind", "price_cents", "capacity"], &[]),
        ],
    );
    edit(&mut schemas, "ReserveBody", |object| {
        if let Some(RefOr::T(Schema::Array(seats))) = object.properties.get_mut("seats") {
            seats.items = ArrayItems::RefOrSchema(Box::new(chosen_seat()));
        }
    });
    split(&mut schemas, "ReserveBody", &[(None, &["seats"], &[]), (None, &["section", "quantity"], &["adjacent"])]);
    schemas.insert(PROBLEM.to_owned(), problem());
    schemas.insert(GATEWAY_MESSAGE.to_owned(), gateway_message());
    schemas
}

/// A schema as one object, with the fields of those that it flattens.
fn object(schema: &RefOr<Schema>, schemas: &Schemas) -> Object {
    match schema {
        RefOr::T(Schema::Object(object)) => object.clone(),
        RefOr::T(Schema::AllOf(all)) => {
            let mut whole = Object::new();
            whole.description.clone_from(&all.description);
            for part in &all.items {
                let Object { properties, required, .. } = object(part, schemas);
                whole.properties.extend(properties);
                whole.required.extend(required);
            }
            whole
        }
        RefOr::Ref(to) => {
            let name = to.ref_location.rsplit('/').next().unwrap_or_default();
            schemas.get(name).map(|schema| object(schema, schemas)).unwrap_or_default()
        }
        RefOr::T(_) => Object::new(),
    }
}

fn edit(schemas: &mut Schemas, name: &str, change: impl FnOnce(&mut Object)) {
    if let Some(RefOr::T(Schema::Object(object))) = schemas.get_mut(name) {
        change(object);
    }
}

/// One of several forms: a field with the one value it has there, the fields there must be, and those there may be.
type Form<'a> = (Option<(&'a str, &'a str)>, &'a [&'a str], &'a [&'a str]);

/// Makes a choice of an object whose fields depend on each other.
fn split(schemas: &mut Schemas, name: &str, forms: &[Form<'_>]) {
    let Some(RefOr::T(Schema::Object(whole))) = schemas.get(name) else { return };
    let mut choice = OneOf::builder().description(whole.description.clone());
    for (fixed, must, may) in forms {
        let mut form = Object::new();
        form.additional_properties.clone_from(&whole.additional_properties);
        for (field, schema) in
            whole.properties.iter().filter(|(field, _)| must.contains(&field.as_str()) || may.contains(&field.as_str()))
        {
            let schema = if must.contains(&field.as_str()) { never_null(schema.clone()) } else { schema.clone() };
            form.properties.insert(field.clone(), schema);
        }
        if let Some((field, value)) = fixed {
            let only = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([*value]));
            form.properties.insert((*field).to_owned(), only.into());
        }
        form.required = must.iter().map(ToString::to_string).collect();
        choice = choice.item(form);
    }
    schemas.insert(name.to_owned(), choice.into());
}

/// The schema of what is there, of the schema of an `Option`.
fn never_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    use utoipa::openapi::schema::SchemaType;
    let single = |types: &mut SchemaType| {
        if let SchemaType::Array(several) = types
            && let Some(one) = several.iter().find(|one| **one != Type::Null)
        {
            *types = SchemaType::Type(one.clone());
        }
    };
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            single(&mut object.schema_type);
            object.into()
        }
        RefOr::T(Schema::Array(mut array)) => {
            single(&mut array.schema_type);
            RefOr::T(Schema::Array(array))
        }
        RefOr::T(Schema::OneOf(one_of)) => {
            let is_null = |item: &RefOr<Schema>| matches!(item, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null));
            let something = one_of.items.iter().find(|item| !is_null(item)).cloned();
            something.unwrap_or(RefOr::T(Schema::OneOf(one_of)))
        }
        other => other,
    }
}

/// A seat that can be chosen has a row; the places of a general section, which have none, are handed out.
fn chosen_seat() -> RefOr<Schema> {
    let label = format!("[A-Za-z0-9_]{{1,{MAX_LABEL_LENGTH}}}");
    let seat = Object::builder().schema_type(Type::String).pattern(Some(format!("^{label}-{label}-{label}$")));
    seat.description(Some("`<section>-<row>-<seat>`")).examples(["BAL_C-A-101"]).into()
}

fn gateway_message() -> RefOr<Schema> {
    let text = "What the gateway answers itself, in front of the function.";
    Object::builder().description(Some(text)).property("message", String::schema()).required("message").into()
}

/// The fields of refusals. Which of them there are depends on the slug.
fn problem() -> RefOr<Schema> {
    let said = |text: &str, object: ObjectBuilder| object.description(Some(text));
    let string = || Object::builder().schema_type(Type::String);
    let integer = || Object::builder().schema_type(Type::Integer);
    let seats = |text: &str| ArrayBuilder::new().description(Some(text)).items(SeatId::schema());
    let slugs = Slug::ALL.iter().map(|slug| Value::from(slug.as_str()));
    let moment = Some(SchemaFormat::KnownFormat(KnownFormat::DateTime));
    Object::builder()
        .description(Some(
            "A refusal (RFC 9457). `route-not-found` (404) and `method-not-allowed` (405) are what the function says of a \
             route that is not described here; the gateway in front of it answers such itself.",
        ))
        .property("type", said("Its stable name.", string().enum_values(Some(slugs))))
        .property("title", said("The same for people.", string()))
        .property("status", said("The status code.", integer()))
        .property("detail", said("What this very caller should know.", string()))
        .property("field", said("The field that is not valid, by its path.", string()))
        .property("seats", seats("The seats it is about."))
        .property("taken", seats("Those of the seats asked for that are taken."))
        .property("held_by_you", seats("Those of them that are the caller's own."))
        .property("alternatives", ArrayBuilder::new().description(Some("What is free instead, the best first.")).items(seats("Seats of one section.")))
        .property("free", said("How many are free.", integer()))
        .property("left", said("How many are neither sold nor blocked.", integer()))
        .property("limit", said("The most live seats of one customer.", integer()))
        .property("opens_at", said("When the sale begins.", string().format(moment)))
        .property("reservation_id", ReservationId::schema())
        .required("type")
        .required("title")
        .required("status")
        .into()
}
