//! A bound for the answers that `object_store` reads into memory as a whole: a page of a listing, the text
//! of an error, and the confirmation of a write. An object is not among them: its reader bounds it.
//!
//! The head of an answer has a bound in `hyper`: a hundred headers. No answer is decompressed, because the
//! length of an object is that of its bytes.

use futures_util::StreamExt;
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse};

/// Longest page of a listing, in bytes. A page of S3 has a thousand objects.
const MAX_PAGE: usize = 16 << 20;
/// Longest answer to another request, in bytes.
const MAX_OTHER: usize = 1 << 20;
/// Of the text of an error, only its beginning is read.
const MAX_ERROR: usize = 64 << 10;

/// The most bytes of a successful answer, or `None` if it is an object.
pub(super) fn limit(request: &HttpRequest) -> Option<usize> {
    let query = request.uri().query().unwrap_or_default();
    let is_listing = |it: &str| it.starts_with("list-type=") || it == "comp=list";
    match (request.method() == "GET", query.split('&').any(is_listing)) {
        (true, true) => Some(MAX_PAGE),
        (true, false) => None,
        (false, _) => Some(MAX_OTHER),
    }
}

/// Reads the body of an answer into memory, unless it is an object.
pub(super) async fn bounded(
    limit: Option<usize>,
    answer: HttpResponse,
) -> Result<HttpResponse, HttpError> {
    let is_error = !answer.status().is_success();
    let Some(most) = (if is_error { Some(MAX_ERROR) } else { limit }) else { return Ok(answer) };
    let (parts, body) = answer.into_parts();
    let (mut stream, mut bytes) = (body.bytes_stream(), Vec::new());
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            // The status says enough.
            Err(_) if is_error => break,
            Err(error) => return Err(error),
        }
        if bytes.len() > most && is_error {
            bytes.truncate(most);
            break;
        }
        if bytes.len() > most {
            let reason = format!("its answer has more than {most} bytes");
            return Err(HttpError::new_boxed(HttpErrorKind::Decode, reason.into()));
        }
    }
    Ok(HttpResponse::from_parts(parts, bytes.into()))
}
