use sheaf_protocol::decode_server_frame;

use super::*;

const TOPIC: TopicId = TopicId([1; 32]);

fn hub() -> Hub {
    Hub::new(Arc::new(Metrics::new()))
}

fn behind(after: u64, generation: u64) -> Behind {
    Behind {
        topic: TOPIC,
        generation: Generation(generation),
        after,
    }
}

fn records(sequences: std::ops::RangeInclusive<u64>, bytes: usize) -> Vec<Delivery> {
    sequences
        .map(|sequence| Delivery {
            sequence,
            record: vec![1; bytes],
        })
        .collect()
}

fn received(queue: &mut mpsc::Receiver<Bytes>) -> Option<(u64, u64, u64)> {
    let frame = queue.try_recv().ok()?;
    let frame = decode_server_frame(&frame[4..]).unwrap();
    let ServerFrame::Records {
        previous, records, ..
    } = frame
    else {
        panic!("{frame:?}");
    };
    let first = records.first().unwrap().sequence;
    Some((previous, first, records.last().unwrap().sequence))
}

#[test]
fn a_subscription_is_live_only_once_it_has_everything() {
    let hub = hub();
    let (outbox, mut queue) = Outbox::new();
    hub.subscribe(&outbox, behind(0, 1), 5);
    assert_eq!(outbox.take_behind(), [behind(0, 1)]);
    assert_eq!(hub.advance(&outbox, &behind(0, 1)), Advance::Behind(5));
    hub.publish(TOPIC, 5, records(6..=7, 1));
    assert_eq!(received(&mut queue), None);
    assert_eq!(hub.advance(&outbox, &behind(5, 1)), Advance::Behind(7));
    assert_eq!(hub.advance(&outbox, &behind(7, 1)), Advance::Live);
    hub.publish(TOPIC, 7, records(8..=9, 1));
    assert_eq!(received(&mut queue), Some((7, 8, 9)));
}

#[test]
fn stale_work_of_an_older_subscription_is_gone() {
    let hub = hub();
    let (outbox, _queue) = Outbox::new();
    hub.subscribe(&outbox, behind(0, 1), 5);
    hub.subscribe(&outbox, behind(2, 2), 5);
    assert_eq!(hub.advance(&outbox, &behind(5, 1)), Advance::Gone);
    assert_eq!(hub.advance(&outbox, &behind(2, 2)), Advance::Behind(5));
    hub.unsubscribe(&outbox, &TOPIC);
    assert_eq!(hub.advance(&outbox, &behind(2, 2)), Advance::Gone);
    assert!(hub.topics().is_empty());
}

#[test]
fn a_subscription_that_comes_after_its_connection_ended_is_not_taken() {
    let hub = hub();
    let (outbox, _queue) = Outbox::new();
    hub.disconnect(&outbox, [TOPIC]);
    hub.subscribe(&outbox, behind(0, 1), 0);
    assert!(hub.topics().is_empty());
}

#[test]
fn a_full_queue_sends_its_subscription_back_to_history() {
    let hub = hub();
    let (outbox, mut queue) = Outbox::new();
    hub.subscribe(&outbox, behind(0, 1), 0);
    outbox.take_behind();
    assert_eq!(hub.advance(&outbox, &behind(0, 1)), Advance::Live);
    let mut head = 0;
    while outbox.backlog().is_empty() {
        hub.publish(TOPIC, head, records(head + 1..=head + 1, 64 * 1024));
        head += 1;
        assert!(head < 100, "four megabytes are enough");
    }
    assert_eq!(outbox.take_behind(), [behind(head - 1, 1)]);
    // What was queued is still written, and room is made by it.
    let mut last = 0;
    while let Ok(frame) = queue.try_recv() {
        last += 1;
        outbox.written(frame.len());
    }
    assert_eq!(last, head - 1);
    assert_eq!(outbox.live_bytes.load(Ordering::Relaxed), 0);
    assert_eq!(
        hub.advance(&outbox, &behind(head - 1, 1)),
        Advance::Behind(head)
    );
    assert_eq!(hub.advance(&outbox, &behind(head, 1)), Advance::Live);
    hub.publish(TOPIC, head, records(head + 1..=head + 1, 1));
    assert_eq!(received(&mut queue), Some((head, head + 1, head + 1)));
}

#[test]
fn records_that_the_hub_was_never_handed_are_read_from_the_store() {
    let hub = hub();
    let (outbox, mut queue) = Outbox::new();
    hub.subscribe(&outbox, behind(0, 1), 0);
    outbox.take_behind();
    assert_eq!(hub.advance(&outbox, &behind(0, 1)), Advance::Live);
    hub.publish(TOPIC, 2, records(3..=3, 1));
    assert_eq!(received(&mut queue), None);
    assert_eq!(outbox.take_behind(), [behind(0, 1)]);
    assert_eq!(hub.advance(&outbox, &behind(0, 1)), Advance::Behind(3));
    hub.reach(TOPIC, 9);
    assert_eq!(hub.advance(&outbox, &behind(3, 1)), Advance::Behind(9));
}

#[test]
fn one_frame_carries_no_more_than_a_delivery_may() {
    let frames = frames(TOPIC, 0, records(1..=1_300, 10));
    let ends: Vec<_> = frames.iter().map(|(_, last)| *last).collect();
    assert_eq!(ends, [512, 1_024, 1_300]);
    let frames = super::frames(TOPIC, 0, records(1..=5, 64 * 1024));
    let ends: Vec<_> = frames.iter().map(|(_, last)| *last).collect();
    assert_eq!(ends, [2, 4, 5]);
    for (frame, _) in frames {
        assert!(frame.len() <= limits::FRAME_BYTES_MAX);
    }
}
