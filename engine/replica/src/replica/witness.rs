//! Relays that contradict themselves, keep something back or do not answer: named, proved where that
//! can be, and made up for.

use std::collections::BTreeMap;

use sheaf_crypto::DeviceId;
use sheaf_protocol::{Evidence, Receipt, Refusal, RelayId, RequestId, Statement, TopicId};

use super::Replica;
use crate::io::Event;
use crate::limits;
use crate::misbehaviour::{Act, Suspect};
use crate::record::{EvidenceRecord, Kind, Write};
use crate::time::Timestamp;
use crate::topic::{Finding, Owner};

/// A piece of evidence against a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceInfo {
    /// When it was found.
    pub found: Timestamp,
    /// What anybody can check.
    pub piece: Evidence,
}

/// Pieces of evidence, by number.
#[derive(Default)]
pub(super) struct Exhibits(BTreeMap<u64, EvidenceRecord>);

impl Exhibits {
    pub(super) fn restore(&mut self, record: EvidenceRecord) {
        self.0.insert(record.number, record);
    }

    pub(super) fn against(&self, relay: &RelayId) -> usize {
        let pieces = self.0.values();
        pieces.filter(|known| known.piece.relay == *relay).count()
    }

    /// One piece about a topic and incarnation of a relay's store says it all.
    fn knows(&self, piece: &Evidence) -> bool {
        let Ok(verdict) = piece.verify() else {
            return true;
        };
        let mut known = self
            .0
            .values()
            .filter_map(|known| known.piece.verify().ok());
        known.any(|known| {
            let same = (known.relay, known.topic) == (verdict.relay, verdict.topic);
            same && known.cursor.log == verdict.cursor.log
        })
    }
}

impl Replica {
    /// Evidence against relays, the oldest first.
    #[must_use]
    pub fn evidence(&self) -> Vec<EvidenceInfo> {
        let pieces = self.exhibits.0.values();
        let pieces = pieces.map(|known| EvidenceInfo {
            found: known.found,
            piece: known.piece.clone(),
        });
        pieces.collect()
    }

    pub(super) fn stated(&mut self, relay: RelayId, request: RequestId, statement: &Statement) {
        let stage = &mut self.stage;
        let finding = self.topics.stated(relay, request, statement, stage);
        stage.find(finding);
    }

    pub(super) fn promised(&mut self, relay: RelayId, receipt: &Receipt) {
        self.topics.promised(&relay, &receipt.topic, receipt.cursor);
        let evidence = self.topics.keep_receipt(relay, receipt);
        self.stage.find(evidence.map(Finding::Evidence));
    }

    /// Whether a refusal was about a question of what the relay holds.
    pub(super) fn refused_statement(&mut self, relay: RelayId, refusal: &Refusal) -> bool {
        let unread = refusal.code == sheaf_protocol::ErrorCode::BadFrame;
        if refusal.request.is_none() && !unread {
            return false;
        }
        let stage = &mut self.stage;
        match self.topics.not_stated(relay, refusal.request, stage) {
            Ok(finding) => {
                stage.find(finding);
                true
            }
            Err(()) => false,
        }
    }

    /// Looks at what the clock shows about relays.
    pub(super) fn watch_relays(&mut self) {
        for finding in self.topics.watch(self.now) {
            self.stage.find(Some(finding));
        }
        for relay in self.outbox.late(self.now) {
            self.stage
                .report(Suspect::Relay(relay), Act::Unconfirmed, None);
        }
    }

    /// Acts on what was found about relays during the present input.
    pub(super) fn weigh(&mut self) {
        for finding in self.stage.take_findings() {
            match finding {
                Finding::Evidence(piece) => self.expose(piece),
                Finding::OtherHistory(relay, topic) => {
                    self.blame(relay, Act::OtherHistory);
                    self.read_again(relay, &topic);
                }
                Finding::Due(relay, topic) => self.read_again(relay, &topic),
                Finding::BadStatement(relay) => self.blame(relay, Act::BadStatement),
                Finding::Unanswered(relay) => self.blame(relay, Act::Unanswered),
                Finding::Stalled(relay, topic) => {
                    if let Some((gap, gone)) = self.topics.skip(&relay, &topic) {
                        if !gone {
                            self.accuse(&topic, gap);
                        }
                        self.seek(relay, &topic);
                        self.take_early(relay, &topic);
                    }
                }
                Finding::Withheld(relay, topic, by) => self.withheld(relay, &topic, by),
            }
        }
    }

    fn blame(&mut self, relay: RelayId, act: Act) {
        self.stage.report(Suspect::Relay(relay), act, None);
    }

    fn expose(&mut self, piece: Evidence) {
        let Ok(verdict) = piece.verify() else {
            return;
        };
        let (relay, topic) = (verdict.relay, verdict.topic);
        if self.exhibits.knows(&piece) {
            // It may be an old story that a peer brings, or a store that was put back once more.
            return self.topics.recheck(relay, &topic, &mut self.stage);
        }
        self.blame(relay, Act::Contradiction);
        self.stage.notify(Event::EvidenceFound { relay });
        self.exhibit(piece);
        self.read_again(relay, &topic);
    }

    fn exhibit(&mut self, piece: Evidence) {
        if self.exhibits.0.len() >= limits::EVIDENCE_MAX {
            return;
        }
        let last = self.exhibits.0.last_key_value();
        let record = EvidenceRecord {
            number: last.map_or(0, |(number, _)| number.saturating_add(1)),
            found: self.now,
            piece,
        };
        let order = record.number.to_be_bytes();
        let write = Write::put(Kind::Evidence, &[], &order, &record);
        self.stage.write(write);
        self.exhibits.restore(record);
    }

    /// What was read of a topic is not what the relay holds: it is read from its beginning, and what
    /// this device wrote is offered again.
    pub(super) fn read_again(&mut self, relay: RelayId, topic: &TopicId) {
        let stage = &mut self.stage;
        let owner = self.topics.read_again(relay, topic, stage);
        if let Some(Owner::Epoch(id, _)) = owner {
            self.offer_all(relay, id);
        }
    }

    /// A peer was told of records that did not come: they are asked for once more, and the peer for
    /// what it has.
    fn withheld(&mut self, relay: RelayId, topic: &TopicId, by: DeviceId) {
        self.blame(relay, Act::Withheld);
        self.topics.repair(relay, topic, self.now, &mut self.stage);
        if let Some(Owner::Epoch(id, _)) = self.topics.owner(topic) {
            self.on_conversation(&id, |known, context| {
                known.resync(&[by], false, context);
            });
        }
    }

    /// Records in the middle were left out: the other devices are asked for what is missing.
    pub(super) fn left_out(&mut self, relay: RelayId, topic: &TopicId, gap: (u64, u64)) {
        self.accuse(topic, gap);
        self.seek(relay, topic);
    }

    fn accuse(&mut self, topic: &TopicId, (from, to): (u64, u64)) {
        if let Some(Owner::Epoch(id, _)) = self.topics.owner(topic) {
            let act = Act::LeftOut { from, to };
            self.stage.report(Suspect::Topic(*topic), act, Some(id));
        }
    }

    /// Asks the other devices for what a relay does not give, not too often.
    fn seek(&mut self, relay: RelayId, topic: &TopicId) {
        let Some(Owner::Epoch(id, _)) = self.topics.owner(topic) else {
            return;
        };
        if self.topics.may_seek(&relay, topic, self.now) {
            self.on_conversation(&id, |known, context| {
                known.resync(&[], false, context);
            });
        }
    }
}
