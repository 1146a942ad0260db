//! One conversation on this device: its control log, author chains, epochs and documents.
//!
//! **Invariant:** a conversation owns its documents and touches no other, so conversations can run
//! on several threads.

mod admission;
mod away;
mod checkpoint;
mod control;
mod cut;
mod damage;
mod exchange;
mod export;
mod fetch;
mod forget;
mod fork;
mod found;
mod frontier;
mod guard;
mod inbound;
mod keys;
mod members;
mod merge;
mod noted;
mod offered;
mod outbound;
mod parked;
mod placed;
mod progress;
mod report;
mod restore;
mod segments;
mod shown;
mod start;
mod stated;
mod vault;
mod withheld;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use sheaf_crypto::{
    ConversationId, DeviceId, EpochId, History, ItemId, OperationId, Role, RunId, UserId,
};
use sheaf_protocol::{Cursor, RecordHash, RelayId};

use crate::chain::{Chain, Chains};
use crate::command::{Command, CommandId, ConversationInfo, PeerInfo};
use crate::context::Context;
use crate::control::ControlLog;
use crate::document::{HybridTime, MessageId};
use crate::epoch::{Choice, Epochs};
use crate::record::{ChainRecord, Kind, Write};
use crate::time::Timestamp;
use crate::topic::Origin;

pub(crate) use admission::check_room;
pub(crate) use exchange::{Answer, Ask};
pub use fork::ForkInfo;
pub(crate) use found::{Invite, send_inbox};
pub(crate) use members::recipients_of;
pub(crate) use progress::Part;
pub(crate) use restore::Restored;
pub(crate) use start::Beginning;

use parked::Parked;
use segments::Segments;

/// What a content envelope carries.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ContentBody {
    pub(crate) segment: u32,
    /// How many of the first items named as seen the changes may be built on: their authors knew the
    /// cut of the segment's window.
    pub(crate) built_on: u16,
    #[serde(with = "serde_bytes")]
    pub(crate) payload: Vec<u8>,
}

/// A change written here and not yet sealed.
#[derive(Debug)]
struct Pending {
    number: u64,
    segment: u32,
    run: RunId,
    messages: Vec<MessageId>,
    change: Vec<u8>,
    stored: bool,
}

/// What waits for a document to be read from the store.
#[allow(missing_debug_implementations, reason = "a command may hold a closure")]
enum Work {
    /// Something to write.
    Command(CommandId, Command),
    /// Records of one topic to take in; the cursor moves once all are.
    Records(Records),
    /// Parked records whose needs are met.
    Retry,
    /// A secret that cannot be opened here, and the operation that should hold it.
    Complain(EpochId, OperationId),
    /// A member device that reads none of the newest epochs is to be sent the log to its inbox.
    Invite(DeviceId),
    /// A device's question, and where the answer goes.
    Answer(Box<exchange::Question>),
    /// Ask devices, once the given segments have said what they hold.
    Resync(Vec<DeviceId>, Vec<u32>, Vec<(u32, Vec<u8>)>),
    /// Ask a device for more.
    Ask(DeviceId),
    /// Offer a relay what it lacks.
    Offer(RelayId),
    /// Something that was kept back and counts now: chain index and sequence.
    Release((u32, u64)),
    /// What stands of forked chains is to be judged again.
    Forks,
    /// Messages of this device that a fork took away are to be written again.
    Again,
    /// The oldest segment may have to be dropped.
    Drop,
    /// What is left of a segment in the store is to be read.
    Rest(u32),
    /// What somebody stated is to be compared with what is here.
    Compare(Box<stated::Comparing>),
}

/// Records of one topic to take in; the cursor moves once all are.
pub(crate) struct Records {
    pub(crate) epoch: EpochId,
    pub(crate) origin: Origin,
    pub(crate) records: VecDeque<Vec<u8>>,
    pub(crate) before: Option<Cursor>,
    pub(crate) cursor: Cursor,
    /// They are new, not history.
    pub(crate) live: bool,
    /// No other relay is read, and this one's store was never replaced: what is known already has
    /// no reason to come again.
    pub(crate) alone: bool,
}

