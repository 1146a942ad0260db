//! Cuts and newcomers: nobody gets what lies before his beginning, whoever tries to give it or asks.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sheaf_crypto::{
    Body, ConversationId, DeviceSecrets, EpochId, History, Inner, ItemId, OperationId, Recipient,
    RunId, SignedOperation, forward, item_of_record, join_inbox_parts, open, open_inbox_part,
    rekey, seal, seal_inbox,
};
use sheaf_crypto::{Kind as Purpose, Operation, Role, UserId};
use sheaf_protocol::TopicId;
use sheaf_replica::{Act, Command, Event, Misbehaviour, Reply, Suspect};

use crate::forge::{Epoch, epochs, secrets};
use crate::world::{ALICE, BOB, MALLORY, World};

/// Whoever is added late.
const CAROL: usize = 3;

fn user(world: &World, place: usize) -> UserId {
    world.peers[place].replica.overview().user.unwrap()
}

/// A conversation of the first three, with some messages; Mallory may add and remove people.
fn prepared(history: History) -> World {
    let mut world = World::of(4);
    let create = Command::CreateConversation {
        name: "yard".to_owned(),
        members: vec![user(&world, BOB), user(&world, MALLORY)],
        segment_messages: None,
        history,
    };
    let Reply::ConversationCreated(conversation) = world.ask(ALICE, create) else {
        panic!("a conversation was asked for");
    };
    world.conversation = conversation;
    let role = Command::SetRole {
        conversation,
        user: user(&world, MALLORY),
        role: Role::Admin,
    };
    world.ask(ALICE, role);
    for (place, text) in [(ALICE, "old one"), (BOB, "old two"), (MALLORY, "old three")] {
        world.send(place, text);
    }
    world
}

/// Lets acknowledgements come that wait for their time.
fn rest(world: &mut World) {
    for _ in 0..40 {
        let mut woken = false;
        for peer in &mut world.peers {
            woken |= peer.wake();
        }
        world.settle();
        if !woken {
            return;
        }
    }
}

fn add_carol(world: &mut World) {
    let add = Command::AddMember {
        conversation: world.conversation,
        user: user(world, CAROL),
        role: Role::Writer,
    };
    world.ask(ALICE, add);
}

fn texts(world: &World, place: usize) -> Vec<String> {
    let listed = world.messages(place).into_iter();
    listed.map(|message| message.text).collect()
}

fn held(world: &World, place: usize) -> Vec<Epoch> {
    epochs(&world.peers[place].disk, &world.conversation)
}

/// The last item that a device wrote, with its id and the epoch it is under.
fn last_of(world: &World, author: &DeviceSecrets, reader: usize) -> (Inner, ItemId, EpochId) {
    let mut last: Option<(Inner, ItemId, EpochId)> = None;
    for epoch in held(world, reader) {
        let records = world.log.0.get(&epoch.keys.topic());
        for record in records.into_iter().flatten() {
            let Ok(opened) = open(&epoch.keys, record) else {
                continue;
            };
            let Ok(inner) = opened.verify(&author.signing_public()) else {
                continue;
            };
            if last
                .as_ref()
                .is_some_and(|(last, ..)| last.seq >= inner.seq)
            {
                continue;
            }
            let item = if inner.kind == Purpose::Control {
                let signed = SignedOperation::from_bytes(&inner.body).unwrap();
                ItemId(signed.id().0)
            } else {
                item_of_record(record)
            };
            last = Some((inner, item, epoch.id));
        }
    }
    last.unwrap()
}

