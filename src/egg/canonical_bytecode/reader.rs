//! Reading marshalled code.

use super::objects::{ASCII, BYTES, CODE, Id, Object, Objects, SET, TEXT, TUPLE, is_singleton};
use super::{BEFORE_LINE, FLAG_REF, Layout, MAX_DEPTH, REF};

#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    layout: Layout,
    objects: Objects<'a>,
    /// The marked objects; `None` for one that is not complete.
    refs: Vec<Option<Id>>,
}

impl<'a> Reader<'a> {
    pub fn new(code: &'a [u8], layout: Layout) -> Self {
        Self { rest: code, layout, objects: Objects::default(), refs: Vec::new() }
    }

    /// Returns all objects, and which of them has the others; `None` if they are not understood.
    pub fn read(mut self) -> Option<(Vec<Object<'a>>, Id)> {
        let root = self.object(0)?;
        self.rest.is_empty().then(|| (self.objects.into_all(), root))
    }

    fn object(&mut self, depth: usize) -> Option<Id> {
        let [code] = *self.take(1)? else { return None };
        let (kind, is_marked) = (code & !FLAG_REF, code & FLAG_REF != 0);
        if kind == REF && !is_marked {
            let number = self.length()?;
            return *self.refs.get(number)?;
        }
        if !is_marked {
            return self.unmarked(kind, depth);
        }
        let number = self.refs.len();
        self.refs.push(None);
        let id = self.unmarked(kind, depth)?;
        self.refs[number] = Some(id);
        // Python does not count a singleton, even if it is marked.
        (!is_singleton(kind)).then_some(id)
    }

    fn unmarked(&mut self, kind: u8, depth: usize) -> Option<Id> {
        let (kind, length) = match kind {
            _ if is_singleton(kind) => (kind, 0),
            b'i' => (kind, 4),
            b'g' => (kind, 8),
            b'y' => (kind, 16),
            b'l' => (kind, self.length_of_number()?),
            BYTES => (kind, self.length()?),
            b'u' | b't' => (TEXT, self.length()?),
            b'a' | b'A' => (ASCII, self.length()?),
            b'z' | b'Z' => (ASCII, self.short_length()?),
            _ => return self.parent(kind, depth),
        };
        let content = self.take(length)?;
        Some(self.objects.leaf(kind, content))
    }

    /// Reads an object that has others.
    fn parent(&mut self, kind: u8, depth: usize) -> Option<Id> {
        let (kind, length) = match kind {
            b')' => (TUPLE, self.short_length()?),
            TUPLE | SET => (kind, self.length()?),
            b':' => (kind, 3), // a slice
            CODE => return self.code(depth),
            _ => return None,
        };
        let children = self.children(length, depth)?;
        self.objects.parent(kind, children)
    }

    fn code(&mut self, depth: usize) -> Option<Id> {
        let numbers = self.take(self.layout.numbers)?;
        let mut children = self.children(BEFORE_LINE, depth)?;
        let line = self.take(4)?;
        children.extend(self.children(self.layout.after_line, depth)?);
        for at in self.layout.names {
            self.objects.mark_names(children[*at]);
        }
        self.objects.code(numbers, line, children)
    }

    fn children(&mut self, count: usize, depth: usize) -> Option<Vec<Id>> {
        // Each takes a byte at least.
        if depth >= MAX_DEPTH || count > self.rest.len() {
            return None;
        }
        (0..count).map(|_| self.object(depth + 1)).collect()
    }

    fn length(&mut self) -> Option<usize> {
        let length = i32::from_le_bytes(self.take(4)?.try_into().ok()?);
        usize::try_from(length).ok()
    }

    fn short_length(&mut self) -> Option<usize> {
        Some(usize::from(self.take(1)?[0]))
    }

    /// The length of a large number with its own length, which is negative if the number is.
    fn length_of_number(&self) -> Option<usize> {
        let digits = i32::from_le_bytes(self.rest.first_chunk().copied()?);
        Some(4 + 2 * digits.unsigned_abs() as usize)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(head)
    }
}
