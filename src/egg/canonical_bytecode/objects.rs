//! The objects of a compiled file. Equal ones are one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::MAX_DEPTH;

/// The place of an object in [`Objects`].
pub type Id = usize;
type Digest = [u8; blake3::OUT_LEN];

// Types, by the letters of `marshal`. One letter stands for all texts, and one for ASCII, whether they are
// long or interned; one stands for long and short tuples.
pub const BYTES: u8 = b's';
pub const TEXT: u8 = b'u';
pub const ASCII: u8 = b'a';
pub const TUPLE: u8 = b'(';
pub const SET: u8 = b'>';
pub const CODE: u8 = b'c';
const FLOAT: u8 = b'g';
const COMPLEX: u8 = b'y';

/// `None`, `True`, `False` and `...`, to which nothing refers.
pub fn is_singleton(kind: u8) -> bool {
    matches!(kind, b'N' | b'T' | b'F' | b'.')
}

#[derive(Debug)]
pub struct Object<'a> {
    pub kind: u8,
    /// The bytes that are not other objects.
    pub content: &'a [u8],
    /// The first line of a code object, which comes between its children.
    pub line: &'a [u8],
    pub children: Vec<Id>,
    /// How often other objects refer to it.
    pub uses: usize,
    pub is_name: bool,
    /// How many levels of objects it has.
    depth: usize,
    hash_of: HashOf,
    /// The digest of its value, once it was needed.
    digest: Option<Digest>,
}

/// What Python computes the hash of an object from, which decides on its place in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HashOf {
    /// Its value alone: it is a number, or has nothing but numbers.
    Value,
    /// Its value, and what differs between processes.
    Process,
    /// Its address: it equals no other object, however similar.
    Identity,
}

impl<'a> Object<'a> {
    fn new(kind: u8, content: &'a [u8], children: Vec<Id>) -> Self {
        let is_namelike = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        Self {
            kind,
            content,
            line: &[],
            children,
            uses: 0,
            is_name: kind == ASCII && content.iter().all(is_namelike),
            depth: 1,
            hash_of: hash_of(kind, content),
            digest: None,
        }
    }
}

/// The same for the kind and content of an object, without its children.
fn hash_of(kind: u8, content: &[u8]) -> HashOf {
    let is_nan = |bytes: &[u8; 8]| f64::from_le_bytes(*bytes).is_nan();
    match kind {
        CODE => HashOf::Identity,
        FLOAT | COMPLEX if content.as_chunks().0.iter().any(is_nan) => HashOf::Identity,
        b'i' | b'l' | b'T' | b'F' | FLOAT | COMPLEX | TUPLE | SET => HashOf::Value,
        _ => HashOf::Process,
    }
}

#[derive(Debug, Default)]
pub struct Objects<'a> {
    all: Vec<Object<'a>>,
    leaves: HashMap<(u8, &'a [u8]), Id>,
    parents: HashMap<(u8, Vec<Id>), Id>,
}

impl<'a> Objects<'a> {
    /// Adds an object without others, or finds the equal one.
    pub fn leaf(&mut self, kind: u8, content: &'a [u8]) -> Id {
        if let Some(known) = self.leaves.get(&(kind, content)) {
            return *known;
        }
        let id = self.all.len();
        let object = Object::new(kind, content, Vec::new());
        if object.hash_of != HashOf::Identity {
            self.leaves.insert((kind, content), id);
        }
        self.all.push(object);
        id
    }

    /// Adds a tuple, set or slice, or finds the equal one; `None` if it is nested too deeply, or if nothing
    /// decides on the order of a set.
    pub fn parent(&mut self, kind: u8, children: Vec<Id>) -> Option<Id> {
        let mut object = Object::new(kind, &[], children);
        self.look_at_children(&mut object)?;
        if kind == SET {
            match object.hash_of {
                HashOf::Value => {}
                HashOf::Process => object.children.sort_by_cached_key(|id| self.digest(*id)),
                HashOf::Identity => return None,
            }
        }
        match self.parents.entry((kind, object.children.clone())) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(unknown) => {
                unknown.insert(self.all.len());
                Some(self.push(object))
            }
        }
    }

    /// Adds a code object. No other one is equal.
    pub fn code(&mut self, numbers: &'a [u8], line: &'a [u8], children: Vec<Id>) -> Option<Id> {
        let mut object = Object::new(CODE, numbers, children);
        object.line = line;
        self.look_at_children(&mut object)?;
        Some(self.push(object))
    }

    /// Computes what depends on the children of an object; `None` if it is nested too deeply.
    fn look_at_children(&self, object: &mut Object<'_>) -> Option<()> {
        for child in &object.children {
            let child = &self.all[*child];
            object.depth = object.depth.max(child.depth + 1);
            object.hash_of = object.hash_of.max(child.hash_of);
        }
        (object.depth <= MAX_DEPTH).then_some(())
    }

    fn push(&mut self, object: Object<'a>) -> Id {
        for child in &object.children {
            self.all[*child].uses += 1;
        }
        self.all.push(object);
        self.all.len() - 1
    }

    /// The digest of the value of an object.
    fn digest(&mut self, id: Id) -> Digest {
        if let Some(known) = self.all[id].digest {
            return known;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[self.all[id].kind]).update(self.all[id].content);
        for at in 0..self.all[id].children.len() {
            hasher.update(&self.digest(self.all[id].children[at]));
        }
        *self.all[id].digest.insert(hasher.finalize().into())
    }

    /// Marks a name, or the names in a tuple.
    pub fn mark_names(&mut self, id: Id) {
        self.mark_name(id);
        for at in 0..self.all[id].children.len() {
            self.mark_name(self.all[id].children[at]);
        }
    }

    fn mark_name(&mut self, id: Id) {
        let object = &mut self.all[id];
        object.is_name |= matches!(object.kind, TEXT | ASCII);
    }

    pub fn into_all(self) -> Vec<Object<'a>> {
        self.all
    }
}
