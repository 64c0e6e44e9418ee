//! What the fuzz targets look for bytes against: the properties that `cargo test` tries on the seeds.

#[path = "../../tests/cli/forge.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod forge;
#[path = "../../tests/seeds/properties/mod.rs"]
#[allow(clippy::unwrap_used)]
pub mod properties;
