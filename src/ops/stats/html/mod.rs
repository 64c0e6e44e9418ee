//! The statistics as one HTML page.

pub(super) mod chart;
pub(super) mod escape;
pub(super) mod map;
pub(super) mod page;
pub(super) mod tables;
pub(super) mod treemap;
