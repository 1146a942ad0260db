//! One device as a process: it writes numbered messages and prints each once it is acknowledged.
//!
//! `device HOME RELAY CONVERSATION PREFIX`; the store's key is 32 times the byte 7.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test program: a broken expectation must end it"
)]

use std::io::Write;

use sheaf_engine::{Draft, Engine, Policy};

#[tokio::main]
async fn main() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().unwrap();
    let (home, relay, conversation, prefix) = (next(), next(), next(), next());
    let engine = Engine::builder(home)
        .key([7; 32])
        .policy(Policy::without_message_limit())
        .relay(relay.parse().unwrap())
        .create_if_missing(false)
        .open()
        .await
        .unwrap();
    let talk = engine
        .conversation(conversation.parse().unwrap())
        .await
        .unwrap();
    for number in 0_u64.. {
        let text = format!("{prefix} {number}");
        talk.send(Draft::text(text.clone())).await.unwrap();
        println!("{text}");
        std::io::stdout().flush().unwrap();
    }
}
