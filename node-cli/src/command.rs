//! The commands: each asks the engine and shows the answer.

mod account;
mod audit;
mod contact;
mod conversation;
mod device;
mod doctor;
mod epoch;
mod event;
mod import;
mod message;
mod progress;
mod recover;
mod relay;
mod run;
mod stats;
mod status;
mod store;
mod sync;
mod vault;

use std::path::Path;

use clap::CommandFactory;
use serde::Serialize;

use crate::arguments::Arguments;
use crate::demo;
use crate::exit::Failure;
use crate::request::{Request, Settings};

/// Runs one command to its end.
///
/// # Errors
/// The failure that decides the exit code.
pub(crate) async fn execute(settings: &Settings, request: Request) -> Result<(), Failure> {
    match request {
        Request::Init(init) => account::init(settings, init).await,
        Request::Card => account::card(settings).await,
        Request::AddContact { card, name } => contact::add(settings, card, name).await,
        Request::ListContacts => contact::list(settings).await,
        Request::Verify { user, change } => contact::verify(settings, user, change).await,
        Request::SetBlocked { user, standing } => {
            contact::set_blocked(settings, user, standing).await
        }
        Request::Recover(recover) => recover::recover(settings, recover).await,
        Request::Vault(verb) => vault::vault(settings, verb).await,
        Request::ChangeDevice { device, change } => device::change(settings, device, change).await,
        Request::LinkDevice { timeout } => device::link(settings, timeout).await,
        Request::JoinDevice {
            code,
            device,
            timeout,
        } => device::join(settings, code, device, timeout).await,
        Request::ListDevices => device::list(settings).await,
        Request::ReportDevice(typed) => device::report(settings, typed).await,
        Request::Decline => device::decline(settings).await,
        Request::ListQuarantines => device::list_quarantines(settings).await,
        Request::LiftQuarantine(typed) => device::lift_quarantine(settings, typed).await,
        Request::RotatePhrase { phrase } => account::rotate_phrase(settings, &phrase).await,
        Request::CreateConversation {
            name,
            members,
            history,
        } => conversation::create(settings, name, members, history).await,
        Request::ListConversations => conversation::list(settings).await,
        Request::ShowConversation(typed) => conversation::show(settings, typed).await,
        Request::ShowHeads(typed) => conversation::heads(settings, typed).await,
        Request::AddMember {
            conversation,
            user,
            role,
        } => conversation::add_member(settings, conversation, user, role).await,
        Request::ListMembers(typed) => conversation::list_members(settings, typed).await,
        Request::ChangeConversation {
            conversation: typed,
            change,
        } => conversation::change(settings, typed, change).await,
        Request::ListEpochs(typed) => epoch::list(settings, typed).await,
        Request::Rotate(typed) => epoch::rotate(settings, typed).await,
        Request::Audit { since } => audit::audit(settings, since).await,
        Request::Send(send) => message::send(settings, send).await,
        Request::ListMessages(list) => message::list(settings, list).await,
        Request::Import { conversation, file } => {
            import::import(settings, conversation, file).await
        }
        Request::Relay(request) => relay::relay(settings, request).await,
        Request::Doctor { wait } => doctor::doctor(settings, wait).await,
        Request::Sync(request) => sync::sync(settings, request).await,
        Request::Run { lock_after } => run::run(settings, lock_after).await,
        Request::ChangeSecret(new) => account::change_secret(settings, &new).await,
        Request::Backup { file, overwrite } => store::backup(settings, file, overwrite).await,
        Request::Restore { file } => store::restore(settings, file).await,
        Request::CheckStore { repair: false } => store::check(settings).await,
        Request::CheckStore { repair: true } => store::repair(settings).await,
        Request::StoreStats => stats::stats(settings).await,
        Request::Status { wait } => status::status(settings, wait).await,
        Request::Demo(demo) => demo::demo(settings, demo).await,
        Request::Completions(shell) => completions(settings, shell),
        Request::Man(None) => manual(settings),
        Request::Man(Some(directory)) => manuals(settings, &directory),
    }
}

/// Prints the completions of a shell.
///
/// # Errors
/// What standard output says.
pub(crate) fn completions(settings: &Settings, shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "sheaf", &mut script);
    settings
        .printer
        .raw(String::from_utf8_lossy(&script).trim_end())
}

/// Prints the manual page.
///
/// # Errors
/// What standard output says.
pub(crate) fn manual(settings: &Settings) -> Result<(), Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
    settings
        .printer
        .raw(String::from_utf8_lossy(&page).trim_end())
}

#[derive(Serialize)]
struct Written {
    directory: String,
    pages: usize,
}

/// Writes a manual page for every command.
///
/// # Errors
/// A failure that names the directory.
pub(crate) fn manuals(settings: &Settings, directory: &Path) -> Result<(), Failure> {
    let write = || -> Result<usize, std::io::Error> {
        std::fs::create_dir_all(directory)?;
        clap_mangen::generate_to(Arguments::command(), directory)?;
        Ok(count(&Arguments::command()))
    };
    let pages = write().map_err(|error| {
        Failure::failed(format!("cannot write to {}: {error}", directory.display()))
    })?;
    let written = Written {
        directory: directory.display().to_string(),
        pages,
    };
    settings.printer.show(&written, |written| {
        format!("{} pages in {}", written.pages, written.directory)
    })
}

/// A command and all below it.
fn count(command: &clap::Command) -> usize {
    command
        .get_subcommands()
        .map(count)
        .fold(1, usize::saturating_add)
}
