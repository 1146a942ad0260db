//! Writing to the application state, and to nothing else.

use std::fmt;

use automerge::marks::{ExpandMark, Mark};
use automerge::transaction::{Transactable, Transaction};
use automerge::{ObjId, ObjType, Prop, ReadDoc, ScalarValue};

use super::error::DocumentError;
use super::value::Value;

/// An object of the application state: its root, or one that a [`DocumentTransaction`] has found
/// or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectId(Inner);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Inner {
    Root,
    Object(ObjId),
}

impl ObjectId {
    /// The map that holds the application state.
    pub const ROOT: Self = Self(Inner::Root);
}

/// A value that is put as a whole.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Scalar {
    /// Text as one value.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Signed number.
    Int(i64),
    /// Unsigned number.
    Uint(u64),
    /// Floating point number.
    Float(f64),
    /// A sum to which several may add at once.
    Counter(i64),
    /// Milliseconds since the epoch.
    Timestamp(i64),
    /// True or false.
    Boolean(bool),
    /// Nothing, put on purpose.
    Null,
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Scalar {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<i64> for Scalar {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Scalar {
    fn from(number: u64) -> Self {
        Self::Uint(number)
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<Scalar> for ScalarValue {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::String(text) => Self::Str(text.into()),
            Scalar::Bytes(bytes) => Self::Bytes(bytes),
            Scalar::Int(number) => Self::Int(number),
            Scalar::Uint(number) => Self::Uint(number),
            Scalar::Float(number) => Self::F64(number),
            Scalar::Counter(start) => Self::Counter(start.into()),
            Scalar::Timestamp(ms) => Self::Timestamp(ms),
            Scalar::Boolean(value) => Self::Boolean(value),
            Scalar::Null => Self::Null,
        }
    }
}

/// One change of the application state under way.
///
/// Properties are keys of maps (`&str`) or places in lists and texts (`usize`, in Unicode code
/// points). All of it is thrown away if the closure that was given it returns an error.
pub struct DocumentTransaction<'a, 'doc> {
    tx: &'a mut Transaction<'doc>,
    root: ObjId,
}

impl fmt::Debug for DocumentTransaction<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentTransaction")
            .finish_non_exhaustive()
    }
}

type Made<T> = Result<T, DocumentError>;

impl<'a, 'doc> DocumentTransaction<'a, 'doc> {
    pub(super) fn new(tx: &'a mut Transaction<'doc>, root: ObjId) -> Self {
        Self { tx, root }
    }

    fn id(&self, object: &ObjectId) -> ObjId {
        match &object.0 {
            Inner::Root => self.root.clone(),
            Inner::Object(id) => id.clone(),
        }
    }

    /// Puts a value.
    ///
    /// # Errors
    /// [`DocumentError::Operation`] if the property does not fit the object.
    pub fn put(
        &mut self,
        object: &ObjectId,
        property: impl Into<Prop>,
        value: impl Into<Scalar>,
    ) -> Made<()> {
        let id = self.id(object);
        self.tx
            .put(id, property, ScalarValue::from(value.into()))
            .map_err(operation)
    }

    /// Puts an empty object.
    ///
    /// # Errors
    /// [`DocumentError::Operation`] if the property does not fit the object.
    pub fn put_object(
        &mut self,
        object: &ObjectId,
        property: impl Into<Prop>,
        kind: ObjType,
    ) -> Made<ObjectId> {
        let id = self.id(object);
        self.tx
            .put_object(id, property, kind)
            .map(made)
            .map_err(operation)
    }

    /// Inserts a value into a list.
    ///
    /// # Errors
    /// [`DocumentError::Operation`] if the object is no list or shorter than `index`.
    pub fn insert(&mut self, list: &ObjectId, index: usize, value: impl Into<Scalar>) -> Made<()> {
        let id = self.id(list);
        self.tx
            .insert(id, index, ScalarValue::from(value.into()))
            .map_err(operation)
    }

    /// Inserts an empty object into a list.
    ///
    /// # Errors
    /// [`DocumentError::Operation`] if the object is no list or shorter than `index`.
    pub fn insert_object(
        &mut self,
        list: &ObjectId,
        index: usize,
        kind: ObjType,
    ) -> Made<ObjectId> {
        let id = self.id(list);
        self.tx
            .insert_object(id, index, kind)
            .map(made)
            .map_err(operation)
    }

