//! The statistics as one HTML page.

pub(super) mod ages;
pub(super) mod axis;
pub(super) mod chart;
pub(super) mod escape;
pub(super) mod lists;
pub(super) mod map;
pub(super) mod page;
pub(super) mod slots;
pub(super) mod tables;
pub(super) mod totals;
pub(super) mod treemap;
