//! An egg as one file: its frames, and how they are read and written.

pub mod frame_layout;
pub mod reader;
pub mod writer;
