//! What is asked of conversations and their members.

use sheaf_engine::{History, Keep, Role};

use super::{ConversationRequest, Request, confirmed};
use crate::arguments::{AnyRole, ConversationVerb, HistoryArgument, MemberVerb, RoleName};
use crate::exit::Failure;

pub(super) fn conversation(verb: ConversationVerb) -> Result<Request, Failure> {
    Ok(match verb {
        ConversationVerb::Create {
            name,
            members,
            history,
        } => Request::CreateConversation {
            name,
            members,
            history: match history {
                HistoryArgument::Full => History::Full,
                HistoryArgument::SinceJoin => History::SinceJoin,
            },
        },
        ConversationVerb::Cut {
            conversation,
            forget,
            yes,
        } => {
            let mut what = format!(
                "this cuts the history of \"{conversation}\": who is added later begins here and \
                 reads nothing older, and no later key opens what came before"
            );
            if forget {
                what.push_str(
                    "; every device erases the keys of what came before once all devices have \
                     acknowledged it, so devices that are linked later begin here too, and what \
                     a device has dropped cannot be fetched again",
                );
            }
            confirmed(yes, what)?;
            change_conversation(conversation, ConversationRequest::Cut { forget })
        }
        ConversationVerb::Keep {
            conversation,
            messages,
            months,
            all: _,
        } => {
            let keep = match (messages, months) {
                (Some(count), _) => Keep::Messages(count),
                (None, Some(count)) => Keep::Months(count),
                (None, None) => Keep::All,
            };
            change_conversation(conversation, ConversationRequest::Keep(keep))
        }
        ConversationVerb::List => Request::ListConversations,
        ConversationVerb::Show { conversation } => Request::ShowConversation(conversation),
        ConversationVerb::Heads { conversation } => Request::ShowHeads(conversation),
        ConversationVerb::Member(verb) => member(verb)?,
        ConversationVerb::Rename { conversation, name } => {
            change_conversation(conversation, ConversationRequest::Rename(name))
        }
        ConversationVerb::Leave { conversation, yes } => {
            let what = format!(
                "this ends your membership in \"{conversation}\": none of your devices gets what \
                 is written from then on, and only an admin can add you again"
            );
            confirmed(yes, what)?;
            change_conversation(conversation, ConversationRequest::Leave)
        }
    })
}

fn change_conversation(conversation: String, change: ConversationRequest) -> Request {
    Request::ChangeConversation {
        conversation,
        change,
    }
}

fn member(verb: MemberVerb) -> Result<Request, Failure> {
    Ok(match verb {
        MemberVerb::Add {
            conversation,
            user,
            role,
        } => Request::AddMember {
            conversation,
            user,
            role: role.into(),
        },
        MemberVerb::List { conversation } => Request::ListMembers(conversation),
        MemberVerb::Remove { conversation, user } => {
            change_conversation(conversation, ConversationRequest::RemoveMember(user))
        }
        MemberVerb::Role {
            conversation,
            user,
            role,
            yes,
        } => {
            let what = format!(
                "this makes \"{user}\" the owner and ends your own membership in \
                 \"{conversation}\": a conversation has one owner"
            );
            confirmed(yes || role != AnyRole::Owner, what)?;
            change_conversation(
                conversation,
                ConversationRequest::SetRole(user, role.into()),
            )
        }
    })
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Reader => Self::Reader,
            RoleName::Writer => Self::Writer,
            RoleName::Admin => Self::Admin,
        }
    }
}

impl From<AnyRole> for Role {
    fn from(name: AnyRole) -> Self {
        match name {
            AnyRole::Reader => Self::Reader,
            AnyRole::Writer => Self::Writer,
            AnyRole::Admin => Self::Admin,
            AnyRole::Owner => Self::Owner,
        }
    }
}
