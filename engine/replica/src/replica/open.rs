//! Opening a replica over what its store holds.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "kinds are sorted in two steps, and the rest is read when it is needed"
)]

use std::collections::BTreeMap;

use rand_core::CryptoRng;

use sheaf_crypto::{ConversationId, RunId};

use super::progress::Named;
use super::relay::Relays;
use super::witness::Exhibits;
use super::{Policy, Replica, context};
use crate::account::{Account, Contacts};
use crate::agenda::Agenda;
use crate::audit::AuditHead;
use crate::conversation::{Conversation, Restored};
use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::peer::Peers;
use crate::progress::Reporter;
use crate::record::{
    AwayRecord, ChainRecord, ContactRecord, ConversationRecord, CursorRecord, EpochRecord,
    ForgottenRecord, FrontierRecord, KeepRecord, Kind, LostRecord, OfferedRecord, OperationRecord,
    OutboxRecord, ParkedRecord, PendingRecord, RecordError, Row, RunRecord, SegmentRecord,
    ShownRecord, SiblingRecord, StartRecord, StatedRecord, UnreadRecord, WithheldRecord, Write,
    decode,
};
use crate::stage::Stage;
use crate::sync_history::SyncHistory;
use crate::time::Timestamp;
use crate::topic::Topics;
use crate::vault::VaultKeeper;

/// What was read, sorted by what it belongs to.
#[derive(Default)]
struct Sorted {
    account: Option<Account>,
    contacts: Contacts,
    conversations: BTreeMap<ConversationId, Restored>,
    outbox: BTreeMap<u64, OutboxRecord>,
    cursors: Vec<CursorRecord>,
    relays: Relays,
    exhibits: Exhibits,
    audit: AuditHead,
    peers: Peers,
    run: Option<RunRecord>,
    vault: VaultKeeper,
    named: Option<Named>,
    syncs: SyncHistory,
}

impl Sorted {
    fn of(&mut self, conversation: ConversationId) -> &mut Restored {
        self.conversations.entry(conversation).or_default()
    }

    fn add(&mut self, row: &Row) -> Result<(), RecordError> {
        let (kind, value) = (row.kind, row.value.as_slice());
        match kind {
            Kind::Account => self.account = Some(Account::restore(&decode(kind, value)?)?),
            Kind::Contact => self
                .contacts
                .restore(decode::<ContactRecord>(kind, value)?)?,
            Kind::Relay => self.relays.restore(decode(kind, value)?),
            Kind::Evidence => self.exhibits.restore(decode(kind, value)?),
            Kind::AuditHead => self.audit = decode(kind, value)?,
            Kind::Peer => self.peers.restore(decode(kind, value)?),
            Kind::Away => {
                let record = AwayRecord::decode(value)?;
                self.of(record.conversation).away.push(record);
            }
            Kind::Keep => {
                let record: KeepRecord = decode(kind, value)?;
                let known = self.of(record.conversation);
                known.keep = Some(record);
            }
            Kind::Stated => {
                let record: StatedRecord = decode(kind, value)?;
                self.of(record.conversation).stated.push(record);
            }
            Kind::Unread => {
                let record: UnreadRecord = decode(kind, value)?;
                self.of(record.conversation).unread.push(record.device);
            }
            Kind::Forgotten => {
                let record: ForgottenRecord = decode(kind, value)?;
                let known = self.of(record.conversation);
                known.forgotten = Some(record);
            }
            Kind::Start => {
                let record: StartRecord = decode(kind, value)?;
                let known = self.of(record.conversation);
                known.start = Some(record);
            }
            Kind::Outbox => {
                let record = OutboxRecord::decode(value)?;
                self.outbox.insert(record.number, record);
            }
            Kind::Cursor => self.cursors.push(CursorRecord::decode(value)?),
            Kind::Sync => self.syncs.restore(decode(kind, value)?),
            Kind::Run => self.run = Some(decode(kind, value)?),
            Kind::Named => self.named = Some(Named::restore(&decode(kind, value)?)),
            Kind::Vault => self.vault = VaultKeeper::restore(row)?,
            _ => self.add_to_conversation(kind, value)?,
        }
        Ok(())
    }