/// Mallory's device signs an operation after its last item, under the epoch of that item.
fn operate(
    world: &mut World,
    parents: &[OperationId],
    body: impl FnOnce(u64, &[OperationId]) -> Body,
) -> (OperationId, Vec<Misbehaviour>) {
    let author = secrets(&world.peers[MALLORY].disk);
    let (last, previous, under) = last_of(world, &author, MALLORY);
    let parents = if parents.is_empty() {
        last.control_heads.clone()
    } else {
        parents.to_vec()
    };
    let operation = Operation {
        conversation: world.conversation,
        author: author.device(),
        user: last.user,
        incarnation: last.incarnation,
        run: last.run,
        seq: last.seq + 1,
        previous: Some(previous),
        parents: parents.clone(),
        body: body(last.seq + 1, &parents),
    };
    let signed = SignedOperation::sign(&operation, &author).unwrap();
    let inner = Inner {
        kind: Purpose::Control,
        seq: operation.seq,
        previous: Some(previous),
        control_heads: parents,
        dependencies: Vec::new(),
        body: signed.to_bytes().unwrap(),
        ..last
    };
    let epochs = held(world, MALLORY);
    let epoch = epochs.iter().find(|epoch| epoch.id == under).unwrap();
    let mut rng = ChaCha20Rng::from_seed([77; 32]);
    let record = seal(&epoch.keys, &inner, &author, &mut rng).unwrap();
    let topic = epoch.keys.topic();
    world.peers[BOB].misbehaviour();
    world.inject(topic, record);
    (signed.id(), world.peers[BOB].misbehaviour())
}

fn is_refused(world: &World, reports: &[Misbehaviour], why: &str) {
    let mallory = secrets(&world.peers[MALLORY].disk).device();
    let [report] = reports else {
        panic!("one report was expected: {reports:?}");
    };
    assert_eq!(report.by, Suspect::Device(mallory));
    let Act::RefusedOperation(reason) = &report.act else {
        panic!("an operation was to be refused: {report:?}");
    };
    assert!(reason.contains(why), "{reason}");
}

fn recipient(world: &World, place: usize) -> Recipient {
    let secrets = secrets(&world.peers[place].disk);
    Recipient {
        device: secrets.device(),
        kem: secrets.kem_record().unwrap(),
    }
}

#[test]
fn a_key_from_before_the_recipients_beginning_is_not_handed_on() {
    let mut world = prepared(History::SinceJoin);
    let old = held(&world, MALLORY);
    add_carol(&mut world);
    world.send(MALLORY, "welcome");
    let to = recipient(&world, CAROL);
    let conversation = world.conversation;
    for epoch in &old {
        let mut fresh = prepared(History::SinceJoin);
        add_carol(&mut fresh);
        fresh.send(MALLORY, "welcome");
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let (_, reports) = operate(&mut fresh, &[], |_, parents| {
            let secret = epoch.secret();
            let commitment = epoch.keys.commitment();
            let forged = forward(
                &mut rng,
                &conversation,
                epoch.id,
                commitment,
                &secret,
                parents,
                &to,
            );
            Body::Forward(forged.unwrap())
        });
        is_refused(&fresh, &reports, "before the recipient's beginning");
        let known = held(&fresh, CAROL);
        assert!(!known.iter().any(|known| known.id == epoch.id));
        assert_eq!(texts(&fresh, CAROL), ["welcome"]);
    }
    assert!(!old.is_empty());
}

#[test]
fn an_epoch_chained_across_a_cut_is_refused() {
    let mut world = prepared(History::Full);
    let old = held(&world, MALLORY);
    let newest = old.last().unwrap();
    let (cut, reports) = operate(&mut world, &[], |_, _| Body::Cut {
        snapshot: [0; 32],
        segment: 1 << 20,
        heads: Vec::new(),
        frontier: Vec::new(),
    });
    assert!(reports.is_empty(), "a good cut is refused: {reports:?}");
    let people = [ALICE, BOB, MALLORY].map(|place| recipient(&world, place));
    let (author, conversation) = (
        secrets(&world.peers[MALLORY].disk).device(),
        world.conversation,
    );
    let mut recipients = people.to_vec();
    recipients.sort_by_key(|to| to.device);
    let before = held(&world, BOB).len();
    let mut rng = ChaCha20Rng::from_seed([4; 32]);
    let (_, reports) = operate(&mut world, &[cut], |seq, parents| {
        let secret = newest.secret();
        let previous = [(newest.id, &secret)];
        let drawn = rekey(
            &mut rng,
            &conversation,
            author,
            seq,
            parents,
            &recipients,
            &previous,
        );
        Body::Rekey(drawn.unwrap().2)
    });
    is_refused(&world, &reports, "opens the ones before it");
    assert_eq!(held(&world, BOB).len(), before);
}

