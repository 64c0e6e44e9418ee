//! The properties that the fuzz targets try to break; `cargo test` tries them on the seeds.

#[path = "../../tests/cli/forge.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod forge;
#[path = "../../tests/seeds/properties/mod.rs"]
#[allow(clippy::unwrap_used)]
pub mod properties;
