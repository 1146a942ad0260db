//! One conversation with everybody in it, and the operations that each of them tries.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{
    Body, ConversationId, DeviceId, DeviceSecrets, EpochId, Evidence, Forward, Genesis, History,
    ItemId, Operation, OperationId, RecoveryPhrase, Rekey, Role, RunId, Seal, SignedOperation,
    Suite, ThawByRecovery, UserGenesis, UserId, UserLog, epoch_id,
};

use super::super::ControlLog;
use crate::limits::{SEGMENTS_MAX, WINDOW_SEGMENTS};
use crate::user::Devices;

/// Who tries each operation.
pub(super) const PEOPLE: [&str; 7] = [
    "owner", "admin", "writer", "reader", "removed", "never", "frozen",
];

/// Others who are in the conversation.
const OTHERS: [&str; 4] = ["peer", "junior", "other", "guest"];

const COMMITMENT: [u8; 32] = [5; 32];

/// A person with two devices, a third to come, and a log in which the second was revoked.
struct Person {
    first: DeviceSecrets,
    second: DeviceSecrets,
    third: DeviceSecrets,
    devices: Devices,
    later: Devices,
    revoked: Devices,
    phrase: RecoveryPhrase,
}

impl Person {
    fn new(number: u8) -> Self {
        let mut rng = ChaCha20Rng::from_seed([number; 32]);
        let mut secrets = || DeviceSecrets::generate(&mut rng, Suite::X25519);
        let (first, second, third) = (secrets(), secrets(), secrets());
        let phrase = RecoveryPhrase::generate(&mut rng);
        let genesis = UserGenesis::create(&mut rng, &phrase, &first, "first").unwrap();
        let log = UserLog {
            genesis,
            operations: Vec::new(),
        };
        let mut devices = Devices::verify(&log).unwrap();
        add(&mut devices, &first, &second);
        let mut later = Devices::decode(&devices.encode()).unwrap();
        let mut revoked = Devices::decode(&devices.encode()).unwrap();
        add(&mut later, &first, &third);
        revoked.revoke(&first, &second.device()).unwrap();
        Self {
            first,
            second,
            third,
            devices,
            later,
            revoked,
            phrase,
        }
    }
}

fn add(devices: &mut Devices, author: &DeviceSecrets, new: &DeviceSecrets) {
    let certificate = new.certificate("new").unwrap();
    let possession = new.prove_possession(&devices.user, &certificate).unwrap();
    devices
        .add_device(author, &certificate, &possession)
        .unwrap();
}

/// What somebody tries, and what he does before it.
pub(super) struct Case {
    pub(super) prepared: Vec<Body>,
    pub(super) body: Body,
}

pub(super) struct Cast {
    log: ControlLog,
    people: BTreeMap<&'static str, Person>,
    grants: BTreeMap<&'static str, OperationId>,
    epoch: EpochId,
    drawn: OperationId,
    cut: OperationId,
    written: u64,
}

impl Cast {
    pub(super) fn new() -> Self {
        let everybody = PEOPLE.into_iter().chain(OTHERS);
        let people: BTreeMap<_, _> = (1..)
            .zip(everybody)
            .map(|(number, who)| (who, Person::new(number)))
            .collect();
        let owner = &people["owner"];
        let operation = Operation {
            conversation: ConversationId::default(),
            author: owner.first.device(),
            user: owner.devices.user,
            incarnation: OperationId::default(),
            run: RunId([1; 16]),
            seq: 1,
            previous: None,
            parents: Vec::new(),
            body: Body::Genesis(genesis(owner)),
        };
        let signed = SignedOperation::sign(&operation, &owner.first).unwrap();
        let log = ControlLog::found(&signed).unwrap();
        let founded = signed.id();
        let epoch = epoch_id(&signed.founded(), owner.first.device(), 2, &COMMITMENT);
        let mut cast = Self {
            log,
            people,
            grants: [("owner", founded), ("never", founded)].into(),
            epoch,
            drawn: founded,
            cut: founded,
            written: 1,
        };
        cast.drawn = cast.write("owner", cast.rekey(&["owner"])).unwrap();
        cast.gather();
        cast
    }

    fn gather(&mut self) {
        for (who, by, role) in [
            ("admin", "owner", Role::Admin),
            ("peer", "owner", Role::Admin),
            ("junior", "admin", Role::Admin),
            ("writer", "owner", Role::Writer),
            ("other", "owner", Role::Writer),
            ("frozen", "owner", Role::Writer),
            ("reader", "owner", Role::Reader),
            ("guest", "owner", Role::Reader),
            ("removed", "owner", Role::Writer),
        ] {
            let grant = self.write(by, self.addition(who, role)).unwrap();
            self.grants.insert(who, grant);
        }
        self.write("owner", self.removal("removed")).unwrap();
        let device = self.people["frozen"].first.device();
        self.write_as("frozen", "second", Body::Freeze { device })
            .unwrap();
    }

