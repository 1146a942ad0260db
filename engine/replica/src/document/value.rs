//! The application state as plain values.

use std::collections::BTreeMap;
use std::fmt;

use automerge::{ScalarValue, hydrate};

/// A value of the application state, with all that is in it.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Keys and values. Of values put at the same time, the one that shows.
    Map(BTreeMap<String, Self>),
    /// Values in order.
    List(Vec<Self>),
    /// Text that several may edit at once, without its marks.
    Text(String),
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

impl Value {
    pub(super) fn from_hydrated(value: &hydrate::Value) -> Self {
        match value {
            hydrate::Value::Map(map) => Self::Map(
                map.iter()
                    .map(|(key, value)| (key.clone(), Self::from_hydrated(&value.value)))
                    .collect(),
            ),
            hydrate::Value::List(list) => Self::List(
                list.iter()
                    .map(|value| Self::from_hydrated(&value.value))
                    .collect(),
            ),
            hydrate::Value::Text(text) => Self::Text(text.to_string()),
            hydrate::Value::Scalar(scalar) => Self::from_scalar(scalar),
        }
    }

    pub(super) fn from_scalar(scalar: &ScalarValue) -> Self {
        match scalar {
            ScalarValue::Bytes(bytes) => Self::Bytes(bytes.clone()),
            ScalarValue::Str(text) => Self::String(text.to_string()),
            ScalarValue::Int(number) => Self::Int(*number),
            ScalarValue::Uint(number) => Self::Uint(*number),
            ScalarValue::F64(number) => Self::Float(*number),
            ScalarValue::Counter(counter) => Self::Counter(i64::from(counter)),
            ScalarValue::Timestamp(ms) => Self::Timestamp(*ms),
            ScalarValue::Boolean(value) => Self::Boolean(*value),
            ScalarValue::Unknown { bytes, .. } => Self::Bytes(bytes.clone()),
            ScalarValue::Null => Self::Null,
        }
    }
}

// What people keep reaches no log line, so `Debug` shows kinds only.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Map(map) => return f.debug_tuple("Map").field(&map.len()).finish(),
            Self::List(list) => return f.debug_tuple("List").field(&list.len()).finish(),
            Self::Text(_) => "Text",
            Self::String(_) => "String",
            Self::Bytes(_) => "Bytes",
            Self::Int(_) => "Int",
            Self::Uint(_) => "Uint",
            Self::Float(_) => "Float",
            Self::Counter(_) => "Counter",
            Self::Timestamp(_) => "Timestamp",
            Self::Boolean(_) => "Boolean",
            Self::Null => "Null",
        };
        f.write_str(kind)
    }
}
