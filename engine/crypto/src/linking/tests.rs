use super::*;
use crate::device::DeviceSecrets;
use crate::limits;
use crate::testing::{device, rng};

const NOW_MS: u64 = 1_700_000_000_000;
const USER: UserId = UserId([4; 32]);

/// Both sides up to the digits.
struct Pair {
    existing: DeviceSecrets,
    new: DeviceSecrets,
    waiting: OfferWaiting,
    shown: JoinShown,
    reveal: Vec<u8>,
}

fn pair() -> Pair {
    let (existing, new) = (device(1), device(2));
    let offer = Offer::new(&mut rng(10), NOW_MS, None).unwrap();
    let code = offer.code();
    let (join, request) = Join::start(&mut rng(11), &code, NOW_MS + 1, &new, "phone").unwrap();
    assert_eq!(offer.capability().topic(), join.capability().topic());
    let certificate = existing.certificate("laptop").unwrap();
    let (waiting, reply) = offer
        .receive_request(&request, NOW_MS + 2, &mut rng(12), USER, &certificate)
        .unwrap();
    let (shown, reveal) = join.receive_reply(&reply, &new).unwrap();
    Pair {
        existing,
        new,
        waiting,
        shown,
        reveal,
    }
}

#[test]
fn two_honest_sides_link() {
    let pair = pair();
    assert_eq!(pair.shown.user, USER);
    assert_eq!(pair.shown.existing.device, pair.existing.device());
    let ready = pair.waiting.receive_reveal(&pair.reveal).unwrap();
    assert_eq!(ready.certificate().label, "phone");
    let (left, right) = pair.shown.digits.split_at(3);
    let typed = format!("{left} {right}");
    let approved = ready.approve(&typed).unwrap();
    let (certificate, possession) = approved.device();
    assert_eq!(certificate.device, pair.new.device());
    certificate.verify_possession(&USER, possession).unwrap();
}

#[test]
fn accounts_of_every_size_arrive_in_any_order() {
    for bytes in [0, 1, 40_000, 200_000, limits::MESSAGE_BYTES_MAX] {
        let pair = pair();
        let ready = pair.waiting.receive_reveal(&pair.reveal).unwrap();
        let approved = ready.approve(&pair.shown.digits).unwrap();
        let body = vec![7; bytes];
        let mut messages = approved.seal_account(&body).unwrap();
        messages.reverse();
        if messages.len() > 1 {
            let refused = pair.shown.open_account(&messages[1..]);
            assert_eq!(refused.unwrap_err(), LinkError::Parts);
        }
        messages.push(pair.reveal.clone());
        messages.push(messages[0].clone());
        let mut forged = messages[0].clone();
        *forged.last_mut().unwrap() ^= 1;
        messages.push(forged);
        messages.push(
            LinkStep::Account {
                index: 9,
                count: 99,
            }
            .header()
            .to_vec(),
        );
        let opened = pair.shown.open_account(&messages).unwrap();
        assert_eq!(opened.as_slice(), body);
    }
    let pair = pair();
    assert_eq!(pair.shown.open_account(&[]).unwrap_err(), LinkError::Parts);
}

#[test]
fn wrong_digits_end_the_offer() {
    let pair = pair();
    let ready = pair.waiting.receive_reveal(&pair.reveal).unwrap();
    let right: u32 = pair.shown.digits.parse().unwrap();
    let wrong = format!("{:06}", (right + 1) % 1_000_000);
    assert_eq!(ready.approve(&wrong).unwrap_err(), LinkError::Digits);
    for typed in ["", "12345", "1234567", "abcdef"] {
        let pair = self::pair();
        let ready = pair.waiting.receive_reveal(&pair.reveal).unwrap();
        assert_eq!(ready.approve(typed).unwrap_err(), LinkError::Digits);
    }
}

#[test]
fn an_expired_code_is_refused_on_both_sides() {
    let (existing, new) = (device(1), device(2));
    let offer = Offer::new(&mut rng(10), NOW_MS, None).unwrap();
    let late_ms = NOW_MS + limits::LINK_CODE_MS_MAX + 1;
    assert_eq!(
        Join::start(&mut rng(11), &offer.code(), late_ms, &new, "x").unwrap_err(),
        LinkError::Expired
    );
    let (_, request) = Join::start(&mut rng(11), &offer.code(), NOW_MS, &new, "x").unwrap();
    let certificate = existing.certificate("laptop").unwrap();
    assert_eq!(
        offer
            .receive_request(&request, late_ms, &mut rng(12), USER, &certificate)
            .unwrap_err(),
        LinkError::Expired
    );
}

#[test]
fn a_middleman_with_the_photographed_code_gets_other_digits() {
    // M knows the code, so he can pose as N towards E. Towards N he must pose as E, for which he
    // lacks the one-time secret: he shows N a code of his own.
    let (existing, new, middle) = (device(1), device(2), device(3));
    let offer = Offer::new(&mut rng(10), NOW_MS, None).unwrap();
    let offer_of_middle = Offer::new(&mut rng(20), NOW_MS, None).unwrap();
    let shown_code = offer_of_middle.code();
    let (join, request) = Join::start(&mut rng(11), &shown_code, NOW_MS, &new, "phone").unwrap();
    let (_, reply) = offer_of_middle
        .receive_request(
            &request,
            NOW_MS,
            &mut rng(21),
            USER,
            &existing.certificate("laptop").unwrap(),
        )
        .unwrap();
    let (shown, _) = join.receive_reply(&reply, &new).unwrap();

    let (join, request) =
        Join::start(&mut rng(22), &offer.code(), NOW_MS, &middle, "phone").unwrap();
    let (waiting, reply) = offer
        .receive_request(
            &request,
            NOW_MS,
            &mut rng(12),
            USER,
            &existing.certificate("laptop").unwrap(),
        )
        .unwrap();
    let (_, reveal) = join.receive_reply(&reply, &middle).unwrap();
    let ready = waiting.receive_reveal(&reveal).unwrap();
    assert_eq!(ready.approve(&shown.digits).unwrap_err(), LinkError::Digits);
}

