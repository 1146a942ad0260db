use super::*;

/// Two conversations of three segments; nothing is here but the first conversation.
fn joining() -> Figures {
    Figures {
        connected: true,
        inbox_open: true,
        conversations: Count {
            done: 1,
            of: Some(2),
        },
        segments: (0, 3),
        messages: Count {
            done: 0,
            of: Some(10_000),
        },
        ..Figures::default()
    }
}

fn done() -> Figures {
    Figures {
        inbox_open: false,
        conversations: Count {
            done: 2,
            of: Some(2),
        },
        recent: 2,
        segments: (6, 6),
        ..joining()
    }
}

#[test]
fn a_stage_is_what_is_waited_for_first() {
    let mut figures = joining();
    assert_eq!(figures.stage(), ProgressStage::Conversations);
    figures.conversations.done = 2;
    assert_eq!(figures.stage(), ProgressStage::Conversations);
    figures.inbox_open = false;
    assert_eq!(figures.stage(), ProgressStage::Recent);
    figures.recent = 2;
    assert_eq!(figures.stage(), ProgressStage::History);
    figures.segments = (3, 3);
    figures.topics_open = 1;
    assert_eq!(figures.stage(), ProgressStage::History);
    figures.topics_open = 0;
    assert_eq!(figures.stage(), ProgressStage::Done);
}

#[test]
fn it_is_said_at_each_stage_and_else_a_few_times_a_second() {
    let mut reporter = Reporter::default();
    let mut said = Vec::new();
    let mut figures = joining();
    for ms in 0..2_000 {
        figures.messages.done += 1;
        if ms == 1_003 {
            figures.conversations.done = 2;
            figures.inbox_open = false;
        }
        let now = Timestamp(10_000 + ms);
        if reporter.is_due(now, true) {
            said.extend(reporter.look(&figures, now));
        }
    }
    assert_eq!(said.len(), 9, "{said:?}");
    assert_eq!(said[0].because, Some(ProgressReason::Found));
    let moved = said.iter().find(|said| said.stage == ProgressStage::Recent);
    assert_eq!(moved.unwrap().messages.done, 1_004);
    assert!(said[1..].iter().all(|said| said.because.is_none()));
}

#[test]
fn nothing_is_said_where_nothing_changes_or_after_the_end() {
    let mut reporter = Reporter::default();
    assert!(reporter.look(&joining(), Timestamp(1_000)).is_some());
    assert!(reporter.look(&joining(), Timestamp(9_000)).is_none());
    let end = reporter.look(&done(), Timestamp(9_001)).unwrap();
    assert_eq!(end.stage, ProgressStage::Done);
    assert!(reporter.look(&done(), Timestamp(20_000)).is_none());
}

#[test]
fn a_short_catch_up_is_no_news() {
    let mut reporter = Reporter::default();
    let mut figures = Figures {
        recent: 1,
        topics_open: 1,
        left: limits::CATCH_UP_RECORDS - 1,
        ..done()
    };
    assert_eq!(figures.stage(), ProgressStage::Recent);
    assert!(reporter.look(&figures, Timestamp(1_000)).is_none());
    figures.left += 1;
    let said = reporter.look(&figures, Timestamp(2_000)).unwrap();
    assert_eq!(said.because, Some(ProgressReason::Found));
}

#[test]
fn what_an_earlier_run_left_is_gone_on_with_once_there_is_a_connection() {
    let mut reporter = Reporter::default();
    let mut figures = Figures {
        connected: false,
        inbox_open: false,
        ..joining()
    };
    reporter.restore(&figures);
    assert!(reporter.look(&figures, Timestamp(1_000)).is_none());
    let pending = reporter.pending(&figures);
    assert_eq!(pending, Some(ProgressReason::Resumed));
    figures.connected = true;
    let said = reporter.look(&figures, Timestamp(1_001)).unwrap();
    assert_eq!(said.because, Some(ProgressReason::Resumed));
    assert_eq!(reporter.pending(&figures), None);

    // The rest may have come before anybody looked: what comes later is another matter.
    let mut reporter = Reporter::default();
    reporter.restore(&figures);
    assert!(reporter.look(&done(), Timestamp(1_000)).is_none());
    let short = Figures {
        topics_open: 1,
        ..done()
    };
    assert!(reporter.look(&short, Timestamp(2_000)).is_none());
}

#[test]
fn whatever_is_less_than_before_has_a_reason() {
    let before = Figures {
        reread: 0,
        records: Count {
            done: 100,
            of: Some(200),
        },
        ..joining()
    };
    let anew = Count {
        done: 0,
        of: Some(100),
    };
    let cases = [
        (
            Figures {
                links: 1,
                records: anew,
                ..before
            },
            ProgressReason::Connection,
        ),
        (
            Figures {
                reread: 1,
                records: anew,
                ..before
            },
            ProgressReason::ReadAnew,
        ),
        (
            Figures {
                dropped: 1,
                segments: (0, 2),
                ..before
            },
            ProgressReason::Dropped,
        ),
        (
            Figures {
                messages: Count { done: 0, of: None },
                ..before
            },
            ProgressReason::Found,
        ),
        (
            Figures {
                conversations: Count {
                    done: 2,
                    of: Some(2),
                },
                messages: Count { done: 0, of: None },
                ..before
            },
            ProgressReason::Conversation,
        ),
    ];
    for (after, reason) in cases {
        let mut reporter = Reporter::default();
        assert!(reporter.look(&before, Timestamp(1_000)).is_some());
        let said = reporter.look(&after, Timestamp(2_000)).unwrap();
        assert_eq!(said.because, Some(reason), "{said:?}");
    }
}
