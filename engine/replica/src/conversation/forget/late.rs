//! What comes after the secret that opens it was forgotten.

use sheaf_crypto::{Dependency, EpochId, Inner, ItemId, Kind as Purpose, Operation, OperationId};

use super::super::Conversation;
use crate::chain::Place;
use crate::context::Context;
use crate::control::Standing;
use crate::io::Event;

impl Conversation {
    /// Something came that a forgotten secret would open, or one that is about to be. Once it is said.
    pub(in crate::conversation) fn too_late(&mut self, context: &mut Context<'_>) {
        if self.forgotten.noticed {
            return;
        }
        self.forgotten.noticed = true;
        self.write_forgotten(context);
        let what = "a record came of before a cut that is forgotten; it is not read".to_owned();
        let who = "unknown".to_owned();
        context.stage.note(what, who, Some(self.id));
    }

    /// Whether an item is not taken in because others may have forgotten what opens it: its author is
    /// out, it would not count, and nothing waits here that may build on it. Who acknowledged his removal
    /// and the statement names all that he took in before, and nobody forgets sooner.
    pub(in crate::conversation) fn comes_too_late(&self, inner: &Inner, epoch: &EpochId) -> bool {
        let view = self.control.current();
        if view.forgets.is_empty() || inner.kind == Purpose::Control {
            return false;
        }
        let chain = self.chains.get(&inner.device, &inner.run);
        let standing = view.standing(&inner.device, &inner.incarnation);
        let mut cuts = view.forgets.values().map(|known| known.cut);
        matches!(standing, Standing::Ended(_))
            && view.device(&inner.device).is_none()
            && chain.is_none_or(|chain| chain.head < inner.seq)
            && cuts.any(|cut| self.control.is_before(epoch, &cut))
            && self.stands_back(&inner.device, &inner.run, inner.seq, &inner.incarnation)
            && !self.is_waiting()
    }

    /// This device is brought in again. Said is how much it wrote while it did not know that it was out and
    /// before it knew what is forgotten: nobody waits for that, and nobody names it.
    pub(in crate::conversation) fn note_left_behind(
        &mut self,
        operation: &OperationId,
        context: &mut Context<'_>,
    ) {
        let own = context.account.device();
        if self.control.current().forgets.is_empty() || !self.control.brings_in(operation, &own) {
            return;
        }
        let items = self.left_behind(&context.reader());
        if items == 0 {
            return;
        }
        let what = format!(
            "{items} items that were written here meanwhile may have reached nobody: what lies before a cut is forgotten"
        );
        let this = "this device".to_owned();
        context.stage.note(what, this, Some(self.id));
        context.stage.notify(Event::LeftBehind {
            conversation: self.id,
            items,
        });
    }

    /// Gives operations their places that others name as seen and whose records are not read here any
    /// more. Who was taken out wrote them before he knew of it, somebody took them in who had not
    /// forgotten yet, and the log came with them by another way.
    pub(in crate::conversation) fn place_late(&mut self, context: &mut Context<'_>) {
        if self.forgotten.cuts.is_empty() {
            return;
        }
        let named: Vec<Dependency> = self.parked.dependencies().copied().collect();
        for seen in named {
            let entry = self.control.entry(&OperationId(seen.item.0));
            let operation = entry.map(|entry| entry.operation.clone());
            let operation = operation.filter(|operation| {
                let place = (operation.author, operation.run, operation.seq);
                let view = self.control.current();
                let standing = view.standing(&operation.author, &operation.incarnation);
                place == (seen.device, seen.run, seen.seq) && matches!(standing, Standing::Ended(_))
            });
            if let Some(operation) = operation {
                self.place_operation(operation, seen.item, context);
            }
        }
    }

    fn place_operation(&mut self, operation: Operation, item: ItemId, context: &mut Context<'_>) {
        let chain = (&operation.author, &operation.run);
        let place = (operation.seq, operation.previous.as_ref());
        let place = self.chains.place(chain, place.0, place.1, &item);
        if !matches!(place, Place::Next | Place::Start | Place::Gap) {
            return;
        }
        let inner = Inner {
            kind: Purpose::Control,
            user: operation.user,
            device: operation.author,
            run: operation.run,
            incarnation: operation.incarnation,
            seq: operation.seq,
            previous: operation.previous,
            control_heads: operation.parents,
            dependencies: Vec::new(),
            body: Vec::new(),
        };
        self.accept_item(&inner, item, context);
        self.vouch_for_removed();
        // Neither it nor what lies before it is kept here.
        if let Some(chain) = self.chains.get(&inner.device, &inner.run) {
            self.forgotten.upto.insert(chain.index, inner.seq);
        }
        self.write_forgotten(context);
    }
}