/// One conversation.
pub(crate) struct Conversation {
    pub(crate) id: ConversationId,
    created: Timestamp,
    control: ControlLog,
    /// Operations written to the store.
    operations: u64,
    chains: Chains,
    epochs: Epochs,
    segments: Segments,
    /// Heads of others' chains since this device's last item: what the next item names as seen.
    seen: BTreeMap<(DeviceId, RunId), (u64, ItemId)>,
    pending: VecDeque<Pending>,
    pending_next: u64,
    /// Envelopes of this device that the relay will echo.
    echoes: BTreeSet<RecordHash>,
    parked: Parked,
    withheld: withheld::Withheld,
    frontiers: frontier::Frontiers,
    exchange: exchange::Exchange,
    offered: offered::Offered,
    export: export::Export,
    keeping: away::Keeping,
    fetching: fetch::Fetching,
    stated: stated::Stated,
    /// This device began at a snapshot of which not all is proved.
    start: Option<Box<start::Start>>,
    /// By chain index: up to where items were taken over when this device began.
    began: BTreeMap<u32, u64>,
    /// Topics are followed once it is known where to begin.
    beginning: bool,
    forks: fork::Forks,
    forgotten: forget::Forgotten,
    /// Epochs that were asked for since this process started.
    asked: BTreeMap<EpochId, keys::Asked>,
    /// Devices that asked and were invited again: since when they are counted, and how often.
    invited: BTreeMap<DeviceId, (Timestamp, u32)>,
    /// Operations without effect, each with the removal that voids it, as they were noted.
    void: BTreeMap<OperationId, OperationId>,
    /// What each device has shown to know.
    shown: shown::Shown,
    /// The next item vouches for something that a removal would drop.
    vouch_due: bool,
    arrivals: u64,
    /// Highest time of a message here.
    clock: HybridTime,
    work: VecDeque<Work>,
}

impl Conversation {
    fn new(control: ControlLog, created: Timestamp, segment_messages: u32) -> Self {
        Self {
            id: control.conversation(),
            created,
            control,
            operations: 0,
            chains: Chains::default(),
            epochs: Epochs::default(),
            segments: Segments::new(segment_messages),
            seen: BTreeMap::new(),
            pending: VecDeque::new(),
            pending_next: 0,
            echoes: BTreeSet::new(),
            parked: Parked::default(),
            withheld: withheld::Withheld::new(),
            frontiers: frontier::Frontiers::default(),
            exchange: exchange::Exchange::default(),
            offered: offered::Offered::default(),
            export: export::Export::default(),
            keeping: away::Keeping::default(),
            fetching: fetch::Fetching::default(),
            stated: stated::Stated::default(),
            start: None,
            began: BTreeMap::new(),
            beginning: false,
            forks: fork::Forks::default(),
            forgotten: forget::Forgotten::default(),
            asked: BTreeMap::new(),
            invited: BTreeMap::new(),
            void: BTreeMap::new(),
            shown: shown::Shown::new(),
            vouch_due: false,
            arrivals: 0,
            clock: HybridTime::default(),
            work: VecDeque::new(),
        }
    }

    /// Does a command, now or once the document is read.
    pub(crate) fn command(&mut self, id: CommandId, command: Command, context: &mut Context<'_>) {
        self.work.push_back(Work::Command(id, command));
        self.run(context);
    }

    /// Takes records of one of its topics in, now or once the documents are read.
    pub(crate) fn receive(&mut self, records: Records, context: &mut Context<'_>) {
        self.work.push_back(Work::Records(records));
        self.run(context);
    }

    /// Works until there is nothing to do or a document has to be read first.
    pub(crate) fn run(&mut self, context: &mut Context<'_>) {
        while !self.segments.is_loading() {
            let Some(work) = self.work.pop_front().or_else(|| self.forks.next()) else {
                break;
            };
            let unfinished = match work {
                Work::Command(id, command) => self.write(id, command, context),
                Work::Records(records) => self.take(records, context),
                Work::Retry => self.retry(context),
                Work::Complain(epoch, operation) => {
                    self.complain(epoch, operation, context);
                    None
                }
                Work::Invite(device) => {
                    self.invite_again(device, context);
                    None
                }
                Work::Answer(question) => self.answer(question, context),
                Work::Resync(of, segments, messages) => {
                    self.resync_with(of, segments, messages, context)
                }
                Work::Ask(of) => {
                    if let Err(error) = self.ask(of, Vec::new(), context) {
                        tracing::warn!(%error, "not asked for more");
                    }
                    None
                }
                Work::Offer(relay) => {
                    self.begin_offer(relay, context);
                    None
                }
                Work::Release(place) => self.read_withheld(place, context),
                Work::Forks => {
                    self.read_forks(context);
                    None
                }
                Work::Again => self.again(context),
                Work::Drop => self.drop_oldest(context),
                Work::Rest(segment) => self.read_rest(segment, context),
                Work::Compare(comparing) => self.compare_documents(comparing, context),
            };
            if let Some(work) = unfinished {
                self.work.push_front(work);
            }
        }
        self.flush(context);
        self.acknowledge(context);
        self.state(context);
        self.seek(context);
        self.follow_start(context);
        self.pursue(context);
        self.forget(context);
        self.evict(context);
    }