    /// Adds to a counter.
    ///
    /// # Errors
    /// [`DocumentError::Operation`] if there is no counter.
    pub fn increment(
        &mut self,
        object: &ObjectId,
        property: impl Into<Prop>,
        step: i64,
    ) -> Made<()> {
        let id = self.id(object);
        self.tx.increment(id, property, step).map_err(operation)
    }

    /// Deletes a key or an element.
    ///
    /// # Errors
    /// [`DocumentError::Operation`] if the property does not fit the object.
    pub fn delete(&mut self, object: &ObjectId, property: impl Into<Prop>) -> Made<()> {
        let id = self.id(object);
        self.tx.delete(id, property).map_err(operation)
    }

    /// Deletes `delete` code points of a text at `index` and puts `insert` in their place.
    ///
    /// # Errors
    /// [`DocumentError::Operation`] if the object is no text or too short.
    pub fn splice_text(
        &mut self,
        text: &ObjectId,
        index: usize,
        delete: usize,
        insert: &str,
    ) -> Made<()> {
        let id = self.id(text);
        let delete = isize::try_from(delete).unwrap_or(isize::MAX);
        self.tx
            .splice_text(id, index, delete, insert)
            .map_err(operation)
    }

    /// Marks the code points of a text in `range`. The mark grows with what is written at its end.
    ///
    /// # Errors
    /// [`DocumentError::Operation`] if the object is no text or too short.
    pub fn mark(
        &mut self,
        text: &ObjectId,
        range: std::ops::Range<usize>,
        name: &str,
        value: impl Into<Scalar>,
    ) -> Made<()> {
        let id = self.id(text);
        let value = ScalarValue::from(value.into());
        let mark = Mark::new(name.to_owned(), value, range.start, range.end);
        self.tx.mark(id, mark, ExpandMark::After).map_err(operation)
    }

    /// Takes a mark off the code points of a text in `range`.
    ///
    /// # Errors
    /// [`DocumentError::Operation`] if the object is no text or too short.
    pub fn unmark(
        &mut self,
        text: &ObjectId,
        range: std::ops::Range<usize>,
        name: &str,
    ) -> Made<()> {
        let id = self.id(text);
        self.tx
            .unmark(id, name, range.start, range.end, ExpandMark::After)
            .map_err(operation)
    }

    /// The object at a property, if there is one.
    ///
    /// # Errors
    /// [`DocumentError::Operation`] if the object is not there.
    pub fn object(&self, object: &ObjectId, property: impl Into<Prop>) -> Made<Option<ObjectId>> {
        let found = self.tx.get(self.id(object), property).map_err(operation)?;
        Ok(found.and_then(|(value, id)| value.is_object().then(|| made(id))))
    }

    /// The value at a property, if there is one and it is no object.
    ///
    /// # Errors
    /// [`DocumentError::Operation`] if the object is not there.
    pub fn scalar(&self, object: &ObjectId, property: impl Into<Prop>) -> Made<Option<Value>> {
        let found = self.tx.get(self.id(object), property).map_err(operation)?;
        Ok(found.and_then(|(value, _)| value.as_scalar().map(Value::from_scalar)))
    }

    /// The words of a text.
    ///
    /// # Errors
    /// [`DocumentError::Operation`] if the object is no text.
    pub fn text(&self, text: &ObjectId) -> Made<String> {
        self.tx.text(self.id(text)).map_err(operation)
    }

    /// Keys of a map, elements of a list or code points of a text.
    #[must_use]
    pub fn length(&self, object: &ObjectId) -> usize {
        self.tx.length(self.id(object))
    }

    /// The keys of a map, sorted.
    #[must_use]
    pub fn keys(&self, object: &ObjectId) -> Vec<String> {
        self.tx.keys(self.id(object)).collect()
    }
}

fn made(id: ObjId) -> ObjectId {
    ObjectId(Inner::Object(id))
}

fn operation(error: automerge::AutomergeError) -> DocumentError {
    DocumentError::Operation(error)
}