    /// Signs an operation with somebody's first device, at the newest place, and tries to take it in.
    pub(super) fn write(&mut self, who: &str, body: Body) -> Result<OperationId, String> {
        self.write_as(who, "first", body)
    }

    fn write_as(&mut self, who: &str, device: &str, body: Body) -> Result<OperationId, String> {
        self.written += 1;
        let person = &self.people[who];
        let secrets = match device {
            "second" => &person.second,
            _ => &person.first,
        };
        let operation = Operation {
            conversation: self.log.conversation(),
            author: secrets.device(),
            user: person.devices.user,
            incarnation: self.grants[who],
            run: RunId([1; 16]),
            seq: self.written,
            previous: Some(ItemId([1; 32])),
            parents: self.log.heads(),
            body,
        };
        let signed = SignedOperation::sign(&operation, secrets).map_err(|e| e.to_string())?;
        self.log
            .insert(&signed)
            .map_err(|error| error.to_string())?;
        Ok(signed.id())
    }

    /// Two operations at one place by somebody's first device, and two people's proofs of it.
    pub(super) fn prove_fork(&mut self, who: &str) -> [OperationId; 2] {
        let device = self.second(who);
        let first = self.write(who, Body::Freeze { device }).unwrap();
        self.written -= 1;
        let second = self.write(who, Body::Thaw { device }).unwrap();
        let named = |operation: OperationId| Evidence::Named(ItemId(operation.0));
        let proof = Body::Equivocation {
            first: named(first),
            second: named(second),
        };
        let mut proofs = ["owner", "peer"].map(|by| self.write(by, proof.clone()).unwrap());
        proofs.sort();
        proofs
    }

    /// Takes proofs against somebody's first device back, by a phrase and with a user log.
    pub(super) fn thaw(&self, who: &str, by: &str, log: &str, proofs: &[OperationId]) -> Body {
        Body::ThawByRecovery(ThawByRecovery::sign(
            &self.people[by].phrase,
            &self.log.conversation(),
            self.first(who),
            proofs.to_vec(),
            self.people[log].devices.encode(),
        ))
    }

    pub(super) fn is_frozen(&self, who: &str) -> bool {
        self.log.current().frozen.contains(&self.first(who))
    }

    /// All that the log says.
    pub(super) fn said(&self) -> String {
        format!("{:?} {:?}", self.log.heads(), self.log.current())
    }

    fn user(&self, who: &str) -> UserId {
        self.people[who].devices.user
    }

    fn first(&self, who: &str) -> DeviceId {
        self.people[who].first.device()
    }

    fn second(&self, who: &str) -> DeviceId {
        self.people[who].second.device()
    }

    fn forward(&self, device: DeviceId) -> Forward {
        Forward {
            epoch: self.epoch,
            commitment: COMMITMENT,
            device,
            counter: 0,
            sealed: vec![7; 80],
        }
    }

    fn rekey(&self, recipients: &[&str]) -> Body {
        let mut devices: Vec<DeviceId> = recipients.iter().map(|who| self.first(who)).collect();
        devices.sort();
        devices.dedup();
        let seals = devices.into_iter().map(|device| Seal {
            device,
            counter: 0,
            sealed: vec![7; 112],
        });
        Body::Rekey(Rekey {
            commitment: COMMITMENT,
            seals: seals.collect(),
            chain: None,
            parents_epochs: Vec::new(),
        })
    }

    fn addition(&self, who: &str, role: Role) -> Body {
        let given = [self.first(who), self.second(who)];
        Body::Add {
            user: self.user(who),
            role,
            log: self.people[who].devices.encode(),
            forwards: given.map(|device| self.forward(device)).to_vec(),
        }
    }

    fn removal(&self, who: &str) -> Body {
        Body::Remove {
            user: self.user(who),
            incarnations: vec![self.grants[who]],
            frontier: Vec::new(),
        }
    }

    fn regrant(&self, who: &str, role: Role) -> Body {
        Body::Regrant {
            user: self.user(who),
            incarnations: vec![self.grants[who]],
            frontier: Vec::new(),
            role,
        }
    }

