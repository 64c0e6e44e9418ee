//! The stream of an archive, which remembers how it has ended, for a message in plain words.

use std::cell::Cell;
use std::io::{self, Read};

/// How a stream has ended so far.
#[derive(Debug, Default)]
pub struct StreamEnd {
    is_over: Cell<bool>,
    has_failed: Cell<bool>,
}

impl StreamEnd {
    /// Describes an error of the program that reads members from the stream, after the member `last`.
    /// The texts of the libraries below are not for users.
    pub fn describe(&self, error: &io::Error, last: &str) -> String {
        if error.raw_os_error().is_some() {
            error.to_string()
        } else if self.is_over.get() || error.kind() == io::ErrorKind::UnexpectedEof {
            "it ends early".to_owned()
        } else if self.has_failed.get() {
            "its compressed data is damaged".to_owned()
        } else {
            format!("the header after {last} is not valid")
        }
    }
}

/// A stream that notes its end.
#[derive(Debug)]
pub struct Watched<'a, R> {
    pub stream: R,
    pub end: &'a StreamEnd,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer);
        match &read {
            Ok(0) if !buffer.is_empty() => self.end.is_over.set(true),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.end.has_failed.set(true);
            }
            _ => {}
        }
        read
    }
}
