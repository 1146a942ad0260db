//! What a log says is a function of the set of its operations.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(count - 1) {
        for at in 0..count {
            let mut longer = shorter.clone();
            longer.insert(at, count - 1);
            all.push(longer);
        }
    }
    all
}

#[test]
fn a_small_log_says_the_same_in_every_order() {
    let Cast {
        phone,
        laptop,
        tablet,
        mut devices,
    } = cast();
    let mut other = devices.clone();
    devices.freeze(&laptop, &tablet.device()).unwrap();
    devices.revoke(&phone, &laptop.device()).unwrap();
    add(&mut other, &laptop, &secrets(4));
    other.hand_over(&tablet, &laptop.device()).unwrap();
    meet(&mut devices, &mut other);
    let log = devices.log().clone();
    assert_eq!(log.operations.len(), 6);
    let everything = said(&devices);
    for order in permutations(6) {
        let shuffled = UserLog {
            genesis: log.genesis.clone(),
            operations: order.iter().map(|at| log.operations[*at].clone()).collect(),
        };
        assert_eq!(said(&Devices::verify(&shuffled).unwrap()), everything);
    }
    let gap = UserLog {
        genesis: log.genesis.clone(),
        operations: log.operations[1..].to_vec(),
    };
    assert_eq!(
        Devices::verify(&gap).unwrap_err(),
        UserLogError::UnknownParents
    );
}

/// Who does what to whom on which replica, and whether it then hears from another.
type Step = (usize, usize, usize, usize, Option<usize>);

const REPLICAS: usize = 3;
const DEVICES: usize = 6;

fn step() -> impl Strategy<Value = Step> {
    let hears = prop_oneof![2 => Just(None), 1 => (0..REPLICAS).prop_map(Some)];
    (0..REPLICAS, 0..DEVICES, 0..9usize, 0..DEVICES, hears)
}

/// Attempts of all kinds; what is refused is no part of the history.
fn attempt(devices: &mut Devices, keys: &[DeviceSecrets], step: Step) {
    let (_, author, kind, target, _) = step;
    let (author, target) = (&keys[author], &keys[target]);
    let (certificate, possession) = shown(devices, target);
    let device = target.device();
    let phrase = phrase();
    let outcome = match kind {
        0 | 1 => devices.add_device(author, &certificate, &possession),
        2 => devices.revoke(author, &device),
        3 => devices.freeze(author, &device),
        4 => devices.thaw(author, &device),
        5 => devices.hand_over(author, &device),
        6 => devices.rename(author, &device, &format!("{:?}", author.device())),
        7 => devices.recover(&phrase, &certificate, &possession),
        _ => devices.revoke_with_phrase(&phrase, &device),
    };
    drop(outcome);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_with_duplicates_says_the_same(
        steps in proptest::collection::vec(step(), 1..40),
        order in proptest::collection::vec(any::<Index>(), 80),
    ) {
        let keys: Vec<DeviceSecrets> = (1..).take(DEVICES).map(secrets).collect();
        let mut replicas = vec![founded(&keys[0]); REPLICAS];
        for step in steps {
            attempt(&mut replicas[step.0], &keys, step);
            if let Some(from) = step.4 {
                let heard = replicas[from].clone();
                replicas[step.0].merge(&heard);
            }
        }
        let mut whole = replicas[0].clone();
        for replica in &replicas {
            whole.merge(replica);
        }
        let operations = &whole.log().operations;
        let mut late = founded(&keys[0]);
        if !operations.is_empty() {
            for index in &order {
                let _ = late.insert(index.get(operations));
            }
        }
        for operation in operations.iter().rev().chain(operations) {
            let _ = late.insert(operation);
        }
        prop_assert_eq!(late.log().operations.len(), operations.len());
        prop_assert_eq!(said(&late), said(&whole));
        for replica in &mut replicas {
            replica.merge(&whole);
            prop_assert_eq!(said(replica), said(&whole));
        }
        let mut backwards = whole.log().clone();
        backwards.operations.reverse();
        prop_assert_eq!(said(&Devices::verify(&backwards).unwrap()), said(&whole));
        prop_assert!(whole.len() <= limits::DEVICES_PER_USER_MAX);
        prop_assert!(whole.iter().filter(|(_, device)| device.primary).count() <= 1);
    }
}