    fn attachment(&self, whose: &str, device: DeviceId, forwards: Vec<Forward>) -> Body {
        Body::AttachDevice {
            device,
            log: self.people[whose].later.encode(),
            forwards,
        }
    }

    fn detachment(&self, whose: &str, proof: Vec<u8>) -> Body {
        Body::DetachDevice {
            device: self.second(whose),
            proof,
            frontier: Vec::new(),
        }
    }

    /// What is meant by a row of the table when somebody tries it.
    pub(super) fn case(&mut self, name: &str, who: &str) -> Case {
        if name == "forget" {
            let segment = self.log.current().highest_cut() + WINDOW_SEGMENTS;
            let cut = Body::Cut {
                snapshot: [0; 32],
                segment,
                heads: Vec::new(),
                frontier: Vec::new(),
            };
            self.cut = self.write("owner", cut).unwrap();
        }
        let prepared = match name {
            "thaw_own_other_device" => vec![Body::Freeze {
                device: self.second(who),
            }],
            _ => Vec::new(),
        };
        // Whoever is not part of the conversation cannot prepare anything either.
        let prepared = match who {
            "removed" | "never" | "frozen" => Vec::new(),
            _ => prepared,
        };
        let found = self
            .roles(name, who)
            .or_else(|| self.devices(name, who))
            .or_else(|| self.epochs(name, who))
            .or_else(|| self.rest(name, who));
        let body = found.unwrap_or_else(|| panic!("no such case: {name}"));
        Case { prepared, body }
    }

    fn roles(&self, name: &str, who: &str) -> Option<Body> {
        let promote = |whom: &str, role| Body::Promote {
            user: self.user(whom),
            role,
        };
        let transfer = |to: &str| Body::TransferOwner { to: self.user(to) };
        Some(match name {
            "add_writer" => self.addition("never", Role::Writer),
            "add_admin" => self.addition("never", Role::Admin),
            "add_owner" => self.addition("never", Role::Owner),
            "add_member_again" => self.addition("guest", Role::Writer),
            "add_with_foreign_log" => {
                let Body::Add {
                    role,
                    log,
                    forwards,
                    ..
                } = self.addition("guest", Role::Writer)
                else {
                    return None;
                };
                let user = self.user("never");
                Body::Add {
                    user,
                    role,
                    log,
                    forwards,
                }
            }
            "promote_reader_to_writer" => promote("guest", Role::Writer),
            "promote_reader_to_admin" => promote("guest", Role::Admin),
            "promote_reader_to_owner" => promote("guest", Role::Owner),
            "promote_to_the_same" => promote("other", Role::Writer),
            "promote_who_is_absent" => promote("removed", Role::Writer),
            "promote_himself_to_writer" => promote(who, Role::Writer),
            "promote_himself_to_admin" => promote(who, Role::Admin),
            "promote_himself_to_owner" => promote(who, Role::Owner),
            "remove_writer" => self.removal("other"),
            "remove_reader" => self.removal("guest"),
            "remove_junior_admin" => self.removal("junior"),
            "remove_sibling_admin" => self.removal("peer"),
            "remove_owner" => self.removal("owner"),
            "remove_who_is_absent" => self.removal("removed"),
            "remove_naming_other_grants" => Body::Remove {
                user: self.user("other"),
                incarnations: vec![self.grants["guest"]],
                frontier: Vec::new(),
            },
            "demote_writer" => self.regrant("other", Role::Reader),
            "demote_junior_admin" => self.regrant("junior", Role::Writer),
            "demote_sibling_admin" => self.regrant("peer", Role::Writer),
            "demote_owner" => self.regrant("owner", Role::Admin),
            "demote_himself" => self.regrant(who, Role::Reader),
            "regrant_owner" => self.regrant("guest", Role::Owner),
            "hand_ownership_to_admin" => transfer("peer"),
            "hand_ownership_to_writer" => transfer("other"),
            "take_ownership" => transfer(who),
            "leave" => Body::Leave,
            _ => return None,
        })
    }

