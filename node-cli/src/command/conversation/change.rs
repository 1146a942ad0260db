//! Changes of a conversation's members and name.

use serde::Serialize;
use sheaf_engine::{Conversation, ConversationInfo, Engine, Keep, Role};

use crate::exit::Failure;
use crate::output::harmless;
use crate::request::{ConversationRequest, Settings};
use crate::resolve;
use crate::session::{change_reach, let_go, own_user, with_engine};

use super::{Created, Membership, role_name};

#[derive(Serialize)]
struct Gone {
    conversation: String,
    user: String,
    removed: bool,
}

#[derive(Serialize)]
struct Cut {
    conversation: String,
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    forget: bool,
}

#[derive(Serialize)]
struct Kept {
    conversation: String,
    keep: String,
}

fn keep_words(keep: Keep) -> String {
    match keep {
        Keep::All => "everything".to_owned(),
        Keep::Messages(count) => format!("at least {count} messages"),
        Keep::Months(count) => format!("at least {count} months"),
    }
}

/// Adds a contact.
pub(in crate::command) async fn add_member(
    settings: &Settings,
    typed: String,
    user: String,
    role: Role,
) -> Result<(), Failure> {
    with_engine(settings, change_reach(settings)?, |engine| async move {
        let (conversation, info) = resolve::conversation(&engine, &typed).await?;
        let user = resolve::user(&engine, &user).await?;
        conversation.add_member(user, role).await?;
        let added = Membership {
            conversation: info.conversation.to_string(),
            user: user.to_string(),
            role: role_name(role),
        };
        added.show(settings)?;
        let_go(settings, &engine).await
    })
    .await
}

/// Changes a conversation: durable here when it is printed, then given a moment to reach the relay.
pub(in crate::command) async fn change(
    settings: &Settings,
    typed: String,
    change: ConversationRequest,
) -> Result<(), Failure> {
    with_engine(settings, change_reach(settings)?, |engine| async move {
        let known = resolve::conversation(&engine, &typed).await?;
        apply(settings, &engine, known, change).await?;
        let_go(settings, &engine).await
    })
    .await
}

async fn apply(
    settings: &Settings,
    engine: &Engine,
    (conversation, info): (Conversation, ConversationInfo),
    change: ConversationRequest,
) -> Result<(), Failure> {
    let id = info.conversation.to_string();
    let own = own_user(engine).await?;
    match change {
        ConversationRequest::RemoveMember(typed) => {
            let user = resolve::member(&info, &typed)?;
            if user == own {
                let advice = format!("to leave: `sheaf conversation leave {id} --yes`");
                return Err(Failure::usage("this is yourself").advise(advice));
            }
            conversation.remove_member(user).await?;
            gone(settings, id, user.to_string())
        }
        ConversationRequest::SetRole(typed, role) => {
            let user = resolve::member(&info, &typed)?;
            conversation.set_role(user, role).await?;
            let given = Membership {
                conversation: id,
                user: user.to_string(),
                role: role_name(role),
            };
            given.show(settings)
        }
        ConversationRequest::Rename(name) => {
            conversation.rename(&name).await?;
            let renamed = Created {
                conversation: id,
                name,
            };
            settings.printer.show(&renamed, |renamed| {
                format!(
                    "{} is called {} now",
                    renamed.conversation,
                    harmless(&renamed.name)
                )
            })
        }
        ConversationRequest::Cut { forget } => {
            match forget {
                true => conversation.forget_history().await?,
                false => conversation.cut_history().await?,
            }
            Cut {
                conversation: id,
                name: info.name,
                forget,
            }
            .show(settings)
        }
        ConversationRequest::Keep(keep) => {
            conversation.keep(Some(keep)).await?;
            let kept = Kept {
                conversation: id,
                keep: keep_words(keep),
            };
            settings.printer.show(&kept, |kept| {
                format!(
                    "this device keeps {} of {}",
                    kept.keep,
                    harmless(&info.name)
                )
            })
        }
        ConversationRequest::Leave => {
            conversation.remove_member(own).await?;
            gone(settings, id, own.to_string())
        }
    }
}

impl Cut {
    fn show(&self, settings: &Settings) -> Result<(), Failure> {
        settings.printer.show(self, |cut| {
            let also = match cut.forget {
                true => "; the keys of what came before go once every device has acknowledged it",
                false => "",
            };
            let name = harmless(&cut.name);
            format!("the history of {name} is cut here{also}")
        })
    }
}

fn gone(settings: &Settings, conversation: String, user: String) -> Result<(), Failure> {
    let gone = Gone {
        conversation,
        user,
        removed: true,
    };
    settings
        .printer
        .show(&gone, |gone| format!("{} is no member any more", gone.user))
}
