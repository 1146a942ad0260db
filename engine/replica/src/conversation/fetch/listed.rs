//! Listing the messages of a document that came back.

use sheaf_crypto::actor_bytes;

use super::super::Conversation;
use super::super::merge::message_record;
use super::{Authors, Fetching};
use crate::context::Context;
use crate::record::{self, EnvelopeRecord, Row};

impl Fetching {
    /// The segment on its way, and how many of its messages came.
    pub(in crate::conversation) fn so_far(&self) -> Option<(u32, u32)> {
        let fetch = self.current.as_ref()?;
        Some((fetch.segment, fetch.document.message_count()))
    }
}

impl Conversation {
    /// Who wrote what of a segment is stored, and what waits to be sealed.
    pub(super) fn authors_of(&self, segment: u32, rows: &[Row], context: &Context<'_>) -> Authors {
        let mut authors = Authors::new();
        for row in rows {
            let envelope = record::decode::<EnvelopeRecord>(row.kind, &row.value);
            let inner = envelope.ok().and_then(|known| self.reopened(&known));
            if let Some(inner) = inner {
                let actor = actor_bytes(&inner.device, &self.id, segment, &inner.run);
                authors.insert(actor, (inner.user, inner.device));
            }
        }
        // Of what was erased the chains tell who wrote it.
        let chains = self.chains.iter().filter(|_| self.is_settled(segment));
        for ((device, run), _) in chains {
            if let Some(user) = self.control.owner(device) {
                let actor = actor_bytes(device, &self.id, segment, run);
                authors.insert(actor, (user, *device));
            }
        }
        let own = (context.account.user(), context.account.device());
        for pending in self.pending.iter().filter(|own| own.segment == segment) {
            let actor = actor_bytes(&own.1, &self.id, segment, &pending.run);
            authors.insert(actor, own);
        }
        authors
    }

    /// Lists the messages of a document.
    pub(super) fn list_again(
        &mut self,
        segment: u32,
        authors: &Authors,
        context: &mut Context<'_>,
    ) {
        let Some(document) = self.segments.loaded_document(segment) else {
            return;
        };
        let records: Vec<_> = document
            .messages()
            .filter_map(|stored| {
                let (user, device) = authors.get(&stored.actor)?;
                Some(message_record(*user, *device, segment, stored.message))
            })
            .collect();
        for record in records {
            self.list(&record, context);
        }
    }
}
