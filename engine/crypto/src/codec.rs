//! Strict encoding: postcard with fixed field order, bounded on the way in, nothing left over.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// The version that every statement starts with.
pub(crate) const STATEMENT_VERSION: u8 = 1;

/// Bytes that are not one encoded value, or a value that cannot be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not one well-formed value")]
#[non_exhaustive]
pub struct CodecError;

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    postcard::to_allocvec(value).map_err(|_| CodecError)
}

/// Encodes a secret into a buffer that never grows, so that no copy is left behind.
pub(crate) fn encode_secret<T: Serialize>(
    value: &T,
    bytes_max: usize,
) -> Result<Zeroizing<Vec<u8>>, CodecError> {
    let mut buffer = Zeroizing::new(vec![0; bytes_max]);
    let used = postcard::to_slice(value, &mut buffer)
        .map_err(|_| CodecError)?
        .len();
    buffer.truncate(used);
    Ok(buffer)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|_| CodecError)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(CodecError)
    }
}

/// `version(1) || postcard(value)`.
pub(crate) fn encode_statement<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    encode(&(STATEMENT_VERSION, value))
}

pub(crate) fn decode_statement<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match bytes.split_first() {
        Some((&STATEMENT_VERSION, rest)) => decode(rest),
        Some(_) | None => Err(CodecError),
    }
}

/// Decodes a list of at most `MAX` values.
pub(crate) fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} values")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut values = Vec::new();
            while let Some(value) = seq.next_element()? {
                if values.len() == MAX {
                    return Err(A::Error::custom("list too long"));
                }
                values.push(value);
            }
            Ok(values)
        }
    }

    deserializer.deserialize_seq(Bounded::<T, MAX>(PhantomData))
}

/// Decodes a text of at most `MAX` bytes.
pub(crate) fn text<'de, D, const MAX: usize>(deserializer: D) -> Result<String, D::Error>
where
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    if text.len() > MAX {
        return Err(D::Error::custom("text too long"));
    }
    Ok(text)
}

/// Encodes bytes with their length in front.
pub(crate) fn bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Decodes at most `MAX` bytes.
pub(crate) fn bounded_bytes<'de, D, const MAX: usize>(deserializer: D) -> Result<Vec<u8>, D::Error>
where
    D: Deserializer<'de>,
{
    let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
    if bytes.len() > MAX {
        return Err(D::Error::custom("bytes too long"));
    }
    Ok(bytes.into_vec())
}

/// Encodes optional bytes.
pub(crate) fn optional_bytes<S: Serializer>(
    bytes: &Option<Vec<u8>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    bytes
        .as_deref()
        .map(serde_bytes::Bytes::new)
        .serialize(serializer)
}

/// Decodes optional bytes, at most `MAX`.
pub(crate) fn bounded_optional_bytes<'de, D, const MAX: usize>(
    deserializer: D,
) -> Result<Option<Vec<u8>>, D::Error>
where
    D: Deserializer<'de>,
{
    let bytes = Option::<serde_bytes::ByteBuf>::deserialize(deserializer)?;
    if bytes.as_ref().is_some_and(|bytes| bytes.len() > MAX) {
        return Err(D::Error::custom("bytes too long"));
    }
    Ok(bytes.map(serde_bytes::ByteBuf::into_vec))
}

/// Decodes an optional text of at most `MAX` bytes.
pub(crate) fn optional_text<'de, D, const MAX: usize>(
    deserializer: D,
) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    if text.as_ref().is_some_and(|text| text.len() > MAX) {
        return Err(D::Error::custom("text too long"));
    }
    Ok(text)
}
