//! `sheaf conversation`.

mod change;

use data_encoding::HEXLOWER;
use serde::Serialize;
use sheaf_engine::{ConversationInfo, DeviceId, History, Role, SnapshotInfo};

use crate::exit::Failure;
use crate::output::{harmless, table};
use crate::request::Settings;
use crate::resolve;
use crate::session::{Reach, change_reach, let_go, with_engine};

pub(super) use change::{add_member, change};

#[derive(Serialize)]
struct Summary {
    conversation: String,
    name: String,
    members: usize,
    messages: u64,
    pending: u64,
}

#[derive(Serialize)]
struct Member {
    user: String,
    name: String,
    role: &'static str,
    devices: usize,
}

#[derive(Serialize)]
struct Epoch {
    epoch: String,
    held: bool,
}

/// A device that signed several items for one place.
#[derive(Serialize)]
struct Fork {
    device: String,
    sequence: u64,
    stands: String,
    set_aside: usize,
    settled: bool,
}

/// What the erasing of keys from before a cut waits for.
#[derive(Serialize)]
struct Forgetting {
    devices: Vec<String>,
    fork: bool,
    kept_back: bool,
    cut_shared: bool,
}

/// What a newcomer would begin at.
#[derive(Serialize)]
struct Snapshot {
    by: String,
    verified_by: String,
    items: u64,
    segments: u32,
}

#[derive(Serialize)]
struct Details {
    conversation: String,
    name: String,
    members: Vec<Member>,
    messages: u64,
    segments: usize,
    pending: u64,
    parked: u64,
    history: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u32>,
    epochs: Vec<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forgetting: Option<Forgetting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Snapshot>,
    frozen: Vec<String>,
    forks: Vec<Fork>,
}

/// Heads of one segment's document.
#[derive(Serialize)]
pub(super) struct SegmentHeads {
    segment: u32,
    heads: Vec<String>,
}

#[derive(Serialize)]
struct Heads {
    conversation: String,
    messages: u64,
    segments: Vec<SegmentHeads>,
}

#[derive(Serialize)]
struct Created {
    conversation: String,
    name: String,
}

#[derive(Serialize)]
struct Membership {
    conversation: String,
    user: String,
    role: &'static str,
}

impl Membership {
    fn show(&self, settings: &Settings) -> Result<(), Failure> {
        settings.printer.show(self, |shown| {
            format!("{} is {} now", shown.user, shown.role)
        })
    }
}

/// A role as it is shown.
pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Writer => "writer",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

fn members(info: &ConversationInfo) -> Vec<Member> {
    let members = info
        .members
        .iter()
        .map(|(user, name, role, devices)| Member {
            user: user.to_string(),
            name: name.clone(),
            role: role_name(*role),
            devices: *devices,
        });
    members.collect()
}

/// Heads of every segment, each in ascending order, so that equal sets are equal text.
pub(super) fn segment_heads(info: &ConversationInfo) -> Vec<SegmentHeads> {
    let segments = info.heads.iter().map(|(segment, heads)| {
        let mut heads: Vec<String> = heads.iter().map(|head| HEXLOWER.encode(head)).collect();
        heads.sort_unstable();
        SegmentHeads {
            segment: *segment,
            heads,
        }
    });
    segments.collect()
}

/// Creates a conversation and invites people to it.
pub(super) async fn create(
    settings: &Settings,
    name: String,
    members: Vec<String>,
    history: History,
) -> Result<(), Failure> {
    with_engine(settings, change_reach(settings)?, |engine| async move {
        let mut users = Vec::with_capacity(members.len());
        for typed in &members {
            users.push(resolve::user(&engine, typed).await?);
        }
        let created = engine
            .found_conversation(&name, &users, None, history)
            .await?;
        let shown = Created {
            conversation: created.id().to_string(),
            name,
        };
        settings
            .printer
            .show(&shown, |shown| shown.conversation.clone())?;
        let_go(settings, &engine).await
    })
    .await
}

/// Lists the conversations.
pub(super) async fn list(settings: &Settings) -> Result<(), Failure> {
    let known = with_engine(settings, Reach::Offline, |engine| async move {
        Ok(engine.conversations().await?)
    })
    .await?;
    let known: Vec<Summary> = known
        .into_iter()
        .map(|info| Summary {
            conversation: info.conversation.to_string(),
            members: info.members.len(),
            messages: info.messages,
            pending: info.pending,
            name: info.name,
        })
        .collect();
    settings.printer.list(&known, |known| {
        let rows: Vec<_> = known
            .iter()
            .map(|one| {
                vec![
                    harmless(&one.name),
                    one.members.to_string(),
                    one.messages.to_string(),
                    one.pending.to_string(),
                    one.conversation.clone(),
                ]
            })
            .collect();
        let head = ["name", "members", "messages", "pending", "conversation"];
        table(&head, &rows)
    })
}

async fn info(settings: &Settings, typed: String) -> Result<ConversationInfo, Failure> {
    with_engine(settings, Reach::Offline, |engine| async move {
        let (_, info) = resolve::conversation(&engine, &typed).await?;
        Ok(info)
    })
    .await
}

