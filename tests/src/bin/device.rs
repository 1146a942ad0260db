//! One device as a process: it writes numbered messages and prints each once it is acknowledged.
//!
//! `device HOME RELAYS CONVERSATION PREFIX PAUSE`: relays are separated by commas, the pause after each
//! message is in milliseconds; the store's key is 32 times the byte 7.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test program: a broken expectation must end it"
)]

use std::io::Write;
use std::time::Duration;

use sheaf_engine::{Draft, Engine, Policy};

#[tokio::main]
async fn main() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().unwrap();
    let (home, relays, conversation, prefix) = (next(), next(), next(), next());
    let pause = Duration::from_millis(next().parse().unwrap());
    let mut builder = Engine::builder(home)
        .key([7; 32])
        .policy(Policy::without_message_limit())
        .create_if_missing(false);
    for relay in relays.split(',') {
        builder = builder.relay(relay.parse().unwrap());
    }
    let engine = builder.open().await.unwrap();
    let talk = engine
        .conversation(conversation.parse().unwrap())
        .await
        .unwrap();
    for number in 0_u64.. {
        let text = format!("{prefix} {number}");
        talk.send(Draft::text(text.clone())).await.unwrap();
        println!("{text}");
        std::io::stdout().flush().unwrap();
        tokio::time::sleep(pause).await;
    }
}
