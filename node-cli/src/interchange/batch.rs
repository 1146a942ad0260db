//! Lines gathered into one call of the engine.

use sheaf_engine::{Draft, ImportDraft, MessageId, Origin};

use super::{Line, LineKind};

/// Messages of one call.
const MESSAGES_MAX: usize = 128;
/// Bytes of text of one call.
const TEXT_BYTES_MAX: usize = 24 * 1024;

/// A call being gathered. `P` is the place by which replies name a line.
#[derive(Debug)]
pub(crate) struct Batch<P> {
    places: Vec<P>,
    drafts: Vec<ImportDraft>,
    text_bytes: usize,
}

impl<P> Default for Batch<P> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            drafts: Vec::new(),
            text_bytes: 0,
        }
    }
}

impl<P: PartialEq> Batch<P> {
    /// Nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Whether one more line fits. A single long one always does.
    pub(crate) fn has_room(&self, line: &Line) -> bool {
        let bytes = self.text_bytes.saturating_add(line.text.len());
        self.is_empty() || (self.drafts.len() < MESSAGES_MAX && bytes <= TEXT_BYTES_MAX)
    }

    /// Whether a line stands in this batch.
    pub(crate) fn holds(&self, place: &P) -> bool {
        self.places.contains(place)
    }

    /// Adds a line. `reply_to` is the message answered if it has an id already, `answered` its
    /// place, which counts if it stands in this batch.
    pub(crate) fn push(
        &mut self,
        place: P,
        line: &Line,
        reply_to: Option<MessageId>,
        answered: Option<P>,
    ) {
        let reply_in_batch =
            answered.and_then(|answered| self.places.iter().position(|place| *place == answered));
        let draft = Draft {
            text: line.text.clone(),
            reply_to,
            system: line.kind == LineKind::System,
            origin: line.time_ms().map(|time_ms| Origin {
                author: line.author().to_owned(),
                time_ms,
            }),
        };
        self.text_bytes = self.text_bytes.saturating_add(line.text.len());
        self.places.push(place);
        self.drafts.push(ImportDraft {
            draft,
            reply_in_batch,
        });
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self) -> (Vec<P>, Vec<ImportDraft>) {
        let Self { places, drafts, .. } = std::mem::take(self);
        (places, drafts)
    }
}
