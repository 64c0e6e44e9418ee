//! Ages as horizontal bars, each with its numbers beside it.

use std::fmt::Write;

use super::super::sizes::Bucket;
use crate::util::units::{counted, shown_count, shown_size};

/// A row for each bucket. `of` names the ages, as in "last used".
pub fn ages(of: &str, buckets: &[Bucket]) -> String {
    let most = buckets.iter().map(|bucket| bucket.blob_bytes).max().unwrap_or(0).max(1);
    let mut rows = String::new();
    for bucket in buckets {
        #[expect(clippy::cast_precision_loss, reason = "a screen has fewer pixels")]
        let width = bucket.blob_bytes as f64 * 100.0 / most as f64;
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"bar\"><i style=\"width:{width:.1}%\"></i>\
             </td><td>{}</td></tr>",
            name(bucket),
            shown_count(bucket.eggs as u64),
            shown_size(bucket.blob_bytes)
        );
    }
    format!(
        "<table class=\"ages\"><thead><tr><th scope=\"col\">{of}</th><th scope=\"col\">eggs</th>\
         <th scope=\"colgroup\" colspan=\"2\">size</th></tr></thead><tbody>{rows}</tbody></table>"
    )
}

fn name(bucket: &Bucket) -> String {
    match bucket.below_days {
        Some(365) => "under 1 year".into(),
        Some(below) => format!("under {}", counted(u64::try_from(below).unwrap_or(0), "day")),
        None => "older".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sizes::Sizes;
    use super::*;

    #[test]
    fn the_last_bucket_is_older() {
        let names: Vec<String> = Sizes::of(&[], 0).ages.iter().map(name).collect();
        assert_eq!(names.first().unwrap(), "under 1 day");
        assert_eq!(names[names.len() - 2..], ["under 1 year", "older"]);
    }
}
