//! Records that the store lost or altered: what can be derived is derived again, what others hold is
//! fetched from them.

use super::merge::envelope_order;
use super::segments::Gone;
use super::{Conversation, Work};
use crate::command::DamagedRecord;
use crate::context::Context;
use crate::io::Event;
use crate::limits;
use crate::record::{Away, Kind, Row, Write};

impl Conversation {
    /// Rows do not open.
    pub(super) fn damaged(&mut self, rows: &[Row], context: &mut Context<'_>) {
        for row in rows.iter().filter(|row| row.value.is_empty()) {
            self.repair_at(row.kind, &row.order, context);
        }
    }

    /// Removes a damaged record that can be derived or fetched.
    pub(crate) fn repair(&mut self, damaged: &DamagedRecord, context: &mut Context<'_>) {
        self.repair_at(damaged.kind, &damaged.order, context);
    }

    fn repair_at(&mut self, kind: Kind, order: &[u8], context: &mut Context<'_>) {
        let gone = |order: &[u8]| Write::delete(kind, &self.id.0, order);
        let segment = order.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        match (kind, segment) {
            (Kind::Snapshot, _) => context.stage.write(gone(order)),
            (Kind::Envelope, Some(segment)) => {
                context.stage.write(gone(order));
                if segment != limits::ASIDE {
                    self.damage(segment, context);
                }
            }
            (Kind::Message, _) => {
                context.stage.write(gone(order));
                // Which segment it is of cannot be told any more.
                let here: Vec<u32> = self.segments.here().map(|(segment, _)| segment).collect();
                let listed = |work: &Work| matches!(work, Work::Rest(_));
                if !self.work.iter().any(listed) {
                    self.work.extend(here.into_iter().map(Work::Rest));
                }
            }
            _ => {}
        }
    }

    /// Part of a segment is gone from the store: it is fetched from another device, and what it held
    /// is what its heads say.
    pub(super) fn damage(&mut self, segment: u32, context: &mut Context<'_>) {
        if self.segments.is_away(segment) || !self.segments.knows(segment) {
            return;
        }
        let upto = self
            .chains
            .iter()
            .map(|(_, chain)| (chain.index, chain.head));
        let gone = Gone {
            why: Away::Damaged,
            upto: upto.collect(),
            span: None,
        };
        self.put_away(segment, gone, context);
        let mut what = format!("stored records of segment {segment} are damaged");
        if self.is_settled(segment) {
            what.push_str(" and cannot be fetched: the secrets that open them were forgotten");
        } else {
            self.fetching.want(segment);
        }
        context
            .stage
            .audit(what, "this device".to_owned(), Some(self.id));
        context.stage.notify(Event::SegmentDamaged {
            conversation: self.id,
            segment,
        });
    }

    /// Where an accepted item of a segment is kept; `None` if its chain is not known.
    pub(super) fn kept_at(&self, inner: &sheaf_crypto::Inner, segment: u32) -> Option<[u8; 16]> {
        let chain = self.chains.get(&inner.device, &inner.run)?;
        (inner.seq <= chain.head).then(|| envelope_order(segment, chain.index, inner.seq))
    }
}
