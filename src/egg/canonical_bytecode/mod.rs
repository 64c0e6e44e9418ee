//! The canonical form of compiled files, which depends on the values in the code and on nothing else.
//!
//! `CPython` writes code (`marshal`) as it finds it in memory, so other files that the same process has
//! compiled show in it:
//!
//! - An object is marked as the target of references if anything in the process refers to it, even if the
//!   file has no such reference. Names are shared by all modules, so any module may refer to one.
//! - A text of one character is marked as interned if any module has interned it: before 3.13, there is
//!   one object for each such text of Latin-1.
//! - Before 3.11, a set has its elements in the order of its hash table. That order depends on which of
//!   its texts were interned earlier, and on the address of `None`.
//!
//! In the canonical form, equal constants are one object, and an object is marked if a reference follows. A
//! text is interned if the code uses it as a name, or if it could be one: Python interns these when it loads
//! code. The elements of a set have a fixed order. Sets of numbers keep theirs, which depends on the source
//! alone, and which programs can see.
//!
//! What is not understood stays as it is.

mod objects;
mod reader;

use super::bytecode::HEADER;
use objects::{ASCII, BYTES, CODE, Id, Object, SET, TEXT, TUPLE, is_singleton};
use reader::Reader;

/// The flag of an object that references mean.
const FLAG_REF: u8 = 0x80;
const REF: u8 = b'r';
/// How deep objects may be nested. Python itself loads no more than 2,000 levels.
const MAX_DEPTH: usize = 300;
/// The longest file, in bytes. In memory, an object takes up to a hundred times what it takes in the file.
const MAX_FILE: usize = 64 << 20;

/// How many objects of a code object come before its first line.
const BEFORE_LINE: usize = 8;

/// How a version of Python writes a code object: numbers, objects, the first line, more objects.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// The length of all numbers, in bytes.
    numbers: usize,
    after_line: usize,
    /// Which objects are names, or tuples of names.
    names: &'static [usize],
}

const UNTIL_3_10: Layout = Layout { numbers: 24, after_line: 1, names: &[2, 3, 4, 5, 7] };
const SINCE_3_11: Layout = Layout { numbers: 20, after_line: 2, names: &[2, 3, 6, 7] };

/// The layout, by the magic number of the releases of `CPython`.
fn layout(magic: u16) -> Option<Layout> {
    match magic {
        // 3.8, 3.9 and 3.10
        3413 | 3425 | 3439 => Some(UNTIL_3_10),
        // 3.11, 3.12, 3.13 and 3.14
        3495 | 3531 | 3571 | 3627 => Some(SINCE_3_11),
        _ => None,
    }
}

/// The canonical form of a compiled file; `None` if the file is not understood.
#[must_use]
pub fn canonical(file: &[u8]) -> Option<Vec<u8>> {
    let (header, code) = file.split_at_checked(HEADER)?;
    let [low, high, b'\r', b'\n', ..] = *header else { return None };
    let layout = layout(u16::from_le_bytes([low, high]))?;
    if file.len() > MAX_FILE {
        return None;
    }
    let (objects, root) = Reader::new(code, layout).read()?;
    let mut output = Vec::with_capacity(file.len());
    output.extend(header);
    let mut writer = Writer { objects: &objects, output, refs: vec![None; objects.len()], next: 0 };
    writer.write(root);
    Some(writer.output)
}

struct Writer<'a> {
    objects: &'a [Object<'a>],
    output: Vec<u8>,
    /// The number by which references mean an object that was written.
    refs: Vec<Option<u32>>,
    next: u32,
}

