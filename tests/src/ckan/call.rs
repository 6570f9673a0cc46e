//! Calls of CKAN's API, over HTTP, as anybody makes them.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

/// How long CKAN may take for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);

static AGENT: LazyLock<Agent> = LazyLock::new(|| {
    // No connection is kept: tests stop and kill what is at its other end.
    let config = Agent::config_builder().http_status_as_error(false).max_idle_connections(0);
    config.timeout_global(Some(ANSWER_MAX)).proxy(None).build().into()
});

/// What an action answers, or the status and the error; the status is 0 where no answer came.
pub fn action(site: &str, token: &str, action: &str, parameters: &Value) -> Result<Value, (u16, Value)> {
    let (status, mut body) = post(&format!("{site}/api/3/action/{action}"), Some(token), parameters)?;
    let succeeded = body["success"] == true;
    match body.get_mut(if succeeded { "result" } else { "error" }) {
        Some(part) if succeeded => Ok(part.take()),
        Some(part) => Err((status, part.take())),
        None => Err((status, body)),
    }
}

/// The status and what came with it: JSON, or the text as a string.
pub fn post(url: &str, token: Option<&str>, body: &Value) -> Result<(u16, Value), (u16, Value)> {
    let unanswered = |error: ureq::Error| (0, Value::String(error.to_string()));
    let mut request = AGENT.post(url);
    if let Some(token) = token {
        request = request.header("Authorization", token);
    }
    let mut answer = request.send_json(body).map_err(unanswered)?;
    let text = answer.body_mut().with_config().limit(100_000_000).read_to_string().map_err(unanswered)?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok((answer.status().as_u16(), body))
}

/// Whether CKAN answers that it is well.
pub fn is_up(site: &str) -> bool {
    let answer = AGENT.get(format!("{site}/api/3/action/status_show")).call();
    answer.is_ok_and(|answer| answer.status().as_u16() == 200)
}
