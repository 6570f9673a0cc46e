//! Answers in the words and shapes of CKAN's action API.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::merge::Unmatched;

/// What an action that worked gives back.
#[derive(Debug)]
pub(super) struct Success {
    /// The `result` of the envelope.
    pub(super) result: Value,
    /// The dataset that was really changed, for `changed_entities`.
    pub(super) changed: Option<String>,
}

impl Success {
    /// An answer that changed nothing.
    pub(super) fn read(result: Value) -> Self {
        Self { result, changed: None }
    }
}

/// Why an action did not work, as CKAN tells these apart.
#[derive(Debug)]
pub(super) enum Refusal {
    /// 400, and the body is a bare JSON string.
    Bad(String),
    /// 400 in an envelope: the request cannot be true of any dataset.
    Integrity(String),
    /// 403: no token, a wrong one, or no right.
    Denied(String),
    /// 404: there is no such thing.
    NotFound(String),
    /// 409: field by field, what is wrong.
    Invalid(Value),
}

impl From<Unmatched> for Refusal {
    fn from(Unmatched(text): Unmatched) -> Self {
        Self::Invalid(json!({"update": [text]}))
    }
}

/// Puts what an action gave into an envelope; returns the status beside it.
pub(super) fn answer(action: &str, site_url: &str, outcome: Result<Success, Refusal>) -> (StatusCode, Value) {
    let help = format!("{site_url}/api/3/action/help_show?name={action}");
    let (status, kind, message) = match outcome {
        Ok(Success { result, changed: None }) => {
            return (StatusCode::OK, json!({"help": help, "success": true, "result": result}));
        }
        Ok(Success { result, changed: Some(id) }) => {
            let entities = json!({"packages": [id]});
            let body = json!({"help": help, "success": true, "result": result, "changed_entities": entities});
            return (StatusCode::OK, body);
        }
        Err(Refusal::Bad(text)) => return (StatusCode::BAD_REQUEST, Value::String(text)),
        Err(Refusal::Invalid(mut fields)) => {
            fields["__type"] = "Validation Error".into();
            return (StatusCode::CONFLICT, json!({"help": help, "success": false, "error": fields}));
        }
        Err(Refusal::Integrity(text)) => (StatusCode::BAD_REQUEST, "Integrity Error", text),
        Err(Refusal::Denied(text)) => (StatusCode::FORBIDDEN, "Authorization Error", text),
        Err(Refusal::NotFound(text)) => (StatusCode::NOT_FOUND, "Not Found Error", text),
    };
    (status, json!({"help": help, "success": false, "error": {"__type": kind, "message": message}}))
}

/// A response with this body; one that starts with `<` is called HTML.
pub(super) fn response(status: StatusCode, body: String) -> Response {
    let kind = if body.starts_with('<') { "text/html; charset=utf-8" } else { "application/json;charset=utf-8" };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}
