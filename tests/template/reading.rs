//! Templates as JSON: `!Ref X` is `{"Ref": "X"}`, as CloudFormation itself writes the short forms out.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

use crate::harness::functions::root;

/// The template of the stack, beside which the nested ones are in `deploy/`.
pub const MAIN: &str = "template.yaml";

/// The templates by path, as text and as JSON.
#[derive(Clone)]
pub struct Stack {
    texts: BTreeMap<String, String>,
    templates: BTreeMap<String, Value>,
}

/// A resource, and where it stands.
#[derive(Clone, Copy)]
pub struct Resource<'a> {
    /// Path of its template.
    pub template: &'a str,
    /// Its logical id.
    pub id: &'a str,
    /// All of it.
    pub value: &'a Value,
}

impl<'a> Resource<'a> {
    /// The value at a JSON pointer below its properties; null where there is none.
    pub fn property(self, pointer: &str) -> &'a Value {
        self.value.pointer(&format!("/Properties{pointer}")).unwrap_or(&Value::Null)
    }

    /// `template.yaml Table`.
    pub fn place(self) -> String {
        format!("{} {}", self.template, self.id)
    }

    /// A finding for each property that is not what it has to be.
    pub fn wants(self, wanted: &[(&str, Value)]) -> Vec<String> {
        let wrong = wanted.iter().filter(|(pointer, value)| self.property(pointer) != value);
        wrong
            .map(|(pointer, value)| format!("{}: {pointer} is {}, not {value}", self.place(), self.property(pointer)))
            .collect()
    }
}

impl Stack {
    /// The project's templates: the main one, and those it nests.
    pub fn read() -> Self {
        let mut stack = Self { texts: BTreeMap::new(), templates: BTreeMap::new() };
        let mut wanted = vec![MAIN.to_owned()];
        while let Some(path) = wanted.pop() {
            stack.put(&path, std::fs::read_to_string(root().join(&path)).unwrap());
            let nested = stack.resources().filter_map(|resource| resource.property("/TemplateURL").as_str());
            wanted
                .extend(nested.filter(|path| !stack.texts.contains_key(*path)).map(str::to_owned).collect::<Vec<_>>());
        }
        stack
    }

    fn put(&mut self, path: &str, text: String) {
        let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        self.templates.insert(path.to_owned(), json(&documents[0]));
        self.texts.insert(path.to_owned(), text);
    }

    /// The same with `from` replaced in one template, wherever it occurs.
    pub fn with(&self, path: &str, from: &str, to: &str) -> Self {
        let text = &self.texts[path];
        assert!(text.contains(from), "{path} has no {from:?} to change");
        let mut changed = self.clone();
        changed.put(path, text.replace(from, to));
        changed
    }

    /// Every resource of every template.
    pub fn resources(&self) -> impl Iterator<Item = Resource<'_>> {
        self.templates.iter().flat_map(|(template, whole)| {
            let resources = whole["Resources"].as_object().unwrap();
            resources.iter().map(move |(id, value)| Resource { template, id, value })
        })
    }

    /// Every resource of a type.
    pub fn of_type<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Resource<'a>> {
        self.resources().filter(move |resource| resource.value["Type"] == name)
    }

    /// The one resource of a type, as findings where there is none or more.
    pub fn only<'a>(&'a self, name: &'a str) -> Result<Resource<'a>, Vec<String>> {
        let mut all: Vec<_> = self.of_type(name).collect();
        let one = all.pop().filter(|_| all.is_empty());
        one.ok_or_else(|| vec![format!("there is not exactly one {name}")])
    }

    /// What the main template says of all its functions or APIs.
    pub fn globals(&self, pointer: &str) -> &Value {
        self.templates[MAIN].pointer(&format!("/Globals{pointer}")).unwrap_or(&Value::Null)
    }
}

/// YAML with CloudFormation's short forms, as JSON.
fn json(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Tagged(tag, inner) => {
            let inner = json(inner);
            match tag.suffix.as_str() {
                name @ ("Ref" | "Condition") => json!({ name: inner }),
                "GetAtt" => {
                    let path = inner.as_str().and_then(|path| path.split_once('.'));
                    json!({ "Fn::GetAtt": path.map_or(inner.clone(), |(id, name)| json!([id, name])) })
                }
                name => json!({ format!("Fn::{name}"): inner }),
            }
        }
        Yaml::Mapping(entries) => {
            let entry = |(key, value): (&Yaml<'_>, &Yaml<'_>)| match json(key) {
                Value::String(key) => (key, json(value)),
                key => (key.to_string(), json(value)),
            };
            Value::Object(entries.iter().map(entry).collect::<Map<_, _>>())
        }
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Value(Scalar::Integer(number)) => json!(number),
        Yaml::Value(Scalar::FloatingPoint(number)) => json!(number.into_inner()),
        Yaml::Value(Scalar::Boolean(flag)) => json!(flag),
        Yaml::Value(Scalar::Null) => Value::Null,
        other => panic!("no template has {other:?}"),
    }
}

/// A value that may be one or a list, as a list.
pub fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    }
}

/// Every text in a value, however deep; intrinsic functions' names left out.
pub fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(entries) => entries.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
