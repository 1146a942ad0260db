//! What one input brought about, held back until it is durable.
//!
//! **Invariant:** an effect (a frame, an event, an answer) leaves the replica only when every write
//! staged before it is durable. Nothing is transmitted, acknowledged or shown as saved earlier.

use std::collections::{BTreeMap, VecDeque};

use crate::audit::{Audit, AuditHead};
use crate::command::{CommandError, CommandId, Reply};
use crate::io::{BatchId, Event, LoadId, Output};
use crate::misbehaviour::{Act, Misbehaviour, Offence, Suspect};
use crate::record::{Key, Kind, Range, Write};
use crate::sync_history::SyncFigures;
use crate::time::Timestamp;
use crate::topic::Finding;
use crate::user::Devices;
use sheaf_crypto::{ConversationId, DeviceId, UserId};
use sheaf_protocol::{ClientFrame, RelayId};

/// A place within the present input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    writes: usize,
    effects: usize,
    audit: AuditHead,
    figures: SyncFigures,
}

/// Collects writes and effects, and lets effects go in order.
#[derive(Default)]
pub(crate) struct Stage {
    writes: Vec<Write>,
    effects: Vec<Output>,
    ready: VecDeque<Output>,
    waiting: VecDeque<(BatchId, Vec<Output>)>,
    batches: u64,
    loads: u64,
    audit: Audit,
    now: Timestamp,
    /// User logs that came with operations, for the contacts.
    learned: Vec<Devices>,
    /// Writes of which only the last of an input counts.
    last: BTreeMap<Key, Option<Vec<u8>>>,
    /// What devices did that nobody should.
    offences: Vec<(DeviceId, Offence)>,
    /// What relays said that cannot all be true, or did not say.
    findings: Vec<Finding>,
    /// Messages just written that came, by author.
    heard: Vec<(UserId, DeviceId, u64)>,
    /// Devices taken out of a conversation, and the messages that were here then.
    taken_out: Vec<(DeviceId, ConversationId, u64)>,
    /// Something was told that may change how far this device has come.
    moved: bool,
    /// Connections that came and went.
    links: u64,
    /// What came and went in the present input.
    figures: SyncFigures,
}

impl Stage {
    pub(crate) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Writes what may change several times within one input: only the last value is written.
    pub(crate) fn write_last(&mut self, write: Write) {
        self.last.insert(write.key, write.value);
    }

    pub(crate) fn writes(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.writes.extend(writes);
    }

    pub(crate) fn transmit(&mut self, relay: RelayId, frame: ClientFrame) {
        self.effects.push(Output::Transmit(relay, frame));
    }

    pub(crate) fn notify(&mut self, event: Event) {
        let link = matches!(event, Event::Connected { .. } | Event::Disconnected { .. });
        self.links = self.links.saturating_add(u64::from(link));
        self.moved |= link || matches!(event, Event::CaughtUp | Event::SegmentFetched { .. });
        self.figures.heed(&event);
        self.effects.push(Output::Notify(event));
    }

    /// What comes and goes in the present input.
    pub(crate) fn figures(&mut self) -> &mut SyncFigures {
        &mut self.figures
    }

    /// Whether something was told since the last look that may change how far this device has come.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Connections that came and went so far.
    pub(crate) fn links(&self) -> u64 {
        self.links
    }

    pub(crate) fn complete(&mut self, id: CommandId, result: Result<Reply, CommandError>) {
        self.effects.push(Output::Complete(id, result));
    }

    pub(crate) fn report(&mut self, by: Suspect, act: Act, conversation: Option<ConversationId>) {
        if let (Suspect::Device(device), Some(offence)) = (by, Offence::of(&act)) {
            self.offences.push((device, offence));
        }
        self.report_only(by, act, conversation);
    }

    /// Reports what is not the suspect's own doing, or may not be.
    pub(crate) fn report_only(
        &mut self,
        by: Suspect,
        act: Act,
        conversation: Option<ConversationId>,
    ) {
        self.audit(act.to_string(), by.to_string(), conversation);
        self.notify(Event::Misbehaved(Misbehaviour {
            by,
            act,
            conversation,
        }));
    }

