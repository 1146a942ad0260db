//! Run-length columns of a change, as Automerge writes them: a positive count and one value that
//! repeats, or a negative count and that many values of which no two neighbours are equal.

use super::varint::{Reader, put_signed};

/// Encodes `values` in the one way in which Automerge encodes them.
pub(super) fn put_runs<T: PartialEq>(
    out: &mut Vec<u8>,
    values: &[T],
    put: impl Fn(&mut Vec<u8>, &T),
) {
    let mut literal = Vec::new();
    for run in values.chunk_by(|left, right| left == right) {
        let Some(value) = run.first() else { continue };
        if run.len() == 1 {
            literal.push(value);
            continue;
        }
        put_literal(out, &literal, &put);
        literal.clear();
        put_signed(out, i64::try_from(run.len()).unwrap_or(i64::MAX));
        put(out, value);
    }
    put_literal(out, &literal, &put);
}

fn put_literal<T>(out: &mut Vec<u8>, literal: &[&T], put: &impl Fn(&mut Vec<u8>, &T)) {
    if !literal.is_empty() {
        put_signed(out, -i64::try_from(literal.len()).unwrap_or(i64::MAX));
        for value in literal {
            put(out, value);
        }
    }
}

/// Decodes a column of at most `max` values, none of them null.
pub(super) fn read_runs<'a, T: Clone>(
    column: &'a [u8],
    max: usize,
    read: impl Fn(&mut Reader<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut reader = Reader::new(column);
    let mut values = Vec::new();
    while !reader.is_empty() {
        let count = reader.signed()?;
        let length = usize::try_from(count.unsigned_abs()).ok()?;
        if length == 0 || values.len().checked_add(length)? > max {
            return None;
        }
        if count > 0 {
            let value = read(&mut reader)?;
            values.resize(values.len() + length, value);
        } else {
            for _ in 0..length {
                values.push(read(&mut reader)?);
            }
        }
    }
    Some(values)
}
