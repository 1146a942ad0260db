//! Operations that come in.

use sheaf_crypto::{Inner, ItemId, SignedOperation};

use super::super::{Conversation, Work};
use super::{Source, Verdict};
use crate::context::Context;
use crate::control::View;
use crate::misbehaviour::{Act, Suspect};

impl Conversation {
    pub(super) fn examine_control(
        &mut self,
        source: Source,
        wire: &[u8],
        inner: &Inner,
        view: &View,
        context: &mut Context<'_>,
    ) -> Verdict {
        let (conversation, device) = (self.id, inner.device);
        let refused = |reason: String, context: &mut Context<'_>| {
            let act = Act::RefusedOperation(reason);
            context
                .stage
                .report(Suspect::Device(device), act, Some(conversation));
            Verdict::Done
        };
        let Ok(signed) = SignedOperation::from_bytes(&inner.body) else {
            return refused("it does not decode".to_owned(), context);
        };
        let Ok(claimed) = signed.decode() else {
            return refused("it does not decode".to_owned(), context);
        };
        let same = claimed.author == inner.device
            && claimed.user == inner.user
            && claimed.run == inner.run
            && claimed.seq == inner.seq
            && claimed.previous == inner.previous
            && claimed.parents == inner.control_heads;
        if !same {
            return refused(
                "it is not the operation that its envelope names".to_owned(),
                context,
            );
        }
        let item = ItemId::from(signed.id());
        let known = self.control.contains(&signed.id());
        if let Err(verdict) = self.placed(inner, item, wire, source, (None, view), context) {
            // An operation is judged by its parents alone, and it may hold the very secret that
            // opens the items before it: it does not wait for its place, nor for the side of a fork
            // that stands. A part of a chain may begin after it.
            let judged = matches!(verdict, Verdict::Park(_) | Verdict::Aside);
            if (judged || self.begins_within(context)) && !known {
                match self.accept_operation(&signed, context) {
                    Ok(_) => self.work.push_back(Work::Retry),
                    Err(error) => return refused(error.to_string(), context),
                }
            }
            return verdict;
        }
        self.accept_item(inner, item, context);
        self.epochs.count(&source.epoch);
        self.keep_aside(inner, source.epoch, wire.to_vec(), context);
        if !self.is_withheld(inner) {
            self.vouched(inner, context);
        }
        if let Err(error) = self.accept_operation(&signed, context) {
            return refused(error.to_string(), context);
        }
        // A document is not needed for it, but what waited for it may go on.
        self.work.push_back(Work::Retry);
        Verdict::Done
    }
}