#[test]
fn a_value_other_than_the_one_committed_to_is_refused() {
    // N wants to choose its random value after it has seen E's.
    let (existing, new) = (device(1), device(2));
    let offer = Offer::new(&mut rng(10), NOW_MS, None).unwrap();
    let (join, request) = Join::start(&mut rng(11), &offer.code(), NOW_MS, &new, "x").unwrap();
    let certificate = existing.certificate("laptop").unwrap();
    let (waiting, reply) = offer
        .receive_request(&request, NOW_MS, &mut rng(12), USER, &certificate)
        .unwrap();
    let grinding = join.with_random([66; 32]);
    let (_, reveal) = grinding.receive_reply(&reply, &new).unwrap();
    assert_eq!(
        waiting.receive_reveal(&reveal).unwrap_err(),
        LinkError::Commitment
    );
}

#[test]
fn messages_of_another_session_and_ones_own_are_refused() {
    let (first, second) = (pair(), {
        let (existing, new) = (device(1), device(2));
        let offer = Offer::new(&mut rng(30), NOW_MS, None).unwrap();
        let (_, request) = Join::start(&mut rng(31), &offer.code(), NOW_MS, &new, "x").unwrap();
        let (waiting, reply) = offer
            .receive_request(
                &request,
                NOW_MS,
                &mut rng(32),
                USER,
                &existing.certificate("laptop").unwrap(),
            )
            .unwrap();
        (waiting, request, reply)
    });
    let (waiting, request, reply) = second;
    assert_eq!(
        waiting.receive_reveal(&first.reveal).unwrap_err(),
        LinkError::Unreadable
    );
    let join = || {
        let offer = Offer::new(&mut rng(40), NOW_MS, None).unwrap();
        let (join, own) =
            Join::start(&mut rng(41), &offer.code(), NOW_MS, &device(2), "x").unwrap();
        (offer, join, own)
    };
    let (_, other, own) = join();
    assert_eq!(
        other.receive_reply(&own, &device(2)).unwrap_err(),
        LinkError::OtherStep
    );
    let (offer, other, _) = join();
    assert_eq!(
        other.receive_reply(&reply, &device(2)).unwrap_err(),
        LinkError::Unreadable
    );
    let certificate = device(1).certificate("laptop").unwrap();
    assert_eq!(
        offer
            .receive_request(&request, NOW_MS, &mut rng(1), USER, &certificate)
            .unwrap_err(),
        LinkError::Unreadable
    );
}

#[test]
fn every_altered_byte_of_every_message_is_refused() {
    let (existing, new) = (device(1), device(2));
    let certificate = existing.certificate("laptop").unwrap();
    let start = || {
        let offer = Offer::new(&mut rng(10), NOW_MS, None).unwrap();
        let (join, request) = Join::start(&mut rng(11), &offer.code(), NOW_MS, &new, "x").unwrap();
        (offer, join, request)
    };
    let (_, _, request) = start();
    for index in (0..request.len()).step_by(7) {
        let mut altered = request.clone();
        altered[index] ^= 1;
        let (offer, _, _) = start();
        let refused = offer.receive_request(&altered, NOW_MS, &mut rng(12), USER, &certificate);
        assert!(refused.is_err(), "byte {index}");
    }
    let pair = pair();
    for index in 0..pair.reveal.len() {
        let mut altered = pair.reveal.clone();
        altered[index] ^= 1;
        assert!(self::pair().waiting.receive_reveal(&altered).is_err());
        if index > 20 {
            break;
        }
    }
}

#[test]
fn codes_carry_the_relay_and_are_strict() {
    let relay: sheaf_protocol::RelayAddress = format!(
        "sheaf://relay.example:4433/#{}",
        sheaf_protocol::RelayId([9; 32])
    )
    .parse()
    .unwrap();
    let offer = Offer::new(&mut rng(10), NOW_MS, Some(&relay)).unwrap();
    let code = offer.code();
    let (join, _) = Join::start(&mut rng(11), &code, NOW_MS, &device(2), "x").unwrap();
    assert_eq!(join.relay(), Some(relay));
    for length in 0..code.len() {
        assert!(
            Join::start(
                &mut rng(1),
                code.get(..length).unwrap(),
                NOW_MS,
                &device(2),
                "x"
            )
            .is_err()
        );
    }
    let refused = Join::start(&mut rng(1), &format!("{code}AAAA"), NOW_MS, &device(2), "x");
    assert_eq!(refused.unwrap_err(), LinkError::Code);
    let shown = format!("{offer:?} {join:?}");
    assert_eq!(shown, "Offer { .. } Join { .. }");
}