    /// An input comes at this time.
    pub(crate) fn at(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// The time of the present input.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Something about a relay is to be weighed before the input ends.
    pub(crate) fn find(&mut self, finding: Option<Finding>) {
        self.findings.extend(finding);
    }

    pub(crate) fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    pub(crate) fn restore_audit(&mut self, head: AuditHead) {
        self.audit.restore(head);
    }

    /// Adds to the audit log.
    pub(crate) fn audit(
        &mut self,
        what: String,
        who: String,
        conversation: Option<ConversationId>,
    ) {
        let writes = self.audit.add(self.now, what, who, conversation);
        self.writes.extend(writes);
    }

    /// Adds to the audit log what happens once.
    pub(crate) fn note(&mut self, what: String, who: String, conversation: Option<ConversationId>) {
        let writes = self.audit.append(self.now, what, who, conversation);
        self.writes.extend(writes);
    }

    pub(crate) fn take_offences(&mut self) -> Vec<(DeviceId, Offence)> {
        std::mem::take(&mut self.offences)
    }

    /// Messages just written came from a device.
    pub(crate) fn hear(&mut self, user: UserId, device: DeviceId, messages: u64) {
        self.heard.push((user, device, messages));
    }

    pub(crate) fn take_heard(&mut self) -> Vec<(UserId, DeviceId, u64)> {
        std::mem::take(&mut self.heard)
    }

    /// A device was taken out of a conversation of so many messages.
    pub(crate) fn take_out(&mut self, device: DeviceId, id: ConversationId, messages: u64) {
        self.taken_out.push((device, id, messages));
    }

    pub(crate) fn take_taken_out(&mut self) -> Vec<(DeviceId, ConversationId, u64)> {
        std::mem::take(&mut self.taken_out)
    }

    pub(crate) fn learn(&mut self, devices: Devices) {
        self.learned.push(devices);
    }

    pub(crate) fn take_learned(&mut self) -> Vec<Devices> {
        std::mem::take(&mut self.learned)
    }

    /// Asks for records. A read waits for nothing: it does not tell anybody anything.
    pub(crate) fn load(&mut self, ranges: Vec<Range>) -> LoadId {
        self.loads += 1;
        let id = LoadId(self.loads);
        // Behind the writes of this very input, which the read may be about.
        self.effects.push(Output::Load(id, ranges));
        id
    }

    pub(crate) fn wait(&mut self, until: Timestamp) {
        self.ready.push_back(Output::Wait(until));
    }

    /// Ends an input: its writes become one batch, its effects wait for that batch or, without
    /// writes, for the newest batch under way.
    pub(crate) fn close(&mut self) {
        let effects = std::mem::take(&mut self.effects);
        let last = std::mem::take(&mut self.last).into_iter();
        self.writes
            .extend(last.map(|(key, value)| Write::of(key, value)));
        if self.writes.is_empty() {
            match self.waiting.back_mut() {
                Some((_, waiting)) => waiting.extend(effects),
                None => self.ready.extend(effects),
            }
            return;
        }
        self.batches += 1;
        let batch = BatchId(self.batches);
        self.ready
            .push_back(Output::Persist(batch, std::mem::take(&mut self.writes)));
        self.waiting.push_back((batch, effects));
    }

    /// A batch is not durable yet.
    pub(crate) fn is_writing(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Lets go what waited for a batch and everything before it.
    pub(crate) fn persisted(&mut self, batch: BatchId) {
        while self
            .waiting
            .front()
            .is_some_and(|(waiting, _)| *waiting <= batch)
        {
            if let Some((_, effects)) = self.waiting.pop_front() {
                self.ready.extend(effects);
            }
        }
    }

    /// Fails every answer that waits; what else waits is never let go.
    pub(crate) fn failed(&mut self, reason: &str) {
        let waiting = std::mem::take(&mut self.waiting);
        for output in waiting.into_iter().flat_map(|(_, effects)| effects) {
            if let Output::Complete(id, _) = output {
                let error = CommandError::StoreFailed(reason.to_owned());
                self.ready.push_back(Output::Complete(id, Err(error)));
            }
        }
    }

    /// Frames that wait were made for a connection that is gone: proofs of access are bound to it,
    /// and whatever else matters is sent again on the next one.
    pub(crate) fn forget_frames(&mut self, relay: &RelayId) {
        let frame = |output: &Output| matches!(output, Output::Transmit(to, _) if to == relay);
        self.ready.retain(|output| !frame(output));
        for (_, effects) in &mut self.waiting {
            effects.retain(|output| !frame(output));
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.ready.pop_front()
    }

    /// Something that the account vault holds is written in the present input.
    pub(crate) fn touches_vault(&self) -> bool {
        self.writes.iter().any(|write| {
            matches!(
                write.key.kind,
                Kind::Account | Kind::Contact | Kind::Operation | Kind::Epoch
            )
        })
    }

    /// A place to go back to within the present input.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            writes: self.writes.len(),
            effects: self.effects.len(),
            audit: self.audit.head(),
            figures: self.figures,
        }
    }

    /// Takes back what was staged since a mark.
    pub(crate) fn take_back(&mut self, mark: Mark) {
        self.writes.truncate(mark.writes);
        self.effects.truncate(mark.effects);
        self.audit.restore(mark.audit);
        self.figures = mark.figures;
    }
}