    fn devices(&self, name: &str, who: &str) -> Option<Body> {
        let (own, other) = (&self.people[who], &self.people["other"]);
        let (third, foreign) = (own.third.device(), other.third.device());
        let nothing = Vec::new;
        Some(match name {
            "attach_own_device" => self.attachment(who, third, vec![self.forward(third)]),
            "attach_device_twice" => {
                let second = self.second(who);
                self.attachment(who, second, vec![self.forward(second)])
            }
            "attach_without_secret" => self.attachment(who, third, Vec::new()),
            "attach_device_of_another" => {
                self.attachment("other", foreign, vec![self.forward(foreign)])
            }
            "detach_own_device" => self.detachment(who, nothing()),
            "detach_writers_device" => self.detachment("other", nothing()),
            "detach_admins_device" => self.detachment("peer", nothing()),
            "detach_owners_device" => self.detachment("owner", nothing()),
            "detach_what_its_log_revokes" => self.detachment("other", other.revoked.encode()),
            "detach_by_a_proof_of_nothing" => self.detachment("other", other.later.encode()),
            "freeze_own_other_device" => Body::Freeze {
                device: self.second(who),
            },
            "freeze_himself" => Body::Freeze {
                device: self.first(who),
            },
            "freeze_device_of_another" => Body::Freeze {
                device: self.second("other"),
            },
            "thaw_own_other_device" => Body::Thaw {
                device: self.second(who),
            },
            "thaw_device_of_another" => Body::Thaw {
                device: self.first("frozen"),
            },
            _ => return None,
        })
    }

    fn epochs(&self, name: &str, who: &str) -> Option<Body> {
        let good = self.forward(self.second("other"));
        let false_one = || Forward {
            commitment: [6; 32],
            ..good.clone()
        };
        let to = |whom: &str| self.forward(self.first(whom));
        Some(match name {
            "rekey" => self.rekey(&[who, "owner", "guest"]),
            "rekey_for_an_outsider" => self.rekey(&[who, "owner", "never"]),
            "rekey_for_the_removed" => self.rekey(&[who, "owner", "removed"]),
            "rekey_for_the_frozen" => self.rekey(&[who, "owner", "frozen"]),
            "rekey_without_himself" => self.rekey(&["other", "guest"]),
            "rekey_after_unknown_epoch" => match self.rekey(&[who, "owner"]) {
                Body::Rekey(mut rekey) => {
                    rekey.parents_epochs.push(EpochId([9; 32]));
                    Body::Rekey(rekey)
                }
                _ => return None,
            },
            "forward" => Body::Forward(good),
            "forward_to_an_outsider" => Body::Forward(to("never")),
            "forward_to_the_removed" => Body::Forward(to("removed")),
            "forward_to_the_frozen" => Body::Forward(to("frozen")),
            "forward_another_secret" => Body::Forward(false_one()),
            "hand_over" => Body::HandOver {
                forwards: vec![good, to("guest")],
            },
            "hand_over_to_an_outsider" => Body::HandOver {
                forwards: vec![good, to("removed")],
            },
            "hand_over_to_the_frozen" => Body::HandOver {
                forwards: vec![good, to("frozen")],
            },
            "hand_over_to_one_twice" => Body::HandOver {
                forwards: vec![good.clone(), good],
            },
            "hand_over_to_nobody" => Body::HandOver {
                forwards: Vec::new(),
            },
            "hand_over_another_secret" => Body::HandOver {
                forwards: vec![to("guest"), false_one()],
            },
            "complain_of_a_seal" => Body::BadSeal {
                epoch: self.epoch,
                operation: self.drawn,
            },
            "complain_of_unknown_epoch" => Body::BadSeal {
                epoch: EpochId([9; 32]),
                operation: self.drawn,
            },
            _ => return None,
        })
    }

    fn rest(&self, name: &str, who: &str) -> Option<Body> {
        let cut = |segment, snapshot| Body::Cut {
            snapshot,
            segment,
            heads: Vec::new(),
            frontier: Vec::new(),
        };
        Some(match name {
            "cut" => cut(SEGMENTS_MAX, [0; 32]),
            "cut_with_a_snapshot" => cut(SEGMENTS_MAX, [1; 32]),
            "cut_below" => cut(WINDOW_SEGMENTS, [0; 32]),
            "forget" => Body::Forget { cut: self.cut },
            "forget_before_no_cut" => Body::Forget { cut: self.drawn },
            "rename" => Body::Rename {
                name: "yard".to_owned(),
            },
            "false_proof_of_a_fork" => Body::Equivocation {
                first: Evidence::Named(ItemId([3; 32])),
                second: Evidence::Named(ItemId([4; 32])),
            },
            "thaw_what_no_proof_freezes" => self.thaw(who, who, who, &[self.drawn]),
            "found_again" => Body::Genesis(genesis(&self.people[who])),
            _ => return None,
        })
    }
}

fn genesis(person: &Person) -> Genesis {
    Genesis {
        creator: person.devices.user,
        creator_log: person.devices.encode(),
        name: "field".to_owned(),
        history: History::Full,
        segment_messages: 100,
        random: [1; 32],
    }
}