/// Shows one conversation.
pub(super) async fn show(settings: &Settings, typed: String) -> Result<(), Failure> {
    let info = info(settings, typed).await?;
    let forgets = forgetting_words(&info).map_or_else(String::new, |waits| {
        let waits = harmless(&waits);
        format!("forgetting    waits for {waits}\n")
    });
    let snapshot = snapshot_words(&info).unwrap_or_default();
    let epochs = info.epochs.iter().map(|(epoch, held)| Epoch {
        epoch: epoch.to_string(),
        held: *held,
    });
    let details = Details {
        conversation: info.conversation.to_string(),
        members: members(&info),
        messages: info.messages,
        segments: info.heads.len(),
        pending: info.pending,
        parked: info.parked,
        history: match info.history {
            History::Full => "full",
            History::SinceJoin => "since-join",
        },
        since: info.since,
        epochs: epochs.collect(),
        forgetting: forgetting(&info),
        snapshot: info.snapshot.map(|known| Snapshot {
            by: known.maker.to_string(),
            verified_by: known.verifier.to_string(),
            items: known.items,
            segments: known.segments,
        }),
        frozen: info.frozen.iter().map(ToString::to_string).collect(),
        forks: forks(&info),
        name: info.name,
    };
    settings.printer.show(&details, |details| {
        format!(
            "conversation  {}\nname          {}\nmessages      {} in {} segments\n\
             pending       {}\nparked        {}\nepochs        {}, secret held of {}\n\
             history       {}{}\n{forgets}{snapshot}{}\n{}",
            details.conversation,
            harmless(&details.name),
            details.messages,
            details.segments,
            details.pending,
            details.parked,
            details.epochs.len(),
            details.epochs.iter().filter(|epoch| epoch.held).count(),
            details.history,
            match details.since {
                Some(_) => "; what was written before you joined is not shown",
                None => "",
            },
            trouble(details),
            member_table(&details.members)
        )
    })
}

fn snapshot_words(info: &ConversationInfo) -> Option<String> {
    let known = info.snapshot?;
    let by = [known.maker, known.verifier].map(|device| device_name(info, &device));
    let [maker, verifier] = by.map(|name| harmless(&name));
    let SnapshotInfo {
        items, segments, ..
    } = known;
    Some(format!(
        "snapshot      {segments} segments, {items} items: by {maker}, verified by {verifier}\n"
    ))
}

fn forgetting(info: &ConversationInfo) -> Option<Forgetting> {
    let waits = info.forgetting.as_ref()?;
    let devices = waits.devices.iter();
    Some(Forgetting {
        devices: devices.map(|device| device_name(info, device)).collect(),
        fork: waits.disputed,
        kept_back: waits.kept_back,
        cut_shared: waits.shared,
    })
}

/// A device by its name where that is known.
pub(super) fn device_name(info: &ConversationInfo, device: &DeviceId) -> String {
    let peer = info.peers.iter().find(|peer| peer.device == *device);
    peer.map_or_else(|| device.to_string(), |peer| peer.name.clone())
}

/// What the erasing of keys from before a cut waits for, in words.
pub(super) fn forgetting_words(info: &ConversationInfo) -> Option<String> {
    let waits = info.forgetting.as_ref()?;
    let devices = waits.devices.iter();
    let mut reasons: Vec<String> = devices.map(|device| device_name(info, device)).collect();
    if waits.disputed {
        reasons.push("a device forked, and judging that takes everything".to_owned());
    }
    if waits.kept_back {
        reasons.push("something is kept back of a device".to_owned());
    }
    if waits.shared {
        let again = "another cut was made at the same time: ask for it again";
        reasons.push(again.to_owned());
    }
    if reasons.is_empty() {
        reasons.push("everything to be read and sent".to_owned());
    }
    Some(reasons.join(", "))
}

fn forks(info: &ConversationInfo) -> Vec<Fork> {
    let forks = info.forks.iter().map(|fork| Fork {
        device: fork.device.to_string(),
        sequence: fork.sequence,
        stands: fork.stands.to_string(),
        set_aside: fork.set_aside.len(),
        settled: fork.settled,
    });
    forks.collect()
}

/// Frozen devices and forks, a line each.
fn trouble(details: &Details) -> String {
    let mut lines = String::new();
    for device in &details.frozen {
        lines.push_str(&format!("frozen        device {device}\n"));
    }
    for fork in &details.forks {
        let until = if fork.settled {
            "for good"
        } else {
            "unless most others acknowledged another"
        };
        lines.push_str(&format!(
            "forked        device {} signed {} items for place {}: {} stands {until}; the rest and \
             what builds on it is set aside\n",
            fork.device,
            fork.set_aside + 1,
            fork.sequence,
            fork.stands,
        ));
    }
    lines
}

/// Shows document heads.
pub(super) async fn heads(settings: &Settings, typed: String) -> Result<(), Failure> {
    let info = info(settings, typed).await?;
    let heads = Heads {
        conversation: info.conversation.to_string(),
        messages: info.messages,
        segments: segment_heads(&info),
    };
    settings.printer.show(&heads, |heads| {
        let lines = heads.segments.iter().flat_map(|segment| {
            let heads = segment.heads.iter();
            heads.map(|head| format!("{}  {head}", segment.segment))
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

/// Lists the members.
pub(super) async fn list_members(settings: &Settings, typed: String) -> Result<(), Failure> {
    let info = info(settings, typed).await?;
    settings.printer.list(&members(&info), member_table)
}

fn member_table(members: &[Member]) -> String {
    let rows: Vec<_> = members
        .iter()
        .map(|member| {
            vec![
                harmless(&member.name),
                member.role.to_owned(),
                member.devices.to_string(),
                member.user.clone(),
            ]
        })
        .collect();
    table(&["name", "role", "devices", "user"], &rows)
}

impl SegmentHeads {
    /// The beginnings of the heads, for a table.
    pub(super) fn text(&self) -> String {
        let short = |head: &String| head.chars().take(8).collect::<String>();
        let heads: Vec<String> = self.heads.iter().map(short).collect();
        heads.join(" ")
    }
}