impl Writer<'_> {
    fn write(&mut self, id: Id) {
        let object = &self.objects[id];
        if is_singleton(object.kind) {
            self.output.push(object.kind);
            return;
        }
        if let Some(number) = self.refs[id] {
            self.output.push(REF);
            self.output.extend(number.to_le_bytes());
            return;
        }
        let flag = if object.uses > 1 {
            self.refs[id] = Some(self.next);
            self.next += 1;
            FLAG_REF
        } else {
            0
        };
        self.head(object, flag);
        self.output.extend(object.content);
        for (at, child) in object.children.iter().enumerate() {
            if object.kind == CODE && at == BEFORE_LINE {
                self.output.extend(object.line);
            }
            self.write(*child);
        }
    }

    /// Writes the type of an object, and its length if it has one.
    fn head(&mut self, object: &Object<'_>, flag: u8) {
        let (kind, length) = match (object.kind, object.content.len(), object.children.len()) {
            (TEXT, length, _) => (if object.is_name { b't' } else { TEXT }, Some(length)),
            (ASCII, length @ ..256, _) => (if object.is_name { b'Z' } else { b'z' }, Some(length)),
            (ASCII, length, _) => (if object.is_name { b'A' } else { ASCII }, Some(length)),
            (TUPLE, _, length @ ..256) => (b')', Some(length)),
            (kind @ (TUPLE | SET), _, length) => (kind, Some(length)),
            (BYTES, length, _) => (BYTES, Some(length)),
            (kind, _, _) => (kind, None),
        };
        self.output.push(kind | flag);
        let length = length.map(|it| u32::try_from(it).expect("files are shorter").to_le_bytes());
        match (kind, length) {
            (b'z' | b'Z' | b')', Some(length)) => self.output.push(length[0]),
            (_, Some(length)) => self.output.extend(length),
            (_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC_3_10: u16 = 3439;
    const MAGIC_3_11: u16 = 3495;

    fn file(magic: u16, code: &[u8]) -> Vec<u8> {
        let mut file = magic.to_le_bytes().to_vec();
        file.extend(b"\r\n\0\0\0\0mtimsize");
        file.extend(code);
        file
    }

    /// The canonical form of one object, without header.
    fn canonical_of(code: &[u8]) -> Option<Vec<u8>> {
        let file = file(MAGIC_3_11, code);
        let canonical = canonical(&file)?;
        assert_eq!(canonical[..HEADER], file[..HEADER]);
        Some(canonical[HEADER..].to_vec())
    }

    /// `code`, with `\xff` before each object to mark.
    fn marked(code: &[u8]) -> Vec<u8> {
        let mut flag = 0;
        let mut output = Vec::new();
        for byte in code {
            match byte {
                0xff => flag = FLAG_REF,
                byte => output.push(byte | std::mem::take(&mut flag)),
            }
        }
        output
    }

    #[track_caller]
    fn assert_canonical(code: &[u8], expected: &[u8]) {
        let found = canonical_of(&marked(code)).unwrap();
        let (found, expected) = (found.escape_ascii(), marked(expected));
        assert_eq!(found.to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn an_object_is_marked_if_a_reference_follows() {
        // Marks: the tuple 0, -a 1, -b 2. In the canonical form, -b alone.
        assert_canonical(
            b"\xff)\x03\xffz\x02-a\xffz\x02-br\x02\0\0\0",
            b")\x03z\x02-a\xffz\x02-br\0\0\0\0",
        );
    }

    #[test]
    fn equal_constants_are_one() {
        for constant in
            [&b"z\x03a-b"[..], b"i\x05\0\0\0", b"g12345678", b"s\x02\0\0\0\r\n", b")\x01N"]
        {
            let expected = [&b")\x02\xff"[..], constant, b"r\0\0\0\0"].concat();
            assert_canonical(&[b")\x02", constant, constant].concat(), &expected);
        }
        // Not so what Python tells apart: 0.0 and -0.0, 1 and True, text and bytes, None.
        let (zero, minus) = (0_f64.to_le_bytes(), (-0_f64).to_le_bytes());
        let others = [b"g", &zero[..], b"g", &minus, b"i\x01\0\0\0Tz\x01-s\x01\0\0\0-NN"].concat();
        let others = [b")\x08", &others[..]].concat();
        assert_eq!(canonical_of(&others), Some(others));
        // One is not equal to the other.
        let nan = [b"g", &f64::NAN.to_le_bytes()[..]].concat();
        let both = [b")\x02", &nan[..], &nan].concat();
        assert_eq!(canonical_of(&both), Some(both));
    }

    #[test]
    fn texts_are_interned_if_they_look_like_names() {
        assert_canonical(b")\x03z\x02a_Z\x01-Z\x00", b")\x03Z\x02a_z\x01-Z\x00");
        assert_canonical(
            b")\x02a\x01\0\0\0_t\x02\0\0\0\xc3\xa4",
            b")\x02Z\x01_u\x02\0\0\0\xc3\xa4",
        );
        let long = [b"A\x00\x01\0\0", &[b'-'; 256][..]].concat();
        assert_eq!(canonical_of(&long).unwrap()[..5], *b"a\x00\x01\0\0");
    }

    #[test]
    fn sets_have_a_fixed_order() {
        let elements = [&b"z\x02-a"[..], b"z\x02-b", b"N", b"i\x01\0\0\0"];
        let form = |first: usize| {
            let elements = [&elements[first..], &elements[..first]].concat().concat();
            canonical_of(&[b">\x04\0\0\0", &elements[..]].concat())
        };
        assert!(form(0).is_some());
        assert!((1..4).all(|first| form(first) == form(0)));
        // References follow the new order.
        let two = |one: &[u8], other: &[u8]| {
            canonical_of(&marked(
                &[b")\x02>\x02\0\0\0\xff", one, b"\xff", other, b"r\x01\0\0\0"].concat(),
            ))
        };
        let (one, other) = (two(b"z\x02-a", b"z\x02-b"), two(b"z\x02-b", b"z\x02-a"));
        assert!(one.is_some() && one != other, "they refer to different texts");
    }

    #[test]
    fn sets_of_numbers_keep_their_order() {
        for set in
            [&b">\x02\0\0\0i\x08\0\0\0i\0\0\0\0"[..], b">\x02\0\0\0)\x01i\x08\0\0\0)\x01i\0\0\0\0"]
        {
            assert_eq!(canonical_of(set).as_deref(), Some(set));
        }
    }

    /// A module with these constants and this name.
    fn module(magic: u16, constants: &[u8], name: &[u8]) -> Vec<u8> {
        let text = b"z\x01-".as_slice();
        let code = if magic == MAGIC_3_10 {
            let (numbers, empty) = ([0; 24], b")\0".as_slice());
            let objects = [text, constants, name, empty, empty, empty, text, text];
            [b"c", &numbers[..], &objects.concat(), b"line", text].concat()
        } else {
            let (numbers, empty) = ([0; 20], b")\0".as_slice());
            let objects = [text, constants, name, empty, text, text, text, text];
            [b"c", &numbers[..], &objects.concat(), b"line", text, text].concat()
        };
        file(magic, &code)
    }

    #[test]
    fn names_are_interned() {
        for magic in [MAGIC_3_10, MAGIC_3_11] {
            let canonical =
                canonical(&module(magic, b")\x01u\x02\0\0\0\xc3\xa4", b")\x01u\x02\0\0\0\xc3\xa4"));
            let canonical = canonical.unwrap().escape_ascii().to_string();
            // The one constant is the name; `-` is the name of the module as well.
            assert!(canonical.contains(r"t\x02\x00\x00\x00\xc3\xa4"), "{canonical}");
            assert!(canonical.contains(r"\xda\x01-"), "{canonical}");
            assert!(canonical.contains("line"), "{canonical}");
        }
    }

    #[test]
    fn equal_code_objects_are_two() {
        let lambda = module(MAGIC_3_11, b")\0", b")\0").split_off(HEADER);
        let constants = [b")\x02", &lambda[..], &lambda].concat();
        let canonical = canonical(&module(MAGIC_3_11, &constants, b")\0")).unwrap();
        assert_eq!(canonical.windows(4).filter(|it| it == b"line").count(), 3);
    }

    #[test]
    fn a_canonical_form_is_its_own() {
        let module = module(MAGIC_3_11, b")\x02>\x02\0\0\0z\x01az\x01bz\x01b", b")\x01z\x01a");
        let once = canonical(&module).unwrap();
        assert_ne!(once, module);
        assert_eq!(canonical(&once).as_ref(), Some(&once));
    }

    #[test]
    fn files_of_other_pythons_are_not_understood() {
        for magic in [0, 336, 3394, 3438, 3494, 62211] {
            assert_eq!(canonical(&file(magic, b"N")), None, "{magic}");
        }
        assert_eq!(canonical(b""), None);
        assert_eq!(canonical(&file(MAGIC_3_11, b"N")[..HEADER]), None);
    }

    #[test]
    fn files_that_are_cut_off_are_not_understood() {
        let constants = b")\x05l\xfe\xff\xff\xff1234:NNNy1234567812345678>\x01\0\0\0Na\x01\0\0\0-";
        let module = module(MAGIC_3_11, constants, b")\0");
        assert!(canonical(&module).is_some());
        for length in 0..module.len() {
            assert_eq!(canonical(&module[..length]), None, "{length}");
        }
    }

    #[test]
    fn hostile_code_is_not_understood() {
        for code in [
            &b"r\0\0\0\0"[..],      // no such object
            b"\xa9\x01r\0\0\0\0",   // it has itself
            b"\xce",                // None is never marked
            b"(\xff\xff\xff\x7f\0", // more objects than bytes
            b"s\0\0\0\x80",         // a negative length
            b"l\0\0\0\x80",         // the longest number
            b"NN",                  // more after the end
            b"[\0\0\0\0",           // a list is no constant
            b"\xf2\0\0\0\0",        // a marked reference
        ] {
            assert_eq!(canonical_of(code), None, "{}", code.escape_ascii());
        }
        let nan = [b">\x01\0\0\0g", &f64::NAN.to_le_bytes()[..]].concat();
        assert_eq!(canonical_of(&nan), None, "the address of its element decides on the order");
    }

    #[test]
    fn depth_is_limited() {
        let nested = |levels: usize| [b")\x01".repeat(levels), b"N".to_vec()].concat();
        assert!(canonical_of(&nested(MAX_DEPTH - 1)).is_some());
        assert_eq!(canonical_of(&nested(MAX_DEPTH)), None);
        assert_eq!(canonical_of(&nested(1 << 20)), None);
        // Each tuple has the one before it, by reference.
        let most = u32::try_from(MAX_DEPTH).unwrap();
        let tuple = |number: u32| [b"\xa9\x01r", &number.to_le_bytes()[..]].concat();
        let chain: Vec<u8> = (0..most).flat_map(tuple).collect();
        let count = (most + 1).to_le_bytes();
        assert_eq!(canonical_of(&[b"(", &count[..], b"\xa9\0", &chain].concat()), None);
    }
}