    fn add_to_conversation(&mut self, kind: Kind, value: &[u8]) -> Result<(), RecordError> {
        match kind {
            Kind::Conversation => {
                let record: ConversationRecord = decode(kind, value)?;
                let known = self.of(record.conversation);
                known.head = Some(record);
            }
            Kind::Operation => {
                let record: OperationRecord = decode(kind, value)?;
                let known = self.of(record.conversation);
                known.operations.insert(record.number, record);
            }
            Kind::Pending => {
                let record: PendingRecord = decode(kind, value)?;
                let known = self.of(record.conversation);
                known.pending.insert(record.number, record);
            }
            Kind::Parked => {
                let record: ParkedRecord = decode(kind, value)?;
                let known = self.of(record.conversation);
                known.parked.insert(record.number, record);
            }
            Kind::Epoch => {
                let record: EpochRecord = decode(kind, value)?;
                self.of(record.conversation).epochs.push(record);
            }
            Kind::Chain => {
                let record: ChainRecord = decode(kind, value)?;
                self.of(record.conversation).chains.push(record);
            }
            Kind::Segment => {
                let record: SegmentRecord = decode(kind, value)?;
                self.of(record.conversation).segments.push(record);
            }
            Kind::Offered => {
                let record: OfferedRecord = decode(kind, value)?;
                self.of(record.conversation).offered.push(record);
            }
            Kind::Frontier => {
                let record = FrontierRecord::decode(value)?;
                self.of(record.conversation).frontiers.push(record);
            }
            Kind::Withheld => {
                let record: WithheldRecord = decode(kind, value)?;
                self.of(record.conversation).withheld.push(record);
            }
            Kind::Shown => {
                let record: ShownRecord = decode(kind, value)?;
                self.of(record.conversation).shown.push(record);
            }
            Kind::Sibling => {
                let record: SiblingRecord = decode(kind, value)?;
                self.of(record.conversation).siblings.push(record);
            }
            Kind::Lost => {
                let record: LostRecord = decode(kind, value)?;
                self.of(record.conversation).lost.push(record);
            }
            // What is read when it is needed.
            _ => {}
        }
        Ok(())
    }
}

impl Replica {
    /// Opens a replica over the rows of the kinds in [`RESTORED`](crate::record::RESTORED).
    /// `fingerprint` names the store itself: a copy of a store must have another, so that it writes
    /// under a run of its own (research/keys.md 2.7).
    ///
    /// # Errors
    /// [`RecordError`] if a row does not decode or verify: the store is damaged.
    pub fn open(
        rng: Box<dyn CryptoRng + Send>,
        now: Timestamp,
        fingerprint: [u8; 32],
        rows: Vec<Row>,
    ) -> Result<Self, RecordError> {
        let mut sorted = Sorted::default();
        for row in rows {
            sorted.add(&row)?;
        }
        let mut replica = Self {
            rng,
            stage: Stage::default(),
            account: sorted.account,
            contacts: sorted.contacts,
            peers: sorted.peers,
            rates: BTreeMap::new(),
            policy: Policy::default(),
            conversations: BTreeMap::new(),
            topics: Topics::default(),
            agenda: Agenda::default(),
            outbox: Outbox::default(),
            relays: sorted.relays,
            exhibits: sorted.exhibits,
            inbox: Inbox::default(),
            linking: None,
            recovering: None,
            vault: sorted.vault,
            named: sorted.named,
            reporter: Reporter::default(),
            syncs: sorted.syncs,
            file: false,
            vault_alarm: None,
            link_sent: super::link::LinkSent::default(),
            run: RunId([0; 16]),
            fingerprint,
            pending: 0,
            now,
            was_caught_up: false,
            failed: None,
            upkeep_due: now,
            waits_for: None,
        };
        replica.stage.at(now);
        replica.stage.restore_audit(sorted.audit);
        for record in sorted.outbox.into_values() {
            replica.outbox.restore(record);
        }
        replica.begin_run(sorted.run.as_ref());
        // Changes of an earlier run may have been sealed and sent since: a copy or a restored backup
        // does not know. Sealed again at the same place of their chain they would contradict it.
        let mut pending = sorted
            .conversations
            .values()
            .flat_map(|known| known.pending.values());
        if pending.any(|pending| pending.run != replica.run) {
            replica.outbox.hold();
        }
        for (id, restored) in sorted.conversations {
            let conversation = Conversation::restore(restored)?;
            replica.pending = replica.pending.saturating_add(conversation.pending());
            replica.conversations.insert(id, conversation);
        }
        replica.follow_relays();
        replica.follow_inbox();
        replica.grant_vault();
        replica.start_conversations();
        for cursor in &sorted.cursors {
            replica.topics.restore(cursor);
        }
        replica.hold_again();
        if replica.account.is_some() {
            let figures = replica.figures();
            replica.reporter.restore(&figures);
        }
        replica.stage.close();
        Ok(replica)
    }

    fn start_conversations(&mut self) {
        let Some(account) = &self.account else { return };
        for conversation in self.conversations.values_mut() {
            conversation.start(&mut context!(self, account));
        }
    }

    /// Goes on with the run of a store that was closed in order and is no copy; begins another one
    /// otherwise.
    fn begin_run(&mut self, last: Option<&RunRecord>) {
        match last.filter(|last| last.clean && last.fingerprint == self.fingerprint) {
            Some(last) => self.run = last.run,
            None => self.rng.fill_bytes(&mut self.run.0),
        }
        self.write_run(false);
    }

    pub(super) fn write_run(&mut self, clean: bool) {
        let record = RunRecord {
            run: self.run,
            clean,
            fingerprint: self.fingerprint,
        };
        self.stage.write(Write::put(Kind::Run, &[], &[], &record));
    }
}
