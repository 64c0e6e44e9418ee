//! What went wrong, in words: of an answer its status and its code, and nothing else.

use std::error::Error as StdError;

use object_store::client::{HttpError, HttpErrorKind};

use super::redirects::Refused;

/// How the text of an error begins that is an answer of a server. The type of the error is private to
/// `object_store`; `the_text_of_an_answer_is_as_expected` fails if the text changes.
const ANSWER: &str = "Server returned non-2xx status code: ";

/// Whether an error is the remote's, and not an answer.
pub(super) fn is_failure(error: &object_store::Error) -> bool {
    use object_store::Error;
    !matches!(
        error,
        Error::NotFound { .. }
            | Error::AlreadyExists { .. }
            | Error::Precondition { .. }
            | Error::NotModified { .. }
    )
}

/// The name of an answer that is no failure.
pub(super) fn answer_name(error: &object_store::Error) -> &'static str {
    use object_store::Error;
    match error {
        Error::NotFound { .. } => "absent",
        Error::AlreadyExists { .. } => "exists",
        Error::Precondition { .. } | Error::NotModified { .. } => "changed",
        _ => "failed",
    }
}

/// What went wrong, without addresses and headers.
pub(super) fn reason(error: &object_store::Error) -> String {
    use object_store::Error;
    let denied = match error {
        Error::PermissionDenied { .. } => Some("access denied (403"),
        Error::Unauthenticated { .. } => Some("it requires credentials (401"),
        _ => None,
    };
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    let mut last = error.to_string();
    while let Some(error) = source {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return of_http(http);
        }
        last = error.to_string();
        source = error.source();
    }
    if let Some(denied) = denied {
        // Such as that the clocks differ too much.
        let code = code(&last);
        let shown = code.map_or_else(String::new, |code| format!(", {code}"));
        let more = if code == Some("AccessDenied") { NO_LISTING } else { "" };
        return format!("{denied}{shown}){more}");
    }
    match last.strip_prefix(ANSWER) {
        Some(answer) => answered(answer),
        None => first_line(&last),
    }
}

/// What S3 answers has two reasons.
const NO_LISTING: &str = "; it also denies absent objects to those who may not list";

/// Why a request got no answer.
pub(super) fn of_http(error: &HttpError) -> String {
    let what = match error.kind() {
        HttpErrorKind::Connect => "it cannot be reached",
        HttpErrorKind::Timeout => "it does not answer in time",
        HttpErrorKind::Request | HttpErrorKind::Interrupted => "the connection was interrupted",
        _ => "its answer is not understood",
    };
    let mut last: &(dyn StdError + 'static) = error;
    while let Some(source) = last.source() {
        last = source;
    }
    if let Some(refused) = last.downcast_ref::<Refused>() {
        return first_line(&refused.to_string());
    }
    format!("{what} ({})", first_line(&last.to_string()))
}

/// What a server has answered: its status, and the code that S3 has for an error. Of the rest nothing,
/// as some servers repeat the request in it.
pub(super) fn answered(answer: &str) -> String {
    let status = first_line(answer.split(": ").next().unwrap_or_default());
    match code(answer) {
        Some(code) => format!("it answers {status} ({code})"),
        None => format!("it answers {status}"),
    }
}

/// The code that S3 has for an error.
fn code(answer: &str) -> Option<&str> {
    let (code, _) = answer.split_once("<Code>")?.1.split_once("</Code>")?;
    let is_code =
        (1..=40).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then_some(code)
}

/// Of what a server says, as much as a line takes, and nothing that a terminal would obey.
pub(crate) fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars()
        .filter(|&c| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric())
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_only_the_status_and_the_code_are_told() {
        for (answer, text) in [
            ("503 Service Unavailable: ", "it answers 503 Service Unavailable"),
            ("400 Bad Request: X-Token: hunter2", "it answers 400 Bad Request"),
            (
                "404 Not Found: <?xml?>\n<Error><Code>NoSuchBucket</Code><Key>a</Key></Error>",
                "it answers 404 Not Found (NoSuchBucket)",
            ),
            (
                "500 Internal Server Error: <Code>hunter2</Code>",
                "it answers 500 Internal Server Error",
            ),
        ] {
            assert_eq!(answered(answer), text);
        }
    }
}