#[test]
fn content_in_a_window_that_its_view_lacks_is_refused() {
    // What Mallory writes after the cut, and says that he wrote before it.
    let mut later = prepared(History::Full);
    let mut world = prepared(History::Full);
    for world in [&mut later, &mut world] {
        world.ask(ALICE, Command::CutHistory(world.conversation));
    }
    let author = secrets(&later.peers[MALLORY].disk);
    let (before, ..) = last_of(&world, &author, BOB);
    later.send(MALLORY, "in the window");
    assert!(texts(&later, BOB).contains(&"in the window".to_owned()));
    let (inner, _, _) = last_of(&later, &author, BOB);
    assert_eq!(inner.seq, before.seq + 1);
    let forged = Inner {
        control_heads: before.control_heads,
        dependencies: Vec::new(),
        ..inner
    };
    let (_, _, under) = last_of(&world, &author, BOB);
    let epochs = held(&world, BOB);
    let epoch = epochs.iter().find(|epoch| epoch.id == under).unwrap();
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let record = seal(&epoch.keys, &forged, &author, &mut rng).unwrap();
    let topic = epoch.keys.topic();
    world.peers[BOB].misbehaviour();
    world.inject(topic, record);
    let reports = world.peers[BOB].misbehaviour();
    let [report] = &reports[..] else {
        panic!("one report was expected: {reports:?}");
    };
    assert!(
        matches!(&report.act, Act::RefusedContent(why) if why.contains("window")),
        "{report:?}"
    );
    assert!(!texts(&world, BOB).contains(&"in the window".to_owned()));
}

/// What an answer says, as it is written.
type Answer = (
    ConversationId,
    u64,
    Vec<SignedOperation>,
    Vec<(EpochId, Vec<u8>)>,
    Vec<OperationId>,
    Vec<(sheaf_crypto::DeviceId, RunId, u64)>,
    bool,
    bool,
);

/// Inbox messages of a kind that came to a device since some point, their version left out.
fn messages_to(world: &World, place: usize, heads: &[(TopicId, usize)]) -> Vec<Vec<u8>> {
    let me = secrets(&world.peers[place].disk);
    let mut found = Vec::new();
    for (topic, records) in &world.log.0 {
        let known = heads.iter().find(|(known, _)| known == topic);
        let from = known.map_or(0, |(_, from)| *from);
        let mut parts = Vec::new();
        for record in &records[from..] {
            let Ok(part) = open_inbox_part(&me, record) else {
                continue;
            };
            let count = usize::from(part.count());
            parts.push(part);
            if parts.len() == count {
                let joined = join_inbox_parts(std::mem::take(&mut parts)).unwrap();
                found.push(joined.unverified_body()[1..].to_vec());
            }
        }
    }
    found
}

/// Answers to Carol since a time; all that they hold she may read.
fn answers_she_may_read(world: &World, heads: &[(TopicId, usize)]) -> usize {
    let hers = held(world, CAROL);
    let given = messages_to(world, CAROL, heads);
    let given = given.iter().filter(|message| message[0] == 3);
    let mut answers = 0;
    for answer in given {
        let (answer, rest): (Answer, _) = postcard::take_from_bytes(&answer[1..]).unwrap();
        assert!(rest.is_empty());
        assert!(!answer.2.is_empty(), "operations are for every member");
        assert!(!answer.3.is_empty(), "she is given what she may have");
        answers += 1;
        for (epoch, wire) in &answer.3 {
            let epoch = hers.iter().find(|known| known.id == *epoch);
            let epoch = epoch.expect("an envelope is of an epoch that she may have");
            open(&epoch.keys, wire).unwrap();
        }
    }
    answers
}

/// Answers that Carol got; none says that anything is missing anywhere.
fn answers_with_nothing(world: &World) -> usize {
    let mut answers = 0;
    for event in &world.peers[CAROL].events {
        if let Event::Exchanged {
            missing_here,
            missing_there,
            brought,
            more,
            ..
        } = event
        {
            answers += 1;
            assert_eq!((*missing_here, *missing_there, *brought), (0, 0, 0));
            assert!(!more);
        }
    }
    answers
}

