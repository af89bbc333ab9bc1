//! The OpenAPI document, made of the operations that are served. Pure.
//!
//! Version 3.1, whose schemas are JSON Schema 2020-12: those that `schemars` derives from the very types that are answered.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::parameter::Parameter;

/// Below this the paths of the document are.
pub const ROOT: &str = "/api/v1";

/// What one path answers to one verb.
pub struct Operation {
    /// `get` or `post`.
    pub method: &'static str,
    /// Below [`ROOT`], with `{name}` where a part of it is chosen.
    pub path: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Parameters of the query part.
    pub parameters: &'static [Parameter],
    /// What it answers.
    pub answer: Answer,
}

/// What an operation answers.
pub enum Answer {
    /// JSON with this schema.
    Json(fn(&mut SchemaGenerator) -> Value),
    /// Something else, of this content type.
    Bytes(&'static str),
}

impl Answer {
    /// JSON of this type.
    pub fn json<T: JsonSchema>() -> Self {
        Self::Json(|generator| generator.subschema_for::<T>().to_value())
    }
}

/// The document of these operations.
pub fn document(version: &str, operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut generator =
        settings.with(|settings| settings.definitions_path = "/components/schemas".into()).into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let path = paths.entry(format!("{ROOT}{}", operation.path)).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            methods.insert(operation.method.to_owned(), operation.document(&mut generator));
        }
    }
    let failure = generator.subschema_for::<Failure>().to_value();
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "lake",
            "version": version,
            "description": "Applications, their jobs, stages and tasks in the shape of Spark's monitoring API; masters, \
                            workers, drivers, steps, tables and lineage of lake.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Failure": {
                    "description": "What is wrong: class, code and message.",
                    "content": { "application/json": { "schema": failure } },
                },
            },
        },
    })
}

impl Operation {
    fn document(&self, generator: &mut SchemaGenerator) -> Value {
        let content = match &self.answer {
            Answer::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
            Answer::Bytes(content_type) => json!({ *content_type: {} }),
        };
        let in_path = self
            .chosen()
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
        let in_query = self.parameters.iter().map(|parameter| {
            json!({
                "name": parameter.name,
                "in": "query",
                "description": parameter.about,
                "required": false,
                "schema": parameter.schema(),
            })
        });
        json!({
            "operationId": self.id(),
            "summary": self.about,
            "parameters": in_path.chain(in_query).collect::<Vec<Value>>(),
            "responses": {
                "200": { "description": "The answer.", "content": content },
                "default": { "$ref": "#/components/responses/Failure" },
            },
        })
    }

    /// Names of the parts of its path that are chosen.
    fn chosen(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// `get_applications_app_id_stages`
    fn id(&self) -> String {
        let mut id = self.method.to_owned();
        for part in self.path.split('/').filter(|part| !part.is_empty()) {
            id.push('_');
            id.extend(
                part.chars().filter(|c| !matches!(c, '{' | '}')).map(|c| if c.is_alphanumeric() { c } else { '_' }),
            );
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::{LIMIT, OFFSET};
    use crate::task::{SORT_BY, TaskData};

    #[test]
    fn an_operation_is_documented_with_its_parameters_and_the_schema_of_its_answer() {
        let operations = [
            Operation {
                method: "get",
                path: "/applications/{app_id}/stages/{stage_id}",
                about: "Attempts.",
                parameters: &[LIMIT, OFFSET, SORT_BY],
                answer: Answer::json::<Vec<TaskData>>(),
            },
            Operation {
                method: "get",
                path: "/applications/{app_id}/logs",
                about: "Logs.",
                parameters: &[],
                answer: Answer::Bytes("application/zip"),
            },
        ];
        let document = document("1.2.3", &operations);
        assert_eq!((&document["openapi"], &document["info"]["version"]), (&json!("3.1.0"), &json!("1.2.3")));
        let get = &document["paths"]["/api/v1/applications/{app_id}/stages/{stage_id}"]["get"];
        assert_eq!(get["operationId"], "get_applications_app_id_stages_stage_id");
        let names: Vec<&Value> = get["parameters"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
        assert_eq!(names, ["app_id", "stage_id", "limit", "offset", "sortBy"]);
        assert_eq!(get["parameters"][2]["schema"], json!({"type":"integer","minimum":1,"maximum":1000,"default":100}));
        let schema = &get["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(schema["items"]["$ref"], "#/components/schemas/TaskData");
        let task = &document["components"]["schemas"]["TaskData"];
        assert_eq!(task["properties"]["launchTime"]["$ref"], "#/components/schemas/Date");
        let required = task["required"].as_array().unwrap();
        assert!(required.contains(&json!("taskId")) && !required.contains(&json!("errorMessage")), "{task}");
        let zip = &document["paths"]["/api/v1/applications/{app_id}/logs"]["get"]["responses"]["200"]["content"];
        assert_eq!(zip, &json!({ "application/zip": {} }));
        assert!(document["components"]["schemas"]["Failure"].is_object());
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let operations = [Operation {
            method: "get",
            path: "/a",
            about: "",
            parameters: &[],
            answer: Answer::json::<crate::application::Detail>(),
        }];
        let document = document("1", &operations);
        let text = document.to_string();
        let mut references = 0;
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            references += 1;
        }
        assert!(references > 5, "{text}");
    }
}
