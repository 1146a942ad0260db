use super::*;

fn up(transport: Transport) -> LinkEvent {
    let (frames, _) = tokio::sync::mpsc::channel(1);
    LinkEvent::Up {
        connection: 1,
        relay: sheaf_protocol::RelayId([1; 32]),
        exporter: [0; 32],
        log: sheaf_protocol::LogId(1),
        frames,
        transport,
    }
}

#[test]
fn an_app_that_asks_for_nothing_is_idle_until_it_does() {
    let mut life = Life::default();
    life.used(Timestamp(1_000));
    life.link(&up(Transport::Quic), Timestamp(1_000));
    assert_eq!(life.state(), LifeCycle::Synchronizing);
    life.caught_up();
    assert_eq!(life.state(), LifeCycle::Active);
    assert_eq!(life.idle_at(), Some(Timestamp(1_000 + IDLE_AFTER_MS)));
    life.doze();
    assert_eq!(
        (life.state(), life.activity()),
        (LifeCycle::Idle, Activity::Idle)
    );
    assert_eq!(life.idle_at(), None, "no alarm is set twice");
    assert_eq!(life.scope(), Scope::Everything);
    life.used(Timestamp(900_000));
    assert_eq!(life.state(), LifeCycle::Active);
}

#[test]
fn a_connection_that_is_gone_says_when_it_is_tried_again() {
    let mut life = Life::default();
    life.link(&up(Transport::WebSocket), Timestamp(0));
    assert_eq!(life.status.transport, Some(Transport::WebSocket));
    let down = LinkEvent::Down {
        error: LinkError::Version,
        retry_ms: 750,
        asked: true,
    };
    life.link(&down, Timestamp(1_000));
    assert_eq!(life.state(), LifeCycle::Disconnected);
    assert_eq!(life.status.transport, None);
    assert_eq!(life.status.retry_at, Some(Timestamp(1_750)));
    assert!(life.status.retry_asked);
}

#[test]
fn in_the_background_only_what_is_critical_is_read() {
    let mut life = Life::default();
    life.link(&up(Transport::Quic), Timestamp(0));
    life.set_activity(Activity::Background, Timestamp(0));
    assert_eq!(
        (life.state(), life.scope()),
        (LifeCycle::Backgrounded, Scope::Critical)
    );
    assert_eq!(life.idle_at(), None);
}