    /// Writes the head of a chain.
    fn write_chain(&self, device: DeviceId, run: RunId, context: &mut Context<'_>) {
        if let Some(chain) = self.chains.get(&device, &run) {
            let record = chain_record(self.id, device, run, chain);
            let order = chain.index.to_be_bytes();
            context
                .stage
                .write(Write::put(Kind::Chain, &self.id.0, &order, &record));
        }
    }

    /// Latest time at which an item of each device was taken in.
    pub(crate) fn last_seen(&self) -> impl Iterator<Item = (DeviceId, Timestamp)> {
        self.chains
            .iter()
            .map(|((device, _), chain)| (*device, chain.last_seen))
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Changes that may not leave: the device takes no part, or its user may not write.
    pub(crate) fn barred(&self, user: &UserId, device: &DeviceId) -> usize {
        let role = self.control.current().role(user);
        let leaves = self.has_live(device) && role >= Some(Role::Writer);
        if leaves { 0 } else { self.pending.len() }
    }

    pub(crate) fn parked(&self) -> usize {
        self.waiting().count().saturating_add(self.wanted().count())
    }

    /// Work that waits for a document.
    pub(crate) fn is_busy(&self) -> bool {
        self.segments.is_loading() || !self.work.is_empty()
    }

    /// When something was last taken in or written.
    pub(crate) fn last_used(&self) -> Timestamp {
        self.last_seen()
            .map(|(_, time)| time)
            .max()
            .unwrap_or(self.created)
    }

    pub(crate) fn created(&self) -> Timestamp {
        self.created
    }

    pub(crate) fn info(
        &self,
        name_of: impl Fn(&UserId) -> String,
        (own, device): (UserId, DeviceId),
        now: Timestamp,
        outbox: usize,
        caught_up: bool,
    ) -> ConversationInfo {
        let caught_up = caught_up && !self.is_waiting() && !self.is_busy();
        let lacking = self.lacking_key(&(own, device));
        let mut waiting = parked::reasons(self.waiting());
        waiting.extend(self.wanted());
        waiting.extend(lacking.map(|epoch| parked::Need::Epoch(epoch).to_string()));
        let peers = self.peers(device);
        let view = self.control.current();
        let members = view
            .members
            .iter()
            .map(|(user, member)| (*user, name_of(user), member.role, member.devices.len()));
        let epochs = view
            .epochs
            .keys()
            .filter(|epoch| !self.has_forgotten(epoch))
            .map(|epoch| (*epoch, self.epochs.holds(epoch)));
        ConversationInfo {
            conversation: self.id,
            name: view.name.clone(),
            members: members.collect(),
            messages: self.segments.messages(),
            history: if view.since_join {
                History::SinceJoin
            } else {
                History::Full
            },
            since: self.control.since(&(own, device)),
            pending: u64::try_from(self.pending.len().saturating_add(outbox)).unwrap_or(u64::MAX),
            parked: u64::try_from(self.parked()).unwrap_or(u64::MAX),
            heads: self.segments.heads(),
            away: self
                .segments
                .away()
                .map(|(segment, gone)| (segment, gone.why))
                .collect(),
            spans: self.segments.spans().collect(),
            keep: self.keeping.own(),
            forgetting: self.forgetting(device),
            snapshot: self.snapshot(),
            epochs: epochs.collect(),
            waiting,
            writing: match self.epochs.choose(&self.control, now) {
                Choice::Use(epoch) | Choice::Forward(epoch, _) => Some(epoch),
                Choice::Rekey => None,
            },
            void: self.control.void(),
            frozen: view.frozen.iter().copied().collect(),
            forks: self.forks.info(),
            takes_part: view.live().any(|(known, _)| *known == device),
            topics: self
                .epochs
                .iter()
                .map(|(_, held)| held.keys.topic())
                .collect(),
            caught_up,
            synced: caught_up
                && lacking.is_none()
                && outbox == 0
                && self.pending.is_empty()
                && peers.iter().all(PeerInfo::has_everything),
            peers,
        }
    }
}

fn chain_record(
    conversation: ConversationId,
    device: DeviceId,
    run: RunId,
    chain: &Chain,
) -> ChainRecord {
    ChainRecord {
        conversation,
        index: chain.index,
        device,
        run,
        first: chain.first,
        head: chain.head,
        item: chain.item,
        last_seen: chain.last_seen,
        quarantined: chain.quarantined,
        incarnation: chain.incarnation,
        vouched: chain.vouched,
        cuts: chain.cuts.iter().copied().collect(),
    }
}

/// First half of a message id's tag: which device may write it.
fn author_tag(device: &DeviceId) -> [u8; 8] {
    device.0.first_chunk().copied().unwrap_or_default()
}