#[test]
fn a_newcomer_who_asks_for_everything_is_given_nothing_older() {
    let mut world = prepared(History::SinceJoin);
    add_carol(&mut world);
    for (place, text) in [(ALICE, "new one"), (BOB, "new two"), (CAROL, "new three")] {
        world.send(place, text);
    }
    rest(&mut world);
    world.peers[CAROL].events.clear();
    let heads: Vec<(TopicId, usize)> = world.log.0.iter().map(|(t, r)| (*t, r.len())).collect();
    // By the program: there is nothing that she lacks.
    let resync = Command::Resync {
        conversations: vec![world.conversation],
        devices: Vec::new(),
        full: true,
    };
    world.ask(CAROL, resync);
    rest(&mut world);
    assert_eq!(answers_with_nothing(&world), 3, "everybody answers");
    // By another program: she has nothing and knows of the first segment.
    let grown = world.log.0.iter().filter(|(topic, records)| {
        let known = heads.iter().find(|(known, _)| known == *topic);
        known.is_none_or(|(_, from)| records.len() > *from)
    });
    let inboxes: Vec<TopicId> = grown.map(|(topic, _)| *topic).collect();
    let heads: Vec<(TopicId, usize)> = world.log.0.iter().map(|(t, r)| (*t, r.len())).collect();
    let carol = secrets(&world.peers[CAROL].disk);
    let nobody: Vec<(sheaf_crypto::DeviceId, RunId, u64)> = Vec::new();
    let empty = automerge_message();
    let ask = (
        world.conversation,
        7_u64,
        Vec::<OperationId>::new(),
        nobody,
        vec![(0_u32, empty)],
    );
    // Version 1, the third kind of message.
    let body = postcard::to_extend(&ask, vec![1, 2]).unwrap();
    let mut rng = ChaCha20Rng::from_seed([6; 32]);
    for place in [ALICE, BOB, MALLORY] {
        let to = recipient(&world, place);
        let user = user(&world, CAROL);
        let parts = seal_inbox(&mut rng, &to, &carol, user, &body).unwrap();
        for topic in &inboxes {
            for part in &parts {
                world.log.push(*topic, part.clone());
            }
        }
    }
    world.settle();
    assert_eq!(answers_she_may_read(&world, &heads), 3, "everybody answers");
    assert!(
        !texts(&world, CAROL)
            .iter()
            .any(|text| text.starts_with("old"))
    );
}

/// The first message of the Automerge sync protocol of somebody who has nothing.
fn automerge_message() -> Vec<u8> {
    use automerge::sync::{State, SyncDoc};
    let mut nothing = automerge::AutoCommit::new();
    let message = nothing.sync().generate_sync_message(&mut State::new());
    message.unwrap().encode()
}

#[test]
fn a_newcomer_owes_nothing_from_before_and_proves_the_rest() {
    let mut world = prepared(History::SinceJoin);
    add_carol(&mut world);
    rest(&mut world);
    let synced = |world: &World, place: usize| {
        let shown = world.peers[place].replica.conversation(&world.conversation);
        let shown = shown.unwrap();
        let lacks: Vec<u64> = shown.peers.iter().map(|peer| peer.lacks).collect();
        (shown.synced, lacks)
    };
    for place in [ALICE, BOB, MALLORY, CAROL] {
        assert_eq!(synced(&world, place), (true, vec![0; 3]), "{place}");
    }
    // What is new she has to have, like everybody else.
    world.peers[CAROL].offline();
    world.send(BOB, "while she is away");
    let shown = world.peers[BOB].replica.conversation(&world.conversation);
    let carol = secrets(&world.peers[CAROL].disk).device();
    let peers = shown.unwrap().peers;
    let peer = peers.iter().find(|peer| peer.device == carol).unwrap();
    // Whether a checkpoint of Bob's comes between what she has and the message is chance.
    let lacks = peer.lacks;
    assert!((1..=2).contains(&lacks), "{lacks}: nothing from before");
    world.peers[CAROL].link_up();
    world.settle();
    rest(&mut world);
    for place in [ALICE, BOB, MALLORY, CAROL] {
        assert_eq!(synced(&world, place), (true, vec![0; 3]), "{place}");
    }
    assert_eq!(texts(&world, CAROL), ["while she is away"]);
}
